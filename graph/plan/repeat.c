/* Rules are learned by heart: the steps of a recurrence are alike, so what an op's rule made of
 * operands of some sizes is made again from what was written down, without asking the rule.
 *
 * Most rules make nodes of their operands' sizes, whatever these are: those of elementwise ops on
 * equal sizes and of products of matrices. They are learned for all sizes at once.
 *
 * That is for the rules of built-in ops, which depend on sizes and attributes alone, make no leaves
 * and draw no numbers. Where two of operands, result and gradient are one node the rule is asked,
 * since what it names could be either. */
#include "graph/plan/rewrite.h"

enum { OPERANDS = 3, MADE = 6, WORDS = 2 + 2 * OPERANDS, TABLE = 512 };

/* What a node of a lesson refers to: an operand by its number, the result, the gradient, the nodes
 * that the rule made; or any leaf, by its id. */
enum { RESULT = OPERANDS, GRADIENT, FIRST_MADE, KNOWN = FIRST_MADE + MADE };
static const uint32_t leaf = UINT32_C(1) << 31;
/* In place of the sizes of a rule that is learned for all. */
static const uint32_t any_size = UINT32_MAX >> 2;

typedef struct made {
    const ur_op *op;
    uint32_t shape, in[OPERANDS];
    uint8_t n_in, n_attr, type;
    uint8_t like;                       /* 1 + the operand whose shape it has; 0 `shape` */
    bool part;                          /* begins where the op that is differentiated does */
    int64_t attr[OPERANDS];
} made;

struct ur__lesson {
    uint64_t word[WORDS];
    int n_words, n_made, n_given;
    ur__given given[UR__GIVEN];
    made made[];
};

/* Whether what a rule makes has the sizes of operands, whatever they are. */
static bool for_all_sizes(const ur_graph *g, const ur__node *x, const uint32_t in[])
{
    const uint32_t first = ur__at(g, in[0])->shape;
    if (x->op->kind == UR_CONTRACTION)
        return g->shape[first].s.rank == 2 && first != ur__at(g, in[1])->shape &&
               g->shape[ur__at(g, in[1])->shape].s.rank == 2;
    for (uint32_t i = 1; i < x->n_in; i++)
        if (ur__at(g, in[i])->shape != first)
            return false;
    return x->shape == first && (x->op->kind == UR_MAP || x->op->kind == UR_SUM);
}

/* What a rule depends on, as words; their number, or 0 if it cannot be repeated. */
static int describe(const ur__expansion *e, uint32_t id, uint32_t adjoint, uint64_t word[WORDS])
{
    const ur_graph *g = e->g;
    const ur__node *x = ur__at(g, id);
    const uint32_t *in = g->into->operand + x->in, n_in = x->n_in, n_attr = x->n_attr;
    const int64_t *attr = g->into->attr + x->attr;
    const ur_kind kind = x->op->kind;
    const bool part = ur__begins_somewhere(x->op);
    if (n_in > OPERANDS || n_attr > OPERANDS || adjoint == id ||
        !((kind == UR_MAP && x->op->row) || kind == UR_CONTRACTION || kind == UR_SUM || part))
        return 0;
    const bool all = for_all_sizes(g, x, in);
    uint64_t wants = 0;
    int n = 2;
    for (uint32_t i = 0; i < n_in; i++) {
        const ur__node *u = ur__at(g, in[i]);
        if (in[i] == adjoint || (i > 0 && in[i] == in[i - 1]) || (i > 1 && in[i] == in[0]))
            return 0;
        wants |= (uint64_t)e->needs[in[i]] << i;
        word[n++] = (uint64_t)(all ? any_size : u->shape) << 2 | u->type;
    }
    for (uint32_t i = 0; i < n_attr; i++)
        word[n++] = part && i == 1 ? 0 : (uint64_t)attr[i];
    word[0] = (uintptr_t)x->op;
    word[1] = wants << 8 | n_in;
    return n;
}

static ur__lesson **place(ur__expansion *e, const uint64_t word[], int n)
{
    uint64_t h = 0;
    for (int i = 0; i < n; i++)
        h = ur__fold(h, word[i]);
    return &e->lessons[h % TABLE];
}

/* Appends what a rule made. All places of operands and attributes are written, used or not: that is
 * quicker than to ask how many they are. */
static inline uint32_t put(ur_graph *g, const made *y, const uint32_t known[], int64_t begin)
{
    ur__tape *t = g->into;
    if (!ur__tape_room(t, OPERANDS, OPERANDS)) {
        ur__out_of_memory(&g->owner);
        return 0;
    }
    uint32_t *in = t->operand + t->n_operands, flags = 0;
    int64_t *attr = t->attr + t->n_attrs;
    for (int i = 0; i < OPERANDS; i++) {
        in[i] = y->in[i] & leaf ? y->in[i] & ~leaf : known[y->in[i]];
        flags |= i < y->n_in ? t->node[in[i]].flags : 0;
        attr[i] = y->attr[i];
    }
    if (y->part)
        attr[1] = begin;
    const uint32_t shape = y->like ? t->node[known[y->like - 1]].shape : y->shape;
    t->node[t->n] = (ur__node){ .op = y->op, .shape = shape, .in = (uint32_t)t->n_operands,
                                .n_in = y->n_in, .attr = (uint32_t)t->n_attrs,
                                .n_attr = y->n_attr, .type = y->type,
                                .flags = y->op->flags & UR_FLAT ? 0 : flags & UR__GROWS };
    t->origin[t->n] = *g->rule_of;
    t->origin[t->n].anchor = g->anchor;
    t->n_operands += y->n_in;
    t->n_attrs += y->n_attr;
    return (uint32_t)t->n++;
}

