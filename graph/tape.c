/* The tape: recording nodes, interning shapes, importing parameters.
 *
 * Recording is the only thing that a training loop repeats for every node of every step, so it
 * appends to arrays and folds a hash, and does nothing else. */
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

bool ur__live(ur_node x)
{
    if (!x.owner || x.generation != ((ur__owner *)x.owner)->generation)
        return false;
    if (((ur__owner *)x.owner)->what == UR__STORE)
        return x.id < ((ur_params *)x.owner)->n;
    return x.id < ur__graph(x)->into->n;
}

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

int ur_dim(ur_node x, int axis)
{
    ur_shape s = ur_shape_of(x);
    int k = axis < 0 ? s.rank + axis : axis;
    return k >= 0 && k < s.rank ? s.dim[k] : -1;
}

size_t ur_count(ur_node x)
{
    ur_shape s = ur_shape_of(x);
    return s.rank < 0 ? 0 : ur__elements(&s);
}

ur_type ur_type_of(ur_node x)
{
    if (ur__live(x) && ((ur__owner *)x.owner)->what == UR__GRAPH)
        return (ur_type)ur__at(ur__graph(x), x.id)->type;
    return ur__live(x) ? ((ur_params *)x.owner)->type : UR_F32;
}

static bool reserve_tape(ur__tape *t, size_t operands, size_t attrs)
{
    if (t->n < t->cap && t->n < t->origin_cap && t->n_operands + operands <= t->operand_cap &&
        t->n_attrs + attrs <= t->attr_cap)
        return true;
    return t->n < UINT32_MAX - 1 &&
           ur__reserve(&t->node, &t->cap, t->n + 1, sizeof *t->node) &&
           ur__reserve(&t->origin, &t->origin_cap, t->n + 1, sizeof *t->origin) &&
           ur__reserve(&t->operand, &t->operand_cap, t->n_operands + operands,
                       sizeof *t->operand) &&
           ur__reserve(&t->attr, &t->attr_cap, t->n_attrs + attrs, sizeof *t->attr);
}

/* One step of the structural hash: cheap, since it runs for every word of every node; a hit is
 * confirmed by comparison. */
