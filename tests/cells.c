/* Cells and feed-forward layers against their equations written out unit by unit, and how they
 * start. */
#include "tests/cells.h"

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

/* U(-k, k) with k = 1/sqrt(H), biases the sum of two draws where they stand for two of
 * PyTorch's. */
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
    ur_lstm_peephole(ps, "peephole", 32, MANY);
    ur_lstm_norm(ps, "norm", 32, MANY);
    ur_irnn(ps, "irnn", 32, MANY);
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
    check_range(ps, "peephole.pf", k, 0.9 * k);
    check_range(ps, "norm.ai", 1, 1);
    check_range(ps, "norm.ac", 1, 1);
    check_range(ps, "irnn.U", k, 0.99 * k);
    check_range(ps, "irnn.b", 0, 0);
    const double *W = ur_param_values(ur_find(ps, "irnn.W"));
    for (int i = 0; i < MANY * MANY; i++)
        CHECK_NEAR(W[i], i % (MANY + 1) == 0, 0);
    ur_params_free(ps);
}

/* The option that a parameter starts by, from its name; its value in the test below. */
static double started_by(const char *cell, const char *parameter)
{
    const bool lstm = strncmp(cell, "lstm", 4) == 0, irnn = strcmp(cell, "irnn") == 0;
    switch (*parameter) {
    case 'W': return irnn ? NAN : 1;                    /* the identity */
    case 'U': return 2;
    case 'd': return 5;
    case 'p': return 6;
    case 'a': return 7;
    default:
        return irnn ? 0 : lstm && strcmp(parameter, "bf") == 0 ? 4
             : strcmp(cell, "gru_reset_after") == 0 && strcmp(parameter, "bn") == 0 ? 5 : 3;
    }
}

TEST(every_option_starts_its_parameters)
{
    const ur_cell_options o = {
        .W = ur_constant(1), .U = ur_constant(2), .b = ur_constant(3), .forget = ur_constant(4),
        .d = ur_constant(5), .p = ur_constant(6), .gain = ur_constant(7),
    };
    for (int k = 0; k < CELLS; k++) {
        ur_params *ps = ur_params_new(UR_F64, 7), *same = ur_params_new(UR_F64, 7);
        ur_params *plain = ur_params_new(UR_F64, 7);
        const ur_cell_options usual = ur_cell_defaults(H);
        const char *name = cells[k].name;
        cells[k].make_with(ps, name, I, H, &o);
        cells[k].make_with(same, name, I, H, &usual);
        cells[k].make(plain, name, I, H);
        REQUIRE(ur_params_count(ps) == ur_params_count(plain));
        for (int p = 0; p < ur_params_count(ps); p++) {
            ur_node W = ur_params_at(ps, p), a = ur_params_at(same, p);
            const double *v = ur_param_values(W);
            const double start = started_by(name, ur_param_name(W) + strlen(name) + 1);
            for (size_t i = 0; i < ur_count(W); i++)
                if (!CHECK_NEAR(v[i], isnan(start) ? i % (H + 1) == 0 : start, 0))
                    printf("  %s\n", ur_param_name(W));
            CHECK_MEM(ur_param_values(a), ur_param_values(ur_params_at(plain, p)),
                      ur_count(a) * sizeof *v);
        }
        ur_params_free(ps);
        ur_params_free(same);
        ur_params_free(plain);
    }
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

TEST_MAIN(T(cells_are_their_equations), T(one_step_by_hand), T(starts),
          T(every_option_starts_its_parameters), T(linear_and_embedding))
