/* Batching: nodes of many small graphs recorded one by one, sentences or trees, are computed
 * together.
 *
 * Nodes of one depth that were recorded at the same place, with the same op, sizes and parameters,
 * form a group (batch_groups.c):
 *
 *     y_k = f(u_k, W)    for k = 1..n         becomes        Y = f([u_1; ..; u_n], W)
 *
 * where the rows [u_1; ..; u_n] come from what was computed before (batch_rows.c).
 *
 * Products and gathered rows start a group, as long as a member has few rows; other ops follow when
 * one of their operands is grouped. The idea is that of M. Looks et al., "Deep Learning with
 * Dynamic Computation Graphs" (ICLR 2017), and G. Neubig, Y. Goldberg and C. Dyer, "On-the-fly
 * Operation Batching in Dynamic Computation Graphs" (NIPS 2017). */
#include "graph/plan/batch.h"

/* Nodes in the order of depth, those of one depth as they come; NULL without memory or of NULL. */
static uint32_t *by_depth(const ur__batching *b, const uint32_t *id, size_t n)
{
    ur__bump *s = &b->e->g->scratch;
    const ur__spot *const spot = b->spot;
    uint32_t deepest = 0;
    for (size_t i = 0; id && i < n; i++)
        deepest = spot[id[i]].depth > deepest ? spot[id[i]].depth : deepest;
    uint32_t *const order = id ? ur__bump_take(s, (n + 1) * sizeof *order) : NULL;
    uint32_t *const begin = ur__bump_alloc(s, ((size_t)deepest + 2) * sizeof *begin);
    if (!order || !begin)
        return NULL;
    for (size_t i = 0; i < n; i++)
        begin[spot[id[i]].depth + 1]++;
    for (uint32_t d = 0; d < deepest; d++)
        begin[d + 1] += begin[d];
    for (size_t i = 0; i < n; i++)
        order[begin[spot[id[i]].depth]++] = id[i];
    return order;
}

/* ------------------------------------------------------------------------------------ accepting */

static inline uint32_t operand_of(const ur__batching *b, const ur__group *x, uint32_t k, uint32_t i)
{
    return b->t->operand[b->t->node[b->member[x->begin + k]].in + i];
}

/* Whether a group is worth computing together, those before it being known: products and gathers
 * are, others if an operand of all members is. */
static bool accept(const ur__batching *b, const ur__group *x)
{
    const ur__node *f = &b->t->node[x->first];
    if (x->n < 2 || ur__starts_group(f))
        return x->n >= 2;
    for (uint32_t i = 0; i < f->n_in; i++) {
        bool all = ur__varies(x, i);
        for (uint32_t k = 0; all && k < x->n; k++)
            all = b->spot[operand_of(b, x, k, i)].seat != 0;
        if (all)
            return true;
    }
    return false;
}

static bool list_members(ur__batching *b)
{
    const ur__spot *const spot = b->spot;
    const ur__group *const groups = b->groups;
    const uint32_t n = b->n;
    uint32_t at = 0, *const member = ur__bump_take(&b->e->g->scratch, (n + 1) * sizeof *member);
    if (!(b->member = member))
        return ur__out_of_memory(&b->e->g->owner);
    for (size_t i = 1; i < b->n_groups; at += b->groups[i++].n)
        b->groups[i].begin = at;
    for (uint32_t id = 0; id < n; id++) {
        const uint64_t seat = spot[id].seat;
        if (seat)
            member[groups[seat >> 32].begin + (uint32_t)seat] = id;
    }
    return true;
}

static void dissolve(ur__batching *b, const ur__group *x)
{
    for (uint32_t k = 0; k < x->n; k++)
        b->spot[b->member[x->begin + k]].seat = 0;
    for (uint32_t id = 0; x->repeats && id < b->n; id++)
        if (ur__grouped(b, id) == x)
            b->spot[id].seat = 0;
}

/* Dissolves, in the order of depth, what is not to be a group. */
static bool dissolve_others(ur__batching *b)
{
    const size_t n = b->n_groups - 1;
    uint32_t *const first = ur__bump_take(&b->e->g->scratch, (n + 1) * sizeof *first);
    for (size_t i = 0; first && i < n; i++)
        first[i] = b->groups[1 + i].first;
    const uint32_t *const order = by_depth(b, first, n);
    if (!order)
        return ur__out_of_memory(&b->e->g->owner);
    for (size_t i = 0; i < n; i++) {
        const ur__group *x = ur__grouped(b, order[i]);
        if (!accept(b, x))
            dissolve(b, x);
    }
    return true;
}

/* --------------------------------------------------------------------------------------- making */

/* The rows of operand i of all members. */
static ur_node rows_of_operand(ur__batching *b, const ur__group *x, uint32_t i)
{
    const uint32_t first = operand_of(b, x, 0, i);
    const uint64_t seat = b->spot[first].seat;
    uint32_t k = seat != 0;
    while (k && k < x->n && b->spot[operand_of(b, x, k, i)].seat == seat + k)
        k++;
    if (k == x->n)
        return ur__rows_from(b, first, k);
    uint32_t *u = ur__bump_take(&b->e->g->scratch, x->n * sizeof *u);
    if (!u)
        return ur__out_of_memory(&b->e->g->owner), UR_NIL;
    for (k = 0; k < x->n; k++)
        u[k] = operand_of(b, x, k, i);
    return ur__rows_of(b, u, x->n);
}

