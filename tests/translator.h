/* translator.h: for the tests of decoders: a small translator of each kind. */
#ifndef UNROLL_TESTS_TRANSLATOR_H
#define UNROLL_TESTS_TRANSLATOR_H

#include "tests/test.h"
#include "unroll/unroll.h"

enum { B = 4, S = 3, T = 5, E = 2, H = 3, A = 2, V = 6 };

typedef enum how { BAHDANAU, STACKED, LUONG, HOWS } how;

/* A translator of each kind: both directions, a bridge, a decoder. */
typedef struct translator {
    how how;
    ur_embedding from;
    ur_cell *forward, *backward, *inner;
    ur_attention a;
    ur_linear_layer W;              /* input feeding's, to write it out */
    ur_decoder d;
    ur_bridge bridge;
    const int *from_lengths, *to_lengths;
    ur_teaching teaching;
} translator;

static inline translator make(ur_params *ps, how how)
{
    translator m = { .how = how, .teaching = { .ratio = 1 } };
    m.from = ur_embedding_new(ps, "from", V, E);
    m.forward = ur_gru(ps, "f", E, H);
    m.backward = ur_gru(ps, "k", E, H);
    m.a = ur_attention_new(ps, "a", how == LUONG ? UR_SCORE_GENERAL : UR_SCORE_ADDITIVE, H, 2 * H,
                           A);
    m.inner = ur_lstm(ps, "d", E + (how == LUONG ? A : 2 * H), H);
    if (how == STACKED)
        m.inner = ur_stacked("both", (ur_cell *[]){ m.inner, ur_gru(ps, "top", H, H) }, 2, 0);
    m.d.embed = ur_embedding_new(ps, "to", V, E);
    m.d.cell = how == LUONG ? ur_input_feeding(m.inner, "feed", m.a, A)
                            : ur_attention_cell(m.inner, m.a);
    if (how == LUONG)
        m.W.W = ur_find(ps, "feed.W");
    m.d.out = ur_linear_new(ps, "out", m.d.cell->outputs, V);
    m.bridge = ur_bridge_new(ps, "bridge", 2, (int[]){ H, H }, m.inner);
    return m;
}

/* The memory, and the first states of the decoder. */
static inline ur_memory encode(ur_graph *g, const translator *m, ur_node source, ur_node s[])
{
    const int rows = ur_dim(source, 1);
    ur_node e[2];
    ur_cell_zero_states(g, m->forward, rows, e);
    ur_cell_zero_states(g, m->backward, rows, e + 1);
    ur_node x = ur_bidirectional(m->forward, m->backward, ur_embed(m->from, source),
                                 m->from_lengths, UR_MERGE_CONCAT, e);
    ur_cell_zero_states(g, m->d.cell, rows, s);
    ur_bridge_states(m->bridge, e, s);
    return ur_memory_new(m->a, x, m->from_lengths);
}

static inline void draw(int32_t *id, int n)
{
    for (int i = 0; i < n; i++)
        id[i] = (int32_t)(test_uniform() * V);
}

#endif
