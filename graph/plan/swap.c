/* Gather swap: a product with gathered rows is gathered from the product with the table,
 *
 *     gather(E, ids) W = gather(E W, ids),
 *
 * which multiplies the table once instead of every token, and its adjoint sums what arrives at the
 * rows of E W before it is multiplied: dW = E^T dP, dE = dP W^T, dP = scatter_add(g, ids). Worth it
 * when the tokens are many more than the rows. A one-hot operand is gathered rows of the identity:
 *
 *     one_hot(ids) W = gather(W, ids).
 *
 * x_t, a slice of the gathered sequence, is gathered by a slice of the ids. */
#include "graph/plan/rewrite.h"

/* The gather (or one_hot) that x is rows of, and the ids of those rows; nil if there is none. */
static ur_node gathered(ur__expansion *e, ur_node x, ur_node *ids)
{
    ur_graph *g = e->g;
    const ur__node *n = ur__at(g, x.id);
    if (n->op == &ur__op_gather || n->op == &ur__op_one_hot) {
        *ids = ur__operand_of(g, x, n->op == &ur__op_gather);
        return ur__bypassable(g, x) ? x : UR_NIL;
    }
    if (n->op->kind != UR_SLICE || !ur__bypassable(g, x))
        return UR_NIL;
    const ur_op *slice = n->op;
    int64_t attr[3];
    memcpy(attr, g->into->attr + n->attr, sizeof attr);
    ur_node from = ur__operand_of(g, x, 0);
    const ur_op *op = ur__at(g, from.id)->op;
    if ((op != &ur__op_gather && op != &ur__op_one_hot) || !ur__bypassable(g, from))
        return UR_NIL;
    ur_node all = ur__operand_of(g, from, op == &ur__op_gather);
    if (attr[0] >= ur__shape_of(all)->s.rank)
        return UR_NIL;
    *ids = ur__once(e, slice, &all, 1, attr, 3);
    return !ur__live(*ids) ? UR_NIL : from;
}

ur_node ur__swap_gather(ur__expansion *e, const ur__product *p)
{
    ur_graph *g = e->g;
    ur_node ids;
    if (!ur__on(g, UR__BIT_swap) || p->transposed[0] || ur__shape_of(p->b)->s.rank != 2)
        return UR_NIL;
    ur_node from = gathered(e, p->a, &ids);
    if (!ur__live(from))
        return UR_NIL;
    ur_node table = p->b;
    if (ur__at(g, from.id)->op == &ur__op_one_hot) {
        if (p->transposed[1])
            return UR_NIL;
    } else {
        ur_node E = ur__operand_of(g, from, 0);
        const ur__shape *s = ur__shape_of(E), *all = ur__shape_of(ur__operand_of(g, from, 1));
        if (s->s.rank != 2 || (size_t)ur__limit.times * (size_t)s->s.dim[0] > all->count)
            return UR_NIL;
        table = ur__once(e, &ur__op_matmul, (ur_node[]){ E, p->b }, 2, p->transposed, 2);
    }
    if (!ur__live(table))
        return UR_NIL;
    e->p->merged[UR__BIT_swap]++;
    return ur_record(NULL, &ur__op_gather, (ur_node[]){ table, ids }, 2, NULL, 0);
}
