/* The gradient check of a cell, unrolled: graph/check.h of the function
 *
 *     (x [T,B,I], s_0 .. s_n)  ->  y_1 .. y_T, s'_0 .. s'_n
 *
 * so that every output is looked at, at every step, and every state behind the last step (the c of
 * an lstm, which no output shows). The parameters are those that the cell's step uses. */
#include <string.h>
#include "layers/internal.h"

typedef struct unrolled {
    const ur_cell *cell;
    int T;
} unrolled;

static void steps(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const unrolled *u = ctx;
    const ur_cell *cell = u->cell;
    ur_node *s = out + u->T;            /* the states are the last outputs */
    for (int k = 0; k < cell->n_states; k++)
        s[k] = in[1 + k];
    for (int t = 0; t < u->T; t++) {
        ur_scope_begin(g, cell->name, t);
        out[t] = cell->step(cell, ur_index(in[0], 0, t), s);
        ur_scope_end(g);
    }
}
