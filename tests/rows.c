/* The kernels on rows and arrays: reductions, softmax and cross-entropy, copies, and the
 * elementwise maps with their special values, against plain loops in double. tests/run repeats
 * this under every instruction set.
 */
#include <stdlib.h>
#include "tests/arrays.h"
#include "tests/test.h"

static const size_t lengths[] = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 128, 130,
                                  300 };
enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

/* An array's elements given as doubles. */
static void *array_of(const double *v, size_t n)
{
    void *p = fenced(n);
    for (size_t i = 0; i < n; i++)
        put(p, i, v[i]);
    return p;
}
#define ARRAY(...)                                                                                 \
    array_of((const double[]){ __VA_ARGS__ }, sizeof((const double[]){ __VA_ARGS__ })              \
                                              / sizeof(double))

static bool same(double a, double b, double tolerance)
{
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tolerance;
}

/* Compares an array with the expected doubles. */
static void check_array(const char *what, const void *y, const double *want, size_t n, double tol)
{
    for (size_t i = 0; i < n; i++)
        if (!CHECK(same(get(y, i), want[i], tol)))
            printf("  %s, %zu bytes: element %zu of %zu is %.17g, should be %.17g\n", what, size(),
                   i, n, get(y, i), want[i]);
}
#define CHECK_ARRAY(what, y, tol, ...)                                                             \
    check_array(what, y, (const double[]){ __VA_ARGS__ },                                          \
                sizeof((const double[]){ __VA_ARGS__ }) / sizeof(double), tol)

/* sum, max, logsumexp and argmax over the middle axis. */
static void reduce_plain(size_t r, size_t i, const void *x, double y[4])
{
    double most = -INFINITY, sum = 0, exps = 0;
    size_t best = 0;
    for (size_t k = 0; k < r; k++) {
        const double v = get(x, k * i);
        sum += v;
        if (v > most) {
            most = v;
            best = k;
        }
    }
    for (size_t k = 0; k < r; k++)
        exps += exp(get(x, k * i) - most);
    y[0] = sum;
    y[1] = most;
    y[2] = most + log(exps);
    y[3] = (double)best;
}

static void try_reduction(size_t o, size_t r, size_t i)
{
    const void *x = random_array(o * r * i);
    void *sum = fenced(o * i), *max = fenced(o * i), *lse = fenced(o * i);
    int32_t *arg = fenced_bytes(o * i * sizeof *arg);
    set()->sum(o, r, i, x, i, sum);
    set()->max(o, r, i, x, i, max);
    set()->logsumexp(o, r, i, x, i, lse);
    set()->argmax(o, r, i, x, i, arg);
    for (size_t a = 0; a < o; a++) {
        for (size_t b = 0; b < i; b++) {
            double want[4];
            reduce_plain(r, i, at(x, (ptrdiff_t)(a * r * i + b)), want);
            CHECK_NEAR(get(sum, a * i + b), want[0], 4 * epsilon() * (double)r);
            CHECK_NEAR(get(max, a * i + b), want[1], 0);
            CHECK_NEAR(get(lse, a * i + b), want[2], 20 * epsilon());
            CHECK_INT(arg[a * i + b], want[3]);
        }
    }
    give_back();
}

TEST(reductions)
{
    for (int k = 0; k < 2; k++) {
        single = k;
        for (int a = 0; a < LENGTHS; a++) {
            try_reduction(3, lengths[a], 1);
            for (int b = 0; b < LENGTHS; b += 3)
                try_reduction(2, lengths[a], lengths[b]);
        }
        try_reduction(1, 1000, 40);
        try_reduction(1, 5000, 1);
    }
}

