/* Values of the elementwise operations, products, reductions and softmax against plain loops in
 * double, on every kind of graph, and the cases where a careless formula breaks. Gradients are the
 * business of gradients.c, except where infinities, NaN and ties decide them. */
#include "values.h"

/* ---------------------------------------------------------------------------------- elementwise */

#define REF1(name, formula) static double name(double x) { return formula; }
#define REF2(name, formula) static double name(double a, double b) { return formula; }
REF1(ref_neg, -x)
REF1(ref_one_minus, 1 - x)
REF1(ref_square, x * x)
REF1(ref_reciprocal, 1 / x)
REF1(ref_sigmoid, x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)))
REF1(ref_softplus, x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)))
REF1(ref_relu, x > 0 ? x : 0)
REF1(ref_cdf, 0.5 * erfc(-x / sqrt(2)))
REF1(ref_pdf, exp(-x * x / 2) / sqrt(2 * 3.14159265358979323846))
REF1(ref_gelu, x * ref_cdf(x))
REF1(ref_sign, (x > 0) - (x < 0))
REF1(ref_positive, x > 0)
REF2(ref_add, a + b)
REF2(ref_sub, a - b)
REF2(ref_mul, a * b)
REF2(ref_div, a / b)
REF2(ref_tanh_grad, b * (1 - a * a))
REF2(ref_sigmoid_grad, b * a * (1 - a))
REF2(ref_less, a < b)
REF2(ref_less_equal, a <= b)
REF2(ref_greater, a > b)
REF2(ref_greater_equal, a >= b)
REF2(ref_equal, a == b)
REF2(ref_not_equal, a != b)
REF2(ref_select, a != 0 ? b : 0)
REF2(ref_unless, a != 0 ? 0 : b)

/* The plain functions, so that they are seen to work as pointers. */
static const struct {
    const char *name;
    ur_node (*op)(ur_node x);
    double (*ref)(double x);
    double lo, hi;
} ones[] = {
    { "neg", ur_neg, ref_neg, -3, 3 },
    { "one_minus", ur_one_minus, ref_one_minus, -3, 3 },
    { "exp", ur_exp, exp, -3, 3 },
    { "log", ur_log, log, 0.01, 9 },
    { "sqrt", ur_sqrt, sqrt, 0, 9 },
    { "square", ur_square, ref_square, -3, 3 },
    { "reciprocal", ur_reciprocal, ref_reciprocal, 0.3, 3 },
    { "abs", ur_abs, fabs, -3, 3 },
    { "sin", ur_sin, sin, -6, 6 },
    { "cos", ur_cos, cos, -6, 6 },
    { "tanh", ur_tanh, tanh, -3, 3 },
    { "sigmoid", ur_sigmoid, ref_sigmoid, -6, 6 },
    { "softplus", ur_softplus, ref_softplus, -6, 6 },
    { "relu", ur_relu, ref_relu, -1, 1 },
    { "normal_cdf", ur_normal_cdf, ref_cdf, -3, 3 },
    { "normal_pdf", ur_normal_pdf, ref_pdf, -3, 3 },
    { "gelu", ur_gelu, ref_gelu, -3, 3 },
    { "sign", ur_sign, ref_sign, -1, 1 },
    { "positive", ur_positive, ref_positive, -1, 1 },
};

static const struct {
    const char *name;
    ur_node (*op)(ur_node a, ur_node b);
    double (*ref)(double a, double b);
    double lo, hi;
} twos[] = {
    { "add", ur_add, ref_add, -1, 1 },
    { "sub", ur_sub, ref_sub, -1, 1 },
    { "mul", ur_mul, ref_mul, -1, 1 },
    { "div", ur_div, ref_div, 0.2, 1 },
    { "minimum", ur_minimum, fmin, -1, 1 },
    { "maximum", ur_maximum, fmax, -1, 1 },
    { "power", ur_power, pow, 0.2, 2 },
    { "tanh_grad", ur_tanh_grad, ref_tanh_grad, -1, 1 },
    { "sigmoid_grad", ur_sigmoid_grad, ref_sigmoid_grad, -1, 1 },
    { "less", ur_less, ref_less, -1, 1 },
    { "less_equal", ur_less_equal, ref_less_equal, -1, 1 },
    { "greater", ur_greater, ref_greater, -1, 1 },
    { "greater_equal", ur_greater_equal, ref_greater_equal, -1, 1 },
    { "equal", ur_equal, ref_equal, -1, 1 },
    { "not_equal", ur_not_equal, ref_not_equal, -1, 1 },
    { "select", ur_select, ref_select, -1, 1 },
    { "unless", ur_unless, ref_unless, -1, 1 },
};

