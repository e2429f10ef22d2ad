/* Initial values: the distributions, the shapes that fix them, and what they depend on. */
#include "graph/internal.h"
#include "tests/test.h"

enum { MOST = 120000 };

/* The values of one parameter of a new store, in double. */
static double *drawn(ur_type type, uint64_t seed, const char *name, ur_init init, int rank,
                     const int *dim)
{
    static double turn[3][MOST];
    static int now;
    double *out = turn[now++ % 3];
    ur_params *ps = ur_params_new(type, seed);
    ur_node W = ur_param_at(NULL, ps, name, init, rank, dim);
    const void *v = ur_param_values(W);
    CHECK_STR(ur_error(ps), NULL);
    for (size_t i = 0; v && i < ur_count(W); i++)
        out[i] = type == UR_F64 ? ((const double *)v)[i] : (double)((const float *)v)[i];
    ur_params_free(ps);
    return out;
}

#define DRAWN(init, ...) drawn(UR_F64, 1, "W", init, UR__DIMS(__VA_ARGS__))

/* All lie in [lo, hi] and come near both ends; mean and variance are right to 4 deviations. */
static void check_spread(const double *x, size_t n, double lo, double hi, double mean, double var,
                         double fourth)
{
    double least = x[0], most = x[0], m = 0, v = 0;
    for (size_t i = 0; i < n; i++) {
        least = fmin(least, x[i]);
        most = fmax(most, x[i]);
        m += x[i] / (double)n;
        v += (x[i] - mean) * (x[i] - mean) / (double)n;
    }
    CHECK(least >= lo && most <= hi);
    if (isfinite(lo))
        CHECK(least < lo + 0.02 * (hi - lo) && most > hi - 0.02 * (hi - lo));
    CHECK_NEAR(m, mean, 4 * sqrt(var / (double)n));
    CHECK_NEAR(v, var, 4 * sqrt((fourth - 1) * var * var / (double)n));
}

TEST(each_has_its_distribution)
{
    const double inf = INFINITY, flat = 1.8, peaked = 2.4, bell = 3;   /* E x^4 / (E x^2)^2 */
    const size_t n = 200 * 300;
    const double *x = DRAWN(ur_uniform_between(-1, 3), 200, 300);
    check_spread(x, n, -1, 3, 1, 16 / 12.0, flat);
    x = DRAWN(ur_normal_with(2, 0.5), 200, 300);
    check_spread(x, n, -inf, inf, 2, 0.25, bell);
    x = DRAWN(ur_xavier(), 200, 300);
    check_spread(x, n, -sqrt(6 / 500.0), sqrt(6 / 500.0), 0, 2 / 500.0, flat);
    x = DRAWN(ur_xavier_normal(), 200, 300);
    check_spread(x, n, -inf, inf, 0, 2 / 500.0, bell);
    x = DRAWN(ur_he(), 200, 300);
    check_spread(x, n, -sqrt(6 / 200.0), sqrt(6 / 200.0), 0, 2 / 200.0, flat);
    x = DRAWN(ur_he_normal(), 200, 300);
    check_spread(x, n, -inf, inf, 0, 2 / 200.0, bell);
    x = DRAWN(ur_uniform_twice(0.5), 200, 300);         /* a triangle over [-1, 1] */
    check_spread(x, n, -1, 1, 0, 0.25 * 2 / 3, peaked);
    x = DRAWN(ur_constant(-7), 200, 300);
    for (size_t i = 0; i < n; i++)
        REQUIRE(x[i] == -7);
    /* leading dimensions are inputs too */
    x = DRAWN(ur_xavier(), 4, 50, 300);
    check_spread(x, n, -sqrt(6 / 500.0), sqrt(6 / 500.0), 0, 2 / 500.0, flat);
    x = DRAWN(ur_he(), 4, 50, 300);
    check_spread(x, n, -sqrt(6 / 200.0), sqrt(6 / 200.0), 0, 2 / 200.0, flat);
}

