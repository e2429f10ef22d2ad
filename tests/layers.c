/* Cells against their equations written out unit by unit; loops, lengths, stacks, dropout, states;
 * the texts of their errors. */
#include "tests/test.h"
#include "tests/counting.h"
#include "unroll/unroll.h"

enum { I = 3, H = 2, B = 2, T = 4 };

/* ------------------------------------------------------------- the equations, unit by unit
 *
 * One row: x[I], states h[H] and c[H] in and out. P(name) is a parameter's values. */

static const double *param(const ur_cell *cell, const char *name)
{
    char full[40];
    snprintf(full, sizeof full, "%s.%s", cell->name, name);
    return ur_param_values(ur_find(cell->params, full));
}
#define P(name) param(cell, name)

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* sum_j a_j W_(row+j),u */
static double dot(const double *a, int n, const double *W, int row, int u)
{
    double sum = 0;
    for (int j = 0; j < n; j++)
        sum += a[j] * W[(row + j) * H + u];
    return sum;
}

/* ([h, x] W + b)_u */
static double gate(const double *h, const double *x, const double *W, const double *b, int u)
{
    return dot(h, H, W, 0, u) + dot(x, I, W, H, u) + b[u];
}

static void elman_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
{
    double old[H] = { h[0], h[1] };
    (void)c;
    for (int u = 0; u < H; u++)
        h[u] = tanh(dot(x, I, P("U"), 0, u) + dot(old, H, P("W"), 0, u) + P("b")[u]);
}

static void relu_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
{
    double old[H] = { h[0], h[1] };
    (void)c;
    for (int u = 0; u < H; u++)
        h[u] = fmax(0, dot(x, I, P("U"), 0, u) + dot(old, H, P("W"), 0, u) + P("b")[u]);
}

static void lstm_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
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

static void gru_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
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

static void gru_reset_after_by_hand(const ur_cell *cell, const double *x, double *h, double *c)
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
};
enum { CELLS = sizeof cells / sizeof *cells };

/* ---------------------------------------------------------------------------------------- helpers */

static void fill(double *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = 2 * test_uniform() - 1;
}

static bool ran(ur_graph *g)
{
    bool ok = ur_run(g);
    return CHECK_STR(ur_error(g), NULL) && CHECK(ok);
}

static void compare(ur_node y, const double *expected, int n, double tolerance)
{
    double got[400];
    REQUIRE(n <= 400 && (int)ur_count(y) == n);
    REQUIRE(CHECK(ur_read(y, got, (size_t)n)));
    for (int i = 0; i < n; i++)
        CHECK_NEAR(got[i], expected[i], tolerance);
}

/* ------------------------------------------------------------------------------------------ cells */

