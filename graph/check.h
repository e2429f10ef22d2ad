/* check.h: the proof of a gradient.
 *
 * A function that records something, of inputs and of parameters, is given to ur_check; the check
 * compares its gradients with differences of its values, in double, and tells for every tensor how
 * far they are apart:
 *
 *     static void model(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
 *     {
 *         const struct net *net = (const struct net *)ctx;
 *         out[0] = ur_tanh(ur_affine(in[0], net->W, net->b));
 *     }
 *     ...
 *     ur_report r = ur_check(model, .in = { ur_in("x", 2, 3) }, .ctx = &net, .order = 2);
 *     if (r.status != UR_CHECK_PASSED)
 *         ur_report_print(&r, stderr);
 *     ur_report_free(&r);
 *
 * What is compared. Let y_1 .. y_n be the outputs and w_i fixed weights of uneven sizes and signs,
 * so that no symmetry hides a fault. The function is P = sum_i <w_i, y_i>, and
 *     a   the analytic gradient of P for one element, from ur_grad
 *     n   the numeric one, from values of P around that element:
 *             D(h) = (8 (P(h) - P(-h)) - (P(2h) - P(-2h))) / 12h     error O(h^4)
 *             n    = (16 D(h/2) - D(h)) / 15                         error O(h^6)
 *     error = |a - n| / (|a| + |n| + 1e-3 rms)       rms of the analytic gradient of that tensor
 * An error over the bound still counts as none where |a - n| is less than rounding makes of n: 8
 * units in the last place of the terms of P that moved, over h. The second order does the same
 * once more: P is then the sum of unevenly weighted first gradients.
 *
 * The first h is 1/512. Where D(h) and D(h/2) disagree, or the curvature grows as h shrinks, there
 * may be a kink nearby, and smaller h are tried, down to 1/4096 of it. If none agrees the element
 * is a kink; in a tensor that is only sampled another element takes its place. More than 1 % kinks
 * fail, since nothing was proven there. Larger h, up to 256 times, serve where rounding would drown
 * a small gradient.
 *
 * What is perturbed: every input of the description that is not int32, and every parameter that the
 * function uses. The check makes a graph of its own, in double, and copies parameters into it: a
 * store is read, never written, whatever its precision. The function is recorded several times
 * and must do the same each time. Random operations draw the same numbers in every run. A function
 * that carries a state (ur_state_out) is refused, since its runs would differ.
 *
 * Sources: five points, Abramowitz and Stegun 1964, 25.3.6; the step from D(h), D(h/2) to n,
 * Richardson 1911. */
#ifndef UR_CHECK_H
#define UR_CHECK_H

#include "unroll/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------ the check */

/* Records something on g: reads in[], the inputs of the description in their order; sets out[]. */
typedef void ur_check_function(ur_graph *g, const ur_node in[], ur_node out[], void *ctx);

/* One input. Drawn uniformly from [lo, hi], from [-1, 1] when both are 0; with `apart` its elements
 * keep a distance from each other, from those of other such inputs and from 0, for functions
 * with kinks. below > 0: int32 drawn from [0, below), not perturbed. data: these values instead of
 * drawn ones, double, or int32 with below > 0. */
typedef struct ur_check_input {
    const char *name;
    ur_shape shape;
    double lo, hi;
    bool apart;
    int below;
    const void *data;
} ur_check_input;

#define UR__CHECK_SHAPE(...)                                                                       \
    { (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } }
/* Inputs for the list .in = { ... }: ur_in("x", T, B), ur_in_ints("labels", V, T, B),
 * ur_in_apart("x", lo, hi, T, B), ur_in_given("x", array, T, B), and { .name = "t" } for rank 0. */
#define ur_in(name_, ...) { .name = name_, .shape = UR__CHECK_SHAPE(__VA_ARGS__) }
#define ur_in_ints(name_, below_, ...)                                                             \
    { .name = name_, .shape = UR__CHECK_SHAPE(__VA_ARGS__), .below = below_ }
#define ur_in_apart(name_, lo_, hi_, ...)                                                          \
    { .name = name_, .shape = UR__CHECK_SHAPE(__VA_ARGS__), .lo = lo_, .hi = hi_, .apart = true }
#define ur_in_given(name_, data_, ...)                                                             \
    { .name = name_, .shape = UR__CHECK_SHAPE(__VA_ARGS__), .data = data_ }

enum { UR_CHECK_INPUTS = 32 };

typedef struct ur_check_options {
    ur_check_input in[UR_CHECK_INPUTS];     /* up to the first without a name */
    int outputs;                /* nodes that the function sets; 0 stands for 1 */
    void *ctx;                  /* handed to the function */
    int order;                  /* 2: second derivatives too; 0 stands for 1 */
    double bound;               /* of the error; 0 stands for 1e-7 */
    int elements;               /* checked of a tensor, the others are left out; 0 stands for 256.
                                   Half of such a sample has a gradient other than 0, if possible */
    uint64_t seed;              /* of inputs, samples and weights */
} ur_check_options;

typedef enum ur_check_status {
    UR_CHECK_PASSED = 1,
    UR_CHECK_WRONG,             /* an error over the bound, or not finite */
    UR_CHECK_KINKS,             /* more than 1 % kinks */
    UR_CHECK_ERROR              /* nothing could be checked: a shape error, a failed run */
} ur_check_status;

/* One tensor, once for each order. */
typedef struct ur_check_row {
    char tensor[64];            /* name of the input or parameter; of an op: "2: x0", operand drawn
                                   first in sample 2 */
    int order;
    ur_shape shape;
    size_t elements, checked, kinks;
    size_t drowned;             /* of those checked: counted as right since rounding hides more */
    double error;               /* the worst */
    size_t at;                  /* index of that element, row-major */
    double analytic, numeric;   /* both numbers there */
} ur_check_row;

typedef struct ur_report {
    ur_check_status status;
    char why[640];              /* one line; empty when passed */
    double bound;
    size_t checked, kinks;      /* of all tensors */
    int n_rows, worst;          /* worst: the row with the largest error; -1 without rows */
    ur_check_row *row;
} ur_report;

/* Checks the function f; options by name: ur_check(f, .in = { ur_in("x", 4) }, .outputs = 2). */
#define ur_check(f, ...) ur_check_with(f, &(ur_check_options){ __VA_ARGS__ })
UR_API ur_report ur_check_with(ur_check_function *f, const ur_check_options *options);

/* Checks the rule of an op (see op.h) at the op's samples, to order 1 or 2. A map needs none: its
 * operands are drawn from its range, of equal shapes and broadcast in every way, with elements
 * apart. An op marked as flat must be flat; random ones, and those with int32 results,
 * pass unseen. */
UR_API ur_report ur_check_op(const ur_op *op, int order);

/* The report as a table, and its verdict. */
UR_API void ur_report_print(const ur_report *r, FILE *to);
UR_API void ur_report_free(ur_report *r);

#ifdef __cplusplus
}
#endif

#endif
