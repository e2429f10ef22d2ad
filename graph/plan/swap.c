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

/* The gather (or one_hot) that x is, or the sequence that x is a slice of; nil if there is none. */
static ur_node gathered(ur_graph *g, ur_node x)
{
    const ur__node *n = ur__at(g, x.id);
    if (!ur__bypassable(g, x))
        return UR_NIL;
    if (n->op->kind == UR_SLICE) {
        x = ur__operand_of(g, x, 0);
        n = ur__at(g, x.id);
    }
    return (n->op == &ur__op_gather || n->op == &ur__op_one_hot) && ur__bypassable(g, x) ? x
                                                                                         : UR_NIL;
}

/* The ids of the rows that x is of `from`; nil if there are none. */
static ur_node ids_of(ur__expansion *e, ur_node x, ur_node from)
{
    ur_graph *g = e->g;
    ur_node all = ur__operand_of(g, from, ur__at(g, from.id)->op == &ur__op_gather);
    if (x.id == from.id)
        return all;
    const ur__node *n = ur__at(g, x.id);
    int64_t attr[3];
    memcpy(attr, g->into->attr + n->attr, sizeof attr);
    return attr[0] < ur__shape_of(all)->s.rank ? ur__once(e, n->op, &all, 1, attr, 3) : UR_NIL;
}

/* Whether the table has so few rows that its product is cheaper than the tokens'. */
static bool worth(ur_graph *g, ur_node from)
{
    const ur__shape *table = ur__shape_of(ur__operand_of(g, from, 0));
    return table->s.rank == 2 && (size_t)ur__limit.times * (size_t)table->s.dim[0] <=
                                 ur__shape_of(ur__operand_of(g, from, 1))->count;
}

ur_node ur__swap_gather(ur__expansion *e, const ur__product *p)
{
    ur_graph *g = e->g;
    if (!ur__on(g, UR__BIT_swap) || p->transposed[0] || ur__shape_of(p->b)->s.rank != 2)
        return UR_NIL;
    ur_node from = gathered(g, p->a), table = p->b;
    if (!ur__live(from))
        return UR_NIL;
    const bool gather = ur__at(g, from.id)->op == &ur__op_gather;
    if (gather ? !worth(g, from) : (bool)p->transposed[1])
        return UR_NIL;
    ur_node ids = ids_of(e, p->a, from);
    if (ur__live(ids) && gather)
        table = ur__once(e, &ur__op_matmul, (ur_node[]){ ur__operand_of(g, from, 0), p->b }, 2,
                         p->transposed, 2);
    if (!ur__live(ids) || !ur__live(table))
        return UR_NIL;
    e->p->merged[UR__BIT_swap]++;
    return ur_record(NULL, &ur__op_gather, (ur_node[]){ table, ids }, 2, NULL, 0);
}
