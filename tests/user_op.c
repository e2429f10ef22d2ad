/* Operations of a user's own, in the user's own file and by public headers alone: two maps by
 * macro, two structural operations by descriptor. Their values, their gradients by the check, and
 * what happens when they are wrong. */
#include <math.h>
#include <string.h>
#include "tests/test.h"
#include "unroll/unroll.h"

/* y = x sigmoid(x)      dy/dx = s + y (1 - s), s = sigmoid(x) */
UR_MAP_OP(swish, x / (1 + exp(-x)), -3, 3,
          ur_mul(g, ur_add(ur_sigmoid(x), ur_mul(y, ur_one_minus(ur_sigmoid(x))))))

/* y = sqrt(a^2 + b^2)      dy/da = a / y, dy/db = b / y */
UR_MAP2_OP(hypotenuse, sqrt(a * a + b * b), 0.5, 2,
           ur_mul(g, ur_div(a, y)), ur_mul(g, ur_div(b, y)))

/* The first again, with a rule that forgets a term. */
UR_MAP_OP(wrong_swish, x / (1 + exp(-x)), -3, 3, ur_mul(g, ur_sigmoid(x)))

/* ------------------------------------------------------ y[.., (i + k) mod n] = x[.., i], attr k */

static ur_node roll(ur_node x, int64_t k);

static bool roll_shape(ur_shaping *s)
{
    s->out = s->in[0];
    return (s->in[0].rank > 0 && s->type_in[0] != UR_I32) ||
           ur_refuse(s, "%0, and only rows of numbers can be rolled by %d", (int)s->attr[0]);
}

static void roll_compute(const ur_compute *c)
{
    size_t n = (size_t)c->shape.dim[c->shape.rank - 1], rows = 1;
    size_t size = c->precision == UR_F64 ? sizeof(double) : sizeof(float);
    for (int i = 0; i < c->shape.rank - 1; i++)
        rows *= (size_t)c->shape.dim[i];
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            size_t to = (i + (size_t)(c->attr[0] + (int64_t)n)) % n;
            memcpy((char *)c->out + (r * n + to) * size,
                   (const char *)c->in[0] + (r * n + i) * size, size);
        }
}

static void roll_rule(ur_rule *r)
{
    ur_give(r, 0, roll(r->g, -r->attr[0]));
}

static ur_node roll_sample(ur_draw *d, int which)
{
    switch (which) {
    case 0: return roll(ur_draw_input(d, -1, 1, 5), 2);
    case 1: return roll(ur_draw_input(d, -1, 1, 2, 3), -1);
    default: return (ur_node){ 0 };
    }
}

static const ur_op roll_op = {
    .name = "roll", .kind = UR_OPAQUE, .n_in = 1, .shape = roll_shape, .compute = roll_compute,
    .rule = roll_rule, .sample = roll_sample,
};

static ur_node roll(ur_node x, int64_t k)
{
    return ur_record(UR_AT("x"), &roll_op, &x, 1, &k, 1);
}

/* ---------------------------------------- y[b] = |x[b, :]|      dx = x (g / y), a row at a time */

static bool norm_shape(ur_shaping *s)
{
    if (s->in[0].rank != 2)
        return ur_refuse(s, "%0, but the norm is that of the rows of a matrix");
    s->out.rank = 1;
    s->out.dim[0] = s->in[0].dim[0];
    return true;
}

static void norm_compute(const ur_compute *c)
{
    const int B = c->shape_in[0].dim[0], n = c->shape_in[0].dim[1];
    for (int b = 0; b < B; b++) {
        double sum = 0;
        for (int i = b * n; i < (b + 1) * n; i++) {
            double x = c->precision == UR_F64 ? ((const double *)c->in[0])[i]
                                              : ((const float *)c->in[0])[i];
            sum += x * x;
        }
        if (sum == 0)
            ur_compute_fail(c, "row %d is zero and has no direction", b);
        if (c->precision == UR_F64)
            ((double *)c->out)[b] = sqrt(sum);
        else
            ((float *)c->out)[b] = (float)sqrt(sum);
    }
}

static const ur_op norm_op;

static void norm_rule(ur_rule *r)
{
    ur_node q = ur_div(r->g, r->y);
    ur_give(r, 0, ur_mul(r->in[0], ur_reshape(q, ur_dim(q, 0), 1)));
}

static ur_node norm_sample(ur_draw *d, int which)
{
    return which == 0 ? ur_apply(&norm_op, ur_draw_input(d, 0.2, 1, 3, 4)) : (ur_node){ 0 };
}

static const ur_op norm_op = {
    .name = "norm", .kind = UR_OPAQUE, .n_in = 1, .shape = norm_shape, .compute = norm_compute,
    .rule = norm_rule, .sample = norm_sample,
};

/* ---------------------------------------------------------------------------------------- tests */