static double furthest(const double *x, const double *y, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(x[i] - y[i]));
    return most;
}

static double correlation(const double *x, const double *y, size_t n)
{
    double xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < n; i++) {
        xy += x[i] * y[i];
        xx += x[i] * x[i];
        yy += y[i] * y[i];
    }
    return xy / sqrt(xx * yy);
}

TEST(values_depend_on_seed_and_name_alone)
{
    const int dim[] = { 100, 100 };
    const double *W = drawn(UR_F64, 1, "W", ur_xavier(), 2, dim);
    const double *U = drawn(UR_F64, 1, "U", ur_xavier(), 2, dim);
    CHECK_NEAR(correlation(W, U, 10000), 0, 0.04);
    U = drawn(UR_F64, 2, "W", ur_xavier(), 2, dim);
    CHECK_NEAR(correlation(W, U, 10000), 0, 0.04);

    /* another layer before, between and behind changes nothing */
    ur_params *ps = ur_params_new(UR_F64, 1);
    ur_param(ps, "first", ur_normal_with(0, 1), 17);
    ur_node node = ur_param(ps, "W", ur_xavier(), 100, 100);
    ur_param(ps, "last", ur_orthogonal(1), 10, 10);
    const double *again = ur_param_values(node);
    REQUIRE(again != NULL);
    CHECK_MEM(again, W, 10000 * sizeof *W);
    ur_params_free(ps);
}

TEST(floats_are_the_doubles_rounded)
{
    const int dim[] = { 60, 40 };
    const ur_init inits[] = { ur_uniform_between(-1, 3), ur_normal_with(2, 0.5), ur_xavier(),
                              ur_xavier_normal(), ur_he(), ur_he_normal(), ur_orthogonal(1),
                              ur_identity(0.1), ur_uniform_twice(0.1), ur_constant(0.1) };
    for (size_t k = 0; k < sizeof inits / sizeof *inits; k++) {
        const double *x = drawn(UR_F64, 1, "W", inits[k], 2, dim);
        const double *y = drawn(UR_F32, 1, "W", inits[k], 2, dim);
        for (int i = 0; i < 2400; i++)
            CHECK_NEAR(y[i], (float)x[i], 0);
    }
}

/* A sum of two draws is not twice one of them. */
TEST(the_two_draws_of_a_bias_are_independent)
{
    const double *sum = DRAWN(ur_uniform_twice(1), 100, 100);
    const double *one = DRAWN(ur_uniform_between(-1, 1), 100, 100);
    static double other[10000];
    for (int i = 0; i < 10000; i++)
        other[i] = sum[i] - one[i];
    check_spread(other, 10000, -1 - 1e-15, 1 + 1e-15, 0, 1 / 3.0, 1.8);
    CHECK_NEAR(correlation(one, other, 10000), 0, 0.04);
}

TEST(identity_has_ones_on_the_diagonal)
{
    const double *x = DRAWN(ur_identity(0.5), 3, 5);
    for (int i = 0; i < 15; i++)
        CHECK_NEAR(x[i], i / 5 == i % 5 ? 0.5 : 0, 0);
    x = DRAWN(ur_identity(2), 5, 3);
    for (int i = 0; i < 15; i++)
        CHECK_NEAR(x[i], i / 3 == i % 3 ? 2 : 0, 0);
}

/* ---------------------------------------------------------------------------------- orthogonal */

/* The other way to the same Q: Gram and Schmidt's, twice. With R's diagonal positive, the
 * decomposition of the normal matrix that a parameter is made from has one answer. */
