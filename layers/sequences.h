/* sequences.h: cells over sequences, either way or both, of rows of different lengths; states
 * before, between and after; sequences to vectors. Included by layers.h.
 */
#ifndef UR_SEQUENCES_H
#define UR_SEQUENCES_H

#include "unroll/layers.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One step of a cell inside the scope "name, t" (t -1 for none), for loops of one's own: decoders,
 * generation. Returns the output and replaces the states. */
UR_API ur_node ur_cell_apply(const ur_cell *cell, int t, ur_node x, ur_node s[]);

/* A cell over a sequence: y_t = step(x_t, s) for t = 0 .. T-1.
 *     x [T, B, inputs] -> [T, B, outputs];  s[k] [B, sizes[k]], the states before the first step,
 *     become those after the last one
 * s NULL: zeros, and the last states are dropped. T = 0 leaves the states alone. */
#define ur_unroll(cell, x, s) ur_unroll_at(UR_AT(#x), cell, x, NULL, s, NULL)

/* With the lengths of the rows, lengths[b] in [0, T], an array of the program: what lies beyond a
 * row's length is never looked at (it may be NaN), its outputs are zeros, its states stay what they
 * were after its last step; a row of length 0 keeps its initial states. Work is done for live rows
 * alone: rows are ordered by length inside, and a tape of other lengths is another plan. */
#define ur_unroll_lengths(cell, x, lengths, s) ur_unroll_at(UR_AT(#x), cell, x, lengths, s, NULL)

/* And all states: all[k] [T, B, sizes[k]] is the k-th state after each step, from a row's length on
 * that after its last one. lengths may be NULL. */
