/* Liveness: what a run is for, what that needs, and the role each node plays in the plan.
 *
 * Goals are values nobody used as an operand, kept values, losses, and effects (gradients into a
 * store, states). Values known from an earlier run of the same tape are taken as they are. */
#include "graph/plan/plan.h"

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

static const uint8_t role_of[] = {
    [UR_OPAQUE] = R_CALL, [UR_MAP] = R_MAP, [UR_LEAF] = R_LEAF, [UR_VIEW] = R_ALIAS,
    [UR_SLICE] = R_SLICE, [UR_PAD] = R_PAD, [UR_CONCAT] = R_CONCAT,
    [UR_CONTRACTION] = R_CONTRACTION, [UR_SCATTER] = R_SCATTER, [UR_SUM] = R_SUM_MAP,
    [UR_REQUEST] = R_CALL, [UR_EFFECT] = R_EFFECT,
};

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

/* 1 + the first value of an earlier run that is computed again; 0 if none is. */
static uint32_t first_revived(const ur__work *w)
{
    for (uint32_t id = 0; id < w->g->done; id++) {
        uint32_t x = w->map[id];
        if (x != UINT32_MAX && w->role[x] > R_ALIAS && w->role[x] != R_EFFECT)
            return id + 1;
    }
    return 0;
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

/* Operands of calls, scatters, reshapes and of products of higher rank than 2 are contiguous. */
static void be_strict(ur__work *w, uint32_t id)
{
    enum { ALWAYS = 1 << UR_VIEW | 1 << UR_SCATTER | 1 << UR_OPAQUE };
    const ur__node *x = &w->t->node[id];
    const uint32_t *in = ur__in(w, id);
    const ur_kind kind = x->op->kind;
    for (uint32_t i = 0; i < x->n_in; i++)
        w->strict[in[i]] |= ALWAYS >> kind & 1 || ur__shape_at(w, in[i])->s.rank != 2;
}

static bool take_lists(ur__work *w)
{
    ur__bump *const s = &w->g->scratch;
    w->effect = ur__bump_take(s, (w->n + 1) * sizeof *w->effect);
    w->site = ur__bump_take(s, (w->n + 1) * sizeof *w->site);
    w->product = ur__bump_take(s, (w->n + 1) * sizeof *w->product);
    return w->effect && w->site && w->product;
}

/* At first every node has memory of its own and is a unit of its own. */
static void keep_apart(ur__work *w)
{
    uint32_t *restrict const root = w->root, *restrict const base = w->base;
    uint32_t *restrict const unit = w->unit;
    for (uint32_t id = 0, n = w->n; id < n; id++)
        root[id] = base[id] = unit[id] = id;
}

/* From the last node to the first: what is needed, by how many, and its role. The lists are filled
 * from their ends. */
static void mark_needed(ur__work *w)
{
    enum {
        SITES = 1 << R_ALIAS | 1 << R_SLICE | 1 << R_CONCAT | 1 << R_SUM_MAP,
        STRICT = 1 << UR_VIEW | 1 << UR_SCATTER | 1 << UR_OPAQUE | 1 << UR_CONTRACTION
    };
    const ur__node *const node = w->t->node;
    const uint32_t *const operand = w->t->operand;
    const ur__shape *const shape = w->g->shape;
    uint8_t *const role = w->role, *const goal = w->goal;
    uint32_t *const uses = w->uses, *const user = w->user;
    uint32_t *effect = w->effect + w->n, *site = w->site + w->n;
    for (uint32_t id = w->n; id-- > 0;) {
        const ur__node *x = &node[id];
        const ur_kind kind = x->op->kind;
        if (kind == UR_EFFECT) {
            *--effect = id;
            goal[id] |= x->op == &ur__op_deposit;
        }
        if (role[id] == R_HAVE || !(goal[id] | uses[id]))
            continue;
        const uint8_t r = role_of[kind];
        role[id] = r;
        if (SITES >> r & 1)
            *--site = id;
        if (kind == UR_LEAF)
            w->loc[id] = leaf_loc(w, id);
        for (const uint32_t *in = operand + x->in, *end = in + x->n_in; in < end; in++) {
            const uint32_t u = *in;
            uses[u]++;
            user[u] = id;
        }
        if (kind == UR_CONTRACTION)
            w->product[w->n_products++] = id;
        if (STRICT >> kind & 1 && (kind != UR_CONTRACTION || shape[x->shape].s.rank != 2))
            be_strict(w, id);
    }
    w->n_effects = (uint32_t)(w->effect + w->n - effect);
    w->n_sites = (uint32_t)(w->site + w->n - site);
    w->effect = effect;
    w->site = site;
}

bool ur__pass_live(ur__work *w)
{
    if (!take_lists(w))
        return ur__out_of_memory(&w->g->owner);
    mark_goals(w);
    keep_apart(w);
    take_known(w);
    mark_needed(w);
    if (!count_deposits(w))
        return ur__out_of_memory(&w->g->owner);
    for (size_t i = 0; i < w->g->n_kept; i++) {         /* known ones are none */
        uint32_t id = w->map[w->g->kept[i].id];
        if (id != UINT32_MAX && w->role[id] == R_HAVE)
            w->goal[id] = 0;
    }
    w->p->revived = first_revived(w);
    return true;
}
