/* Accumulation in place: the gradient of what is read in parts is a sum of parts,
 *
 *     dx = sum_t pad(dx_t),      dE = sum_t scatter(dy_t, ids_t),
 *
 * each of which is added where it belongs in one destination, instead of being made full size.
 *
 * Here sums are told apart: small ones of plain terms are elementwise work, the others become
 * accumulations into one destination, products (kmerge.c) among them. */
#include "graph/plan/plan.h"

enum { SMALL = 8 };

uint32_t ur__absorb(ur__work *w, uint32_t id, uint32_t roles)
{
    const uint32_t *const in = ur__in(w, id), *const uses = w->uses, n = w->t->node[id].n_in;
    uint8_t *const role = w->role;
    uint32_t absorbed = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t u = in[i];
        if (!(roles >> role[u] & 1) || uses[u] != 1 || w->goal[u])
            continue;
        role[u] = R_ABSORBED;
        w->unit[u] = id;
        absorbed++;
    }
    return absorbed;
}

/* The roles that its terms have, a bit each. */
static uint32_t roles_of_terms(const ur__work *w, uint32_t id)
{
    const uint32_t *in = ur__in(w, id), *const end = in + w->t->node[id].n_in;
    uint32_t seen = 0;
    for (; in < end; in++)
        seen |= 1u << w->role[*in];
    return seen;
}

bool ur__pass_accumulate(ur__work *w)
{
    const uint32_t parts = ur__on(w->g, UR__BIT_accumulate) ? 1u << R_PAD | 1u << R_SCATTER : 0;
    for (uint32_t k = 0; k < w->n_sites; k++) {
        const uint32_t id = w->site[k];
        if (w->role[id] != R_SUM_MAP)
            continue;
        const uint32_t seen = roles_of_terms(w, id), products = ur__merge_products(w, id, seen);
        const uint32_t others = seen & parts ? ur__absorb(w, id, parts) : 0;
        w->p->merged[UR__BIT_accumulate] += others;
        if (products + others || w->t->node[id].n_in > SMALL)
            w->role[id] = R_ACCUMULATE;
    }
    return true;
}