TEST(values_in_both_precisions)
{
    const double x[] = { -1, 0, 2, 1, 3, 4 };
    const float f[] = { -1, 0, 2, 1, 3, 4 };
    for (int k = 0; k < 2; k++) {
        ur_graph *g = ur_graph_new(k ? UR_F32 : UR_F64, UR_TRAIN);
        ur_node in = ur_input(g, k ? (const void *)f : x, 2, 3);
        ur_node s = ur_sum_over(ur_apply(&swish, in), 0), n = ur_apply(&norm_op, in);
        ur_node r = roll(in, 1), h = ur_apply(&hypotenuse, in, ur_scalar(g, 3));
        const double tol = k ? 1e-6 : 1e-15;
        for (int i = 0; i < 3; i++)
            CHECK_NEAR(ur_value(ur_index(s, 0, i)),
                       x[i] / (1 + exp(-x[i])) + x[i + 3] / (1 + exp(-x[i + 3])), 4 * tol);
        CHECK_NEAR(ur_value(ur_index(n, 0, 0)), sqrt(5), 2 * tol);
        CHECK_NEAR(ur_value(ur_index(n, 0, 1)), sqrt(26), 4 * tol);
        CHECK_NEAR(ur_value(ur_index(ur_index(r, 0, 1), 0, 0)), 4, 0);
        CHECK_NEAR(ur_value(ur_index(ur_index(r, 0, 0), 0, 2)), 0, 0);
        CHECK_NEAR(ur_value(ur_index(ur_index(h, 0, 1), 0, 2)), 5, 4 * tol);
        CHECK_STR(ur_error(g), NULL);
        ur_graph_free(g);
    }
}

static void passes(const ur_op *op)
{
    ur_report r = ur_check_op(op, 2);
    CHECK(r.checked > 0);
    if (!CHECK_INT(r.status, UR_CHECK_PASSED))
        ur_report_print(&r, stdout);
    ur_report_free(&r);
}

TEST(gradients_by_being_written_down)
{
    passes(&swish);
    passes(&hypotenuse);
    passes(&roll_op);
    passes(&norm_op);
    ur_report r = ur_check_op(&wrong_swish, 1);
    CHECK_INT(r.status, UR_CHECK_WRONG);
    ur_report_free(&r);
}

/* In the middle of a model with parameters, next to built-in operations and fused with them. */
static void model(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const ur_node *W = (const ur_node *)ctx;
    ur_node h = ur_apply(&swish, ur_add(ur_matmul(in[0], *W), ur_scalar(g, 0.1)));
    ur_node k = ur_apply(&hypotenuse, ur_shift(ur_square(h), 0.5), ur_exp(roll(h, 1)));
    out[0] = ur_div(roll(k, -2), ur_reshape(ur_apply(&norm_op, k), 3, 1));
}

TEST(in_a_model)
{
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_node W = ur_param(ps, "W", ur_xavier(), 4, 5);
    ur_report r = ur_check(model, .in = { ur_in("x", 3, 4) }, .ctx = &W, .order = 2);
    if (!CHECK_INT(r.status, UR_CHECK_PASSED))
        ur_report_print(&r, stdout);
    ur_report_free(&r);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_node x = ur_input(g, ((float[12]){ 1, 2, 3 }), 3, 4), y;
    model(g, &x, &y, &W);
    ur_backward(ur_sum(ur_exp(y)));
    CHECK(ur_run(g));
    const float *gradient = ur_param_gradient(W);
    double size = 0;
    for (int i = 0; i < 20; i++)
        size += fabs(gradient[i]);
    CHECK(size > 1e-4 && isfinite(size));
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(what_is_refused)
{
    ur_op nameless = { .name = "shy", .kind = UR_OPAQUE, .n_in = 1, .shape = roll_shape,
                       .compute = roll_compute };
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_node x = ur_zeros(g, 2, 3);
    CHECK(ur_is_nil(ur_apply(&nameless, x)));
    CHECK_HAS(ur_error(g), "shy: ");
    CHECK_HAS(ur_error(g), "neither a gradient rule nor");
    ur_error_reset(g);
    nameless.rule = roll_rule;
    CHECK(ur_is_nil(ur_apply(&nameless, x)));
    CHECK_HAS(ur_error(g), "no samples");
    ur_error_reset(g);
    roll(ur_scalar(g, 1), 4);
    CHECK_HAS(ur_error(g), "is a scalar, and only rows of numbers can be rolled by 4");
    ur_error_reset(g);
    ur_node v = ur_zeros(g, 3);
    ur_apply(&norm_op, v);
    CHECK_HAS(ur_error(g), "norm: v is [3], but the norm is that of the rows of a matrix");
    ur_error_reset(g);
    ur_apply(&hypotenuse, x);
    CHECK_HAS(ur_error(g), "hypotenuse: takes 2 operands, not 1");
    ur_error_reset(g);
    CHECK(isnan(ur_value(ur_sum(ur_apply(&norm_op, x)))));
    CHECK_HAS(ur_error(g), "user_op.c");
    CHECK_HAS(ur_error(g), "norm: row 0 is zero and has no direction");
    ur_graph_free(g);
}

TEST_MAIN(T(values_in_both_precisions), T(gradients_by_being_written_down), T(in_a_model),
          T(what_is_refused))
