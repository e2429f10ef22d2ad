/* The kernels: everything that is compiled once per instruction set and picked at run time.
 *
 * All of them are pure functions on arrays: no allocation, no global state, no threads. Arrays are
 * row-major, need no alignment beyond their element's, and are never read or written past their
 * end. Inputs and outputs do not overlap unless a line says they may.
 *
 * Bits: a kernel's result for one output element depends on that element's inputs and on the sizes
 * of the whole product, never on how the caller split rows or columns among calls. That is what
 * lets work be cut for threads without changing a result.
 */
#ifndef UR_KERNELS_H
#define UR_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ops/maps.h"

/* y[i] = formula(a[i], b[i], c[i]) for i < n; operands that the row does not have are NULL.
 * y may be the same array as a, b or c. Built-in maps and users' maps have the same type. */
typedef void ur__map_kernel(size_t n, void *y, const void *a, const void *b, const void *c);

/* One term A B of a contraction. Element (m, k) of A is a[m * a_m + k * a_k]; one of the two
 * strides is 1 in every product that the library forms, but any strides are legal. B is either
 * packed panels (b_k = b_n = 0; made by pack) or element (k, n) at b[k * b_k + n * b_n], packed
 * block by block on the fly into the caller's scratch. */
typedef struct ur__segment {
    const void *a, *b;
    ptrdiff_t a_m, a_k, b_k, b_n;
    ptrdiff_t k;                        /* inner size of this term, >= 0 */
} ur__segment;

/* The numbers of one pass of an optimiser; what a to d mean is said at each method in update.c. */
typedef struct ur__update {
    double scale, bound, decay;         /* g' = min(max(scale g, -bound), bound) + decay x */
    double rate, eps, shrink;
    double a, b, c, d;
} ur__update;

/* n elements of a block: parameters x, gradient g, moments m[0..2] (NULL where a method has none).
 * No two of the arrays overlap. */
typedef void ur__update_kernel(size_t n, const ur__update *u, void *x, const void *g,
                               void *const m[]);

/* Size of the blocks in which a product walks an inner size of k > 0. Block by block, added in
 * order, it has the bits of the whole. */
enum { UR__GEMM_BLOCK = 256 };
static inline ptrdiff_t ur__gemm_block(ptrdiff_t k)
{
    const ptrdiff_t blocks = (k + UR__GEMM_BLOCK - 1) / UR__GEMM_BLOCK;
    const ptrdiff_t even = ((k - 1) / blocks / 8 + 1) * 8;
    return even < UR__GEMM_BLOCK ? even : UR__GEMM_BLOCK;
}

/* Random numbers: what is drawn at once, and the constants of a round. */
#define UR__PHILOX_M0 0xD2511F53u
#define UR__PHILOX_M1 0xCD9E8D57u
#define UR__PHILOX_W0 0x9E3779B9u
#define UR__PHILOX_W1 0xBB67AE85u
enum { UR__PHILOX_BLOCKS = 16 };

