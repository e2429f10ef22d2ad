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

static void insert(ur__rewriting *w, uint64_t h, uint32_t id)
{
    size_t i = h & (w->cap - 1);
    while (w->table[i])
        i = (i + 1) & (w->cap - 1);
    w->table[i] = id + 1;
}

/* Keeps the table at most half full. */
static bool make_room(ur__rewriting *w)
{
    if (2 * (w->n + 1) <= w->cap)
        return true;
    ur__rewriting old = *w;
    w->cap = old.cap ? 2 * old.cap : 64;
    w->table = ur__bump_alloc(&w->g->scratch, w->cap * sizeof *w->table);
    if (!w->table) {
        *w = old;
        return ur__out_of_memory(&w->g->owner);
    }
    for (size_t i = 0; i < old.cap; i++)
        if (old.table[i])
            insert(w, hash_node(w->g->into, ur__at(w->g, old.table[i] - 1)), old.table[i] - 1);
    return true;
}

ur_node ur__once(ur__rewriting *w, const ur_op *op, const ur_node in[], int n_in,
                 const int64_t attr[], int n_attr)
{
    enum { OPERANDS = 4 };
    uint32_t id[OPERANDS];
    if (!make_room(w))
        return UR_NIL;
    for (int i = 0; i < n_in; i++)
        id[i] = in[i].id;
    uint64_t h = hash_of(op, id, (size_t)n_in, attr, (size_t)n_attr);
    for (size_t i = h & (w->cap - 1); w->table[i]; i = (i + 1) & (w->cap - 1)) {
        uint32_t y = w->table[i] - 1;
        if (same(w->g->into, ur__at(w->g, y), op, id, (size_t)n_in, attr, (size_t)n_attr))
            return ur__node_of(w->g, y);
    }
    ur_node y = ur_record(NULL, op, in, n_in, attr, n_attr);
    if (ur__live(y)) {
        insert(w, h, y.id);
        w->n++;
    }
    return y;
}
