/* The gradient check of a cell: that of the function which unrolls it,
 *
 *     x [T,B,I], s_0 .. s_n  ->  y_1 .. y_T, s'_0 .. s'_n
 *
 * so that every output counts, at every step, and every state behind the last step: the c of an
 * lstm too, which no output shows. The parameters are those that the steps use. With lengths the
 * outputs are one, [T,B,O], as ur_unroll_lengths puts it together. */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct unrolled {
    const ur_cell *cell;
    int T;
    const int *lengths;
} unrolled;

/* Outputs in front of the states. */
static int outputs(const unrolled *u)
{
    return u->lengths ? 1 : u->T;
}

static void steps(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const unrolled *u = ctx;
    ur_node *s = out + outputs(u);              /* the states are the last outputs */
    (void)g;
    for (int k = 0; k < u->cell->n_states; k++)
        s[k] = in[1 + k];
    if (u->lengths)
        out[0] = ur_unroll_lengths(u->cell, in[0], u->lengths, s);
    for (int t = 0; !u->lengths && t < u->T; t++)
        out[t] = ur_cell_apply(u->cell, t, ur_index(in[0], 0, t), s);
}

static ur_report refused(const char *format, const char *name, int number)
{
    ur_report r = { .status = UR_CHECK_ERROR, .worst = -1 };
    snprintf(r.why, sizeof r.why, format, name, number);
    return r;
}

ur_report ur_check_cell_with(const ur_cell *cell, const ur_check_cell_options *options)
{
    static const char *const names[] = { "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7" };
    enum { NAMED = sizeof names / sizeof *names };
    if (!ur_cell_usable(cell)) {
        const char *why = cell && cell->params ? ur_error(cell->params) : NULL;
        return refused("the cell could not be made: %s", why ? why : "it is nil", 0);
    }
    const int T = options->T > 0 ? options->T : 3, B = options->B > 0 ? options->B : 2;
    if (cell->n_states > UR_CHECK_INPUTS - 1)
        return refused("%s has more states than the %d that can be checked", cell->name,
                       UR_CHECK_INPUTS - 1);
    unrolled u = { cell, T, options->lengths };
    ur_check_options o = {
        .in = { { .name = "x", .shape = { 3, { T, B, cell->inputs } } } },
        .outputs = outputs(&u) + cell->n_states, .ctx = &u, .order = options->order,
        .bound = options->bound, .elements = options->elements, .seed = options->seed,
    };
    for (int k = 0; k < cell->n_states; k++)
        o.in[1 + k] = (ur_check_input){ .name = k < NAMED ? names[k] : "s",
                                        .shape = { 2, { B, cell->sizes[k] } } };
    return ur_check_with(steps, &o);
}
