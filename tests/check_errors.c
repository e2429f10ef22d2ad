/* The gradient checker: what it refuses to check, and what its report says. */
#include "graph/internal.h"
#include "tests/checks.h"
#include "tests/counting.h"

/* -------------------------------------------------------------------------------------- errors */

static void misfit(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    out[0] = ur_matmul(in[0], in[1]);
}

static void unset(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    out[0] = in[0];
}

static void whole(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    out[0] = ur_argmax(in[0], 0);
}

static void constant(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)in, (void)ctx;
    out[0] = ur_scalar(g, 1);
}

typedef struct turns {
    int calls;
    ur_node W;
} turns;

/* uses a parameter every other time */
static void fickle(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    turns *t = ctx;
    (void)g;
    out[0] = ++t->calls % 2 ? ur_square(in[0]) : ur_mul(in[0], t->W);
}

static void carrying(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    ur_node s[1];
    ur_state_in(g, ctx, s);
    s[0] = ur_add(s[0], in[0]);
    out[0] = ur_square(s[0]);
    ur_state_out((ur_params *)ctx, s);
}

static void out_of_range(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const int32_t ids[] = { 1, 9 };
    (void)ctx;
    out[0] = ur_gather(in[0], ur_ints(g, ids, 2));
}

TEST(errors_are_reported)
{
    ur_report r = ur_check(misfit, .in = { ur_in("x", 2, 7), ur_in("W", 3, 16) });
    expect(&r, UR_CHECK_ERROR);
    CHECK_HAS(r.why, "matmul: x is [2,7] but W is [3,16]: inner sizes 7 and 3 differ");
    CHECK_HAS(r.why, "check_errors.c:");
    CHECK_INT(r.n_rows, 0);
    ur_report_free(&r);

    r = ur_check(unset, .in = { ur_in("x", 2) }, .outputs = 2);
    expect(&r, UR_CHECK_ERROR);
    CHECK_HAS(r.why, "output 1 was not set");
    ur_report_free(&r);

    r = ur_check(whole, .in = { ur_in("x", 2) });
    expect(&r, UR_CHECK_ERROR);
    CHECK_HAS(r.why, "all are int32");
    ur_report_free(&r);

    r = ur_check(constant, .order = 1);
    expect(&r, UR_CHECK_ERROR);
    CHECK_HAS(r.why, "nothing to check");
    ur_report_free(&r);

    r = ur_check(out_of_range, .in = { ur_in("table", 4, 2) });
    expect(&r, UR_CHECK_ERROR);
    CHECK_HAS(r.why, "9");
    ur_report_free(&r);
}

TEST(states_are_refused)
{
    ur_params *st = ur_params_new(UR_F64, 0);
    ur_param(st, "s", ur_constant(0), 3);
    const double *value = ur_values(st);
    ur_report r = ur_check(carrying, .in = { ur_in("x", 3) }, .ctx = st);
    expect(&r, UR_CHECK_ERROR);
    CHECK_HAS(r.why, "ur_state_out");
    CHECK_NEAR(value[0], 0, 0);
    ur_report_free(&r);
    ur_params_free(st);
}

TEST(other_recordings_are_refused)
{
    ur_params *ps = ur_params_new(UR_F64, 0);
    turns t = { 0, ur_param(ps, "W", ur_constant(0), 4) };
    ur_report r = ur_check(fickle, .in = { ur_in("x", 4) }, .ctx = &t);
    expect(&r, UR_CHECK_ERROR);
    CHECK_HAS(r.why, "something else the second time");
    ur_report_free(&r);
    ur_params_free(ps);
}

/* Every allocation of a check fails once: the report says so, unless nothing was lost but a plan
 * that could have been kept, a rule that could have been learned or room to grow into, and nothing
 * is left behind. */
TEST(without_memory)
{
    static const double x[] = { 0.1, 0.2, 0.3, 0.4 };
    long errors = 0, fail = 1;
    for (; fail < 2000; fail++) {
        counting_begin(fail);
        ur_report r = ur_check(cubic, .in = { ur_in_given("x", x, 4) }, .order = 2);
        long failed = counting.failed;
        errors += r.status == UR_CHECK_ERROR;
        if (r.status == UR_CHECK_ERROR)
            CHECK_HAS(r.why, "memory");
        else
            expect(&r, UR_CHECK_PASSED);
        ur_report_free(&r);
        counting_end();
        CHECK_INT(counting.blocks, 0);
        CHECK_INT(counting.wrong, 0);
        if (!failed)
            break;
    }
    CHECK(fail < 2000);
    CHECK(errors > fail * 4 / 5);
}

/* -------------------------------------------------------------------------------------- report */

TEST(report_is_a_table)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    net n = make_net(ps, 3, 4);
    ur_report r = ur_check(dense, .in = { ur_in("x", 2, 3) }, .ctx = &n);
    char text[2000];
    FILE *f = tmpfile();
    REQUIRE(f != NULL);
    ur_report_print(&r, f);
    rewind(f);
    size_t got = fread(text, 1, sizeof text - 1, f);
    text[got] = 0;
    fclose(f);
    CHECK_HAS(text, "tensor order elements checked kinks drowned    error  worst at");
    CHECK_HAS(text, "\nx          1        6       6     0 ");
    CHECK_HAS(text, "\nW          1       12      12     0 ");
    CHECK_HAS(text, "\npassed: 22 elements, 0 kinks, worst error ");
    ur_report_free(&r);
    CHECK(r.row == NULL);
    ur_report_free(&r);
    ur_params_free(ps);
}

TEST_MAIN(T(errors_are_reported), T(states_are_refused), T(other_recordings_are_refused),
          T(without_memory), T(report_is_a_table))
