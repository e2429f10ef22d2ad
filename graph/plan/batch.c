/* Batching: nodes of many small graphs recorded one by one, sentences or trees, are computed
 * together.
 *
 * Nodes of one depth that were recorded at the same place, with the same op, sizes and parameters,
 * and come from products with the same parameter, form a group:
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

enum { FEW = 8 };                       /* rows of a member */

/* ------------------------------------------------------------------------------------- grouping */

static bool is_parameter(const ur_op *op)
{
    return op == &ur__op_param || op == &ur__op_import;
}

static bool other_rows(const ur_shape *x, const ur_shape *y)
{
    return x->rank != y->rank || x->dim[0] != y->dim[0];
}

/* Sizes as a word, which no node's number is. */
static uint64_t size_word(const ur__node *x)
{
    return (uint64_t)(4 | x->type) << 32 | x->shape;
}

/* How an operand of ordinary nodes appears in keys: by its size, or itself. */
static uint64_t like(const ur__batching *b, uint32_t id)
{
    const ur__node *x = &b->t->node[id];
    return is_parameter(x->op) && ur__recorded_shape(b, id)->dim[0] == 1 ? id : size_word(x);
}

/* How operand i of a node appears in its key: by its size if it belongs to the member, row for row,
 * or itself if it belongs to the whole group. */
static inline uint64_t operand_word(const ur__batching *b, const ur__node *x, uint32_t i)
{
    const uint32_t u = b->t->operand[x->in + i];
    const uint64_t word = b->like[u];
    if (x->op->kind == UR_CONTRACTION || x->op == &ur__op_gather)
        return i == (x->op == &ur__op_gather) ? size_word(&b->t->node[u]) : u;
    if (x->op->kind == UR_MAP && (uint32_t)word != x->shape &&
        other_rows(ur__recorded_shape(b, u), &b->e->g->shape[x->shape].s))
        return u;
    return word;
}

/* What tells a node from others of its place: the parameter of the product, and the slice of its
 * result, that it comes from, by way of the deepest operands. A function that records a gate is one
 * place for all gates; together they would be as many rows mixed, which the next op wants apart. */
static uint32_t gate_of(const ur__batching *b, uint32_t id)
{
    const ur__node *x = &b->t->node[id];
    const int64_t *a = b->t->attr + x->attr;
    const uint32_t *in = b->t->operand + x->in;
    if (x->op->kind == UR_CONTRACTION)
        return is_parameter(b->t->node[in[1]].op) ? in[1] + 1 : 0;
    if (x->op->kind == UR_SLICE)
        return (uint32_t)ur__fold(ur__fold(b->gate[in[0]], (uint64_t)a[0]), (uint64_t)a[1]);
    for (uint32_t i = 0; x->op->kind == UR_MAP && i < x->n_in; i++)
        if (b->depth[in[i]] + 1 == b->depth[id])
            return b->gate[in[i]];
    return 0;
}

static bool varies(const ur__batching *b, const ur__node *x, uint32_t i)
{
    return operand_word(b, x, i) > UINT32_MAX;
}

static bool sliced(const ur__batching *b, uint32_t u)
{
    const ur__node *x = &b->t->node[u];
    return x->op->kind == UR_SLICE && b->e->marks[b->t->operand[x->in]] & UR__SLICED;
}

/* Whether a node can be computed for many members at once, given how many of its operands vary. */
static bool batchable(const ur__batching *b, const ur__node *x, uint32_t varying)
{
    const int64_t *a = b->t->attr + x->attr;
    const uint32_t *in = b->t->operand + x->in;
    if (x->op == &ur__op_gather)
        return ur__recorded_shape(b, in[1])->rank == 1 && is_parameter(b->t->node[in[0]].op);
    switch (x->op->kind) {
    case UR_MAP: return varying > 0;
    case UR_CONTRACTION:
        return !a[0] && b->e->g->shape[x->shape].s.rank == 2 &&
               ur__recorded_shape(b, in[1])->rank == 2 && !sliced(b, in[0]);
    case UR_CONCAT: return varying == x->n_in && a[0] > 0 && !a[1];
    case UR_SLICE: return a[0] > 0;
    default: return false;
    }
}