TEST(cells_are_their_equations)
{
    for (int k = 0; k < CELLS; k++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        ur_cell *cell = cells[k].make(ps, cells[k].name, I, H);
        double x[T * B * I], h[B * H], c[B * H], y[T * B * H];
        CHECK_INT(ur_params_elements(ps), cells[k].numbers);
        CHECK_INT(cell->n_states, cells[k].states);
        CHECK_INT(cell->inputs, I);
        CHECK_INT(cell->outputs, H);
        fill(x, T * B * I);
        fill(h, B * H);
        fill(c, B * H);
        ur_node s[2] = { ur_input(g, h, B, H), ur_input(g, c, B, H) };
        ur_node out = ur_unroll(cell, ur_input(g, x, T, B, I), s);
        REQUIRE(ran(g));
        for (int t = 0; t < T; t++)
            for (int b = 0; b < B; b++) {
                cells[k].by_hand(cell, x + (t * B + b) * I, h + b * H, c + b * H);
                memcpy(y + (t * B + b) * H, h + b * H, H * sizeof *y);
            }
        compare(out, y, T * B * H, 1e-14);
        compare(s[0], h, B * H, 1e-14);
        if (cell->n_states > 1)
            compare(s[1], c, B * H, 1e-14);
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* The step of a cell on its own, as a program that makes one step at a time uses it. */
TEST(one_step_by_hand)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_cell *cell = ur_gru(ps, "gru", I, H);
    double x[I], h[B * H] = { 0 };
    fill(x, I);
    ur_node s[1];
    CHECK(ur_cell_zero_states(g, cell, 1, s));
    ur_node y = ur_cell_apply(cell, 0, ur_input(g, x, 1, I), s);
    REQUIRE(ran(g));
    gru_by_hand(cell, x, h, NULL);
    compare(y, h, H, 1e-15);
    compare(s[0], h, H, 1e-15);
    ur_graph_free(g);
    ur_params_free(ps);
}

static void check_range(ur_params *ps, const char *name, double at_most, double at_least)
{
    ur_node W = ur_find(ps, name);
    const double *v = ur_param_values(W);
    double most = 0;
    REQUIRE(v != NULL);
    for (size_t i = 0; i < ur_count(W); i++)
        most = fmax(most, fabs(v[i]));
    if (!CHECK(most <= at_most && most >= at_least))
        printf("  %s: largest %g, not from %g to %g\n", name, most, at_least, at_most);
}

/* U(-k, k) with k = 1/sqrt(H), biases the sum of two draws where they stand for two of PyTorch's. */
TEST(starts)
{
    enum { MANY = 64 };
    const double k = 1.0 / 8;
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_elman(ps, "elman", 32, MANY);
    ur_lstm(ps, "lstm", 32, MANY);
    ur_gru_reset_after(ps, "after", 32, MANY);
    ur_cell_options o = ur_cell_defaults(MANY);
    o.forget = ur_constant(1);
    o.W = ur_constant(0.25);
    ur_lstm_with(ps, "other", 32, MANY, &o);
    ur_linear_new(ps, "out", 16, 200);
    ur_embedding_new(ps, "embed", 100, 10);
    const char *once[] = { "elman.U", "elman.W", "lstm.Wi", "lstm.Wo", "after.Un", "after.Wn" };
    for (int i = 0; i < 6; i++)
        check_range(ps, once[i], k, 0.99 * k);
    const char *twice[] = { "elman.b", "lstm.bi", "lstm.bf", "lstm.bg", "lstm.bo", "after.br",
                            "after.bz", "other.bi" };
    for (int i = 0; i < 8; i++)
        check_range(ps, twice[i], 2 * k, 1.2 * k);
    check_range(ps, "after.bn", k, 0.9 * k);
    check_range(ps, "after.dn", k, 0.9 * k);
    check_range(ps, "other.bf", 1, 1);
    check_range(ps, "other.Wi", 0.25, 0.25);
    check_range(ps, "out.W", 0.25, 0.249);
    check_range(ps, "out.b", 0.25, 0.24);
    check_range(ps, "embed.E", 6, 2.5);
    ur_params_free(ps);
}

TEST(linear_and_embedding)
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_embedding e = ur_embedding_new(ps, "e", 4, 2);
    ur_linear_layer l = ur_linear_new(ps, "l", 2, 3);
    ur_linear_layer u = ur_linear_unbiased(ps, "u", 2, 1, ur_constant(0.5));
    ur_node v = ur_embed(e, ur_ints(g, ((int32_t[]){ 3, 0, 3 }), 3, 1));
    ur_node y = ur_linear(l, v), z = ur_linear(u, v);
    REQUIRE(ran(g));
    const double *E = ur_param_values(e.E), *W = ur_param_values(l.W), *b = ur_param_values(l.b);
    double row[3][2], expected[9], half[3];
    for (int r = 0; r < 3; r++) {
        memcpy(row[r], E + (r == 1 ? 0 : 6), sizeof row[r]);
        for (int o = 0; o < 3; o++)
            expected[r * 3 + o] = row[r][0] * W[o] + row[r][1] * W[3 + o] + b[o];
        half[r] = 0.5 * (row[r][0] + row[r][1]);
    }
    compare(v, row[0], 6, 0);
    compare(y, expected, 9, 1e-15);
    compare(z, half, 3, 1e-15);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* ---------------------------------------------------------------------------------------- lengths */

enum { ROWS = 6, STEPS = 5 };
static const int lengths[ROWS] = { 3, 0, 5, 2, 5, 1 };

/* Every row of a ragged batch against that row alone: outputs, states, all states, gradients with
 * respect to inputs, initial states and parameters. Padding holds NaN. */
static void ragged(int k)
{
    ur_params *ps = ur_params_new(UR_F64, 7), *other = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN), *alone = ur_graph_new(UR_F64, UR_TRAIN);
    ur_cell *cell = cells[k].make(ps, cells[k].name, I, H);
    ur_cell *same = cells[k].make(other, cells[k].name, I, H);
    double x[STEPS][ROWS][I], h[2][ROWS][H], weight[STEPS][ROWS][H];
    fill(x[0][0], STEPS * ROWS * I);
    fill(h[0][0], 2 * ROWS * H);
    fill(weight[0][0], STEPS * ROWS * H);
    for (int b = 0; b < ROWS; b++)
        for (int t = lengths[b]; t < STEPS; t++)
            x[t][b][0] = x[t][b][1] = x[t][b][2] = NAN;

    ur_node in = ur_input(g, x, STEPS, ROWS, I), s[2], all[2], leaf[3] = { in }, grad[3];
    for (int i = 0; i < 2; i++)
        s[i] = leaf[1 + i] = ur_input(g, h[i], ROWS, H);
    ur_node y = ur_unroll_states(cell, in, lengths, s, all);
    ur_node loss = ur_sum(ur_mul(y, ur_input(g, weight, STEPS, ROWS, H)));
    for (int i = 0; i < cell->n_states; i++)
        loss = ur_add(loss, ur_sum(ur_square(s[i])));
    ur_backward(loss);
    ur_grad(&loss, NULL, 1, leaf, 1 + cell->n_states, grad);
    REQUIRE(ran(g));
    double out[STEPS][ROWS][H], dx[STEPS][ROWS][I], dh[2][ROWS][H], end[2][ROWS][H];
    double every[2][STEPS][ROWS][H], total = 0;
    CHECK(ur_read(y, out, STEPS * ROWS * H));
    CHECK(ur_read(grad[0], dx, STEPS * ROWS * I));
    for (int i = 0; i < cell->n_states; i++) {
        CHECK(ur_read(grad[1 + i], dh[i], ROWS * H));
        CHECK(ur_read(s[i], end[i], ROWS * H));
        CHECK(ur_read(all[i], every[i], STEPS * ROWS * H));
    }
    for (int b = 0; b < ROWS; b++) {
        const int n = lengths[b];
        double xb[STEPS * I], wb[STEPS * H], padding = 0;
        for (int t = 0; t < n; t++) {
            memcpy(xb + t * I, x[t][b], sizeof x[t][b]);
            memcpy(wb + t * H, weight[t][b], sizeof weight[t][b]);
        }
        for (int t = n; t < STEPS; t++)
            for (int i = 0; i < 3; i++)
                padding += fabs(dx[t][b][i]) + (i < H ? fabs(out[t][b][i]) : 0);
        CHECK_NEAR(padding, 0, 0);
        ur_clear(alone);
        ur_node one = ur_input(alone, xb, n, 1, I), r[2], from[3] = { one }, d[3], states[2];
        for (int i = 0; i < 2; i++)
            r[i] = from[1 + i] = ur_input(alone, h[i][b], 1, H);
        ur_node z = ur_unroll_states(same, one, NULL, r, states);
        ur_node l = ur_sum(ur_mul(z, ur_input(alone, wb, n, 1, H)));
        for (int i = 0; i < same->n_states; i++)
            l = ur_add(l, ur_sum(ur_square(r[i])));
        if (n)
            ur_backward(l);
        ur_grad(&l, NULL, 1, from, 1 + same->n_states, d);
        REQUIRE(ran(alone));
        total += ur_value(l);
        double zv[STEPS * H], dv[STEPS * I], sv[H], dsv[H], av[STEPS * H];
        CHECK(ur_read(z, zv, (size_t)(n * H)) && ur_read(d[0], dv, (size_t)(n * I)));
        for (int t = 0; t < n; t++)
            for (int i = 0; i < I; i++) {
                CHECK_NEAR(dx[t][b][i], dv[t * I + i], 1e-13);
                if (i < H)
                    CHECK_NEAR(out[t][b][i], zv[t * H + i], 1e-14);
            }
        for (int i = 0; i < same->n_states; i++) {
            CHECK(ur_read(r[i], sv, H) && ur_read(d[1 + i], dsv, H) &&
                  ur_read(states[i], av, (size_t)(n * H)));
            for (int u = 0; u < H; u++) {
                CHECK_NEAR(end[i][b][u], sv[u], 1e-14);
                CHECK_NEAR(dh[i][b][u], dsv[u], 1e-13);
                for (int t = 0; t < STEPS; t++)
                    CHECK_NEAR(every[i][t][b][u], t < n ? av[t * H + u] : sv[u], 1e-14);
            }
        }
    }
    CHECK_NEAR(ur_value(loss), total, 1e-12);
    for (int p = 0; p < ur_params_count(ps); p++) {
        const double *a = ur_param_gradient(ur_params_at(ps, p));
        const double *b = ur_param_gradient(ur_params_at(other, p));
        for (size_t i = 0; i < ur_count(ur_params_at(ps, p)); i++)
            CHECK_NEAR(a[i], b[i], 1e-12);
    }
    ur_graph_free(g);
    ur_graph_free(alone);
    ur_params_free(ps);
    ur_params_free(other);
}

