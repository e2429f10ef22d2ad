/* resumed.h: for tests of runs that were stopped and resumed: whether two runs left the same, but
 * for what they took in seconds. */
#ifndef UNROLL_TESTS_RESUMED_H
#define UNROLL_TESTS_RESUMED_H

#include "examples/kit/kit.h"

#include "tests/child.h"
#include "tests/test.h"

/* Cuts what stands between `key` and the next `end` out of a text. */
static inline void blank(char *text, const char *key, char end)
{
    for (char *at = text; (at = strstr(at, key)) != NULL;) {
        at += strlen(key);
        const char *rest = strchr(at, end);
        if (rest)
            memmove(at, rest, strlen(rest) + 1);
    }
}

/* Two saved files: all tensors, and all texts. */
static inline bool check_same_saved(const char *a, const char *b)
{
    static const char *const seconds[] = { "at.seconds\":\"", "at.busy\":\"", "at.elapsed\":\"" };
    const char *path[2] = { a, b };
    char *bytes[2] = { NULL, NULL }, *header[2] = { NULL, NULL };
    size_t n[2] = { 0, 0 }, head[2] = { 0, 0 };
    bool same = true;
    for (int k = 0; k < 2 && same; k++) {
        uint64_t size = 0;
        same = CHECK(kit_read_file(path[k], &bytes[k], &n[k])) && CHECK(n[k] > 8);
        if (!same)
            break;
        memcpy(&size, bytes[k], 8); /* tests run on little-endian machines */
        head[k] = 8 + (size_t)size;
        header[k] = strndup(bytes[k] + 8, (size_t)size);
        for (size_t i = 0; i < 3; i++) {
            CHECK_HAS(header[k], seconds[i]);
            blank(header[k], seconds[i], '"');
        }
        header[k][strcspn(header[k], "\n")] = 0;
        for (size_t end = strlen(header[k]); end > 0 && header[k][end - 1] == ' ';)
            header[k][--end] = 0;
    }
    same = same && CHECK_STR(header[0], header[1]) && CHECK_INT(n[0] - head[0], n[1] - head[1])
           && CHECK_MEM(bytes[0] + head[0], bytes[1] + head[1], n[0] - head[0]);
    for (int k = 0; k < 2; k++)
        free(bytes[k]), free(header[k]);
    return same;
}

/* Two logs, line by line. */
static inline bool check_same_logs(const char *a, const char *b)
{
    char *text[2] = { strdup(content(a)), strdup(content(b)) };
    for (int k = 0; k < 2; k++) {
        blank(text[k], "_per_s\": ", ',');
        blank(text[k], "\"seconds\": ", '}');
    }
    bool same = CHECK(*text[0] != 0) && CHECK_STR(text[0], text[1]);
    free(text[0]), free(text[1]);
    return same;
}

#endif
