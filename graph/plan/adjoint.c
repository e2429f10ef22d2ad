/* The adjoints of a request, by the rules of ops.
 *
 * The adjoint of y is the gradient of the requested sum with respect to y. Walking the tape
 * backwards, every node whose adjoint is known hands contributions to its operands by its op's
 * rule; an operand's adjoint is the sum of its contributions, kept as one n-ary node, so that the
 * planner sees the T products of a recurrent weight side by side.
 *
 * Both sweeps are loops over arrays: a tape of millions of steps needs no stack. */
#include "graph/plan/rewrite.h"

ur__fault *ur__fault_hook;
void *ur__fault_user;

bool ur_wants(const ur_rule *r, int operand)
{
    const ur__expansion *e = r->self;
    return !e->g->owner.failed && e->needs[r->in[operand].id];
}

void ur__contribute(ur__expansion *e, uint32_t to, uint32_t node)
{
    if (!ur__bump_reserve(&e->g->scratch, &e->list, &e->list_cap, e->n_list + 1,
                          sizeof *e->list)) {
        ur__out_of_memory(&e->g->owner);
        return;
    }
    e->list[e->n_list] = (ur__contribution){ node, e->head[to] };
    e->head[to] = (uint32_t)++e->n_list;
}

static void hand_over(ur__expansion *e, const ur_rule *r, int k, uint32_t node)
{
    if (e->n_given < UR__GIVEN)
        e->given[e->n_given] = (ur__given){ (uint32_t)k, node };
    e->n_given++;
    ur__contribute(e, r->in[k].id, node);
}

/* What is wrong with a contribution to operand k. */
static void refuse(const ur_rule *r, int k, ur_node x)
{
    ur_graph *g = ((const ur__expansion *)r->self)->g;
    const char *name = ur__at(g, r->y.id)->op->name;
    if (!ur__live(x) || x.owner != g)
        ur__fail_at(g, NULL, name, "the gradient rule gave nil for operand %d", k);
    else
        ur__fail_at(g, NULL, name, "the gradient rule gave %s for operand %d, which is %s",
                    ur_shape_text(ur_shape_of(x)), k, ur_shape_text(ur_shape_of(r->in[k])));
}

void ur_give(ur_rule *r, int operand, ur_node x)
{
    ur__expansion *e = r->self;
    ur_graph *g = e->g;
    const ur_node to = r->in[operand];
    if (g->owner.failed || !e->needs[to.id])
        return;
    const ur_op *op = ur__at(g, r->y.id)->op;
    if (ur__fault_hook)
        x = ur__fault_hook(ur__fault_user, op, operand, to, x);
    bool live = ur__live(x) && x.owner == g;
    if (live && ur__at(g, x.id)->shape != ur__at(g, to.id)->shape && op->kind == UR_MAP) {
        ur_shape s = ur__shape_of(to)->s;
        ur_node sum = ur__sum_rows(e, x, &s);
        if (ur__live(sum)) {
            hand_over(e, r, operand, sum.id);
            return;
        }
        x = ur__sum_to(NULL, x, &s);
        live = ur__live(x);
    }
    if (g->owner.failed)
        return;
    if (live && ur__at(g, x.id)->shape == ur__at(g, to.id)->shape)
        hand_over(e, r, operand, x.id);
    else
        refuse(r, operand, x);
}

