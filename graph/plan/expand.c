/* The tape as it is planned: recorded nodes copied or rewritten (rewrite.h), requests expanded into
 * adjoint nodes (adjoint.c). */
#include "graph/plan/rewrite.h"

static bool copy_node(ur__expansion *e, uint32_t id)
{
    ur_graph *g = e->g;
    const ur__node *x = &e->from->node[id];
    ur__tape *t = g->into;
    if (!ur__tape_room(t, x->n_in, x->n_attr))
        return ur__out_of_memory(&g->owner);
    const uint32_t *in = e->from->operand + x->in, *map = e->map;
    const int64_t *attr = e->from->attr + x->attr;
    uint32_t *operand = t->operand + t->n_operands;
    int64_t *word = t->attr + t->n_attrs;
    ur__node *y = &t->node[t->n];
    *y = *x;
    y->in = (uint32_t)t->n_operands;
    y->attr = (uint32_t)t->n_attrs;
    for (uint32_t i = 0; i < x->n_in; i++)
        operand[i] = map[in[i]];
    for (uint32_t i = 0; i < x->n_attr; i++)
        word[i] = attr[i];
    t->n_operands += x->n_in;
    t->n_attrs += x->n_attr;
    y->flags |= e->marks[id] & (UR__WANTED | UR__SLICED);
    if (x->op == &ur__op_param || x->op == &ur__op_import)
        y->flags |= UR__LASTING;
    t->origin[t->n] = e->from->origin[id];
    e->map[id] = (uint32_t)t->n++;
    return true;
}

/* Nodes whose gradient is asked for must stay on the way from the parameters to the loss. */
static void mark_wanted(ur__expansion *e, const ur__node *request)
{
    const int64_t *a = e->from->attr + request->attr;
    const uint32_t *xs = e->from->operand + request->in + a[UR__A_YS] + a[UR__A_SEEDS];
    for (int64_t j = 0; j < a[UR__A_XS]; j++)
        e->marks[xs[j]] |= UR__WANTED;
    e->wanted |= a[UR__A_XS] > 0;
}

ur_node ur__rewrite_product(ur__expansion *e, const ur__product *p)
{
    ur_node y = ur__split_concat(e, p);
    if (!ur__live(y) && !e->g->owner.failed)
        y = ur__swap_gather(e, p);
    if (!ur__live(y) && !e->g->owner.failed)
        y = ur__merge_rows(e, p);
    return y;
}

/* The better form of a recorded product or addition, or nil. */
static ur_node better(ur__expansion *e, const ur__node *x)
{
    ur_graph *g = e->g;
    const uint32_t *u = e->from->operand + x->in;
    const int64_t *attr = e->from->attr + x->attr;
    if (x->op == &ur__op_matmul)
        return ur__rewrite_product(e, &(ur__product){ ur__node_of(g, e->map[u[0]]),
                                                      ur__node_of(g, e->map[u[1]]),
                                                      { attr[0], attr[1] }, x->shape });
    if (x->op->row == 1 + UR__MAP_add && e->readers[u[0]] == 1 && e->readers[u[1]] == 1)
        return ur__join_addends(e, (ur_node[]){ ur__node_of(g, e->map[u[0]]),
                                                ur__node_of(g, e->map[u[1]]) });
    return UR_NIL;
}

/* Puts the better form in the place of a recorded node; false: it stays. */
static bool replace(ur__expansion *e, uint32_t id)
{
    ur_graph *g = e->g;
    const ur__node *x = &e->from->node[id];
    if (x->op != &ur__op_matmul && x->op->row != 1 + UR__MAP_add)
        return false;
    ur__origin origin = e->from->origin[id];
    g->rule_of = &origin;
    ur_node y = better(e, x);
    g->rule_of = NULL;
    if (!ur__live(y))
        return false;
    e->map[id] = y.id;
    g->into->node[y.id].flags |= (x->flags & UR__KEEP) | (e->marks[id] & UR__WANTED);
    return true;
}

