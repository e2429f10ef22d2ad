/* Trees and sentences recorded node by node give what they give unbatched: values, gradients of
 * parameters and of single nodes, kept values; in every form in which rows can be wanted. What is
 * computed together does not depend on how a user's source is cut into functions. */
#include <stdlib.h>
#include "graph/plan/plan.h"
#include "tests/test.h"
#include "unroll/unroll.h"

enum { H = 5, V = 40, WORDS = 12, TREES = 4, MOST = 3000 };

typedef struct model {
    ur_params *ps;
    ur_embedding embed;
    ur_linear_layer leaf, gate[3], out;
    ur_cell *cell;
} model;

static model make(void)
{
    model m = { .ps = ur_params_new(UR_F64, 3) };
    m.embed = ur_embedding_new(m.ps, "embed", V, H);
    m.leaf = ur_linear_new(m.ps, "leaf", H, H);
    for (int k = 0; k < 3; k++)
        m.gate[k] = ur_linear_new(m.ps, ur_namef(m.ps, "gate%d", k), 2 * H, H);
    m.out = ur_linear_new(m.ps, "out", H, 3);
    m.cell = ur_gru(m.ps, "gru", H, H);
    return m;
}

static int below(int n)
{
    return (int)(test_uniform() * n);
}

/* The nodes of one random binary tree are appended to h. */
static void grow(ur_graph *g, const model *m, ur_node *h, int *n)
{
    ur_node root[WORDS];
    int roots = 1 + below(WORDS);
    for (int k = 0; k < roots; k++) {
        int32_t id = below(V);
        root[k] = h[(*n)++] = ur_tanh(ur_linear(m->leaf, ur_embed(m->embed, ur_ints(g, &id, 1))));
    }
    for (; roots > 1; roots--) {
        int k = below(roots - 1);
        ur_node both = ur_concat(root[k], root[k + 1]);
        ur_node f = ur_sigmoid(ur_linear(m->gate[0], both));
        ur_node o = ur_sigmoid(ur_linear(m->gate[1], both));
        ur_node u = ur_tanh(ur_linear(m->gate[2], both));
        root[k] = h[(*n)++] = ur_add(ur_mul(f, u), ur_mul(o, ur_mul(root[k], root[k + 1])));
        for (int j = k + 1; j + 1 < roots; j++)
            root[j] = root[j + 1];
    }
}

typedef struct record {
    ur_node loss, kept[8];
    int n_kept;
} record;

/* Some trees, of which single nodes are kept, differentiated or used once more. */
static record trees(ur_graph *g, const model *m)
{
    ur_node h[2 * TREES * WORDS];
    int n = 0;
    for (int k = 0; k < TREES; k++)
        grow(g, m, h, &n);
    record r = { .n_kept = 0 };
    r.kept[r.n_kept++] = ur_keep(h[n / 2]);
    r.kept[r.n_kept++] = ur_keep(h[n - 1]);
    r.kept[r.n_kept++] = ur_tanh(h[n / 3]);                     /* nobody reads it: a goal */
    ur_node logits = ur_linear(m->out, ur_concat_n(h, n, 0));
    ur_node some = ur_sum(ur_stack_n(h + n / 4, n / 2, 0));
    r.loss = ur_keep(ur_add(ur_mean(ur_square(logits)), ur_scale(ur_square(some), 1e-3)));
    ur_node x[2] = { h[n / 2], h[0] }, dx[2];
    ur_grad(&r.loss, NULL, 1, x, 2, dx);
    r.kept[r.n_kept++] = ur_keep(dx[0]);
    r.kept[r.n_kept++] = ur_keep(dx[1]);
    ur_backward(ur_add(r.loss, ur_scale(ur_sum(ur_square(dx[0])), 0.1)));
    return r;
}

/* Sentences of different lengths, each unrolled by itself. */
static record sentences(ur_graph *g, const model *m)
{
    ur_node last[TREES];
    for (int k = 0; k < TREES; k++) {
        int32_t id[WORDS];
        int T = 1 + below(WORDS);
        for (int t = 0; t < T; t++)
            id[t] = below(V);
        ur_node y = ur_unroll(m->cell, ur_embed(m->embed, ur_ints(g, id, T, 1)), NULL);
        last[k] = ur_index(y, 0, -1);
    }
    record r = { .n_kept = 1 };
    r.kept[0] = ur_keep(ur_linear(m->out, ur_concat_n(last, TREES, 0)));
    r.loss = ur_mean(ur_square(r.kept[0]));
    ur_backward(r.loss);
    return r;
}

/* Loss, kept values and gradients; returns how many. */
static size_t run(const model *m, record (*make_record)(ur_graph *, const model *), uint32_t off,
                  double *out, size_t *merged)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    g->off = off;
    test_now.random = 11;
    record r = make_record(g, m);
    size_t n = 0;
    if (CHECK_STR(ur_error(g), NULL) && CHECK(ur_run(g))) {
        out[n++] = ur_value(r.loss);
        for (int k = 0; k < r.n_kept; k++) {
            memcpy(out + n, ur_data(r.kept[k]), ur_count(r.kept[k]) * sizeof *out);
            n += ur_count(r.kept[k]);
        }
        memcpy(out + n, ur_gradients(m->ps), ur_block_elements(m->ps) * sizeof *out);
        n += ur_block_elements(m->ps);
        *merged = g->last_plan->merged[UR__BIT_batch];
    }
    ur_gradient_used(m->ps);
    ur_graph_free(g);
    return n;
}

