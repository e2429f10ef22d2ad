/* test.h: the whole test harness. A test program includes it once and ends with its list of tests:
 *
 *     TEST(adds) { CHECK_INT(1 + 1, 2); }
 *     TEST(reads) { if (!folder) SKIP("no data"); REQUIRE(f != NULL); CHECK_NEAR(x, 0.5, 1e-12); }
 *     TEST_MAIN(T(adds), T(reads))
 *
 * A test that is missing from the list is an unused function, which the compiler reports.
 *     CHECK(cond)             cond holds              CHECK_STR(a, b)    equal strings or NULLs
 *     CHECK_INT(a, b)         equal whole numbers     CHECK_HAS(s, part) s contains part
 *     CHECK_NEAR(a, b, tol)   |a-b| <= tol or a == b; NaN is near nothing
 *     CHECK_MEM(a, b, bytes)  equal bytes             REQUIRE(cond)      CHECK, then leave the test
 *     SKIP(reason)            leaves the test, which counts as skipped
 * A CHECK is an expression of type bool; REQUIRE and SKIP are statements for the body of a test.
 * A failure prints file:line, the expressions and both values, at most 20 a test. A test without
 * a check fails. test_uniform() starts anew in every test, so numbers do not depend on the others.
 * Arguments of the program: substrings, of which a test's name must contain one to be run.
 * Output: a line a test, last `N passed, N failed` (`, N skipped`). Exit status 1 on any failure
 * or where no test was chosen. Checks belong to the main thread. */
#ifndef UNROLL_TESTS_TEST_H
#define UNROLL_TESTS_TEST_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* SANITIZED where AddressSanitizer watches, so that a slow test can be a smaller one. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

typedef struct { const char *name; void (*run)(void); } test_case;

static struct {
    const char *name, *skipped; /* the running test, and the reason it gave to skip */
    long checks, failures;      /* of the running test */
    uint64_t random;
} test_now;

#define TEST(name) static void test_##name(void)
#define T(name) { #name, test_##name }
#define TEST_MAIN(...) \
    static const test_case test_list[] = { __VA_ARGS__ }; \
    int main(int argc, char **argv) \
    { \
        return test_main(argc, argv, test_list, sizeof test_list / sizeof test_list[0]); \
    }

#define TEST_AT __FILE__, __LINE__
#define CHECK(cond) test_true(TEST_AT, #cond, (cond))
#define CHECK_INT(a, b) test_int(TEST_AT, #a, #b, (long long)(a), (long long)(b))
#define CHECK_STR(a, b) test_str(TEST_AT, #a, #b, (a), (b), false)
#define CHECK_HAS(s, part) test_str(TEST_AT, #s, #part, (s), (part), true)
#define CHECK_NEAR(a, b, tol) test_near(TEST_AT, #a, #b, (double)(a), (double)(b), (double)(tol))
#define CHECK_MEM(a, b, bytes) test_mem(TEST_AT, #a, #b, (a), (b), (size_t)(bytes))
#define REQUIRE(cond) do { if (!CHECK(cond)) return; } while (0)
#define SKIP(reason) do { test_now.skipped = (reason); return; } while (0)

/* Counts a check; true where the caller has a failure to print, whose place is then out. */
static inline bool test_failed(const char *file, int line, bool ok)
{
    test_now.checks++;
    if (ok || ++test_now.failures > 21)
        return false;
    bool more = test_now.failures < 21;
    printf(more ? "  %s:%d: in %s: " : "  %s:%d: and so on\n", file, line, test_now.name);
    return more;
}

static inline bool test_true(const char *file, int line, const char *text, bool ok)
{
    if (test_failed(file, line, ok))
        printf("%s does not hold\n", text);
    return ok;
}

static inline bool test_int(const char *file, int line, const char *ta, const char *tb,
                            long long a, long long b)
{
    if (test_failed(file, line, a == b))
        printf("%s is %lld but %s is %lld\n", ta, a, tb, b);
    return a == b;
}

static inline bool test_str(const char *file, int line, const char *ta, const char *tb,
                            const char *a, const char *b, bool part)
{
    bool ok = a && b ? (part ? strstr(a, b) != NULL : strcmp(a, b) == 0) : a == b && !part;
    if (test_failed(file, line, ok))
        printf("%s %s %s:\n    \"%.2000s\"\n    \"%.2000s\"\n", ta, part ? "lacks" : "is not", tb,
               a ? a : "(null)", b ? b : "(null)");
    return ok;
}

static inline bool test_near(const char *file, int line, const char *ta, const char *tb,
                             double a, double b, double tol)
{
    double off = a == b ? 0 : fabs(a - b);
    if (test_failed(file, line, off <= tol))
        printf("%s is %.17g but %s is %.17g: off %.3g, not %.3g\n", ta, a, tb, b, off, tol);
    return off <= tol;
}

static inline bool test_mem(const char *file, int line, const char *ta, const char *tb,
                            const void *a, const void *b, size_t bytes)
{
    const unsigned char *p = a, *q = b;
    size_t i = 0;
    while (i < bytes && p[i] == q[i])
        i++;
    if (test_failed(file, line, i == bytes))
        printf("%s and %s differ in byte %zu of %zu: %02x, %02x\n", ta, tb, i, bytes, p[i], q[i]);
    return i == bytes;
}

/* Uniform in [0, 1): the splitmix64 generator (Steele, Lea, Flood 2014), anew in each test. */
static inline double test_uniform(void)
{
    uint64_t z = test_now.random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static inline int test_main(int argc, char **argv, const test_case *list, size_t n)
{
    long count[3] = { 0 }; /* passed, failed, skipped */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* what was printed survives a crash */
    for (size_t i = 0; i < n; i++) {
        const char *name = list[i].name;
        bool chosen = argc < 2;
        for (int k = 1; k < argc && !chosen; k++)
            chosen = strstr(name, argv[k]) != NULL;
        if (!chosen)
            continue;
        memset(&test_now, 0, sizeof test_now);
        test_now.name = name;
        list[i].run();
        bool bad = test_now.failures || (!test_now.checks && !test_now.skipped);
        count[bad ? 1 : test_now.skipped ? 2 : 0]++;
        if (bad)
            printf("FAIL %s: %ld of %ld checks\n", name, test_now.failures, test_now.checks);
        else
            printf(test_now.skipped ? "skip %s: %s\n" : "ok   %s\n", name, test_now.skipped);
    }
    if (count[0] + count[1] + count[2] == 0)
        count[1] += printf("FAIL no test has a name that contains an argument\n") > 0;
    printf("%ld passed, %ld failed", count[0], count[1]);
    printf(count[2] ? ", %ld skipped\n" : "\n", count[2]);
    return count[1] != 0;
}

#endif