TEST(reductions_of_nothing_and_specials)
{
    for (int k = 0; k < 2; k++) {
        single = k;
        for (size_t i = 1; i < 20; i += 18) {
            void *y = fenced(i);
            set()->sum(1, 0, i, y, i, y);
            CHECK(get(y, i - 1) == 0);
            set()->max(1, 0, i, y, i, y);
            CHECK(get(y, i - 1) == -INFINITY);
            set()->logsumexp(1, 0, i, y, i, y);
            CHECK(get(y, i - 1) == -INFINITY);
        }
        /* Rows along the last axis, and the same numbers as columns. */
        static const double row[6][3] = {
            { -INFINITY, -INFINITY, -INFINITY }, { 1, INFINITY, -INFINITY }, { 1, NAN, INFINITY },
            { 1e4, 1e4, -1e4 }, { 2, 3, 3 }, { NAN, 9, NAN },
        };
        double transposed[18];
        for (int a = 0; a < 18; a++)
            transposed[a] = row[a % 6][a / 6];
        void *x[2] = { array_of(&row[0][0], 18), array_of(transposed, 18) }, *y = fenced(6);
        int32_t *arg = fenced_bytes(6 * sizeof *arg);
        for (size_t t = 0; t < 2; t++) {
            const size_t o = t ? 1 : 6, i = t ? 6 : 1;
            set()->max(o, 3, i, x[t], i, y);
            CHECK_ARRAY("max", y, 0, -INFINITY, INFINITY, NAN, 1e4, 3, NAN);
            set()->logsumexp(o, 3, i, x[t], i, y);
            CHECK_ARRAY("logsumexp", y, 1e4 * 2 * epsilon(), -INFINITY, INFINITY, NAN,
                        1e4 + log(2), 3 + log(2 + exp(-1)), NAN);
            set()->argmax(o, 3, i, x[t], i, arg);
            const int32_t want[] = { 0, 1, 1, 0, 1, 0 };
            for (int a = 0; a < 6; a++)
                CHECK_INT(arg[a], want[a]);
        }
        give_back();
    }
}

TEST(sum_of_squares)
{
    for (int k = 0; k < 2; k++) {
        single = k;
        for (int a = 0; a < LENGTHS; a++) {
            const void *x = random_array(lengths[a]);
            double want = 0;
            for (size_t i = 0; i < lengths[a]; i++)
                want += get(x, i) * get(x, i);
            CHECK_NEAR(set()->sum_squares(lengths[a], x), want, 4e-15 * (1 + want));
            give_back();
        }
        CHECK(set()->sum_squares(0, NULL) == 0);
    }
}

TEST(softmax)
{
    for (int k = 0; k < 2; k++) {
        single = k;
        for (int a = 0; a < LENGTHS; a++) {
            const size_t n = lengths[a];
            const void *x = random_array(2 * n);
            void *y = fenced(2 * n), *l = fenced(2 * n);
            set()->softmax(2, n, x, y);
            set()->log_softmax(2, n, x, l);
            for (size_t i = 0; i < 2 * n; i++) {
                double s = 0;
                for (size_t j = i / n * n; j < i / n * n + n; j++)
                    s += exp(get(x, j));
                CHECK_NEAR(get(y, i), exp(get(x, i)) / s, 20 * epsilon());
                CHECK_NEAR(get(l, i), get(x, i) - log(s), 20 * epsilon() * 4);
            }
            give_back();
        }
        const void *x = ARRAY(1e4, 1e4, -1e4, -INFINITY, -INFINITY, -INFINITY, 0, -INFINITY, 0,
                              1, NAN, 2, -1e4, -1e4 + 1, -2e4);
        void *y = fenced(15);
        const double half = 0.5, e = exp(1) / (1 + exp(1));
        set()->softmax(5, 3, x, y);
        CHECK_ARRAY("softmax", y, 4 * epsilon(), half, half, 0, 0, 0, 0, half, 0, half, NAN, NAN,
                    NAN, 1 - e, e, 0);
        set()->log_softmax(5, 3, x, y);
        CHECK_ARRAY("log_softmax", y, 2e4 * epsilon() * 2, -log(2), -log(2), -2e4 - log(2),
                    -INFINITY, -INFINITY, -INFINITY, -log(2), -INFINITY, -log(2), NAN, NAN, NAN,
                    -1 - log(1 + exp(-1)), -log(1 + exp(-1)), -1e4 - 1 - log(1 + exp(-1)));
        give_back();
    }
}

