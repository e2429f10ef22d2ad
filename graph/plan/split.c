/* Split concat: a product with operands side by side is a sum of products,
 *
 *     [h, x] W = h W_h + x W_x,
 *
 * W_h and W_x being rows of W. The sum is one contraction over both terms (kmerge.c), so nothing
 * is copied side by side, and each term is free to be rewritten (swap.c). */
#include "graph/plan/rewrite.h"

static bool splits(ur_graph *g, const ur__product *p)
{
    const ur__node *a = ur__at(g, p->a.id);
    int rank = ur__shape_of(p->a)->s.rank;
    if (!ur__on(g, UR__BIT_split) || a->op->kind != UR_CONCAT || p->transposed[0] ||
        !ur__bypassable(g, p->a) || a->n_in < 2 || a->n_in > UR__PARTS ||
        ur__shape_of(p->b)->s.rank != 2)
        return false;
    const int64_t *attr = g->into->attr + a->attr;
    if (attr[0] != rank - 1 || attr[1])
        return false;
    for (uint32_t i = 0; i < a->n_in; i++)
        if (ur__width(ur__operand_of(g, p->a, i)) < ur__limit.thin)
            return false;
    return true;
}

/* The rows of p->b that meet the parts of p->a: cut once, though every step asks for them. */
static const ur__cut *cut(ur__expansion *e, const ur__product *p)
{
    ur_graph *g = e->g;
    const uint32_t n = ur__at(g, p->a.id)->n_in;
    if (!e->cuts && !(e->cuts = ur__bump_alloc(&g->scratch, UR__WEIGHTS * sizeof *e->cuts))) {
        ur__out_of_memory(&g->owner);
        return NULL;
    }
    ur__cut *c = &e->cuts[p->b.id % UR__WEIGHTS];
    const int64_t axis = p->transposed[1] ? 1 : 0;
    bool same = c->weight == p->b.id + 1 && c->n == n && c->axis == axis;
    for (uint32_t i = 0; i < n && same; i++)
        same = c->length[i] == (uint32_t)ur__width(ur__operand_of(g, p->a, i));
    if (same)
        return c;
    ur__cut want = { .weight = p->b.id + 1, .n = n, .axis = axis };
    int64_t begin = 0;
    for (uint32_t i = 0; i < n; begin += want.length[i++]) {
        want.length[i] = (uint32_t)ur__width(ur__operand_of(g, p->a, i));
        const int64_t place[] = { axis, begin, want.length[i] };
        ur_node piece = ur__once(e, &ur__op_slice, (const ur_node[]){ p->b }, 1, place, 3);
        if (!ur__live(piece))
            return NULL;
        want.piece[i] = piece.id;
    }
    *c = want;
    return c;
}

ur_node ur__split_concat(ur__expansion *e, const ur__product *p)
{
    ur_graph *g = e->g;
    if (!splits(g, p))
        return UR_NIL;
    const uint32_t n = ur__at(g, p->a.id)->n_in;
    const ur__cut *c = cut(e, p);
    uint32_t term[UR__PARTS];
    int flags = 0;
    for (uint32_t i = 0; c && i < n; i++) {
        ur__product q = { ur__operand_of(g, p->a, i), ur__node_of(g, c->piece[i]),
                          { 0, p->transposed[1] }, p->shape };
        ur_node y = ur__swap_gather(e, &q);
        if (!ur__live(y))
            y = ur__merge_rows(e, &q);
        if (!ur__live(y))
            y = ur__record_shaped(g, &ur__op_matmul, (ur_node[]){ q.a, q.b }, 2, q.transposed, 2,
                                  q.shape);
        if (!ur__live(y))
            return UR_NIL;
        term[i] = y.id;
        flags |= ur__at(g, y.id)->flags & UR__GROWS;
    }
    if (!c)
        return UR_NIL;
    const ur__node *y = ur__at(g, term[0]);
    e->p->merged[UR__BIT_split]++;
    return ur__append_shaped(g, NULL, &ur__op_sum, term, n, NULL, 0, y->shape, y->type, flags);
}
