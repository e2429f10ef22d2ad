/* ops.h: the operations.
 *
 * An operation records one node, or a few where the table says "composite"; it computes nothing
 * until ur_run (graph.h). It returns a node, which is inert after an error.
 *
 * Shapes. A step is [B, features], a sequence [T, B, features]. Elementwise operations broadcast:
 * sizes are equal, or one of them is 1, or a leading axis is missing. Nothing else broadcasts, and
 * losses demand equal shapes. Sizes may be 0. Axes count from 0; negative ones from the end.
 *
 * Numbers. A `double` argument (a factor, a rate, a bound) becomes a rank-0 leaf: it is data, so
 * another value does not make another plan. Axes, lengths and flags are structure.
 *
 * Operands may be parameters, as long as one of them is on a graph: ur_use(g, W) where all are
 * parameters. Masks and conditions select and never multiply, so that NaN behind a mask stays
 * there, in gradients too. int32 nodes (ids, labels) can be moved about by the operations on
 * shapes, and cast.
 *
 * Errors, for every operation: an operand that is nil, of a cleared tape or of another graph; an
 * int32 operand where a number is needed or the other way about; shapes that do not fit. The text
 * names the operands and the caller's line. What can only be known in the run (an id out of range)
 * makes the run fail. The error goes to the graph that an operand is on. Where all are UR_NIL, as
 * nodes never assigned are, or UR_NIL and parameters, there is no graph to tell: the result is
 * UR_NIL and no error is left, so that a value read of it is NaN.
 *
 * Each name is a macro that hands over its place in the caller's file to the function ur_..._at; a
 * plain function of the same name exists beside it, for pointers.
 */
#ifndef UR_OPS_H
#define UR_OPS_H

#include "unroll/graph.h"
#include "unroll/op.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UR__OP1(name)                                                                              \
    UR_API ur_node name##_at(ur_at at, ur_node x);                                                 \
    UR_API ur_node (name)(ur_node x);
#define UR__OP2(name)                                                                              \
    UR_API ur_node name##_at(ur_at at, ur_node a, ur_node b);                                      \
    UR_API ur_node (name)(ur_node a, ur_node b);
#define UR__OP3(name)                                                                              \
    UR_API ur_node name##_at(ur_at at, ur_node a, ur_node b, ur_node c);                           \
    UR_API ur_node (name)(ur_node a, ur_node b, ur_node c);

/* ---------------------------------------------------------------------- elementwise, one operand
 *                                                              value y                   dy/dx   */
