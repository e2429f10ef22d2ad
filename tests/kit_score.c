/* The examples kit, fourth part: BLEU and edit distance. */
#include "examples/kit/score.h"

#include "tests/test.h"

/* The figures are those of sacrebleu 2.6.0: corpus_bleu(made, references, tokenize='none',
 * force=True), the second with references[:1]. */
TEST(bleu_of_a_corpus)
{
    static const char *const made[] = {
        "the cat sat on the mat", "a dog", "he said that he would come to the big house tomorrow",
        "", "the the the the the the the",
    };
    static const char *const references[][2] = {
        { "the cat sat on a mat", "a cat was sitting on the mat today" },
        { "the dog", "a dog ran" },
        { "he said he would come to the large house tomorrow",
          "tomorrow he would come to the big house he said" },
        { "nothing here", "nothing" },
        { "the cat is on the mat", "there is a cat on the mat" },
    };
    static const struct { double score; int64_t match[4]; } want[] = {
        { 34.91449173624072, { 17, 9, 5, 3 } }, { 51.23248938593249, { 19, 14, 8, 5 } },
    };
    for (size_t n = 1; n <= 2; n++) {
        kit_bleu b = { 0 };
        for (size_t i = 0; i < 5; i++)
            kit_bleu_add(&b, made[i], references[i], n);
        CHECK_NEAR(kit_bleu_score(&b), want[n - 1].score, 1e-10);
        CHECK_MEM(b.match, want[n - 1].match, sizeof b.match);
        CHECK_MEM(b.total, ((int64_t[]){ 26, 22, 18, 15 }), sizeof b.total);
        CHECK(b.words == 26 && b.reference_words == 26);
    }
}

/* And of one sentence: smoothed, too short for four words, without a match, with a penalty. */
TEST(bleu_of_a_sentence)
{
    static const struct { const char *made, *reference; double score; } cases[] = {
        { "a dog ran off", "the dog ran away", 31.947155212313625 },
        { "a b", "a b", 0 },
        { "c d e f", "a b", 0 },
        { "", "a b", 0 },
        { "a b c d e", " a  b c\td e\n", 100 },
        { "a b c d e", "a b c d e f g", 67.0320046035639 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kit_bleu b = { 0 };
        kit_bleu_add(&b, cases[i].made, &cases[i].reference, 1);
        CHECK_NEAR(kit_bleu_score(&b), cases[i].score, 1e-10);
    }
    /* of two references equally near, the shorter one */
    static const char *const references[] = { "a b c d e f", "a b c d" };
    kit_bleu b = { 0 };
    kit_bleu_add(&b, "a b c d e", references, 2);
    CHECK_INT(b.reference_words, 4);
    CHECK_NEAR(kit_bleu_score(&b), 100, 1e-10);
}

static size_t letters(const char *a, const char *b)
{
    int32_t x[32], y[32];
    size_t n = strlen(a), m = strlen(b);
    for (size_t i = 0; i < n; i++)
        x[i] = a[i];
    for (size_t i = 0; i < m; i++)
        y[i] = b[i];
    return kit_edit_distance(x, n, y, m);
}

TEST(edit_distance)
{
    CHECK_INT(letters("kitten", "sitting"), 3);
    CHECK_INT(letters("sunday", "saturday"), 3);
    CHECK_INT(letters("", "abc"), 3);
    CHECK_INT(letters("abc", ""), 3);
    CHECK_INT(letters("", ""), 0);
    CHECK_INT(letters("abc", "abc"), 0);
    CHECK_INT(letters("abcd", "bcda"), 2);
    CHECK_INT(letters("abxcd", "abcd"), 1);
    CHECK_INT(letters("abcd", "abxcd"), 1);
}

TEST_MAIN(T(bleu_of_a_corpus), T(bleu_of_a_sentence), T(edit_distance))
