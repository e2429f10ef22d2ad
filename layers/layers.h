/* layers.h: cells, layers and the loops around them.
 *
 * A cell is one step of a recurrent network. A network over a sequence is a loop over that step
 * (ur_unroll), and back-propagation through time is the gradient of the unrolled graph: nothing in
 * this folder has a derivative of its own, and a built-in cell uses nothing that a user's does not
 * have. Every cell's file opens with its equations and is then the same equations in C.
 *
 *     ur_params *ps = ur_params_new(UR_F32, 1);
 *     ur_embedding emb = ur_embedding_new(ps, "embed", V, E);
 *     ur_cell *rnn = ur_lstm(ps, "lstm", E, H);
 *     ur_linear_layer out = ur_linear_new(ps, "out", H, V);
 *     ur_params *st = ur_cell_states(rnn, B);                 // carried from step to step
 *     ...
 *     ur_state_in(g, st, s);                                  // ur_node s[2]
 *     ur_node h = ur_unroll(rnn, ur_embed(emb, ids), s);      // ids [T,B], h [T,B,H]
 *     ur_node logits = ur_linear(out, h);                     // [T,B,V]
 *     ur_state_out(st, s);
 *
 * Letters: T steps, B batch, I inputs, H hidden units, V vocabulary; x the input, h the hidden
 * state, c the memory of an lstm; gates i f g o (lstm), r z n (gru). Products are x W with W
 * [inputs, outputs], so a row of a batch is a row of everything. [h, x] stands for ur_concat(h, x).
 *
 * Parameters are named after the layer: the forget gate of "lstm" has lstm.Wf and lstm.bf.
 */
#ifndef UR_LAYERS_H
#define UR_LAYERS_H

#include "unroll/check.h"
#include "unroll/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------------------------------- cells */

/* What every loop, wrapper and check knows of a cell, the first member of a cell's own struct. */
typedef struct ur_cell ur_cell;

/* One step for the rows of x [B, inputs]. s[k], k < n_states, is [B, sizes[k]]; the step replaces
 * it by its successor. Returns the output [B, outputs], which need not be a state. */
typedef ur_node ur_cell_step(const ur_cell *cell, ur_node x, ur_node s[]);

struct ur_cell {
    const char *name;
    int inputs, outputs;            /* features a row */
    int n_states;
    const int *sizes;               /* features a row of each state */
    ur_params *params;              /* the store that holds its parameters, and the cell itself */
    ur_cell_step *step;
    /* A cell that is others on top of each other, from the bottom up, its states theirs one after
     * the other, may name them: ur_unroll takes each over the whole sequence before the next. */
    const ur_cell *const *parts;
    int n_parts;
    /* The state that attention looks with: the first one of a cell, of a stack that of its top. A
     * wrapper says what its cell says. */
    int top;
    /* The step knows rows by their place in the batch, since it looks at something else that has
     * rows: attention. Unrolled with lengths, all rows then take every step in their own order. A
     * wrapper says what its cell says. */
    bool keeps_rows;
};

/* The largest size of a cell: sums of sizes and small multiples, as 4 * H, are then ints. */
enum { UR_MAX_SIZE = 1 << 28 };

/* A zeroed struct of `bytes` bytes whose first member is a ur_cell, filled in with what follows.
 * It lives in the store and is freed with it; name and sizes are copied.
 * On a store that has an error, without memory, or with a size not from 1 to UR_MAX_SIZE (an error
 * of the store) the result is a cell that can be filled in, too, but not used: never NULL up to
 * 4096 bytes. */
UR_API void *ur_cell_new(ur_params *ps, const char *name, size_t bytes, ur_cell_step *step,
                         int inputs, int outputs, int n_states, const int sizes[]);

/* How the parameters of a cell start. The defaults are those of PyTorch's modules, with
 * k = 1 / sqrt(H): matrices U(-k, k), biases the sum of two such draws, since PyTorch has two
 * biases where the equations have one. Change some fields and hand the whole to a ..._with:
 *     ur_cell_options o = ur_cell_defaults(H);
 *     o.forget = ur_constant(1);
 *     ur_cell *rnn = ur_lstm_with(ps, "lstm", I, H, &o); */
