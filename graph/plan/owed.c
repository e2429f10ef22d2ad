/* The stores that a loss owes a gradient: those with a parameter on which it depends as recorded.
 *
 * What the planner makes of a tape may depend on more parameters, as rows do that are computed
 * together with others, and derivatives may depend on fewer, being zero whatever the values are.
 * How many of them depends on the rewrites, but whether a gradient is ready must not. */
#include "graph/plan/rewrite.h"

/* Whether a parameter of the store that is not frozen was recorded before a node. */
static bool may_owe(const ur_graph *g, const ur__slot *s, uint32_t loss)
{
    for (size_t k = 0; k < s->n_import; k++)
        if (s->stamp[k] == g->owner.generation && s->import[k] <= loss &&
            g->tape.node[s->import[k]].flags & UR__GROWS)
            return true;
    return false;
}

/* A derivative depends on all that its request names. */
static bool follow(ur__expansion *e, uint32_t loss)
{
    const ur__tape *t = e->from;
    uint8_t *const reached = ur__bump_alloc(&e->g->scratch, (size_t)loss + 1);
    if (!reached)
        return ur__out_of_memory(&e->g->owner);
    reached[loss] = 1;
    for (uint32_t id = loss + 1; id-- > 0;) {
        const ur__node *x = &t->node[id];
        const uint32_t *in = t->operand + x->in, *end = in + x->n_in;
        if (!reached[id] || !(x->flags & UR__GROWS || x->op == &ur__op_request))
            continue;
        for (; in < end; in++)
            reached[*in] = 1;
        if (x->op == &ur__op_param)
            e->owed[t->attr[x->attr]] = true;
    }
    return true;
}

bool ur__find_owed(ur__expansion *e, uint32_t request)
{
    const ur_graph *g = e->g;
    const uint32_t loss = e->from->operand[e->from->node[request].in];
    size_t n = 0, only = 0;
    for (size_t s = 0; s < g->n_slots; s++)
        if (may_owe(g, &g->slot[s], loss))
            n++, only = s;
    if (n > 1)
        return follow(e, loss);
    e->owed[only] = true;               /* a loss that depends on no parameter was refused */
    return true;
}