/* What one precision offers. `T` below is float or double. */
typedef struct ur__kernel_set {
    ur__map_kernel *map[UR__MAP_COUNT];

    /* C[m, n] (row stride ldc) = (accumulate ? C : 0) + sum over segments of A_s B_s.
     * K is walked in blocks of about 256 across segments, so that thousands of thin segments (the
     * gradient of a weight over T steps) cost the same as one thick product. With no segment, or
     * all of inner size 0, C is zeroed or left. scratch: gemm_scratch bytes, 64-byte aligned.
     * A is read in place when a_k is 1. */
    void (*gemm)(ptrdiff_t m, ptrdiff_t n, const ur__segment *s, ptrdiff_t n_segments,
                 bool accumulate, void *c, ptrdiff_t ldc, void *scratch);
    size_t gemm_scratch;                /* bytes, the same for every product */

    /* The same for at most a few rows (any number is legal), read where they are: no B is packed,
     * each has b_n or b_k 1 and, where b_n is not 1, a_k 1. The bits are not those of gemm.
     * turned: begins, where it can, with what is read last otherwise; the same bits. */
    void (*thin)(ptrdiff_t m, ptrdiff_t n, const ur__segment *s, ptrdiff_t n_segments,
                 bool turned, bool accumulate, void *c, ptrdiff_t ldc);

    /* Panels of B[k, n] as gemm reads them: dst holds packed_size(k, n) bytes, 64-byte aligned. A
     * panel has packed_size(1, 1) / sizeof(T) columns; what is packed for the columns from j on, a
     * multiple of that, begins packed_size(k, j) bytes from dst, so columns can be split there. */
    void (*pack)(ptrdiff_t k, ptrdiff_t n, const void *b, ptrdiff_t b_k, ptrdiff_t b_n, void *dst);
    size_t (*packed_size)(ptrdiff_t k, ptrdiff_t n);

    /* y[o, i] = reduction over r of x[o, r, i]; r = 0 gives 0, -inf, -inf. Rows of x lie ldx apart,
     * normally i; more, and some columns of a wider array are reduced by themselves. The order of
     * addition depends on r, and on whether ldx is 1: eight (or more) running sums, then a tree;
     * for ldx > 1, eight neighbours as a tree, then one running sum of those. max of NaN is NaN.
     * logsumexp of all -inf is -inf, of anything with +inf (and no NaN) +inf. */
    void (*sum)(size_t o, size_t r, size_t i, const void *x, size_t ldx, void *y);
    void (*max)(size_t o, size_t r, size_t i, const void *x, size_t ldx, void *y);
    void (*logsumexp)(size_t o, size_t r, size_t i, const void *x, size_t ldx, void *y);
    /* Index of the first maximum over r; r > 0. A NaN counts as largest, the first one wins. */
    void (*argmax)(size_t o, size_t r, size_t i, const void *x, size_t ldx, int32_t *y);

    /* Over the last axis of x[rows, n]; a row of -inf gives zeros (softmax) or -inf (the other). */
    void (*softmax)(size_t rows, size_t n, const void *x, void *y);
    void (*log_softmax)(size_t rows, size_t n, const void *x, void *y);

    /* Softmax cross-entropy on integer labels, for each row of x[rows, n], in nats:
     *     q_v = (1 - eps) [v = label] + eps / n,   w = weight[label] (1 without weights)
     *     y = -w sum_v q_v log_softmax(x)_v
     * A label equal to `ignore` gives 0 whatever x holds (NaN too). Labels are valid otherwise.
     * cross_entropy_grad: dx = g * w * (softmax(x) - q), rows of ignored labels zeros. */
    void (*cross_entropy)(size_t rows, size_t n, const void *x, const int32_t *label,
                          const void *weight, double eps, int32_t ignore, void *y);
    void (*cross_entropy_grad)(size_t rows, size_t n, const void *x, const int32_t *label,
                               const void *weight, double eps, int32_t ignore, const void *g,
                               void *dx);

    void (*add)(size_t n, const void *x, void *y);              /* y += x */
    void (*fill)(size_t n, double value, void *y);
    /* y[r, c] (row stride ldy) = x[r * x_r + c * x_c]: transposes by blocks, rows by memcpy. */
    void (*copy2)(size_t rows, size_t cols, const void *x, ptrdiff_t x_r, ptrdiff_t x_c,
                  void *y, ptrdiff_t ldy);

    /* The words of UR__PHILOX_BLOCKS blocks from `first` on, four each; see graph/random.c. */
    void (*philox)(uint64_t key, uint64_t first, uint32_t plane, uint32_t *out);

    /* Passes over a flat block of parameters. */
    double (*sum_squares)(size_t n, const void *x);             /* in double, fixed order */
    ur__update_kernel *sgd, *momentum, *adagrad, *adadelta, *rmsprop, *adam;
} ur__kernel_set;

typedef struct ur__kernels {
    const char *isa;                    /* "avx512", "avx2" or "baseline" */
    ur__kernel_set f32, f64;
} ur__kernels;

/* The best table that this machine can run, or the one that the environment variable UR_ISA names
 * (when the machine can run it; another value is ignored). Chosen once. */
const ur__kernels *ur__kernels_get(void);

/* The names that ur__kernels_get would accept here, separated by spaces, best first. */
const char *ur__isa_list(void);

#endif