static void gram_schmidt(size_t m, size_t n, double *a)
{
    for (size_t k = 0; k < m; k++) {
        double *v = a + k * n, norm = 0;
        for (size_t j = 0; j < 2 * k; j++) {
            const double *q = a + j % k * n;
            double s = 0;
            for (size_t i = 0; i < n; i++)
                s += q[i] * v[i];
            for (size_t i = 0; i < n; i++)
                v[i] -= s * q[i];
        }
        for (size_t i = 0; i < n; i++)
            norm += v[i] * v[i];
        for (size_t i = 0; i < n; i++)
            v[i] /= sqrt(norm);
    }
}

TEST(orthogonal_is_q_of_a_normal_matrix)
{
    static const int sizes[][3] = {     /* leading, rows, columns; leading 0: none */
        { 0, 1, 1 }, { 0, 2, 1 }, { 0, 1, 2 }, { 0, 5, 5 }, { 0, 40, 30 }, { 0, 30, 40 },
        { 0, 100, 100 }, { 3, 7, 20 }, { 3, 7, 22 }, { 0, 7, 0 }, { 0, 0, 7 },
    };
    static double expected[10000];
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const int *s = sizes[k];
        size_t rows = (size_t)(s[0] ? s[0] * s[1] : s[1]), columns = (size_t)s[2];
        const double *x = drawn(UR_F64, 4, "U", ur_orthogonal(1), s[0] ? 3 : 2, s[0] ? s : s + 1);
        bool wide = rows < columns;
        size_t m = wide ? rows : columns, n = wide ? columns : rows;
        ur__random_normal(ur__mix(4, ur__hash_text("U")), 0, m * n, UR_F64, expected);
        gram_schmidt(m, n, expected);
        double off = 0, unit = 0;
        for (size_t a = 0; a < m; a++)
            for (size_t i = 0; i < n; i++)
                off = fmax(off, fabs(x[wide ? a * n + i : i * m + a] - expected[a * n + i]));
        for (size_t a = 0; a < m; a++)
            for (size_t b = 0; b < m; b++) {
                double dot = 0;
                for (size_t i = 0; i < n; i++)
                    dot += wide ? x[a * n + i] * x[b * n + i] : x[i * m + a] * x[i * m + b];
                unit = fmax(unit, fabs(dot - (a == b)));
            }
        CHECK_NEAR(off, 0, 1e-10);
        CHECK_NEAR(unit, 0, 1e-14);
    }
}

TEST(orthogonal_takes_its_gain)
{
    static double scaled[900];
    const double *x = DRAWN(ur_orthogonal(1), 30, 30), *y = DRAWN(ur_orthogonal(-2.5), 30, 30);
    for (int i = 0; i < 900; i++)
        scaled[i] = -2.5 * x[i];
    CHECK_NEAR(furthest(scaled, y, 900), 0, 1e-15);
}

/* Without the fix of signs, an element on the diagonal is negative more often than not. */
TEST(orthogonal_is_uniform)
{
    enum { TIMES = 4000 };
    double mean[9] = { 0 }, square[9] = { 0 };
    for (int turn = 0; turn < TIMES; turn++) {
        const double *x = drawn(UR_F64, (uint64_t)turn, "W", ur_orthogonal(1), 2, (int[]){ 3, 3 });
        for (int i = 0; i < 9; i++) {
            mean[i] += x[i] / TIMES;
            square[i] += x[i] * x[i] / TIMES;
        }
    }
    for (int i = 0; i < 9; i++) {       /* uniform in [-1, 1], as one coordinate on a sphere is */
        CHECK_NEAR(mean[i], 0, 4 * sqrt(1 / 3.0 / TIMES));
        CHECK_NEAR(square[i], 1 / 3.0, 4 * sqrt(4 / 45.0 / TIMES));
    }
}

TEST_MAIN(T(each_has_its_distribution), T(values_depend_on_seed_and_name_alone),
          T(floats_are_the_doubles_rounded), T(the_two_draws_of_a_bias_are_independent),
          T(identity_has_ones_on_the_diagonal), T(orthogonal_is_q_of_a_normal_matrix),
          T(orthogonal_takes_its_gain), T(orthogonal_is_uniform))
