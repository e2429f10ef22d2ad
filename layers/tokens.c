/* Tokens of a text: characters, what stands between white space, words.
 *
 * Characters are told by F. Yergeau, "UTF-8, a transformation format of ISO 10646", RFC 3629
 * (2003), letters by ranges that hold for the scripts in use without the tables of Unicode. */
#include <string.h>
#include "unroll/text.h"

/* What a character is to a word. */
enum { SPACE, LETTER, APOSTROPHE, OTHER };

/* The bytes of the character at s < end, at least 1; its number, or -1 for a malformed byte. The
 * second byte's range excludes overlong forms and surrogates. */
static size_t character(const char *text, const char *end, long *number)
{
    const unsigned char *s = (const unsigned char *)text;
    const size_t room = (size_t)(end - text);
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    const unsigned lo = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    const unsigned hi = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    *number = -1;
    if (n == 0 || n > room || s[0] > 0xf4 || (n > 1 && (s[1] < lo || s[1] > hi)))
        return 1;
    long c = n == 1 ? s[0] : s[0] & (0x7f >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 1;
        c = c << 6 | (s[i] & 0x3f);
    }
    *number = c;
    return n;
}

typedef struct range {
    long first, last;
} range;

static bool within(long c, const range *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c >= r[i].first && c <= r[i].last)
            return true;
    return false;
}

static int class_of(long c)
{
    static const range space[] = {
        { 0x09, 0x0d }, { 0x20, 0x20 }, { 0x85, 0x85 }, { 0xa0, 0xa0 }, { 0x1680, 0x1680 },
        { 0x2000, 0x200a }, { 0x2028, 0x2029 }, { 0x202f, 0x202f }, { 0x205f, 0x205f },
        { 0x3000, 0x3000 },
    };
    static const range no_letter[] = {
        { 0x80, 0xa9 }, { 0xab, 0xb4 }, { 0xb6, 0xb9 }, { 0xbb, 0xbf }, { 0xd7, 0xd7 },
        { 0xf7, 0xf7 }, { 0x2000, 0x2bff }, { 0x2e00, 0x2e7f }, { 0x3000, 0x303f },
        { 0xfe10, 0xfe6f }, { 0xff00, 0xff0f }, { 0x1f000, 0x1faff },
    };
    if (c >= 'a' && c <= 'z')
        return LETTER;
    if (within(c, space, sizeof space / sizeof *space))
        return SPACE;
    if (c < 0x80)
        return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? LETTER
               : c == '\'' ? APOSTROPHE : OTHER;
    if (c == 0x2019)
        return APOSTROPHE;
    return within(c, no_letter, sizeof no_letter / sizeof *no_letter) ? OTHER : LETTER;
}

/* The bytes of the character at s and its class; 0 and OTHER at the end. */
static size_t look(const char *s, const char *end, int *class)
{
    long c;
    *class = OTHER;
    if (s == end)
        return 0;
    size_t n = character(s, end, &c);
    *class = class_of(c);
    return n;
}

/* The end of the word that begins with a letter at s. */
static const char *end_of_word(const char *s, const char *end, bool elided)
{
    int class, next;
    size_t n;
    while (n = look(s, end, &class), class == LETTER || class == APOSTROPHE) {
        if (class == APOSTROPHE) {
            look(s + n, end, &next);
            if (next != LETTER)
                break;
            if (elided)
                return s + n;
        }
        s += n;
    }
    return s;
}

ur_tokens ur_tokens_of(ur_token_kind kind, const char *text, size_t n)
{
    return (ur_tokens){ kind, text, text ? text + n : NULL };
}

bool ur_next_token(ur_tokens *it, ur_token *token)
{
    int class = OTHER;
    size_t n = look(it->at, it->end, &class);
    while (it->kind != UR_CHARS && n && class == SPACE) {
        it->at += n;
        n = look(it->at, it->end, &class);
    }
    if (!n)
        return false;
    const char *s = it->at + n;
    if (it->kind == UR_SPACED)
        while ((n = look(s, it->end, &class)) > 0 && class != SPACE)
            s += n;
    else if (it->kind != UR_CHARS && class == LETTER)
        s = end_of_word(it->at, it->end, it->kind == UR_ELIDED);
    *token = (ur_token){ it->at, (size_t)(s - it->at) };
    it->at = s;
    return true;
}
