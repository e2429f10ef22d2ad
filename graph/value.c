/* Values that go in and come out: leaves, states, reads. */
#include <math.h>
#include "graph/internal.h"

/* --------------------------------------------------------------------------------------- leaves */

enum { ALIGN = 64 };

bool ur__data_reserve(ur_graph *g, size_t bytes, uint64_t *offset)
{
    bool rules = g->into != &g->tape;
    ur__block *b = rules ? &g->consts : &g->data;
    size_t *used = rules ? &g->consts_used : &g->data_used;
    *offset = *used;
    if (!ur__block_grow(b, *used + bytes + ALIGN))
        return ur__out_of_memory(&g->owner);
    *used = (*used + bytes + ALIGN - 1) / ALIGN * ALIGN;
    return true;
}

ur_node ur__leaf(ur_graph *g, ur_at at, const ur_shape *s, ur_type type, void **data)
{
    uint64_t offset;
    size_t bytes = ur__elements(s) * ur__type_size((int)type);
    bool rules = g->into != &g->tape;
    if (!ur__data_reserve(g, bytes, &offset))
        return (ur_node){ g, 0, 0 };
    *data = (rules ? g->consts.p : g->data.p) + offset;
    int64_t attr = (int64_t)offset;
    return ur__append(g, at, rules ? &ur__op_constant : &ur__op_input, NULL, 0, &attr, 1, s,
                      (int)type, 0);
}

static ur_node new_leaf(ur_at at, ur_graph *g, const char *what, const void *data, int rank,
                        const int *dim, ur_type type)
{
    ur_node nil = { g, 0, 0 };
    if (!g || g->owner.failed)
        return nil;
    ur_shape s = { .rank = rank };
    if (rank < 0 || rank > UR_MAX_RANK)
        return ur__fail_at(g, at, what, "rank %d, but ranks go from 0 to %d", rank, UR_MAX_RANK),
               nil;
    size_t count = 1;
    for (int i = 0; i < rank; i++)
        s.dim[i] = dim[i];
    for (int i = 0; i < rank; i++) {
        if (dim[i] < 0)
            return ur__fail_at(g, at, what, "%s has the negative size %d", ur_shape_text(s),
                               dim[i]), nil;
        if (dim[i] && count > (size_t)PTRDIFF_MAX / 16 / (size_t)dim[i])
            return ur__fail_at(g, at, what, "%s has more elements than memory can hold",
                               ur_shape_text(s)), nil;
        count *= (size_t)dim[i];
    }
    void *to;
    ur_node x = ur__leaf(g, at, &s, type, &to);
    if (!ur__live(x))
        return nil;
    size_t bytes = count * ur__type_size((int)type);
    if (data && bytes)
        memcpy(to, data, bytes);
    else if (bytes)
        memset(to, 0, bytes);
    return x;
}

ur_node ur_input_at(ur_at at, ur_graph *g, const void *data, int rank, const int *dim)
{
    return new_leaf(at, g, "input", data, rank, dim, g ? g->precision : UR_F32);
}

ur_node ur_ints_at(ur_at at, ur_graph *g, const int32_t *data, int rank, const int *dim)
{
    return new_leaf(at, g, "ints", data, rank, dim, UR_I32);
}

ur_node ur_zeros_at(ur_at at, ur_graph *g, int rank, const int *dim)
{
    return new_leaf(at, g, "zeros", NULL, rank, dim, g ? g->precision : UR_F32);
}

static void store_scalar(void *to, ur_type type, double value)
{
    if (type == UR_F64)
        *(double *)to = value;
    else if (type == UR_F32)
        *(float *)to = (float)value;
    else
        *(int32_t *)to = (int32_t)value;
}

ur_node ur_scalar_at(ur_at at, ur_graph *g, double value)
{
    ur_node nil = { g, 0, 0 };
    if (!g || g->owner.failed)
        return nil;
    ur_shape s = { .rank = 0 };
    void *to = NULL;
    ur_node x = ur__leaf(g, at, &s, g->precision, &to);
    if (ur__live(x))
        store_scalar(to, g->precision, value);
    return x;
}

ur_node (ur_scalar)(ur_graph *g, double value)
{
    return ur_scalar_at(NULL, g, value);
}

