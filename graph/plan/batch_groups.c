/* Which nodes are computed together: those of one depth that were recorded at the same place, with
 * the same op, sizes and parameters, and come from products with the same parameter: a function
 * that records a gate is one place for all gates, which together would be as many rows mixed, and
 * the next op wants them apart.
 *
 * A program that records many small graphs goes through the same places again and again. So the
 * group of a node is nearly always the one that came behind the group of the node before it the
 * last time, and one comparison with a member of that group confirms it. Other nodes are looked up
 * in a table. */
#include "graph/plan/batch.h"

enum { FEW = 8 };                       /* rows of a member */

static bool is_parameter(const ur_op *op)
{
    return op == &ur__op_param || op == &ur__op_import;
}

static bool other_rows(const ur_shape *x, const ur_shape *y)
{
    return x->rank != y->rank || x->dim[0] != y->dim[0];
}

static uint32_t size_word(const ur__node *x)
{
    return x->shape << 1 | (x->type == UR_I32);
}

/* How an operand that is no result appears in groups of ordinary nodes: a parameter of one row by
 * itself, which is another word than any size; others by their size. */
static uint32_t like_leaf(const ur__batching *b, uint32_t id)
{
    const ur__node *x = &b->t->node[id];
    return is_parameter(x->op) && ur__recorded_shape(b, id)->dim[0] == 1 ? ~id : size_word(x);
}

/* Whether operand u of x differs between the members of x's group, row for row; else it is the same
 * for all of them. */
static bool differs(const ur__batching *b, const ur__node *x, uint32_t i)
{
    const uint32_t u = b->t->operand[x->in + i];
    if (x->op == &ur__op_gather)
        return i == 1;
    if (x->op->kind == UR_CONTRACTION)
        return i == 0;
    return b->spot[u].like != ~u &&
           (x->op->kind != UR_MAP || b->t->node[u].shape == x->shape ||
            !other_rows(ur__recorded_shape(b, u), &b->e->g->shape[x->shape].s));
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
               ur__recorded_shape(b, in[1])->rank == 2;
    case UR_CONCAT: return varying == x->n_in && a[0] > 0 && !a[1];
    case UR_SLICE: return a[0] > 0;
    default: return false;
    }
}

/* Whether u may stand where v does in a member, given that such operands differ. */
static inline bool stands_for(const ur__batching *b, const ur_op *op, uint32_t u, uint32_t v)
{
    return b->spot[u].like == b->spot[v].like ||
           ((op == &ur__op_gather || op->kind == UR_CONTRACTION) &&
            size_word(&b->t->node[u]) == size_word(&b->t->node[v]));
}

/* Whether a node, recorded at a place, is a member of the group: it has the group's op and place,
 * depth, sizes and attributes, and the operands that do not vary. */
static inline bool belongs(const ur__batching *b, const ur__group *y, const ur__node *x, ur_at at,
                           uint32_t depth, uint32_t from)
{
    if (y->depth != depth || y->at != at || y->from != from)
        return false;
    const ur__tape *t = b->t;
    const ur__node *f = &t->node[y->first];
    if (x->op != f->op || x->shape != f->shape || x->n_in != f->n_in || x->n_attr != f->n_attr)
        return false;
    const uint32_t *u = t->operand + x->in, *v = t->operand + f->in;
    for (uint32_t i = 0, n = x->n_in; i < n; i++)
        if (u[i] != v[i] && (!ur__varies(y, i) || !stands_for(b, x->op, u[i], v[i])))
            return false;
    const int64_t *a = t->attr + x->attr, *c = t->attr + f->attr;
    for (uint32_t i = 0, n = x->n_attr; i < n; i++)
        if (a[i] != c[i])
            return false;
    return true;
}

/* A hash of what members of a group have in common, and the operands that vary: how many there are
 * and a bit for each. Ops with more operands than there are bits are batched only if all vary. */
