/* Binary Tree-LSTMs over other random trees in every step, a label at every node.
 *
 *     leaf     i = sigmoid(x Ui + bi)   o = sigmoid(x Uo + bo)   u = tanh(x Uu + bu)
 *              c = i*u                  h = o*tanh(c)
 *     inner    i, f1, f2, o = sigmoid([h1,h2] W + b), a W and b each    u = tanh([h1,h2] Wu + bu)
 *              c = i*u + f1*c1 + f2*c2                                  h = o*tanh(c)
 *
 * K. S. Tai, R. Socher and C. D. Manning, ACL 2015. In the textbook's form a tree is recorded node
 * by node, as if there were no others; by hand, all nodes of one height are one product. */
#include <stdlib.h>
#include "examples/kit/kit.h"
#include "tests/bench/bench.h"

enum { INNER = 5, LEAF = 3 };           /* gates: i o u, and f1 f2 */

typedef struct node {
    int id, left, right;                /* id: the word of a leaf, else -1; children come before */
    int tree_place, height;
} node;

typedef struct forest {
    bench_model m;
    ur_embedding embed;
    ur_linear_layer leaf[LEAF], inner[INNER], out;      /* by hand only the first of each */
    uint64_t random;
    int n, levels;
    node *node;
    int32_t *labels, *left, *right;
    int *roots, *lengths, *order, *row;
    ur_node *h, *c;
} forest;

static void make_parameters(forest *p, bool merged)
{
    const bench_workload *w = p->m.w;
    ur_params *ps = p->m.ps;
    const int leaves = merged ? 1 : LEAF, inners = merged ? 1 : INNER;
    p->embed = bench_embedding(ps, "embed", w->V, w->E);
    for (int k = 0; k < leaves; k++)
        p->leaf[k] = bench_linear(ps, ur_namef(ps, "leaf%d", k), w->E, LEAF * w->H / leaves);
    for (int k = 0; k < inners; k++)
        p->inner[k] = bench_linear(ps, ur_namef(ps, "inner%d", k), 2 * w->H,
                                   INNER * w->H / inners);
    p->out = bench_linear(ps, "out", w->H, w->classes);
}

static bench_model *open_forest(const bench_workload *w, bench_form form)
{
    forest *p = bench_model_new(sizeof *p, w, form, UR_TRAIN);
    make_parameters(p, form != TEXTBOOK);
    p->random = 1;
    p->n = 2 * bench_tokens(w) - w->B;
    const size_t n = (size_t)p->n;
    p->node = bench_alloc(n, sizeof *p->node);
    p->labels = bench_alloc(n, sizeof *p->labels);
    p->left = bench_alloc(n, sizeof *p->left);
    p->right = bench_alloc(n, sizeof *p->right);
    p->roots = bench_alloc((size_t)w->hi, sizeof *p->roots);
    p->lengths = bench_alloc((size_t)w->B, sizeof *p->lengths);
    p->order = bench_alloc(n, sizeof *p->order);
    p->row = bench_alloc(n, sizeof *p->row);
    p->h = bench_alloc(n, sizeof *p->h);
    p->c = bench_alloc(n, sizeof *p->c);
    bench_lengths(w, p->lengths);
    bench_model_ready(&p->m, true);
    return &p->m;
}

/* ---- Data ---- */

/* Two neighbours of a row of roots, which starts as the leaves, become one until one is left. */
static int grow(forest *p, int first, int leaves)
{
    int n = first, roots = leaves;
    for (int k = 0; k < leaves; k++, n++) {
        p->node[n] = (node){ .id = (int)bench_random(&p->random, (uint32_t)p->m.w->V) };
        p->roots[k] = n;
    }
    for (; roots > 1; roots--, n++) {
        const int k = (int)bench_random(&p->random, (uint32_t)roots - 1);
        const int left = p->roots[k], right = p->roots[k + 1];
        const int l = p->node[left].height, r = p->node[right].height;
        p->node[n] = (node){ -1, left, right, 0, 1 + (l > r ? l : r) };
        p->roots[k] = n;
        for (int j = k + 1; j + 1 < roots; j++)
            p->roots[j] = p->roots[j + 1];
    }
    for (int k = first; k < n; k++)
        p->node[k].tree_place = k - first;
    return n;
}

static void grow_all(forest *p)
{
    p->levels = 0;
    for (int b = 0, n = 0; b < p->m.w->B; b++)
        n = grow(p, n, p->lengths[b]);
    for (int k = 0; k < p->n; k++)
        if (p->node[k].height >= p->levels)
            p->levels = p->node[k].height + 1;
}

static int label(const forest *p, int k)
{
    return (3 * p->node[k].tree_place + 1) % p->m.w->classes;
}

/* ---- Node by node ---- */

