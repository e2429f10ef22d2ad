/* attention.h: looking at a whole sequence at once: attention, transformers.
 *
 * Letters: B rows; T steps that look, S steps that are looked at; q a query, k a key, v a value.
 * Sequences are [T,B,features] here, too. Where lengths are given (an array of the program, B of
 * them), what lies beyond them is never looked at (it may be NaN), gets no weight and has no
 * gradient; lengths NULL stands for all S. They are data: others do not make another plan. A row of
 * length 0 gets the weights 0 and the context 0.
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
UR_API ur_node ur_heads_attend_at(ur_at at, ur_multi_head layer, ur_memory memory, ur_node q,
                                  const ur_heads_options *options);

/* A sequence that looks at itself: x is the memory and the queries. Outputs beyond the lengths are
 * 0. */
#define ur_self_attention(layer, x, lengths, ...)                                                  \
    ur_self_attention_at(UR_AT(#x), layer, x, lengths, &(ur_heads_options){ __VA_ARGS__ })
UR_API ur_node ur_self_attention_at(ur_at at, ur_multi_head layer, ur_node x, const int lengths[],
                                    const ur_heads_options *options);

/* ------------------------------------------------------------------------------------- positions */

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

#ifdef __cplusplus
}
#endif

#endif
