/* The transpose of a square of W x W elements, on which all transposing copies rest. */
#ifndef UR_KERNELS_TRANSPOSE_H
#define UR_KERNELS_TRANSPOSE_H

#include "ops/kernels/vec.h"

/* Lanes of two vectors interleaved: first the lower halves, then the upper ones. */
#ifdef UR_SCALAR
INLINE void v_zip(V a, V b, V *low, V *high)
{
    *low = a;
    *high = b;
}
#else
INLINE void v_zip(V a, V b, V *low, V *high)
{
#if V_BYTES * 8 / UR_BITS == 16
    *low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *high = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                    15, 31);
#elif V_BYTES * 8 / UR_BITS == 8
    *low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    *high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#elif V_BYTES * 8 / UR_BITS == 4
    *low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    *high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
#else
    *low = __builtin_shufflevector(a, b, 0, 2);
    *high = __builtin_shufflevector(a, b, 1, 3);
#endif
}
#endif

/* x, W rows of W elements, transposed. Zipping row i with row i + W/2 rotates the bits of an
 * element's index by one; log2(W) times exchanges row and column. */
INLINE void v_transpose(V x[W])
{
    UNROLL
    for (int step = 1; step < W; step *= 2) {
        V y[W];
        UNROLL
        for (int i = 0; i < W / 2; i++)
            v_zip(x[i], x[i + W / 2], &y[2 * i], &y[2 * i + 1]);
        UNROLL
        for (int i = 0; i < W; i++)
            x[i] = y[i];
    }
}

/* Lane i of the result is the sum of the lanes of x[i], as a tree. x is overwritten. */
INLINE V v_lane_sums(V x[W])
{
    UNROLL
    for (int half = W / 2; half > 0; half /= 2) {
        UNROLL
        for (int i = 0; i < half; i++) {
            V low, high;
            v_zip(x[i], x[i + half], &low, &high);
            x[i] = low + high;
        }
    }
    return x[0];
}

#endif