static bool make_group(ur__batching *b, ur__group *x)
{
    enum { OPERANDS = 8 };
    ur__expansion *e = b->e;
    ur_graph *g = e->g;
    const ur__node f = b->t->node[x->first];
    ur_node few[OPERANDS], *in = few;
    if (f.n_in > OPERANDS && !(in = ur__bump_take(&g->scratch, f.n_in * sizeof *in)))
        return ur__out_of_memory(&g->owner);
    for (uint32_t i = 0; i < f.n_in; i++) {
        in[i] = ur__varies(x, i) ? rows_of_operand(b, x, i)
                                 : ur__planned(b, operand_of(b, x, 0, i));
        if (!ur__live(in[i]))
            return false;
    }
    const int64_t *attr = b->t->attr + f.attr;
    ur_node y = UR_NIL;
    if (f.op->kind == UR_CONTRACTION)
        y = ur__rewrite_product(e, &(ur__product){ in[0], in[1], { attr[0], attr[1] },
                                                  UINT32_MAX });
    if (!ur__live(y) && !g->owner.failed)
        y = ur_record(NULL, f.op, in, (int)f.n_in, attr, f.n_attr);
    if (!ur__live(y))
        return false;
    x->node = y.id + 1;
    e->p->merged[UR__BIT_batch] += x->n - 1;
    return true;
}

/* Rows of members laid end to end by the program itself. */
static bool make_concat(ur__batching *b, uint32_t id)
{
    ur__expansion *e = b->e;
    const ur__node x = b->t->node[id];
    const int64_t *a = b->t->attr + x.attr;
    const uint32_t *in = b->t->operand + x.in;
    bool any = false, alike = x.op->kind == UR_CONCAT && a[0] == 0 && x.type != UR_I32;
    for (uint32_t i = 0; alike && i < x.n_in; i++) {
        alike = b->t->node[in[i]].shape == b->t->node[in[0]].shape;
        any |= b->spot[in[i]].seat != 0;
    }
    if (!alike || !any || ur__recorded_shape(b, in[0])->rank < 1)
        return false;
    ur_node y = ur__rows_of(b, in, x.n_in);
    if (ur__live(y))
        y = ur__reshape_to(NULL, y, ur__recorded_shape(b, id));
    if (!ur__live(y))
        return false;
    e->g->into->node[y.id].flags |= (x.flags & UR__KEEP) | (e->marks[id] & UR__WANTED);
    e->map[id] = y.id;
    return true;
}

/* A node by itself, its operands cut out of their groups. */
static bool make_single(ur__batching *b, uint32_t id)
{
    const ur__node *x = &b->t->node[id];
    if (make_concat(b, id))
        return true;
    for (uint32_t i = 0; i < x->n_in; i++)
        if (!ur__live(ur__planned(b, b->t->operand[x->in + i])))
            return false;
    return !b->e->g->owner.failed && ur__take_node(b->e, id);
}

/* ---------------------------------------------------------------------------------------- order */

/* Nodes by themselves and the first of each group: *n of them. */
static uint32_t *units(const ur__batching *b, size_t *n)
{
    const ur__spot *const spot = b->spot;
    uint32_t *const unit = ur__bump_take(&b->e->g->scratch, (b->n + 1) * sizeof *unit);
    size_t count = 0;
    for (uint32_t id = 0; unit && id < b->n; id++) {
        unit[count] = id;
        count += (uint32_t)spot[id].seat == 0;
    }
    *n = count;
    return unit;
}

static bool make_all(ur__batching *b)
{
    ur__expansion *e = b->e;
    size_t n;
    const uint32_t *const unit = units(b, &n), *const order = by_depth(b, unit, n);
    if (!order)
        return ur__out_of_memory(&e->g->owner);
    memset(e->map, 0xFF, b->n * sizeof *e->map);        /* UINT32_MAX */
    for (size_t i = 0; i < n; i++) {
        ur__group *x = ur__grouped(b, order[i]);
        ur__origin origin = b->t->origin[order[i]];
        e->g->rule_of = &origin;
        bool ok = x ? make_group(b, x) : make_single(b, order[i]);
        e->g->rule_of = NULL;
        if (!ok)
            return false;
    }
    return true;
}

/* What is wanted of the groups apart from their members: kept values, what later nodes read, and
 * what nobody reads, which is a goal. */
static bool cut_out(ur__batching *b)
{
    const ur__expansion *e = b->e;
    const ur__tape *t = b->t;
    for (uint32_t k = b->n < t->n ? t->node[b->n].in : (uint32_t)t->n_operands; k < t->n_operands;
         k++)
        e->marks[t->operand[k]] |= UR__READ_LATER;
    for (uint32_t id = 0; id < b->n; id++)
        if ((!e->readers[id] || e->marks[id] & UR__READ_LATER || t->node[id].flags & UR__KEEP) &&
            b->spot[id].seat && e->map[id] == UINT32_MAX && !ur__live(ur__planned(b, id)))
            return false;
    return true;
}

bool ur__batch_nodes(ur__expansion *e, uint32_t *taken)
{
    ur__batching b = { .e = e, .t = e->from };
    *taken = 0;
    if (!ur__on(e->g, UR__BIT_batch) || e->g->done)
        return true;
    b.n = e->n_before;
    bool ok = ur__form_groups(&b);
    if (ok && b.worth)
        ok = list_members(&b) && dissolve_others(&b) && make_all(&b) && cut_out(&b);
    if (ok && b.worth)
        *taken = b.n;
    return ok && !e->g->owner.failed;
}
