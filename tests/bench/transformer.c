/* A causal transformer: blocks of attention and of two dense layers, each behind a normalisation
 * and beside a connection past it.
 *
 *     z = E[x] + P        z = z + A(n1(z)) Wp + bp        z = z + gelu(n2(z) Wu + bu) Wd + bd
 *     A: for each head    softmax(mask(Q K^T / sqrt d)) V,    Q = z Wq + bq, and K, V so
 *     n(z) = (z - mean) / sqrt(variance + 1e-5) * gain + bias
 *
 * A. Vaswani et al., NIPS 2017; before the layers, as here: A. Radford et al. 2019. */
#include <math.h>
#include <stdlib.h>
#include "examples/kit/kit.h"
#include "tests/bench/bench.h"

typedef struct norm {
    ur_node gain, bias;
} norm;

typedef struct block {
    norm n1, n2;
    ur_linear_layer qkv[3], proj, up, down;     /* merged by hand: only the first of qkv */
} block;

typedef struct transformer {
    bench_model m;
    ur_embedding embed;
    ur_node place;                              /* [T,D] */
    block *blocks;
    norm last;
    ur_linear_layer out;
    bench_data data;
    int32_t *ids, *x, *y;                       /* [T+1,B]; [B,T], and the ids that follow */
    float *mask;                                /* [T,T]: 1 where row t may look */
} transformer;

static norm norm_new(ur_params *ps, const char *name, int D)
{
    return (norm){ ur_param(ps, ur_namef(ps, "%s.gain", name), bench_init(), D),
                   ur_param(ps, ur_namef(ps, "%s.bias", name), bench_init(), D) };
}

static ur_linear_layer linear(ur_params *ps, const char *name, int block, int I, int O)
{
    return bench_linear(ps, ur_namef(ps, "%s%d", name, block), I, O);
}

static void make_blocks(transformer *p)
{
    static const char *const qkv[] = { "q", "k", "v" };
    const int D = p->m.w->H, parts = p->m.form == MERGED ? 1 : 3;
    ur_params *ps = p->m.ps;
    p->blocks = bench_alloc((size_t)p->m.w->layers, sizeof *p->blocks);
    for (int l = 0; l < p->m.w->layers; l++) {
        block *q = &p->blocks[l];
        q->n1 = norm_new(ps, ur_namef(ps, "n1.%d", l), D);
        q->n2 = norm_new(ps, ur_namef(ps, "n2.%d", l), D);
        for (int k = 0; k < parts; k++)
            q->qkv[k] = linear(ps, qkv[k], l, D, 3 * D / parts);
        q->proj = linear(ps, "proj", l, D, D);
        q->up = linear(ps, "up", l, D, 4 * D);
        q->down = linear(ps, "down", l, 4 * D, D);
    }
}

static bench_model *open_transformer(const bench_workload *w, bench_form form)
{
    transformer *p = bench_model_new(sizeof *p, w, form, UR_TRAIN);
    ur_params *ps = p->m.ps;
    const int D = w->H, T = w->T;
    p->embed = bench_embedding(ps, "embed", w->V, D);
    p->place = ur_param(ps, "place", bench_init(), T, D);
    make_blocks(p);
    p->last = norm_new(ps, "last", D);
    p->out = bench_linear(ps, "out", D, w->V);
    bench_data_make(&p->data, T + 1, w->B, w->V, 1);
    p->ids = bench_alloc(p->data.size, sizeof *p->ids);
    p->x = bench_alloc(p->data.size, sizeof *p->x);
    p->y = bench_alloc(p->data.size, sizeof *p->y);
    p->mask = bench_alloc((size_t)T * (size_t)T, sizeof *p->mask);
    for (int t = 0; t < T; t++)
        for (int s = 0; s <= t; s++)
            p->mask[t * T + s] = 1;
    bench_model_ready(&p->m, true);
    return &p->m;
}

static ur_node normalise(norm n, ur_node z)
{
    ur_node d = ur_sub(z, ur_mean_keep(z, -1));
    ur_node variance = ur_mean_keep(ur_square(d), -1);
    return ur_add(ur_mul(ur_div(d, ur_sqrt(ur_shift(variance, 1e-5))), n.gain), n.bias);
}

/* [B,T,D] -> [B,heads,T,D/heads] */
static ur_node heads(const transformer *p, ur_node x)
{
    const bench_workload *w = p->m.w;
    return ur_permute(ur_reshape(x, w->B, w->T, w->heads, w->H / w->heads), 0, 2, 1, 3);
}

static ur_node attention(const transformer *p, const block *q, ur_node mask, ur_node z)
{
    const bench_workload *w = p->m.w;
    ur_node part[3];
    if (p->m.form == MERGED)
        ur_split(ur_linear(q->qkv[0], z), 2, 3, part);
    for (int k = 0; k < 3; k++)
        part[k] = heads(p, p->m.form == MERGED ? part[k] : ur_linear(q->qkv[k], z));
    ur_node scores = ur_scale(ur_matmul_with(part[0], part[1], false, true),
                              1 / sqrt((double)w->H / w->heads));
    ur_node a = ur_softmax(ur_where(mask, scores, ur_scalar(p->m.g, -INFINITY)));
    ur_node y = ur_permute(ur_matmul(a, part[2]), 0, 2, 1, 3);
    return ur_linear(q->proj, ur_reshape(y, w->B, w->T, w->H));
}

static void next_text(transformer *p)
{
    const int T = p->m.w->T, B = p->m.w->B;
    bench_data_next(&p->data, p->ids);
    for (int b = 0; b < B; b++)
        for (int t = 0; t < T; t++) {
            p->x[b * T + t] = p->ids[t * B + b];
            p->y[b * T + t] = p->ids[(t + 1) * B + b];
        }
}

static double step(bench_model *m)
{
    transformer *p = (transformer *)m;
    const int T = m->w->T, B = m->w->B;
    next_text(p);
    ur_clear(m->g);
    ur_node mask = ur_input(m->g, p->mask, T, T);
    ur_node z = ur_add(ur_embed(p->embed, ur_ints(m->g, p->x, B, T)), p->place);
    for (int l = 0; l < m->w->layers; l++) {
        const block *q = &p->blocks[l];
        z = ur_add(z, attention(p, q, mask, normalise(q->n1, z)));
        ur_node wide = ur_gelu(ur_linear(q->up, normalise(q->n2, z)));
        z = ur_add(z, ur_linear(q->down, wide));
    }
    ur_node logits = ur_linear(p->out, normalise(p->last, z));
    ur_node loss = ur_cross_entropy(logits, ur_ints(m->g, p->y, B, T));
    bench_train(m, loss);
    return ur_value(loss);
}

static void close_transformer(bench_model *m)
{
    transformer *p = (transformer *)m;
    free(p->blocks);
    free(p->data.ids);
    free(p->ids);
    free(p->x);
    free(p->y);
    free(p->mask);
    bench_model_free(m);
}

static double mac(const bench_workload *w)
{
    const double D = w->H;
    return (double)w->B * w->T * (w->layers * (12 * D * D + 2.0 * w->T * D) + D * w->V);
}

const bench_family bench_transformer = {
    "transformer", 1u << TEXTBOOK | 1u << MERGED, open_transformer, step, close_transformer, mac,
};
