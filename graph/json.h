/* json.h: the JSON of file headers (RFC 8259), read in place and without allocating.
 *
 * The reader is a cursor over a buffer that it may overwrite: the caller asks for what must come
 * next, and strings are decoded where they lie, since no escape is shorter than what it stands for.
 *
 *     ur__json j;
 *     if (ur__json_start(&j, text, n) && ur__json_need(&j, '{')) ...
 *
 * Every function returns false at the first fault, which then stays: `fault` says what is wrong,
 * and `at` points to where. White space (space, tab, line feed, carriage return) is skipped before
 * what is asked for. Keys are not compared with each other; that is the caller's business. */
#ifndef UR_GRAPH_JSON_H
#define UR_GRAPH_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ur__json {
    char *begin, *at, *end;
    char fault[64];             /* "" while all is well */
} ur__json;

/* Reads text[0..n), which stays the caller's and must outlive the strings. Fails where the text is
 * not UTF-8. A byte order mark is not white space and thus a fault for whoever needs a '{'. */
bool ur__json_start(ur__json *j, char *text, size_t n);

/* Takes c if it comes next. False is no fault. */
bool ur__json_next(ur__json *j, char c);
/* Takes c; a fault if something else comes next. */
bool ur__json_need(ur__json *j, char c);
/* Only white space may be left. */
bool ur__json_done(ur__json *j);

/* A string, decoded and ended by 0. It cannot hold a zero byte: \u0000 is a fault, and so are half
 * surrogate pairs, unknown escapes and bare control characters. */
bool ur__json_string(ur__json *j, const char **s);

/* A whole number from 0 to 2^64 - 1. A sign, fraction, exponent or leading zero is a fault. */
bool ur__json_integer(ur__json *j, uint64_t *value);

/* Any one value, which is checked and forgotten; at most 64 arrays and objects in each other. */
bool ur__json_skip(ur__json *j);

/* Writes s in quotes and escaped, without a final 0, and returns the number of bytes; with NULL for
 * out it only counts. s must be UTF-8. */
size_t ur__json_quote(char *out, const char *s);

/* The length of the longest valid UTF-8 start of s[0..n): n if all is well. Overlong forms,
 * surrogates and what lies beyond U+10FFFF are invalid (RFC 3629). */
size_t ur__utf8_valid(const char *s, size_t n);

#endif
