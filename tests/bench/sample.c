/* Generation: T symbols drawn one by one from a character model, each fed back in. One step of the
 * model is recorded and replayed; the states go on from replay to replay. */
#include <math.h>
#include "examples/kit/run.h"
#include "tests/bench/bench.h"

enum { MOST_LAYERS = 2, MOST_STATES = 2 * MOST_LAYERS };

typedef struct sampler {
    bench_model m;
    ur_embedding embed;
    ur_cell *rnn;
    ur_linear_layer out;
    ur_node id, next;
} sampler;

static bench_model *open_sampler(const bench_workload *w, bench_form form)
{
    sampler *p = bench_model_new(sizeof *p, w, form, UR_INFER);
    ur_params *ps = p->m.ps;
    ur_cell *layer[MOST_LAYERS];
    p->embed = bench_embedding(ps, "embed", w->V, w->E);
    for (int l = 0; l < w->layers; l++)
        layer[l] = bench_cell(ps, w->cell, form, ur_namef(ps, "rnn%d", l), l == 0 ? w->E : w->H,
                              w->H);
    p->rnn = ur_stacked("rnn", layer, w->layers, 0);
    p->out = bench_linear(ps, "out", w->H, w->V);
    p->m.states = ur_cell_states(p->rnn, 1);
    kit_need(p->m.states);
    bench_model_ready(&p->m, false);
    return &p->m;
}

static void record(sampler *p, int32_t id)
{
    ur_graph *g = p->m.g;
    ur_node s[MOST_STATES];
    ur_clear(g);
    ur_state_in(g, p->m.states, s);
    p->id = ur_ints(g, &id, 1);
    ur_node h = ur_cell_apply(p->rnn, 0, ur_embed(p->embed, p->id), s);
    p->next = ur_sample(ur_linear(p->out, h), 1, 0, 1);
    ur_state_out(p->m.states, s);
}

/* There is no loss. */
static double step(bench_model *m)
{
    sampler *p = (sampler *)m;
    int32_t id = 0;
    ur_state_reset(m->states, -1);
    for (int t = 0; t < m->w->T; t++) {
        bool ok;
        if (ur_is_nil(p->next)) {
            record(p, id);
            ok = ur_run(m->g);
        } else {
            ur_set(p->id, &id);
            ok = ur_rerun(m->g);
        }
        if (!ok || !ur_read(p->next, &id, 1))
            kit_need(m->g);
    }
    return NAN;
}

static double mac(const bench_workload *w)
{
    double units = (double)w->H * w->V;
    for (int l = 0; l < w->layers; l++)
        units += (double)bench_gates(w->cell) * w->H * ((l == 0 ? w->E : w->H) + w->H);
    return units * w->T;
}

const bench_family bench_sample = {
    "sample", 1u << TEXTBOOK | 1u << MERGED, open_sampler, step, bench_model_free, mac,
};
