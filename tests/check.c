/* The gradient checker itself: what it passes and catches, whom it names, what it leaves alone. */
#include "tests/test.h"
#include "tests/counting.h"
#include "graph/internal.h"
#include "unroll/check.h"
#include "unroll/op.h"
#include "unroll/ops.h"

/* Prints a report that was expected to be another one. */
static void expect(ur_report *r, ur_check_status status)
{
    if (!CHECK_INT(r->status, status))
        ur_report_print(r, stdout);
}

static const ur_check_row *row_of(const ur_report *r, const char *tensor, int order)
{
    for (int k = 0; k < r->n_rows; k++)
        if (strcmp(r->row[k].tensor, tensor) == 0 && r->row[k].order == order)
            return &r->row[k];
    return NULL;
}

/* ------------------------------------------------------------------------------- what is right */

typedef struct net {
    ur_node W, b;
} net;

static void dense(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const net *n = ctx;
    (void)g;
    out[0] = ur_tanh(ur_affine(in[0], n->W, n->b));
}

static net make_net(ur_params *ps, int I, int H)
{
    return (net){ ur_param(ps, "W", ur_xavier(), I, H),
                  ur_param(ps, "b", ur_uniform_between(-1, 1), H) };
}

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
static void cubic(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    out[0] = ur_mul(in[0], ur_square(in[0]));
}

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
    CHECK_HAS(r.why, "check.c:");
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
 * that could have been kept, and nothing is left behind. */
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
    CHECK(errors > fail * 9 / 10);
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

TEST_MAIN(T(layer_of_f64_passes), T(layer_of_f32_passes), T(store_is_not_written),
          T(several_outputs), T(second_order_is_the_second), T(same_seed_same_bits),
          T(sizes_do_not_matter), T(large_logits_pass), T(edge_of_the_domain), T(masks_pass),
          T(vanishing_gradient_passes), T(random_operations_repeat),
          T(reading_and_penalties_pass), T(worst_element_is_named), T(sensitivity),
          T(small_gradients_are_proven), T(wrong_second_derivative),
          T(missing_and_infinite_gradients), T(ops_by_their_samples), T(flat_ops_must_be_flat),
          T(op_without_samples), T(kinks_are_counted), T(kinks_nearby_are_avoided),
          T(even_kink_is_a_kink), T(large_tensors_are_sampled), T(sample_has_no_element_twice),
          T(kinks_of_a_sample_are_replaced), T(errors_are_reported), T(states_are_refused),
          T(other_recordings_are_refused), T(without_memory), T(report_is_a_table))