static uint32_t describe(const ur__batching *b, uint32_t id, uint32_t from, uint32_t *varying,
                         uint32_t *bits)
{
    const ur__node *x = &b->t->node[id];
    const int64_t *attr = b->t->attr + x->attr;
    uint64_t h = ur__fold(ur__fold((uintptr_t)x->op, (uintptr_t)b->t->origin[id].at), from);
    h = ur__blend(h, (uint64_t)b->spot[id].depth << 32 | x->shape);
    *varying = *bits = 0;
    for (uint32_t i = 0; i < x->n_in; i++) {
        const uint32_t u = b->t->operand[x->in + i];
        const bool d = differs(b, x, i);
        h = ur__blend(h, d ? (uint64_t)1 << 32 | size_word(&b->t->node[u]) : u);
        *varying += d;
        *bits |= (uint32_t)d << (i & 31);
    }
    for (uint32_t i = 0; i < x->n_attr; i++)
        h = ur__blend(h, (uint64_t)attr[i]);
    return (uint32_t)(h >> 32);
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
    for (size_t i = 1; i < b->n_groups; i++) {
        size_t at = b->groups[i].hash & (cap - 1);
        while (table[at])
            at = (at + 1) & (cap - 1);
        table[at] = (uint32_t)i;
    }
    b->table = table;
    b->table_cap = cap;
    return true;
}

/* What tells members of a group and what is made of them from others of the same place: the
 * parameter of the product, or the part of its result. */
static uint32_t gate_of(const ur__batching *b, const ur__node *x, uint32_t from)
{
    const int64_t *a = b->t->attr + x->attr;
    const uint32_t *in = b->t->operand + x->in;
    switch (x->op->kind) {
    case UR_CONTRACTION: return is_parameter(b->t->node[in[1]].op) ? in[1] + 1 : 0;
    case UR_SLICE: return (uint32_t)ur__fold(ur__fold(from, (uint64_t)a[0]), (uint64_t)a[1]);
    default: return from;
    }
}

/* The group of a node, which may be a new one; 0 if it cannot be in one, or without memory. */
static uint32_t find_group(ur__batching *b, uint32_t id, uint32_t from)
{
    const ur__node *x = &b->t->node[id];
    uint32_t varying, bits, hash = describe(b, id, from, &varying, &bits);
    if (!batchable(b, x, varying) || !make_room(b))
        return 0;
    size_t at = hash & (b->table_cap - 1);
    for (; b->table[at]; at = (at + 1) & (b->table_cap - 1)) {
        const ur__group *y = &b->groups[b->table[at]];
        if (y->hash == hash && belongs(b, y, x, b->t->origin[id].at, b->spot[id].depth, from))
            return b->table[at];
    }
    if (!ur__bump_reserve(&b->e->g->scratch, &b->groups, &b->cap, b->n_groups + 1,
                          sizeof *b->groups)) {
        ur__out_of_memory(&b->e->g->owner);
        return 0;
    }
    b->groups[b->n_groups] = (ur__group){ .first = id, .depth = b->spot[id].depth,
                                          .varying = bits, .hash = hash, .from = from,
                                          .gate = gate_of(b, x, from),
                                          .at = b->t->origin[id].at };
    return b->table[at] = (uint32_t)b->n_groups++;
}

/* The first one of the deepest operands, of those that have their depth. */
static inline uint32_t deepest(const ur__spot *spot, const uint32_t *in, uint32_t n)
{
    uint32_t u = in[0];
    for (uint32_t i = 1; i < n; i++)
        u = spot[in[i]].depth > spot[u].depth ? in[i] : u;
    return u;
}

/* A concatenation that was recorded before has that one's seat: equations of gates say [h,x]
 * each. */
static bool repeats(ur__batching *b, uint32_t id)
{
    const ur__tape *t = b->t;
    const ur__node *x = &t->node[id];
    const uint32_t *in = t->operand + x->in, last = b->joined[in[0]];
    const ur__node *y = &t->node[last - (last > 0)];
    b->joined[in[0]] = id + 1;
    if (!last || !b->spot[last - 1].seat || y->op != x->op || y->n_in != x->n_in ||
        memcmp(t->attr + y->attr, t->attr + x->attr, x->n_attr * sizeof *t->attr) != 0 ||
        memcmp(t->operand + y->in, in, x->n_in * sizeof *in) != 0)
        return false;
    b->spot[id].seat = b->spot[last - 1].seat;
    ur__grouped(b, id)->repeats = true;
    return true;
}

static bool mark_apart(ur__batching *b)
{
    const ur__tape *t = b->t;
    b->apart = ur__bump_take(&b->e->g->scratch, b->n + 1);
    if (!b->apart)
        return ur__out_of_memory(&b->e->g->owner);
    for (uint32_t id = 0; id < b->n; id++) {
        const ur__node *x = &t->node[id];
        uint8_t apart = (b->e->marks[id] & UR__WANTED) != 0;
        for (uint32_t i = 0; i < x->n_in; i++)
            apart |= b->apart[t->operand[x->in + i]];
        b->apart[id] = apart;
    }
    return true;
}