void *ur__leaf_data(ur_graph *g, ur_node x)
{
    const ur__node *n = &g->tape.node[x.id];
    const int64_t *a = g->tape.attr + n->attr;
    if (n->op == &ur__op_input)
        return g->data.p + a[0];
    if (n->op == &ur__op_import || n->op == &ur__op_state)
        return g->data.p + a[2];
    return NULL;
}

static void *settable(ur_node leaf, const char *what)
{
    ur_graph *g = ur_graph_of(leaf);
    if (!g || g->owner.failed)
        return NULL;
    if (!ur__live(leaf)) {
        ur__fail(&g->owner, "%s: the leaf %s", what, ur__gone(leaf));
        return NULL;
    }
    if (g->tape.node[leaf.id].op != &ur__op_input) {
        ur__fail(&g->owner, "%s: %s, but only leaves can be set, made by ur_input, ur_ints, "
                 "ur_zeros or ur_scalar", what, ur_called(leaf, NULL, 0));
        return NULL;
    }
    g->changed |= leaf.id < g->done;
    return ur__leaf_data(g, leaf);
}

bool ur_set(ur_node leaf, const void *data)
{
    void *to = settable(leaf, "set");
    if (!to)
        return false;
    if (!data)
        return ur__fail(&ur_graph_of(leaf)->owner, "set: %s, but the data is NULL",
                        ur_called(leaf, NULL, 0));
    memcpy(to, data, ur_count(leaf) * ur__type_size((int)ur_type_of(leaf)));
    return true;
}

bool ur_set_scalar(ur_node leaf, double value)
{
    void *to = settable(leaf, "set_scalar");
    if (!to)
        return false;
    if (ur_count(leaf) != 1)
        return ur__fail(&ur_graph_of(leaf)->owner, "set_scalar: %s, but a scalar is one number",
                        ur_called(leaf, NULL, 0));
    store_scalar(to, ur_type_of(leaf), value);
    return true;
}

/* --------------------------------------------------------------------------------------- states */

static bool other_precision(ur_graph *g, ur_at at, const char *what, const ur_params *ps)
{
    return ur__fail_at(g, at, what, "the states are %s but the graph is %s",
                       ps->type == UR_F64 ? "UR_F64" : "UR_F32",
                       g->precision == UR_F64 ? "UR_F64" : "UR_F32");
}

bool ur_state_in_at(ur_at at, ur_graph *g, ur_params *ps, ur_node s[])
{
    for (size_t k = 0; ps && k < ps->n; k++)
        s[k] = (ur_node){ g, 0, 0 };
    for (size_t k = 0; ps && k < ps->n; k++)
        s[k] = (ur_node){ g, 0, 0 };            /* what is left of them after an error */
    if (!g || !ps || g->owner.failed)
        return false;
    if (ps->owner.failed)
        return ur__fail_at(g, at, "state_in", "the store has failed: %s", ps->owner.error);
    if (ps->type != g->precision)
        return other_precision(g, at, "state_in", ps);
    uint32_t slot = ur__slot_of(g, ps);
    if (slot == UINT32_MAX)
        return false;
    for (size_t k = 0; k < ps->n; k++) {
        uint64_t offset;
        if (!ur__data_reserve(g, ps->param[k].count * ur__type_size((int)ps->type), &offset))
            return false;
        int64_t attr[3] = { slot, (int64_t)k, (int64_t)offset };
        s[k] = ur__append(g, at, &ur__op_state, NULL, 0, attr, 3, &ps->param[k].shape,
                          (int)ps->type, 0);
        if (!ur__live(s[k]))
            return false;
    }
    return true;
}

