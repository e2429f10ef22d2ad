/* cells.h: for the tests of layers: a table of all cells, each with its equations written out unit
 * by unit, which know nothing of the library but the names of parameters. */
#ifndef UNROLL_TESTS_CELLS_H
#define UNROLL_TESTS_CELLS_H

#include "tests/test.h"
#include "unroll/unroll.h"

enum { I = 3, H = 2, B = 2, T = 4 };

/* --------------------------------------------------------------------------------------- equations
 *
 * One row: x[I], states h[H] and c[H] in and out. P(name) is a parameter's values. */

static inline const double *param(const ur_cell *cell, const char *name)
{
    char full[40];
    snprintf(full, sizeof full, "%s.%s", cell->name, name);
    return ur_param_values(ur_find(cell->params, full));
}
#define P(name) param(cell, name)

static inline double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* sum_j a_j W_(row+j),u */
static inline double dot(const double *a, int n, const double *W, int row, int u)
{
    double sum = 0;
    for (int j = 0; j < n; j++)
        sum += a[j] * W[(row + j) * H + u];
    return sum;
}

/* ([h, x] W + b)_u */
static inline double gate(const double *h, const double *x, const double *W, const double *b, int u)
{
    return dot(h, H, W, 0, u) + dot(x, I, W, H, u) + b[u];
}

static inline void elman_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
{
    double old[H] = { h[0], h[1] };
    (void)c;
    for (int u = 0; u < H; u++)
        h[u] = tanh(dot(x, I, P("U"), 0, u) + dot(old, H, P("W"), 0, u) + P("b")[u]);
}

static inline void relu_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
{
    double old[H] = { h[0], h[1] };
    (void)c;
    for (int u = 0; u < H; u++)
        h[u] = fmax(0, dot(x, I, P("U"), 0, u) + dot(old, H, P("W"), 0, u) + P("b")[u]);
}

static inline void lstm_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
{
    double old[H] = { h[0], h[1] };
    for (int u = 0; u < H; u++) {
        double i = sigmoid(gate(old, x, P("Wi"), P("bi"), u));
        double f = sigmoid(gate(old, x, P("Wf"), P("bf"), u));
        double g = tanh(gate(old, x, P("Wg"), P("bg"), u));
        double o = sigmoid(gate(old, x, P("Wo"), P("bo"), u));
        c[u] = f * c[u] + i * g;
        h[u] = o * tanh(c[u]);
    }
}

static inline void peephole_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
{
    double old[H] = { h[0], h[1] };
    for (int u = 0; u < H; u++) {
        double i = sigmoid(gate(old, x, P("Wi"), P("bi"), u) + P("pi")[u] * c[u]);
        double f = sigmoid(gate(old, x, P("Wf"), P("bf"), u) + P("pf")[u] * c[u]);
        c[u] = f * c[u] + i * tanh(gate(old, x, P("Wg"), P("bg"), u));
        double o = sigmoid(gate(old, x, P("Wo"), P("bo"), u) + P("po")[u] * c[u]);
        h[u] = o * tanh(c[u]);
    }
}

static inline void coupled_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
{
    double old[H] = { h[0], h[1] };
    for (int u = 0; u < H; u++) {
        double f = sigmoid(gate(old, x, P("Wf"), P("bf"), u));
        double g = tanh(gate(old, x, P("Wg"), P("bg"), u));
        double o = sigmoid(gate(old, x, P("Wo"), P("bo"), u));
        c[u] = f * c[u] + (1 - f) * g;
        h[u] = o * tanh(c[u]);
    }
}

/* Two units: z_0 - m = (z_0 - z_1) / 2 = -(z_1 - m), and v is the square of that. */
static inline void normalised(const double *z, const double *gain, const double *bias, double *y)
{
    double d = (z[0] - z[1]) / 2, size = sqrt(d * d + 1e-5);
    y[0] = d / size * gain[0] + bias[0];
    y[1] = -d / size * gain[1] + bias[1];
}

static inline void norm_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
{
    static const char *const W[] = { "Wi", "Wf", "Wg", "Wo" }, *const a[] = { "ai", "af", "ag",
        "ao" }, *const b[] = { "bi", "bf", "bg", "bo" };
    const double zero[H] = { 0 };
    double y[4][H], shown[H];
    for (int k = 0; k < 4; k++) {
        double z[H] = { gate(h, x, P(W[k]), zero, 0), gate(h, x, P(W[k]), zero, 1) };
        normalised(z, P(a[k]), P(b[k]), y[k]);
    }
    for (int u = 0; u < H; u++)
        c[u] = sigmoid(y[1][u]) * c[u] + sigmoid(y[0][u]) * tanh(y[2][u]);
    normalised(c, P("ac"), P("bc"), shown);
    for (int u = 0; u < H; u++)
        h[u] = sigmoid(y[3][u]) * tanh(shown[u]);
}

