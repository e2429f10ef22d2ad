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

enum { OPERANDS = 3, MADE = 6, LEAVES = 2, WORDS = 2 + 2 * OPERANDS, TABLE = 512 };

/* What a node of a lesson refers to: an operand by its number, the result, the gradient, a leaf of
 * the planner's (rowsum.c), the nodes that the rule made. */
enum { RESULT = OPERANDS, GRADIENT, LEAF, FIRST_MADE = LEAF + LEAVES, KNOWN = FIRST_MADE + MADE };

typedef struct made {
    ur__node node;                      /* but for operands, attributes and flags */
    uint32_t in[OPERANDS];              /* the first one again where there are fewer */
    int64_t attr[OPERANDS];
    uint8_t like;                       /* 1 + the operand whose shape it has; 0 the node's */
    bool part;                          /* begins where the op that is differentiated does */
} made;

struct ur__lesson {
    uint64_t word[WORDS];
    int n_words, n_made, n_given, n_leaves;
    uint32_t leaf[LEAVES];
    ur__given given[UR__GIVEN];
    made made[];
};

/* Whether what a rule makes has the sizes of operands, whatever they are. */
static inline bool for_all_sizes(const ur_graph *g, const ur__node *x, const uint32_t in[])
{
    const ur__node *const node = g->into->node;
    const uint32_t first = node[in[0]].shape;
    if (x->op->kind == UR_CONTRACTION)
        return g->shape[first].s.rank == 2 && first != node[in[1]].shape &&
               g->shape[node[in[1]].shape].s.rank == 2;
    for (uint32_t i = 1; i < x->n_in; i++)
        if (node[in[i]].shape != first)
            return false;
    return x->shape == first && (x->op->kind == UR_MAP || x->op->kind == UR_SUM);
}

static inline bool can_be_repeated(const ur__node *x)
{
    const ur_kind kind = x->op->kind;
    return x->n_in <= OPERANDS && x->n_attr <= OPERANDS &&
           ((kind == UR_MAP && x->op->row) || kind == UR_CONTRACTION || kind == UR_SUM ||
            ur__begins_somewhere(x->op));
}

/* What a rule depends on, as words; their number, or 0 if it has to be asked. */
static inline int describe(const ur__expansion *e, uint32_t id, uint32_t adjoint, uint64_t word[])
{
    const ur_graph *g = e->g;
    const ur__node *const node = g->into->node, *x = &node[id];
    const uint32_t *in = g->into->operand + x->in, n_in = x->n_in;
    const int64_t *attr = g->into->attr + x->attr;
    if (!can_be_repeated(x) || adjoint == id || ur__fault_hook)
        return 0;
    const bool all = for_all_sizes(g, x, in);
    uint64_t of = (uint64_t)all << 8 | n_in;
    int n = 2;
    for (uint32_t i = 0; i < n_in; i++) {
        if (in[i] == adjoint || (i > 0 && in[i] == in[i - 1]) || (i > 1 && in[i] == in[0]))
            return 0;
        of = of << 4 | (uint64_t)node[in[i]].type << 1 | e->needs[in[i]];
        if (!all)
            word[n++] = node[in[i]].shape;
    }
    for (int i = 0; i < x->n_attr; i++)
        word[n++] = i == 1 && ur__begins_somewhere(x->op) ? 0 : (uint64_t)attr[i];
    word[0] = (uintptr_t)x->op;
    word[1] = of;
    return n;
}

/* Not by the address of the op: which lesson takes the place of which is the same in every process,
 * and so is the plan. */
static inline ur__lesson **place(ur__expansion *e, const ur_op *op, const uint64_t word[], int n)
{
    uint64_t h = (uint64_t)op->kind << 8 ^ (uint64_t)op->row << 16 ^ (uint64_t)op->name[0];
    for (int i = 1; i < n; i++)
        h = ur__blend(h, word[i]);
    return &e->lessons[(h ^ h >> 32) % TABLE];
}

