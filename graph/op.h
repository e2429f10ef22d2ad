/* op.h: what an operation is. Users who write their own read this (through unroll.h); so do all
 * operations of ops/.
 *
 * An op is one descriptor: name, kind, shape rule, kernel, gradient rule, samples for the gradient
 * check. A node of the tape stores the descriptor's address; nothing else in the library knows a
 * single op. Adding one touches no other file.
 *
 *     // y = x * sigmoid(x)
 *     UR_MAP_OP(swish, x / (1 + exp(-x)), -3, 3,
 *               ur_mul(g, ur_add(y, ur_mul(ur_sigmoid(x), ur_one_minus(y)))))
 *     ...
 *     ur_node h = ur_apply(&swish, x);
 */
#ifndef UR_OP_H
#define UR_OP_H

#include "unroll/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the planner may do with an op. */
typedef enum ur_kind {
    UR_OPAQUE,          /* run as it is, a wall for rewrites: the right kind for a user's op */
    UR_MAP,             /* elementwise with broadcasting: fused */
    UR_LEAF,            /* a value from outside: inputs, parameters, states */
    UR_VIEW,            /* the same numbers in the same order under another shape */
    UR_SLICE,           /* attributes axis, begin, length: a part along one axis */
    UR_PAD,             /* attributes axis, begin, full: the operand among zeros along one axis */
    UR_CONCAT,          /* attributes axis, stacked: operands side by side along one axis, which
                           they lack when stacked */
    UR_CONTRACTION,     /* attributes transpose_a, transpose_b: products of matrices */
    UR_SCATTER,         /* operands rows, ids; attribute size: rows added into a table of zeros */
    UR_SUM,             /* a sum of equal shapes: the contributions to a gradient */
    UR_REQUEST,         /* a gradient request, and the effects below */
    UR_EFFECT           /* writes a gradient or a state: always run */
} ur_kind;

/* Shape inference. in[] are the operands' shapes; the rule fills out (rank and sizes), and type
 * when it is not the graph's precision. On error it returns ur_refuse(...). */
typedef struct ur_shaping {
    int n_in;
    const ur_shape *in;
    const ur_type *type_in;
    const int64_t *attr;
    int n_attr;
    ur_shape out;
    ur_type type;
    void *self;
} ur_shaping;
/* Reports a shape error and returns false. In the format %0, %1, ... stand for operands with their
 * shapes ("x is [2,7]"), everything else is printf's: ur_refuse(s, "%0 but %1: inner sizes %d and
 * %d differ", 7, 3). */
UR_API bool ur_refuse(ur_shaping *s, const char *format, ...);

/* What an opaque kernel sees. Arrays are contiguous; it fills out completely. */
typedef struct ur_compute {
    int n_in;
    const void *const *in;
    const ur_shape *shape_in;
    const ur_type *type_in;
    void *out;
    ur_shape shape;
    ur_type type;               /* of out */
    ur_type precision;          /* of the graph */
    const int64_t *attr;
    int n_attr;
    uint64_t key;               /* random operations: of (seed, run number); mix in the ordinal */
    size_t begin, end;          /* the pieces to compute, of ops with `pieces`; else 0 and 1 */
    void *self;
} ur_compute;
/* Makes the run fail with one line, to which the op's place and scope are added: an id out of
 * range. The function still fills `out`. */
UR_API void ur_compute_fail(const ur_compute *c, const char *format, ...);

/* A gradient rule: y = op(in...), g the gradient of y. It gives a contribution of each operand's
 * own shape for the operands that want one, recorded with ordinary operations. */
typedef struct ur_rule {
    int n_in;
    const ur_node *in;
    ur_node y, g;
    const int64_t *attr;
    int n_attr;
    void *self;
} ur_rule;
UR_API bool ur_wants(const ur_rule *r, int operand);
UR_API void ur_give(ur_rule *r, int operand, ur_node contribution);

/* Draws the operands of a sample. They are checked by perturbation; ints are not. */
typedef struct ur_draw ur_draw;
UR_API ur_graph *ur_draw_graph(ur_draw *d);
/* Uniform in [lo, hi]; elements keep a distance from each other where they are `apart`. */
#define ur_draw_input(d, lo, hi, ...) ur_draw_input_(d, lo, hi, UR__DIMS(__VA_ARGS__))
UR_API ur_node ur_draw_input_(ur_draw *d, double lo, double hi, int rank, const int *dim);
#define ur_draw_apart(d, lo, hi, ...) ur_draw_apart_(d, lo, hi, UR__DIMS(__VA_ARGS__))
UR_API ur_node ur_draw_apart_(ur_draw *d, double lo, double hi, int rank, const int *dim);
/* int32 in [0, below). */
#define ur_draw_ints(d, below, ...) ur_draw_ints_(d, below, UR__DIMS(__VA_ARGS__))
UR_API ur_node ur_draw_ints_(ur_draw *d, int below, int rank, const int *dim);

/* A map's kernel: y[i] = formula(a[i], b[i], c[i]), unused operands NULL; y may be an operand. */
typedef void ur_map_kernel(size_t n, void *y, const void *a, const void *b, const void *c);

enum {
    UR_FLAT = 1,                /* no gradient by intent: constant almost everywhere, or random */
    UR_RANDOM = 2,              /* the compute function uses key */
    UR_INT_OUT = 4,             /* not differentiable since its result is int32 */
    UR_LOOKUP = 8               /* of its first operand, a table, it reads as much as it writes */
};

