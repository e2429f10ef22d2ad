/* Recompute: a map of one operand that is needed about as long anyway, as tanh(c) of a long
 * short-term memory is, is computed again by those who need it: cheaper than to write it to memory
 * and read it. */
#include "graph/plan/fuse.h"

enum { SOON = 8 };                      /* levels for which the operand may be needed less long */

void ur__recompute(const ur__fusion *f)
{
    ur__work *const w = f->w;
    if (!ur__on(w->g, UR__BIT_recompute))
        return;
    const ur__node *const node = w->t->node;
    size_t n = 0;
    for (uint32_t k = 0; k < f->n_maps; k++) {
        const uint32_t id = f->map[k];
        const ur__node *x = &node[id];
        if (w->stored[id] != UR__STORED || x->n_in != 1 || w->role[id] != R_MAP)
            continue;
        const uint32_t u = ur__in(w, id)[0], kin = f->seen[u].kin;
        if (w->root[id] != id || w->t->origin[id].anchor || node[u].shape != x->shape ||
            node[u].type != x->type || f->seen[u].latest + SOON < f->seen[id].latest ||
            !kin || (kin != UR__LEAF_KIN && !w->stored[u]))
            continue;
        w->again[id] = 1;
        w->stored[id] = 0;
        n++;
    }
    w->p->merged[UR__BIT_recompute] += n;
}