/* c = i*u + rest; h = o*tanh(c), of the sums a = i, o, u. */
static void close_gates(const ur_node a[], const ur_node *rest, ur_node *h, ur_node *c)
{
    ur_node new = ur_mul(ur_sigmoid(a[0]), ur_tanh(a[2]));
    *c = rest ? ur_add(new, *rest) : new;
    *h = ur_mul(ur_sigmoid(a[1]), ur_tanh(*c));
}

/* The sums of n gates of x, apart or merged by hand. */
static void sums(const ur_linear_layer layer[], bool apart, ur_node x, int n, ur_node a[])
{
    if (!apart)
        ur_split(ur_linear(layer[0], x), 1, n, a);
    for (int k = 0; k < n && apart; k++)
        a[k] = ur_linear(layer[k], x);
}

static void leaves(const forest *p, ur_node ids, ur_node *h, ur_node *c)
{
    ur_node a[LEAF];
    sums(p->leaf, p->m.form == TEXTBOOK, ur_embed(p->embed, ids), LEAF, a);
    close_gates(a, NULL, h, c);
}

static void join(const forest *p, ur_node hl, ur_node cl, ur_node hr, ur_node cr, ur_node *h,
                 ur_node *c)
{
    ur_node a[INNER];
    sums(p->inner, p->m.form == TEXTBOOK, ur_concat(hl, hr), INNER, a);
    ur_node rest = ur_add(ur_mul(ur_sigmoid(a[3]), cl), ur_mul(ur_sigmoid(a[4]), cr));
    close_gates(a, &rest, h, c);
}

static ur_node each_node(forest *p)
{
    ur_node *h = p->h, *c = p->c;
    for (int k = 0; k < p->n; k++) {
        const node *q = &p->node[k];
        const int l = q->left, r = q->right;
        if (q->id >= 0)
            leaves(p, ur_ints(p->m.g, &q->id, 1), &h[k], &c[k]);
        else
            join(p, h[l], c[l], h[r], c[r], &h[k], &c[k]);
        p->labels[k] = label(p, k);
    }
    return ur_concat_n(h, p->n, 0);
}

/* ---- Level by level ---- */

/* Nodes in order of height: order[r] is the r-th, row[k] the place of node k. */
static void sort_by_height(forest *p)
{
    for (int level = 0, r = 0; level < p->levels; level++)
        for (int k = 0; k < p->n; k++)
            if (p->node[k].height == level) {
                p->row[k] = r;
                p->order[r++] = k;
            }
}

static ur_node each_level(forest *p)
{
    ur_graph *g = p->m.g;
    ur_node h[2], c[2];
    int r = 0;
    sort_by_height(p);
    for (; r < p->n && p->node[p->order[r]].height == 0; r++)
        p->left[r] = p->node[p->order[r]].id;
    leaves(p, ur_ints(g, p->left, r), &h[0], &c[0]);
    for (int level = 1, n; level < p->levels; level++, r += n) {
        for (n = 0; r + n < p->n && p->node[p->order[r + n]].height == level; n++) {
            p->left[n] = p->row[p->node[p->order[r + n]].left];
            p->right[n] = p->row[p->node[p->order[r + n]].right];
        }
        ur_node left = ur_ints(g, p->left, n), right = ur_ints(g, p->right, n);
        join(p, ur_gather(h[0], left), ur_gather(c[0], left), ur_gather(h[0], right),
             ur_gather(c[0], right), &h[1], &c[1]);
        h[0] = ur_concat_n(h, 2, 0);
        c[0] = ur_concat_n(c, 2, 0);
    }
    for (int k = 0; k < p->n; k++)
        p->labels[k] = label(p, p->order[k]);
    return h[0];
}

static double step(bench_model *m)
{
    forest *p = (forest *)m;
    grow_all(p);
    ur_clear(m->g);
    ur_node h = m->form == BATCHED ? each_level(p) : each_node(p);
    ur_node loss = ur_cross_entropy(ur_linear(p->out, h), ur_ints(m->g, p->labels, p->n));
    bench_train(m, loss);
    return ur_value(loss);
}

static void close_forest(bench_model *m)
{
    forest *p = (forest *)m;
    void *const all[] = { p->node, p->labels, p->left, p->right, p->roots, p->lengths, p->order,
                          p->row, p->h, p->c };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        free(all[k]);
    bench_model_free(m);
}

static double mac(const bench_workload *w)
{
    const double leaf = bench_tokens(w), inner = leaf - w->B, H = w->H;
    return leaf * LEAF * H * w->E + inner * INNER * H * 2 * H + (leaf + inner) * H * w->classes;
}

const bench_family bench_tree = {
    "tree", 1u << TEXTBOOK | 1u << MERGED | 1u << BATCHED, open_forest, step, close_forest, mac,
};