static inline uint64_t fold(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

static ur_node append(ur_graph *g, ur_at at, const ur_op *op, const uint32_t in[], size_t n_in,
                      const int64_t attr[], size_t n_attr, uint32_t shape, int type, int flags)
{
    ur__tape *t = g->into;
    if (!reserve_tape(t, n_in, n_attr)) {
        ur__out_of_memory(&g->owner);
        return (ur_node){ g, 0, 0 };
    }
    uint64_t h = fold(t->hash, (uint64_t)(uintptr_t)op ^ (uint64_t)shape << 40 ^ (uint64_t)type);
    for (size_t i = 0; i < n_in; i++) {
        t->operand[t->n_operands + i] = in[i];
        h = fold(h, in[i]);
    }
    for (size_t i = 0; i < n_attr; i++) {
        t->attr[t->n_attrs + i] = attr[i];
        h = fold(h, (uint64_t)attr[i]);
    }
    t->hash = h;
    t->node[t->n] = (ur__node){
        .op = op, .shape = shape, .in = (uint32_t)t->n_operands, .n_in = (uint32_t)n_in,
        .attr = (uint32_t)t->n_attrs, .n_attr = (uint16_t)n_attr, .type = (uint8_t)type,
        .flags = (uint8_t)flags,
    };
    t->origin[t->n] = g->rule_of ? *g->rule_of
                                 : (ur__origin){ .at = at, .scope = g->scope };
    t->origin[t->n].anchor = g->anchor;
    t->n_operands += n_in;
    t->n_attrs += n_attr;
    return ur__node_of(g, (uint32_t)t->n++);
}

ur_node ur__append(ur_graph *g, ur_at at, const ur_op *op, const uint32_t in[], size_t n_in,
                   const int64_t attr[], size_t n_attr, const ur_shape *s, int type, int flags)
{
    uint32_t shape = ur__intern(g, s);
    if (shape == UINT32_MAX)
        return (ur_node){ g, 0, 0 };
    return append(g, at, op, in, n_in, attr, n_attr, shape, type, flags);
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

static ur_node import(ur_graph *g, ur_at at, ur_node W)
{
    ur_params *ps = W.owner;
    uint32_t k = ur__slot_of(g, ps);
    if (k == UINT32_MAX || !grow_imports(g, &g->slot[k], ps->n))
        return (ur_node){ g, 0, 0 };
    ur__slot *s = &g->slot[k];
    if (s->stamp[W.id] == g->owner.generation)
        return ur__node_of(g, s->import[W.id]);
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

ur_node ur_use_at(ur_at at, ur_graph *g, ur_node W)
{
    ur_node nil = { g, 0, 0 };
    if (!g || g->owner.failed)
        return nil;
    if (!ur__live(W)) {
        ur__fail_at(g, at, "use", "the parameter is nil");
        return nil;
    }
    return ((ur__owner *)W.owner)->what == UR__STORE ? import(g, at, W) : W;
}

ur_node (ur_use)(ur_graph *g, ur_node W)
{
    return ur_use_at(NULL, g, W);
}

/* -------------------------------------------------------------------------------------- ur_record */

typedef struct recording {
    ur_graph *g;
    ur_at at;
    const ur_op *op;
    const ur_node *in;
} recording;

/* The graph of the operands: the first that one belongs to. */
static ur_graph *graph_of_operands(const ur_node in[], int n)
{
    for (int i = 0; i < n; i++)
        if (in[i].owner && ((ur__owner *)in[i].owner)->what == UR__GRAPH)
            return in[i].owner;
    return NULL;
}

bool ur_refuse(ur_shaping *s, const char *format, ...)
{
    recording *r = s->self;
    char expanded[400], text[500];
    size_t n = 0;
    for (const char *f = format; *f && n + 1 < sizeof expanded; f++) {
        if (*f == '%' && f[1] >= '0' && f[1] <= '9') {
            const char *called = ur__called(r->in[f[1] - '0'], r->at, f[1] - '0');
            for (; *called && n + 2 < sizeof expanded; called++) {
                if (*called == '%')
                    expanded[n++] = '%';
                expanded[n++] = *called;
            }
            f++;
        } else {
            expanded[n++] = *f;
        }
    }
    expanded[n] = 0;
    va_list args;
    va_start(args, format);
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#endif
    vsnprintf(text, sizeof text, expanded, args);
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
    va_end(args);
    return ur__fail_at(r->g, r->at, r->op->name, "%s", text);
}

/* Operands of one graph, parameters imported, none nil or stale. */
static bool check_operands(recording *r, const ur_node in[], int n, uint32_t id[], int *flags)
{
    ur_graph *g = r->g;
    for (int i = 0; i < n; i++) {
        ur_node x = in[i];
        if (!ur__live(x)) {
            char name[64];
            ur__argument(r->at, i, name, sizeof name);
            return ur__fail_at(g, r->at, r->op->name, "operand %d%s%s %s", i + 1,
                               name[0] ? ", " : "", name,
                               !x.owner || !x.generation
                                   ? "is nil"
                                   : "is of a tape that was cleared since");
        }
        if (x.owner != g) {
            if (((ur__owner *)x.owner)->what == UR__GRAPH)
                return ur__fail_at(g, r->at, r->op->name,
                                   "operands of two graphs: %p and %p", (void *)g, x.owner);
            x = import(g, r->at, x);
            if (!ur__live(x))
                return false;
        }
        id[i] = x.id;
        *flags |= ur__at(g, x.id)->flags & UR__GROWS;
    }
    return true;
}

/* Elementwise: sizes equal, or 1, or a missing leading axis. */
static bool broadcast_shape(ur_shaping *s)
{
    s->out = s->in[0];
    for (int k = 0; k < s->n_in; k++) {
        const ur_shape *b = &s->in[k];
        if (s->type_in[k] == UR_I32)
            return ur_refuse(s, k == 0 ? "%0, but elementwise operations take numbers of the "
                                         "graph's precision: cast it"
                             : k == 1 ? "%1, but elementwise operations take numbers of the "
                                        "graph's precision: cast it"
                                      : "%2, but elementwise operations take numbers of the "
                                        "graph's precision: cast it");
        if (b->rank > s->out.rank) {
            int shift = b->rank - s->out.rank;
            memmove(s->out.dim + shift, s->out.dim, sizeof(int) * (size_t)s->out.rank);
            for (int i = 0; i < shift; i++)
                s->out.dim[i] = 1;
            s->out.rank = b->rank;
        }
        for (int i = 0; i < b->rank; i++) {
            int *o = &s->out.dim[s->out.rank - b->rank + i];
            if (*o == 1)
                *o = b->dim[i];
            else if (b->dim[i] != 1 && b->dim[i] != *o)
                return ur_refuse(s, s->n_in > 2 ? "%0, %1 and %2: sizes %d and %d of axis %d from "
                                                  "the end differ"
                                                : "%0 but %1: sizes %d and %d of axis %d from the "
                                                  "end differ", *o, b->dim[i], b->rank - i);
        }
    }
    return true;
}

enum { FEW = 16 };

/* The general path: the op's shape rule. */
static bool infer(recording *r, const uint32_t id[], int n_in, const int64_t attr[], int n_attr,
                  ur_shape *out, int *type)
{
    ur_graph *g = r->g;
    ur_shape few_shapes[FEW], *shape = few_shapes;
    ur_type few_types[FEW], *types = few_types;
    if (n_in > FEW) {
        shape = ur__realloc(NULL, 0, (size_t)n_in * sizeof *shape);
        types = ur__realloc(NULL, 0, (size_t)n_in * sizeof *types);
    }
    bool ok = shape && types;
    if (!ok)
        ur__out_of_memory(&g->owner);
    for (int i = 0; ok && i < n_in; i++) {
        const ur__node *x = ur__at(g, id[i]);
        shape[i] = g->shape[x->shape].s;
        types[i] = (ur_type)x->type;
    }
    ur_shaping s = { .n_in = n_in, .in = shape, .type_in = types, .attr = attr, .n_attr = n_attr,
                     .type = g->precision, .self = r };
    ok = ok && (r->op->kind == UR_MAP && !r->op->shape ? broadcast_shape(&s) : r->op->shape(&s));
    *out = s.out;
    *type = (int)s.type;
    if (n_in > FEW) {
        ur__realloc(shape, (size_t)n_in * sizeof *shape, 0);
        ur__realloc(types, (size_t)n_in * sizeof *types, 0);
    }
    bool moved = n_in > 0 && ur__at(g, id[0])->type == UR_I32;     /* a slice of ids holds ids */
    return ok && (s.type != UR_I32 || moved || r->op->flags & (UR_FLAT | UR_INT_OUT) ||
                  ur__fail_at(g, r->at, r->op->name, "an op with int32 results must be UR_INT_OUT"));
}

/* The shortest way: an elementwise op whose operands are live nodes of this tape, of one shape and of
 * the graph's precision. UINT32_MAX for anything else. */
static uint32_t common_shape(const ur_graph *g, const ur_node in[], int n_in, uint32_t id[],
                             int *flags)
{
    uint32_t shape = UINT32_MAX;
    int grows = 0;
    for (int i = 0; i < n_in; i++) {
        if (in[i].owner != g || in[i].generation != g->owner.generation ||
            in[i].id >= g->into->n)
            return UINT32_MAX;
        const ur__node *x = ur__at(g, in[i].id);
        if (x->type != g->precision || (i && x->shape != shape))
            return UINT32_MAX;
        shape = x->shape;
        id[i] = in[i].id;
        grows |= x->flags & UR__GROWS;
    }
    *flags = grows;
    return shape;
}

ur_node ur_record(ur_at at, const ur_op *op, const ur_node in[], int n_in, const int64_t attr[],
                  int n_attr)
{
    ur_graph *g = graph_of_operands(in, n_in);
    ur_node nil = { g, 0, 0 };
    if (!g && n_in > 0 && ur__live(in[0]) && ((ur__owner *)in[0].owner)->what == UR__STORE)
        ur__fail(in[0].owner, "%s%s: operands are parameters alone: bring one to a graph by ur_use",
                 ur__place(at), op->name);
    if (!g || g->owner.failed)
        return nil;
    recording r = { g, at, op, in };
    uint32_t few[FEW], *id = few;
    int flags = 0;
    if (n_in > FEW && !(id = ur__realloc(NULL, 0, (size_t)n_in * sizeof *id))) {
        ur__out_of_memory(&g->owner);
        return nil;
    }
    ur_shape out;
    int type = (int)g->precision;
    ur_node y = nil;
    uint32_t shape;
    if (n_in == op->n_in && op->rule && op->kind == UR_MAP && !op->shape &&
        (shape = common_shape(g, in, n_in, id, &flags)) != UINT32_MAX)
        return append(g, at, op, id, (size_t)n_in, attr, (size_t)n_attr, shape, type, flags);
    if (op->n_in >= 0 && op->n_in != n_in)
        ur__fail_at(g, at, op->name, "takes %d operands, not %d", op->n_in, n_in);
    else if (!op->rule && !(op->flags & (UR_FLAT | UR_INT_OUT)))
        ur__fail_at(g, at, op->name, "the op has neither a gradient rule nor the mark UR_FLAT");
    else if (op->rule && op->lo >= op->hi && !op->sample)
        ur__fail_at(g, at, op->name, "the op has no samples for the gradient check");
    else if (check_operands(&r, in, n_in, id, &flags) &&
             infer(&r, id, n_in, attr, n_attr, &out, &type)) {
        if (op->flags & (UR_FLAT | UR_INT_OUT))
            flags = 0;
        y = ur__append(g, at, op, id, (size_t)n_in, attr, (size_t)n_attr, &out, type, flags);
    }
    if (n_in > FEW)
        ur__realloc(id, (size_t)n_in * sizeof *id, 0);
    return y;
}