/* Writes down what the members of a group have in common, behind the keys of the groups so far: op
 * and place, depth and sizes, the operands that do not vary. Returns how many do. */
static uint32_t describe(const ur__batching *b, uint32_t id, size_t *n, uint64_t *hash)
{
    const ur__node *x = &b->t->node[id];
    const int64_t *attr = b->t->attr + x->attr;
    uint64_t *const key = b->keys + b->n_keys, *word = key + 3, h;
    uint32_t varying = 0;
    key[0] = (uintptr_t)x->op;
    key[1] = ur__fold((uintptr_t)b->t->origin[id].at, b->gate[id]);
    key[2] = (uint64_t)b->depth[id] << 32 | x->shape;
    h = ur__blend(ur__fold(key[0], key[1]), key[2]);
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint64_t u = operand_word(b, x, i);
        h = ur__blend(h, u);
        varying += u > UINT32_MAX;
        *word++ = u;
    }
    for (uint32_t i = 0; i < x->n_attr; i++) {
        h = ur__blend(h, (uint64_t)attr[i]);
        *word++ = (uint64_t)attr[i];
    }
    *n = (size_t)(word - key);
    *hash = h ^ h >> 32;
    return varying;
}

static bool same_words(const uint64_t *a, const uint64_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* Keeps the table at most half full. */
static bool make_room(ur__batching *b)
{
    if (2 * (b->n_groups + 1) <= b->table_cap)
        return true;
    size_t cap = b->table_cap ? 2 * b->table_cap : 256;
    uint32_t *table = ur__bump_alloc(&b->e->g->scratch, cap * sizeof *table);
    if (!table)
        return ur__out_of_memory(&b->e->g->owner);
    for (size_t i = 0; i < b->n_groups; i++) {
        size_t at = b->groups[i].hash & (cap - 1);
        while (table[at])
            at = (at + 1) & (cap - 1);
        table[at] = (uint32_t)i + 1;
    }
    b->table = table;
    b->table_cap = cap;
    return true;
}

/* A concatenation that was recorded before is that member of its group again: equations of gates say
 * [h,x] each. */
static bool repeats(ur__batching *b, uint32_t id)
{
    const ur__tape *t = b->t;
    const ur__node *x = &t->node[id];
    const uint32_t *in = t->operand + x->in, last = b->joined[in[0]];
    const ur__node *y = &t->node[last - (last > 0)];
    b->joined[in[0]] = id + 1;
    if (!last || !b->group_of[last - 1] || y->op != x->op || y->n_in != x->n_in ||
        memcmp(t->attr + y->attr, t->attr + x->attr, x->n_attr * sizeof *t->attr) != 0 ||
        memcmp(t->operand + y->in, in, x->n_in * sizeof *in) != 0)
        return false;
    b->group_of[id] = b->group_of[last - 1];
    b->index[id] = b->index[last - 1];
    return true;
}

/* Puts a node in the group of those like it, if it can be in one. */
static bool join(ur__batching *b, uint32_t id)
{
    const ur__node *x = &b->t->node[id];
    const ur_shape *s = &b->e->g->shape[x->shape].s;
    if (s->rank < 1 || s->dim[0] < 1 || s->dim[0] > FEW || x->type == UR_I32)
        return true;
    if (x->op->kind == UR_CONCAT && repeats(b, id))
        return true;
    size_t n, room = b->n_keys + 3 + x->n_in + x->n_attr;
    uint64_t hash;
    if (!ur__bump_reserve(&b->e->g->scratch, &b->keys, &b->key_cap, room, sizeof *b->keys))
        return ur__out_of_memory(&b->e->g->owner);
    if (!batchable(b, x, describe(b, id, &n, &hash)))
        return true;
    if (!make_room(b))
        return false;
    const uint64_t *const key = b->keys + b->n_keys;
    size_t at = hash & (b->table_cap - 1);
    for (; b->table[at]; at = (at + 1) & (b->table_cap - 1)) {
        ur__group *y = &b->groups[b->table[at] - 1];
        if (y->hash != hash || y->n_key != n || y->n_attr != x->n_attr ||
            !same_words(b->keys + y->key, key, n))
            continue;
        b->group_of[id] = b->table[at];
        b->index[id] = y->n++;
        return true;
    }
    if (!ur__bump_reserve(&b->e->g->scratch, &b->groups, &b->cap, b->n_groups + 1,
                          sizeof *b->groups))
        return ur__out_of_memory(&b->e->g->owner);
    b->groups[b->n_groups++] = (ur__group){ .first = id, .n = 1, .hash = hash, .key = b->n_keys,
                                            .n_key = n, .n_attr = x->n_attr };
    b->n_keys += n;
    b->group_of[id] = b->table[at] = (uint32_t)b->n_groups;
    return true;
}

/* Whether nodes of this kind are worth computing together whatever their operands are. */
static bool starts(const ur__node *x)
{
    return x->op == &ur__op_gather || x->op->kind == UR_CONTRACTION;
}

static bool form_groups(ur__batching *b)
{
    const ur__node *const node = b->t->node;
    const uint32_t *const operand = b->t->operand;
    const uint8_t *const marks = b->e->marks;
    uint32_t *const depths = b->depth;
    uint8_t *const aparts = b->apart;
    for (uint32_t id = 0; id < b->n; id++) {
        const uint32_t *in = operand + node[id].in, n_in = node[id].n_in;
        uint32_t depth = 0;
        uint8_t apart = marks[id] & UR__WANTED;
        for (uint32_t i = 0; i < n_in; i++) {
            uint32_t u = in[i], d = depths[u] + 1;
            depth = d > depth ? d : depth;
            apart |= aparts[u];
        }
        depths[id] = depth;
        aparts[id] = apart;
        b->like[id] = like(b, id);
        b->gate[id] = gate_of(b, id);
        b->deepest = depth > b->deepest ? depth : b->deepest;
        if (n_in && !apart && !join(b, id))
            return false;
    }
    for (size_t i = 0; i < b->n_groups; i++)
        b->worth |= b->groups[i].n > 1 && starts(&node[b->groups[i].first]);
    return true;
}

/* --------------------------------------------------------------------------------------- making */

/* Whether a group is worth computing together: products and gathers are, others if an operand of
 * all members is. */
static bool accept(const ur__batching *b, const ur__group *x)
{
    const ur__node *const node = b->t->node, *f = &node[x->first];
    const uint32_t *const operand = b->t->operand, *const member = b->member + x->begin;
    if (x->n < 2)
        return false;
    if (starts(f))
        return true;
    for (uint32_t i = 0; i < f->n_in; i++) {
        bool all = varies(b, f, i);
        for (uint32_t k = 0; all && k < x->n; k++)
            all = ur__grouped(b, operand[node[member[k]].in + i]) != NULL;
        if (all)
            return true;
    }
    return false;
}

static bool make_group(ur__batching *b, ur__group *x)
{
    enum { OPERANDS = 8 };
    ur__expansion *e = b->e;
    ur_graph *g = e->g;
    const ur__node *const node = b->t->node, f = node[x->first];
    const uint32_t *const operand = b->t->operand, *const member = b->member + x->begin;
    ur_node few[OPERANDS], *in = few;
    uint32_t *u = ur__bump_alloc(&g->scratch, x->n * sizeof *u);
    if (f.n_in > OPERANDS)
        in = ur__bump_alloc(&g->scratch, f.n_in * sizeof *in);
    if (!u || !in)
        return ur__out_of_memory(&g->owner);
    for (uint32_t i = 0; i < f.n_in; i++) {
        for (uint32_t k = 0; k < x->n; k++)
            u[k] = operand[node[member[k]].in + i];
        in[i] = varies(b, &f, i) ? ur__rows_of(b, u, x->n) : ur__planned(b, u[0]);
        if (!ur__live(in[i]))
            return false;
    }
    const int64_t *attr = b->t->attr + f.attr;
    ur_node y = UR_NIL;
    if (f.op->kind == UR_CONTRACTION)
        y = ur__rewrite_product(e, &(ur__product){ in[0], in[1], { attr[0], attr[1] } });
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
        any |= ur__grouped(b, in[i]) != NULL;
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

/* Members of each group in the order of the tape; nodes in order of depth. Both counting sorts. */
static uint32_t *sort(ur__batching *b)
{
    ur__bump *s = &b->e->g->scratch;
    const uint32_t *const depth = b->depth, *const group_of = b->group_of;
    uint32_t at = 0, *const order = ur__bump_take(s, (b->n + 1) * sizeof *order);
    uint32_t *const begin = ur__bump_alloc(s, ((size_t)b->deepest + 2) * sizeof *begin);
    uint32_t *const member = ur__bump_take(s, (b->n + 1) * sizeof *member);
    if (!order || !begin || !member)
        return NULL;
    b->member = member;
    for (size_t i = 0; i < b->n_groups; at += b->groups[i++].n)
        b->groups[i].begin = at;
    for (uint32_t id = 0; id < b->n; id++) {
        begin[depth[id] + 1]++;
        if (group_of[id])
            member[b->groups[group_of[id] - 1].begin + b->index[id]] = id;
    }
    for (uint32_t d = 0; d < b->deepest; d++)
        begin[d + 1] += begin[d];
    for (uint32_t id = 0; id < b->n; id++)
        order[begin[depth[id]]++] = id;
    return order;
}

static bool make_all(ur__batching *b)
{
    ur__expansion *e = b->e;
    const uint32_t *order = sort(b);
    if (!order)
        return ur__out_of_memory(&e->g->owner);
    memset(e->map, 0xFF, b->n * sizeof *e->map);        /* UINT32_MAX */
    for (uint32_t i = 0; i < b->n; i++) {
        uint32_t id = order[i];
        ur__group *x = b->group_of[id] ? &b->groups[b->group_of[id] - 1] : NULL;
        if (x && x->node)
            continue;
        ur__origin origin = b->t->origin[id];
        e->g->rule_of = &origin;
        bool ok = x && x->first == id && accept(b, x) ? make_group(b, x) : make_single(b, id);
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
        if (e->map[id] == UINT32_MAX && ur__grouped(b, id) &&
            (!e->readers[id] || e->marks[id] & UR__READ_LATER || t->node[id].flags & UR__KEEP) &&
            !ur__live(ur__planned(b, id)))
            return false;
    return true;
}

static bool batch(ur__batching *b)
{
    ur__bump *s = &b->e->g->scratch;
    size_t n = b->n + 1;
    b->depth = ur__bump_take(s, n * sizeof *b->depth);
    b->apart = ur__bump_take(s, n);
    b->like = ur__bump_take(s, n * sizeof *b->like);
    b->gate = ur__bump_take(s, n * sizeof *b->gate);
    b->joined = ur__bump_alloc(s, n * sizeof *b->joined);
    b->group_of = ur__bump_alloc(s, n * sizeof *b->group_of);
    b->index = ur__bump_alloc(s, n * sizeof *b->index);
    if (!b->depth || !b->apart || !b->like || !b->gate || !b->joined || !b->group_of || !b->index)
        return ur__out_of_memory(&b->e->g->owner);
    return form_groups(b) && (!b->worth || (make_all(b) && cut_out(b)));
}

bool ur__batch_nodes(ur__expansion *e, uint32_t *taken)
{
    ur__batching b = { .e = e, .t = e->from };
    *taken = 0;
    if (!ur__on(e->g, UR__BIT_batch) || e->g->done)
        return true;
    while (b.n < b.t->n && b.t->node[b.n].op != &ur__op_request)
        b.n++;
    if (!batch(&b))
        return false;
    if (b.worth)
        *taken = b.n;
    return !e->g->owner.failed;
}
