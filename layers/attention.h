/* attention.h: looking at a whole sequence at once: attention, decoders that attend, transformers.
 *
 * Letters: B rows; T steps that look, S steps that are looked at; q a query, k a key, v a value.
 * Sequences are [T,B,features] here, too. Where lengths are given (an array of the program, B of
 * them), what lies beyond them is never looked at (it may be NaN), gets no weight and has no
 * gradient; lengths NULL stands for all S. They are data: others do not make another plan. A row of
 * length 0 gets the weights 0 and the context 0.
 *
 * A translator that trains: a bidirectional encoder, a decoder that attends to it.
 *
 *     ur_cell *f = ur_gru(ps, "f", E, H), *k = ur_gru(ps, "k", E, H);
 *     ur_attention a = ur_attention_new(ps, "a", UR_SCORE_ADDITIVE, H, 2 * H, H);
 *     ur_cell *inner = ur_gru(ps, "d", E + 2 * H, H);
 *     ur_decoder d = { ur_embedding_new(ps, "to", V, E), ur_attention_cell(inner, a),
 *                      ur_linear_new(ps, "out", 3 * H, V) };
 *     ur_bridge bridge = ur_bridge_new(ps, "bridge", 2, (int[]){ H, H }, inner);
 *     ...
 *     ur_cell_zero_states(g, f, B, e), ur_cell_zero_states(g, k, B, e + 1);
 *     ur_node x = ur_bidirectional(f, k, ur_embed(from, source), lengths, UR_MERGE_CONCAT, e);
 *     ur_decoder now = ur_decoder_on(d, ur_memory_new(a, x, lengths), NULL);
 *     ur_bridge_states(bridge, e, s);                              // the decoder's first state
 *     ur_node logits = ur_teach(now, target, target_lengths, s, .ratio = 1);      // [T,B,V]
 */
#ifndef UR_ATTENTION_H
#define UR_ATTENTION_H

#include "unroll/graph.h"
#include "unroll/layers.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------ attention */

/* How well a query q [Q] and what is looked at, x [K], go together:
 *     dot          q . x                        Q = K                          Luong et al. 2015
 *     scaled dot   q . x / sqrt(Q)              Q = K                        Vaswani et al. 2017
 *     general      q W . x                      W [K,Q], kept as x W            Luong et al. 2015
 *     additive     v . tanh(q W + x U + b)      W [Q,A]  U [K,A]  v [A]     Bahdanau et al. 2015
 * The first two have no parameters. Matrices and b start as those of a linear layer, v as
 * U(-k, k) with k = 1 / sqrt(A). A counts for additive alone. Fails (an error of the store): sizes
 * below 1, Q != K for a dot. */
typedef enum ur_score {
    UR_SCORE_DOT, UR_SCORE_SCALED_DOT, UR_SCORE_GENERAL, UR_SCORE_ADDITIVE
} ur_score;
typedef struct ur_attention {
    ur_score score;
    int Q, K;
    ur_node W, U, b, v;
} ur_attention;
UR_API ur_attention ur_attention_new(ur_params *ps, const char *name, ur_score score, int Q, int K,
                                     int A);

/* What is looked at, x [S,B,K], prepared once for all queries: the part of the scores that depends
 * on x alone, and which places count. ..._masked: those whose mask [S,B] is not 0.
 * Fails: x of another shape; a length outside [0, S]. */