static void compare(record (*make_record)(ur_graph *, const model *), size_t least)
{
    static double want[MOST], out[MOST];
    model m = make();
    size_t merged = 0, n = run(&m, make_record, UINT32_MAX, want, &merged);
    CHECK_INT(merged, 0);
    for (int k = 0; k < UR__N_REWRITES; k++) {
        uint32_t off = k == UR__BIT_batch ? 0 : 1u << k;
        CHECK_INT(run(&m, make_record, off, out, &merged), n);
        CHECK(merged >= least);
        for (size_t i = 0; i < n; i++)
            CHECK_NEAR(out[i], want[i], 1e-12);
    }
    ur_params_free(m.ps);
}

TEST(trees_are_batched)
{
    compare(trees, 150);
}

TEST(sentences_are_batched)
{
    compare(sentences, 300);
}

/* ---------------------------------------------------------------------------- gates of a place */

/* Three gates: products of one [l,r], or each of its own; sums of two; slices of one product. */
typedef enum kind { ONE, OWN, TWO, SLICES, KINDS } kind;

typedef struct gates {
    ur_params *ps;
    ur_embedding embed;
    ur_linear_layer one[3], left[3], right[3], all;
    kind kind;
} gates;

/* A macro is at the line where it stands, a function's ops are where they are in it. */
#define GATE(p, l, r, z, k)                                                                        \
    ur_sigmoid((p)->kind == ONE   ? ur_linear((p)->one[k], z)                                      \
               : (p)->kind == OWN ? ur_linear((p)->one[k], ur_concat(l, r))                        \
               : (p)->kind == TWO                                                                  \
                   ? ur_add(ur_linear((p)->left[k], l), ur_matmul(r, (p)->right[k].W))             \
                   : ur_slice(z, 1, (k) * H, (k) * H + H))

static ur_node gate(const gates *p, ur_node l, ur_node r, ur_node z, int k)
{
    return GATE(p, l, r, z, k);
}

typedef struct state {
    ur_node h, c;
} state;

static state join(const gates *p, bool called, state l, state r)
{
    ur_node i, f, o, z = UR_NIL;
    if (p->kind == ONE || p->kind == SLICES)
        z = ur_concat(l.h, r.h);
    if (p->kind == SLICES)
        z = ur_linear(p->all, z);
    if (called) {
        i = gate(p, l.h, r.h, z, 0);
        f = gate(p, l.h, r.h, z, 1);
        o = gate(p, l.h, r.h, z, 2);
    } else {
        i = GATE(p, l.h, r.h, z, 0);
        f = GATE(p, l.h, r.h, z, 1);
        o = GATE(p, l.h, r.h, z, 2);
    }
    ur_node c = ur_add(ur_mul(i, l.c), ur_mul(f, r.c));
    return (state){ ur_mul(o, ur_tanh(c)), c };
}

/* What a plan of random trees is like, gradients and all. */
static ur_graph_stats plan_of(const gates *p, bool called)
{
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_node root[TREES];
    test_now.random = 11;
    for (int n = 0; n < TREES; n++) {
        state s[WORDS];
        for (int k = 0; k < WORDS; k++) {
            int32_t id = below(V);
            s[k].c = ur_embed(p->embed, ur_ints(g, &id, 1));
            s[k].h = ur_tanh(s[k].c);
        }
        for (int roots = WORDS; roots > 1; roots--) {
            int k = below(roots - 1);
            s[k] = join(p, called, s[k], s[k + 1]);
            for (int j = k + 1; j + 1 < roots; j++)
                s[j] = s[j + 1];
        }
        root[n] = s[0].h;
    }
    ur_backward(ur_sum(ur_square(ur_concat_n(root, TREES, 0))));
    CHECK(ur_run(g));
    CHECK_STR(ur_error(g), NULL);
    ur_graph_stats s = ur_stats(g);
    ur_graph_free(g);
    return s;
}

/* Gates that one function records are batched as well as those with a line each, and [l,r] of each
 * gate as well as one for all. */
TEST(gates_of_one_place_are_apart)
{
    gates p = { .ps = ur_params_new(UR_F32, 3) };
    p.embed = ur_embedding_new(p.ps, "embed", V, H);
    p.all = ur_linear_new(p.ps, "all", 2 * H, 3 * H);
    for (int k = 0; k < 3; k++) {
        p.one[k] = ur_linear_new(p.ps, ur_namef(p.ps, "one%d", k), 2 * H, H);
        p.left[k] = ur_linear_new(p.ps, ur_namef(p.ps, "left%d", k), H, H);
        p.right[k] = ur_linear_new(p.ps, ur_namef(p.ps, "right%d", k), H, H);
    }
    ur_graph_stats one = { 0 };
    for (p.kind = ONE; p.kind < KINDS; p.kind++) {
        ur_graph_stats lines = plan_of(&p, false), called = plan_of(&p, true);
        one = p.kind == ONE ? lines : one;
        CHECK_INT(called.planned_nodes, lines.planned_nodes);
        CHECK_INT(called.steps, lines.steps);
        CHECK_INT(called.arena_bytes, lines.arena_bytes);
        if (p.kind == OWN && !CHECK(lines.steps <= one.steps + one.steps / 10))
            printf("  %zu steps, %zu with one [l,r] for all\n", lines.steps, one.steps);
    }
    ur_params_free(p.ps);
}

TEST_MAIN(T(trees_are_batched), T(sentences_are_batched), T(gates_of_one_place_are_apart))