TEST(rows_of_different_lengths_are_rows_alone)
{
    for (int k = 0; k < CELLS; k++)
        ragged(k);
}

TEST(lengths_at_the_edges)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_cell *cell = ur_lstm(ps, "lstm", I, H);
    double x[T * B * I], h[B * H], zero[T * B * H] = { 0 }, plain[T * B * H];
    fill(x, T * B * I);
    fill(h, B * H);
    ur_node in = ur_input(g, x, T, B, I), all[2];
    /* no row is alive: zeros, and the states as they were */
    ur_node s[2] = { ur_input(g, h, B, H), ur_input(g, h, B, H) };
    ur_node none = ur_unroll_states(cell, in, ((int[]){ 0, 0 }), s, all);
    /* all rows are full: the same bits as without lengths */
    ur_node y = ur_unroll(cell, in, NULL), full = ur_unroll_lengths(cell, in, ((int[]){ T, T }), NULL);
    /* no steps, no rows */
    ur_node r[2] = { s[0], s[1] };
    ur_node empty = ur_unroll(cell, ur_input(g, NULL, 0, B, I), r);
    ur_node nobody = ur_unroll(cell, ur_input(g, NULL, T, 0, I), NULL);
    REQUIRE(ran(g));
    compare(none, zero, T * B * H, 0);
    compare(s[1], h, B * H, 0);
    for (int t = 0; t < T; t++)
        memcpy(plain + t * B * H, h, sizeof h);
    compare(all[0], plain, T * B * H, 0);
    CHECK(ur_read(y, plain, T * B * H));
    compare(full, plain, T * B * H, 0);
    compare(r[0], h, B * H, 0);
    CHECK_INT(ur_dim(empty, 0), 0);
    CHECK_INT(ur_dim(empty, 2), H);
    CHECK_INT(ur_dim(nobody, 1), 0);
    CHECK_INT(ur_dim(nobody, 2), H);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* ----------------------------------------------------------------------------------------- states */

