/* Recurrent modules of PyTorch's: their parameters imported, their outputs and gradients
 * reproduced (the numbers in reference/cells.h and, of both directions over rows of different
 * lengths, in reference/both.h); what an import refuses. */
#include "tests/test.h"
#include "tests/child.h"
#include "tests/reference/cells.h"
#include "tests/reference/both.h"
#include "graph/safetensors.h"
#include "unroll/unroll.h"

/* ---------------------------------------------------------------------------------------- files */

static const char *file_with(const ur__st_out *tensors, size_t n)
{
    const char *path = in_folder("module.safetensors");
    char why[300] = "";
    ur__st_write(path, tensors, n, NULL, 0, why, sizeof why);
    CHECK_STR(why, "");
    return path;
}

/* A module as layer 1 of "net.rnn", in double. */
static const char *file_of(const struct torch_cell *m)
{
    const uint64_t rows = (uint64_t)m->gates * H;
    const ur__st_out tensors[] = {
        { "net.rnn.weight_ih_l1", UR__ST_F64, 2, { rows, I }, m->weight_ih },
        { "net.rnn.weight_hh_l1", UR__ST_F64, 2, { rows, H }, m->weight_hh },
        { "net.rnn.bias_ih_l1", UR__ST_F64, 1, { rows }, m->bias_ih },
        { "net.rnn.bias_hh_l1", UR__ST_F64, 1, { rows }, m->bias_hh },
    };
    return file_with(tensors, m->biased ? 4 : 2);
}

static ur_cell *counterpart(const char *name, ur_params *ps)
{
    if (strncmp(name, "lstm", 4) == 0)
        return ur_lstm(ps, "cell", I, H);
    if (strncmp(name, "gru", 3) == 0)
        return ur_gru_reset_after(ps, "cell", I, H);
    return strcmp(name, "rnn tanh") == 0 ? ur_elman(ps, "cell", I, H)
                                         : ur_elman_relu(ps, "cell", I, H);
}

/* ---------------------------------------------------------------------------------- comparisons */

static void compare(const char *what, ur_node y, const double *expected, int n)
{
    double got[64];
    REQUIRE((int)ur_count(y) == n && ur_read(y, got, (size_t)n));
    for (int i = 0; i < n; i++)
        if (!CHECK_NEAR(got[i], expected[i], 1e-12))
            printf("  %s, element %d\n", what, i);
}

/* The gradient of one of our matrices, whose row `row` on is PyTorch's d, gate q, transposed. */
static void matrix(ur_params *ps, const char *name, int row, const double *d, int q, int columns)
{
    char full[40];
    snprintf(full, sizeof full, "cell.%s", name);
    const double *g = ur_param_gradient(ur_find(ps, full));
    REQUIRE(g != NULL);
    for (int u = 0; u < H; u++)
        for (int c = 0; c < columns; c++)
            if (!CHECK_NEAR(g[(row + c) * H + u], d[(q * H + u) * columns + c], 1e-12))
                printf("  %s\n", full);
}

static void bias(ur_params *ps, const char *name, const double *d, int q)
{
    matrix(ps, name, 0, d, q, 1);
}

static void gradients(const struct torch_cell *m, ur_params *ps)
{
    static const char *const names[3][4][2] = {
        { { "W", "b" } },
        { { "Wr", "br" }, { "Wz", "bz" }, { "Wn", "dn" } },
        { { "Wi", "bi" }, { "Wf", "bf" }, { "Wg", "bg" }, { "Wo", "bo" } },
    };
    for (int q = 0; q < m->gates; q++) {
        const char *const *name = names[m->gates == 1 ? 0 : m->gates - 2][q];
        /* U, and Un of the gru, are matrices of their own; the others are below those on h */
        const char *on_x = m->gates == 1 ? "U" : m->gates == 3 && q == 2 ? "Un" : name[0];
        matrix(ps, name[0], 0, m->d_weight_hh, q, H);
        matrix(ps, on_x, on_x == name[0] ? H : 0, m->d_weight_ih, q, I);
        if (m->biased)
            bias(ps, name[1], m->d_bias_hh, q);
        if (m->biased && m->gates == 3 && q == 2)
            bias(ps, "bn", m->d_bias_ih, q);
    }
}