static void try_cross_entropy(size_t rows, size_t n, double eps, bool weighted)
{
    void *x = random_array(rows * n);
    const void *w = random_array(n), *g = random_array(rows);
    void *y = fenced(rows), *dx = fenced(rows * n);
    int32_t *label = fenced_bytes(rows * sizeof *label);
    for (size_t i = 0; i < rows; i++)
        label[i] = i % 3 == 1 ? -7 : (int32_t)random_below(n);
    for (size_t i = 1; i < rows; i += 3)
        for (size_t v = 0; v < n; v++)
            put(x, i * n + v, NAN);
    set()->cross_entropy(rows, n, x, label, weighted ? w : NULL, eps, -7, y);
    set()->cross_entropy_grad(rows, n, x, label, weighted ? w : NULL, eps, -7, g, dx);
    for (size_t i = 0; i < rows; i++) {
        double s = 0, loss = 0;
        const double wi = label[i] < 0 ? 0 : weighted ? get(w, (size_t)label[i]) : 1;
        for (size_t v = 0; v < n; v++)
            s += exp(get(x, i * n + v));
        for (size_t v = 0; v < n; v++) {
            const double q = (label[i] == (int32_t)v ? 1 - eps : 0) + eps / (double)n;
            const double p = exp(get(x, i * n + v)) / s;
            loss -= label[i] < 0 ? 0 : wi * q * log(p);
            CHECK_NEAR(get(dx, i * n + v), label[i] < 0 ? 0 : get(g, i) * wi * (p - q),
                       20 * epsilon());
        }
        CHECK_NEAR(get(y, i), loss, (40 + (double)n) * epsilon());
    }
    give_back();
}

TEST(cross_entropy)
{
    for (int k = 0; k < 2; k++) {
        single = k;
        for (int a = 0; a < LENGTHS; a++)
            for (int how = 0; how < 4; how++)
                try_cross_entropy(7, lengths[a], how % 2 ? 0.1 : 0, how > 1);
        /* A logit of -inf that is not the label's counts only under label smoothing. */
        const void *x = ARRAY(0, -INFINITY, 0, 1e4, -1e4, 0), *g = ARRAY(1, 1);
        const int32_t label[] = { 0, 1 };
        void *y = fenced(2), *dx = fenced(6);
        set()->cross_entropy(2, 3, x, label, NULL, 0, -1, y);
        CHECK_ARRAY("cross_entropy", y, 2e4 * 2 * epsilon(), log(2), 2e4);
        set()->cross_entropy_grad(2, 3, x, label, NULL, 0, -1, g, dx);
        CHECK_ARRAY("cross_entropy_grad", dx, 2 * epsilon(), -0.5, 0, 0.5, 1, -1, 0);
        set()->cross_entropy(1, 3, x, label, NULL, 0.1, -1, y);
        CHECK(get(y, 0) == INFINITY);
        give_back();
    }
}

TEST(copies)
{
    for (int k = 0; k < 2; k++) {
        single = k;
        for (int a = 0; a < LENGTHS * LENGTHS; a++) {
            const ptrdiff_t r = (ptrdiff_t)lengths[a % LENGTHS];
            const ptrdiff_t c = (ptrdiff_t)lengths[a / LENGTHS];
            const ptrdiff_t ldy = c + a % 3, gap = a % 2;
            const ptrdiff_t by[4][2] = { { c + gap, 1 }, { 1, r + gap }, { 2 * c, 2 }, { 1, 0 } };
            for (int layout = 0; layout < 4; layout++) {
                const ptrdiff_t x_r = by[layout][0], x_c = by[layout][1];
                const void *x = random_array((size_t)((r - 1) * x_r + (c - 1) * x_c + 1));
                const size_t n = (size_t)((r - 1) * ldy + c);
                void *y = random_array(n), *want = copy_of(y, n);
                for (ptrdiff_t i = 0; i < r * c; i++)
                    put(want, (size_t)(i / c * ldy + i % c),
                        get(x, (size_t)(i / c * x_r + i % c * x_c)));
                set()->copy2((size_t)r, (size_t)c, x, x_r, x_c, y, ldy);
                CHECK_MEM(y, want, n * size());
                give_back();
            }
        }
        for (int a = 0; a < LENGTHS; a++) {
            const size_t n = lengths[a];
            const void *x = random_array(n);
            void *y = random_array(n), *before = copy_of(y, n);
            set()->add(n, x, y);
            double bad = 0;
            for (size_t i = 0; i < n; i++) {
                const double sum = get(x, i) + get(before, i);
                bad += get(y, i) != (single ? (double)(float)sum : sum);
            }
            CHECK(bad == 0);
            set()->fill(n, -2.5, y);
            for (size_t i = 0; i < n; i++)
                CHECK(get(y, i) == -2.5);
            give_back();
        }
    }
}