typedef struct ur_cell_options {
    ur_init W;                      /* matrices on [h, x] or on h alone */
    ur_init U;                      /* matrices on x alone */
    ur_init b;                      /* biases */
    ur_init forget;                 /* lstms: the forget gate's bias   Jozefowicz et al. 2015: 1 */
    ur_init d;                      /* gru_reset_after: bn and dn, one draw each */
    ur_init p;                      /* lstm_peephole: pi, pf and po, U(-k, k) */
    ur_init gain;                   /* lstm_norm: what normalised sums are multiplied with, 1 */
} ur_cell_options;
UR_API ur_cell_options ur_cell_defaults(int H);

/* The simple recurrent network                                                   Elman 1990
 *     h' = tanh(x U + h W + b)                    U [I,H]  W [H,H]  b [H]
 * and with relu in the place of tanh. One state, h, which is the output. ur_irnn is the latter with
 * W starting as the identity and b as zeros (Le, Jaitly and Hinton 2015); of options it takes U. */
UR_API ur_cell *ur_elman(ur_params *ps, const char *name, int I, int H);
UR_API ur_cell *ur_elman_with(ur_params *ps, const char *name, int I, int H,
                              const ur_cell_options *o);
UR_API ur_cell *ur_elman_relu(ur_params *ps, const char *name, int I, int H);
UR_API ur_cell *ur_elman_relu_with(ur_params *ps, const char *name, int I, int H,
                                   const ur_cell_options *o);
UR_API ur_cell *ur_irnn(ur_params *ps, const char *name, int I, int H);
UR_API ur_cell *ur_irnn_with(ur_params *ps, const char *name, int I, int H,
                             const ur_cell_options *o);

/* Long short-term memory                Hochreiter and Schmidhuber 1997, Gers et al. 2000
 *     i = sigmoid([h,x] Wi + bi)   f = sigmoid([h,x] Wf + bf)      W [H+I,H], b [H]
 *     g = tanh([h,x] Wg + bg)      o = sigmoid([h,x] Wo + bo)
 *     c' = f*c + i*g               h' = o * tanh(c')
 * Two states, h and c; the output is h'. */
UR_API ur_cell *ur_lstm(ur_params *ps, const char *name, int I, int H);
UR_API ur_cell *ur_lstm_with(ur_params *ps, const char *name, int I, int H,
                             const ur_cell_options *o);

/* Its variants, with the same states and output.
 * Peephole: gates look at the memory, each unit at its own        Gers and Schmidhuber 2000
 *     i = sigmoid([h,x] Wi + pi*c + bi)   f = sigmoid([h,x] Wf + pf*c + bf)       pi, pf, po [H]
 *     o = sigmoid([h,x] Wo + po*c' + bo)
 * Coupled: i = 1 - f, without Wi and bi                                  Greff et al. 2017
 * Norm: N is ur_normalise with gain ai, af, ag, ao, ac [H]        Ba, Kiros and Hinton 2016
 * (who normalise the shares of h and of x apart, over all gates together; here each gate is apart)
 *     i = sigmoid(N([h,x] Wi; ai, bi))    f, g, o alike           h' = o * tanh(N(c'; ac, bc)) */
UR_API ur_cell *ur_lstm_peephole(ur_params *ps, const char *name, int I, int H);
UR_API ur_cell *ur_lstm_peephole_with(ur_params *ps, const char *name, int I, int H,
                                      const ur_cell_options *o);
UR_API ur_cell *ur_lstm_coupled(ur_params *ps, const char *name, int I, int H);
UR_API ur_cell *ur_lstm_coupled_with(ur_params *ps, const char *name, int I, int H,
                                     const ur_cell_options *o);
UR_API ur_cell *ur_lstm_norm(ur_params *ps, const char *name, int I, int H);
UR_API ur_cell *ur_lstm_norm_with(ur_params *ps, const char *name, int I, int H,
                                  const ur_cell_options *o);

