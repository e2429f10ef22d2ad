/* Passes over one row, shared by the reductions and the softmax family. The lanes beyond a row's
 * end hold what changes nothing: -inf under a maximum or an exponential.
 */
#ifndef UR_KERNELS_ROWS_H
#define UR_KERNELS_ROWS_H

#include "ops/kernels/math.h"

INLINE T row_max(const T *x, size_t n)
{
    const T none = -(T)INFINITY;
    V m[4] = { v_set(none), v_set(none), v_set(none), v_set(none) };
    size_t i = 0;
    for (; i + 4 * W <= n; i += 4 * W) {
        UNROLL
        for (size_t q = 0; q < 4; q++)
            m[q] = v_max(m[q], v_load(x + i + q * W));
    }
    for (; i + W <= n; i += W)
        m[0] = v_max(m[0], v_load(x + i));
    if (i < n)
        m[1] = v_max(m[1], v_load_fill(x + i, n - i, none));
    return v_largest(v_max(v_max(m[0], m[1]), v_max(m[2], m[3])));
}

/* sum of x - m */
INLINE T row_sum(const T *x, size_t n, T m)
{
    V s[8];
    size_t i = 0;
    UNROLL
    for (size_t q = 0; q < 8; q++)
        s[q] = v_set(0);
    for (; i + 8 * W <= n; i += 8 * W) {
        UNROLL
        for (size_t q = 0; q < 8; q++)
            s[q] += v_load(x + i + q * W) - m;
    }
    for (; i + W <= n; i += W)
        s[0] += v_load(x + i) - m;
    if (i < n)
        s[1] += v_load_fill(x + i, n - i, m) - m;
    return v_sum(((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7])));
}

/* What to subtract before exponentials so that none overflows: the row's maximum, or 0 where that
 * is not finite (a row of -inf, one with +inf or NaN). */
INLINE T row_shift(T m)
{
    return m < (T)INFINITY && m > -(T)INFINITY ? m : 0;
}

/* Sum of exp(x - m), which go to y too unless that is NULL. */
INLINE T row_exp(const T *x, size_t n, T m, T *y)
{
    V s[2] = { v_set(0), v_set(0) }, last = v_set(0);
    size_t i = 0;
    for (; i + 2 * W <= n; i += 2 * W) {
        UNROLL
        for (size_t q = 0; q < 2; q++) {
            const V e = v_exp(v_load(x + i + q * W) - m);
            s[q] += e;
            if (y)
                v_store(y + i + q * W, e);
        }
    }
    if (i + W <= n) {
        const V e = v_exp(v_load(x + i) - m);
        s[0] += e;
        if (y)
            v_store(y + i, e);
        i += W;
    }
    if (i < n) {
        last = v_exp(v_load_fill(x + i, n - i, -(T)INFINITY) - m);
        if (y)
            v_store_n(y + i, last, n - i);
    }
    return v_sum((s[0] + s[1]) + last);
}

#endif
