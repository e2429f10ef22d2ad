/* A cell around which its input goes straight on to what it gives.
 *
 *     y = x + step(x, s)
 *
 * K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition", CVPR 2016;
 * between recurrent layers: Y. Wu et al., arXiv 1609.08144 (2016).
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct residual {
    ur_cell cell;
    const ur_cell *inner;
} residual;

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const residual *p = (const residual *)cell;
    return ur_add(x, p->inner->step(p->inner, x, s));
}

ur_cell *ur_residual(ur_cell *inner)
{
    if (!ur_cell_usable(inner))
        return inner;
    if (inner->inputs != inner->outputs)
        ur_fail(inner->params, NULL, NULL, "residual of %s: it has %d inputs and %d outputs, which "
                "cannot be added: ur_projected makes them equal", inner->name, inner->inputs,
                inner->outputs);
    residual *p = ur_cell_new(inner->params, inner->name, sizeof *p, step, inner->inputs,
                              inner->outputs, inner->n_states, inner->sizes);
    p->inner = inner;
    p->cell.top = inner->top;
    p->cell.keeps_rows = inner->keeps_rows;
    return &p->cell;
}
