/* Liveness: what a run is for, what that needs, and the role each node plays in the plan.
 *
 * Goals are values nobody used as an operand, kept values, losses, and effects (gradients into a
 * store, states). Values known from an earlier run of the same tape are taken as they are. */
#include "graph/plan/plan.h"

static bool find_effects(ur__work *w)
{
    const ur__node *const node = w->t->node;
    uint32_t n = 0;
    for (uint32_t id = 0; id < w->n; id++)
        n += node[id].op->kind == UR_EFFECT;
    w->effect = ur__bump_take(&w->g->scratch, (n + 1) * sizeof *w->effect);
    for (uint32_t id = 0; w->effect && id < w->n; id++)
        if (node[id].op->kind == UR_EFFECT)
            w->effect[w->n_effects++] = id;
    return w->effect != NULL;
}

/* Marks the goals among the tape's nodes; consumers are counted on the tape, not with adjoints. The
 * loss of a backward has one, but is a goal in spite of it. */
static void mark_goals(ur__work *w)
{
    ur_graph *g = w->g;
    const ur__node *const node = g->tape.node;
    const uint32_t *const map = w->map, n = (uint32_t)g->tape.n;
    const uint8_t *const readers = w->readers;          /* goals have none */
    uint8_t *const goal = w->goal;
    for (uint32_t id = 0; id < n; id++) {
        const ur__node *x = &node[id];
        if (readers[id] && !(x->flags & UR__KEEP) && x->op != &ur__op_request)
            continue;
        const bool wanted = x->flags & UR__KEEP && x->op->kind != UR_EFFECT;
        if (x->op == &ur__op_request) {
            const uint32_t *in = g->tape.operand + x->in;
            if (id >= g->done && g->tape.attr[x->attr + UR__A_BACKWARD])
                for (uint32_t i = 0; i < x->n_in; i++)
                    goal[map[in[i]]] = 1;
        } else if ((wanted || id >= g->done) && !ur__is_leaf(x->op) && map[id] != UINT32_MAX) {
            goal[map[id]] = 1;
        }
    }
    for (uint32_t k = 0; k < w->n_effects; k++)
        if (w->t->node[w->effect[k]].op == &ur__op_deposit)
            goal[w->effect[k]] = 1;
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
    for (uint32_t k = 0; w->deposits && k < w->n_effects; k++)
        if (w->t->node[w->effect[k]].op == &ur__op_deposit) {
            const int64_t *a = ur__attr(w, w->effect[k]);
            w->deposits[a[0]][a[1]] += w->deposits[a[0]][a[1]] < 2;
        }
    return w->deposits != NULL;
}

/* Whether operands of a node of this kind must be contiguous: those of calls, scatters, reshapes
 * and, of higher rank than 2, of products. */
static bool strict_about(const ur__work *w, ur_kind kind, uint32_t u)
{
    switch (kind) {
    case UR_VIEW:
    case UR_SCATTER:
    case UR_OPAQUE: return true;
    case UR_CONTRACTION: return ur__shape_at(w, u)->s.rank != 2;
    default: return false;
    }
}

/* From the last node to the first: what is needed, by how many, and its role. */
static void mark_needed(ur__work *w)
{
    const ur__node *const node = w->t->node;
    const uint32_t *const operand = w->t->operand;
    uint8_t *const role = w->role, *const goal = w->goal, *const strict = w->strict;
    uint32_t *const uses = w->uses, *const user = w->user;
    for (uint32_t id = w->n; id-- > 0;) {
        const ur__node *x = &node[id];
        w->root[id] = id;
        if (role[id] == R_HAVE || (!goal[id] && !uses[id]))
            continue;
        const ur_kind kind = x->op->kind;
        role[id] = (uint8_t)role_of(x->op);
        if (kind == UR_LEAF)
            w->loc[id] = leaf_loc(w, id);
        const uint32_t *in = operand + x->in;
        for (uint32_t i = 0; i < x->n_in; i++) {
            uint32_t u = in[i];
            uses[u]++;
            user[u] = id;
            strict[u] |= strict_about(w, kind, u);
        }
    }
}

bool ur__pass_live(ur__work *w)
{
    if (!find_effects(w) || !count_deposits(w))
        return ur__out_of_memory(&w->g->owner);
    mark_goals(w);
    take_known(w);
    mark_needed(w);
    for (size_t i = 0; i < w->g->n_kept; i++) {         /* known ones are none */
        uint32_t id = w->map[w->g->kept[i].id];
        if (id != UINT32_MAX && w->role[id] == R_HAVE)
            w->goal[id] = 0;
    }
    return w->g->done == 0 || check_recompute(w);
}