struct ur_op {
    const char *name;
    ur_kind kind;
    int n_in;                                   /* operands; -1 any number */
    bool (*shape)(ur_shaping *s);               /* maps: NULL, broadcasting */
    void (*compute)(const ur_compute *c);       /* opaque ops */
    ur_map_kernel *f32, *f64;                   /* maps that are not of the table */
    int row;                                    /* 1 + row of the table of maps, or 0 */
    void (*rule)(ur_rule *r);                   /* NULL only with UR_FLAT or UR_INT_OUT */
    /* The case-th sample of the gradient check, from 0; nil after the last. Maps: lo, hi
     * instead. */
    ur_node (*sample)(ur_draw *d, int which);
    double lo, hi;
    int flags;
    int in_place;                               /* opaque ops: 1 + the operand that `out` may lie
                                                   over, of equal shape and type and read by
                                                   nothing else; 0 none */
    /* Opaque ops that several threads may compute together: how many pieces a node has. What
     * `compute` writes for pieces [begin, end) it writes for no other, with the same bits however
     * they are cut, and of the operand of `in_place` it reads those pieces alone. NULL: all of it
     * runs on the thread that called ur_run. */
    size_t (*pieces)(const ur_compute *c);
    uint32_t by_rows;                           /* pieces that are rows of the result: bit k
                                                   (1 << k) for operand k, with as many rows, of
                                                   which piece i reads row i alone; all of others.
                                                   0: they are not */
};

/* Records an op: the one way onto the tape. attr are integers of the structure (axes, flags): they
 * are part of what a plan is cached by. Parameters among the operands are imported. */
UR_API ur_node ur_record(ur_at at, const ur_op *op, const ur_node in[], int n_in,
                         const int64_t attr[], int n_attr);

/* Applies a user's op to one, two or three operands: ur_apply(&swish, x). */
#define ur_apply(op, ...)                                                                          \
    ur_record(UR_AT(#__VA_ARGS__), op, (ur_node[]){ __VA_ARGS__ },                                 \
              (int)(sizeof((ur_node[]){ __VA_ARGS__ }) / sizeof(ur_node)), NULL, 0)

/* Defines `static const ur_op name`, a map of one operand x with result y: the formula in C for
 * both precisions (function names of <tgmath.h> or <math.h>), the range of samples, and the rule
 * as an expression in g, x, y. UR_MAP2_OP has operands a, b and two rules. */
#define UR_MAP_OP(name_, formula, lo_, hi_, rule_)                                                 \
    UR__MAP_LOOP(name_##_f32, float, formula)                                                      \
    UR__MAP_LOOP(name_##_f64, double, formula)                                                     \
    static void name_##_rule(ur_rule *r)                                                           \
    {                                                                                              \
        ur_node g = r->g, x = r->in[0], y = r->y;                                                  \
        (void)g, (void)x, (void)y;                                                                 \
        ur_give(r, 0, rule_);                                                                      \
    }                                                                                              \
    static const ur_op name_ = { .name = #name_, .kind = UR_MAP, .n_in = 1, .f32 = name_##_f32,    \
        .f64 = name_##_f64, .rule = name_##_rule, .lo = lo_, .hi = hi_ };

#define UR__MAP_LOOP(fn, T, formula)                                                               \
    static void fn(size_t n, void *y_, const void *a_, const void *b_, const void *c_)             \
    {                                                                                              \
        T *y = (T *)y_;                                                                            \
        const T *a = (const T *)a_;                                                                \
        (void)b_, (void)c_;                                                                        \
        for (size_t i = 0; i < n; i++) {                                                           \
            T x = a[i];                                                                            \
            y[i] = (T)(formula);                                                                   \
        }                                                                                          \
    }

#define UR_MAP2_OP(name_, formula, lo_, hi_, rule_a, rule_b)                                       \
    UR__MAP2_LOOP(name_##_f32, float, formula)                                                     \
    UR__MAP2_LOOP(name_##_f64, double, formula)                                                    \
    static void name_##_rule(ur_rule *r)                                                           \
    {                                                                                              \
        ur_node g = r->g, a = r->in[0], b = r->in[1], y = r->y;                                    \
        (void)g, (void)a, (void)b, (void)y;                                                        \
        if (ur_wants(r, 0))                                                                        \
            ur_give(r, 0, rule_a);                                                                 \
        if (ur_wants(r, 1))                                                                        \
            ur_give(r, 1, rule_b);                                                                 \
    }                                                                                              \
    static const ur_op name_ = { .name = #name_, .kind = UR_MAP, .n_in = 2, .f32 = name_##_f32,    \
        .f64 = name_##_f64, .rule = name_##_rule, .lo = lo_, .hi = hi_ };

#define UR__MAP2_LOOP(fn, T, formula)                                                              \
    static void fn(size_t n, void *y_, const void *a_, const void *b_, const void *c_)             \
    {                                                                                              \
        T *y = (T *)y_;                                                                            \
        const T *a0 = (const T *)a_, *b0 = (const T *)b_;                                          \
        (void)c_;                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                           \
            T a = a0[i], b = b0[i];                                                                \
            y[i] = (T)(formula);                                                                   \
        }                                                                                          \
    }

#ifdef __cplusplus
}
#endif

#endif
