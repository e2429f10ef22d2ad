/* What rewrites make once and use many times: the rows of a weight, a table times a weight. */
#include "graph/plan/rewrite.h"

static uint64_t hash_of(const ur_op *op, const uint32_t *in, size_t n_in, const int64_t *attr,
                        size_t n_attr)
{
    uint64_t h = (uint64_t)(uintptr_t)op;
    for (size_t i = 0; i < n_in; i++)
        h = ur__fold(h, in[i]);
    for (size_t i = 0; i < n_attr; i++)
        h = ur__fold(h, (uint64_t)attr[i]);
    return h;
}

static uint64_t hash_node(const ur__tape *t, const ur__node *x)
{
    return hash_of(x->op, t->operand + x->in, x->n_in, t->attr + x->attr, x->n_attr);
}

static bool same(const ur__tape *t, const ur__node *x, const ur_op *op, const uint32_t *in,
                 size_t n_in, const int64_t *attr, size_t n_attr)
{
    return x->op == op && x->n_in == n_in && x->n_attr == n_attr &&
           memcmp(t->operand + x->in, in, n_in * sizeof *in) == 0 &&
           (!n_attr || memcmp(t->attr + x->attr, attr, n_attr * sizeof *attr) == 0);
}

static void insert(ur__expansion *e, uint64_t h, uint32_t id)
{
    size_t i = h & (e->cap - 1);
    while (e->table[i])
        i = (i + 1) & (e->cap - 1);
    e->table[i] = id + 1;
}

/* Keeps the table at most half full. */
static bool make_room(ur__expansion *e)
{
    if (2 * (e->n_once + 1) <= e->cap)
        return true;
    ur__expansion old = *e;
    e->cap = old.cap ? 2 * old.cap : 64;
    e->table = ur__bump_alloc(&e->g->scratch, e->cap * sizeof *e->table);
    if (!e->table) {
        *e = old;
        return ur__out_of_memory(&e->g->owner);
    }
    for (size_t i = 0; i < old.cap; i++)
        if (old.table[i])
            insert(e, hash_node(e->g->into, ur__at(e->g, old.table[i] - 1)), old.table[i] - 1);
    return true;
}

ur_node ur__record_shaped(ur_graph *g, const ur_op *op, const ur_node in[], int n_in,
                          const int64_t attr[], int n_attr, uint32_t shape)
{
    uint32_t id[2] = { in[0].id, in[n_in - 1].id };
    if (shape == UINT32_MAX)
        return ur_record(NULL, op, in, n_in, attr, n_attr);
    const int flags = ur__at(g, id[0])->flags | ur__at(g, id[1])->flags;
    return ur__append_shaped(g, NULL, op, id, (size_t)n_in, attr, (size_t)n_attr, shape,
                             (int)g->precision, flags & UR__GROWS);
}

ur_node ur__once(ur__expansion *e, const ur_op *op, const ur_node in[], int n_in,
                 const int64_t attr[], int n_attr)
{
    enum { OPERANDS = 4 };
    uint32_t id[OPERANDS];
    if (!make_room(e))
        return UR_NIL;
    for (int i = 0; i < n_in; i++)
        id[i] = in[i].id;
    uint64_t h = hash_of(op, id, (size_t)n_in, attr, (size_t)n_attr);
    for (size_t i = h & (e->cap - 1); e->table[i]; i = (i + 1) & (e->cap - 1)) {
        uint32_t y = e->table[i] - 1;
        if (same(e->g->into, ur__at(e->g, y), op, id, (size_t)n_in, attr, (size_t)n_attr))
            return ur__node_of(e->g, y);
    }
    ur_node y = ur_record(NULL, op, in, n_in, attr, n_attr);
    if (ur__live(y)) {
        insert(e, h, y.id);
        e->n_once++;
    }
    return y;
}
