/* Initial states that are learnt: a row for each state of a cell, the same for all rows of a batch.
 *
 *     s_k = r_k, repeated B times
 *
 * M. L. Forcada and R. C. Carrasco, "Learning the initial state of a second-order recurrent neural
 * network during regular-language inference", Neural Computation 7 (1995).
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

ur_initial ur_initial_with(ur_params *ps, const char *name, const ur_cell *cell, ur_init start)
{
    if (!ur_cell_usable(cell))
        return (ur_initial){ NULL, 0 };
    ur_node *row = ur_params_alloc(ps, sizeof *row * (size_t)(cell->n_states + 1));
    for (int k = 0; row && k < cell->n_states; k++)
        row[k] = ur_param(ps, ur_namef(ps, "%s.state%d", name, k), start, cell->sizes[k]);
    return (ur_initial){ row, row ? cell->n_states : 0 };
}

ur_initial ur_initial_new(ur_params *ps, const char *name, const ur_cell *cell)
{
    return ur_initial_with(ps, name, cell, ur_constant(0));
}

bool ur_initial_states_at(ur_at at, ur_graph *g, ur_initial initial, int B, ur_node s[])
{
    bool ok = initial.row ? g && !ur_error(g)
                          : ur_fail(g, at, "initial_states", "the states could not be made");
    for (int k = 0; k < initial.n; k++)
        s[k] = (ur_node){ g, 0, 0 };
    for (int k = 0; ok && k < initial.n; k++) {
        s[k] = ur_broadcast_to_at(at, ur_use_at(at, g, initial.row[k]), 2,
                                  (int[]){ B, ur_dim(initial.row[k], 0) });
        ok = !ur_is_nil(s[k]);
    }
    return ok;
}

bool (ur_initial_states)(ur_graph *g, ur_initial initial, int B, ur_node s[])
{
    return ur_initial_states_at(NULL, g, initial, B, s);
}
