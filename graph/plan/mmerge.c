/* M-merge: products of the parts of one sequence with one weight are parts of one product,
 *
 *     x_t W = (X W)_t,
 *
 * which reads the weight once instead of T times, and so do its adjoints: dW = X^T dP is one
 * product, dX = dP W^T another. Worth it while a step has too few rows to keep the machine busy
 * with each number of W that it loads. What is added to x_t W is added where it lies (views.c). */
#include "graph/plan/rewrite.h"

/* The product of a whole sequence with a weight, which every step of it asks for. */
static ur_node whole(ur__expansion *e, ur_node all, const ur__product *p)
{
    ur_graph *g = e->g;
    const size_t bytes = UR__SEQUENCES * sizeof *e->merged;
    if (!e->merged && !(e->merged = ur__bump_alloc(&g->scratch, bytes))) {
        ur__out_of_memory(&g->owner);
        return UR_NIL;
    }
    ur__merged *m = &e->merged[p->b.id % UR__SEQUENCES];
    if (m->weight == p->b.id + 1 && m->all == all.id && m->transposed == p->transposed[1])
        return ur__node_of(g, m->product);
    ur_node y = ur__once(e, &ur__op_matmul, (ur_node[]){ all, p->b }, 2, p->transposed, 2);
    if (ur__live(y))
        *m = (ur__merged){ p->b.id + 1, all.id, y.id, p->transposed[1] };
    return y;
}

ur_node ur__merge_rows(ur__expansion *e, const ur__product *p)
{
    ur_graph *g = e->g;
    const ur__node *x = ur__at(g, p->a.id);
    if (!ur__on(g, UR__BIT_mmerge) || x->op->kind != UR_SLICE || p->transposed[0] ||
        !ur__bypassable(g, p->a) || ur__shape_of(p->b)->s.rank != 2 ||
        ur__shape_of(p->a)->count > (size_t)ur__limit.step_rows * (size_t)ur__width(p->a))
        return UR_NIL;
    const ur_op *slice = x->op;
    int64_t attr[3];
    memcpy(attr, g->into->attr + x->attr, sizeof attr);
    ur_node all = ur__operand_of(g, p->a, 0);
    if (attr[0] != 0 || ur__shape_of(all)->s.rank < 2 || ur__shape_of(p->a)->s.rank < 2 ||
        !(ur__at(g, all.id)->flags & UR__SLICED))
        return UR_NIL;
    ur_node product = whole(e, all, p);
    if (!ur__live(product))
        return UR_NIL;
    e->p->merged[UR__BIT_mmerge]++;
    return ur__record_shaped(g, slice, &product, 1, attr, 3, p->shape);
}