#define ur_neg(x)        ur_neg_at(UR_AT(#x), x)             /* -x                        -1      */
#define ur_one_minus(x)  ur_one_minus_at(UR_AT(#x), x)       /* 1 - x                     -1      */
#define ur_exp(x)        ur_exp_at(UR_AT(#x), x)             /* e^x                       y       */
#define ur_log(x)        ur_log_at(UR_AT(#x), x)             /* ln x                      1/x     */
#define ur_sqrt(x)       ur_sqrt_at(UR_AT(#x), x)            /* x^(1/2)                   1/(2y)  */
#define ur_square(x)     ur_square_at(UR_AT(#x), x)          /* x x                       2x      */
#define ur_reciprocal(x) ur_reciprocal_at(UR_AT(#x), x)      /* 1/x                       -y^2    */
#define ur_abs(x)        ur_abs_at(UR_AT(#x), x)             /* |x|                       sign x  */
#define ur_sin(x)        ur_sin_at(UR_AT(#x), x)             /* sin x                     cos x   */
#define ur_cos(x)        ur_cos_at(UR_AT(#x), x)             /* cos x                     -sin x  */
#define ur_tanh(x)       ur_tanh_at(UR_AT(#x), x)            /* tanh x                    1 - y^2 */
#define ur_sigmoid(x)    ur_sigmoid_at(UR_AT(#x), x)         /* 1/(1 + e^-x)              y(1-y)  */
#define ur_softplus(x)   ur_softplus_at(UR_AT(#x), x)        /* ln(1 + e^x)           sigmoid x   */
#define ur_relu(x)       ur_relu_at(UR_AT(#x), x)            /* max(x, 0)                 x > 0   */
#define ur_gelu(x)       ur_gelu_at(UR_AT(#x), x)           /* x P(x)            P(x) + x p(x)    */
#define ur_normal_cdf(x) ur_normal_cdf_at(UR_AT(#x), x)     /* P(x) = (1 + erf(x/sqrt 2))/2, p(x) */
#define ur_normal_pdf(x) ur_normal_pdf_at(UR_AT(#x), x)     /* p(x) = e^(-x^2/2)/sqrt(2 pi), -x y */
#define ur_sign(x)       ur_sign_at(UR_AT(#x), x)            /* -1, 0 or 1                none    */
#define ur_positive(x)   ur_positive_at(UR_AT(#x), x)        /* x > 0 as 0 or 1           none    */
/* relu' and abs' are 0 at 0. gelu is the exact one (Hendrycks and Gimpel 2016). */
UR__OP1(ur_neg) UR__OP1(ur_one_minus) UR__OP1(ur_exp) UR__OP1(ur_log) UR__OP1(ur_sqrt)
UR__OP1(ur_square) UR__OP1(ur_reciprocal) UR__OP1(ur_abs) UR__OP1(ur_sin) UR__OP1(ur_cos)
UR__OP1(ur_tanh) UR__OP1(ur_sigmoid) UR__OP1(ur_softplus) UR__OP1(ur_relu) UR__OP1(ur_gelu)
UR__OP1(ur_normal_cdf) UR__OP1(ur_normal_pdf) UR__OP1(ur_sign) UR__OP1(ur_positive)

/* ------------------------------------------------------- elementwise, two and three, broadcasting
 *                                                                   value y         dy/da, dy/db */
#define ur_add(a, b)     ur_add_at(UR_AT(#a ", " #b), a, b)         /* a + b          1, 1        */
#define ur_sub(a, b)     ur_sub_at(UR_AT(#a ", " #b), a, b)         /* a - b          1, -1       */
#define ur_mul(a, b)     ur_mul_at(UR_AT(#a ", " #b), a, b)         /* a b            b, a        */
#define ur_div(a, b)     ur_div_at(UR_AT(#a ", " #b), a, b)         /* a / b          1/b, -y/b   */
#define ur_minimum(a, b) ur_minimum_at(UR_AT(#a ", " #b), a, b)   /* the smaller, a where equal   */
#define ur_maximum(a, b) ur_maximum_at(UR_AT(#a ", " #b), a, b)   /* the larger, a where equal    */
#define ur_power(a, b)   ur_power_at(UR_AT(#a ", " #b), a, b)     /* a^b     b a^(b-1), none      */
/* What tanh and sigmoid, of the result y, make of a gradient g: one operation, not three. */
#define ur_tanh_grad(y, g)    ur_tanh_grad_at(UR_AT(#y ", " #g), y, g)      /* g (1 - y^2)   */
#define ur_sigmoid_grad(y, g) ur_sigmoid_grad_at(UR_AT(#y ", " #g), y, g)   /* g y (1 - y)   */
/* Comparisons: 1 or 0 in the graph's precision, without gradient; false where an operand is NaN
 * (not_equal: true). */