typedef struct ur_memory {
    ur_node values, keys;           /* [B,S,K], [B,S,.]; with heads [B,heads,S,K/heads] */
    ur_node mask;                   /* [B,1,S]; nil where all count */
} ur_memory;
#define ur_memory_new(attention, x, lengths)   ur_memory_at(UR_AT(#x), attention, x, lengths)
#define ur_memory_masked(attention, x, mask)                                                       \
    ur_memory_masked_at(UR_AT(#x ", " #mask), attention, x, mask)
UR_API ur_memory ur_memory_at(ur_at at, ur_attention attention, ur_node x, const int lengths[]);
UR_API ur_memory ur_memory_masked_at(ur_at at, ur_attention attention, ur_node x, ur_node mask);
UR_API ur_memory (ur_memory_new)(ur_attention attention, ur_node x, const int lengths[]);
UR_API ur_memory (ur_memory_masked)(ur_attention attention, ur_node x, ur_node mask);

/* The context of queries: a = softmax_s(score(q, x_s)), sum_s a_s x_s.
 *     q [B,Q] -> [B,K], weights [B,S]        q [T,B,Q] -> [T,B,K], weights [B,T,S]
 * *weights, where it is not NULL, becomes the a: a node that is kept, to be read after the run. */
#define ur_attend(attention, memory, q, weights)                                                   \
    ur_attend_at(UR_AT(#q), attention, memory, q, weights)
UR_API ur_node ur_attend_at(ur_at at, ur_attention attention, ur_memory memory, ur_node q,
                            ur_node *weights);
UR_API ur_node (ur_attend)(ur_attention attention, ur_memory memory, ur_node q, ur_node *weights);

/* ----------------------------------------------------------------------------- several heads
 *
 *     head_i = softmax(mask(Q_i K_i^T / sqrt(d))) V_i      d = D / heads
 *     Q = q Wq + bq    K = x Wk + bk    V = x Wv + bv      their i-th d columns each
 *     y = [head_1 .. head_h] Wo + bo                                         Vaswani et al. 2017
 * All matrices are [D,D]: parameters name.q.W and so on, k, v, out. They start as ur_xavier, biases
 * as 0. heads must divide D. */
typedef struct ur_multi_head {
    ur_linear_layer q, k, v, out;
    int heads;
} ur_multi_head;
UR_API ur_multi_head ur_multi_head_new(ur_params *ps, const char *name, int D, int heads);

/* Keys and values of x [S,B,D], once for all queries; and what queries [T,B,D] make of them:
 * [T,B,D]. Options by name, at least one:
 *     causal    query t looks at no place behind S - T + t: the queries are the last T of the S
 *     mask      a node of 0 and others that broadcasts to [B,heads,T,S]; 0 is not looked at
 *     dropout   of weights
 *     weights   where the softmax is put, [B,heads,T,S]: kept, before dropout */
typedef struct ur_heads_options {
    bool causal;
    ur_node mask;
    double dropout;
    ur_node *weights;
} ur_heads_options;
#define ur_heads_memory(layer, x, lengths) ur_heads_memory_at(UR_AT(#x), layer, x, lengths)
#define ur_heads_attend(layer, memory, q, ...)                                                     \
    ur_heads_attend_at(UR_AT(#q), layer, memory, q, &(ur_heads_options){ __VA_ARGS__ })
UR_API ur_memory ur_heads_memory_at(ur_at at, ur_multi_head layer, ur_node x, const int lengths[]);
UR_API ur_memory (ur_heads_memory)(ur_multi_head layer, ur_node x, const int lengths[]);
UR_API ur_node ur_heads_attend_at(ur_at at, ur_multi_head layer, ur_memory memory, ur_node q,
                                  const ur_heads_options *options);

/* A sequence that looks at itself: x is the memory and the queries. Outputs beyond the lengths are
 * 0. */
#define ur_self_attention(layer, x, lengths, ...)                                                  \
    ur_self_attention_at(UR_AT(#x), layer, x, lengths, &(ur_heads_options){ __VA_ARGS__ })
UR_API ur_node ur_self_attention_at(ur_at at, ur_multi_head layer, ur_node x, const int lengths[],
                                    const ur_heads_options *options);

/* ------------------------------------------------------------------------------------ positions */

/* x [T,B,D] whose steps are first, first + 1, .., each with the vector of its position added:
 *     sinusoid   p_2i = sin(t / 10000^(2i/D))    p_2i+1 = cos(the same)      Vaswani et al. 2017
 *     learned    the t-th row of P [steps,D], which starts as N(0, 0.02)     Radford et al. 2018
 * Fails: first < 0; a step beyond the rows of P. */
typedef struct ur_positions {
    ur_node P;
} ur_positions;
UR_API ur_positions ur_positions_new(ur_params *ps, const char *name, int steps, int D);
#define ur_add_sinusoid(x, first)          ur_add_sinusoid_at(UR_AT(#x), x, first)
#define ur_add_positions(layer, x, first)                                                          \
    ur_add_positions_at(UR_AT(#x ", " #layer ".P"), layer, x, first)
UR_API ur_node ur_add_sinusoid_at(ur_at at, ur_node x, int first);
UR_API ur_node ur_add_positions_at(ur_at at, ur_positions layer, ur_node x, int first);
UR_API ur_node (ur_add_sinusoid)(ur_node x, int first);
UR_API ur_node (ur_add_positions)(ur_positions layer, ur_node x, int first);

/* ---------------------------------------------------------------------------------- transformers
 *
 * A block, with n layer normalisation, A attention of a sequence to itself, C attention to the
 * memory (decoder blocks alone), F(x) = f(x Wu + bu) Wd + bd, and f gelu or relu:
 *     before (the default)                   after: post_norm
 *         x = x + A(n1(x))                       x = n1(x + A(x))
 *         x = x + C(n2(x))                       x = n2(x + C(x))          Vaswani et al. 2017
 *         y = x + F(n3(x))                       y = n3(x + F(x))
 * Before is Radford et al. 2019's and trains without a warm-up (Xiong et al. 2020); a stack of such
 * blocks ends with one more normalisation. Dropout is on the weights of attention, inside F and on
 * A, C and F. The same numbers as PyTorch's TransformerEncoderLayer and TransformerDecoderLayer.
 * Parameters: name.self.q.W .., name.cross.., name.n1.., name.up.., name.down..
 *
 * x [T,B,D] -> [T,B,D]; outputs of a stack beyond the lengths are 0, those of a block alone are
 * anything finite. Positions are the caller's to add. */
typedef struct ur_transformer_options {
    int heads;                          /* divides D; 0 stands for 1 */
    int inner;                          /* features inside F; 0 stands for 4 D */
    bool causal;                        /* no step looks ahead; decoders never do */
    bool post_norm, relu;
    double dropout;
} ur_transformer_options;
typedef struct ur_transformer_block {
    ur_multi_head self, cross;          /* cross.heads 0: an encoder's */
    ur_layer_norm n1, n2, n3;
    ur_linear_layer up, down;
    ur_transformer_options how;         /* the rate may be changed */
} ur_transformer_block;
#define ur_encoder_block_new(ps, name, D, ...)                                                     \
    ur_encoder_block_with(ps, name, D, &(ur_transformer_options){ __VA_ARGS__ })
#define ur_decoder_block_new(ps, name, D, ...)                                                     \
    ur_decoder_block_with(ps, name, D, &(ur_transformer_options){ __VA_ARGS__ })
UR_API ur_transformer_block ur_encoder_block_with(ur_params *ps, const char *name, int D,
                                                  const ur_transformer_options *options);
UR_API ur_transformer_block ur_decoder_block_with(ur_params *ps, const char *name, int D,
                                                  const ur_transformer_options *options);
/* memory: ur_heads_memory(block->cross, m, lengths of m); NULL for an encoder's. */
UR_API ur_node ur_block_apply(const ur_transformer_block *block, ur_node x, const int lengths[],
                              const ur_memory *memory);

/* Blocks on top of each other, name.0 and so on, and name.last. The blocks live in the store.
 *     ur_transformer enc = ur_transformer_encoder_new(ps, "enc", D, 4, .heads = 4);
 *     ur_node y = ur_transform(enc, ur_add_sinusoid(x, 0), lengths);
 * A language model is an encoder with .causal = true. ..._memory: a decoder, m [S,B,D]. */
typedef struct ur_transformer {
    int layers;
    ur_transformer_block *blocks;
    ur_layer_norm last;                 /* of pre-norm stacks alone */
} ur_transformer;
#define ur_transformer_encoder_new(ps, name, D, layers, ...)                                       \
    ur_transformer_encoder_with(ps, name, D, layers, &(ur_transformer_options){ __VA_ARGS__ })
#define ur_transformer_decoder_new(ps, name, D, layers, ...)                                       \
    ur_transformer_decoder_with(ps, name, D, layers, &(ur_transformer_options){ __VA_ARGS__ })
UR_API ur_transformer ur_transformer_encoder_with(ur_params *ps, const char *name, int D,
                                                  int layers,
                                                  const ur_transformer_options *options);
UR_API ur_transformer ur_transformer_decoder_with(ur_params *ps, const char *name, int D,
                                                  int layers,
                                                  const ur_transformer_options *options);
UR_API ur_node ur_transform(ur_transformer stack, ur_node x, const int lengths[]);
UR_API ur_node ur_transform_memory(ur_transformer stack, ur_node x, const int lengths[], ur_node m,
                                   const int m_lengths[]);

/* ------------------------------------------------------------------------ decoders that attend
 *
 * A cell that looks at a memory is a cell: unroll, loops of one's own and decoding apply to it.
 *
 * ur_attention_cell, after Bahdanau et al. 2015: looks with the state that it has, then steps.
 *     c = attend(h)    y = inner([x,c])    output [y,c]
 * h is the first state of `inner`, of a stack that of its top cell, through wrappers too. `inner`
 * takes [x,c]: I + K inputs, and its h has Q features. The states are those of `inner`.
 *
 * ur_input_feeding, after Luong et al. 2015: steps, then looks with its output, and feeds what came
 * of it into its next step.
 *     y = inner([x,a])    a' = tanh([attend(y), y] W)    output a'
 * `inner` takes I + A inputs and has Q outputs; W is name.W [K + Q, A]. The states are those of
 * `inner`, then a [A].
 *
 * Both live in the store of `inner`. The errors: a size that does not fit. */
UR_API ur_cell *ur_attention_cell(ur_cell *inner, ur_attention attention);
UR_API ur_cell *ur_input_feeding(ur_cell *inner, const char *name, ur_attention attention, int A);

/* Such a cell on a memory: what unroll and decoders are given. It lives until the tape is cleared,
 * so that threads can share the cell itself, which is on no memory and cannot step. `weights` is
 * NULL or has room for one node a step to come, [B,S] each: kept, for heat maps. Wrappers (dropout,
 * stacks) go around `inner`. The rows of x are those of the memory: for K hypotheses a row, the
 * memory is made of ur_repeat(x, 1, K) and lengths repeated alike. */
UR_API const ur_cell *ur_on_memory(const ur_cell *cell, ur_memory memory, ur_node weights[]);

/* From the last states of encoders to the first ones of a decoder: s_k = tanh([all of them] W + b),
 * matrices name.0.W [sum of from, size of s_k] and so on. Where both have the same states, these
 * can be handed on as they are. from: the sizes of the n states, of both directions one after the
 * other. (With input feeding the bridge is made for `inner`; a starts as zeros.) */
typedef struct ur_bridge {
    int n_from, n_to;
    const ur_linear_layer *layers;
} ur_bridge;
UR_API ur_bridge ur_bridge_new(ur_params *ps, const char *name, int n, const int from[],
                               const ur_cell *to);
UR_API bool ur_bridge_states(ur_bridge bridge, const ur_node from[], ur_node to[]);

/* A decoder over symbols; its cell may be any. `out` takes the outputs of the cell. */
typedef struct ur_decoder {
    ur_embedding embed;
    const ur_cell *cell;
    ur_linear_layer out;
} ur_decoder;
/* The same with its cell on a memory. */
UR_API ur_decoder ur_decoder_on(ur_decoder decoder, ur_memory memory, ur_node weights[]);

/* One step, all that greedy, sampled and beam decoding need: int32 ids [B] -> logits [B,V]. */
UR_API ur_node ur_decode_step(ur_decoder decoder, ur_node ids, ur_node s[]);

/* Logits [T,B,V] of a decoder that is told what to write: ids [T,B], of which row 0 holds the start
 * symbols and row t what stands before the t-th label. lengths [B] may be NULL; beyond them states
 * stay and logits are those of a zero output. s as in unroll. Options by name, at least one:
 *     ratio         probability that a row is fed the true symbol in a step, else the one of its
 *                   own logits (scheduled sampling, Bengio et al. 2015). 1 (teacher forcing) feeds
 *                   the true ones at once, for all steps. Data but for 1 itself
 *     per_sequence  one coin for all steps of a row
 *     temperature   its own symbol is drawn (ur_sample); 0 takes the most likely one
 * No gradient flows through the choice. Fails: ratio outside [0, 1]; as unroll does. */
typedef struct ur_teaching {
    double ratio;
    bool per_sequence;
    double temperature;
} ur_teaching;
#define ur_teach(decoder, ids, lengths, s, ...)                                                    \
    ur_teach_at(UR_AT(#ids), decoder, ids, lengths, s, &(ur_teaching){ __VA_ARGS__ })
UR_API ur_node ur_teach_at(ur_at at, ur_decoder decoder, ur_node ids, const int lengths[],
                           ur_node s[], const ur_teaching *how);

#ifdef __cplusplus
}
#endif

#endif