/* A sequence in two parts with carried state is the sequence; a row can start anew. */
TEST(carried_states)
{
    for (int k = 0; k < CELLS; k++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
        ur_cell *cell = cells[k].make(ps, cells[k].name, I, H);
        ur_params *st = ur_cell_states(cell, B);
        double x[T * B * I], whole[T * B * H], zero[2][B * H] = { { 0 } };
        fill(x, T * B * I);
        ur_node y = ur_unroll(cell, ur_input(g, x, T, B, I), NULL);
        CHECK(ur_read(y, whole, T * B * H));
        CHECK_INT(ur_params_count(st), cell->n_states);
        for (int half = 0; half < 2; half++) {
            ur_clear(g);
            ur_node s[2];
            CHECK(ur_state_in(g, st, s));
            y = ur_unroll(cell, ur_input(g, x + half * (T / 2) * B * I, T / 2, B, I), s);
            CHECK(ur_state_out(st, s));
            REQUIRE(ran(g));
            compare(y, whole + half * (T / 2) * B * H, T / 2 * B * H, 1e-14);
        }
        const double *h = ur_param_values(ur_params_at(st, 0));
        CHECK_NEAR(h[B * H - 1], whole[T * B * H - 1], 1e-14);
        CHECK(ur_state_reset(st, -1));
        CHECK_MEM(h, zero, B * H * sizeof *h);
        ur_graph_free(g);
        ur_params_free(st);
        ur_params_free(ps);
    }
}

/* ------------------------------------------------------------------------- stacks and dropout */