/* Multiples of 1/8, exact in both precisions, with zeros and equal pairs among them. */
static void draw(double *x, size_t n, double lo, double hi)
{
    for (size_t i = 0; i < n; i++)
        x[i] = fmin(hi, fmax(lo, floor(8 * (lo + (hi - lo) * test_uniform()) + 0.5) / 8));
}

static void check_one(const char *name, ur_node y, const double *expected)
{
    long before = test_now.failures;
    CHECK_VALUES(y, expected, 8);
    if (test_now.failures > before)
        printf("  this was %s\n", name);
}

TEST(elementwise_one)
{
    ON_EACH_GRAPH()
        for (size_t k = 0; k < sizeof ones / sizeof ones[0]; k++) {
            double x[70], expected[70];
            draw(x, 70, ones[k].lo, ones[k].hi);
            for (int i = 0; i < 70; i++)
                expected[i] = ones[k].ref(ur_precision(g) == UR_F32 ? (float)x[i] : x[i]);
            check_one(ones[k].name, ones[k].op(LEAF(x, 2, 5, 7)), expected);
        }
}

TEST(elementwise_two_broadcast)
{
    ON_EACH_GRAPH()
        for (size_t k = 0; k < sizeof twos / sizeof twos[0]; k++) {
            double a[35], b[10], expected[70];
            draw(a, 35, twos[k].lo, twos[k].hi);
            draw(b, 10, twos[k].lo, twos[k].hi);
            const bool f32 = ur_precision(g) == UR_F32;
            for (int i = 0; i < 2; i++)         /* a[5,7] with b[2,5,1] -> [2,5,7] */
                for (int j = 0; j < 35; j++) {
                    double p = a[j], q = b[5 * i + j / 7];
                    expected[35 * i + j] = twos[k].ref(f32 ? (float)p : p, f32 ? (float)q : q);
                }
            check_one(twos[k].name, twos[k].op(LEAF(a, 5, 7), LEAF(b, 2, 5, 1)), expected);
        }
}