#define ur_less(a, b)          ur_less_at(UR_AT(#a ", " #b), a, b)                  /* a < b  */
#define ur_less_equal(a, b)    ur_less_equal_at(UR_AT(#a ", " #b), a, b)            /* a <= b */
#define ur_greater(a, b)       ur_greater_at(UR_AT(#a ", " #b), a, b)               /* a > b  */
#define ur_greater_equal(a, b) ur_greater_equal_at(UR_AT(#a ", " #b), a, b)         /* a >= b */
#define ur_equal(a, b)         ur_equal_at(UR_AT(#a ", " #b), a, b)                 /* a == b */
#define ur_not_equal(a, b)     ur_not_equal_at(UR_AT(#a ", " #b), a, b)             /* a != b */
/* Masks m are numbers, true when not 0; they have no gradient. */
#define ur_select(m, b)   ur_select_at(UR_AT(#m ", " #b), m, b)                 /* m ? b : 0  */
#define ur_unless(m, b)   ur_unless_at(UR_AT(#m ", " #b), m, b)                 /* m ? 0 : b  */
#define ur_where(m, b, c) ur_where_at(UR_AT(#m ", " #b ", " #c), m, b, c)       /* m ? b : c  */
/* clip: min(max(a, lo), hi); inside: lo <= a <= hi as 0 or 1. The bounds have no gradient. */
#define ur_clip(a, lo, hi)   ur_clip_at(UR_AT(#a ", " #lo ", " #hi), a, lo, hi)
#define ur_inside(a, lo, hi) ur_inside_at(UR_AT(#a ", " #lo ", " #hi), a, lo, hi)
UR__OP2(ur_add) UR__OP2(ur_sub) UR__OP2(ur_mul) UR__OP2(ur_div) UR__OP2(ur_minimum)
UR__OP2(ur_maximum) UR__OP2(ur_power) UR__OP2(ur_tanh_grad) UR__OP2(ur_sigmoid_grad)
UR__OP2(ur_less) UR__OP2(ur_less_equal) UR__OP2(ur_greater) UR__OP2(ur_greater_equal)
UR__OP2(ur_equal) UR__OP2(ur_not_equal) UR__OP2(ur_select) UR__OP2(ur_unless)
UR__OP3(ur_where) UR__OP3(ur_clip) UR__OP3(ur_inside)

/* --------------------------------------------------------- elementwise, with numbers; composite */
#define ur_scale(x, k)       ur_scale_at(UR_AT(#x ", " #k), x, k)                   /* k x       */
#define ur_shift(x, k)       ur_shift_at(UR_AT(#x ", " #k), x, k)                   /* x + k     */
#define ur_pow(x, p)         ur_pow_at(UR_AT(#x ", " #p), x, p)                     /* x^p       */
#define ur_clamp(x, lo, hi) ur_clamp_at(UR_AT(#x ", " #lo ", " #hi), x, lo, hi)  /* into [lo, hi] */
#define ur_leaky_relu(x, k)  ur_leaky_relu_at(UR_AT(#x ", " #k), x, k)      /* x > 0 ? x : k x   */
UR_API ur_node ur_scale_at(ur_at at, ur_node x, double k);
UR_API ur_node ur_shift_at(ur_at at, ur_node x, double k);
UR_API ur_node ur_pow_at(ur_at at, ur_node x, double p);
UR_API ur_node ur_clamp_at(ur_at at, ur_node x, double lo, double hi);
UR_API ur_node ur_leaky_relu_at(ur_at at, ur_node x, double k);
UR_API ur_node (ur_scale)(ur_node x, double k);
UR_API ur_node (ur_shift)(ur_node x, double k);
UR_API ur_node (ur_pow)(ur_node x, double p);
UR_API ur_node (ur_clamp)(ur_node x, double lo, double hi);
UR_API ur_node (ur_leaky_relu)(ur_node x, double k);

/* ------------------------------------------------------------------------------------- products */

/* Y = A B:  a[..., M, K], b[K, N] -> [..., M, N]; or b[..., K, N], leading axes broadcast.
 * The flags transpose the last two axes of an operand first. Both operands have at least rank 2.
 *     dA = g B^T    dB = A^T g, summed over the rows or leading axes that share B */