TEST(a_stack_is_one_on_top_of_the_other)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_cell *low = ur_lstm(ps, "low", I, 5), *high = ur_gru(ps, "high", 5, H);
    ur_cell *both = ur_stacked("both", (ur_cell *[]){ low, high }, 2, 0.5);
    CHECK_INT(both->n_states, 3);
    CHECK_INT(both->inputs, I);
    CHECK_INT(both->outputs, H);
    CHECK_INT(both->sizes[0], 5);
    CHECK_INT(both->sizes[2], H);
    double x[T * B * I], y[T * B * H], c[B * 5];
    fill(x, T * B * I);
    ur_node in = ur_input(g, x, T, B, I), s[3], a[2], b[1];
    CHECK(ur_cell_zero_states(g, both, B, s) && ur_cell_zero_states(g, low, B, a) &&
          ur_cell_zero_states(g, high, B, b));
    ur_node stacked = ur_unroll(both, in, s);
    ur_node apart = ur_unroll(high, ur_unroll(low, in, a), b);
    REQUIRE(ran(g));
    CHECK(ur_read(apart, y, T * B * H) && ur_read(a[1], c, B * 5));
    compare(stacked, y, T * B * H, 1e-14);
    compare(s[1], c, B * 5, 1e-14);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* Zeros of the output, one a place; what a mask of one sequence looks like. */
static void zeros_of(ur_node y, bool *zero, int n)
{
    double v[400];
    REQUIRE(n <= 400 && ur_read(y, v, (size_t)n));
    for (int i = 0; i < n; i++)
        zero[i] = v[i] == 0;
}

TEST(dropout_on_outputs)
{
    enum { MANY = 40, TOTAL = 3 * 2 * MANY };
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN), *infer = ur_graph_new(UR_F64, UR_INFER);
    ur_cell *cell = ur_gru(ps, "gru", I, MANY);
    ur_cell *each = ur_dropout_cell(cell, 0.5), *one = ur_dropout_cell_sequence(cell, 0.5);
    double x[3 * 2 * I], plain[TOTAL], h[2 * MANY];
    bool a[TOTAL], b[TOTAL];
    fill(x, 3 * 2 * I);
    ur_node s[1], r[1], in = ur_input(g, x, 3, 2, I);
    CHECK(ur_cell_zero_states(g, each, 2, s) && ur_cell_zero_states(g, cell, 2, r));
    ur_node y = ur_unroll(each, in, s), z = ur_unroll(one, in, NULL), w = ur_unroll(cell, in, r);
    REQUIRE(ran(g));
    CHECK(ur_read(r[0], h, 2 * MANY));
    compare(s[0], h, 2 * MANY, 1e-14);      /* what is carried stays whole */
    zeros_of(y, a, TOTAL);
    zeros_of(z, b, TOTAL);
    int dropped = 0, same = 0, kept = 0;
    for (int i = 0; i < TOTAL; i++) {
        dropped += a[i];
        same += a[i] == a[i % (2 * MANY)];
        kept += b[i] == b[i % (2 * MANY)];
    }
    CHECK(dropped > TOTAL / 3 && dropped < TOTAL * 2 / 3);
    CHECK(same < TOTAL);
    CHECK_INT(kept, TOTAL);
    CHECK(ur_read(w, plain, TOTAL));
    double doubled[TOTAL];
    CHECK(ur_read(y, doubled, TOTAL));
    for (int i = 0; i < TOTAL; i++)
        CHECK_NEAR(doubled[i], a[i] ? 0 : 2 * plain[i], 1e-14);
    /* no dropout where nothing is learnt, and another rate on the same plan */
    ur_node v = ur_unroll(one, ur_input(infer, x, 3, 2, I), NULL);
    compare(v, plain, TOTAL, 1e-14);
    CHECK(ur_set_dropout(each, 1) && !ur_set_dropout(each, 1.5) && !ur_set_dropout(cell, 0.5));
    ur_clear(g);
    y = ur_unroll(each, ur_input(g, x, 3, 2, I), NULL);
    REQUIRE(ran(g));
    zeros_of(y, a, TOTAL);
    for (int i = 0; i < TOTAL; i++)
        CHECK(a[i]);
    ur_graph_free(g);
    ur_graph_free(infer);
    ur_params_free(ps);
}

/* ----------------------------------------------------------------------------------------- errors */

/* A user's cell that does not do what it says. */
typedef struct wrong { ur_cell cell; bool bad_output; } wrong;

