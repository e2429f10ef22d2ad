/* Cells over sequences: rows of different lengths, carried states, memory, the texts of errors. */
#include "tests/cells.h"
#include "tests/counting.h"

/* -------------------------------------------------------------------------------------- lengths */

enum { ROWS = 6, STEPS = 5 };
static const int lengths[ROWS] = { 3, 0, 5, 2, 5, 1 };

/* A batch and what was read of its run: outputs, last states, all states, gradients with respect
 * to inputs and initial states. A row alone has the numbers of its row in the batch. */
typedef struct batch {
    double x[STEPS][ROWS][I], h[2][ROWS][H], weight[STEPS][ROWS][H];
    double y[STEPS][ROWS][H], last[2][ROWS][H], all[2][STEPS][ROWS][H];
    double d_x[STEPS][ROWS][I], d_h[2][ROWS][H], loss;
} batch;

/* Runs `rows` rows of `steps` steps, whose numbers lie at the beginning of the arrays of b:
 *     loss = <weight, y> + the squares of the last states */
static bool run_batch(ur_graph *g, const ur_cell *cell, batch *b, int steps, int rows,
                      const int *length)
{
    ur_clear(g);
    ur_node leaf[3] = { ur_input(g, b->x, steps, rows, I) }, s[2], all[2], d[3];
    for (int k = 0; k < 2; k++)
        s[k] = leaf[1 + k] = ur_input(g, b->h[k], rows, H);
    ur_node y = ur_unroll_states(cell, leaf[0], length, s, all);
    ur_node loss = ur_sum(ur_mul(y, ur_input(g, b->weight, steps, rows, H)));
    for (int k = 0; k < cell->n_states; k++)
        loss = ur_add(loss, ur_sum(ur_square(s[k])));
    if (steps)
        ur_backward(loss);
    ur_grad(&loss, NULL, 1, leaf, 1 + cell->n_states, d);
    const size_t n = (size_t)(steps * rows * H), m = (size_t)(rows * H);
    bool ok = ran(g) && ur_read(y, b->y, n) && ur_read(d[0], b->d_x, (size_t)(steps * rows * I));
    for (int k = 0; ok && k < cell->n_states; k++)
        ok = ur_read(s[k], b->last[k], m) && ur_read(all[k], b->all[k], n) &&
             ur_read(d[1 + k], b->d_h[k], m);
    b->loss = ur_value(loss);
    return CHECK(ok);
}

/* Row r of `many` in its own length, as a batch of one. */
static void take_row(const batch *many, int r, batch *one)
{
    double *x = one->x[0][0], *weight = one->weight[0][0];
    for (int t = 0; t < lengths[r]; t++) {
        memcpy(x + t * I, many->x[t][r], sizeof many->x[t][r]);
        memcpy(weight + t * H, many->weight[t][r], sizeof many->weight[t][r]);
    }
    for (int k = 0; k < 2; k++)
        memcpy(one->h[k][0], many->h[k][r], sizeof many->h[k][r]);
}

static void compare_row(const batch *many, int r, const batch *one, int n_states)
{
    const int n = lengths[r];
    const double *y = one->y[0][0], *d_x = one->d_x[0][0];
    for (int t = 0; t < STEPS; t++)
        for (int i = 0; i < I; i++) {
            CHECK_NEAR(many->d_x[t][r][i], t < n ? d_x[t * I + i] : 0, t < n ? 1e-13 : 0);
            if (i < H)
                CHECK_NEAR(many->y[t][r][i], t < n ? y[t * H + i] : 0, t < n ? 1e-14 : 0);
        }
    for (int k = 0; k < n_states; k++)
        for (int u = 0; u < H; u++) {
            const double *all = one->all[k][0][0], last = one->last[k][0][u];
            CHECK_NEAR(many->last[k][r][u], last, 1e-14);
            CHECK_NEAR(many->d_h[k][r][u], one->d_h[k][0][u], 1e-13);
            for (int t = 0; t < STEPS; t++)
                CHECK_NEAR(many->all[k][t][r][u], t < n ? all[t * H + u] : last, 1e-14);
        }
}