/* The sum of the contributions to a node, one of its shape or, for [N], some of [1,N]. */
static uint32_t adjoint_of(ur__expansion *e, uint32_t id)
{
    ur_graph *g = e->g;
    const ur__contribution first = e->list[e->head[id] - 1];
    if (!first.next && ur__at(g, first.node)->shape == ur__at(g, id)->shape)
        return first.node;
    size_t n = 0;
    for (uint32_t k = e->head[id]; k; k = e->list[k - 1].next) {
        if (!ur__bump_reserve(&g->scratch, &e->terms, &e->term_cap, n + 1, sizeof *e->terms)) {
            ur__out_of_memory(&g->owner);
            return 0;
        }
        e->terms[n++] = e->list[k - 1].node;
    }
    if (n == 1) {
        const ur_shape s = g->shape[ur__at(g, id)->shape].s;
        return ur__reshape_to(NULL, ur__node_of(g, e->terms[0]), &s).id;
    }
    int flags = 0;
    for (size_t i = 0; i < n; i++)
        flags |= ur__at(g, e->terms[i])->flags & UR__GROWS;
    return ur__append_shaped(g, NULL, &ur__op_sum, e->terms, n, NULL, 0, ur__at(g, id)->shape,
                             (int)g->precision, flags).id;
}

enum { FEW = 16 };

static void ask_rule(ur__expansion *e, uint32_t id, uint32_t adjoint)
{
    ur_graph *g = e->g;
    const ur__node x = *ur__at(g, id);
    ur_node few[FEW], *in = few;
    if (x.n_in > FEW && !(in = ur__realloc(NULL, 0, x.n_in * sizeof *in))) {
        ur__out_of_memory(&g->owner);
        return;
    }
    for (uint32_t i = 0; i < x.n_in; i++)
        in[i] = ur__node_of(g, g->into->operand[x.in + i]);
    int64_t attr[FEW], *words = attr;
    if (x.n_attr > FEW && !(words = ur__realloc(NULL, 0, x.n_attr * sizeof *words))) {
        ur__out_of_memory(&g->owner);
    } else {
        if (x.n_attr)
            memcpy(words, g->into->attr + x.attr, x.n_attr * sizeof *words);
        ur_rule r = { .n_in = (int)x.n_in, .in = in, .y = ur__node_of(g, id),
                      .g = ur__node_of(g, adjoint), .attr = words, .n_attr = x.n_attr, .self = e };
        const size_t before = g->into->n;
        e->n_given = 0;
        x.op->rule(&r);
        ur__learn_rule(e, id, adjoint, before);
    }
    if (words && words != attr)
        ur__realloc(words, x.n_attr * sizeof *words, 0);
    if (in != few)
        ur__realloc(in, x.n_in * sizeof *in, 0);
}

/* Hands the adjoint of a node on to its operands. */
static void run_rule(ur__expansion *e, uint32_t id, uint32_t adjoint)
{
    ur_graph *g = e->g;
    ur__origin origin = g->into->origin[id];
    origin.anchor = adjoint;
    g->rule_of = &origin;
    g->anchor = adjoint;
    if (!ur__repeat_rule(e, id, adjoint))
        ask_rule(e, id, adjoint);
    g->rule_of = NULL;
    g->anchor = 0;
}

/* A leaf of `s` filled with one value, made by the ur__expansion itself. */
static uint32_t filled(ur_graph *g, const ur_shape *s, double value)
{
    void *data;
    ur_node x = ur__leaf(g, NULL, s, g->precision, &data);
    if (!ur__live(x))
        return 0;
    const ur__kernels *k = ur__kernels_get();
    (g->precision == UR_F64 ? &k->f64 : &k->f32)->fill(ur__elements(s), value, data);
    return x.id;
}

static bool starts(ur__expansion *e, uint32_t request, uint32_t *lo, uint32_t *hi)
{
    ur_graph *g = e->g;
    const ur__node r = e->from->node[request];
    const int64_t *a = e->from->attr + r.attr;
    const uint32_t *in = e->from->operand + r.in;
    *lo = UINT32_MAX, *hi = 0;
    for (int64_t i = 0; i < a[UR__A_YS]; i++) {
        uint32_t y = e->map[in[i]], seed;
        if (a[UR__A_SEEDS]) {
            seed = e->map[in[a[UR__A_YS] + i]];
        } else {
            ur_shape s = g->shape[ur__at(g, y)->shape].s;
            seed = filled(g, &s, 1);
        }
        ur__contribute(e, y, seed);
        *hi = y > *hi ? y : *hi;
    }
    for (int64_t j = 0; j < a[UR__A_XS]; j++) {
        uint32_t x = e->map[in[a[UR__A_YS] + a[UR__A_SEEDS] + j]];
        e->needs[x] = 1;
        *lo = x < *lo ? x : *lo;
    }
    if (a[UR__A_BACKWARD])
        *lo = 0;
    return !g->owner.failed;
}

