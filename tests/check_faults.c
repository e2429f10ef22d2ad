/* The gradient checker: what is wrong is caught and named; kinks; samples of large tensors. */
#include "tests/checks.h"

/* ------------------------------------------------------------------------------- what is wrong */

UR_MAP_OP(right_cube, x *x *x, -2, 2, ur_mul(g, ur_scale(ur_square(x), 3)))
/* a tenth too much above 1.5 */
UR_MAP_OP(wrong_above, x *x *x, -2, 2,
          ur_mul(g, ur_scale(ur_mul(ur_square(x), ur_shift(ur_scale(ur_positive(ur_shift(x, -1.5)),
                                                                    0.1), 1)), 3)))
UR_MAP_OP(off_by_millionth, x *x *x, -2, 2, ur_mul(g, ur_scale(ur_square(x), 3.000003)))
UR_MAP_OP(off_by_hundred_millionth, x *x *x, -2, 2, ur_mul(g, ur_scale(ur_square(x), 3.00000003)))
UR_MAP_OP(off_line, x, -2, 2, ur_scale(g, 1.0000003))
/* The first derivative is right, and is a constant to the second. */
UR_MAP_OP(right_only_once, x *x *x, -2, 2, ur_mul(g, ur_scale(ur_square(ur_detach(x)), 3)))
UR_MAP_OP(no_gradient, x *x *x, -2, 2, ur_scale(g, 0))
UR_MAP_OP(not_finite, x *x *x, -2, 2, ur_div(g, ur_scale(g, 0)))
/* 0/0 above 1.5 */
UR_MAP_OP(nan_above, x *x *x, -2, 2,
          ur_mul(g, ur_where(ur_positive(ur_shift(x, -1.5)), ur_div(ur_sub(x, x), ur_sub(x, x)),
                             ur_scale(ur_square(x), 3))))
UR_MAP2_OP(right_product, a *b, -2, 2, ur_mul(g, b), ur_mul(g, a))
UR_MAP2_OP(wrong_product, a *b, -2, 2, ur_mul(g, a), ur_mul(g, b))

static void apply(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g;
    out[0] = ur_apply((const ur_op *)ctx, in[0]);
}

TEST(worst_element_is_named)
{
    const double x[] = { 0.1, -0.5, 1.2, 1.4, -1.9, 1.7 };
    ur_report r = ur_check(apply, .in = { ur_in_given("x", x, 2, 3) }, .ctx = (void *)&wrong_above);
    expect(&r, UR_CHECK_WRONG);
    CHECK_INT(r.worst, 0);
    REQUIRE(r.n_rows == 1);
    CHECK_INT(r.row[0].at, 5);
    CHECK_INT(r.row[0].checked, 6);
    CHECK_NEAR(r.row[0].analytic / r.row[0].numeric, 1.1, 1e-9);
    CHECK_NEAR(fabs(r.row[0].numeric), 3 * 1.7 * 1.7, 0.5 * 3 * 1.7 * 1.7);
    CHECK_NEAR(r.row[0].error, 0.1 / 2.1, 1e-4);
    CHECK_HAS(r.why, "x[1,2]: the first derivative is ");
    ur_report_free(&r);
}

static ur_report check_map(const ur_op *op, int order)
{
    return ur_check(apply, .in = { ur_in("x", 7) }, .ctx = (void *)op, .order = order);
}

TEST(sensitivity)
{
    ur_report r = check_map(&right_cube, 2);
    expect(&r, UR_CHECK_PASSED);
    ur_report_free(&r);
    r = check_map(&off_by_millionth, 1);
    expect(&r, UR_CHECK_WRONG);
    CHECK_NEAR(r.row[0].error, 5e-7, 1e-8);
    ur_report_free(&r);
    r = check_map(&off_by_hundred_millionth, 1);
    expect(&r, UR_CHECK_PASSED);
    CHECK_NEAR(r.row[0].error, 5e-9, 1e-9);
    ur_report_free(&r);
    r = ur_check(apply, .in = { ur_in("x", 7) }, .ctx = (void *)&off_by_hundred_millionth,
                 .bound = 1e-9);
    expect(&r, UR_CHECK_WRONG);
    ur_report_free(&r);
}

/* 1 + c x^3 near 0 and 1000 + x / 1000: gradients that are small beside the values, whose rounding
 * must not excuse what it does not explain. */
static void lifted(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g;
    out[0] = ur_shift(ur_apply((const ur_op *)ctx, in[0]), 1);
}

static void lifted_high(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g;
    out[0] = ur_shift(ur_scale(ur_apply((const ur_op *)ctx, in[0]), 1e-3), 1e3);
}

