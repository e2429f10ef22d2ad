/* Labellings out of the probabilities of CTC: the best path, and a search over prefixes.
 *
 * A prefix l of a labelling is reached at step t by paths that end in a blank, with probability
 * b_t(l), and by those that end in its last label k, n_t(l). With p_t the probabilities of step t:
 *
 *     b_t(l)  = p_t[blank] (b_t-1(l) + n_t-1(l))
 *     n_t(l)  = p_t[k] n_t-1(l) + p_t[k] (b_t-1(m) + [m ends in another label] n_t-1(m)),  l = m k
 *
 * of which the `width` prefixes with the largest b + n go on. All in log space. Prefixes are nodes
 * of a tree, so that two ways to the same one meet even when it had been dropped in between.
 *
 * A. Graves et al., ICML 2006; A. Hannun, A. Maas, D. Jurafsky and A. Ng, "First-pass large
 * vocabulary continuous speech recognition using bi-directional recurrent DNNs", arXiv 1408.2873
 * (2014).
 */
#include <math.h>
#include "unroll/structured.h"

static double log_add(double a, double b)
{
    const double high = a > b ? a : b, low = a > b ? b : a;
    return low == -INFINITY ? high : high + log1p(exp(low - high));
}

/* ln p of label k at step t of row b. */
static double at(const ur_ctc_output *o, int b, int t, int k)
{
    const size_t i = ((size_t)t * (size_t)o->B + (size_t)b) * (size_t)o->V + (size_t)k;
    const double v = o->type == UR_F64 ? ((const double *)o->log_p)[i]
                                       : ((const float *)o->log_p)[i];
    return isnan(v) ? -INFINITY : v;
}

static bool sound(const ur_ctc_output *o, int b, int length)
{
    return o && o->log_p && (o->type == UR_F32 || o->type == UR_F64) && b >= 0 && b < o->B &&
           length >= 0 && length <= o->T && o->blank >= 0 && o->blank < o->V;
}

int ur_ctc_best_path(const ur_ctc_output *o, int b, int length, int labels[], double *log_p)
{
    int n = 0, before = -1;
    double sum = 0;
    if (!sound(o, b, length))
        return -1;
    for (int t = 0; t < length; t++) {
        int best = 0;
        for (int k = 1; k < o->V; k++)
            if (at(o, b, t, k) > at(o, b, t, best))
                best = k;
        if (best != before && best != o->blank)
            labels[n++] = best;
        before = best;
        sum += at(o, b, t, best);
    }
    if (log_p)
        *log_p = sum;
    return n;
}

/* ----------------------------------------------------------------------------------------- beam */

/* A prefix; places are numbers in `tree`, the empty prefix is 0. */
typedef struct prefix {
    int parent, label, child, sibling;
    int slot;                   /* where it is in the beam, or -1 */
} prefix;

/* A prefix in the beam, and one that may be in the next: that in `slot`, or its child `label`. */
typedef struct entry {
    int node;
    double blank, label;        /* ln b, ln n */
} entry;
typedef struct candidate {
    int slot, label;            /* label -1: the prefix itself */
    double total, in_blank, in_label;
} candidate;

typedef struct search {
    const ur_ctc_output *o;
    int width, n, n_tree, n_best;
    prefix *tree;
    entry *beam, *next;
    candidate *best;            /* a heap, its root the worst */
    double *p, *extended;       /* [V]; [width V] */
} search;

static bool worse(const candidate *a, const candidate *b)
{
    if (a->total != b->total)
        return a->total < b->total;
    return a->slot != b->slot ? a->slot > b->slot : a->label > b->label;
}

static void swap(candidate *a, candidate *b)
{
    const candidate c = *a;
    *a = *b;
    *b = c;
}

/* Among the `width` best so far, or not at all. */
static void offer(search *s, candidate c)
{
    candidate *h = s->best;
    int i = 0;
    if (c.total == -INFINITY)
        return;
    if (s->n_best < s->width) {
        for (h[i = s->n_best++] = c; i && worse(&h[i], &h[(i - 1) / 2]); i = (i - 1) / 2)
            swap(&h[i], &h[(i - 1) / 2]);
        return;
    }
    if (!worse(&h[0], &c))
        return;
    h[0] = c;
    for (int k; (k = 2 * i + 1) < s->n_best; i = k) {
        k += k + 1 < s->n_best && worse(&h[k + 1], &h[k]);
        if (!worse(&h[k], &h[i]))
            break;
        swap(&h[i], &h[k]);
    }
}

