/* Language models: the next symbol of B streams, T steps at a time, the state carried on.
 *
 *     h_t, s_t = cell(E[x_t], s_t-1)        p(x_t+1) = softmax(h_t W + b)
 */
#include <stdlib.h>
#include "examples/kit/run.h"
#include "tests/bench/bench.h"

enum { MOST_LAYERS = 2, MOST_STATES = 2 * MOST_LAYERS };

typedef struct lm {
    bench_model m;
    ur_embedding embed;
    ur_cell *rnn[MOST_LAYERS], *stack;
    ur_linear_layer input[MOST_LAYERS];         /* BATCHED: x W + b */
    ur_linear_layer out;
    bench_data data;
    int32_t *ids;                               /* [T+1,B]: the symbols, from row 1 on the labels */
    ur_node x, y, loss;                         /* RERUN: of the recorded step */
} lm;

/* The carried states of all layers. */
static ur_params *states_of(ur_cell *const cells[], int n, int B)
{
    ur_params *st = ur_params_new(UR_F32, 0);
    kit_need(st);
    for (int l = 0; l < n; l++)
        for (int k = 0; k < cells[l]->n_states; k++)
            ur_param(st, ur_namef(st, "%s.%d", cells[l]->name, k), ur_constant(0), B,
                     cells[l]->sizes[k]);
    kit_need(st);
    return st;
}

static bench_model *open_lm(const bench_workload *w, bench_form form)
{
    lm *p = bench_model_new(sizeof *p, w, form, UR_TRAIN);
    ur_params *ps = p->m.ps;
    p->embed = bench_embedding(ps, "embed", w->V, w->E);
    for (int l = 0; l < w->layers; l++) {
        const char *name = ur_namef(ps, "rnn%d", l);
        int I = l == 0 ? w->E : w->H, G = bench_gates(w->cell) * w->H;
        if (form == BATCHED)
            p->input[l] = bench_linear(ps, ur_namef(ps, "input%d", l), I, G);
        p->rnn[l] = bench_cell(ps, w->cell, form, name, form == BATCHED ? G : I, w->H);
    }
    p->out = bench_linear(ps, "out", w->H, w->V);
    if (form != BATCHED)
        p->stack = w->layers == 1 ? p->rnn[0] : ur_stacked("rnn", p->rnn, w->layers, 0);
    p->m.states = states_of(p->rnn, w->layers, w->B);
    bench_data_make(&p->data, w->T + 1, w->B, w->V, 1);
    p->ids = bench_alloc(p->data.size, sizeof *p->ids);
    bench_model_ready(&p->m, true);
    return &p->m;
}

/* The outputs [T,B,H] of the top layer for x [T,B,E]; the states move on. */
static ur_node hidden(const lm *p, ur_node x, ur_node s[])
{
    if (p->m.form != BATCHED)
        return ur_unroll(p->stack, x, s);
    for (int l = 0; l < p->m.w->layers; l++) {
        x = ur_unroll(p->rnn[l], ur_linear(p->input[l], x), s);
        s += p->rnn[l]->n_states;
    }
    return x;
}

static void record(lm *p)
{
    const bench_workload *w = p->m.w;
    ur_graph *g = p->m.g;
    ur_node s[MOST_STATES];
    ur_clear(g);
    ur_state_in(g, p->m.states, s);
    p->x = ur_ints(g, p->ids, w->T, w->B);
    p->y = ur_ints(g, p->ids + w->B, w->T, w->B);
    ur_node h = hidden(p, ur_embed(p->embed, p->x), s);
    p->loss = ur_cross_entropy(ur_linear(p->out, h), p->y);
    ur_state_out(p->m.states, s);
}

static double step(bench_model *m)
{
    lm *p = (lm *)m;
    bench_data_next(&p->data, p->ids);
    if (m->form == RERUN && !ur_is_nil(p->loss)) {
        ur_set(p->x, p->ids);
        ur_set(p->y, p->ids + m->w->B);
        bench_update(m, ur_rerun(m->g));
    } else {
        record(p);
        bench_train(m, m->w->sum_t ? ur_scale(ur_keep(p->loss), m->w->T) : p->loss);
    }
    return ur_value(p->loss);
}

static void close_lm(bench_model *m)
{
    lm *p = (lm *)m;
    free(p->data.ids);
    free(p->ids);
    bench_model_free(m);
}

static double mac(const bench_workload *w)
{
    double units = (double)w->H * w->V;
    for (int l = 0; l < w->layers; l++)
        units += (double)bench_gates(w->cell) * w->H * ((l == 0 ? w->E : w->H) + w->H);
    return units * w->B * w->T;
}

const bench_family bench_lm = {
    "lm", 1u << TEXTBOOK | 1u << MERGED | 1u << BATCHED | 1u << RERUN, open_lm, step, close_lm, mac,
};