#define ur_matmul(a, b) ur_matmul_at(UR_AT(#a ", " #b), a, b)
#define ur_matmul_with(a, b, transpose_a, transpose_b)                                             \
    ur_matmul_with_at(UR_AT(#a ", " #b), a, b, transpose_a, transpose_b)
UR__OP2(ur_matmul)
UR_API ur_node ur_matmul_with_at(ur_at at, ur_node a, ur_node b, bool transpose_a,
                                 bool transpose_b);
UR_API ur_node (ur_matmul_with)(ur_node a, ur_node b, bool transpose_a, bool transpose_b);

/* x W + b:  x[..., I], W[I, O], b[O] -> [..., O]; x has at least rank 2. Composite. */
#define ur_affine(x, W, b) ur_affine_at(UR_AT(#x ", " #W ", " #b), x, W, b)
UR_API ur_node ur_affine_at(ur_at at, ur_node x, ur_node W, ur_node b);
UR_API ur_node (ur_affine)(ur_node x, ur_node W, ur_node b);

/* ------------------------------------------------------------------------------------- reductions
 *
 *     ur_sum(x)                   over all elements, rank 0
 *     ur_sum_over(x, 0, 2)        over these axes, which are dropped
 *     ur_sum_keep(x, -1)          over these axes, which stay with size 1
 *
 * and so for sum, mean, max and logsumexp. Axes that do not lie side by side make a node each. The
 * plain functions take an array: ur_sum_over(x, n, axes).
 *     sum         of nothing: 0                        gradient: g everywhere
 *     mean        sum / count; of nothing: NaN         g / count
 *     max         of nothing: -inf; NaN if one is      g at the first maximum in row-major order
 *     logsumexp   ln sum e^x, without overflow; of nothing or of all -inf: -inf    g e^(x - y);
 *                 zero for a row of -inf
 */
#define UR__REDUCTION(name)                                                                        \
    UR__OP1(name)                                                                                  \
    UR_API ur_node name##_over_at(ur_at at, ur_node x, int n, const int *axes);                    \
    UR_API ur_node name##_keep_at(ur_at at, ur_node x, int n, const int *axes);                    \
    UR_API ur_node (name##_over)(ur_node x, int n, const int *axes);                               \
    UR_API ur_node (name##_keep)(ur_node x, int n, const int *axes);
#define ur_sum(x)                 ur_sum_at(UR_AT(#x), x)
#define ur_sum_over(x, ...)       ur_sum_over_at(UR_AT(#x), x, UR__DIMS(__VA_ARGS__))
#define ur_sum_keep(x, ...)       ur_sum_keep_at(UR_AT(#x), x, UR__DIMS(__VA_ARGS__))
#define ur_mean(x)                ur_mean_at(UR_AT(#x), x)
#define ur_mean_over(x, ...)      ur_mean_over_at(UR_AT(#x), x, UR__DIMS(__VA_ARGS__))
#define ur_mean_keep(x, ...)      ur_mean_keep_at(UR_AT(#x), x, UR__DIMS(__VA_ARGS__))
#define ur_max(x)                 ur_max_at(UR_AT(#x), x)
#define ur_max_over(x, ...)       ur_max_over_at(UR_AT(#x), x, UR__DIMS(__VA_ARGS__))
#define ur_max_keep(x, ...)       ur_max_keep_at(UR_AT(#x), x, UR__DIMS(__VA_ARGS__))
#define ur_logsumexp(x)           ur_logsumexp_at(UR_AT(#x), x)
#define ur_logsumexp_over(x, ...) ur_logsumexp_over_at(UR_AT(#x), x, UR__DIMS(__VA_ARGS__))
#define ur_logsumexp_keep(x, ...) ur_logsumexp_keep_at(UR_AT(#x), x, UR__DIMS(__VA_ARGS__))
UR__REDUCTION(ur_sum) UR__REDUCTION(ur_mean) UR__REDUCTION(ur_max) UR__REDUCTION(ur_logsumexp)

/* int32 index of the first maximum along an axis, which is dropped; a NaN counts as largest. The
 * axis is not empty. No gradient. */
#define ur_argmax(x, axis) ur_argmax_at(UR_AT(#x), x, axis)
UR_API ur_node ur_argmax_at(ur_at at, ur_node x, int axis);
UR_API ur_node (ur_argmax)(ur_node x, int axis);

/* Running sums along an axis: y_k = x_0 + ... + x_k. */
#define ur_cumsum(x, axis) ur_cumsum_at(UR_AT(#x), x, axis)
UR_API ur_node ur_cumsum_at(ur_at at, ur_node x, int axis);
UR_API ur_node (ur_cumsum)(ur_node x, int axis);

/* Over the last axis, without overflow.
 *     softmax       y = e^x / sum e^x     y (g - sum g y); a row of -inf: zeros, no gradient
 *     log_softmax   y = x - ln sum e^x    g - e^y sum g, without the places where y = -inf */
#define ur_softmax(x)     ur_softmax_at(UR_AT(#x), x)
#define ur_log_softmax(x) ur_log_softmax_at(UR_AT(#x), x)
UR__OP1(ur_softmax) UR__OP1(ur_log_softmax)

/* --------------------------------------------------------------------------------------- losses */

/* Losses are rank 0, a mean; the form ..._each is one number an element. */
typedef enum ur_reduction { UR_MEAN, UR_TOTAL, UR_EACH } ur_reduction;

/* A label that counts for nothing. */
enum { UR_IGNORE = -100 };

/* Softmax cross-entropy, in nats, of logits[..., V] and int32 labels[...] in [0, V):
 *     l = -w[label] sum_v q_v log_softmax(x)_v      q_v = (1 - eps) [v = label] + eps / V
 * ur_cross_entropy is the mean over all positions but those whose label is UR_IGNORE; 0 with zero
 * gradient when none is left.
 * ..._with: `ignore` is the label without loss, whatever its logits are; eps = `smoothing`, in
 * [0, 1) (Szegedy et al. 2016); `weights`[V] of the classes or UR_NIL, without gradient; reduction
 * UR_MEAN, the sum of l over the sum of w[label]; UR_TOTAL, the sum of l; UR_EACH, l itself, in the
 * shape of labels.
 * With weights and smoothing, all terms have the weight of the label (PyTorch's each that of v).
 * Fails: a smoothing out of range; in the run, another label outside [0, V). */
#define ur_cross_entropy(logits, labels)                                                           \
    ur_cross_entropy_at(UR_AT(#logits ", " #labels), logits, labels)
#define ur_cross_entropy_with(logits, labels, ignore, smoothing, weights, reduction)               \
    ur_cross_entropy_with_at(UR_AT(#logits ", " #labels ", " #smoothing ", " #weights), logits,    \
                             labels, ignore, smoothing, weights, reduction)
UR_API ur_node ur_cross_entropy_at(ur_at at, ur_node logits, ur_node labels);
UR_API ur_node ur_cross_entropy_with_at(ur_at at, ur_node logits, ur_node labels, int ignore,
                                        double smoothing, ur_node weights, ur_reduction reduction);
UR_API ur_node (ur_cross_entropy)(ur_node logits, ur_node labels);
UR_API ur_node (ur_cross_entropy_with)(ur_node logits, ur_node labels, int ignore, double smoothing,
                                       ur_node weights, ur_reduction reduction);

/* Composites of two equal shapes: a prediction y (or logit x) and its target t.
 *     binary_cross_entropy   t softplus(-x) + (1 - t) softplus(x), t in [0, 1], in nats
 *     squared_loss           (y - t)^2
 *     absolute_loss          |y - t|
 *     huber_loss             d = y - t:  d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2)
 *                            (Huber 1964); delta > 0 */
#define ur_binary_cross_entropy(x, t) ur_binary_cross_entropy_at(UR_AT(#x ", " #t), x, t)
#define ur_binary_cross_entropy_each(x, t) ur_binary_cross_entropy_each_at(UR_AT(#x ", " #t), x, t)
#define ur_squared_loss(y, t)         ur_squared_loss_at(UR_AT(#y ", " #t), y, t)
#define ur_squared_loss_each(y, t)    ur_squared_loss_each_at(UR_AT(#y ", " #t), y, t)
#define ur_absolute_loss(y, t)        ur_absolute_loss_at(UR_AT(#y ", " #t), y, t)
#define ur_absolute_loss_each(y, t)   ur_absolute_loss_each_at(UR_AT(#y ", " #t), y, t)
#define ur_huber_loss(y, t, delta)    ur_huber_loss_at(UR_AT(#y ", " #t), y, t, delta)
#define ur_huber_loss_each(y, t, delta) ur_huber_loss_each_at(UR_AT(#y ", " #t), y, t, delta)
UR__OP2(ur_binary_cross_entropy) UR__OP2(ur_binary_cross_entropy_each) UR__OP2(ur_squared_loss)
UR__OP2(ur_squared_loss_each) UR__OP2(ur_absolute_loss) UR__OP2(ur_absolute_loss_each)
UR_API ur_node ur_huber_loss_at(ur_at at, ur_node y, ur_node t, double delta);
UR_API ur_node ur_huber_loss_each_at(ur_at at, ur_node y, ur_node t, double delta);
UR_API ur_node (ur_huber_loss)(ur_node y, ur_node t, double delta);
UR_API ur_node (ur_huber_loss_each)(ur_node y, ur_node t, double delta);

/* ---------------------------------------------------------- shapes; int32 nodes are welcome too */

/* The same numbers in the same order; one size may be -1 and follows from the others. */
#define ur_reshape(x, ...) ur_reshape_at(UR_AT(#x), x, UR__DIMS(__VA_ARGS__))
/* The last two axes swapped; any two; any order: axis k of the result is axis order[k] of x. */
#define ur_transpose(x)       ur_transpose_at(UR_AT(#x), x)
#define ur_swap_axes(x, i, j) ur_swap_axes_at(UR_AT(#x), x, i, j)
#define ur_permute(x, ...)    ur_permute_at(UR_AT(#x), x, UR__DIMS(__VA_ARGS__))
UR__OP1(ur_transpose)
UR_API ur_node ur_reshape_at(ur_at at, ur_node x, int rank, const int *dim);
UR_API ur_node ur_swap_axes_at(ur_at at, ur_node x, int i, int j);
UR_API ur_node ur_permute_at(ur_at at, ur_node x, int rank, const int *order);
UR_API ur_node (ur_reshape)(ur_node x, int rank, const int *dim);
UR_API ur_node (ur_swap_axes)(ur_node x, int i, int j);
UR_API ur_node (ur_permute)(ur_node x, int rank, const int *order);

/* x[.., begin : end, ..] along an axis. Negative positions count from the end; UR_END is the end.
 * 0 <= begin <= end <= size, nothing is clamped. */
enum { UR_END = 0x7fffffff };
#define ur_slice(x, axis, begin, end) ur_slice_at(UR_AT(#x), x, axis, begin, end)
/* x[.., i, ..]: one position of an axis, which is dropped. ur_index(x, 0, t): step t of [T,B,F]. */
#define ur_index(x, axis, i) ur_index_at(UR_AT(#x), x, axis, i)
/* n equal parts along an axis into out[n]; false on error. */
#define ur_split(x, axis, n, out) ur_split_at(UR_AT(#x), x, axis, n, out)
/* `before` and `after` zeros around x along an axis. */
#define ur_pad(x, axis, before, after) ur_pad_at(UR_AT(#x), x, axis, before, after)
UR_API ur_node ur_slice_at(ur_at at, ur_node x, int axis, int begin, int end);
UR_API ur_node ur_index_at(ur_at at, ur_node x, int axis, int i);
UR_API bool ur_split_at(ur_at at, ur_node x, int axis, int n, ur_node out[]);
UR_API ur_node ur_pad_at(ur_at at, ur_node x, int axis, int before, int after);
UR_API ur_node (ur_slice)(ur_node x, int axis, int begin, int end);
UR_API ur_node (ur_index)(ur_node x, int axis, int i);
UR_API bool (ur_split)(ur_node x, int axis, int n, ur_node out[]);
UR_API ur_node (ur_pad)(ur_node x, int axis, int before, int after);

/* Side by side: [h, x] along the last axis; n >= 1 nodes along any axis. */
#define ur_concat(a, b)            ur_concat_at(UR_AT(#a ", " #b), a, b)
#define ur_concat_n(nodes, n, axis) ur_concat_n_at(UR_AT(""), nodes, n, axis)
/* Equal shapes on a new axis: n steps [B,F] -> [n,B,F]; or on another axis of the result. */
#define ur_stack(nodes, n)         ur_stack_n_at(UR_AT(""), nodes, n, 0)
#define ur_stack_n(nodes, n, axis) ur_stack_n_at(UR_AT(""), nodes, n, axis)
UR__OP2(ur_concat)
UR_API ur_node ur_concat_n_at(ur_at at, const ur_node nodes[], int n, int axis);
UR_API ur_node ur_stack_n_at(ur_at at, const ur_node nodes[], int n, int axis);
UR_API ur_node (ur_concat_n)(const ur_node nodes[], int n, int axis);
UR_API ur_node (ur_stack)(const ur_node nodes[], int n);
UR_API ur_node (ur_stack_n)(const ur_node nodes[], int n, int axis);

/* Backwards along an axis. ..._lengths: x[T, B, ...], the first lengths[b] steps of each row b
 * backwards and the others where they are; 0 <= lengths[b] <= T. */
#define ur_reverse(x, axis)            ur_reverse_at(UR_AT(#x), x, axis)
#define ur_reverse_lengths(x, lengths) ur_reverse_lengths_at(UR_AT(#x), x, lengths)
UR_API ur_node ur_reverse_at(ur_at at, ur_node x, int axis);
UR_API ur_node ur_reverse_lengths_at(ur_at at, ur_node x, const int *lengths);
UR_API ur_node (ur_reverse)(ur_node x, int axis);
UR_API ur_node (ur_reverse_lengths)(ur_node x, const int *lengths);

/* broadcast_to: axes of size 1 and missing leading axes repeated, as elementwise operations do.
 * repeat: each position of an axis n times (a a b b).  tile: the whole axis n times (a b a b). */
#define ur_broadcast_to(x, ...) ur_broadcast_to_at(UR_AT(#x), x, UR__DIMS(__VA_ARGS__))
#define ur_repeat(x, axis, n)   ur_repeat_at(UR_AT(#x), x, axis, n)
#define ur_tile(x, axis, n)     ur_tile_at(UR_AT(#x), x, axis, n)
UR_API ur_node ur_broadcast_to_at(ur_at at, ur_node x, int rank, const int *dim);
UR_API ur_node ur_repeat_at(ur_at at, ur_node x, int axis, int n);
UR_API ur_node ur_tile_at(ur_at at, ur_node x, int axis, int n);
UR_API ur_node (ur_broadcast_to)(ur_node x, int rank, const int *dim);
UR_API ur_node (ur_repeat)(ur_node x, int axis, int n);
UR_API ur_node (ur_tile)(ur_node x, int axis, int n);

/* Rows of a table by int32 ids in [0, V): table[V, F], ids[...] -> [..., F]; the table may have
 * further axes or none but the first. The gradient of the table is scatter_add. */
#define ur_gather(table, ids) ur_gather_at(UR_AT(#table ", " #ids), table, ids)
/* A table of n rows of zeros to which rows[..., F] are added at ids[...]: -> [n, F]. */
#define ur_scatter_add(rows, ids, n) ur_scatter_add_at(UR_AT(#rows ", " #ids), rows, ids, n)
/* ids[...] in [0, n) -> [..., n], 1 at the id and 0 elsewhere. No gradient. */
#define ur_one_hot(ids, n) ur_one_hot_at(UR_AT(#ids), ids, n)
/* int32 as numbers of the graph's precision (f32 rounds beyond 2^24). No gradient. */
#define ur_cast(ids) ur_cast_at(UR_AT(#ids), ids)
UR__OP2(ur_gather) UR__OP1(ur_cast)
UR_API ur_node ur_scatter_add_at(ur_at at, ur_node rows, ur_node ids, int n);
UR_API ur_node ur_one_hot_at(ur_at at, ur_node ids, int n);
UR_API ur_node (ur_scatter_add)(ur_node rows, ur_node ids, int n);
UR_API ur_node (ur_one_hot)(ur_node ids, int n);

/* ----------------------------------------------------------------------------------------- random
 *
 * Numbers depend on (ur_seed, number of the run, ordinal of the random operation on its tape or an
 * explicit tag, element) and on nothing else. Operations with equal tags and shapes draw the same
 * in one run: that is how one mask serves a whole sequence.
 */

/* Dropout (Srivastava et al. 2014): each element is 0 with probability `rate`, else x / (1 - rate).
 * The identity on UR_INFER graphs and at rate 0. The rate is in [0, 1]. NaN where x is dropped
 * stays there. Tagged: one mask for all t (Gal and Ghahramani 2016). Composite. */
#define ur_dropout(x, rate)             ur_dropout_at(UR_AT(#x), x, rate)
#define ur_dropout_tagged(x, rate, tag) ur_dropout_tagged_at(UR_AT(#x), x, rate, tag)
UR_API ur_node ur_dropout_at(ur_at at, ur_node x, double rate);
UR_API ur_node ur_dropout_tagged_at(ur_at at, ur_node x, double rate, int64_t tag);
UR_API ur_node (ur_dropout)(ur_node x, double rate);
UR_API ur_node (ur_dropout_tagged)(ur_node x, double rate, int64_t tag);

/* New numbers of the shape that follows, in every mode of the graph, without gradient.
 *     noise_uniform(g, lo, hi, ...)    uniform from lo to hi
 *     noise_normal(g, deviation, ...)  normal, mean 0
 *     bernoulli(g, p, ...)             1 with probability p, else 0
 *     bernoulli_tagged(g, p, tag, ...) the same, by tag */
#define ur_noise_uniform(g, lo, hi, ...)                                                           \
    ur_noise_uniform_at(UR_AT(#lo ", " #hi), g, lo, hi, UR__DIMS(__VA_ARGS__))
#define ur_noise_normal(g, deviation, ...)                                                         \
    ur_noise_normal_at(UR_AT(#deviation), g, deviation, UR__DIMS(__VA_ARGS__))
#define ur_bernoulli(g, p, ...) ur_bernoulli_at(UR_AT(#p), g, p, UR__DIMS(__VA_ARGS__))
#define ur_bernoulli_tagged(g, p, tag, ...)                                                        \
    ur_bernoulli_tagged_at(UR_AT(#p), g, p, tag, UR__DIMS(__VA_ARGS__))
UR_API ur_node ur_noise_uniform_at(ur_at at, ur_graph *g, double lo, double hi, int rank,
                                   const int *dim);
UR_API ur_node ur_noise_normal_at(ur_at at, ur_graph *g, double deviation, int rank,
                                  const int *dim);
UR_API ur_node ur_bernoulli_at(ur_at at, ur_graph *g, double p, int rank, const int *dim);
UR_API ur_node ur_bernoulli_tagged_at(ur_at at, ur_graph *g, double p, int64_t tag, int rank,
                                      const int *dim);
UR_API ur_node (ur_noise_uniform)(ur_graph *g, double lo, double hi, int rank, const int *dim);
UR_API ur_node (ur_noise_normal)(ur_graph *g, double deviation, int rank, const int *dim);
UR_API ur_node (ur_bernoulli)(ur_graph *g, double p, int rank, const int *dim);
UR_API ur_node (ur_bernoulli_tagged)(ur_graph *g, double p, int64_t tag, int rank, const int *dim);

/* One id drawn from each row of logits[..., V]: int32 [...]. In this order: the logits are divided
 * by `temperature` (0: the largest one is taken); only the `top_k` most likely are left (0: all);
 * only the fewest most likely whose probability together reaches `top_p` are left (1: all; Holtzman
 * et al. 2020). Of equal ones the first are taken. All three are data. V > 0.
 * Fails: temperature < 0, top_k < 0, top_p outside (0, 1]; in the run, a row with NaN or without a
 * logit above -inf. */
#define ur_sample(logits, temperature, top_k, top_p)                                               \
    ur_sample_at(UR_AT(#logits), logits, temperature, top_k, top_p)
UR_API ur_node ur_sample_at(ur_at at, ur_node logits, double temperature, int top_k, double top_p);
UR_API ur_node (ur_sample)(ur_node logits, double temperature, int top_k, double top_p);

#undef UR__OP1
#undef UR__OP2
#undef UR__OP3
#undef UR__REDUCTION

#ifdef __cplusplus
}
#endif

#endif