/* The result of a map for one triple of operands. */
static double map_one(int map, double a, double b, double c)
{
    const void *pa = ARRAY(a), *pb = ARRAY(b), *pc = ARRAY(c);
    void *y = fenced(1);
    set()->map[map](1, y, pa, pb, pc);
    a = get(y, 0);
    give_back();
    return a;
}

#define INF INFINITY

TEST(specials_of_maps)
{
    static const struct { const char *name; int map; double a, b, c, want; } row[] = {
#define OF(name) #name, UR__MAP_##name
        { OF(exp), 1000, 0, 0, INF }, { OF(exp), -1000, 0, 0, 0 }, { OF(exp), NAN, 0, 0, NAN },
        { OF(log), 0, 0, 0, -INF }, { OF(log), -1, 0, 0, NAN }, { OF(log), INF, 0, 0, INF },
        { OF(log), NAN, 0, 0, NAN }, { OF(log), -INF, 0, 0, NAN }, { OF(log), 1, 0, 0, 0 },
        { OF(tanh), 400, 0, 0, 1 }, { OF(tanh), -400, 0, 0, -1 }, { OF(tanh), -INF, 0, 0, -1 },
        { OF(sigmoid), 100, 0, 0, 1 }, { OF(sigmoid), -INF, 0, 0, 0 },
        { OF(sigmoid), INF, 0, 0, 1 },
        { OF(softplus), 100, 0, 0, 100 }, { OF(softplus), -INF, 0, 0, 0 },
        { OF(softplus), INF, 0, 0, INF }, { OF(softplus), NAN, 0, 0, NAN },
        { OF(sqrt), -1, 0, 0, NAN }, { OF(sqrt), 9, 0, 0, 3 }, { OF(abs), -INF, 0, 0, INF },
        { OF(relu), NAN, 0, 0, NAN }, { OF(relu), -3, 0, 0, 0 }, { OF(relu), 3, 0, 0, 3 },
        { OF(leaky_relu), -4, 0.25, 0, -1 }, { OF(leaky_relu), 4, 0.25, 0, 4 },
        { OF(minimum), NAN, 1, 0, NAN }, { OF(minimum), 1, NAN, 0, NAN },
        { OF(minimum), 1, 2, 0, 1 },
        { OF(maximum), NAN, 1, 0, NAN }, { OF(maximum), 1, NAN, 0, NAN },
        { OF(maximum), 1, 2, 0, 2 },
        { OF(clip), 7, -1, 5, 5 }, { OF(clip), -7, -1, 5, -1 }, { OF(clip), NAN, -1, 5, NAN },
        { OF(where), 1, 2, NAN, 2 }, { OF(where), 0, NAN, 3, 3 }, { OF(where), NAN, 2, 3, 2 },
        { OF(select), 0, NAN, 0, 0 }, { OF(select), 1, 5, 0, 5 }, { OF(unless), 1, NAN, 0, 0 },
        { OF(unless), 0, 5, 0, 5 }, { OF(sign), -2, 0, 0, -1 }, { OF(sign), 0, 0, 0, 0 },
        { OF(sign), 2, 0, 0, 1 }, { OF(positive), 0, 0, 0, 0 }, { OF(positive), 1e-9, 0, 0, 1 },
        { OF(inside), 1, 1, 2, 1 }, { OF(inside), 3, 1, 2, 0 }, { OF(inside), NAN, 1, 2, 0 },
        { OF(less), 1, 2, 0, 1 }, { OF(less), 2, 2, 0, 0 }, { OF(less_equal), 2, 2, 0, 1 },
        { OF(greater), 2, 1, 0, 1 }, { OF(greater_equal), 1, 2, 0, 0 }, { OF(equal), 2, 2, 0, 1 },
        { OF(equal), NAN, NAN, 0, 0 }, { OF(not_equal), 1, 2, 0, 1 }, { OF(neg), 0.5, 0, 0, -0.5 },
        { OF(power), 2, 10, 0, 1024 }, { OF(power), 0, 0, 0, 1 }, { OF(power), -2, 3, 0, -8 },
        { OF(div), 1, 0, 0, INF }, { OF(reciprocal), 4, 0, 0, 0.25 },
        { OF(one_minus), 3, 0, 0, -2 },
        { OF(square), -3, 0, 0, 9 }, { OF(sub), 1, 3, 0, -2 }, { OF(mul), 2, 3, 0, 6 },
        { OF(gelu), 0, 0, 0, 0 }, { OF(normal_cdf), INF, 0, 0, 1 },
        { OF(normal_cdf), 0, 0, 0, 0.5 },
        { OF(tanh_grad), 0.5, 4, 0, 3 }, { OF(tanh_grad), 1, 7, 0, 0 },
        { OF(sigmoid_grad), 0.25, 16, 0, 3 }, { OF(sigmoid_grad), 1, 7, 0, 0 },
        { OF(normal_pdf), INF, 0, 0, 0 }, { OF(add), 1, 2, 0, 3 },
#undef OF
    };
    for (int k = 0; k < 2; k++) {
        single = k;
        for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
            const double y = map_one(row[i].map, row[i].a, row[i].b, row[i].c);
            if (!CHECK(same(y, row[i].want, 0)))
                printf("  %s(%g, %g, %g) is %.17g, should be %.17g\n", row[i].name, row[i].a,
                       row[i].b, row[i].c, y, row[i].want);
        }
        if (single)
            CHECK_NEAR(map_one(UR__MAP_sigmoid, -100, 0, 0), exp(-100), 2e-45);
        else
            CHECK_NEAR(map_one(UR__MAP_sigmoid, -100, 0, 0), exp(-100), 1e-58);
        CHECK_NEAR(map_one(UR__MAP_softplus, -80, 0, 0), exp(-80), exp(-80) * 4 * epsilon());
        CHECK(signbit(map_one(UR__MAP_tanh, -0.0, 0, 0)));
    }
}

