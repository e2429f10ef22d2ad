/* What all cells share: making one, its default start, its states. */
#include <math.h>
#include "unroll/layers.h"

/* Stands in for a cell that could not be made, so that a constructor may fill it in unchecked. A
 * thread's inert cells share it: nobody uses what is written there. */
enum { INERT_BYTES = 4096 };
static _Thread_local union {
    ur_cell cell;
    max_align_t align;
    char bytes[INERT_BYTES];
} inert;

static ur_node inert_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    (void)cell, (void)x, (void)s;
    return (ur_node){ 0 };
}

static void *inert_cell(ur_params *ps, size_t bytes)
{
    inert.cell = (ur_cell){ .name = "inert", .params = ps, .step = inert_step };
    return bytes <= sizeof inert ? &inert : NULL;
}

bool ur_cell_usable(const ur_cell *cell)
{
    return cell && cell->step && cell->step != inert_step;
}

static bool sizes_make_sense(ur_params *ps, const char *name, int inputs, int outputs,
                             int n_states, const int sizes[])
{
    if (inputs < 1 || inputs > UR_MAX_SIZE || outputs < 1 || outputs > UR_MAX_SIZE || n_states < 0)
        return ur_fail(ps, NULL, NULL, "cell %s: %d inputs, %d outputs, %d states: sizes are from "
                       "1 to %d, states at least 0", name, inputs, outputs, n_states, UR_MAX_SIZE);
    for (int k = 0; k < n_states; k++)
        if (sizes[k] < 1 || sizes[k] > UR_MAX_SIZE)
            return ur_fail(ps, NULL, NULL, "cell %s: state %d has size %d, which must be from 1 to "
                           "%d", name, k, sizes[k], UR_MAX_SIZE);
    return true;
}

void *ur_cell_new(ur_params *ps, const char *name, size_t bytes, ur_cell_step *step, int inputs,
                  int outputs, int n_states, const int sizes[])
{
    if (!ps || ur_error(ps) || !sizes_make_sense(ps, name, inputs, outputs, n_states, sizes))
        return inert_cell(ps, bytes);
    ur_cell *cell = ur_params_alloc(ps, bytes);
    int *copy = ur_params_alloc(ps, sizeof *copy * (size_t)(n_states + 1));
    const char *own_name = ur_namef(ps, "%s", name);
    if (ur_error(ps))
        return inert_cell(ps, bytes);
    for (int k = 0; k < n_states; k++)
        copy[k] = sizes[k];
    *cell = (ur_cell){ .name = own_name, .inputs = inputs, .outputs = outputs,
                       .n_states = n_states, .sizes = copy, .params = ps, .step = step };
    return cell;
}

ur_cell_options ur_cell_defaults(int H)
{
    const double k = 1 / sqrt(H > 0 ? H : 1);
    const ur_init once = ur_uniform_between(-k, k), twice = ur_uniform_twice(k);
    return (ur_cell_options){ .W = once, .U = once, .b = twice, .forget = twice, .d = once,
                              .p = once, .gain = ur_constant(1) };
}

bool ur_cell_zero_states(ur_graph *g, const ur_cell *cell, int B, ur_node s[])
{
    bool ok = ur_cell_usable(cell);
    for (int k = 0; ok && k < cell->n_states; k++)
        s[k] = (ur_node){ g, 0, 0 };
    for (int k = 0; ok && k < cell->n_states; k++) {
        s[k] = ur_zeros(g, B, cell->sizes[k]);
        ok = !ur_is_nil(s[k]);
    }
    return ok;
}

ur_params *ur_cell_states(const ur_cell *cell, int B)
{
    if (!ur_cell_usable(cell))
        return NULL;
    ur_params *st = ur_params_new(ur_params_type(cell->params), 0);
    for (int k = 0; st && k < cell->n_states; k++)
        ur_param(st, ur_namef(st, "%s.state%d", cell->name, k), ur_constant(0), B, cell->sizes[k]);
    return st;
}