TEST(small_gradients_are_proven)
{
    const double x[] = { 0.01, -0.012, 0.009 };
    ur_report r = ur_check(lifted, .in = { ur_in_given("x", x, 3) }, .ctx = (void *)&right_cube);
    expect(&r, UR_CHECK_PASSED);
    CHECK_INT(r.row[0].drowned, 0);
    ur_report_free(&r);
    r = ur_check(lifted, .in = { ur_in_given("x", x, 3) }, .ctx = (void *)&off_by_millionth);
    expect(&r, UR_CHECK_WRONG);
    ur_report_free(&r);
    r = ur_check(lifted_high, .in = { ur_in("x", 3) }, .ctx = (void *)&off_line);
    expect(&r, UR_CHECK_WRONG);
    ur_report_free(&r);
}

TEST(wrong_second_derivative)
{
    ur_report r = check_map(&right_only_once, 1);
    expect(&r, UR_CHECK_PASSED);
    ur_report_free(&r);
    r = check_map(&right_only_once, 2);
    expect(&r, UR_CHECK_WRONG);
    CHECK_HAS(r.why, "the second derivative is 0 ");
    ur_report_free(&r);
}

TEST(missing_and_infinite_gradients)
{
    ur_report r = check_map(&no_gradient, 1);
    expect(&r, UR_CHECK_WRONG);
    CHECK_NEAR(r.row[0].error, 1, 1e-12);
    ur_report_free(&r);
    r = check_map(&not_finite, 1);
    expect(&r, UR_CHECK_WRONG);
    CHECK(r.row[0].error > 1e300);
    ur_report_free(&r);
    const double x[] = { 0.1, -0.5, 1.7, 1.2 };
    r = ur_check(apply, .in = { ur_in_given("x", x, 4) }, .ctx = (void *)&nan_above);
    expect(&r, UR_CHECK_WRONG);
    CHECK_HAS(r.why, "x[2]: the first derivative is ");
    CHECK_HAS(r.why, "nan but differences of values give ");
    ur_report_free(&r);
}

TEST(ops_by_their_samples)
{
    static const ur_op *const right[] = { &right_cube, &right_product };
    static const ur_op *const wrong[] = { &wrong_above, &off_by_millionth, &right_only_once,
                                          &wrong_product };
    for (size_t k = 0; k < 2; k++) {
        ur_report r = ur_check_op(right[k], 2);
        expect(&r, UR_CHECK_PASSED);
        CHECK(r.n_rows >= 6 && r.checked > 30);
        ur_report_free(&r);
    }
    for (size_t k = 0; k < 4; k++) {
        ur_report r = ur_check_op(wrong[k], 2);
        expect(&r, UR_CHECK_WRONG);
        ur_report_free(&r);
    }
    /* 12 shapes with 2 operands each: every one is perturbed */
    ur_report r = ur_check_op(&right_product, 1);
    CHECK_INT(r.n_rows, 2 * 13);
    CHECK(row_of(&r, "12: x1", 1) != NULL);
    ur_report_free(&r);
}

/* Steps of 1/8: flat almost everywhere, and marked so; a ramp with the same mark is a lie. */
static void steps_f64(size_t n, void *y, const void *a, const void *b, const void *c)
{
    (void)b, (void)c;
    for (size_t i = 0; i < n; i++)
        ((double *)y)[i] = floor(8 * ((const double *)a)[i]) / 8;
}
static void ramp_f64(size_t n, void *y, const void *a, const void *b, const void *c)
{
    (void)b, (void)c;
    memmove(y, a, n * sizeof(double));
}

TEST(flat_ops_must_be_flat)
{
    const ur_op steps = { .name = "steps", .kind = UR_MAP, .n_in = 1, .f64 = steps_f64, .lo = -2,
                          .hi = 2, .flags = UR_FLAT };
    ur_op ramp = steps;
    ramp.f64 = ramp_f64;
    ur_report r = ur_check_op(&steps, 1);
    expect(&r, UR_CHECK_PASSED);
    CHECK(r.checked > 10);
    ur_report_free(&r);
    r = ur_check_op(&ramp, 1);
    expect(&r, UR_CHECK_WRONG);
    ur_report_free(&r);
}

TEST(op_without_samples)
{
    const ur_op op = { .name = "bare", .kind = UR_MAP, .n_in = 1, .rule = right_cube.rule };
    ur_report r = ur_check_op(&op, 1);
    expect(&r, UR_CHECK_ERROR);
    CHECK_STR(r.why, "bare has no samples");
    ur_report_free(&r);
}

/* --------------------------------------------------------------------------------------- kinks */

static void relu_of(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    out[0] = ur_relu(in[0]);
}

