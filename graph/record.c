/* Recording: from an operation and its operands to a node on the tape.
 *
 * It is the only thing that a training loop repeats for every node of every step. In the common
 * case it looks up what the shape rule said of such operands before, appends to arrays and folds a
 * hash, and does nothing else. */
#include "graph/internal.h"

typedef struct recording {
    ur_graph *g;
    ur_at at;
    const ur_op *op;
    const ur_node *in;
} recording;

/* Appends a node for which there is room and whose operands and attributes lie in their places,
 * behind those of the nodes before. The hash of a recorded tape, by which a plan for it is found,
 * is folded from those of nodes, so that no node waits for the one before: h is that of the op, the
 * operands and the attributes. */
static inline ur_node push(ur_graph *g, ur_at at, const ur_op *op, uint32_t n_in, uint32_t n_attr,
                           uint32_t shape, int type, int flags, uint64_t h)
{
    ur__tape *const t = g->into;
    const size_t n = t->n++;
    ur__node *const x = &t->node[n];    /* by fields: a literal would be zeroed as a block first */
    x->op = op;
    x->shape = shape;
    x->in = (uint32_t)t->n_operands;
    x->n_in = n_in;
    x->attr = (uint32_t)t->n_attrs;
    x->n_attr = (uint16_t)n_attr;
    x->type = (uint8_t)type;
    x->flags = (uint8_t)flags;
    x->unused = 0;
    t->n_operands += n_in;
    t->n_attrs += n_attr;
    ur__origin *const o = &t->origin[n];
    o->at = g->rule_of ? g->rule_of->at : at;
    o->scope = g->rule_of ? g->rule_of->scope : g->scope;
    o->anchor = g->anchor;
    h ^= (uint64_t)shape << 40 ^ (uint64_t)type;
    t->hash = ur__fold(t->hash, h ^ h >> 32);
    return ur__node_of(g, (uint32_t)n);
}

static inline ur_node append(ur_graph *g, ur_at at, const ur_op *op, const uint32_t in[],
                             uint32_t n_in, const int64_t attr[], uint32_t n_attr, uint32_t shape,
                             int type, int flags)
{
    ur__tape *const t = g->into;
    if (!ur__tape_room(t, n_in, n_attr)) {
        ur__out_of_memory(&g->owner);
        return (ur_node){ g, 0, 0 };
    }
    uint32_t *const operand = t->operand + t->n_operands;
    int64_t *const word = t->attr + t->n_attrs;
    uint64_t h = (uintptr_t)op;
    for (uint32_t i = 0; i < n_in; i++)
        h = ur__blend(h, operand[i] = in[i]);
    for (uint32_t i = 0; i < n_attr; i++)
        h = ur__blend(h, (uint64_t)(word[i] = attr[i]));
    return push(g, at, op, n_in, n_attr, shape, type, flags, h);
}

ur_node ur__append_shaped(ur_graph *g, ur_at at, const ur_op *op, const uint32_t in[], size_t n_in,
                          const int64_t attr[], size_t n_attr, uint32_t shape, int type, int flags)
{
    return append(g, at, op, in, (uint32_t)n_in, attr, (uint32_t)n_attr, shape, type, flags);
}

ur_node ur__append(ur_graph *g, ur_at at, const ur_op *op, const uint32_t in[], size_t n_in,
                   const int64_t attr[], size_t n_attr, const ur_shape *s, int type, int flags)
{
    uint32_t shape = ur__intern(g, s);
    if (shape == UINT32_MAX)
        return (ur_node){ g, 0, 0 };
    return ur__append_shaped(g, at, op, in, n_in, attr, n_attr, shape, type, flags);
}

static inline bool of_graph(ur_node x)
{
    return x.owner && ((const ur__owner *)x.owner)->what == UR__GRAPH;
}

