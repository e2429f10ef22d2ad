/* Tokens and vocabularies. */
#include <stdlib.h>
#include "tests/counting.h"
#include "tests/test.h"
#include "unroll/unroll.h"

/* The tokens of a text, each followed by '|'. */
static const char *cut(ur_token_kind kind, const char *text, size_t n)
{
    static char out[400];
    size_t used = 0;
    ur_tokens it = ur_tokens_of(kind, text, n);
    for (ur_token t; ur_next_token(&it, &t) && used + t.n + 2 < sizeof out;) {
        memcpy(out + used, t.text, t.n);
        used += t.n;
        out[used++] = '|';
    }
    out[used] = 0;
    return out;
}

static const char *cut_text(ur_token_kind kind, const char *text)
{
    return cut(kind, text, strlen(text));
}

TEST(words)
{
    CHECK_STR(cut_text(UR_WORDS, "Hello, world! 3.14"), "Hello|,|world|!|3|.|14|");
    CHECK_STR(cut_text(UR_WORDS, "don't 'tis dogs' rock'n'roll"),
              "don't|'|tis|dogs|'|rock'n'roll|");
    CHECK_STR(cut_text(UR_ELIDED, "l'homme qu\u2019il 'a' d''e"),
              "l'|homme|qu\u2019|il|'|a|'|d|'|'|e|");
    CHECK_STR(cut_text(UR_WORDS, "caf\u00e9\u00a0\u00ab\u202f\u0434\u0430!\u00bb\u2026"),
              "caf\u00e9|\u00ab|\u0434\u0430|!|\u00bb|\u2026|");
    CHECK_STR(cut_text(UR_WORDS, "a_b \u20ac5 2\u00d73"), "a|_|b|\u20ac|5|2|\u00d7|3|");
    CHECK_STR(cut_text(UR_WORDS, ""), "");
    CHECK_STR(cut_text(UR_WORDS, " \t\n\u3000"), "");
    CHECK_STR(cut_text(UR_SPACED, " a,b  c\u00a0d\ne "), "a,b|c|d|e|");
}

TEST(characters)
{
    CHECK_STR(cut_text(UR_CHARS, "a \u00e9\u20ac\U0001F600"), "a| |\u00e9|\u20ac|\U0001F600|");
    /* alone: a continuation, an overlong form, a surrogate, beyond U+10FFFF, one cut short */
    CHECK_STR(cut_text(UR_CHARS, "\x80"), "\x80|");
    CHECK_STR(cut_text(UR_CHARS, "\xc0\xaf"), "\xc0|\xaf|");
    CHECK_STR(cut_text(UR_CHARS, "\xed\xa0\x80"), "\xed|\xa0|\x80|");
    CHECK_STR(cut_text(UR_CHARS, "\xf4\x90\x80\x80"), "\xf4|\x90|\x80|\x80|");
    CHECK_STR(cut_text(UR_CHARS, "\xe2\x82" "a"), "\xe2|\x82|a|");
    CHECK_STR(cut_text(UR_CHARS, "\xe2\x82"), "\xe2|\x82|");
    CHECK_STR(cut(UR_CHARS, "\xe2\x82\xac", 2), "\xe2|\x82|");
    CHECK_STR(cut_text(UR_WORDS, "ab\xff" "cd"), "ab|\xff|cd|");
    CHECK_MEM(cut(UR_CHARS, "a\0b", 3), "a|\0|b|", 7);
    ur_tokens none = ur_tokens_of(UR_CHARS, NULL, 0);
    ur_token t;
    CHECK(!ur_next_token(&none, &t));
}

/* Every byte is in a token or white space, in order, whatever the bytes are. */
TEST(random_bytes)
{
    char text[64];
    for (int round = 0; round < 2000; round++) {
        size_t n = (size_t)(test_uniform() * 64);
        for (size_t i = 0; i < n; i++)
            text[i] = (char)(int)(test_uniform() * 256);
        for (int kind = UR_CHARS; kind <= UR_ELIDED; kind++) {
            ur_tokens it = ur_tokens_of((ur_token_kind)kind, text, n);
            const char *at = text;
            for (ur_token t; ur_next_token(&it, &t); at = t.text + t.n)
                if (t.text < at || t.n == 0 || (kind == UR_CHARS && t.text != at))
                    CHECK(!"in order");
            CHECK(at <= text + n && (kind != UR_CHARS || at == text + n));
        }
    }
}

