/* Hoist: what comes from parameters alone is the same in every step of a recurrence. A cell that
 * writes it down at each step, a normalised weight or exp of a decay, computes it once a run, and
 * the gradient of it is summed before it is taken on to the parameters. */
#include "graph/plan/rewrite.h"

enum { OPERANDS = 4 };                  /* of ur__once */

static bool lasting(const ur__expansion *e, const ur__node *x)
{
    const uint32_t *in = e->from->operand + x->in;
    for (uint32_t i = 0; i < x->n_in; i++)
        if (e->map[in[i]] == UINT32_MAX || !(ur__at(e->g, e->map[in[i]])->flags & UR__LASTING))
            return false;
    return x->n_in > 0 && x->n_in <= OPERANDS;
}

bool ur__hoist(ur__expansion *e, uint32_t id)
{
    ur_graph *g = e->g;
    if (!ur__on(g, UR__BIT_hoist) || !lasting(e, &e->from->node[id]))
        return false;
    const ur__node x = e->from->node[id];
    if (x.op->kind == UR_EFFECT || x.op->flags & UR_RANDOM || x.flags & UR__KEEP ||
        e->marks[id] & UR__WANTED)
        return false;
    ur_node in[OPERANDS];
    for (uint32_t i = 0; i < x.n_in; i++)
        in[i] = ur__node_of(g, e->map[e->from->operand[x.in + i]]);
    ur__origin origin = e->from->origin[id];
    size_t before = g->into->n;
    g->rule_of = &origin;
    ur_node y = ur__once(e, x.op, in, (int)x.n_in, e->from->attr + x.attr, x.n_attr);
    g->rule_of = NULL;
    if (!ur__live(y))
        return false;
    g->into->node[y.id].flags |= UR__LASTING;
    e->map[id] = y.id;
    e->p->merged[UR__BIT_hoist] += g->into->n == before;
    return true;
}
