/* bits.h: for the tests of the pool: what a computation left behind, as bytes, for several numbers
 * of threads; a short training to compare.
 *
 *     SAME_FOR_ALL(train, &sizes);        calls train(threads, &bytes, &sizes) for each number
 */
#ifndef UNROLL_TESTS_BITS_H
#define UNROLL_TESTS_BITS_H

#include <stdlib.h>
#include <string.h>
#include "tests/test.h"
#include "unroll/unroll.h"

static const int counts[] = { 1, 2, 3, 4, 7 };
enum { COUNTS = sizeof counts / sizeof counts[0] };

/* A growing record of bytes, one for each number of threads; what failed on the way, since checks
 * belong to the main thread. */
typedef struct bytes {
    char *p;
    size_t n, cap;
    int failed;
} bytes;

static inline void keep(bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->cap) {
        b->cap = 2 * (b->n + n);
        b->p = realloc(b->p, b->cap);
    }
    if (p && n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void keep_node(bytes *b, ur_node x)
{
    const void *p = ur_data(x);
    if (p)
        keep(b, p, ur_count(x) * (ur_type_of(x) == UR_F64 ? 8 : 4));
    else
        b->failed++;
}

/* Two records must be equal; frees the second. */
static inline void compare(const bytes *a, bytes *b)
{
    CHECK_INT(b->failed, 0);
    if (CHECK_INT(b->n, a->n))
        CHECK_MEM(b->p, a->p, a->n);
    free(b->p);
}

/* Calls f for each number of threads and compares what it kept. */
#define SAME_FOR_ALL(f, ...)                                                                       \
    do {                                                                                           \
        bytes one_ = { NULL, 0, 0, 0 };                                                            \
        f(1, &one_, __VA_ARGS__);                                                                  \
        for (int k_ = 1; k_ < COUNTS; k_++) {                                                      \
            bytes more_ = { NULL, 0, 0, 0 };                                                       \
            f(counts[k_], &more_, __VA_ARGS__);                                                    \
            compare(&one_, &more_);                                                                \
        }                                                                                          \
        free(one_.p);                                                                              \
    } while (0)

/* ------------------------------------------------------------------------------------- training */

typedef struct sizes {
    ur_type type;
    int cell, V, H, B, T;
} sizes;

static inline ur_cell *new_cell(ur_params *ps, const sizes *s)
{
    return s->cell == 0   ? ur_lstm(ps, "rnn", s->H, s->H)
           : s->cell == 1 ? ur_gru(ps, "rnn", s->H, s->H)
                          : ur_gru_reset_after(ps, "rnn", s->H, s->H);
}

/* Three updates of a character model; all that they leave. */
static inline void train(int threads, bytes *out, const sizes *s)
{
    ur_params *ps = ur_params_new(s->type, 3);
    ur_embedding embed = ur_embedding_new(ps, "embed", s->V, s->H);
    ur_cell *rnn = new_cell(ps, s);
    ur_linear_layer linear = ur_linear_new(ps, "out", s->H, s->V);
    ur_params *states = ur_cell_states(rnn, s->B);
    ur_optim *opt = ur_optim_new(ps, ur_adam(1e-2));
    ur_graph *g = ur_graph_new(s->type, UR_TRAIN);
    int *x = malloc(sizeof *x * (size_t)(s->T * s->B)), n_states = ur_params_count(states);
    ur_set_threads(g, threads);
    ur_seed(g, 5);
    ur_clip_norm(opt, 0.5);
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < s->T * s->B; i++)
            x[i] = (7 * i + i / 5 + step) % s->V;
        ur_node h[2];
        ur_clear(g);
        ur_state_in(g, states, h);
        ur_node y = ur_unroll(rnn, ur_embed(embed, ur_ints(g, x, s->T, s->B)), h);
        y = ur_dropout(y, 0.1);
        ur_node loss = ur_cross_entropy(ur_linear(linear, y), ur_ints(g, x, s->T, s->B));
        ur_state_out(states, h);
        ur_backward(loss);
        out->failed += !ur_run(g);
        keep_node(out, loss);
        const size_t size = s->type == UR_F64 ? 8 : 4;
        keep(out, ur_gradients(ps), ur_block_elements(ps) * size);
        out->failed += !ur_step(opt);
        keep(out, ur_values(ps), ur_block_elements(ps) * size);
        for (int k = 0; k < n_states; k++)
            keep(out, ur_param_values(ur_params_at(states, k)),
                 ur_count(ur_params_at(states, k)) * size);
    }
    free(x);
    ur_graph_free(g);
    ur_optim_free(opt);
    ur_params_free(states);
    ur_params_free(ps);
}

#endif