/* ----------------------------------------------------------------------------------- vocabulary */

static ur_vocab *of_text(ur_params *ps, const char *text, int specials, int least, int most)
{
    ur_counter *c = ur_counter_new(ps);
    ur_count_tokens(c, UR_SPACED, text, strlen(text));
    return ur_vocab_new(ps, c, specials, least, most);
}

/* The symbols, each followed by ' '. */
static const char *symbols(const ur_vocab *v)
{
    static char out[400];
    out[0] = 0;
    for (int i = 0; v && i < v->size; i++) {
        strcat(out, ur_vocab_symbol(v, i).text);
        strcat(out, " ");
    }
    return out;
}

TEST(orders_and_cuts)
{
    static const char text[] = "b b b a a ab ab \xc3\xa9 \xc3\xa9 c <unk> <unk> <eos> B";
    ur_params *ps = ur_params_new(UR_F32, 0);
    CHECK_STR(symbols(of_text(ps, text, 0, 1, 0)), "b a ab \u00e9 B c ");
    CHECK_STR(symbols(of_text(ps, text, UR_WITH_UNK, 2, 0)), "<unk> b a ab \u00e9 ");
    CHECK_STR(symbols(of_text(ps, text, UR_WITH_EOS | UR_WITH_PAD, 1, 4)), "<pad> <eos> b a ");
    CHECK_STR(symbols(of_text(ps, text, 15, 9, 0)), "<pad> <unk> <sos> <eos> ");
    CHECK_STR(symbols(of_text(ps, "", 0, 1, 0)), "");
    ur_vocab *v = of_text(ps, text, UR_WITH_UNK | UR_WITH_EOS, 2, 0);
    CHECK(v->pad == -1 && v->unk == 0 && v->sos == -1 && v->eos == 1);
    CHECK_INT(ur_vocab_id(v, "b", 1), 2);
    CHECK_INT(ur_vocab_id(v, "c", 1), 0);
    CHECK_INT(ur_vocab_id(v, "<eos>", 5), 1);
    CHECK_INT(ur_vocab_id(of_text(ps, "a", 0, 1, 0), "b", 1), -1);
    int32_t ids[3] = { 7, 7, 7 };
    CHECK_INT(ur_vocab_encode(v, UR_SPACED, "a x b", 5, ids, 2), 3);
    CHECK(ids[0] == 3 && ids[1] == 0 && ids[2] == 7);
    CHECK(!ur_vocab_symbol(v, -1).text && !ur_vocab_symbol(v, v->size).text);
    CHECK(!ur_error(ps));
    CHECK(!of_text(ps, text, UR_WITH_PAD | UR_WITH_UNK, 1, 1));
    CHECK_HAS(ur_error(ps), "specials 3, at most 1 symbols");
    ur_error_reset(ps);
    CHECK(!ur_count_symbol(ur_counter_new(ps), "", 0));
    CHECK_STR(ur_error(ps), "count_symbol: a symbol of no bytes");
    CHECK(!ur_vocab_new(ps, NULL, 0, 1, 0) && ur_vocab_id(NULL, "a", 1) == -1);
    ur_params_free(ps);
}

/* Many symbols, of every byte, through a text and back. */
TEST(round_trip)
{
    ur_params *ps = ur_params_new(UR_F32, 0);
    ur_counter *c = ur_counter_new(ps);
    char s[8];
    for (int i = 0; i < 5000; i++) {
        size_t n = 1 + (size_t)(test_uniform() * 6);
        for (size_t k = 0; k < n; k++)
            s[k] = (char)(test_uniform() < 0.5 ? (int)(test_uniform() * 256) : 'a');
        ur_count_symbol(c, s, n);
    }
    ur_vocab *v = ur_vocab_new(ps, c, UR_WITH_PAD | UR_WITH_UNK, 1, 0);
    const char *text = ur_vocab_text(ps, v);
    ur_vocab *w = ur_vocab_parse(ps, text);
    REQUIRE(v && w && v->size > 3000);
    CHECK(w->size == v->size && w->pad == 0 && w->unk == 1 && w->sos == -1 && w->eos == -1);
    for (int i = 0; i < v->size; i++) {
        ur_token a = ur_vocab_symbol(v, i), b = ur_vocab_symbol(w, i);
        if (a.n != b.n || memcmp(a.text, b.text, a.n) || ur_vocab_id(w, a.text, a.n) != i)
            CHECK(!"the same symbols");
    }
    CHECK_STR(ur_vocab_text(ps, w), text);
    ur_params_free(ps);
}