#define ur_unroll_states(cell, x, lengths, s, all)                                                 \
    ur_unroll_at(UR_AT(#x), cell, x, lengths, s, all)

UR_API ur_node ur_unroll_at(ur_at at, const ur_cell *cell, ur_node x, const int lengths[],
                            ur_node s[], ur_node all[]);
UR_API ur_node (ur_unroll)(const ur_cell *cell, ur_node x, ur_node s[]);
UR_API ur_node (ur_unroll_lengths)(const ur_cell *cell, ur_node x, const int lengths[],
                                   ur_node s[]);
UR_API ur_node (ur_unroll_states)(const ur_cell *cell, ur_node x, const int lengths[], ur_node s[],
                                  ur_node all[]);

/* Long sequences are read in windows, the state carried from one to the next: truncated
 * back-propagation through time. With windows of k steps the example on top does it: ur_state_in,
 * unroll, ur_state_out. A gradient reaches back to the beginning of its window and no further,
 * since a state that was carried is a leaf. With (k1, k2), k1 < k2 (Williams and Peng 1990), there
 * is an update every k1 steps from gradients that reach back k2 steps: windows overlap, and what is
 * carried is the state after k1 steps.
 *     ur_state_in(g, st, s);
 *     ur_node h = ur_unroll_states(rnn, x, NULL, s, all);              // x [k2,B,I]
 *     for (int k = 0; k < rnn->n_states; k++)
 *         s[k] = ur_index(all[k], 0, k1 - 1);                          // the next window's first
 *     ur_state_out(st, s);
 *     ... the loss of ur_slice(h, 0, k2 - k1, UR_END), of the first window that of all of h
 * Where row b begins another text, ur_state_reset(st, b) before the window.
 *
 * The shapes that models have:
 *     one to one          ur_cell_apply, or layers without a cell
 *     one to many         the one as the first state (ur_bridge), then ur_teach: attention.h
 *     many to one         unroll, then a pool (below), or the last state
 *     many to many        unroll, or both directions, and a layer on every step
 *     of another length   an encoder and a decoder: attention.h */

/* The other direction: from the last step of each row, counted from its own end, to its first.
 * x, outputs and all states stand at their own places; s, the states before the last step, become
 * those after the first. all[k], beyond a row's length, is the state before. lengths may be NULL;
 * all else as above. */
#define ur_unroll_backward(cell, x, lengths, s)                                                    \
    ur_unroll_backward_at(UR_AT(#x), cell, x, lengths, s, NULL)
#define ur_unroll_backward_states(cell, x, lengths, s, all)                                        \
    ur_unroll_backward_at(UR_AT(#x), cell, x, lengths, s, all)
UR_API ur_node ur_unroll_backward_at(ur_at at, const ur_cell *cell, ur_node x, const int lengths[],
                                     ur_node s[], ur_node all[]);
UR_API ur_node (ur_unroll_backward)(const ur_cell *cell, ur_node x, const int lengths[],
                                    ur_node s[]);
UR_API ur_node (ur_unroll_backward_states)(const ur_cell *cell, ur_node x, const int lengths[],
                                           ur_node s[], ur_node all[]);

/* Both directions                                                 Schuster and Paliwal 1997
 *     h_t = forward(x_t, h_t-1)    k_t = backward(x_t, k_t+1)    y_t = merge(h_t, k_t)
 *     merge: [h,k] side by side; h + k; (h + k) / 2; the larger one of each feature
 * x [T,B,inputs] of both cells; lengths and s may be NULL. s, and all, hold the states of `forward`
 * and then those of `backward`. Layers of it: y as the next one's x. Fails as unroll does, and
 * where cells of different outputs are to be merged other than side by side.
 * ..._apart: y[0] = h and y[1] = k, and all states where `all` is not NULL; false on error. */
typedef enum ur_merge {
    UR_MERGE_CONCAT, UR_MERGE_SUM, UR_MERGE_AVERAGE, UR_MERGE_MAXIMUM
} ur_merge;
#define ur_bidirectional(forward, backward, x, lengths, merge, s)                                  \
    ur_bidirectional_at(UR_AT(#x), forward, backward, x, lengths, merge, s)
#define ur_bidirectional_apart(forward, backward, x, lengths, s, all, y)                           \
    ur_bidirectional_apart_at(UR_AT(#x), forward, backward, x, lengths, s, all, y)
UR_API ur_node ur_bidirectional_at(ur_at at, const ur_cell *forward, const ur_cell *backward,
                                   ur_node x, const int lengths[], ur_merge merge, ur_node s[]);
UR_API bool ur_bidirectional_apart_at(ur_at at, const ur_cell *forward, const ur_cell *backward,
                                      ur_node x, const int lengths[], ur_node s[], ur_node all[],
                                      ur_node y[2]);
UR_API ur_node (ur_bidirectional)(const ur_cell *forward, const ur_cell *backward, ur_node x,
                                  const int lengths[], ur_merge merge, ur_node s[]);
UR_API bool (ur_bidirectional_apart)(const ur_cell *forward, const ur_cell *backward, ur_node x,
                                     const int lengths[], ur_node s[], ur_node all[],
                                     ur_node y[2]);

/* The places of a batch that belong to its rows, for masks of one's own: [T,B,1], 1 where
 * t < lengths[b] and 0 beyond, on graph g; lengths NULL stands for T. It is data: other lengths do
 * not make another plan. Fails: a length outside [0, T].
 * ur_within: x [T,B,features] with zeros beyond the lengths, whatever was there; x itself where
 * lengths is NULL. Its gradient beyond them is zero. ur_ids_within: int32 ids [T,B] with `padding`
 * there. */
#define ur_length_mask(g, T, B, lengths) ur_length_mask_at(UR_AT(#lengths), g, T, B, lengths)
#define ur_within(x, lengths) ur_within_at(UR_AT(#x), x, lengths)
#define ur_ids_within(ids, lengths, padding) ur_ids_within_at(UR_AT(#ids), ids, lengths, padding)
UR_API ur_node ur_length_mask_at(ur_at at, ur_graph *g, int T, int B, const int lengths[]);
UR_API ur_node ur_within_at(ur_at at, ur_node x, const int lengths[]);
UR_API ur_node ur_ids_within_at(ur_at at, ur_node ids, const int lengths[], int padding);
UR_API ur_node (ur_length_mask)(ur_graph *g, int T, int B, const int lengths[]);
UR_API ur_node (ur_within)(ur_node x, const int lengths[]);
UR_API ur_node (ur_ids_within)(ur_node ids, const int lengths[], int padding);
/* False, with an error of the graph that names `what` and the length, if one is not in [0, T]. */
UR_API bool ur_lengths_fit(ur_graph *g, ur_at at, const char *what, const int lengths[], int T,
                           int B);

/* States that are zero: s[k] [B, sizes[k]], on graph g. False on error. */
UR_API bool ur_cell_zero_states(ur_graph *g, const ur_cell *cell, int B, ur_node s[]);

/* States that are learnt: a row [sizes[k]] for each state of a cell, "start.state0" and so on in
 * ps, zeros at first or as given; ur_initial_states makes them s[k] [B, sizes[k]] for any B. False
 * on error, as when the cell was not usable. */
typedef struct ur_initial {
    ur_node *row;
    int n;
} ur_initial;
UR_API ur_initial ur_initial_new(ur_params *ps, const char *name, const ur_cell *cell);
UR_API ur_initial ur_initial_with(ur_params *ps, const char *name, const ur_cell *cell,
                                  ur_init start);
#define ur_initial_states(g, initial, B, s)                                                        \
    ur_initial_states_at(UR_AT(#initial ", " #B), g, initial, B, s)
UR_API bool ur_initial_states_at(ur_at at, ur_graph *g, ur_initial initial, int B, ur_node s[]);
UR_API bool (ur_initial_states)(ur_graph *g, ur_initial initial, int B, ur_node s[]);

/* A store of states for ur_state_in and ur_state_out: "lstm.state0" and so on, zeros, of the type
 * of the cell's store. NULL when out of memory or the cell is not usable. */
UR_API ur_params *ur_cell_states(const ur_cell *cell, int B);

/* ------------------------------------------------------------------------------------- many to one
 *
 * One vector [B,F] for each row of x [T,B,F], n steps long:
 *     last        x_(n-1)
 *     mean        (sum_t x_t) / n
 *     max         max_t x_t, feature by feature
 *     attention   a = softmax_t(v . tanh(x_t W + b))    sum_t a_t x_t       Yang et al. 2016
 * lengths may be NULL: all T steps. What lies beyond is never looked at; a row of length 0 is
 * zeros, with zero gradient. Lengths are data: others do not make another plan. Fails: x of another
 * rank; a length outside [0, T].
 * Of both directions, the last states of the two cells say what "last" says of one. */
#define ur_pool_last(x, lengths) ur_pool_last_at(UR_AT(#x), x, lengths)
#define ur_pool_mean(x, lengths) ur_pool_mean_at(UR_AT(#x), x, lengths)
#define ur_pool_max(x, lengths)  ur_pool_max_at(UR_AT(#x), x, lengths)
UR_API ur_node ur_pool_last_at(ur_at at, ur_node x, const int lengths[]);
UR_API ur_node ur_pool_mean_at(ur_at at, ur_node x, const int lengths[]);
UR_API ur_node ur_pool_max_at(ur_at at, ur_node x, const int lengths[]);
UR_API ur_node (ur_pool_last)(ur_node x, const int lengths[]);
UR_API ur_node (ur_pool_mean)(ur_node x, const int lengths[]);
UR_API ur_node (ur_pool_max)(ur_node x, const int lengths[]);

/* W [F,A] and b [A] start as a linear layer of this name, v [A,1] as U(-k, k), k = 1 / sqrt(A).
 * *weights, where it is not NULL, becomes the a of each row, [B,T], zeros beyond its length: a node
 * that is kept, to be read after the run. */
typedef struct ur_pooling {
    ur_linear_layer W;
    ur_node v;
} ur_pooling;
UR_API ur_pooling ur_pooling_new(ur_params *ps, const char *name, int F, int A);
#define ur_pool_attention(layer, x, lengths, weights)                                              \
    ur_pool_attention_at(UR_AT(#x), layer, x, lengths, weights)
UR_API ur_node ur_pool_attention_at(ur_at at, ur_pooling layer, ur_node x, const int lengths[],
                                    ur_node *weights);
UR_API ur_node (ur_pool_attention)(ur_pooling layer, ur_node x, const int lengths[],
                                   ur_node *weights);

#ifdef __cplusplus
}
#endif

#endif
