/* errors.h: what the tests of error texts share. A mistake is a test of its own: its whole line,
 * with the program's own file and line number, which `@` stands for. It is told once, to the graph
 * or the store that it belongs to; it stays, and who has it does nothing any more.
 *
 *     MISTAKE(nil_operand, "@: mul: c is nil")
 *     {
 *         ur_node c = { 0 };
 *         HERE ur_mul(x, c);
 *     }
 */
#ifndef UNROLL_TESTS_ERRORS_H
#define UNROLL_TESTS_ERRORS_H

#include "tests/test.h"
#include "unroll/unroll.h"

/* What the mistakes use. */
static ur_graph *g, *other;
static ur_params *ps;
static ur_node x;               /* [2,7] */

/* Where the mistake is; in front of it. */
static const char *file;
static int line;
#define HERE file = __FILE__, line = __LINE__,

#define MISTAKE(name, text)                                                                        \
    static void name(void);                                                                        \
    TEST(name) { mistaken(name, text); }                                                           \
    static void name(void)

static struct {
    int calls;
    const void *where;
    char text[700];
} hooked;

static void hook(void *user, const void *graph_or_store, const char *text)
{
    (void)user;
    hooked.calls++;
    hooked.where = graph_or_store;
    snprintf(hooked.text, sizeof hooked.text, "%s", text);
}

static void check_text(const char *expected)
{
    const void *where = ur_error(g) ? (const void *)g : ps;
    CHECK_STR(ur_error(where), expected);
    CHECK(!ur_error(g) || !ur_error(ps));
    CHECK(!ur_error(other));
    CHECK_INT(hooked.calls, 1);
    CHECK(hooked.where == where);
    CHECK_STR(hooked.text, expected);
    if (where != g)
        return;
    ur_clear(g);
    CHECK(ur_is_nil(ur_zeros(g, 2)));
    CHECK(!ur_run(g) && !ur_rerun(g));
    CHECK_STR(ur_error(g), expected);
    ur_error_reset(g);
    CHECK_NEAR(ur_value(ur_sum(ur_shift(ur_zeros(g, 3), 1))), 3, 0);
}

static void mistaken(void (*mistake)(void), const char *text)
{
    char expected[700];
    ur_set_error_hook(hook, NULL);
    g = ur_graph_new(UR_F32, UR_TRAIN);
    other = ur_graph_new(UR_F32, UR_TRAIN);
    ps = ur_params_new(UR_F32, 1);
    x = ur_zeros(g, 2, 7);
    hooked.calls = 0;
    mistake();
    snprintf(expected, sizeof expected, "%s", text);
    if (*text == '@') {
        const char *base = strrchr(file, '/');
        snprintf(expected, sizeof expected, "%s:%d%s", base ? base + 1 : file, line, text + 1);
    }
    check_text(expected);
    ur_graph_free(g);
    ur_graph_free(other);
    ur_params_free(ps);
    ur_set_error_hook(NULL, NULL);
}

static ur_node param(const char *name, int rows, int columns)
{
    return ur_param(ps, name, ur_constant(1), rows, columns);
}

#endif