static inline bool same_words(const uint64_t *a, const uint64_t *b, int n)
{
    for (int i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

bool ur__repeat_rule(ur__expansion *e, uint32_t id, uint32_t adjoint)
{
    ur_graph *g = e->g;
    uint64_t word[WORDS];
    uint32_t known[KNOWN] = { 0 };
    const int n = e->lessons && !ur__fault_hook ? describe(e, id, adjoint, word) : 0;
    const ur__lesson *l = n ? *place(e, word, n) : NULL;
    if (!l || l->n_words != n || !same_words(l->word, word, n))
        return false;
    const ur__node *x = ur__at(g, id);
    const int64_t begin = x->n_attr > 1 ? g->into->attr[x->attr + 1] : 0;
    for (uint32_t i = 0; i < x->n_in; i++)
        known[i] = g->into->operand[x->in + i];
    known[RESULT] = id;
    known[GRADIENT] = adjoint;
    for (int k = 0; k < l->n_made; k++)
        known[FIRST_MADE + k] = put(g, &l->made[k], known, begin);
    for (int k = 0; k < l->n_given; k++)
        ur__contribute(e, known[l->given[k].operand], known[l->given[k].node]);
    return true;
}

/* The number under which a lesson knows a node, or UINT32_MAX. */
static uint32_t number_of(const ur_graph *g, uint32_t id, uint32_t adjoint, uint32_t u,
                          size_t before)
{
    const ur__node *x = ur__at(g, id);
    for (uint32_t i = 0; i < x->n_in; i++)
        if (g->into->operand[x->in + i] == u)
            return i;
    if (u >= before)
        return FIRST_MADE + u - (uint32_t)before;
    return u == id ? RESULT : u == adjoint ? GRADIENT
         : ur__at(g, u)->op->kind == UR_LEAF ? leaf | u : UINT32_MAX;
}

static bool write_down(const ur_graph *g, uint32_t id, uint32_t adjoint, size_t before, uint32_t u,
                       made *y)
{
    const ur__node *x = ur__at(g, id), *m = ur__at(g, u);
    const int64_t *attr = g->into->attr;
    if (m->op->kind == UR_LEAF || m->op->flags & (UR_RANDOM | UR_INT_OUT) || m->n_in > OPERANDS ||
        m->n_attr > OPERANDS)
        return false;
    *y = (made){ .op = m->op, .shape = m->shape, .n_in = (uint8_t)m->n_in,
                 .n_attr = (uint8_t)m->n_attr, .type = m->type };
    for (uint32_t i = 0; i < m->n_in; i++)
        if ((y->in[i] = number_of(g, id, adjoint, g->into->operand[m->in + i], before)) ==
            UINT32_MAX)
            return false;
    for (uint32_t i = 0; i < m->n_attr; i++)
        y->attr[i] = attr[m->attr + i];
    if (for_all_sizes(g, x, g->into->operand + x->in)) {
        for (uint32_t i = x->n_in; i-- > 0;)
            if (ur__at(g, g->into->operand[x->in + i])->shape == m->shape)
                y->like = (uint8_t)(1 + i);
        if (!y->like)
            return false;
    }
    y->part = ur__begins_somewhere(x->op) && (m->op->kind == UR_SLICE || m->op->kind == UR_PAD);
    return !y->part || y->attr[1] == attr[x->attr + 1];
}

void ur__learn_rule(ur__expansion *e, uint32_t id, uint32_t adjoint, size_t before)
{
    ur_graph *g = e->g;
    uint64_t word[WORDS];
    const size_t n_made = g->into->n - before;
    if (!e->lessons)
        e->lessons = ur__bump_alloc(&g->scratch, TABLE * sizeof *e->lessons);
    const int n = e->lessons && !ur__fault_hook ? describe(e, id, adjoint, word) : 0;
    if (!n || g->owner.failed || n_made > MADE || e->n_given > UR__GIVEN)
        return;
    ur__lesson *l = ur__bump_alloc(&g->scratch, sizeof *l + n_made * sizeof *l->made);
    if (!l)
        return;
    memcpy(l->word, word, (size_t)n * sizeof *word);
    l->n_words = n;
    for (size_t k = 0; k < n_made; k++)
        if (!write_down(g, id, adjoint, before, (uint32_t)(before + k), &l->made[k]))
            return;
    l->n_made = (int)n_made;
    for (int k = 0; k < e->n_given; k++) {
        const uint32_t u = number_of(g, id, adjoint, e->given[k].node, before);
        if (u >= KNOWN)
            return;
        l->given[k] = (ur__given){ e->given[k].operand, u };
    }
    l->n_given = e->n_given;
    *place(e, word, n) = l;
}