TEST(modules)
{
    for (size_t k = 0; k < sizeof torch_cells / sizeof *torch_cells; k++) {
        const struct torch_cell *m = &torch_cells[k];
        ur_params *ps = ur_params_new(UR_F64, 5);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        ur_cell *cell = counterpart(m->name, ps);
        CHECK(ur_import_torch(cell, file_of(m), "net.rnn", 1));
        CHECK_STR(ur_error(ps), NULL);
        double weight[T * B * H];
        for (int i = 0; i < T * B * H; i++)
            weight[i] = 1 + 0.1 * i;
        ur_node x = ur_input(g, m->x, T, B, I);
        ur_node start[3] = { x, ur_input(g, m->h, B, H), ur_input(g, m->c, B, H) };
        ur_node s[2] = { start[1], start[2] }, d[3];
        ur_node y = ur_unroll(cell, x, s);
        ur_node loss = ur_sum(ur_mul(y, ur_input(g, weight, T, B, H)));
        for (int i = 0; i < cell->n_states; i++)
            loss = ur_add(loss, ur_sum(ur_square(s[i])));
        ur_backward(loss);
        ur_grad(&loss, NULL, 1, start, 1 + cell->n_states, d);
        CHECK(ur_run(g));
        CHECK_STR(ur_error(g), NULL);
        compare(m->name, y, m->y, T * B * H);
        compare(m->name, d[0], m->d_x, T * B * I);
        compare(m->name, d[1], m->d_h, B * H);
        if (cell->n_states > 1) {
            compare(m->name, s[1], m->last_c, B * H);
            compare(m->name, d[2], m->d_c, B * H);
        }
        gradients(m, ps);
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* ------------------------------------------------------------------------------ both directions */

static const char *file_of_both(const struct torch_both *m, int k)
{
    const uint64_t rows = (uint64_t)m->gates * H;
    const ur__st_out tensors[] = {
        { "weight_ih_l0", UR__ST_F64, 2, { rows, I }, m->weight_ih[k] },
        { "weight_hh_l0", UR__ST_F64, 2, { rows, H }, m->weight_hh[k] },
        { "bias_ih_l0", UR__ST_F64, 1, { rows }, m->bias_ih[k] },
        { "bias_hh_l0", UR__ST_F64, 1, { rows }, m->bias_hh[k] },
    };
    return file_with(tensors, 4);
}

/* As PyTorch has it of packed sequences: padding is 0, last states are those of each row's end. */
TEST(both_directions_of_packed_rows)
{
    enum { ROWS = BOTH_B, ONE = ROWS * H };
    for (size_t n = 0; n < sizeof torch_both / sizeof *torch_both; n++) {
        const struct torch_both *m = &torch_both[n];
        const bool lstm = m->gates == 4;
        ur_params *ps = ur_params_new(UR_F64, 5);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        ur_cell *way[2];
        for (int k = 0; k < 2; k++)
            way[k] = (lstm ? ur_lstm : ur_gru_reset_after)(ps, k ? "back" : "forth", I, H);
        for (int k = 0; k < 2; k++)
            CHECK(ur_import_torch(way[k], file_of_both(m, k), "", 0));
        double weight[T * ROWS * 2 * H];
        for (int i = 0; i < T * ROWS * 2 * H; i++)
            weight[i] = 1 + 0.1 * i;
        ur_node in[5] = { ur_input(g, m->x, T, ROWS, I) }, s[4], d[5];
        const int each = way[0]->n_states;
        for (int k = 0; k < 2; k++) {
            in[1 + k * each] = s[k * each] = ur_input(g, m->h + k * ONE, ROWS, H);
            if (lstm)
                in[2 + k * each] = s[1 + k * each] = ur_input(g, m->c + k * ONE, ROWS, H);
        }
        ur_node y = ur_bidirectional(way[0], way[1], in[0], both_lengths, UR_MERGE_CONCAT, s);
        ur_node loss = ur_sum(ur_mul(y, ur_input(g, weight, T, ROWS, 2 * H)));
        for (int i = 0; i < 2 * each; i++)
            loss = ur_add(loss, ur_sum(ur_square(s[i])));
        ur_grad(&loss, NULL, 1, in, 1 + 2 * each, d);
        CHECK(ur_run(g));
        CHECK_STR(ur_error(g), NULL);
        compare("y", y, m->y, T * ROWS * 2 * H);
        compare("d_x", d[0], m->d_x, T * ROWS * I);
        for (int k = 0; k < 2; k++) {
            compare("last h", s[k * each], m->last_h + k * ONE, ONE);
            compare("d_h", d[1 + k * each], m->d_h + k * ONE, ONE);
            if (lstm) {
                compare("last c", s[1 + k * each], m->last_c + k * ONE, ONE);
                compare("d_c", d[2 + k * each], m->d_c + k * ONE, ONE);
            }
        }
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

TEST(linear)
{
    const double W[] = { 1, 2, 3, 4, 5, 6 }, b[] = { 7, 8 };
    const ur__st_out tensors[] = { { "weight", UR__ST_F64, 2, { 2, 3 }, W },
                                   { "bias", UR__ST_F64, 1, { 2 }, b } };
    const char *path = file_with(tensors, 2);
    ur_params *ps = ur_params_new(UR_F32, 5);
    ur_linear_layer l = ur_linear_new(ps, "l", 3, 2);
    ur_linear_layer u = ur_linear_unbiased(ps, "u", 3, 2, ur_constant(0));
    CHECK(ur_import_torch_linear(l, path, "") && ur_import_torch_linear(u, path, ""));
    const float *v = ur_param_values(l.W), *c = ur_param_values(l.b), *w = ur_param_values(u.W);
    for (int i = 0; i < 3; i++)
        for (int o = 0; o < 2; o++) {
            CHECK_NEAR(v[i * 2 + o], W[o * 3 + i], 0);
            CHECK_NEAR(w[i * 2 + o], W[o * 3 + i], 0);
        }
    CHECK_NEAR(c[0], 7, 0);
    CHECK_NEAR(c[1], 8, 0);
    ur_params_free(ps);
}

TEST(layer_norm)
{
    const struct torch_layer_norm *m = &torch_layer_norm;
    ur_params *ps = ur_params_new(UR_F64, 5);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_layer_norm norm = ur_layer_norm_new(ps, "norm", N), one = ur_layer_norm_new(ps, "one", 1);
    CHECK_NEAR(((const double *)ur_param_values(norm.gain))[N - 1], 1, 0);
    CHECK_NEAR(((const double *)ur_param_values(norm.bias))[N - 1], 0, 0);
    memcpy(ur_param_values(norm.gain), m->gain, sizeof m->gain);
    memcpy(ur_param_values(norm.bias), m->bias, sizeof m->bias);
    double weight[M * N];
    for (int i = 0; i < M * N; i++)
        weight[i] = 1 + 0.1 * i;
    ur_node x = ur_input(g, m->x, M, N), in[3] = { x, norm.gain, norm.bias }, d[3];
    ur_node y = ur_normalise(norm, x);
    ur_node loss = ur_sum(ur_mul(y, ur_input(g, weight, M, N)));
    ur_grad(&loss, NULL, 1, in, 3, d);
    CHECK(ur_run(g));
    CHECK_STR(ur_error(g), NULL);
    compare("y", y, m->y, M * N);
    compare("d_x", d[0], m->d_x, M * N);
    compare("d_gain", d[1], m->d_gain, N);
    compare("d_bias", d[2], m->d_bias, N);
    /* where a gain of one would be repeated, or x */
    ur_normalise(one, x);
    CHECK_HAS(ur_error(g), "torch.c:");
    CHECK_HAS(ur_error(g), "normalise: x is [3,5], but one.gain is [1]");
    ur_graph_free(g);
    ur_params_free(ps);
}

/* ------------------------------------------------------------------------------------- refusals */

TEST(refusals)
{
    ur_params *ps = ur_params_new(UR_F64, 5);
    ur_cell *cell = ur_lstm(ps, "cell", I, H), *wide = ur_lstm(ps, "wide", I + 1, H);
    ur_cell *gru = ur_gru(ps, "gru", I, H), *after = ur_gru_reset_after(ps, "after", I, H);
    ur_cell *peephole = ur_lstm_peephole(ps, "peephole", I, H);
    ur_cell *norm = ur_lstm_norm(ps, "norm", I, H);
    ur_linear_layer linear = ur_linear_new(ps, "linear", I, H);
    const char *path = file_of(&torch_cells[0]);
    double before[(H + I) * H];
    memcpy(before, ur_param_values(ur_find(ps, "cell.Wi")), sizeof before);
#define FAILS(call, text)                                                                          \
    do {                                                                                           \
        CHECK(!(call));                                                                            \
        CHECK_HAS(ur_error(ps), text);                                                             \
        ur_error_reset(ps);                                                                        \
    } while (0)
    FAILS(ur_import_torch(cell, "/nowhere/x.safetensors", "net.rnn", 1),
          "import_torch: cannot read '/nowhere/x.safetensors': ");
    FAILS(ur_import_torch(cell, path, "net.rnn", 0), "has no tensor \"net.rnn.weight_ih_l0\"");
    FAILS(ur_import_torch(cell, path, "", 1), "has no tensor \"weight_ih_l1\"");
    FAILS(ur_import_torch(wide, path, "net.rnn", 1), "is [8,3] in the file but [8,4] is needed");
    FAILS(ur_import_torch(after, path, "net.rnn", 1), "is [8,3] in the file but [6,3] is needed");
    FAILS(ur_import_torch(gru, path, "net.rnn", 1),
          "import_torch: cell gru has not the parameters of PyTorch's LSTM (ur_lstm), GRU");
    FAILS(ur_import_torch(peephole, path, "net.rnn", 1), "cell peephole has not the parameters");
    FAILS(ur_import_torch(norm, path, "net.rnn", 1), "cell norm has not the parameters");
    FAILS(ur_import_torch_linear(linear, path, "net"), "has no tensor \"net.weight\"");
    /* a file that lacks the last tensor only */
    const struct torch_cell *m = &torch_cells[0];
    const ur__st_out tensors[] = {
        { "weight_ih_l0", UR__ST_F64, 2, { 4 * H, I }, m->weight_ih },
        { "weight_hh_l0", UR__ST_F64, 2, { 4 * H, H }, m->weight_hh },
        { "bias_ih_l0", UR__ST_F64, 1, { 4 * H }, m->bias_ih },
    };
    FAILS(ur_import_torch(cell, file_with(tensors, 3), "", 0), "has no tensor \"bias_hh_l0\"");
#undef FAILS
    CHECK_MEM(ur_param_values(ur_find(ps, "cell.Wi")), before, sizeof before);
    ur_params_free(ps);
}

TEST_MAIN(T(modules), T(both_directions_of_packed_rows), T(linear), T(layer_norm), T(refusals))
