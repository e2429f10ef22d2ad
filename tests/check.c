/* The gradient checker: what is right passes, and what it leaves alone. */
#include "graph/internal.h"
#include "tests/checks.h"

static void layer_passes(ur_type type)
{
    ur_params *ps = ur_params_new(type, 7);
    net n = make_net(ps, 3, 4);
    ur_report r = ur_check(dense, .in = { ur_in("x", 2, 3) }, .ctx = &n, .order = 2);
    expect(&r, UR_CHECK_PASSED);
    CHECK_STR(r.why, "");
    CHECK_INT(r.n_rows, 6);
    CHECK_INT(r.checked, 2 * (6 + 12 + 4));
    CHECK_INT(r.kinks, 0);
    static const char *const names[] = { "x", "W", "b" };
    for (int order = 1; order <= 2; order++)
        for (int k = 0; k < 3; k++) {
            const ur_check_row *row = row_of(&r, names[k], order);
            REQUIRE(row != NULL);
            CHECK_INT(row->checked, row->elements);
            CHECK(row->error >= 0 && row->error <= 1e-8);
            CHECK(row->analytic != 0 && fabs(row->analytic - row->numeric) < 1e-8);
        }
    ur_report_free(&r);
    ur_params_free(ps);
}

TEST(layer_of_f64_passes) { layer_passes(UR_F64); }
TEST(layer_of_f32_passes) { layer_passes(UR_F32); }

TEST(store_is_not_written)
{
    for (int f64 = 0; f64 < 2; f64++) {
        ur_params *ps = ur_params_new(f64 ? UR_F64 : UR_F32, 7);
        net n = make_net(ps, 3, 4);
        char *values = ur_values(ps), *gradients = ur_gradients(ps), before[2][512];
        size_t bytes = ps->padded * (f64 ? 8 : 4);
        REQUIRE(values && gradients && bytes <= sizeof before[0]);
        memset(gradients, 0x3c, bytes);
        ur_gradients_changed(ps);
        memcpy(before[0], values, bytes);
        memcpy(before[1], gradients, bytes);
        uint64_t version = ps->version;
        ur_report r = ur_check(dense, .in = { ur_in("x", 2, 3) }, .ctx = &n, .order = 2);
        expect(&r, UR_CHECK_PASSED);
        CHECK_MEM(values, before[0], bytes);
        CHECK_MEM(gradients, before[1], bytes);
        CHECK_INT(ps->version, version);
        CHECK(ur_gradient_ready(ps));
        ur_report_free(&r);
        ur_params_free(ps);
    }
}

/* y0 = x0 x1^2, y1 = sum x0, y2 = x1 itself, an input; y3 is int32 and has no gradient. */
static void several(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    out[0] = ur_mul(in[0], ur_square(in[1]));
    out[1] = ur_sum(in[0]);
    out[2] = in[1];
    out[3] = ur_argmax(in[0], 0);
}

TEST(several_outputs)
{
    ur_report r = ur_check(several, .in = { ur_in("a", 5), ur_in("b", 5) }, .outputs = 4,
                           .order = 2);
    expect(&r, UR_CHECK_PASSED);
    ur_report_free(&r);
}

/* d/dx of w x^3 is 3 w x^2, and of v (3 w x^2) it is 6 v w x, with weights w and v between 0.5 and
 * 1.5 in size. */
TEST(second_order_is_the_second)
{
    const double x[] = { 0.8 };
    ur_report r = ur_check(cubic, .in = { ur_in_given("x", x, 1) }, .order = 2);
    expect(&r, UR_CHECK_PASSED);
    const ur_check_row *first = row_of(&r, "x", 1), *second = row_of(&r, "x", 2);
    REQUIRE(first && second);
    double w = first->analytic / (3 * 0.8 * 0.8), v = second->analytic / (6 * w * 0.8);
    CHECK(fabs(w) >= 0.5 && fabs(w) <= 1.5);
    CHECK(fabs(v) >= 0.5 && fabs(v) <= 1.5);
    ur_report_free(&r);
}

TEST(same_seed_same_bits)
{
    ur_report a = ur_check(cubic, .in = { ur_in("x", 4) }, .seed = 3);
    ur_report b = ur_check(cubic, .in = { ur_in("x", 4) }, .seed = 3);
    ur_report c = ur_check(cubic, .in = { ur_in("x", 4) }, .seed = 4);
    REQUIRE(a.n_rows == 1 && b.n_rows == 1 && c.n_rows == 1);
    CHECK_MEM(&a.row[0].analytic, &b.row[0].analytic, sizeof(double));
    CHECK_MEM(&a.row[0].numeric, &b.row[0].numeric, sizeof(double));
    CHECK(a.row[0].analytic != c.row[0].analytic);
    ur_report_free(&a);
    ur_report_free(&b);
    ur_report_free(&c);
}

/* Values and gradients of all sizes: an offset that rounding would drown small gradients in, a
 * natural scale far from 1, large logits. */
static void scaled(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const double *k = ctx;
    (void)g;
    out[0] = ur_shift(ur_scale(ur_tanh(ur_scale(in[0], k[0])), k[1]), k[2]);
}

