/* The tape: appending nodes, interning shapes, importing parameters. */
#include "graph/internal.h"

/* --------------------------------------------------------------------------------------- shapes */

size_t ur__elements(const ur_shape *s)
{
    size_t n = 1;
    for (int i = 0; i < s->rank; i++)
        n *= (size_t)s->dim[i];
    return n;
}

static uint64_t shape_hash(const ur_shape *s)
{
    uint64_t h = (uint64_t)s->rank;
    for (int i = 0; i < s->rank; i++)
        h = (h ^ (uint64_t)s->dim[i]) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

static bool same_shape(const ur_shape *a, const ur_shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, sizeof(int) * (size_t)a->rank) == 0;
}

static bool grow_shape_index(ur_graph *g)
{
    size_t cap = g->shape_index_cap ? 2 * g->shape_index_cap : 64;
    uint32_t *index = ur__realloc(NULL, 0, cap * sizeof *index);
    if (!index)
        return ur__out_of_memory(&g->owner);
    memset(index, 0, cap * sizeof *index);
    for (size_t i = 0; i < g->n_shapes; i++) {
        size_t k = shape_hash(&g->shape[i].s) & (cap - 1);
        while (index[k])
            k = (k + 1) & (cap - 1);
        index[k] = (uint32_t)i + 1;
    }
    ur__realloc(g->shape_index, g->shape_index_cap * sizeof *index, 0);
    g->shape_index = index;
    g->shape_index_cap = cap;
    return true;
}

uint32_t ur__intern(ur_graph *g, const ur_shape *s)
{
    if (2 * (g->n_shapes + 1) > g->shape_index_cap && !grow_shape_index(g))
        return UINT32_MAX;
    size_t k = shape_hash(s) & (g->shape_index_cap - 1);
    for (; g->shape_index[k]; k = (k + 1) & (g->shape_index_cap - 1))
        if (same_shape(&g->shape[g->shape_index[k] - 1].s, s))
            return g->shape_index[k] - 1;
    if (!ur__reserve(&g->shape, &g->shape_cap, g->n_shapes + 1, sizeof *g->shape)) {
        ur__out_of_memory(&g->owner);
        return UINT32_MAX;
    }
    ur__shape *new = &g->shape[g->n_shapes];
    memset(new, 0, sizeof *new);
    new->s.rank = s->rank;
    memcpy(new->s.dim, s->dim, sizeof(int) * (size_t)s->rank);
    new->count = ur__elements(s);
    g->shape_index[k] = (uint32_t)++g->n_shapes;
    return g->shape_index[k] - 1;
}

/* ---------------------------------------------------------------------------------------- nodes */

bool ur_is_nil(ur_node x)
{
    return !ur__live(x);
}

ur_graph *ur_graph_of(ur_node x)
{
    return x.owner && ((ur__owner *)x.owner)->what == UR__GRAPH ? x.owner : NULL;
}

ur_shape ur_shape_of(ur_node x)
{
    if (!ur__live(x))
        return (ur_shape){ .rank = -1 };
    if (((ur__owner *)x.owner)->what == UR__STORE)
        return ((ur_params *)x.owner)->param[x.id].shape;
    ur_graph *g = ur__graph(x);
    return g->shape[ur__at(g, x.id)->shape].s;
}

/* Without a copy: a node's shape, or NULL of what is not live. */
static const ur_shape *shape_at(ur_node x)
{
    if (!ur__live(x))
        return NULL;
    return ((ur__owner *)x.owner)->what == UR__STORE ? &((ur_params *)x.owner)->param[x.id].shape
                                                     : &ur__shape_of(x)->s;
}

int ur_dim(ur_node x, int axis)
{
    const ur_shape *s = shape_at(x);
    int k = !s ? -1 : axis < 0 ? s->rank + axis : axis;
    return k >= 0 && k < s->rank ? s->dim[k] : -1;
}

size_t ur_count(ur_node x)
{
    const ur_shape *s = shape_at(x);
    return s ? ur__elements(s) : 0;
}

ur_type ur_type_of(ur_node x)
{
    if (ur__live(x) && ((ur__owner *)x.owner)->what == UR__GRAPH)
        return (ur_type)ur__at(ur__graph(x), x.id)->type;
    return ur__live(x) ? ((ur_params *)x.owner)->type : UR_F32;
}