static inline void gru_simple_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
{
    double old[H] = { h[0], h[1] };
    (void)c;
    for (int u = 0; u < H; u++) {
        double z = sigmoid(gate(old, x, P("Wz"), P("bz"), u));
        h[u] = (1 - z) * old[u] + z * tanh(gate(old, x, P("Wn"), P("bn"), u));
    }
}

static inline void mgu_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
{
    double old[H] = { h[0], h[1] }, f[H], reset[H];
    (void)c;
    for (int u = 0; u < H; u++) {
        f[u] = sigmoid(gate(old, x, P("Wf"), P("bf"), u));
        reset[u] = f[u] * old[u];
    }
    for (int u = 0; u < H; u++)
        h[u] = (1 - f[u]) * old[u] + f[u] * tanh(gate(reset, x, P("Wn"), P("bn"), u));
}

static inline void gru_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
{
    double old[H] = { h[0], h[1] }, reset[H];
    (void)c;
    for (int u = 0; u < H; u++)
        reset[u] = sigmoid(gate(old, x, P("Wr"), P("br"), u)) * old[u];
    for (int u = 0; u < H; u++) {
        double z = sigmoid(gate(old, x, P("Wz"), P("bz"), u));
        double n = tanh(gate(reset, x, P("Wn"), P("bn"), u));
        h[u] = (1 - z) * old[u] + z * n;
    }
}

static inline void gru_reset_after_by_hand(const ur_cell *cell, const double *x, double *h,
                                           double *c)
{
    double old[H] = { h[0], h[1] };
    (void)c;
    for (int u = 0; u < H; u++) {
        double r = sigmoid(gate(old, x, P("Wr"), P("br"), u));
        double z = sigmoid(gate(old, x, P("Wz"), P("bz"), u));
        double n = tanh(dot(x, I, P("Un"), 0, u) + P("bn")[u] +
                        r * (dot(old, H, P("Wn"), 0, u) + P("dn")[u]));
        h[u] = (1 - z) * n + z * old[u];
    }
}

static const struct {
    const char *name;
    ur_cell *(*make)(ur_params *ps, const char *name, int inputs, int hidden);
    ur_cell *(*make_with)(ur_params *ps, const char *name, int inputs, int hidden,
                          const ur_cell_options *o);
    void (*by_hand)(const ur_cell *cell, const double *x, double *h, double *c);
    int states;
    size_t numbers;
} cells[] = {
    { "elman", ur_elman, ur_elman_with, elman_by_hand, 1, I * H + H * H + H },
    { "elman_relu", ur_elman_relu, ur_elman_relu_with, relu_by_hand, 1, I * H + H * H + H },
    { "lstm", ur_lstm, ur_lstm_with, lstm_by_hand, 2, 4 * ((H + I) * H + H) },
    { "gru", ur_gru, ur_gru_with, gru_by_hand, 1, 3 * ((H + I) * H + H) },
    { "gru_reset_after", ur_gru_reset_after, ur_gru_reset_after_with, gru_reset_after_by_hand, 1,
      3 * ((H + I) * H + H) + H },
    { "irnn", ur_irnn, ur_irnn_with, relu_by_hand, 1, I * H + H * H + H },
    { "lstm_peephole", ur_lstm_peephole, ur_lstm_peephole_with, peephole_by_hand, 2,
      4 * ((H + I) * H + H) + 3 * H },
    { "lstm_coupled", ur_lstm_coupled, ur_lstm_coupled_with, coupled_by_hand, 2,
      3 * ((H + I) * H + H) },
    { "lstm_norm", ur_lstm_norm, ur_lstm_norm_with, norm_by_hand, 2,
      4 * ((H + I) * H + 2 * H) + 2 * H },
    { "gru_simple", ur_gru_simple, ur_gru_simple_with, gru_simple_by_hand, 1,
      2 * ((H + I) * H + H) },
    { "mgu", ur_mgu, ur_mgu_with, mgu_by_hand, 1, 2 * ((H + I) * H + H) },
};
enum { CELLS = sizeof cells / sizeof *cells };

/* -------------------------------------------------------------------------------------- helpers */

static inline void fill(double *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = 2 * test_uniform() - 1;
}

static inline bool ran(ur_graph *g)
{
    bool ok = ur_run(g);
    return CHECK_STR(ur_error(g), NULL) && CHECK(ok);
}

static inline void compare(ur_node y, const double *expected, int n, double tolerance)
{
    double got[400];
    REQUIRE(n <= 400 && (int)ur_count(y) == n);
    REQUIRE(CHECK(ur_read(y, got, (size_t)n)));
    for (int i = 0; i < n; i++)
        CHECK_NEAR(got[i], expected[i], tolerance);
}

#endif
