/* The workloads: sizes, tokens, flops. The models are those that recurrent networks are known by:
 * character models, the word models of W. Zaremba, I. Sutskever and O. Vinyals, arXiv 1409.2329
 * (2014), a bidirectional tagger, an encoder-decoder with attention, a small transformer, a
 * Tree-LSTM, and sampling. */
#include <string.h>
#include "tests/bench/bench.h"

#define LM(name, cell, V, H, layers, B, T) name, &bench_lm, cell, V, H, H, layers, B, T
#define ADAM(rate, norm) .adam = true, .lr = rate, .clip = norm
#define SGD(rate, norm) .lr = rate, .clip = norm

const bench_workload bench_workloads[] = {
    { LM("char-lstm-128", "lstm", 65, 128, 1, 32, 64), ADAM(2e-3, 5) },
    { LM("char-lstm-256", "lstm", 65, 256, 1, 64, 64), ADAM(2e-3, 5) },
    { LM("char-lstm-512", "lstm", 65, 512, 2, 64, 64), ADAM(2e-3, 5) },
    { LM("ptb-small", "lstm", 10000, 200, 2, 20, 20), SGD(1, 5), .sum_t = true },
    { LM("ptb-medium", "lstm", 10000, 650, 2, 20, 35), SGD(1, 5), .sum_t = true },
    { LM("elman-256", "elman", 65, 256, 1, 64, 64), ADAM(2e-3, 5) },
    { LM("gru-256", "gru_reset_after", 65, 256, 1, 64, 64), ADAM(2e-3, 5) },
    { LM("gru-textbook-256", "gru", 65, 256, 1, 64, 64), ADAM(2e-3, 5) },
    { LM("peephole-256", "lstm_peephole", 65, 256, 1, 64, 64), ADAM(2e-3, 5) },
    { LM("mgu-256", "mgu", 65, 256, 1, 64, 64), ADAM(2e-3, 5) },
    { LM("online-128", "lstm", 65, 128, 1, 1, 32), ADAM(2e-3, 5) },
    { LM("tiny-16", "lstm", 65, 16, 1, 1, 16), SGD(0.1, 5) },
    { LM("long-128", "lstm", 65, 128, 1, 8, 2048), ADAM(2e-3, 5) },
    { "bilstm-tag", &bench_tag, "lstm", 20000, 100, 128, 1, 32, .classes = 17, .lo = 5, .hi = 45,
      ADAM(1e-3, 5) },
    { "seq2seq-attn", &bench_seq2seq, "gru_reset_after", 8000, 256, 512, 1, 64, 14, .S = 14,
      ADAM(1e-3, 5) },
    { "transformer-128", &bench_transformer, "", 65, 128, 128, 4, 12, 64, .heads = 4,
      ADAM(1e-3, 1) },
    { "tree-lstm", &bench_tree, "", 20000, 150, 150, 1, 25, .classes = 5, .lo = 10, .hi = 30,
      SGD(0.05, 5) },
    { "sample-512", &bench_sample, "lstm", 65, 512, 512, 2, 1, .T = 1000 },
};
const int bench_n_workloads = sizeof bench_workloads / sizeof *bench_workloads;

int bench_gates(const char *cell)
{
    static const struct { const char *cell; int gates; } table[] = {
        { "lstm", 4 }, { "lstm_peephole", 4 }, { "gru", 3 }, { "gru_reset_after", 3 },
        { "mgu", 2 }, { "elman", 1 },
    };
    size_t k = 0;
    while (strcmp(table[k].cell, cell) != 0)
        k++;
    return table[k].gates;
}

void bench_lengths(const bench_workload *w, int *length)
{
    const int range = w->hi - w->lo + 1;
    for (int b = 0; b < w->B; b++)
        length[b] = w->lo + (7 * b * range / w->B) % range;
}

int bench_tokens(const bench_workload *w)
{
    const int range = w->hi - w->lo + 1;
    int n = w->hi ? 0 : w->B * w->T;
    for (int b = 0; w->hi && b < w->B; b++)
        n += w->lo + (7 * b * range / w->B) % range;
    return n;
}

double bench_flops(const bench_workload *w)
{
    return (w->lr > 0 ? 6 : 2) * w->family->mac(w);
}