bool ur_state_out_at(ur_at at, ur_params *ps, const ur_node s[])
{
    ur_graph *g = NULL;
    for (size_t k = 0; ps && !g && k < ps->n; k++)
        g = ur_graph_of(s[k]);
    if (!g)
        return ps && (ps->n == 0 || ur__fail(&ps->owner, "%sstate_out: none of the %zu values is "
                                             "on a graph", ur__place(at), ps->n));
    if (g->owner.failed)
        return false;
    if (ps->type != g->precision)
        return other_precision(g, at, "state_out", ps);
    uint32_t slot = ur__slot_of(g, ps);
    if (slot == UINT32_MAX)
        return false;
    for (size_t k = 0; k < ps->n; k++) {
        ur_shape got = ur_shape_of(s[k]), want = ps->param[k].shape;
        if (!ur__live(s[k]) || s[k].owner != g)
            return ur__fail_at(g, at, "state_out", "the new value of %s %s", ps->param[k].name,
                               ur__live(s[k]) ? "is not on the graph of the others"
                                              : ur__gone(s[k]));
        if (ur_type_of(s[k]) == UR_I32)
            return ur__fail_at(g, at, "state_out", "the new value of %s is int32, but states are "
                               "numbers: ur_cast makes them of int32", ps->param[k].name);
        if (got.rank != want.rank || memcmp(got.dim, want.dim, sizeof(int) * (size_t)got.rank))
            return ur__fail_at(g, at, "state_out", "%s is %s but the new value is %s",
                               ps->param[k].name, ur_shape_text(want), ur_shape_text(got));
        int64_t attr[2] = { slot, (int64_t)k };
        ur_shape scalar = { .rank = 0 };
        ur__append(g, at, &ur__op_state_out, &s[k].id, 1, attr, 2, &scalar, (int)g->precision, 0);
    }
    return !g->owner.failed;
}

/* ---------------------------------------------------------------------------------------- reads */

static const void *kept_value(ur_graph *g, ur_node x)
{
    const void *leaf = ur__leaf_data(g, x);
    if (leaf)
        return leaf;
    const ur__node *n = &g->tape.node[x.id];
    if (n->op == &ur__op_param) {
        const int64_t *a = g->tape.attr + n->attr;
        return ur_param_values((ur_node){ g->slot[a[0]].store, (uint32_t)a[1], 1 });
    }
    for (size_t i = 0; i < g->n_kept; i++)
        if (g->kept[i].id == x.id)
            return g->data.p + g->kept[i].loc.offset;
    return NULL;
}

ur_node ur_keep(ur_node x)
{
    ur_graph *g = ur_graph_of(x);
    if (!g || g->owner.failed || !ur__live(x) || g->into != &g->tape)
        return x;
    ur__node *n = &g->tape.node[x.id];
    if (!(n->flags & UR__KEEP)) {
        n->flags |= UR__KEEP;
        g->tape.hash = ur__mix(g->tape.hash, x.id);
        g->pending |= x.id < g->done && !kept_value(g, x);
    }
    return x;
}

const void *ur_data(ur_node x)
{
    if (!x.owner)
        return NULL;
    if (((ur__owner *)x.owner)->what == UR__STORE)
        return ur__live(x) ? ur_param_values(x) : NULL;
    ur_graph *g = x.owner;
    if (g->owner.failed)
        return NULL;
    if (!ur__live(x))
        return ur__fail(&g->owner, "read: the node %s", ur__gone(x)), NULL;
    if (x.id >= g->done || !kept_value(g, x)) {
        ur_keep(x);
        if (!ur_run(g))
            return NULL;
    }
    return kept_value(g, x);
}

bool ur_read(ur_node x, void *out, size_t n)
{
    const void *p = ur_data(x);
    if (!p)
        return false;
    if (n != ur_count(x))
        return ur__fail(x.owner, "read: %s, but %zu elements are asked for",
                        ur_called(x, NULL, 0), n);
    if (n)
        memcpy(out, p, n * ur__type_size((int)ur_type_of(x)));
    return true;
}

double ur_value(ur_node x)
{
    const void *p = ur_data(x);
    if (!p)
        return (double)NAN;
    if (ur_count(x) != 1) {
        ur__fail(x.owner, "value: %s, but a value is one number", ur_called(x, NULL, 0));
        return (double)NAN;
    }
    switch (ur_type_of(x)) {
    case UR_F64: return *(const double *)p;
    case UR_F32: return (double)*(const float *)p;
    default: return *(const int32_t *)p;
    }
}

int32_t ur_int(ur_node x)
{
    double v = ur_value(x);
    return v == v ? (int32_t)v : -1;
}
