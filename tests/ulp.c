/* The accuracy of the kernels' elementary functions, in units in the last place (ULP) of the exact
 * result: every 1021st of all floats, and doubles spread over the exponents and over the range in
 * which each function varies, against the C library in long double. The bounds are those of the
 * table in ops/kernels/math.h. NumPy's tables of hard arguments are checked where they are at hand.
 */
#include "ops/kernels/kernels.h"
#include "tests/test.h"

static const long double sqrt_half_high = 0x1.6a09e667f3bcc908p-1L, /* 64 bits, and what follows */
    sqrt_half_low = 0x1.64157f4b6dd2bb56p-68L;

static long double ref_sigmoid(long double x)
{
    return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x));
}

static long double ref_softplus(long double x)
{
    return (x > 0 ? x : 0) + log1pl(expl(-fabsl(x)));
}

/* The rounding of x^2 and x / sqrt(2) would show in the tails, so the remainder is put back. */
static long double ref_pdf(long double x)
{
    const long double square = x * x, rest = fmal(x, x, -square);
    return expl(-square / 2) * (1 - (isfinite(rest) ? rest / 2 : 0)) * 0.398942280401432677939946L;
}

static long double ref_cdf(long double x)
{
    const long double z = -x * sqrt_half_high;
    const long double rest = fmal(-x, sqrt_half_high, -z) - x * sqrt_half_low;
    const long double slope = -1.1283791670955125738961589L * expl(-z * z);
    return 0.5L * (erfcl(z) + (isfinite(rest) ? rest * slope : 0));
}

static const struct function {
    const char *name;
    int map;
    long double (*exact)(long double);
    double near;                        /* |x| beyond which the function is flat or large */
    double bound32, bound64;
} functions[] = {
    { "exp", UR__MAP_exp, expl, 745, 1.0, 1.0 },
    { "log", UR__MAP_log, logl, 3, 0.85, 0.85 },
    { "tanh", UR__MAP_tanh, tanhl, 22, 1.3, 1.3 },
    { "sigmoid", UR__MAP_sigmoid, ref_sigmoid, 745, 2.2, 2.1 },
    { "softplus", UR__MAP_softplus, ref_softplus, 745, 1.7, 1.7 },
    { "sin", UR__MAP_sin, sinl, 1e6, 0.9, 0.9 },
    { "cos", UR__MAP_cos, cosl, 1e6, 0.9, 0.9 },
    { "normal_pdf", UR__MAP_normal_pdf, ref_pdf, 39, 2.1, 2.2 },
    { "normal_cdf", UR__MAP_normal_cdf, ref_cdf, 39, 3.9, 4.4 },
    { "sqrt", UR__MAP_sqrt, sqrtl, 1, 0.5, 0.5 },
};
enum { FUNCTIONS = sizeof functions / sizeof functions[0], BATCH = 4096 };

typedef struct worst { double ulp, x, got, want; } worst;

/* Distance of neighbouring numbers at y, of the precision with that many bits of fraction. */
static long double spacing(bool single, long double y)
{
    const int lowest = single ? -149 : -1074;
    int e = lowest;
    if (y != 0) {
        frexpl(y, &e);
        e -= single ? 24 : 53;
    }
    return ldexpl(1, e < lowest ? lowest : e);
}

static double ulps(bool single, double got, long double want)
{
    const double rounded = single ? (double)(float)want : (double)want;
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0 : INFINITY;
    if (!isfinite(rounded))
        return got == rounded ? 0 : INFINITY;
    return (double)(fabsl(got - want) / spacing(single, want));
}

/* The function on n <= BATCH arguments given as double. */
static void run(const struct function *f, bool single, size_t n, const double *x, double *y)
{
    const ur__kernels *k = ur__kernels_get();
    static float x32[BATCH], y32[BATCH];
    if (!single) {
        k->f64.map[f->map](n, y, x, NULL, NULL);
        return;
    }
    for (size_t i = 0; i < n; i++)
        x32[i] = (float)x[i];
    k->f32.map[f->map](n, y32, x32, NULL, NULL);
    for (size_t i = 0; i < n; i++)
        y[i] = y32[i];
}

static void batch(const struct function *f, bool single, size_t n, const double *x, worst *w)
{
    static double y[BATCH];
    run(f, single, n, x, y);
    for (size_t i = 0; i < n; i++) {
        const long double want = f->exact(x[i]);
        const double u = ulps(single, y[i], want);
        if (!(u <= w->ulp))
            *w = (worst){ u, x[i], y[i], (double)want };
    }
}

