/* Liveness: what a run is for, what that needs, and the role each node plays in the plan.
 *
 * Goals are values nobody used as an operand, kept values, losses, and effects (gradients into a
 * store, states). Values known from an earlier run of the same tape are taken as they are. */
#include "graph/plan/plan.h"

/* Marks the goals among the tape's nodes; consumers are counted on the tape, not with adjoints. */
static bool mark_goals(ur__work *w)
{
    ur_graph *g = w->g;
    const ur__tape *tape = &g->tape;
    uint8_t *used = ur__bump_alloc(&g->scratch, tape->n);
    if (!used)
        return ur__out_of_memory(&g->owner);
    for (size_t id = 0; id < tape->n; id++) {
        const ur__node *x = &tape->node[id];
        bool loss = x->op == &ur__op_request && tape->attr[x->attr + 3];
        for (uint32_t i = 0; i < x->n_in; i++) {
            uint32_t u = tape->operand[x->in + i];
            if (!loss)
                used[u] = 1;
            else if (id >= g->done)
                w->goal[w->map[u]] = 1;
        }
    }
    for (size_t id = 0; id < tape->n; id++) {
        const ur__node *x = &tape->node[id];
        if (x->op == &ur__op_request || ur__is_leaf(x->op) || w->map[id] == UINT32_MAX)
            continue;
        bool effect = x->op->kind == UR_EFFECT;
        if (effect ? id >= g->done
                   : x->flags & UR__KEEP || (!used[id] && id >= g->done))
            w->goal[w->map[id]] = 1;
    }
    for (uint32_t id = 0; id < w->n; id++)
        if (w->t->node[id].op == &ur__op_deposit)
            w->goal[id] = 1;
    return true;
}

static void take_known(ur__work *w)
{
    ur_graph *g = w->g;
    for (size_t i = 0; i < g->n_kept; i++) {
        uint32_t id = w->map[g->kept[i].id];
        if (id != UINT32_MAX && !ur__is_leaf(w->t->node[id].op)) {
            w->role[id] = R_HAVE;
            w->loc[id] = g->kept[i].loc;
        }
    }
}

static ur__role role_of(const ur_op *op)
{
    switch (op->kind) {
    case UR_LEAF: return R_LEAF;
    case UR_MAP: return R_MAP;
    case UR_VIEW: return R_ALIAS;
    case UR_SLICE: return R_SLICE;
    case UR_PAD: return R_PAD;
    case UR_CONCAT: return R_CONCAT;
    case UR_CONTRACTION: return R_CONTRACTION;
    case UR_SCATTER: return R_SCATTER;
    case UR_SUM: return R_SUM_MAP;
    case UR_EFFECT: return R_EFFECT;
    default: return R_CALL;
    }
}

static ur__loc leaf_loc(const ur__work *w, uint32_t id)
{
    const ur_op *op = w->t->node[id].op;
    const int64_t *a = ur__attr(w, id);
    if (op == &ur__op_input)
        return (ur__loc){ UR__DATA, (uint64_t)a[0] };
    if (op == &ur__op_constant)
        return (ur__loc){ UR__CONST, (uint64_t)a[0] };
    if (op == &ur__op_import || op == &ur__op_state)
        return (ur__loc){ UR__DATA, (uint64_t)a[2] };
    const ur_params *ps = w->g->slot[a[0]].store;
    return (ur__loc){ UR__VALUES + 2 * (uint32_t)a[0],
                      ps->param[a[1]].offset * ur__type_size((int)ps->type) };
}

/* A value of an earlier run is computed again only if nothing that it came from has changed. */
static bool check_recompute(ur__work *w)
{
    ur_graph *g = w->g;
    bool changed = g->changed;
    for (size_t i = 0; i < g->n_slots; i++)
        changed |= g->slot[i].version != g->slot[i].store->version;
    for (uint32_t id = 0; changed && id < g->done; id++) {
        uint32_t x = w->map[id];
        if (x != UINT32_MAX && w->role[x] > R_ALIAS && w->role[x] != R_EFFECT)
            return ur__fail_at(g, g->tape.origin[id].at, g->tape.node[id].op->name,
                               "the value was not kept and what it depends on has changed since: "
                               "call ur_keep before the run");
    }
    return true;
}

static bool count_deposits(ur__work *w)
{
    ur_graph *g = w->g;
    w->deposits = ur__bump_alloc(&g->scratch, (g->n_slots + 1) * sizeof *w->deposits);
    for (size_t s = 0; w->deposits && s < g->n_slots; s++)
        if (!(w->deposits[s] = ur__bump_alloc(&g->scratch, g->slot[s].store->n)))
            return false;
    for (uint32_t id = 0; w->deposits && id < w->n; id++)
        if (w->t->node[id].op == &ur__op_deposit) {
            const int64_t *a = ur__attr(w, id);
            w->deposits[a[0]][a[1]] += w->deposits[a[0]][a[1]] < 2;
        }
    return w->deposits != NULL;
}

bool ur__pass_live(ur__work *w)
{
    const ur__tape *t = w->t;
    if (!mark_goals(w))
        return false;
    if (!count_deposits(w))
        return ur__out_of_memory(&w->g->owner);
    take_known(w);
    for (uint32_t id = w->n; id-- > 0;) {
        w->root[id] = id;
        const ur__node *x = &t->node[id];
        bool known = w->role[id] == R_HAVE;
        if (known || (!w->goal[id] && !w->uses[id]))
            continue;
        w->role[id] = (uint8_t)role_of(x->op);
        if (w->role[id] == R_LEAF)
            w->loc[id] = leaf_loc(w, id);
        for (uint32_t i = 0; i < x->n_in; i++) {
            uint32_t u = t->operand[x->in + i];
            w->uses[u]++;
            w->user[u] = id;
        }
    }
    for (uint32_t id = 0; id < w->n; id++)
        if (w->role[id] == R_HAVE)
            w->goal[id] = 0;
    return w->g->done == 0 || check_recompute(w);
}
