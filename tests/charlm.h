/* charlm.h: for the tests of examples/charlm, which look at it as a user does: what it prints and
 * writes, how it ends. Texts and networks are tiny; what is compared is bits, not speed. */
#ifndef UNROLL_TESTS_CHARLM_H
#define UNROLL_TESTS_CHARLM_H

#include "examples/kit/kit.h"
#include "unroll/unroll.h"

#include "tests/child.h"
#include "tests/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <time.h>

/* ---- Running it ---- */

static char command[4096], *words[96];

static inline void exec_command(void)
{
    execv(words[0], words);
    _exit(98);
}

static inline void split(const char *format, va_list args)
{
    int n = 0;
    static char line[4000];
    vsnprintf(line, sizeof line, format, args);
    snprintf(command, sizeof command, "%s/examples/charlm %s", TEST_BUILD, line);
    for (char *w = strtok(command, " "); w && n < 95; w = strtok(NULL, " "))
        words[n++] = w;
    words[n] = NULL;
}

/* Runs charlm with these arguments, split at spaces; `child` has what it did. The exit status. */
static inline int charlm(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    split(format, args);
    va_end(args);
    run_child(exec_command);
    return child.status;
}

/* The same, printing what went wrong where something did. */
#define CHARLM(...) \
    do { \
        if (!CHECK_INT(charlm(__VA_ARGS__), 0)) \
            printf("  it said: %s", child.err); \
    } while (0)

/* ---- Texts, files ---- */

/* Writes a text of n letters that a small network soon learns: sentences of a tiny grammar. */
static inline const char *book(const char *name, int n)
{
    static const char *const who[] = { "the cat", "a dog", "the mouse" };
    static const char *const does[] = { " sees ", " likes ", " hunts " };
    static char text[100000];
    int used = 0;
    while (used < n)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s%s.\n",
                         who[(int)(3 * test_uniform())], does[(int)(3 * test_uniform())],
                         who[(int)(3 * test_uniform())]);
    text[n] = 0;
    const char *path = in_folder(name);
    fill(path, text);
    return path;
}

static inline void fill_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0)
        perror(path), exit(1);
}

/* A copy of a name from in_folder, which lasts. */
static inline const char *keep(const char *name)
{
    static char kept[64][128];
    static int n;
    snprintf(kept[n % 64], sizeof kept[0], "%s", in_folder(name));
    return kept[n++ % 64];
}

static const char tiny[] = "--hidden 12 --embed 6 --batch 4 --steps 8 --threads 1";

/* ---- Logs ---- */

/* The value of a number in a line of the log. */
static inline double field(const char *line, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    const char *at = strstr(line, quoted), *end = strchr(line, '\n');
    return at && (!end || at < end) ? strtod(at + strlen(quoted), NULL) : NAN;
}

#endif