static bool blocks_gradient(const ur_op *op)
{
    return op->flags & (UR_FLAT | UR_INT_OUT);
}

static void mark_needs(ur__expansion *e, bool backward, uint32_t lo, uint32_t hi)
{
    const ur__tape *t = e->g->into;
    for (uint32_t id = lo; id <= hi; id++) {
        const ur__node *x = &t->node[id];
        if (backward) {
            e->needs[id] = (x->flags & UR__GROWS) != 0;
        } else if (!e->needs[id] && !blocks_gradient(x->op)) {
            for (uint32_t i = 0; i < x->n_in && !e->needs[id]; i++)
                e->needs[id] = e->needs[t->operand[x->in + i]];
        }
    }
}

static bool differentiate(ur__expansion *e, uint32_t request)
{
    ur_graph *g = e->g;
    const ur__node r = e->from->node[request];
    const int64_t *a = e->from->attr + r.attr;
    e->n = g->into->n;
    e->n_list = 0;
    e->needs = ur__bump_alloc(&g->scratch, e->n);
    e->head = ur__bump_alloc(&g->scratch, e->n * sizeof *e->head);
    e->grad = ur__bump_alloc(&g->scratch, e->n * sizeof *e->grad);
    uint32_t lo, hi;
    if (!e->needs || !e->head || !e->grad)
        return ur__out_of_memory(&g->owner);
    if (!starts(e, request, &lo, &hi))
        return false;
    if (lo <= hi)
        mark_needs(e, a[UR__A_BACKWARD], lo, hi);
    for (uint32_t id = hi + 1; id-- > lo && !g->owner.failed;) {
        if (!e->head[id] || !e->needs[id])
            continue;
        uint32_t adjoint = adjoint_of(e, id);
        e->grad[id] = adjoint + 1;
        const ur_op *op = ur__at(g, id)->op;
        if (op->rule && !g->owner.failed)
            run_rule(e, id, adjoint);
        if (a[UR__A_BACKWARD] && op == &ur__op_param) {
            const int64_t *p = g->into->attr + ur__at(g, id)->attr;
            int64_t where[2] = { p[0], p[1] };
            ur_shape scalar = { .rank = 0 };
            if (e->owed[where[0]])
                ur__append(g, NULL, &ur__op_deposit, &adjoint, 1, where, 2, &scalar,
                           (int)g->precision, 0);
        }
    }
    return !g->owner.failed;
}

/* Remembers the adjoints of xs, zeros where there is none. */
static bool collect(ur__expansion *e, uint32_t request)
{
    ur_graph *g = e->g;
    const ur__node r = e->from->node[request];
    const int64_t *a = e->from->attr + r.attr;
    const uint32_t *xs = e->from->operand + r.in + a[UR__A_YS] + a[UR__A_SEEDS];
    uint32_t *results = ur__bump_alloc(&g->scratch, (size_t)(a[UR__A_XS] + 1) * sizeof *results);
    if (!results)
        return ur__out_of_memory(&g->owner);
    for (int64_t j = 0; j < a[UR__A_XS]; j++) {
        uint32_t x = e->map[xs[j]];
        ur_shape s = g->shape[ur__at(g, x)->shape].s;
        results[j] = e->grad[x] ? e->grad[x] - 1 : filled(g, &s, 0);
    }
    e->results = results;
    return true;
}

bool ur__expand_request(ur__expansion *e, uint32_t request)
{
    return differentiate(e, request) && collect(e, request);
}
