/* K-merge: the gradient of a weight is a sum of products over all its uses,
 *     dW = sum_t A_t^T B_t,
 * which is one contraction whose inner dimension runs over all t. The T partial products are never
 * made. The same for the adjoint of [h, x], the sum over the gates of dz_gate W_gate^T; for sums
 * that are recorded as such (addends.c), and those of rows, which become products (rowsum.c). */
#include "graph/plan/plan.h"

/* The product that term u is under another shape; UINT32_MAX if it is none. */
static uint32_t reshaped_product(const ur__work *w, uint32_t u)
{
    if (w->role[u] != R_ALIAS)
        return UINT32_MAX;
    while (w->role[u] == R_ALIAS && w->uses[u] == 1 && !w->goal[u])
        u = ur__in(w, u)[0];
    return w->role[u] == R_CONTRACTION && w->uses[u] == 1 && !w->goal[u] &&
           ur__plain_product(w, u) ? u : UINT32_MAX;
}

/* Terms that are products under another shape are the products themselves, if all products of the
 * sum have one shape then. */
static void look_through(ur__work *w, uint32_t id)
{
    const ur__node *x = &w->t->node[id];
    uint32_t *in = w->g->expanded.operand + x->in, shape = UINT32_MAX;
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = reshaped_product(w, in[i]);
        if (u != UINT32_MAX && shape != UINT32_MAX && w->t->node[u].shape != shape)
            return;
        if (u != UINT32_MAX)
            shape = w->t->node[u].shape;
    }
    for (uint32_t i = 0; shape != UINT32_MAX && i < x->n_in; i++) {
        uint32_t u = reshaped_product(w, in[i]);
        if (u == UINT32_MAX)
            continue;
        for (uint32_t v = in[i]; v != u; v = ur__in(w, v)[0])
            w->role[v] = R_DEAD;
        in[i] = u;
    }
}

uint32_t ur__merge_products(ur__work *w, uint32_t id, uint32_t seen)
{
    if (!ur__on(w->g, UR__BIT_kmerge))
        return 0;
    if (!(seen >> R_CONTRACTION & 1)) {
        if (!(seen >> R_ALIAS & 1))
            return 0;
        look_through(w, id);
    }
    const uint32_t n = ur__absorb(w, id, 1u << R_CONTRACTION);
    w->p->merged[UR__BIT_kmerge] += n;
    return n;
}
