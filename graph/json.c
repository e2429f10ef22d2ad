/* JSON (RFC 8259) as far as file headers need it: see json.h.
 *
 *     value  = object | array | string | number | true | false | null
 *     object = { [ string : value { , string : value } ] }
 *     array  = [ [ value { , value } ] ]
 *     number = [-] (0 | 1-9 digits) [. digits] [(e|E) [+|-] digits]
 *
 * Text is UTF-8 as RFC 3629 has it. Nothing here depends on the locale: digits are read by hand,
 * and nothing of ctype.h is used. Nothing recurses, so that no text can exhaust the stack. */
#include <stdio.h>
#include <string.h>
#include "graph/json.h"

enum { DEPTH = 64 };

size_t ur__utf8_valid(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t i = 0;
    while (i < n) {
        unsigned c = p[i];
        size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2
                    : c >= 0xf0 && c < 0xf5 ? 3 : 4;
        if (more == 4 || n - i <= more)
            return i;
        for (size_t k = 1; k <= more; k++)
            if ((p[i + k] & 0xc0) != 0x80)
                return i;
        /* The second byte bounds what the lead byte leaves open: overlong forms begin E0 80..9F and
         * F0 80..8F, surrogates ED A0..BF, and F4 90.. lies beyond U+10FFFF. */
        if ((c == 0xe0 && p[i + 1] < 0xa0) || (c == 0xed && p[i + 1] > 0x9f)
            || (c == 0xf0 && p[i + 1] < 0x90) || (c == 0xf4 && p[i + 1] > 0x8f))
            return i;
        i += more + 1;
    }
    return n;
}

static bool fault(ur__json *j, const char *what)
{
    if (!*j->fault)
        snprintf(j->fault, sizeof j->fault, "%s", what);
    return false;
}

bool ur__json_start(ur__json *j, char *text, size_t n)
{
    *j = (ur__json){ .begin = text, .at = text, .end = text + n };
    size_t valid = ur__utf8_valid(text, n);
    if (valid == n)
        return true;
    j->at += valid;
    return fault(j, "this is not UTF-8");
}

/* The next byte that is not white space, or -1 at the end. */
static int peek(ur__json *j)
{
    while (j->at < j->end
           && (*j->at == ' ' || *j->at == '\n' || *j->at == '\r' || *j->at == '\t'))
        j->at++;
    return j->at < j->end ? (unsigned char)*j->at : -1;
}

bool ur__json_next(ur__json *j, char c)
{
    if (*j->fault || peek(j) != (unsigned char)c)
        return false;
    j->at++;
    return true;
}

bool ur__json_need(ur__json *j, char c)
{
    if (ur__json_next(j, c))
        return true;
    char what[] = "expected '?'";
    *strchr(what, '?') = c;
    return fault(j, what);
}

bool ur__json_done(ur__json *j)
{
    return !*j->fault && (peek(j) < 0 || fault(j, "expected nothing more"));
}

/* ---- Strings ---- */