static int child(search *s, int parent, int label)
{
    int node = s->tree[parent].child;
    while (node && s->tree[node].label != label)
        node = s->tree[node].sibling;
    if (node)
        return node;
    node = s->n_tree++;
    s->tree[node] = (prefix){ parent, label, 0, s->tree[parent].child, -1 };
    return s->tree[parent].child = node;
}

/* What each prefix gets from staying, from its parent, and gives to its children. */
static void expand(search *s)
{
    const int V = s->o->V, blank = s->o->blank;
    for (int i = 0; i < s->n; i++) {
        const entry *e = &s->beam[i];
        const double both = log_add(e->blank, e->label);
        const int last = s->tree[e->node].label;
        for (int k = 0; k < V; k++)
            s->extended[(size_t)i * (size_t)V + (size_t)k] =
                k == blank ? -INFINITY : s->p[k] + (k == last ? e->blank : both);
    }
    for (int i = 0; i < s->n; i++) {
        const entry *e = &s->beam[i];
        const prefix *l = &s->tree[e->node];
        candidate c = { .slot = i, .label = -1 };
        c.in_blank = s->p[blank] + log_add(e->blank, e->label);
        c.in_label = -INFINITY;
        if (e->node) {
            const int from = s->tree[l->parent].slot;
            c.in_label = s->p[l->label] + e->label;
            if (from >= 0) {
                double *x = &s->extended[(size_t)from * (size_t)V + (size_t)l->label];
                c.in_label = log_add(c.in_label, *x);
                *x = -INFINITY;
            }
        }
        c.total = log_add(c.in_blank, c.in_label);
        offer(s, c);
    }
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < V; k++) {
            const double x = s->extended[(size_t)i * (size_t)V + (size_t)k];
            offer(s, (candidate){ i, k, x, -INFINITY, x });
        }
}

static void step(search *s, int b, int t)
{
    for (int k = 0; k < s->o->V; k++)
        s->p[k] = at(s->o, b, t, k);
    s->n_best = 0;
    expand(s);
    for (int i = 0; i < s->n_best; i++) {
        const candidate *c = &s->best[i];
        const int node = s->beam[c->slot].node;
        s->next[i] = (entry){ c->label < 0 ? node : child(s, node, c->label), c->in_blank,
                              c->in_label };
    }
    for (int i = 0; i < s->n; i++)
        s->tree[s->beam[i].node].slot = -1;
    entry *old = s->beam;
    s->beam = s->next;
    s->next = old;
    s->n = s->n_best;
    for (int i = 0; i < s->n; i++)
        s->tree[s->beam[i].node].slot = i;
}

static bool make(search *s, ur_params *memory, int length)
{
    const size_t width = (size_t)s->width, V = (size_t)s->o->V;
    s->tree = ur_params_alloc(memory, (width * (size_t)length + 1) * sizeof *s->tree);
    s->beam = ur_params_alloc(memory, width * sizeof *s->beam);
    s->next = ur_params_alloc(memory, width * sizeof *s->next);
    s->best = ur_params_alloc(memory, width * sizeof *s->best);
    s->p = ur_params_alloc(memory, V * sizeof *s->p);
    s->extended = ur_params_alloc(memory, width * V * sizeof *s->extended);
    return s->tree && s->beam && s->next && s->best && s->p && s->extended;
}

/* The labels of the best prefix, read from its end. */
static int result(const search *s, int labels[], double *log_p)
{
    double most = -INFINITY;
    int best = 0, n = 0;
    for (int i = 0; i < s->n; i++) {
        const double total = log_add(s->beam[i].blank, s->beam[i].label);
        if (total > most) {
            most = total;
            best = s->beam[i].node;
        }
    }
    for (int node = best; node; node = s->tree[node].parent)
        n++;
    for (int node = best, i = n; node; node = s->tree[node].parent)
        labels[--i] = s->tree[node].label;
    if (log_p)
        *log_p = most;
    return n;
}

int ur_ctc_beam(const ur_ctc_output *o, int b, int length, int width, int labels[], double *log_p)
{
    search s = { .o = o, .width = width };
    /* A store without parameters: memory that is freed together. */
    const bool fits = sound(o, b, length) && width > 0 && width < INT32_MAX / (length + 1);
    ur_params *memory = fits ? ur_params_new(UR_F64, 0) : NULL;
    int n = -1;
    if (memory && make(&s, memory, length)) {
        s.tree[0] = (prefix){ .parent = -1, .label = -1, .slot = 0 };
        s.beam[0] = (entry){ 0, 0, -INFINITY };
        s.n = s.n_tree = 1;
        for (int t = 0; t < length; t++)
            step(&s, b, t);
        n = result(&s, labels, log_p);
    }
    ur_params_free(memory);
    return n;
}