TEST(elementwise_three_and_numbers)
{
    ON_EACH_GRAPH() {
        double x[] = { -2, -0.5, 0, 0.5, 2 };
        ur_node a = LEAF(x, 5), lo = ur_scalar(g, -1), hi = ur_scalar(g, 1);
        CHECK_VALUES(ur_clip(a, lo, hi), ((double[]){ -1, -0.5, 0, 0.5, 1 }), 0);
        CHECK_VALUES(ur_inside(a, lo, hi), ((double[]){ 0, 1, 1, 1, 0 }), 0);
        CHECK_VALUES(ur_where(ur_positive(a), a, lo), ((double[]){ -1, -1, -1, 0.5, 2 }), 0);
        CHECK_VALUES(ur_clamp(a, -0.5, 1), ((double[]){ -0.5, -0.5, 0, 0.5, 1 }), 0);
        CHECK_VALUES(ur_scale(a, 3), ((double[]){ -6, -1.5, 0, 1.5, 6 }), 0);
        CHECK_VALUES(ur_shift(a, 1), ((double[]){ -1, 0.5, 1, 1.5, 3 }), 0);
        CHECK_VALUES(ur_pow(a, 2), ((double[]){ 4, 0.25, 0, 0.25, 4 }), 2);
        CHECK_VALUES(ur_leaky_relu(a, 0.25), ((double[]){ -0.5, -0.125, 0, 0.5, 2 }), 0);
        CHECK_VALUES((ur_leaky_relu)(a, 0.5), ((double[]){ -1, -0.25, 0, 0.5, 2 }), 0);
        /* where a kink is, the gradient is that of one side, or 0 */
        ur_node zero = LEAF(((double[]){ 0, 0 }), 2), one = LEAF(((double[]){ 1, 1 }), 2);
        CHECK_VALUES(values_grad(ur_relu(zero), UR_NIL, zero), ((double[]){ 0, 0 }), 0);
        CHECK_VALUES(values_grad(ur_abs(zero), UR_NIL, zero), ((double[]){ 0, 0 }), 0);
        CHECK_VALUES(values_grad(ur_maximum(one, hi), UR_NIL, one), ((double[]){ 1, 1 }), 0);
        CHECK_VALUES(values_grad(ur_maximum(one, hi), UR_NIL, hi), ((double[]){ 0 }), 0);
        CHECK_VALUES(values_grad(ur_minimum(one, hi), UR_NIL, one), ((double[]){ 1, 1 }), 0);
        CHECK_VALUES(values_grad(ur_clamp(one, 0, 1), UR_NIL, one), ((double[]){ 1, 1 }), 0);
    }
}

TEST(elementwise_at_the_limits)
{
    ON_EACH_GRAPH() {
        const double tiny = unit > 1e-10 ? 2e-45 : 1e-58;       /* e^-100 is a denormal in float */
        double x[] = { -100, 100, 400, -400 };
        ur_node a = LEAF(x, 4);
        const double *s = values_of(ur_sigmoid(a)), *p = values_of(ur_softplus(a));
        CHECK_NEAR(s[0], exp(-100), tiny);
        CHECK(s[1] == 1 && s[2] == 1 && s[3] >= 0 && s[3] <= 1e-170);
        CHECK_NEAR(p[0], exp(-100), tiny);
        CHECK(p[1] == 100 && p[2] == 400 && p[3] >= 0 && p[3] <= 1e-170);
        CHECK_VALUES(ur_tanh(a), ((double[]){ -1, 1, 1, -1 }), 0);
        CHECK_VALUES(values_grad(ur_tanh(a), UR_NIL, a), ((double[]){ 0, 0, 0, 0 }), 0);
        const double *ds = values_of(values_grad(ur_softplus(a), UR_NIL, a));
        CHECK(ds[0] > 0 && ds[0] < 1e-43 && ds[1] == 1 && ds[2] == 1 && ds[3] <= 1e-170);
        CHECK_VALUES(ur_exp(LEAF(((double[]){ 1e4, -1e4, -INFINITY }), 3)),
                     ((double[]){ INFINITY, 0, 0 }), 0);
        CHECK_VALUES(ur_log(LEAF(((double[]){ 0, INFINITY, -1 }), 3)),
                     ((double[]){ -INFINITY, INFINITY, NAN }), 0);
    }
}

/* NaN and infinities that a mask hides must not come out of it, nor out of its gradient. */
TEST(nan_behind_a_mask)
{
    ON_EACH_GRAPH() {
        ur_node x = LEAF(((double[]){ NAN, 2, INFINITY }), 3);
        ur_node m = LEAF(((double[]){ 0, 1, 0 }), 3), one = LEAF(((double[]){ 1, 1, 1 }), 3);
        CHECK_VALUES(ur_select(m, x), ((double[]){ 0, 2, 0 }), 0);
        CHECK_VALUES(ur_where(m, x, one), ((double[]){ 1, 2, 1 }), 0);
        CHECK_VALUES(ur_unless(m, ur_unless(m, x)), ((double[]){ NAN, 0, INFINITY }), 0);
        CHECK_VALUES(values_grad(ur_select(m, x), x, x), ((double[]){ 0, 2, 0 }), 0);
        CHECK_VALUES(values_grad(ur_where(m, x, one), x, x), ((double[]){ 0, 2, 0 }), 0);
        CHECK_VALUES(values_grad(ur_where(m, one, x), x, x), ((double[]){ NAN, 0, INFINITY }), 0);
        /* sqrt has an infinite slope at 0: masked before, it does no harm */
        ur_node z = LEAF(((double[]){ 0, 4, 0 }), 3), safe = ur_where(m, z, one);
        ur_node y = ur_select(m, ur_sqrt(safe));
        CHECK_VALUES(values_grad(y, UR_NIL, z), ((double[]){ 0, 0.25, 0 }), 0);
        CHECK_VALUES(ur_relu(x), ((double[]){ NAN, 2, INFINITY }), 0);
    }
}