/* A ragged batch whose padding is NaN, against its rows alone: all values and all gradients. */
TEST(rows_of_different_lengths_are_rows_alone)
{
    for (int k = 0; k < CELLS; k++) {
        ur_params *ps = ur_params_new(UR_F64, 7), *other = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN), *alone = ur_graph_new(UR_F64, UR_TRAIN);
        ur_cell *cell = cells[k].make(ps, cells[k].name, I, H);
        ur_cell *same = cells[k].make(other, cells[k].name, I, H);
        static batch many, one;
        double sum = 0;
        fill(many.x[0][0], STEPS * ROWS * I);
        fill(many.h[0][0], 2 * ROWS * H);
        fill(many.weight[0][0], STEPS * ROWS * H);
        for (int r = 0; r < ROWS; r++)
            for (int t = lengths[r]; t < STEPS; t++)
                many.x[t][r][0] = many.x[t][r][1] = many.x[t][r][2] = NAN;
        REQUIRE(run_batch(g, cell, &many, STEPS, ROWS, lengths));
        for (int r = 0; r < ROWS; r++) {
            take_row(&many, r, &one);
            REQUIRE(run_batch(alone, same, &one, lengths[r], 1, NULL));
            compare_row(&many, r, &one, cell->n_states);
            sum += one.loss;
        }
        CHECK_NEAR(many.loss, sum, 1e-12);
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
}

/* Padding of NaN and padding of numbers: the same bits of all that is read, gradients too. */
TEST(padding_never_matters)
{
    for (int k = 0; k < CELLS; k++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        ur_cell *cell = cells[k].make(ps, cells[k].name, I, H);
        const size_t n = ur_params_elements(ps);
        static batch a, b;
        double d[100];
        REQUIRE(n <= 100);
        fill(a.x[0][0], STEPS * ROWS * I);
        fill(a.h[0][0], 2 * ROWS * H);
        fill(a.weight[0][0], STEPS * ROWS * H);
        b = a;
        for (int r = 0; r < ROWS; r++)
            for (int t = lengths[r]; t < STEPS; t++)
                b.x[t][r][0] = b.x[t][r][1] = b.x[t][r][2] = NAN;
        REQUIRE(run_batch(g, cell, &a, STEPS, ROWS, lengths));
        memcpy(d, ur_gradients(ps), n * sizeof *d);
        ur_gradient_used(ps);
        REQUIRE(run_batch(g, cell, &b, STEPS, ROWS, lengths));
        CHECK_MEM(d, ur_gradients(ps), n * sizeof *d);
        CHECK_MEM(a.y, b.y, sizeof a.y);
        CHECK_MEM(a.last, b.last, sizeof a.last);
        CHECK_MEM(a.all, b.all, sizeof a.all);
        CHECK_MEM(a.d_x, b.d_x, sizeof a.d_x);
        CHECK_MEM(a.d_h, b.d_h, sizeof a.d_h);
        CHECK_MEM(&a.loss, &b.loss, sizeof a.loss);
        ur_graph_free(g);
        ur_params_free(ps);
    }
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
    ur_node y = ur_unroll(cell, in, NULL);
    ur_node full = ur_unroll_lengths(cell, in, ((int[]){ T, T }), NULL);
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

/* --------------------------------------------------------------------------------------- states */

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

/* --------------------------------------------------------------------------------------- errors */

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
        CHECK_HAS(ur_error(g), "unroll.c:");                                                       \
        ur_error_reset(g);                                                                         \
        ur_clear(g);                                                                               \
    } while (0)
    ur_node x = ur_zeros(g, T, B, I + 1);
    FAILS(ur_unroll(cell, x, NULL), "unroll: x is [4,2,4], but cell lstm takes 3 features, not 4");
    x = ur_zeros(g, B, I);
    FAILS(ur_unroll(cell, x, NULL), "unroll: x is [2,3], but a sequence is [T,B,features]");
    x = ur_ints(g, NULL, T, B, I);
    FAILS(ur_unroll(cell, x, NULL),
          "unroll: x is int32 [4,2,3], but cell lstm takes numbers: embed ids");
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

/* --------------------------------------------------------------------------------------- memory */

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

TEST_MAIN(T(rows_of_different_lengths_are_rows_alone), T(padding_never_matters),
          T(lengths_at_the_edges), T(carried_states), T(errors_of_unroll),
          T(errors_inside_a_cell), T(without_memory), T(steady_state_takes_no_memory))
