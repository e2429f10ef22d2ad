/* tape.h: random recordings as data, so that they can be drawn, recorded, shrunk and printed.
 *
 * A tape is a list of lines; a line is a row of the table below, the earlier lines that it takes as
 * operands, and a few integers. */
#ifndef UNROLL_TESTS_TAPE_H
#define UNROLL_TESTS_TAPE_H

#include "tests/tape_compare.h"

enum { TAPE_LINES = 240, TAPE_IN = 8, TAPE_INTS = 6 };

typedef struct tape_line {
    int form;                           /* row of the table */
    int n_in, in[TAPE_IN];
    int n[TAPE_INTS];
    ur_shape shape;                     /* of the value */
    bool ints, grows, gone;             /* an int32; depends on a parameter; left out */
    bool seen, read;                    /* compared; read while recording */
} tape_line;

typedef struct tape {
    int n;
    tape_line line[TAPE_LINES];
} tape;

/* The forms: FORM(name, how operands are drawn, what is recorded). In the last, which is both the C
 * that records and the text that is printed,
 *     x y z     are the operands,            L, n        all of them as an array, and their number
 *     a b c d e are the line's integers,     rank, dim   the line's shape
 *     g r       the graph and the tape_run,  line        the line's number
 * Values stay near 1, so that rounding does not grow: a mean that happened to be 0 would have
 * nothing but rounding, so it is shifted. What has kinks takes leaves that are apart.
 * How: see tape_draw.c. */