bool ur__take_node(ur__expansion *e, uint32_t id)
{
    const ur__node *x = &e->from->node[id];
    if (ur__hoist(e, id) || replace(e, id))
        return true;
    if (x->op == &ur__op_state_out && id < e->g->done)
        return true;
    return !e->g->owner.failed && copy_node(e, id);
}

/* Counts what slices of the first axis take of their operands. */
static void mark_sliced(ur__expansion *e, uint32_t id, uint32_t *taken)
{
    const ur__tape *t = e->from;
    const int64_t *a = t->attr + t->node[id].attr;
    uint32_t u = t->operand[t->node[id].in];
    const ur_shape *s = &e->g->shape[t->node[u].shape].s;
    if (a[0] != 0 || a[2] >= s->dim[0])
        return;
    taken[u] += (uint32_t)a[2];
    if (4 * (uint64_t)taken[u] >= 3 * (uint64_t)s->dim[0])
        e->marks[u] |= UR__SLICED;
}

static bool prepare(ur__expansion *e)
{
    /* With its adjoints a tape is about four times as long: no copies then as it grows. Room for
     * one at least, so that a place in an empty list is not one after NULL. */
    const ur__tape *t = e->from;
    if (!ur__tape_room(&e->g->tape, 1, 1) ||
        !ur__tape_grow(e->g->into, 4 * t->n + 1, 4 * t->n_operands + 1, 4 * t->n_attrs + 1))
        return ur__out_of_memory(&e->g->owner);
    uint32_t *taken = ur__bump_alloc(&e->g->scratch, (e->from->n + 1) * sizeof *taken);
    e->marks = ur__bump_alloc(&e->g->scratch, e->from->n + 1);
    e->readers = ur__bump_alloc(&e->g->scratch, e->from->n + 1);
    e->owed = ur__bump_alloc(&e->g->scratch, (e->g->n_slots + 1) * sizeof *e->owed);
    if (!e->marks || !taken || !e->readers || !e->owed)
        return ur__out_of_memory(&e->g->owner);
    uint8_t *const readers = e->readers;
    const ur__node *const node = e->from->node;
    const uint32_t *const operand = e->from->operand, n = (uint32_t)e->from->n;
    e->n_before = n;
    for (uint32_t id = 0; id < n; id++) {
        const ur__node *x = &node[id];
        const uint32_t *in = operand + x->in, *end = in + x->n_in;
        for (; in < end; in++)
            readers[*in] = (uint8_t)(readers[*in] << 1 | 1);
        if (x->op->kind == UR_SLICE) {
            mark_sliced(e, id, taken);
        } else if (x->op == &ur__op_request) {
            mark_wanted(e, x);
            e->n_before = e->n_before < id ? e->n_before : id;
        }
    }
    return true;
}

bool ur__expand(ur__work *w)
{
    ur_graph *g = w->g;
    ur__tape *to = &g->expanded;
    uint32_t *map = w->map;
    ur__expansion e = { .g = g, .from = &g->tape, .map = map, .p = w->p };
    uint32_t taken = 0;
    g->into = to;
    bool ok = prepare(&e) && ur__batch_nodes(&e, &taken);
    for (uint32_t id = taken; ok && id < g->tape.n; id++) {
        const ur__node *x = &g->tape.node[id];
        map[id] = UINT32_MAX;
        if (x->op == &ur__op_grad) {
            map[id] = e.results[g->tape.attr[x->attr]];
            to->node[map[id]].flags |= x->flags & UR__KEEP;
        } else if (x->op == &ur__op_request) {
            const bool backward = g->tape.attr[x->attr + UR__A_BACKWARD];
            if (backward && id < g->done)
                continue;
            ok = (!backward || ur__find_owed(&e, id)) && ur__expand_request(&e, id);
        } else {
            ok = ur__take_node(&e, id);
        }
    }
    w->readers = e.readers;
    w->owed = e.owed;
    g->into = &g->tape;
    return ok && !g->owner.failed;
}
