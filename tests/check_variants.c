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

/* `seen`: check_cells.c has it without lengths. */
static const struct {
    ur_cell *(*make)(ur_params *ps);
    bool seen;
} cells[] = {
    { new_elman, true }, { new_relu, true }, { new_lstm, true }, { new_gru, true },
    { new_gru2, true }, { new_irnn, false }, { new_peephole, false }, { new_coupled, false },
    { new_norm, false }, { new_simple, false }, { new_mgu, false },
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

TEST_MAIN(T(rows_of_equal_lengths), T(rows_of_different_lengths))