/* An element's result does not depend on its place, nor on where the result goes. */
TEST(places_of_maps)
{
    for (int k = 0; k < 2; k++) {
        single = k;
        for (int map = 0; map < UR__MAP_COUNT; map++) {
            const size_t n = 67;
            const void *a = random_array(n), *b = random_array(n), *c = random_array(n);
            void *y = fenced(n), *parts = fenced(n), *over = copy_of(a, n), *second = copy_of(b, n);
            set()->map[map](n, y, a, b, c);
            for (size_t i = 0, m; i < n; i += m) {
                m = 1 + random_below(n - i);
                set()->map[map](m, at(parts, (ptrdiff_t)i), at(a, (ptrdiff_t)i),
                                at(b, (ptrdiff_t)i), at(c, (ptrdiff_t)i));
            }
            CHECK_MEM(y, parts, n * size());
            set()->map[map](n, over, over, b, c);
            CHECK_MEM(y, over, n * size());
            set()->map[map](n, second, a, second, c);
            CHECK_MEM(y, second, n * size());
            give_back();
        }
    }
}

TEST_MAIN(T(reductions), T(reductions_of_nothing_and_specials), T(sum_of_squares), T(softmax),
          T(cross_entropy), T(copies), T(specials_of_maps), T(places_of_maps))
