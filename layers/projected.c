/* A cell with a linear map behind it; what it carries from step to step stays as it is.
 *
 *     y = step(x, s) P
 *
 * H. Sak, A. Senior and F. Beaufays, "Long short-term memory recurrent neural network architectures
 * for large scale acoustic modeling", Interspeech 2014: their non-recurrent projection.
 */
#include <math.h>
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct projected {
    ur_cell cell;
    const ur_cell *inner;
    ur_node P;
} projected;

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const projected *p = (const projected *)cell;
    return ur_matmul(p->inner->step(p->inner, x, s), p->P);
}

ur_cell *ur_projected_with(ur_cell *inner, int O, ur_init P)
{
    if (!ur_cell_usable(inner))
        return inner;
    ur_params *ps = inner->params;
    projected *p = ur_cell_new(ps, inner->name, sizeof *p, step, inner->inputs, O,
                               inner->n_states, inner->sizes);
    p->inner = inner;
    p->cell.top = inner->top;
    p->cell.keeps_rows = inner->keeps_rows;
    p->P = ur_param(ps, ur_namef(ps, "%s.P", inner->name), P, inner->outputs, O);
    return &p->cell;
}

ur_cell *ur_projected(ur_cell *inner, int O)
{
    const double k = ur_cell_usable(inner) ? 1 / sqrt(inner->outputs) : 0;
    return ur_projected_with(inner, O, ur_uniform_between(-k, k));
}