/* Whether a node may be in a group whatever the group. */
static inline bool groupable(const ur__batching *b, const ur__node *x, uint32_t id)
{
    const uint32_t rows = (uint32_t)b->e->g->shape[x->shape].s.dim[0];
    return rows - 1 < FEW && x->type != UR_I32 && !(b->apart && b->apart[id]) &&
           !(x->op->kind == UR_CONTRACTION && sliced(b, b->t->operand[x->in]));
}

/* Gives nodes in the order of the tape their seats. */
static bool seat_all(ur__batching *b)
{
    const ur__tape *const t = b->t;
    ur__spot *const spot = b->spot;
    uint32_t last = 0;                  /* the group of the grouped node before */
    for (uint32_t id = 0; id < b->n; id++) {
        const ur__node *x = &t->node[id];
        if (!x->n_in) {
            spot[id] = (ur__spot){ .like = like_leaf(b, id) };
            continue;
        }
        const uint32_t u = deepest(spot, t->operand + x->in, x->n_in), depth = spot[u].depth + 1;
        spot[id] = (ur__spot){ .depth = depth, .like = size_word(x) };
        if (!groupable(b, x, id))
            continue;
        const ur_kind kind = x->op->kind;
        const uint32_t from = kind == UR_MAP || kind == UR_SLICE
                            ? b->groups[spot[u].seat >> 32].gate : 0;
        uint32_t k = b->groups[last].next;
        if (kind == UR_CONCAT && repeats(b, id)) {
            last = (uint32_t)(spot[id].seat >> 32);
            continue;
        }
        if (!belongs(b, &b->groups[k], x, t->origin[id].at, depth, from)) {
            if (!(k = find_group(b, id, from)) && b->e->g->owner.failed)
                return false;
            if (!k)
                continue;
            b->groups[last].next = k;
        }
        spot[id].seat = (uint64_t)k << 32 | b->groups[k].n++;
        last = k;
    }
    return true;
}

/* Whether two nodes of one depth may start a group with the same parameter. Surely not where those
 * of each parameter lie deeper one after another, as the steps of one recurrence do: then no groups
 * need be formed. */
static bool can_start(ur__batching *b, bool *can)
{
    const ur__tape *t = b->t;
    uint32_t *const depth = ur__bump_take(&b->e->g->scratch, (b->n + 1) * sizeof *depth);
    uint32_t *const last = ur__bump_alloc(&b->e->g->scratch, (b->n + 1) * sizeof *last);
    if (!depth || !last)
        return ur__out_of_memory(&b->e->g->owner);
    for (uint32_t id = 0; id < b->n && !*can; id++) {
        const ur__node *x = &t->node[id];
        const uint32_t *const in = t->operand + x->in;
        uint32_t d = 0;                 /* 1 + the depth of the deepest operand */
        for (uint32_t i = 0; i < x->n_in; i++)
            d = depth[in[i]] + 1 > d ? depth[in[i]] + 1 : d;
        depth[id] = d;
        if (!ur__starts_group(x) || !groupable(b, x, id))
            continue;
        uint32_t *const before = &last[in[x->op->kind == UR_CONTRACTION]];
        *can = d <= *before;
        *before = d;
    }
    return true;
}

bool ur__form_groups(ur__batching *b)
{
    ur_graph *g = b->e->g;
    const ur__node *const node = b->t->node;
    bool can = false;
    if (!can_start(b, &can) || !can)
        return !g->owner.failed;
    b->spot = ur__bump_take(&g->scratch, (b->n + 1) * sizeof *b->spot);
    b->joined = ur__bump_alloc(&g->scratch, (b->n + 1) * sizeof *b->joined);
    if (!b->spot || !b->joined ||
        !ur__bump_reserve(&g->scratch, &b->groups, &b->cap, 1, sizeof *b->groups))
        return ur__out_of_memory(&g->owner);
    b->groups[b->n_groups++] = (ur__group){ .depth = UINT32_MAX };      /* nobody's */
    if ((b->e->wanted && !mark_apart(b)) || !seat_all(b))
        return false;
    for (size_t i = 1; i < b->n_groups; i++)
        b->worth |= b->groups[i].n > 1 && ur__starts_group(&node[b->groups[i].first]);
    return true;
}
