/* Translation: a GRU reads S words, another one writes T words and looks back at each of them.
 *
 *     m_s = encoder(E[x_s], m_s-1)                            h = m_S before the first step
 *     a   = softmax_s(v . tanh(m_s K + k + h Q))              how much of m_s is looked at
 *     c   = sum_s a_s m_s
 *     h'  = decoder([F[y_t], c], h)                           p(y_t+1) = softmax([h',c] W + b)
 *
 * D. Bahdanau, K. Cho and Y. Bengio, ICLR 2015. The GRUs are PyTorch's, reset after. */
#include <stdlib.h>
#include "examples/kit/kit.h"
#include "tests/bench/bench.h"

enum { MOST_STEPS = 64 };

typedef struct translator {
    bench_model m;
    ur_embedding source, target;
    ur_cell *encoder, *decoder;
    ur_attention look;
    ur_linear_layer out;
    bench_data x, y;
    int32_t *words, *text;                      /* [S,B]; [T+1,B]: from row 1 on the labels */
} translator;

static bench_model *open_translator(const bench_workload *w, bench_form form)
{
    translator *p = bench_model_new(sizeof *p, w, form, UR_TRAIN);
    ur_params *ps = p->m.ps;
    const int H = w->H;
    p->source = bench_embedding(ps, "source", w->V, w->E);
    p->target = bench_embedding(ps, "target", w->V, w->E);
    p->encoder = bench_cell(ps, w->cell, form, "encoder", w->E, H);
    p->decoder = bench_cell(ps, w->cell, form, "decoder", w->E + H, H);
    const ur_linear_layer K = bench_linear(ps, "K", H, H);
    p->look = (ur_attention){
        .score = UR_SCORE_ADDITIVE, .Q = H, .K = H, .U = K.W, .b = K.b,
        .W = ur_param(ps, "Q.W", bench_init(), H, H), .v = ur_param(ps, "v.W", bench_init(), H, 1),
    };
    p->out = bench_linear(ps, "out", 2 * H, w->V);
    bench_data_make(&p->x, w->S, w->B, w->V, 1);
    bench_data_make(&p->y, w->T + 1, w->B, w->V, 2);
    p->words = bench_alloc(p->x.size, sizeof *p->words);
    p->text = bench_alloc(p->y.size, sizeof *p->text);
    bench_model_ready(&p->m, true);
    return &p->m;
}

static double step(bench_model *m)
{
    translator *p = (translator *)m;
    const bench_workload *w = m->w;
    ur_graph *g = m->g;
    ur_node s[1], outputs[MOST_STEPS];
    bench_data_next(&p->x, p->words);
    bench_data_next(&p->y, p->text);
    ur_clear(g);
    ur_cell_zero_states(g, p->encoder, w->B, s);
    ur_node x = ur_embed(p->source, ur_ints(g, p->words, w->S, w->B));
    ur_memory memory = ur_memory_new(p->look, ur_unroll(p->encoder, x, s), NULL);
    ur_node y = ur_embed(p->target, ur_ints(g, p->text, w->T, w->B));
    for (int t = 0; t < w->T; t++) {
        ur_node c = ur_attend(p->look, memory, s[0], NULL);
        ur_node h = ur_cell_apply(p->decoder, t, ur_concat(ur_index(y, 0, t), c), s);
        outputs[t] = ur_concat(h, c);
    }
    ur_node logits = ur_linear(p->out, ur_stack(outputs, w->T));
    ur_node loss = ur_cross_entropy(logits, ur_ints(g, p->text + w->B, w->T, w->B));
    bench_train(m, loss);
    return ur_value(loss);
}

static void close_translator(bench_model *m)
{
    translator *p = (translator *)m;
    free(p->x.ids);
    free(p->y.ids);
    free(p->words);
    free(p->text);
    bench_model_free(m);
}

static double mac(const bench_workload *w)
{
    const double E = w->E, H = w->H, S = w->S;
    const double encoder = S * 3 * H * (E + H) + S * H * H;
    const double decoder = 3 * H * (E + H + H) + H * H + 2 * S * H + 2 * H * w->V;
    return w->B * (encoder + w->T * decoder);
}

const bench_family bench_seq2seq = {
    "seq2seq", 1u << TEXTBOOK | 1u << MERGED, open_translator, step, close_translator, mac,
};