TEST(saved_with_a_model)
{
    static const char path[] = TEST_BUILD "/text.safetensors";
    ur_params *ps = ur_params_new(UR_F32, 0), *other = ur_params_new(UR_F32, 0);
    ur_param(ps, "W", ur_constant(1), 2);
    ur_vocab *v = of_text(ps, "caf\u00e9 \\ caf\u00e9 \xff", UR_WITH_UNK, 1, 0);
    const char *pair[] = { "words", ur_vocab_text(ps, v) };
    CHECK_STR(pair[1], "vocabulary 1 4\n<unk>\ncaf\u00e9\n\\5c\n\\ff\n");
    CHECK(ur_save(path, &ps, 1, pair, 1));
    ur_vocab *w = ur_vocab_load(other, path, "words");
    CHECK_STR(symbols(w), symbols(v));
    CHECK(!ur_vocab_load(other, path, "letters"));
    CHECK_HAS(ur_error(other), "it has no metadata 'letters'");
    ur_error_reset(other);
    CHECK(!ur_vocab_load(other, "/nowhere/at.all", "words"));
    CHECK_HAS(ur_error(other), "/nowhere/at.all");
    remove(path);
    ur_params_free(other);
    ur_params_free(ps);
}

TEST(refused)
{
    static const struct { const char *text, *why; } bad[] = {
        { "", "does not begin with 'vocabulary 1' and a size" },
        { "vocabulary 2 0\n", "does not begin" },
        { "vocabulary 1 \n", "does not begin" },
        { "vocabulary 1 01\na\n", "does not begin" },
        { "vocabulary 1 1234567890\na\n", "does not begin" },
        { "vocabulary 1 2\na\n", "says that it has 2 symbols, but has 1 lines" },
        { "vocabulary 1 1\na\nb\n", "says that it has 1 symbols, but has 2 lines" },
        { "vocabulary 1 2\na\na\n", "symbol 1 of the vocabulary, 'a', is there twice" },
        { "vocabulary 1 2\na\n\\61\n", "symbol 1 of the vocabulary, '\\61', is there twice" },
        { "vocabulary 1 2\na\n\n", "symbol 1 of the vocabulary, '', is none" },
        { "vocabulary 1 1\na\\6\n", "symbol 0 of the vocabulary, 'a\\6', is none" },
        { "vocabulary 1 1\n\\6G\n", "'\\6G', is none" },
        { "vocabulary 1 1\na\nb", "does not end after its last symbol" },
    };
    ur_params *ps = ur_params_new(UR_F32, 0);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        CHECK(!ur_vocab_parse(ps, bad[k].text));
        CHECK_HAS(ur_error(ps), bad[k].why);
        ur_error_reset(ps);
    }
    CHECK(ur_vocab_parse(ps, "vocabulary 1 0\n"));
    ur_params_free(ps);
}

/* Each request for memory refused in turn. */
TEST(starved)
{
    for (long k = 1, failed = 1; failed; k++) {
        counting_begin(k);
        ur_params *ps = ur_params_new(UR_F32, 0);
        ur_counter *c = ur_counter_new(ps);
        char s[2];
        for (int i = 0; i < 3000; i++)
            s[0] = (char)('0' + i % 60), s[1] = (char)('0' + i / 60), ur_count_symbol(c, s, 2);
        ur_vocab *v = ur_vocab_parse(ps, ur_vocab_text(ps, ur_vocab_new(ps, c, UR_WITH_UNK, 1, 0)));
        failed = counting.failed;
        CHECK(failed ? !v : v && v->size == 3001);
        CHECK(!failed || !ps || strcmp(ur_error(ps), "out of memory") == 0);
        ur_params_free(ps);
        counting_end();
        CHECK_INT(counting.blocks, 0);
        CHECK_INT(counting.wrong, 0);
    }
}

TEST_MAIN(T(words), T(characters), T(random_bytes), T(orders_and_cuts), T(round_trip),
          T(saved_with_a_model), T(refused), T(starved))