/* ------------------------------------------------------------------------------------- products */

/* One batch of a reference product, transposed by strides. */
static void product(int M, int N, int K, const double *a, int a_m, int a_k, const double *b,
                    int b_k, int b_n, double *y)
{
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            y[m * N + n] = 0;
            for (int k = 0; k < K; k++)
                y[m * N + n] += a[m * a_m + k * a_k] * b[k * b_k + n * b_n];
        }
}

TEST(matmul)
{
    enum { M = 3, K = 5, N = 4 };
    ON_EACH_GRAPH()
        for (int flags = 0; flags < 4; flags++) {
            const bool ta = flags & 1, tb = flags >> 1;
            double a[2 * M * K], b[2 * K * N], y[4 * M * N];
            draw(a, 2 * M * K, -1, 1);
            draw(b, 2 * K * N, -1, 1);
            /* a[2,1,..] b[2,..] -> [2,2,..] */
            for (int i = 0; i < 4; i++)
                product(M, N, K, a + i / 2 * M * K, ta ? 1 : K, ta ? M : 1, b + i % 2 * K * N,
                        tb ? 1 : N, tb ? K : 1, y + i * M * N);
            ur_node A = LEAF(a, 2, 1, ta ? K : M, ta ? M : K);
            ur_node B = LEAF(b, 2, tb ? N : K, tb ? K : N);
            CHECK_VALUES(ur_matmul_with(A, B, ta, tb), y, 32);
            product(M, N, K, a, ta ? 1 : K, ta ? M : 1, b, tb ? 1 : N, tb ? K : 1, y);
            ur_node C = ur_index(ur_index(A, 0, 0), 0, 0), D = ur_index(B, 0, 0);
            CHECK_VALUES(ur_matmul_with(C, D, ta, tb), y, 32);
        }
}

TEST(matmul_rows_and_affine)
{
    ON_EACH_GRAPH() {
        double a[2 * 3 * 5], W[5 * 4], b[4], y[2 * 3 * 4];
        draw(a, 30, -1, 1);
        draw(W, 20, -1, 1);
        draw(b, 4, -1, 1);
        product(6, 4, 5, a, 5, 1, W, 4, 1, y);
        ur_node x = LEAF(a, 2, 3, 5), w = LEAF(W, 5, 4);
        CHECK_VALUES(ur_matmul(x, w), y, 32);
        for (int i = 0; i < 24; i++)
            y[i] += b[i % 4];
        CHECK_VALUES(ur_affine(x, w, LEAF(b, 4)), y, 32);
        /* empty sums and empty results */
        CHECK_VALUES(ur_matmul(LEAF(NULL, 2, 0), LEAF(NULL, 0, 2)), ((double[]){ 0, 0, 0, 0 }), 0);
        CHECK_STR(values_shape(ur_matmul(LEAF(NULL, 0, 5), w)), "[0,4]");
        CHECK_VALUES(values_grad(ur_matmul(LEAF(NULL, 0, 5), w), UR_NIL, w), (double[20]){ 0 }, 0);
    }
}

TEST_MAIN(T(elementwise_one), T(elementwise_two_broadcast), T(elementwise_three_and_numbers),
          T(elementwise_at_the_limits), T(nan_behind_a_mask), T(matmul), T(matmul_rows_and_affine))
