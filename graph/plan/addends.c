/* Addends: x U + h W, written as two products and an addition, is one sum of products, which
 * K-merge makes one contraction, as it does with [h, x] W. */
#include "graph/plan/rewrite.h"

enum { MOST = 8 };

/* Whether a planned node can be a term: what a product is, or is rewritten to. */
static bool is_term(ur_graph *g, ur_node x, bool *product)
{
    const ur__node *n = ur__at(g, x.id);
    *product |= n->op->kind == UR_CONTRACTION || n->op->kind == UR_SUM;
    if (!ur__bypassable(g, x) || n->flags & UR__KEEP)
        return false;
    if (n->op->kind == UR_SLICE)
        return ur__at(g, ur__operand_of(g, x, 0).id)->op->kind == UR_CONTRACTION;
    return n->op->kind == UR_CONTRACTION || n->op->kind == UR_SUM || n->op == &ur__op_gather;
}

ur_node ur__join_addends(ur__expansion *e, const ur_node in[2])
{
    ur_graph *g = e->g;
    uint32_t term[MOST], n = 0, shape = ur__at(g, in[0].id)->shape;
    bool product = false;
    int flags = 0;
    if (!ur__on(g, UR__BIT_kmerge) || in[0].id == in[1].id || ur__at(g, in[1].id)->shape != shape ||
        !is_term(g, in[0], &product) || !is_term(g, in[1], &product) || !product)
        return UR_NIL;
    for (int k = 0; k < 2; k++) {
        const ur__node *x = ur__at(g, in[k].id);
        uint32_t parts = x->op->kind == UR_SUM ? x->n_in : 1;
        for (uint32_t i = 0; i < parts; i++) {
            if (n == MOST)
                return UR_NIL;
            term[n++] = x->op->kind == UR_SUM ? g->into->operand[x->in + i] : in[k].id;
        }
        flags |= x->flags & UR__GROWS;
    }
    return ur__append_shaped(g, NULL, &ur__op_sum, term, n, NULL, 0, shape, (int)g->precision,
                             flags);
}