/* Gated recurrent unit, reset gate before the product                       Cho et al. 2014
 *     r = sigmoid([h,x] Wr + br)   z = sigmoid([h,x] Wz + bz)      W [H+I,H], b [H]
 *     n = tanh([r*h, x] Wn + bn)   h' = (1-z)*h + z*n
 * One state, h, which is the output. z is the share of the new: the lectures have it so, and call
 * r the relevance gate. PyTorch's and cuDNN's is the next one. */
UR_API ur_cell *ur_gru(ur_params *ps, const char *name, int I, int H);
UR_API ur_cell *ur_gru_with(ur_params *ps, const char *name, int I, int H,
                            const ur_cell_options *o);

/* Gated recurrent unit, reset gate after the product: PyTorch's and cuDNN's
 *     r = sigmoid([h,x] Wr + br)   z = sigmoid([h,x] Wz + bz)      W [H+I,H], b [H]
 *     n = tanh(x Un + bn + r*(h Wn + dn))                          Un [I,H], Wn [H,H], dn [H]
 *     h' = (1-z)*n + z*h
 * One state, h, which is the output. z is the share of the old. */
UR_API ur_cell *ur_gru_reset_after(ur_params *ps, const char *name, int I, int H);
UR_API ur_cell *ur_gru_reset_after_with(ur_params *ps, const char *name, int I, int H,
                                        const ur_cell_options *o);

/* The update gate alone: the simplified GRU with which the lectures begin (Gamma_u is z)
 *     z = sigmoid([h,x] Wz + bz)   n = tanh([h,x] Wn + bn)         W [H+I,H], b [H]
 *     h' = (1-z)*h + z*n
 * One state, h, which is the output. */
UR_API ur_cell *ur_gru_simple(ur_params *ps, const char *name, int I, int H);
UR_API ur_cell *ur_gru_simple_with(ur_params *ps, const char *name, int I, int H,
                                   const ur_cell_options *o);

/* Minimal gated unit                                                          Zhou et al. 2016
 *     f = sigmoid([h,x] Wf + bf)   n = tanh([f*h, x] Wn + bn)      W [H+I,H], b [H]
 *     h' = (1-f)*h + f*n
 * One state, h, which is the output. f is the share of the new. */
UR_API ur_cell *ur_mgu(ur_params *ps, const char *name, int I, int H);
UR_API ur_cell *ur_mgu_with(ur_params *ps, const char *name, int I, int H,
                            const ur_cell_options *o);

/* Wrappers, which are cells themselves. They live in the store of the cell they wrap.
 *
 * Dropout on the output of a cell (Zaremba et al. 2014), not on what it carries: new numbers at
 * every step, or one mask for a whole sequence (Gal and Ghahramani 2016). The identity on UR_INFER
 * graphs. ur_set_dropout changes the rate of such a cell, which does not make a new plan; false
 * when the cell is no dropout cell or the rate is not in [0, 1]. */
UR_API ur_cell *ur_dropout_cell(ur_cell *cell, double rate);
UR_API ur_cell *ur_dropout_cell_sequence(ur_cell *cell, double rate);
UR_API bool ur_set_dropout(ur_cell *cell, double rate);

/* Zoneout (Krueger et al. 2017): in training each unit of state k keeps its old value in a step
 * with probability rates[k]; at inference the state is rates[k] old + (1 - rates[k]) new. One rate
 * in [0, 1] for each state, or it is an error of the store. An output that is one of the states, as
 * h of an lstm, is that state as it is carried on. ur_set_zoneout changes the rates, which does not
 * make a new plan unless one was or becomes 0; false when the cell is none or a rate is wrong. */
UR_API ur_cell *ur_zoneout(ur_cell *cell, const double rates[]);
UR_API bool ur_set_zoneout(ur_cell *cell, const double rates[]);

/* Residual: y = x + output (He et al. 2016). The cell has as many inputs as outputs; if not, it is
 * an error of the store. */
UR_API ur_cell *ur_residual(ur_cell *cell);

/* Projection: y = output P, P [outputs, O] (Sak et al. 2014), "lstm.P", which starts as U(-k, k)
 * with k = 1 / sqrt(outputs). States stay as they are. */
UR_API ur_cell *ur_projected(ur_cell *cell, int O);
UR_API ur_cell *ur_projected_with(ur_cell *cell, int O, ur_init P);