static inline bool same_words(const uint64_t *a, const uint64_t *b, int n)
{
    for (int i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
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
    ur__node *x = &t->node[t->n];
    *x = y->node;
    x->in = (uint32_t)t->n_operands;
    x->attr = (uint32_t)t->n_attrs;
    for (int i = 0; i < OPERANDS; i++) {
        in[i] = known[y->in[i]];
        flags |= t->node[in[i]].flags;
        attr[i] = y->attr[i];
    }
    if (y->part)
        attr[1] = begin;
    if (y->like)
        x->shape = t->node[known[y->like - 1]].shape;
    x->flags = x->op->flags & UR_FLAT ? 0 : flags & UR__GROWS;
    t->origin[t->n] = *g->rule_of;
    t->n_operands += x->n_in;
    t->n_attrs += x->n_attr;
    return (uint32_t)t->n++;
}

bool ur__repeat_rule(ur__expansion *e, uint32_t id, uint32_t adjoint)
{
    ur_graph *g = e->g;
    uint64_t word[WORDS];
    uint32_t known[KNOWN];
    const int n = e->lessons ? describe(e, id, adjoint, word) : 0;
    const ur__lesson *l = n ? *place(e, ur__at(g, id)->op, word, n) : NULL;
    if (!l || l->n_words != n || !same_words(l->word, word, n))
        return false;
    const ur__node *x = ur__at(g, id);
    const int64_t begin = x->n_attr > 1 ? g->into->attr[x->attr + 1] : 0;
    for (uint32_t i = 0; i < x->n_in; i++)
        known[i] = g->into->operand[x->in + i];
    known[RESULT] = id;
    known[GRADIENT] = adjoint;
    for (int k = 0; k < LEAVES; k++)
        known[LEAF + k] = l->leaf[k];
    for (int k = 0; k < l->n_made; k++)
        known[FIRST_MADE + k] = put(g, &l->made[k], known, begin);
    for (int k = 0; k < l->n_given; k++)
        ur__contribute(e, known[l->given[k].operand], known[l->given[k].node]);
    return true;
}

/* The rule under way as it is written down. */
typedef struct writing {
    const ur_graph *g;
    const ur__node *x;                  /* whose rule it is */
    uint32_t id, adjoint;
    size_t before;                      /* nodes before the rule */
    ur__lesson *l;
} writing;

/* The number under which a lesson knows a node; KNOWN if it does not. */
static uint32_t number_of(const writing *w, uint32_t u)
{
    ur__lesson *l = w->l;
    for (uint32_t i = 0; i < w->x->n_in; i++)
        if (w->g->into->operand[w->x->in + i] == u)
            return i;
    if (u == w->id || u == w->adjoint)
        return u == w->id ? RESULT : GRADIENT;
    if (u >= w->before)
        return FIRST_MADE + u - (uint32_t)w->before;
    if (ur__at(w->g, u)->op->kind != UR_LEAF)
        return KNOWN;
    for (int k = 0; k < l->n_leaves; k++)
        if (l->leaf[k] == u)
            return LEAF + (uint32_t)k;
    if (l->n_leaves == LEAVES)
        return KNOWN;
    l->leaf[l->n_leaves] = u;
    return LEAF + (uint32_t)l->n_leaves++;
}

static bool write_down(const writing *w, uint32_t u, made *y)
{
    const ur_graph *g = w->g;
    const ur__node *x = w->x, *m = ur__at(g, u);
    const int64_t *attr = g->into->attr;
    const uint32_t *in = g->into->operand;
    if (m->op->kind == UR_LEAF || m->op->flags & (UR_RANDOM | UR_INT_OUT) || !m->n_in ||
        m->n_in > OPERANDS || m->n_attr > OPERANDS)
        return false;
    y->node = *m;
    for (uint32_t i = 0; i < OPERANDS; i++)
        if ((y->in[i] = number_of(w, in[m->in + (i < m->n_in ? i : 0)])) == KNOWN)
            return false;
    for (uint32_t i = 0; i < m->n_attr; i++)
        y->attr[i] = attr[m->attr + i];
    if (for_all_sizes(g, x, in + x->in)) {
        for (uint32_t i = x->n_in; i-- > 0;)
            if (ur__at(g, in[x->in + i])->shape == m->shape)
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
    const int n = e->lessons ? describe(e, id, adjoint, word) : 0;
    if (!n || g->owner.failed || n_made > MADE || e->n_given > UR__GIVEN)
        return;
    ur__lesson *l = ur__bump_alloc(&g->scratch, sizeof *l + n_made * sizeof *l->made);
    if (!l)
        return;
    const writing w = { g, ur__at(g, id), id, adjoint, before, l };
    for (; (size_t)l->n_made < n_made; l->n_made++)
        if (!write_down(&w, (uint32_t)before + (uint32_t)l->n_made, &l->made[l->n_made]))
            return;
    for (; l->n_given < e->n_given; l->n_given++) {
        const uint32_t u = number_of(&w, e->given[l->n_given].node);
        if (u == KNOWN)
            return;
        l->given[l->n_given] = (ur__given){ e->given[l->n_given].operand, u };
    }
    memcpy(l->word, word, (size_t)n * sizeof *word);
    l->n_words = n;
    *place(e, w.x->op, word, n) = l;
}