static ur_node wrong_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    ur_node h = s[0];
    if (!((const wrong *)cell)->bad_output)
        s[0] = x;
    return ((const wrong *)cell)->bad_output ? x : h;
}

TEST(errors_of_unroll)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_cell *cell = ur_lstm(ps, "lstm", I, H);
    wrong *output = ur_cell_new(ps, "output", sizeof *output, wrong_step, I, H, 1, (int[]){ H });
    wrong *state = ur_cell_new(ps, "state", sizeof *state, wrong_step, I, H, 1, (int[]){ H });
    output->bad_output = true;
    ur_node s[2] = { { 0 }, { 0 } };
#define FAILS(call, text)                                                                          \
    do {                                                                                           \
        CHECK(ur_is_nil(call));                                                                    \
        CHECK_HAS(ur_error(g), text);                                                              \
        CHECK_HAS(ur_error(g), "layers.c:");                                                       \
        ur_error_reset(g);                                                                         \
        ur_clear(g);                                                                               \
    } while (0)
    ur_node x = ur_zeros(g, T, B, I + 1);
    FAILS(ur_unroll(cell, x, NULL), "unroll: x is [4,2,4], but cell lstm takes 3 features, not 4");
    x = ur_zeros(g, B, I);
    FAILS(ur_unroll(cell, x, NULL), "unroll: x is [2,3], but a sequence is [T,B,features]");
    x = ur_ints(g, NULL, T, B, I);
    FAILS(ur_unroll(cell, x, NULL), "unroll: x is int32 [4,2,3], but cell lstm takes numbers: embed ids");
    x = ur_zeros(g, T, B, I);
    s[0] = ur_zeros(g, B, H);
    s[1] = ur_zeros(g, B + 1, H);
    FAILS(ur_unroll(cell, x, s), "unroll: s[1] is [3,2], but cell lstm carries [2,2]");
    x = ur_zeros(g, T, B, I);
    FAILS(ur_unroll(cell, x, ((ur_node[]){ s[0], s[0] })), "unroll: s[0] is nil, but cell lstm");
    x = ur_zeros(g, T, B, I);
    FAILS(ur_unroll_lengths(cell, x, ((int[]){ 1, 5 }), NULL),
          "unroll: lengths[1] is 5, not between 0 and the 4 steps of x");
    x = ur_zeros(g, T, B, I);
    FAILS(ur_unroll(&output->cell, x, NULL),
          "unroll: cell output returned [2,3] at t=0, but declares an output of [2,2]");
    x = ur_zeros(g, T, B, I);
    FAILS(ur_unroll(&state->cell, x, NULL),
          "unroll: cell state left [2,3] in s[0] at t=0, but declares a state of [2,2]");
    x = ur_zeros(g, T, B, I);
    FAILS(ur_unroll(NULL, x, NULL), "unroll: the cell could not be made: out of memory");
#undef FAILS
    ur_graph_free(g);
    ur_params_free(ps);
}

/* A cell whose parameter has the wrong size says so from within: op, operands, layer and step. */
static ur_node misfit_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    ur_node W = ur_find(cell->params, "misfit.W");
    return s[0] = ur_tanh(ur_matmul(ur_concat(s[0], x), W));
}

TEST(errors_inside_a_cell)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_cell *cell = ur_cell_new(ps, "misfit", sizeof *cell, misfit_step, I, H, 1, (int[]){ H });
    ur_param(ps, "misfit.W", ur_xavier(), I, H);
    CHECK(ur_is_nil(ur_unroll(cell, ur_zeros(g, T, B, I), NULL)));
    CHECK_HAS(ur_error(g), "matmul: ur_concat(s[0], x) is [2,5] but misfit.W is [3,2]");
    CHECK_HAS(ur_error(g), "(in misfit, t=0)");
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(errors_of_construction)
{
    static const struct { int inputs, hidden; const char *text; } bad[] = {
        { 0, 2, "cell lstm: 0 inputs, 2 outputs, 2 states: sizes are at least 1" },
        { 3, -1, "cell lstm: 3 inputs, -1 outputs, 2 states: sizes are at least 1" },
    };
    for (int k = 0; k < 2; k++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        ur_cell *cell = ur_lstm(ps, "lstm", bad[k].inputs, bad[k].hidden);
        CHECK_HAS(ur_error(ps), bad[k].text);
        CHECK(!ur_cell_usable(cell));
        CHECK(ur_cell_states(cell, 2) == NULL);
        CHECK(ur_is_nil(ur_unroll(cell, ur_zeros(g, 1, 1, 1), NULL)));
        CHECK_HAS(ur_error(g), "unroll: the cell could not be made: cell lstm: ");
        ur_graph_free(g);
        ur_params_free(ps);
    }
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_cell *a = ur_gru(ps, "a", 3, 4), *b = ur_gru(ps, "b", 5, 4);
    CHECK(!ur_cell_usable(ur_stacked("two", (ur_cell *[]){ a, b }, 2, 0)));
    CHECK_STR(ur_error(ps), "stacked two: cell 2, b, takes 5 inputs, but a below it has 4 outputs");
    ur_error_reset(ps);
    ur_gru(ps, "a", 3, 4);
    CHECK_HAS(ur_error(ps), "there is a parameter \"a.Wr\" already");
    ur_params_free(ps);
}

