/* bytes.c: a text as a model of characters sees it: bytes numbered in order of value. */
#include "examples/kit/kit.h"

#include <stdlib.h>

void kit_vocabulary_of(kit_vocabulary *v, const char *text, size_t n)
{
    bool occurs[256] = { false };
    for (size_t i = 0; i < n; i++)
        occurs[(unsigned char)text[i]] = true;
    v->size = 0;
    for (int c = 0; c < 256; c++) {
        v->id[c] = occurs[c] ? v->size : -1;
        if (occurs[c])
            v->byte[v->size++] = (unsigned char)c;
    }
}

bool kit_vocabulary_encode(const kit_vocabulary *v, const char *text, size_t n, int32_t *ids)
{
    for (size_t i = 0; i < n; i++) {
        int id = v->id[(unsigned char)text[i]];
        if (id < 0)
            return false;
        ids[i] = id;
    }
    return true;
}

const char *kit_vocabulary_text(const kit_vocabulary *v, char out[static KIT_VOCABULARY_TEXT])
{
    static const char hex[] = "0123456789abcdef";
    char *to = out;
    for (int k = 0; k < v->size; k++) {
        unsigned char c = v->byte[k];
        if (c > ' ' && c < 0x7f && c != '\\') {
            *to++ = (char)c;
        } else {
            *to++ = '\\';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        }
    }
    *to = 0;
    return out;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool kit_vocabulary_parse(kit_vocabulary *v, const char *text)
{
    char bytes[256];
    size_t n = 0;
    for (const char *s = text; *s; n++) {
        int c = (unsigned char)*s++;
        if (c == '\\') {
            int high = hex_digit(*s), low = high < 0 ? -1 : hex_digit(s[1]);
            if (low < 0)
                return false;
            c = 16 * high + low, s += 2;
        }
        if (n == 256 || (n > 0 && c <= (unsigned char)bytes[n - 1]))
            return false; /* in order of value, each once */
        bytes[n] = (char)c;
    }
    kit_vocabulary_of(v, bytes, n);
    return n > 0;
}

void kit_print_of(char out[static 64], const char *bytes, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, 64 bits (Fowler, Noll and Vo, 1991) */
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    snprintf(out, 64, "%zu bytes, %016llx", n, (unsigned long long)h);
}

size_t kit_nine_tenths(size_t n)
{
    return n / 10 * 9 + n % 10 * 9 / 10;
}

/* Takes over `bytes`. */
static void use_text(kit_text *text, char *bytes)
{
    text->cut = kit_nine_tenths(text->n);
    kit_print_of(text->print, bytes, text->n);
    kit_vocabulary_of(&text->vocabulary, bytes, text->n);
    text->ids = kit_zeros(text->n, sizeof *text->ids);
    kit_vocabulary_encode(&text->vocabulary, bytes, text->n, text->ids);
    free(bytes);
}

bool kit_read_text(const char *path, kit_text *text)
{
    char *bytes;
    if (!kit_read_file(path, &bytes, &text->n))
        return false;
    use_text(text, bytes);
    return true;
}

static void make_up(kit_text *text, uint64_t seed)
{
    enum { N = 20000, LINE = 64 };
    static const char *const who[] = { "the cat", "a dog", "the mouse", "an owl" };
    static const char *const does[] = { " sees ", " likes ", " hunts " };
    char *bytes = kit_zeros(N + LINE, 1);
    for (size_t n = 0; n < N;) {
        const char *a = who[kit_below(&seed, 4)], *b = does[kit_below(&seed, 3)];
        n += (size_t)snprintf(bytes + n, LINE, "%s%s%s.\n", a, b, who[kit_below(&seed, 4)]);
    }
    text->n = N;
    use_text(text, bytes);
}

void kit_text_of(kit_text *text, const char *path, uint64_t seed)
{
    if (!path)
        make_up(text, seed);
    else if (!kit_read_text(path, text))
        exit(2);
}
