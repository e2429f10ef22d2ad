/* What all models of the benchmark share: memory, parameters, the end of a step, data. */
#include <stdlib.h>
#include <string.h>
#include "examples/kit/run.h"
#include "tests/bench/bench.h"

const char *bench_form_name(bench_form form)
{
    static const char *const names[FORMS] = { "textbook", "merged", "batched", "rerun", "lengths" };
    return names[form];
}

void *bench_alloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p)
        kit_die("out of memory");
    return p;
}

void *bench_model_new(size_t bytes, const bench_workload *w, bench_form form, int mode)
{
    bench_model *m = bench_alloc(1, bytes);
    m->w = w;
    m->form = form;
    m->g = ur_graph_new(UR_F32, mode);
    m->ps = ur_params_new(UR_F32, 1);
    kit_need(m->g);
    kit_need(m->ps);
    return m;
}

void bench_model_ready(bench_model *m, bool trained)
{
    ur_values(m->ps);                           /* draws them now: no part of the first plan */
    kit_need(m->ps);
    if (!trained)
        return;
    m->opt = ur_optim_new(m->ps, m->w->adam ? ur_adam(m->w->lr) : ur_sgd(m->w->lr));
    kit_need(m->ps);
    kit_need(m->opt ? m->ps : NULL);
    ur_clip_norm(m->opt, m->w->clip);
}

void bench_model_free(bench_model *m)
{
    ur_graph_free(m->g);
    ur_optim_free(m->opt);
    ur_params_free(m->states);
    ur_params_free(m->ps);
    free(m);
}

void bench_update(bench_model *m, bool ran)
{
    if (!ran)
        kit_need(m->g);
    if (!ur_step(m->opt))
        kit_need(m->ps);
}

void bench_train(bench_model *m, ur_node loss)
{
    ur_backward(loss);
    bench_update(m, ur_run(m->g));
}

ur_init bench_init(void)
{
    return ur_uniform_between(-0.08, 0.08);
}

ur_linear_layer bench_linear(ur_params *ps, const char *name, int I, int O)
{
    return ur_linear_with(ps, name, I, O, bench_init(), bench_init());
}

ur_embedding bench_embedding(ur_params *ps, const char *name, int V, int E)
{
    return ur_embedding_with(ps, name, V, E, bench_init());
}

/* ---- Data ---- */

uint32_t bench_random(uint64_t *state, uint32_t below)
{
    uint64_t x = *state;
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    *state = x;
    return (uint32_t)((x * 0x2545f4914f6cdd1du >> 32) * below >> 32);
}

enum { BATCHES = 8 };

void bench_data_make(bench_data *d, int rows, int columns, int V, uint64_t seed)
{
    uint64_t state = 0x9e3779b97f4a7c15u * (seed + 1);
    d->size = (size_t)rows * (size_t)columns;
    d->ids = bench_alloc(BATCHES * d->size, sizeof *d->ids);
    for (size_t k = 0; k < BATCHES * d->size; k++) {
        const bool first = k % d->size < (size_t)columns;
        d->ids[k] = first ? (int32_t)bench_random(&state, (uint32_t)V)
                          : (7 * d->ids[k - (size_t)columns] +
                             (int32_t)bench_random(&state, 4)) % V;
    }
}

void bench_data_next(bench_data *d, int32_t *to)
{
    memcpy(to, d->ids + (size_t)d->turn * d->size, d->size * sizeof *to);
    d->turn = (d->turn + 1) % BATCHES;
}
