/* Variants of cells and wrapped cells against differences of their values, as check_cells.c has it
 * for the first ones; and all of them on rows of different lengths, some of them 0. */
#include "tests/test.h"
#include "unroll/unroll.h"

enum { I = 3, H = 4 };

static ur_cell *new_elman(ur_params *ps) { return ur_elman(ps, "elman", I, H); }
static ur_cell *new_relu(ur_params *ps) { return ur_elman_relu(ps, "relu", I, H); }
static ur_cell *new_irnn(ur_params *ps) { return ur_irnn(ps, "irnn", I, H); }
static ur_cell *new_lstm(ur_params *ps) { return ur_lstm(ps, "lstm", I, H); }
static ur_cell *new_peephole(ur_params *ps) { return ur_lstm_peephole(ps, "peephole", I, H); }
static ur_cell *new_coupled(ur_params *ps) { return ur_lstm_coupled(ps, "coupled", I, H); }
static ur_cell *new_norm(ur_params *ps) { return ur_lstm_norm(ps, "norm", I, H); }
static ur_cell *new_gru(ur_params *ps) { return ur_gru(ps, "gru", I, H); }
static ur_cell *new_gru2(ur_params *ps) { return ur_gru_reset_after(ps, "gru2", I, H); }
static ur_cell *new_simple(ur_params *ps) { return ur_gru_simple(ps, "simple", I, H); }
static ur_cell *new_mgu(ur_params *ps) { return ur_mgu(ps, "mgu", I, H); }

static ur_cell *new_drop(ur_params *ps) { return ur_dropout_cell(new_lstm(ps), 0.3); }
static ur_cell *new_mask(ur_params *ps) { return ur_dropout_cell_sequence(new_lstm(ps), 0.3); }

static ur_cell *new_stack(ur_params *ps)
{
    return ur_stacked("stack", (ur_cell *[]){ new_lstm(ps), ur_gru(ps, "top", H, 2) }, 2, 0.2);
}

static ur_cell *new_zone(ur_params *ps)
{
    return ur_zoneout(ur_lstm(ps, "zone", I, H), (double[]){ 0.3, 0.6 });
}

static ur_cell *new_residual(ur_params *ps)
{
    return ur_residual(ur_gru(ps, "residual", I, I));
}

static ur_cell *new_projected(ur_params *ps)
{
    return ur_projected(ur_lstm(ps, "projected", I, H), 2);
}

/* A stack of wrapped cells, everything at once. */
static ur_cell *new_wrapped(ur_params *ps)
{
    ur_cell *low = ur_zoneout(ur_lstm_norm(ps, "low", I, H), (double[]){ 0.2, 0.5 });
    ur_cell *high = ur_residual(ur_dropout_cell(ur_mgu(ps, "high", I, I), 0.3));
    return ur_stacked("wrapped", (ur_cell *[]){ ur_projected(low, I), high }, 2, 0.2);
}

/* `seen`: check_cells.c has it without lengths. */
static const struct {
    ur_cell *(*make)(ur_params *ps);
    bool seen;
} cells[] = {
    { new_elman, true }, { new_relu, true }, { new_lstm, true }, { new_gru, true },
    { new_gru2, true }, { new_drop, true }, { new_mask, true }, { new_stack, true },
    { new_irnn, false }, { new_peephole, false }, { new_coupled, false }, { new_norm, false },
    { new_simple, false }, { new_mgu, false }, { new_zone, false }, { new_residual, false },
    { new_projected, false }, { new_wrapped, false },
};
enum { CELLS = sizeof cells / sizeof *cells };

static void passes(const char *name, int T, ur_report r)
{
    if (!CHECK_INT(r.status, UR_CHECK_PASSED)) {
        printf("  %s, T %d:\n", name, T);
        ur_report_print(&r, stdout);
    }
    CHECK_INT(r.kinks, 0);
    ur_report_free(&r);
}

TEST(rows_of_equal_lengths)
{
    for (int k = 0; k < CELLS; k++) {
        ur_params *ps = ur_params_new(UR_F32, 3);
        const ur_cell *cell = cells[k].seen ? NULL : cells[k].make(ps);
        if (cell && !CHECK(ur_cell_usable(cell)))
            printf("  %s\n", ur_error(ps));
        if (cell) {
            passes(cell->name, 1, ur_check_cell(cell, .T = 1, .B = 2, .order = 2));
            passes(cell->name, 2, ur_check_cell(cell, .T = 2, .B = 3, .order = 2));
            passes(cell->name, 5, ur_check_cell(cell, .T = 5, .B = 2, .order = 2));
        }
        ur_params_free(ps);
    }
}