/* No memory at whatever moment: an inert cell, an error, no crash, nothing left behind. */
TEST(without_memory)
{
    for (long call = 1; ; call++) {
        counting_begin(call);
        ur_params *ps = ur_params_new(UR_F32, 1);
        ur_cell *low = ur_lstm(ps, "low", I, H), *high = ur_gru(ps, "high", H, H);
        ur_cell *both = ur_stacked("both", (ur_cell *[]){ low, high }, 2, 0.1);
        ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
        ur_node x = g ? ur_zeros(g, STEPS, ROWS, I) : (ur_node){ 0 };
        ur_backward(ur_sum(ur_unroll_lengths(both, x, lengths, NULL)));
        bool ok = ur_run(g);
        long failed = counting.failed;
        CHECK(ok || failed);
        CHECK(ok || !ps || !g || ur_error(ps) || ur_error(g));
        ur_graph_free(g);
        ur_params_free(ps);
        CHECK_INT(counting.blocks, 0);
        counting_end();
        if (!failed)
            break;
    }
}

/* ----------------------------------------------------------------------------------- steady state */

/* After the first steps a training loop takes nothing from the heap: with carried states, ragged
 * rows, clipping and Adam. */
TEST(steady_state_takes_no_memory)
{
    counting_begin(0);
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_embedding e = ur_embedding_new(ps, "e", 9, I);
    ur_cell *low = ur_lstm(ps, "low", I, H), *high = ur_gru(ps, "high", H, H);
    ur_cell *both = ur_stacked("both", (ur_cell *[]){ low, high }, 2, 0.1);
    ur_linear_layer out = ur_linear_new(ps, "out", H, 9);
    ur_params *st = ur_cell_states(both, ROWS);
    ur_optim *opt = ur_optim_new(ps, ur_adam(1e-2));
    ur_clip_norm(opt, 1);
    int32_t ids[STEPS * ROWS];
    long calls = 0;
    for (int step = 0; step < 20; step++) {
        for (int i = 0; i < STEPS * ROWS; i++)
            ids[i] = (i * 7 + step) % 9;
        ur_clear(g);
        ur_node s[3];
        ur_state_in(g, st, s);
        ur_node y = ur_unroll_lengths(both, ur_embed(e, ur_ints(g, ids, STEPS, ROWS)), lengths, s);
        ur_node loss = ur_cross_entropy(ur_linear(out, y), ur_ints(g, ids, STEPS, ROWS));
        ur_state_out(st, s);
        ur_backward(loss);
        REQUIRE(ran(g));
        CHECK(ur_step(opt));
        CHECK(isfinite(ur_value(loss)));
        if (step == 4)
            calls = counting.calls;
    }
    CHECK_INT(counting.calls - calls, 0);
    ur_optim_free(opt);
    ur_graph_free(g);
    ur_params_free(st);
    ur_params_free(ps);
    CHECK_INT(counting.blocks, 0);
    CHECK_INT(counting.wrong, 0);
    counting_end();
}

TEST_MAIN(T(cells_are_their_equations), T(one_step_by_hand), T(starts), T(linear_and_embedding),
          T(rows_of_different_lengths_are_rows_alone), T(lengths_at_the_edges), T(carried_states),
          T(a_stack_is_one_on_top_of_the_other), T(dropout_on_outputs), T(errors_of_unroll),
          T(errors_inside_a_cell), T(errors_of_construction), T(without_memory),
          T(steady_state_takes_no_memory))