static bool room(ur__tape *t, void *array_pointer, size_t *cap, size_t n, size_t size)
{
    return t->memory ? ur__bump_reserve(t->memory, array_pointer, cap, n, size)
                     : ur__reserve(array_pointer, cap, n, size);
}

/* One more of the latter two than is asked for, so that a place in an empty list is not one after
 * NULL. */
bool ur__tape_grow(ur__tape *t, size_t nodes, size_t operands, size_t attrs)
{
    operands += t->n_operands + 1;
    attrs += t->n_attrs + 1;
    return t->n < UINT32_MAX - nodes &&
           room(t, &t->node, &t->cap, t->n + nodes, sizeof *t->node) &&
           room(t, &t->origin, &t->origin_cap, t->n + nodes, sizeof *t->origin) &&
           room(t, &t->operand, &t->operand_cap, operands, sizeof *t->operand) &&
           room(t, &t->attr, &t->attr_cap, attrs, sizeof *t->attr);
}

/* -------------------------------------------------------------------------------------- imports */

uint32_t ur__slot_of(ur_graph *g, ur_params *ps)
{
    for (size_t i = 0; i < g->n_slots; i++)
        if (g->slot[i].store == ps)
            return (uint32_t)i;
    if (!ur__reserve(&g->slot, &g->slot_cap, g->n_slots + 1, sizeof *g->slot)) {
        ur__out_of_memory(&g->owner);
        return UINT32_MAX;
    }
    g->slot[g->n_slots] = (ur__slot){ .store = ps };
    ur__params_ref(ps);
    return (uint32_t)g->n_slots++;
}

static bool grow_imports(ur_graph *g, ur__slot *s, size_t n)
{
    if (n <= s->n_import)
        return true;
    if (!ur__reserve(&s->import, &s->import_cap, n, sizeof *s->import) ||
        !ur__reserve(&s->stamp, &s->stamp_cap, n, sizeof *s->stamp))
        return ur__out_of_memory(&g->owner);
    memset(s->stamp + s->n_import, 0, (n - s->n_import) * sizeof *s->stamp);
    s->n_import = n;
    return true;
}

/* A parameter's first use on a tape. */
static ur_node import(ur_graph *g, ur_at at, ur_node W)
{
    ur_params *ps = W.owner;
    uint32_t k = ur__slot_of(g, ps);
    if (k == UINT32_MAX || !grow_imports(g, &g->slot[k], ps->n))
        return (ur_node){ g, 0, 0 };
    ur__slot *s = &g->slot[k];
    const ur__param *p = &ps->param[W.id];
    bool copy = g->copies || ps->type != g->precision;
    int64_t attr[3] = { k, W.id, p->frozen };
    if (copy) {
        uint64_t offset;
        if (!ur__data_reserve(g, p->count * ur__type_size(g->precision), &offset))
            return (ur_node){ g, 0, 0 };
        attr[2] = (int64_t)offset;
    }
    ur_node x = ur__append(g, at, copy ? &ur__op_import : &ur__op_param, NULL, 0, attr, 3,
                           &p->shape, (int)g->precision, p->frozen || copy ? 0 : UR__GROWS);
    if (ur__live(x)) {
        s->import[W.id] = x.id;
        s->stamp[W.id] = g->owner.generation;
    }
    return x;
}

ur_node ur__import(ur_graph *g, ur_at at, ur_node W)
{
    for (size_t i = 0; i < g->n_slots; i++) {
        const ur__slot *s = &g->slot[i];
        if (s->store == W.owner && W.id < s->n_import && s->stamp[W.id] == g->owner.generation)
            return ur__node_of(g, s->import[W.id]);
    }
    return import(g, at, W);
}

ur_node ur_use_at(ur_at at, ur_graph *g, ur_node W)
{
    ur_node nil = { g, 0, 0 };
    if (!g || g->owner.failed)
        return nil;
    if (!ur__live(W)) {
        ur__fail_at(g, at, "use", "%s", ur_called(W, at, 0));
        return nil;
    }
    return ((ur__owner *)W.owner)->what == UR__STORE ? ur__import(g, at, W) : W;
}

ur_node (ur_use)(ur_graph *g, ur_node W)
{
    return ur_use_at(NULL, g, W);
}