TEST(rows_of_different_lengths)
{
    for (int k = 0; k < CELLS; k++) {
        ur_params *ps = ur_params_new(UR_F32, 3);
        const ur_cell *cell = cells[k].make(ps);
        passes(cell->name, 1, ur_check_cell(cell, .T = 1, .B = 2, .order = 2,
                                            .lengths = (int[]){ 0, 1 }));
        passes(cell->name, 2, ur_check_cell(cell, .T = 2, .B = 3, .order = 2,
                                            .lengths = (int[]){ 1, 0, 2 }));
        passes(cell->name, 5, ur_check_cell(cell, .T = 5, .B = 4, .order = 2,
                                            .lengths = (int[]){ 3, 0, 5, 1 }));
        ur_params_free(ps);
    }
}

/* ------------------------------------------------------------------------- states on either way */

enum { STATES = 4 };
static const int steps[] = { 1, 2, 5 };
static const int ragged[][4] = { { 0, 1, 1, 0 }, { 1, 0, 2, 2 }, { 3, 0, 5, 1 } };

typedef struct way {
    const ur_cell *cell;
    const int *lengths;
    bool backward;
} way;

/* Outputs and every state behind every step. */
static void all_states(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const way *p = ctx;
    ur_node s[STATES];
    (void)g;
    memcpy(s, in + 1, sizeof *s * (size_t)p->cell->n_states);
    out[0] = p->backward ? ur_unroll_backward_states(p->cell, in[0], p->lengths, s, out + 1)
                         : ur_unroll_states(p->cell, in[0], p->lengths, s, out + 1);
}

TEST(all_states_either_way)
{
    static const char *const names[STATES] = { "s0", "s1", "s2", "s3" };
    for (int k = 0; k < CELLS * 3 * 2; k++) {
        const int which = k / CELLS % 3;
        ur_params *ps = ur_params_new(UR_F32, 3);
        way p = { cells[k % CELLS].make(ps), ragged[which], k / CELLS / 3 };
        REQUIRE(ur_cell_usable(p.cell) && p.cell->n_states <= STATES);
        ur_check_options o = { .in = { ur_in("x", steps[which], 4, I) }, .ctx = &p,
                               .outputs = 1 + p.cell->n_states, .elements = 24 };
        for (int i = 0; i < p.cell->n_states; i++) {
            o.in[1 + i].name = names[i];
            o.in[1 + i].shape = (ur_shape){ 2, { 4, p.cell->sizes[i] } };
        }
        passes(p.cell->name, steps[which], ur_check_with(all_states, &o));
        ur_params_free(ps);
    }
}

typedef struct started {
    ur_cell *cell;
    ur_initial start;
    const int *lengths;
} started;

/* The rows of the states are parameters, used here as the first states of B = 4 rows. */
static void from_the_start(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const started *p = ctx;
    ur_initial_states(g, p->start, 4, out + 1);
    out[0] = ur_unroll_lengths(p->cell, in[0], p->lengths, out + 1);
}

TEST(initial_states)
{
    ur_params *ps = ur_params_new(UR_F32, 3);
    started p = { .cell = new_zone(ps) };
    p.start = ur_initial_with(ps, "start", p.cell, ur_uniform_between(-1, 1));
    for (int k = 0; k < 6; k++) {
        p.lengths = k < 3 ? NULL : ragged[k % 3];
        ur_report r = ur_check(from_the_start, .in = { ur_in("x", steps[k % 3], 4, I) },
                               .outputs = 3, .ctx = &p, .order = 2);
        int rows = 0;
        for (int i = 0; i < r.n_rows; i++)
            rows += strncmp(r.row[i].tensor, "start.state", 11) == 0 && r.row[i].order == 1;
        CHECK_INT(rows, 2);
        passes("initial states", steps[k % 3], r);
    }
    ur_params_free(ps);
}

TEST_MAIN(T(rows_of_equal_lengths), T(rows_of_different_lengths), T(all_states_either_way),
          T(initial_states))