/* The i-th argument of a precision's sample; false when there is none. */
static bool sample(const struct function *f, bool single, uint32_t i, double *x)
{
    if (single) {
        const uint64_t bits = (uint64_t)i * 1021;
        const uint32_t b = (uint32_t)bits;
        float v;
        memcpy(&v, &b, sizeof v);
        *x = v;
        return bits <= UINT32_MAX;
    }
    const double u = test_uniform(), v = test_uniform();
    if (i % 2)                          /* any exponent, any sign */
        *x = ldexp(1 + u, (int)(v * 2098) - 1074) * (i % 4 == 1 ? 1 : -1);
    else if (i % 4)                     /* where the function varies */
        *x = (2 * u - 1) * f->near;
    else
        *x = (2 * u - 1) * pow(v, 4) * f->near;
    return i < 240000;
}

static void measure(bool single)
{
    static double x[BATCH];
    for (size_t k = 0; k < FUNCTIONS; k++) {
        const struct function *f = &functions[k];
        worst w = { 0 };
        uint32_t i = 0;
        size_t n;
        do {
            for (n = 0; n < BATCH && sample(f, single, i, &x[n]); n++)
                i++;
            batch(f, single, n, x, &w);
        } while (n == BATCH);
        printf("  %s %-10s %.3f ULP at x = %.17g (got %.17g, exact %.17g)\n",
               single ? "f32" : "f64", f->name, w.ulp, w.x, w.got, w.want);
        CHECK_NEAR(w.ulp, 0, single ? f->bound32 : f->bound64);
    }
}

TEST(single)
{
    measure(true);
}

TEST(twofold)
{
    measure(false);
}

/* The limits that a rounding bound does not describe: equal to the C library, signs of zero too. */
TEST(limits)
{
    static const double x[] = { 0.0, -0.0, INFINITY, -INFINITY, NAN, 5e-324, -5e-324, 1e-45, -1e-45,
                                400, -400, 1e30, -1e30, 100, -100, 1, -1 };
    double y[sizeof x / sizeof x[0]];
    for (int single = 0; single < 2; single++) {
        for (size_t k = 0; k < FUNCTIONS; k++) {
            const struct function *f = &functions[k];
            run(f, single, sizeof x / sizeof x[0], x, y);
            for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
                const long double want = f->exact(single ? (float)x[i] : x[i]);
                if (!CHECK(ulps(single, y[i], want) < 4)
                    || (want == 0 && !CHECK(!signbit(want) == !signbit(y[i]))))
                    printf("  %s(%g) is %g, should be %Lg\n", f->name, x[i], y[i], want);
            }
        }
    }
}

/* Lines `np.float32,0x<bits of x>,0x<bits of y>,<allowed ULP>`. */
static void table_of(const struct function *f)
{
    char path[512], line[256], type[32];
    unsigned long long bx, by;
    double allowed, x, y, want;
    snprintf(path, sizeof path, "%s/../shared/data/oracle/numpy-umath/umath-validation-set-%s.csv",
             TEST_ROOT, f->name);
    FILE *file = fopen(path, "r");
    REQUIRE(file != NULL);
    long rows = 0;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "np.%31[a-z0-9],%llx,%llx,%lf", type, &bx, &by, &allowed) != 4)
            continue;
        const bool single = strcmp(type, "float32") == 0;
        if (single) {
            const uint32_t ix = (uint32_t)bx, iy = (uint32_t)by;
            float fx, fy;
            memcpy(&fx, &ix, sizeof fx);
            memcpy(&fy, &iy, sizeof fy);
            x = fx;
            want = fy;
        } else {
            memcpy(&x, &bx, sizeof x);
            memcpy(&want, &by, sizeof want);
        }
        run(f, single, 1, &x, &y);
        if (!CHECK(ulps(single, y, want) <= allowed))
            printf("  %s(%.17g) is %.17g, NumPy's table has %.17g\n", f->name, x, y, want);
        rows++;
    }
    fclose(file);
    CHECK(rows > 100);
}

TEST(numpy)
{
    FILE *file = fopen(TEST_ROOT "/../shared/data/oracle/numpy-umath/umath-validation-set-exp.csv",
                       "r");
    if (!file)
        SKIP("no tables beside the source tree");
    fclose(file);
    for (size_t k = 0; k < 3; k++)      /* exp, log, tanh */
        table_of(&functions[k]);
}

TEST_MAIN(T(single), T(twofold), T(limits), T(numpy))
