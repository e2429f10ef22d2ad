/* K-merge: the gradient of a weight is a sum of products over all its uses,
 *     dW = sum_t A_t^T B_t,
 * which is one contraction whose inner dimension runs over all t. The T partial products are never
 * made. The same for the adjoint of [h, x], the sum over the gates of dz_gate W_gate^T.
 *
 * Here sums are told apart: small ones of plain terms are elementwise work, the others become
 * accumulations into one destination, whose terms (products, padded slices, scattered rows) are
 * added where they belong instead of being made full size. */
#include "graph/plan/plan.h"

enum { SMALL = 8 };

/* What a sum can compute by itself, given that nobody else wants it. */
static bool mergeable(const ur__work *w, uint32_t u)
{
    if (w->uses[u] != 1 || w->goal[u])
        return false;
    switch (w->role[u]) {
    case R_CONTRACTION: return ur__on(w->g, UR__BIT_kmerge);
    case R_PAD:
    case R_SCATTER: return ur__on(w->g, UR__BIT_accumulate);
    default: return false;
    }
}

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
        if (w->role[in[i]] == R_CONTRACTION ||
            (u != UINT32_MAX && shape != UINT32_MAX && w->t->node[u].shape != shape))
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

bool ur__pass_kmerge(ur__work *w)
{
    for (uint32_t id = 0; id < w->n; id++) {
        if (w->role[id] != R_SUM_MAP)
            continue;
        const ur__node *x = &w->t->node[id];
        const uint32_t *in = ur__in(w, id);
        uint32_t merged = 0;
        if (ur__on(w->g, UR__BIT_kmerge))
            look_through(w, id);
        for (uint32_t i = 0; i < x->n_in; i++)
            merged += mergeable(w, in[i]);
        if (!merged && x->n_in <= SMALL)
            continue;
        w->role[id] = R_ACCUMULATE;
        for (uint32_t i = 0; i < x->n_in; i++) {
            if (!mergeable(w, in[i]))
                continue;
            int bit = w->role[in[i]] == R_CONTRACTION ? UR__BIT_kmerge : UR__BIT_accumulate;
            w->role[in[i]] = R_ABSORBED;
            w->unit[in[i]] = id;
            w->p->merged[bit]++;
            w->p->saved[bit] += (double)ur__shape_at(w, in[i])->count *
                                (double)ur__type_size(x->type);
        }
    }
    return true;
}