/* n >= 1 cells on top of each other, each one's output the next one's input, with dropout between
 * them at a rate above 0. Its states are theirs, from the bottom up. */
UR_API ur_cell *ur_stacked(const char *name, ur_cell *const cells[], int n, double dropout);

/* Whether ur_cell_new could make the cell. */
UR_API bool ur_cell_usable(const ur_cell *cell);

/* The proof of a cell's gradients (check.h), in double, unrolled over T steps of B rows: for x, the
 * initial states and every parameter that the steps use, through every output and the last states.
 *     ur_report r = ur_check_cell(rnn, .T = 3, .B = 2);       // at least one option
 * Inputs and states are drawn from [-1, 1]. A cell with more than UR_CHECK_INPUTS - 1 states is
 * refused. */
typedef struct ur_check_cell_options {
    int T, B;                       /* 0 stands for 3 and 2 */
    const int *lengths;             /* of the B rows, as ur_unroll_lengths has them; or NULL */
    int order;                      /* 2: second derivatives too; these as in ur_check_options */
    double bound;
    int elements;
    uint64_t seed;
} ur_check_cell_options;
#define ur_check_cell(cell, ...)                                                                   \
    ur_check_cell_with(cell, &(ur_check_cell_options){ __VA_ARGS__ })
UR_API ur_report ur_check_cell_with(const ur_cell *cell, const ur_check_cell_options *options);

/* ---------------------------------------------------------------------------------------- trees
 *
 * Tree-LSTM                                                Tai, Socher and Manning 2015
 *     i = sigmoid(x Ui + h Wi + bi)       f_k = sigmoid(x Uf + .. + bf), one a child
 *     g = tanh(x Ug + h Wg + bg)          o = sigmoid(x Uo + h Wo + bo)
 *     c' = i*g + sum_k f_k*c_k            h' = o * tanh(c')                   U [I,H], b [H]
 *   binary      h = [h_1, h_2]       f_1 = sigmoid(.. h Wf1 ..), f_2 with Wf2     W [2H,H]
 *   child-sum   h = sum_k h_k        f_k = sigmoid(.. h_k Wf ..)                  W [H,H]
 *
 * A tree is recorded node by node from the leaves up, rows [1,I] and [1,H], in plain C; nodes of
 * equal height, of all trees, are computed together by the planner. */
typedef struct ur_tree_lstm {
    ur_params *params;
    const char *name;
    bool binary;
    ur_node Ui, bi, Uf, bf, Ug, bg, Uo, bo, Wi, Wf, Wf1, Wf2, Wg, Wo;
} ur_tree_lstm;
typedef struct ur_tree_state {
    ur_node h, c;                   /* [B,H] */
} ur_tree_state;
UR_API ur_tree_lstm ur_tree_lstm_binary(ur_params *ps, const char *name, int I, int H);
UR_API ur_tree_lstm ur_tree_lstm_binary_with(ur_params *ps, const char *name, int I, int H,
                                             const ur_cell_options *o);
UR_API ur_tree_lstm ur_tree_lstm_child_sum(ur_params *ps, const char *name, int I, int H);
UR_API ur_tree_lstm ur_tree_lstm_child_sum_with(ur_params *ps, const char *name, int I, int H,
                                                const ur_cell_options *o);

/* A node's h and c, from its input x [B,I], or UR_NIL, and its n children's:
 *     ur_tree_state leaf = ur_tree_lstm_node(&tree, word, NULL, 0);
 *     ur_tree_state node = ur_tree_lstm_node(&tree, UR_NIL, both, 2);      // ur_tree_state both[2]
 * Terms of what is not there are left out. A binary node has no children or 2, a child-sum node any
 * number. Fails: neither x nor children (an error of the store), rows or sizes that differ. */