#define TAPE_FORMS(FORM)                                                                           \
    FORM(leaf,          NEVER,  tape_leaf(r, a, b, rank, dim))                                     \
    FORM(weight,        NEVER,  tape_weight(r, a, rank, dim))                                      \
    FORM(state,         NEVER,  tape_state(r, a, rank, dim))                                       \
    FORM(state_out,     NEVER,  (tape_state_out(r, a, x), x))                                      \
    FORM(backward,      NEVER,  ur_backward(x))                                                    \
    FORM(grad,          GRAD,   tape_grad(r, line, L, n, a, b, c))                                 \
    FORM(zeros,         NEVER,  ur_zeros(g, a, b))                                                 \
    FORM(number,        NEVER,  ur_scalar(g, a / 8.0))                                             \
    /* elementwise */                                                                              \
    FORM(neg,           ONE,    ur_neg(x))                                                         \
    FORM(one_minus,     ONE,    ur_one_minus(x))                                                   \
    FORM(exp,           ONE,    ur_exp(ur_neg(ur_softplus(x))))                                    \
    FORM(log,           ONE,    ur_log(ur_shift(ur_square(x), 1)))                                 \
    FORM(sqrt,          ONE,    ur_sqrt(ur_shift(ur_square(x), 1)))                                \
    FORM(square,        ONE,    ur_square(ur_tanh(x)))                                             \
    FORM(reciprocal,    ONE,    ur_reciprocal(ur_shift(ur_square(x), 1)))                          \
    FORM(sin,           ONE,    ur_sin(x))                                                         \
    FORM(cos,           ONE,    ur_cos(x))                                                         \
    FORM(tanh,          ONE,    ur_tanh(x))                                                        \
    FORM(sigmoid,       ONE,    ur_sigmoid(x))                                                     \
    FORM(tanh_grad,     PAIR,   ur_tanh_grad(ur_tanh(x), y))                                       \
    FORM(sigmoid_grad,  PAIR,   ur_sigmoid_grad(ur_sigmoid(x), y))                                 \
    FORM(softplus,      ONE,    ur_softplus(x))                                                    \
    FORM(gelu,          ONE,    ur_gelu(x))                                                        \
    FORM(normal_cdf,    ONE,    ur_normal_cdf(x))                                                  \
    FORM(normal_pdf,    ONE,    ur_normal_pdf(x))                                                  \
    FORM(pow,           ONE,    ur_pow(ur_shift(ur_square(ur_tanh(x)), 0.5), 1.5))                 \
    FORM(scale,         ONE,    ur_scale(x, 0.75))                                                 \
    FORM(shift,         ONE,    ur_shift(x, 0.25))                                                 \
    FORM(swish,         ONE,    ur_apply(&tape_swish, x))                                          \
    FORM(detach,        ONE,    ur_detach(x))                                                      \
    FORM(add,           PAIR,   ur_add(x, y))                                                      \
    FORM(sub,           PAIR,   ur_sub(x, ur_scale(y, 0.5)))                                       \
    FORM(mul,           PAIR,   ur_mul(ur_tanh(x), ur_tanh(y)))                                    \
    FORM(gate,          PAIR,   ur_mul(x, ur_sigmoid(y)))                                          \
    FORM(div,           PAIR,   ur_div(x, ur_shift(ur_square(y), 1)))                              \
    FORM(mix,           PAIR,   ur_add(ur_mul(ur_sigmoid(x), y), ur_scale(x, 0.5)))                \
    FORM(squared,       PAIR,   ur_square(ur_tanh(ur_sub(x, y))))                                  \
    FORM(bce,           ONE,    ur_binary_cross_entropy(x, ur_sigmoid(x)))                         \
    FORM(bce_each,      ONE,    ur_binary_cross_entropy_each(x, ur_sigmoid(ur_sin(x))))            \
    FORM(squared_loss,  ONE,    ur_squared_loss(ur_tanh(x), ur_sin(x)))                            \
    FORM(abs,           APART,  ur_abs(x))                                                         \
    FORM(relu,          APART,  ur_relu(x))                                                        \
    FORM(leaky_relu,    APART,  ur_leaky_relu(x, 0.25))                                            \
    FORM(sign,          APART,  ur_sign(x))                                                        \
    FORM(clamp,         APART,  ur_clamp(x, -0.3, 0.4))                                            \
    FORM(inside,        APART,  ur_inside(x, ur_scalar(g, -0.3), ur_scalar(g, 0.4)))               \
    FORM(minimum,       APART2, ur_minimum(x, y))                                                  \
    FORM(maximum,       APART2, ur_maximum(x, y))                                                  \
    FORM(less,          APART2, ur_less(x, y))                                                     \
    FORM(less_equal,    APART2, ur_less_equal(x, y))                                               \
    FORM(greater,       APART2, ur_greater(x, y))                                                  \
    FORM(greater_equal, APART2, ur_greater_equal(x, y))                                            \
    FORM(equal,         APART2, ur_equal(x, y))                                                    \
    FORM(not_equal,     APART2, ur_not_equal(x, y))                                                \
    FORM(absolute_loss, APART2, ur_absolute_loss(x, y))                                            \
    FORM(huber_each,    APART2, ur_huber_loss_each(x, y, 0.7))                                     \
    FORM(select,        MASK,   ur_select(ur_positive(x), y))                                      \
    FORM(unless,        MASK,   ur_unless(ur_positive(x), y))                                      \
    FORM(where,         MASK,   ur_where(ur_positive(x), y, ur_tanh(y)))                           \
    /* products */                                                                                 \
    FORM(matmul,        WEIGHT, ur_matmul_with(x, y, a, b))                                        \
    FORM(affine,        AFFINE, ur_affine(x, y, z))                                                \
    FORM(cell_affine,   NEVER,  ur_affine(x, y, z))                                                \
    FORM(product,       MATRIX, ur_scale(ur_matmul_with(x, y, a, b), 0.25))                        \
    /* over axes */                                                                                \
    FORM(sum,           SUM,    ur_shift(ur_scale(ur_sum(x), 8.0 / a), 0.5))                       \
    FORM(sum_over,      AXIS,   ur_scale(ur_sum_over(x, a), 0.25))                                 \
    FORM(sum_keep,      AXIS,   ur_sum_keep(ur_tanh(x), a))                                        \
    FORM(sum_two,       AXES,   ur_scale(ur_sum_over(x, a, b), 0.125))                             \
    FORM(mean,          SOME,   ur_shift(ur_mean(x), 0.5))                                         \
    FORM(mean_over,     SOME,   ur_shift(ur_mean_over(x, a), 0.5))                                 \
    FORM(mean_keep,     SOME,   ur_mean_keep(x, a))                                                \
    FORM(max,           APART,  ur_max(x))                                                         \
    FORM(max_over,      APARTN, ur_max_over(x, a))                                                 \
    FORM(max_keep,      APARTN, ur_max_keep(x, a))                                                 \
    FORM(logsumexp,     SOME,   ur_logsumexp_over(x, a))                                           \
    FORM(argmax,        APARTN, ur_cast(ur_argmax(x, a)))                                          \
    FORM(sample,        APARTN, ur_cast(ur_sample(x, 0.7, 3, 0.9)))                                \
    FORM(cumsum,        AXIS,   ur_scale(ur_cumsum(x, a), 0.5))                                    \
    FORM(softmax,       AXIS,   ur_softmax(x))                                                     \
    FORM(log_softmax,   AXIS,   ur_scale(ur_log_softmax(x), 0.5))                                  \
    FORM(ce,            LABELS, ur_cross_entropy(x, y))                                            \
    FORM(ce_smooth,     LABELS, ur_cross_entropy_with(x, y, 0, 0.1, UR_NIL, UR_EACH))              \
    FORM(ce_weights,    LABELW, ur_cross_entropy_with(x, y, 1, 0.2, z, UR_MEAN))                   \
    /* moves */                                                                                    \
    FORM(flat,          ONE,    ur_reshape(x, -1))                                                 \
    FORM(lift,          ONE,    ur_reshape(x, 1, -1))                                              \
    FORM(rows,          AXIS,   ur_reshape(x, ur_dim(x, 0), -1))                                   \
    FORM(transpose,     AXES,   ur_transpose(x))                                                   \
    FORM(swap,          AXES,   ur_swap_axes(x, a, b))                                             \
    FORM(permute,       RANK3,  ur_permute(x, a, b, c))                                            \
    FORM(slice,         CUT,    ur_slice(x, a, b, c))                                              \
    FORM(index,         CUT,    ur_index(x, a, b))                                                 \
    FORM(pad,           AXIS,   ur_pad(x, a, b % 3, c % 3))                                        \
    FORM(concat_n,      LIKE,   ur_concat_n(L, n, a))                                              \
    FORM(stack_n,       SAME,   ur_stack_n(L, n, a))                                               \
    FORM(concat,        NEVER,  ur_concat(x, y))                                                   \
    FORM(reverse,       AXIS,   ur_reverse(x, a))                                                  \
    FORM(reverse_some,  LENGTH, ur_reverse_lengths(x, ((int[]){ a, b, c, d })))                    \
    FORM(broadcast,     GROW,   ur_broadcast_to(x, a, b, c))                                       \
    FORM(repeat,        AXIS,   ur_repeat(x, a, 1 + b % 3))                                        \
    FORM(tile,          AXIS,   ur_tile(x, a, 1 + b % 3))                                          \
    FORM(gather,        IDS,    ur_gather(x, y))                                                   \
    FORM(scatter_add,   ROWS,   ur_scatter_add(x, y, a))                                           \
    FORM(one_hot,       NEWIDS, ur_one_hot(x, a))                                                  \
    FORM(cast,          NEWIDS, ur_scale(ur_cast(x), 0.125))                                       \
    FORM(one_hot_times, ONEHOT, ur_matmul(ur_one_hot(y, a), x))                                    \
    FORM(ids_index,     NEVER,  ur_index(x, 0, a))                                                 \
    /* random */                                                                                   \
    FORM(dropout,       ONE,    ur_dropout(x, 0.3))                                                \
    FORM(dropout_tag,   ONE,    ur_dropout_tagged(x, 0.3, a))                                      \
    FORM(uniform,       NOISE,  ur_noise_uniform(g, -1, 1, a, b))                                  \
    FORM(normal,        NOISE,  ur_noise_normal(g, 0.5, a, b))                                     \
    FORM(bernoulli,     NOISE,  ur_bernoulli(g, 0.5, a, b))

enum {
#define FORM(name, how, ...) FORM_##name,
    TAPE_FORMS(FORM)
#undef FORM
    TAPE_N_FORMS
};

/* tape.c: records all lines that are not gone (also one by one); a tape_record whose ctx is it. */
void tape_recorded(tape_run *r, const void *tape);
ur_node tape_line_recorded(tape_run *r, const tape *t, int line, const ur_node v[]);
bool tape_used(const tape *t, int line);
/* Leaves out what nothing needs. */
void tape_sweep(tape *t);
/* The case as a C program that includes tests/tape_run.h. */
void tape_print(const tape *t, const tape_case *c, const char *why, FILE *to);

/* tape_draw.c: the tape of a seed. One in eight has sizes at which a product is worth several
 * threads and blocks, others have batches at which the rows of all steps are many. */
void tape_draw(tape *t, uint64_t seed);

/* tape_shrink.c: makes t smaller, and `off` longer, as long as fails(t, off, ctx) holds. */
typedef bool tape_fails(const tape *t, const char *off, void *ctx);
void tape_shrink(tape *t, char *off, const char *all, tape_fails *fails, void *ctx);

#endif
