/* Long sequences in windows: what is carried, how far gradients reach, rows that begin anew; and
 * every state of a stack on the way. */
#include "tests/cells.h"

enum { LONG = 9, ROWS = 3, STATES = 3 };

static ur_cell *stack(ur_params *ps)
{
    return ur_stacked("both", (ur_cell *[]){ ur_lstm(ps, "low", I, H), ur_gru(ps, "high", H, H) },
                      2, 0);
}

/* ----------------------------------------------------------------------------------- truncation */

/* One update of (k1, k2), as the manual has it: the loss of the last `counted` steps. */
static ur_node window(ur_graph *g, const ur_cell *cell, ur_params *st, const double *x, int k1,
                      int k2, int counted)
{
    ur_node s[STATES], all[STATES];
    ur_clear(g);
    ur_state_in(g, st, s);
    ur_node h = ur_unroll_states(cell, ur_input(g, x, k2, B, I), NULL, s, all);
    for (int k = 0; k < cell->n_states; k++)
        s[k] = ur_index(all[k], 0, k1 - 1);
    ur_state_out(st, s);
    return ur_backward(ur_sum(ur_square(ur_slice(h, 0, k2 - counted, UR_END))));
}

/* The same in one piece: from the beginning to the window, without gradient, then the window. */
static ur_node in_one_piece(ur_graph *g, const ur_cell *cell, const double *x, int begin, int k2,
                            int counted)
{
    ur_node s[STATES];
    ur_clear(g);
    ur_cell_zero_states(g, cell, B, s);
    ur_unroll(cell, ur_input(g, x, begin, B, I), s);
    for (int k = 0; k < cell->n_states; k++)
        s[k] = ur_detach(s[k]);
    ur_node h = ur_unroll(cell, ur_input(g, x + begin * B * I, k2, B, I), s);
    return ur_backward(ur_sum(ur_square(ur_slice(h, 0, k2 - counted, UR_END))));
}

TEST(gradients_reach_back_k2_steps)
{
    static const struct { int k1, k2; } cases[] = { { 3, 3 }, { 2, 5 }, { 1, 4 }, { 1, 1 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const int k1 = cases[c].k1, k2 = cases[c].k2;
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN), *whole = ur_graph_new(UR_F64, UR_TRAIN);
        ur_cell *cell = stack(ps);
        ur_params *st = ur_cell_states(cell, B);
        double x[LONG * B * I], d[300];
        const size_t n = ur_block_elements(ps);
        REQUIRE(n <= 300);
        fill(x, LONG * B * I);
        for (int begin = 0; begin + k2 <= LONG; begin += k1) {
            const int counted = begin ? k1 : k2;
            ur_node loss = window(g, cell, st, x + begin * B * I, k1, k2, counted);
            REQUIRE(ran(g));
            memcpy(d, ur_gradients(ps), n * sizeof *d);
            ur_gradient_used(ps);
            ur_node expected = in_one_piece(whole, cell, x, begin, k2, counted);
            REQUIRE(ran(whole));
            CHECK_NEAR(ur_value(loss), ur_value(expected), 1e-13);
            const double *e = ur_gradients(ps);
            for (size_t i = 0; i < n; i++)
                CHECK_NEAR(d[i], e[i], 1e-13);
            ur_gradient_used(ps);
        }
        ur_graph_free(g);
        ur_graph_free(whole);
        ur_params_free(st);
        ur_params_free(ps);
    }
}

/* -------------------------------------------------------------------------------------- streams */

/* Three streams in windows of 3 steps. Row 1 begins another text after the first window, row 2
 * after the second: each text gives what it gives alone. */
TEST(rows_begin_anew)
{
    enum { WINDOW = 3 };
    static const struct { int row, begin, end; } texts[] = {
        { 0, 0, 9 }, { 1, 0, 3 }, { 1, 3, 9 }, { 2, 0, 6 }, { 2, 6, 9 },
    };
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_cell *cell = stack(ps);
    ur_params *st = ur_cell_states(cell, ROWS);
    double x[LONG * ROWS * I], y[LONG * ROWS * H], one[LONG * I], alone[LONG * H];
    fill(x, LONG * ROWS * I);
    for (int w = 0; w < LONG / WINDOW; w++) {
        ur_node s[STATES];
        ur_clear(g);
        if (w)
            CHECK(ur_state_reset(st, w));
        ur_state_in(g, st, s);
        ur_node h = ur_unroll(cell, ur_input(g, x + w * WINDOW * ROWS * I, WINDOW, ROWS, I), s);
        ur_state_out(st, s);
        REQUIRE(ran(g) && ur_read(h, y + w * WINDOW * ROWS * H, WINDOW * ROWS * H));
    }
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        const int b = texts[k].row, n = texts[k].end - texts[k].begin;
        for (int t = 0; t < n; t++)
            memcpy(one + t * I, x + ((texts[k].begin + t) * ROWS + b) * I, I * sizeof *x);
        ur_clear(g);
        REQUIRE(ur_read(ur_unroll(cell, ur_input(g, one, n, 1, I), NULL), alone, (size_t)(n * H)));
        for (int i = 0; i < n * H; i++)
            CHECK_NEAR(y[((texts[k].begin + i / H) * ROWS + b) * H + i % H], alone[i], 1e-14);
    }
    ur_graph_free(g);
    ur_params_free(st);
    ur_params_free(ps);
}

/* --------------------------------------------------------------------------------------- states */

/* Every state of a stack after every step, as one's own loop sees them; rows of all lengths. */
TEST(all_states_of_a_stack)
{
    static const int lengths[ROWS] = { 4, 0, 2 };
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_cell *cell = stack(ps);
    double x[T * ROWS * I], got[STATES][T * ROWS * H], step[STATES][T][ROWS * H];
    fill(x, T * ROWS * I);
    for (int ragged = 0; ragged < 2; ragged++) {
        ur_clear(g);
        ur_node in = ur_input(g, x, T, ROWS, I), s[STATES], r[STATES], all[STATES];
        ur_cell_zero_states(g, cell, ROWS, s);
        memcpy(r, s, sizeof s);
        ur_unroll_states(cell, in, ragged ? lengths : NULL, s, all);
        for (int t = 0; t < T; t++) {
            ur_cell_apply(cell, t, ur_index(in, 0, t), r);
            for (int k = 0; k < STATES; k++)
                REQUIRE(ur_read(r[k], step[k][t], ROWS * H));
        }
        for (int k = 0; k < STATES; k++) {
            REQUIRE(ur_read(all[k], got[k], T * ROWS * H));
            for (int i = 0; i < T * ROWS * H; i++) {
                const int b = i / H % ROWS, t = i / H / ROWS;
                const int last = !ragged || t < lengths[b] ? t : lengths[b] - 1;
                CHECK_NEAR(got[k][i], last < 0 ? 0 : step[k][last][b * H + i % H], 1e-14);
            }
        }
    }
    CHECK_STR(ur_error(g), NULL);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST_MAIN(T(gradients_reach_back_k2_steps), T(rows_begin_anew), T(all_states_of_a_stack))