/* The graph of the operands: the first that one belongs to. */
static ur_graph *graph_of_operands(const ur_node in[], int n)
{
    for (int i = 0; i < n; i++)
        if (of_graph(in[i]))
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
            const char *called = ur_called(r->in[f[1] - '0'], r->at, f[1] - '0');
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

/* Without a graph there is a store to tell the error to, unless nodes are nil: then there was an
 * error before. */
static void refuse_without_graph(ur_at at, const ur_op *op, const ur_node in[], int n)
{
    for (int i = 0; i < n; i++)
        if (!ur__live(in[i]))
            return;
    if (n > 0)
        ur__fail(in[0].owner, "%s%s: operands are parameters alone: bring one to a graph by "
                              "ur_use", ur__place(at), op->name);
}

/* The graph of the recording is that of an operand before `other`. */
static bool refuse_two_graphs(const recording *r, int other)
{
    int k = 0;
    while (r->in[k].owner != r->g)
        k++;
    return ur__fail_at(r->g, r->at, r->op->name, "operands of two graphs: %s of one, %s of the "
                       "other", ur_called(r->in[k], r->at, k),
                       ur_called(r->in[other], r->at, other));
}

/* Operands of one graph, parameters imported, none nil or stale. */
static bool check_operands(const recording *r, int n, uint32_t id[], int *flags)
{
    ur_graph *g = r->g;
    for (int i = 0; i < n; i++) {
        ur_node x = r->in[i];
        if (!ur__live(x))
            return ur__fail_at(g, r->at, r->op->name, "%s", ur_called(x, r->at, i));
        if (x.owner != g) {
            if (((ur__owner *)x.owner)->what == UR__GRAPH)
                return refuse_two_graphs(r, i);
            x = ur__import(g, r->at, x);
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
            return ur_refuse(s, k == 0 ? "%0, but numbers are needed: ur_cast makes them of int32"
                             : k == 1 ? "%1, but numbers are needed: ur_cast makes them of int32"
                                      : "%2, but numbers are needed: ur_cast makes them of int32");
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

/* Operands, as of a stack of many steps, that do not fit these lie beside the tape's texts until it
 * is cleared: in the steady state that is no allocation. */
enum { FEW = 16 };

/* The general path: the op's shape rule. */
static bool infer(recording *r, const uint32_t id[], int n_in, const int64_t attr[], int n_attr,
                  ur_shape *out, int *type)
{
    ur_graph *g = r->g;
    ur_shape few_shapes[FEW], *shape = few_shapes;
    ur_type few_types[FEW], *types = few_types;
    if (n_in > FEW) {
        shape = ur__bump_take(&g->text, (size_t)n_in * sizeof *shape);
        types = ur__bump_take(&g->text, (size_t)n_in * sizeof *types);
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
    bool moved = n_in > 0 && ur__at(g, id[0])->type == UR_I32;     /* a slice of ids holds ids */
    return ok && (s.type != UR_I32 || moved || r->op->flags & (UR_FLAT | UR_INT_OUT) ||
                  ur__fail_at(g, r->at, r->op->name,
                              "an op with int32 results must be UR_INT_OUT"));
}

static inline uint64_t operand_word(const ur__node *x)
{
    return (uint64_t)x->shape << 2 | x->type;
}

/* Whether an entry of the table of inferred shapes is that of op and these words. */
static inline bool holds(const ur__inferred *e, const ur_op *op, const uint64_t word[], int n_in,
                         int n_attr)
{
    bool same = e->op == op && e->n_in == n_in && e->n_attr == n_attr;
    for (int i = 0; i < n_in + n_attr && same; i++)
        same = e->word[i] == word[i];
    return same;
}

/* Whether a part of an operand that has its axis begins and ends within. Where it begins is left
 * out of what is remembered: the steps of a sequence are inferred once. */
static bool part_fits(const ur_op *op, const ur_shape *s, const int64_t attr[])
{
    const int64_t size = s->dim[attr[0]];
    return attr[1] >= 0 && (op == &ur__op_pad ? size <= attr[2] - attr[1]
                                              : attr[2] <= size - attr[1]);
}

/* Enters what a shape rule said of these operands. */
static void remember(ur_graph *g, const ur_op *op, const uint32_t id[], int n_in,
                     const int64_t attr[], int n_attr, uint32_t shape, int type)
{
    ur__inferred e = { .op = op, .n_in = (uint8_t)n_in, .n_attr = (uint8_t)n_attr, .out = shape,
                       .type = (uint8_t)type };
    uint64_t h = (uint64_t)(uintptr_t)op;
    if (n_in + n_attr > UR__INFER_WORDS)
        return;
    for (int i = 0; i < n_in + n_attr; i++) {
        e.word[i] = i < n_in ? operand_word(ur__at(g, id[i])) : (uint64_t)attr[i - n_in];
        if (i == n_in + 1 && ur__begins_somewhere(op))
            e.word[i] = 0;
        h = ur__fold(h, e.word[i]);
    }
    g->inferred[h % UR__INFERRED] = e;
}

/* The shape and type of the result by the op's rule. */
static ur_node append_inferred(recording *r, const uint32_t id[], int n_in,
                               const int64_t attr[], int n_attr, int flags)
{
    ur_graph *g = r->g;
    ur_shape out;
    int type = (int)g->precision;
    if (!infer(r, id, n_in, attr, n_attr, &out, &type))
        return (ur_node){ g, 0, 0 };
    ur_node y = ur__append(g, r->at, r->op, id, (size_t)n_in, attr, (size_t)n_attr, &out, type,
                           flags);
    if (ur__live(y))
        remember(g, r->op, id, n_in, attr, n_attr, ur__at(g, y.id)->shape, type);
    return y;
}

/* The long way, with every check. */
static ur_node record(recording *r, int n_in, const int64_t attr[], int n_attr)
{
    ur_graph *g = r->g;
    const ur_op *op = r->op;
    ur_node y = { g, 0, 0 };
    uint32_t few[FEW], *id = few;
    int flags = 0;
    if (n_in > FEW && !(id = ur__bump_take(&g->text, (size_t)n_in * sizeof *id))) {
        ur__out_of_memory(&g->owner);
        return y;
    }
    if (op->n_in >= 0 && op->n_in != n_in)
        ur__fail_at(g, r->at, op->name, "takes %d operand%s, not %d", op->n_in,
                    op->n_in == 1 ? "" : "s", n_in);
    else if (!op->rule && !(op->flags & (UR_FLAT | UR_INT_OUT)))
        ur__fail_at(g, r->at, op->name,
                    "the op has neither a gradient rule nor the mark UR_FLAT");
    else if (op->rule && op->lo >= op->hi && !op->sample)
        ur__fail_at(g, r->at, op->name, "the op has no samples for the gradient check");
    else if (check_operands(r, n_in, id, &flags))
        y = append_inferred(r, id, n_in, attr, n_attr,
                            op->flags & (UR_FLAT | UR_INT_OUT) ? 0 : flags);
    return y;
}

/* The shortest: an elementwise op whose operands are live nodes of this tape, of one shape and of
 * the graph's precision. False for anything else. */
static inline bool record_alike(ur_graph *g, ur_at at, const ur_op *op, const ur_node in[],
                                int n_in, ur_node *y)
{
    ur__tape *const t = g->into;
    const uint32_t generation = g->owner.generation, type = (uint32_t)g->precision;
    uint64_t h = (uintptr_t)op;
    uint32_t shape = UINT32_MAX;
    int flags = 0;
    if (!ur__tape_room(t, (size_t)n_in, 0))
        return false;
    uint32_t *const operand = t->operand + t->n_operands;
    for (int i = 0; i < n_in; i++) {
        const uint32_t id = in[i].id;
        if (in[i].owner != g || in[i].generation != generation || id >= t->n)
            return false;
        const ur__node *x = &t->node[id];
        if (x->type != type || (i && x->shape != shape))
            return false;
        shape = x->shape;
        flags |= x->flags;
        h = ur__blend(h, operand[i] = id);
    }
    *y = push(g, at, op, (uint32_t)n_in, 0, shape, (int)type, flags & UR__GROWS, h);
    return true;
}

/* Operands that are live nodes of this tape, or parameters, of sizes that the rule was asked for
 * before. Everything else was checked then. */
static bool record_known(ur_graph *g, ur_at at, const ur_op *op, const ur_node in[], int n_in,
                         const int64_t attr[], int n_attr, ur_node *y)
{
    uint64_t word[UR__INFER_WORDS], h = (uint64_t)(uintptr_t)op;
    uint32_t id[UR__INFER_WORDS];
    int n = 0, flags = 0;
    if (n_in + n_attr > UR__INFER_WORDS)
        return false;
    for (; n < n_in; n++) {
        ur_node u = in[n];
        if (u.owner != g && ur__live(u) && !of_graph(u))
            u = ur__import(g, at, u);
        if (u.owner != g || !ur__live(u))
            return false;
        const ur__node *x = ur__at(g, u.id);
        id[n] = u.id;
        word[n] = operand_word(x);
        flags |= x->flags;
        h = ur__fold(h, word[n]);
    }
    const bool part = ur__begins_somewhere(op);
    for (int i = 0; i < n_attr; i++, n++) {
        word[n] = part && i == 1 ? 0 : (uint64_t)attr[i];
        h = ur__fold(h, word[n]);
    }
    const ur__inferred *e = &g->inferred[h % UR__INFERRED];
    if (!holds(e, op, word, n_in, n_attr) ||
        (part && !part_fits(op, &g->shape[ur__at(g, id[0])->shape].s, attr)))
        return false;
    *y = append(g, at, op, id, (uint32_t)n_in, attr, (uint32_t)n_attr, e->out, e->type,
                op->flags & (UR_FLAT | UR_INT_OUT) ? 0 : flags & UR__GROWS);
    return true;
}

ur_node ur_record(ur_at at, const ur_op *op, const ur_node in[], int n_in, const int64_t attr[],
                  int n_attr)
{
    ur_graph *g = n_in > 0 && of_graph(in[0]) ? in[0].owner : graph_of_operands(in, n_in);
    if (!g)
        refuse_without_graph(at, op, in, n_in);
    if (!g || g->owner.failed)
        return (ur_node){ g, 0, 0 };
    ur_node y;
    if (op->kind == UR_MAP && n_in == op->n_in && op->rule && !op->shape && !n_attr &&
        record_alike(g, at, op, in, n_in, &y))
        return y;
    if (record_known(g, at, op, in, n_in, attr, n_attr, &y))
        return y;
    return record(&(recording){ g, at, op, in }, n_in, attr, n_attr);
}