TEST(sizes_do_not_matter)
{
    static const double k[][3] = {
        { 1, 1e-9, 0 }, { 1, 1e9, 0 }, { 50, 1, 0 }, { 1e-3, 1, 0 }, { 1, 1, 1e6 },
        { 30, 1e-6, 10 },
    };
    for (size_t i = 0; i < sizeof k / sizeof *k; i++) {
        ur_report r = ur_check(scaled, .in = { ur_in("x", 6) }, .ctx = (void *)k[i], .order = 2);
        if (r.status != UR_CHECK_PASSED)
            printf("  case %zu:\n", i);
        expect(&r, UR_CHECK_PASSED);
        ur_report_free(&r);
    }
}

static void softmax_of(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    out[0] = ur_softmax(in[0]);
    out[1] = ur_log_softmax(in[0]);
}

TEST(large_logits_pass)
{
    const double x[] = { 1e4, 1e4 - 0.5, 1e4 - 1.25, 1e4 + 0.75 };
    ur_report r = ur_check(softmax_of, .in = { ur_in_given("x", x, 1, 4) }, .outputs = 2);
    expect(&r, UR_CHECK_PASSED);
    ur_report_free(&r);
}

/* Near the edge of the domain, where the first steps leave it. */
static void log_of(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    out[0] = ur_log(in[0]);
}

TEST(edge_of_the_domain)
{
    const double x[] = { 0.5, 2e-3, 3e-4 }, zero[] = { 0.5, 0 };
    ur_report r = ur_check(log_of, .in = { ur_in_given("x", x, 3) });
    expect(&r, UR_CHECK_PASSED);
    CHECK_INT(r.kinks, 0);
    ur_report_free(&r);
    r = ur_check(log_of, .in = { ur_in_given("x", zero, 2) });
    expect(&r, UR_CHECK_WRONG);
    CHECK_HAS(r.why, "x[1]: the first derivative is ");
    ur_report_free(&r);
}

/* NaN and -inf behind a mask: outputs that are infinite, and stay so, are no obstacle. */
static void masked(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const double keep[] = { 1, 0, 1, 1, 0 };
    (void)ctx;
    ur_node m = ur_input(g, keep, 5), x = ur_select(m, in[0]);
    out[0] = ur_log_softmax(ur_where(m, x, ur_scalar(g, (double)-INFINITY)));
    out[1] = ur_square(x);
}

TEST(masks_pass)
{
    const double x[] = { 0.5, (double)NAN, -1, 0.25, 3 };
    ur_report r = ur_check(masked, .in = { ur_in_given("x", x, 5) }, .outputs = 2, .order = 2);
    expect(&r, UR_CHECK_PASSED);
    CHECK_INT(r.checked, 10);
    ur_report_free(&r);
}

/* The gradient of a bias that softmax does not see is 0 but for rounding, on both sides. */
static void blind(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    out[0] = ur_softmax(ur_add(in[0], in[1]));
}

TEST(vanishing_gradient_passes)
{
    ur_report r = ur_check(blind, .in = { ur_in("x", 3, 5), ur_in("bias", 3, 1) }, .order = 2);
    expect(&r, UR_CHECK_PASSED);
    ur_report_free(&r);
}

static void random_one(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)ctx;
    ur_node x = ur_dropout(in[0], 0.3);
    out[0] = ur_mul(ur_square(x), ur_noise_normal(g, 1, 8));
}

TEST(random_operations_repeat)
{
    ur_report r = ur_check(random_one, .in = { ur_in("x", 8) }, .order = 2);
    expect(&r, UR_CHECK_PASSED);
    ur_report_free(&r);
}

/* A function that reads a value halfway, which cuts its tape into sections, and one that uses a
 * gradient: both are functions like any other. */
static void reading(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    ur_node y = ur_sum(ur_square(in[0]));
    out[0] = ur_value(y) > 0 ? ur_tanh(ur_mul(y, in[0])) : in[0];
}

static void penalty(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    ur_node y = ur_sum(ur_tanh(in[0])), slope;
    ur_grad(&y, NULL, 1, in, 1, &slope);
    out[0] = ur_sum(ur_square(slope));
}

TEST(reading_and_penalties_pass)
{
    ur_report r = ur_check(reading, .in = { ur_in("x", 3) }, .order = 2);
    expect(&r, UR_CHECK_PASSED);
    ur_report_free(&r);
    r = ur_check(penalty, .in = { ur_in("x", 3) }, .order = 2);
    expect(&r, UR_CHECK_PASSED);
    ur_report_free(&r);
}

TEST_MAIN(T(layer_of_f64_passes), T(layer_of_f32_passes), T(store_is_not_written),
          T(several_outputs), T(second_order_is_the_second), T(same_seed_same_bits),
          T(sizes_do_not_matter), T(large_logits_pass), T(edge_of_the_domain), T(masks_pass),
          T(vanishing_gradient_passes), T(random_operations_repeat), T(reading_and_penalties_pass))