#define ur_tree_lstm_node(tree, x, children, n)                                                    \
    ur_tree_lstm_node_at(UR_AT(#x), tree, x, children, n)
UR_API ur_tree_state ur_tree_lstm_node_at(ur_at at, const ur_tree_lstm *tree, ur_node x,
                                          const ur_tree_state children[], int n);
UR_API ur_tree_state (ur_tree_lstm_node)(const ur_tree_lstm *tree, ur_node x,
                                         const ur_tree_state children[], int n);

/* -------------------------------------------------------------------------- feed-forward layers */

/* x W + b:  x [..., I] -> [..., O], W [I,O], b [O]. Both start as U(-k, k) with k = 1 / sqrt(I).
 * ..._with: as given. Unbiased: b is nil, y = x W. */
typedef struct ur_linear_layer {
    ur_node W, b;
} ur_linear_layer;
UR_API ur_linear_layer ur_linear_new(ur_params *ps, const char *name, int I, int O);
UR_API ur_linear_layer ur_linear_with(ur_params *ps, const char *name, int I, int O, ur_init W,
                                      ur_init b);
UR_API ur_linear_layer ur_linear_unbiased(ur_params *ps, const char *name, int I, int O,
                                          ur_init W);
#define ur_linear(layer, x) ur_linear_at(UR_AT(#x ", " #layer ".W, " #layer ".b"), layer, x)
UR_API ur_node ur_linear_at(ur_at at, ur_linear_layer layer, ur_node x);
UR_API ur_node (ur_linear)(ur_linear_layer layer, ur_node x);

/* A table of V rows of F numbers: int32 ids [...] -> [..., F]. Starts as N(0, 1). */
typedef struct ur_embedding {
    ur_node E;
} ur_embedding;
UR_API ur_embedding ur_embedding_new(ur_params *ps, const char *name, int V, int F);
UR_API ur_embedding ur_embedding_with(ur_params *ps, const char *name, int V, int F, ur_init E);
#define ur_embed(embedding, ids) ur_embed_at(UR_AT(#embedding ".E, " #ids), embedding, ids)
UR_API ur_node ur_embed_at(ur_at at, ur_embedding embedding, ur_node ids);
UR_API ur_node (ur_embed)(ur_embedding embedding, ur_node ids);

/* Layer normalisation over the last axis                             Ba, Kiros and Hinton 2016
 *     y = (x - m) / sqrt(v + eps) * gain + bias       m, v: mean and variance of the row, over F
 * x [..., F] -> [..., F], gain and bias [F]; equal to PyTorch's nn.LayerNorm. They start as 1 and
 * 0; eps is 1e-5 and can be changed in the struct. Fails: a last axis of another size. */
typedef struct ur_layer_norm {
    ur_node gain, bias;
    double eps;
} ur_layer_norm;
UR_API ur_layer_norm ur_layer_norm_new(ur_params *ps, const char *name, int F);
UR_API ur_layer_norm ur_layer_norm_with(ur_params *ps, const char *name, int F, ur_init gain,
                                        ur_init bias);
#define ur_normalise(norm, x) ur_normalise_at(UR_AT(#x), norm, x)
UR_API ur_node ur_normalise_at(ur_at at, ur_layer_norm norm, ur_node x);
UR_API ur_node (ur_normalise)(ur_layer_norm norm, ur_node x);

/* ---------------------------------------------------------------------------- PyTorch's parameters
 *
 * A safetensors file with the state of a torch module is read into a cell or layer of the same
 * kind: nn.LSTM into ur_lstm, nn.GRU into ur_gru_reset_after, nn.RNN into ur_elman or ur_elman_relu
 * as its nonlinearity is, nn.Linear into a linear layer. `module` is the name under which the file
 * has it, "encoder.rnn", or "" for none; `layer` counts the layers of a module from 0. Stacks are
 * read cell by cell. Gates are taken apart, matrices transposed, the two biases added; a module
 * without biases makes them zero.
 * The store is sealed by it. False, with the reason in ur_error of the store, when the file cannot
 * be read, lacks a tensor, has one of another size, or the cell has no counterpart; nothing is
 * changed then. */
UR_API bool ur_import_torch(ur_cell *cell, const char *path, const char *module, int layer);
UR_API bool ur_import_torch_linear(ur_linear_layer layer, const char *path, const char *module);

#ifdef __cplusplus
}
#endif

#include "unroll/sequences.h"

#endif
