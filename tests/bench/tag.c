/* A tagger: a label for every word of B sentences of different lengths, read by a bidirectional
 * LSTM (A. Graves and J. Schmidhuber, Neural Networks 18, 2005). Padding takes no part.
 *
 *     h_t = forward(x_t, h_t-1)    k_t = backward(x_t, k_t+1)    p(label) = softmax([h,k] W + b)
 */
#include <stdlib.h>
#include "examples/kit/kit.h"
#include "tests/bench/bench.h"

typedef struct tagger {
    bench_model m;
    ur_embedding embed;
    ur_cell *forward, *backward;
    ur_linear_layer out;
    bench_data data;
    uint64_t random;
    int T, *lengths;                    /* the longest sentence; that of each */
    int32_t *ids, *labels;              /* [T,B] */
} tagger;

static void find_longest(tagger *p)
{
    p->T = 0;
    for (int b = 0; b < p->m.w->B; b++)
        p->T = p->lengths[b] > p->T ? p->lengths[b] : p->T;
}

static bench_model *open_tagger(const bench_workload *w, bench_form form)
{
    tagger *p = bench_model_new(sizeof *p, w, form, UR_TRAIN);
    ur_params *ps = p->m.ps;
    p->embed = bench_embedding(ps, "embed", w->V, w->E);
    p->forward = bench_cell(ps, "lstm", form, "forward", w->E, w->H);
    p->backward = bench_cell(ps, "lstm", form, "backward", w->E, w->H);
    p->out = bench_linear(ps, "out", 2 * w->H, w->classes);
    p->random = 1;
    p->lengths = bench_alloc((size_t)w->B, sizeof *p->lengths);
    bench_lengths(w, p->lengths);
    find_longest(p);
    bench_data_make(&p->data, w->hi, w->B, w->V, 1);
    p->ids = bench_alloc(p->data.size, sizeof *p->ids);
    p->labels = bench_alloc(p->data.size, sizeof *p->labels);
    bench_model_ready(&p->m, true);
    return &p->m;
}

/* New lengths of the same sum, so that steps stay comparable: words go from one sentence to another
 * as far as both stay within the bounds. */
static void change_lengths(tagger *p)
{
    const bench_workload *w = p->m.w;
    for (int k = 0; k < w->B; k++) {
        int *to = &p->lengths[bench_random(&p->random, (uint32_t)w->B)];
        int *from = &p->lengths[bench_random(&p->random, (uint32_t)w->B)];
        int room = w->hi - *to < *from - w->lo ? w->hi - *to : *from - w->lo;
        if (to != from) {
            room = (int)bench_random(&p->random, (uint32_t)room + 1);
            *to += room, *from -= room;
        }
    }
    find_longest(p);
}

static void next_sentences(tagger *p)
{
    const bench_workload *w = p->m.w;
    if (p->m.form == LENGTHS)
        change_lengths(p);
    bench_data_next(&p->data, p->ids);
    for (int t = 0; t < p->T; t++)
        for (int b = 0; b < w->B; b++)
            p->labels[t * w->B + b] = t < p->lengths[b] ? p->ids[t * w->B + b] % w->classes
                                                        : UR_IGNORE;
}

static double step(bench_model *m)
{
    tagger *p = (tagger *)m;
    const int B = m->w->B;
    next_sentences(p);
    ur_clear(m->g);
    ur_node x = ur_embed(p->embed, ur_ints(m->g, p->ids, p->T, B));
    ur_node y = ur_bidirectional(p->forward, p->backward, x, p->lengths, UR_MERGE_CONCAT, NULL);
    ur_node logits = ur_linear(p->out, y);
    ur_node loss = ur_cross_entropy(logits, ur_ints(m->g, p->labels, p->T, B));
    bench_train(m, loss);
    return ur_value(loss);
}

static void close_tagger(bench_model *m)
{
    tagger *p = (tagger *)m;
    free(p->data.ids);
    free(p->lengths);
    free(p->ids);
    free(p->labels);
    bench_model_free(m);
}

static double mac(const bench_workload *w)
{
    return bench_tokens(w) *
           (2.0 * bench_gates("lstm") * w->H * (w->E + w->H) + 2.0 * w->H * w->classes);
}

const bench_family bench_tag = {
    "tag", 1u << TEXTBOOK | 1u << MERGED | 1u << LENGTHS, open_tagger, step, close_tagger, mac,
};
