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

/* The terms that sum id computes by itself, since nobody else wants them and their roles are among
 * those given; returns how many, and in *seen the roles that its terms had. */
static uint32_t absorb(ur__work *w, uint32_t id, uint32_t roles, uint32_t *seen)
{
    const ur__node *x = &w->t->node[id];
    const uint32_t *const in = ur__in(w, id), *const uses = w->uses, n = x->n_in;
    uint8_t *const role = w->role;
    uint32_t products = 0, others = 0, all = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t u = in[i], r = role[u];
        all |= 1u << r;
        if (!(roles >> r & 1) || uses[u] != 1 || w->goal[u])
            continue;
        role[u] = R_ABSORBED;
        w->unit[u] = id;
        products += r == R_CONTRACTION;
        others += r != R_CONTRACTION;
    }
    *seen = all;
    w->p->merged[UR__BIT_kmerge] += products;
    w->p->merged[UR__BIT_accumulate] += others;
    return products + others;
}

bool ur__pass_kmerge(ur__work *w)
{
    const bool products = ur__on(w->g, UR__BIT_kmerge);
    const uint32_t roles = (products ? 1u << R_CONTRACTION : 0) |
                           (ur__on(w->g, UR__BIT_accumulate) ? 1u << R_PAD | 1u << R_SCATTER : 0);
    for (uint32_t k = 0; k < w->n_sites; k++) {
        const uint32_t id = w->site[k];
        if (w->role[id] != R_SUM_MAP)
            continue;
        uint32_t seen, merged = absorb(w, id, roles, &seen);
        if (products && seen >> R_ALIAS & 1 && !(seen >> R_CONTRACTION & 1)) {
            look_through(w, id);
            merged += absorb(w, id, roles, &seen);
        }
        if (merged || w->t->node[id].n_in > SMALL)
            w->role[id] = R_ACCUMULATE;
    }
    return true;
}