/* 200 numbers away from 0, the first ones replaced. */
static void away(double x[200], const double *first, size_t n)
{
    for (size_t i = 0; i < 200; i++)
        x[i] = i < n ? first[i] : (i % 2 ? 1 : -1) * (0.1 + 0.01 * (double)(i % 90));
}

TEST(kinks_are_counted)
{
    double x[200];
    const double zeros[] = { 0, 0, 0 };
    away(x, zeros, 2);
    ur_report r = ur_check(relu_of, .in = { ur_in_given("x", x, 200) });
    expect(&r, UR_CHECK_PASSED);
    CHECK_INT(r.kinks, 2);
    CHECK_INT(r.checked, 198);
    ur_report_free(&r);
    away(x, zeros, 3);
    r = ur_check(relu_of, .in = { ur_in_given("x", x, 200) });
    expect(&r, UR_CHECK_KINKS);
    CHECK_HAS(r.why, "3 of 200 elements lie at kinks, most of them in x");
    ur_report_free(&r);
}

TEST(kinks_nearby_are_avoided)
{
    double x[200];
    const double near[] = { 1e-3, -1e-3, 3e-3, 1e-4, -3e-5, 0.06, 2e-3, 1. / 256, 1. / 512 };
    away(x, near, sizeof near / sizeof *near);
    ur_report r = ur_check(relu_of, .in = { ur_in_given("x", x, 200) });
    expect(&r, UR_CHECK_PASSED);
    CHECK_INT(r.kinks, 0);
    ur_report_free(&r);
}

/* |x| is even: at 0 the differences say 0 for every h, and only the curvature tells. */
static void abs_of(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    out[0] = ur_abs(in[0]);
}

TEST(even_kink_is_a_kink)
{
    const double x[] = { 0 };
    ur_report r = ur_check(abs_of, .in = { ur_in_given("x", x, 1) });
    expect(&r, UR_CHECK_KINKS);
    ur_report_free(&r);
}

/* ------------------------------------------------------------------------------------ sampling */

static void look_up(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g;
    const ur_node *op_or_table = ctx;
    out[0] = ur_square(ur_gather(*op_or_table, in[0]));
}

TEST(large_tensors_are_sampled)
{
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_node table = ur_param(ps, "table", ur_normal_with(0, 1), 500, 40);
    ur_report r = ur_check(look_up, .in = { ur_in_ints("ids", 500, 3) }, .ctx = &table);
    expect(&r, UR_CHECK_PASSED);
    const ur_check_row *row = row_of(&r, "table", 1);
    REQUIRE(row != NULL && r.n_rows == 1);
    CHECK_INT(row->elements, 20000);
    CHECK_INT(row->checked, 256);
    CHECK(row->analytic != 0);      /* 120 of 20000 have a gradient, but half of a sample */
    ur_report_free(&r);
    r = ur_check(look_up, .in = { ur_in_ints("ids", 500, 3) }, .ctx = &table, .elements = 20000);
    expect(&r, UR_CHECK_PASSED);
    CHECK_INT(r.checked, 20000);
    ur_report_free(&r);
    ur_params_free(ps);
}

TEST(sample_has_no_element_twice)
{
    ur_params *ps = ur_params_new(UR_F64, 1);
    ur_node table = ur_param(ps, "table", ur_normal_with(0, 1), 30, 10);
    ur_report r = ur_check(look_up, .in = { ur_in_ints("ids", 30, 3) }, .ctx = &table,
                           .elements = 299);
    expect(&r, UR_CHECK_PASSED);
    CHECK_INT(r.checked, 299);
    ur_report_free(&r);
    ur_params_free(ps);
}

TEST(kinks_of_a_sample_are_replaced)
{
    double x[400];
    for (int i = 0; i < 400; i++)
        x[i] = i % 90 == 0 ? 0 : 0.5 + i;
    ur_report r = ur_check(relu_of, .in = { ur_in_given("x", x, 400) }, .elements = 390,
                           .bound = 1e-7);
    CHECK_INT(r.checked + r.kinks > 390, r.kinks > 0);
    CHECK_INT(r.checked, 390);
    expect(&r, r.kinks > 3 ? UR_CHECK_KINKS : UR_CHECK_PASSED);
    ur_report_free(&r);
}

TEST_MAIN(T(worst_element_is_named), T(sensitivity), T(small_gradients_are_proven),
          T(wrong_second_derivative), T(missing_and_infinite_gradients), T(ops_by_their_samples),
          T(flat_ops_must_be_flat), T(op_without_samples), T(kinks_are_counted),
          T(kinks_nearby_are_avoided), T(even_kink_is_a_kink), T(large_tensors_are_sampled),
          T(sample_has_no_element_twice), T(kinks_of_a_sample_are_replaced))