/* Four hexadecimal digits behind `at`, or -1. */
static long hex4(const ur__json *j)
{
    long value = 0;
    if (j->end - j->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int c = j->at[i], lower = c | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0'
                  : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static char *put_utf8(char *to, long c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    *to++ = (char)(0xf0 << (3 - more) | c >> 6 * more); /* C0, E0, F0 and the topmost bits */
    while (more-- > 0)
        *to++ = (char)(0x80 | (c >> 6 * more & 0x3f));
    return to;
}

/* The code point of \uXXXX, or of a surrogate pair of them; `at` is behind the first u. */
static bool unicode_escape(ur__json *j, long *c)
{
    long low;
    *c = hex4(j);
    if (*c < 0)
        return fault(j, "\\u needs four hexadecimal digits");
    if (*c == 0)
        return fault(j, "a string with a zero character");
    if (*c >= 0xdc00 && *c < 0xe000)
        return fault(j, "half of a surrogate pair");
    j->at += 4;
    if (*c < 0xd800 || *c >= 0xe000)
        return true;
    if (j->end - j->at < 2 || j->at[0] != '\\' || j->at[1] != 'u')
        return fault(j, "half of a surrogate pair");
    j->at += 2;
    low = hex4(j);
    if (low < 0xdc00 || low >= 0xe000)
        return fault(j, "half of a surrogate pair");
    j->at += 4;
    *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* What may follow a backslash, and what it stands for. */
static const char escape_name[] = "\"\\/bfnrt", escape_value[] = "\"\\/\b\f\n\r\t";

bool ur__json_string(ur__json *j, const char **s)
{
    if (*j->fault)
        return false;
    if (peek(j) != '"')
        return fault(j, "expected a string");
    char *to = ++j->at;
    *s = to;
    for (;;) {
        /* Runs of ordinary characters are moved at once; where nothing was escaped they stay. */
        char *from = j->at;
        while (j->at < j->end && *j->at != '"' && *j->at != '\\' && (unsigned char)*j->at >= 0x20)
            j->at++;
        if (to != from)
            memmove(to, from, (size_t)(j->at - from));
        to += j->at - from;
        if (j->at == j->end)
            return fault(j, "a string without an end");
        if (*j->at == '"')
            break;
        if (*j->at != '\\')
            return fault(j, "a control character in a string");
        if (++j->at == j->end)
            return fault(j, "a string without an end");
        long c = *j->at++;
        const char *known = c ? strchr(escape_name, (int)c) : NULL;
        if (known)
            c = escape_value[known - escape_name];
        else if (c != 'u')
            return j->at--, fault(j, "an unknown escape");
        else if (!unicode_escape(j, &c))
            return false;
        to = put_utf8(to, c);
    }
    *to = 0;    /* at the latest over the closing quote */
    j->at++;
    return true;
}

static size_t put(char *out, size_t at, const char *piece, size_t n)
{
    if (out)
        memcpy(out + at, piece, n);
    return at + n;
}

size_t ur__json_quote(char *out, const char *s)
{
    size_t n = put(out, 0, "\"", 1);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        const char *special = c != '/' ? strchr(escape_value, c) : NULL;
        char piece[8] = { *s };
        int k = 1;
        if (special)
            k = snprintf(piece, sizeof piece, "\\%c", escape_name[special - escape_value]);
        else if (c < 0x20)
            k = snprintf(piece, sizeof piece, "\\u%04x", (unsigned)c);
        n = put(out, n, piece, (size_t)k);
    }
    return put(out, n, "\"", 1);
}

/* ---- Numbers ---- */

static bool digit(const ur__json *j)
{
    return j->at < j->end && *j->at >= '0' && *j->at <= '9';
}

bool ur__json_integer(ur__json *j, uint64_t *value)
{
    if (*j->fault)
        return false;
    if (peek(j) == '-')
        return fault(j, "a negative number");
    if (!digit(j))
        return fault(j, "expected a whole number");
    const char *first = j->at;
    for (*value = 0; digit(j); j->at++) {
        unsigned d = (unsigned)(*j->at - '0');
        if (*value > (UINT64_MAX - d) / 10)
            return fault(j, "a number of 2^64 or more");
        *value = *value * 10 + d;
        if (j->at > first && *first == '0')
            return fault(j, "a number with a leading zero");
    }
    if (j->at < j->end && (*j->at == '.' || (*j->at | 0x20) == 'e'))
        return fault(j, "a number with a fraction or an exponent");
    return true;
}

static bool digits(ur__json *j)
{
    if (!digit(j))
        return fault(j, "expected a digit");
    while (digit(j))
        j->at++;
    return true;
}

static bool skip_number(ur__json *j)
{
    if (*j->at == '-')
        j->at++;
    bool zero = j->at < j->end && *j->at == '0';
    const char *first = j->at;
    if (!digits(j))
        return false;
    if (zero && j->at - first > 1)
        return fault(j, "a number with a leading zero");
    if (j->at < j->end && *j->at == '.' && (j->at++, !digits(j)))
        return false;
    if (j->at < j->end && (*j->at | 0x20) == 'e') {
        j->at++;
        if (j->at < j->end && (*j->at == '+' || *j->at == '-'))
            j->at++;
        return digits(j);
    }
    return true;
}

/* ---- Any value ---- */

static bool skip_scalar(ur__json *j)
{
    static const char *const word[] = { "true", "false", "null" };
    const char *ignored;
    int c = peek(j);
    if (c == '"')
        return ur__json_string(j, &ignored);
    if (c == '-' || digit(j))
        return skip_number(j);
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(word[i]);
        if ((size_t)(j->end - j->at) >= n && memcmp(j->at, word[i], n) == 0) {
            j->at += n;
            return true;
        }
    }
    return fault(j, "expected a value");
}

static bool skip_key(ur__json *j)
{
    const char *ignored;
    return ur__json_string(j, &ignored) && ur__json_need(j, ':');
}

bool ur__json_skip(ur__json *j)
{
    char close[DEPTH];  /* what ends the arrays and objects around the cursor */
    int depth = 0;
    if (*j->fault)
        return false;
    do {
        int c = peek(j);
        if (c == '{' || c == '[') {
            if (depth == DEPTH)
                return fault(j, "more than 64 values inside each other");
            j->at++;
            close[depth++] = c == '{' ? '}' : ']';
            if (!ur__json_next(j, close[depth - 1])) {
                if (c == '{' && !skip_key(j))
                    return false;
                continue;
            }
            depth--;
        } else if (!skip_scalar(j)) {
            return false;
        }
        /* Behind a value: another one, or the ends of what is around it. */
        while (depth > 0 && !ur__json_next(j, ',')) {
            if (!ur__json_need(j, close[depth - 1]))
                return false;
            depth--;
        }
        if (depth > 0 && close[depth - 1] == '}' && !skip_key(j))
            return false;
    } while (depth > 0);
    return true;
}
