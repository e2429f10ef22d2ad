/* Packing: copies of A and B in the order in which the tiles read them. */
#ifndef UR_KERNELS_PACK_H
#define UR_KERNELS_PACK_H

#include "ops/kernels/tile.h"
#include "ops/kernels/transpose.h"

/* One panel: dst[k][NR] = b[k * b_k + j * b_n] for j < n, and 0 for n <= j < NR. */
static void pack_panel(ptrdiff_t K, ptrdiff_t n, const T *b, ptrdiff_t b_k, ptrdiff_t b_n, T *dst)
{
    const ptrdiff_t n1 = n < W ? n : W, n2 = n - n1;
    if (b_n == 1 && n == NR) {
        for (ptrdiff_t k = 0; k < K; k++, b += b_k, dst += NR) {
            prefetch(b, NR);
            prefetch(b, NR + W);
            v_store(dst, v_load(b));
            v_store(dst + W, v_load(b + W));
        }
    } else if (b_n == 1) {
        for (ptrdiff_t k = 0; k < K; k++, b += b_k, dst += NR) {
            v_store(dst, v_load_n(b, (size_t)n1));
            v_store(dst + W, n2 ? v_load_n(b + W, (size_t)n2) : v_set(0));
        }
    } else if (b_k == 1) {
        for (ptrdiff_t k = 0; k < K; k += W, b += W, dst += W * NR) {
            const ptrdiff_t rows = K - k < W ? K - k : W;
            for (ptrdiff_t half = 0; half < NR; half += W) {
                V x[W];
                for (ptrdiff_t j = 0; j < W; j++)
                    x[j] = half + j >= n ? v_set(0) : rows == W ? v_load(b + (half + j) * b_n)
                                                    : v_load_n(b + (half + j) * b_n, (size_t)rows);
                v_transpose(x);
                for (ptrdiff_t i = 0; i < rows; i++)
                    v_store(dst + i * NR + half, x[i]);
            }
        }
    } else {
        for (ptrdiff_t k = 0; k < K; k++, dst += NR)
            for (ptrdiff_t j = 0; j < NR; j++)
                dst[j] = j < n ? b[k * b_k + j * b_n] : 0;
    }
}

/* One tile of R rows: dst[k][R] = a[i * a_m + k * a_k]. Where a_k is 1, by whole vectors: up to
 * W - 1 elements after the tile are overwritten, for which there is room (gather_a). */
static void pack_rows(ptrdiff_t K, ptrdiff_t R, const T *a, ptrdiff_t a_m, ptrdiff_t a_k, T *dst)
{
    enum { GROUPS = (MR + W - 1) / W };
    for (ptrdiff_t k = 0; a_k == 1 && k < K; k += W, a += W) {
        const ptrdiff_t columns = K - k < W ? K - k : W;
        V x[GROUPS][W];
        for (ptrdiff_t g = 0; g * W < R; g++) {
            for (ptrdiff_t i = 0, row = g * W; i < W; i++, row++)
                x[g][i] = row >= R ? v_set(0) : columns == W ? v_load(a + row * a_m)
                                              : v_load_n(a + row * a_m, (size_t)columns);
            v_transpose(x[g]);
        }
        for (ptrdiff_t j = 0; j < columns; j++, dst += R)
            for (ptrdiff_t g = 0; g * W < R; g++)
                v_store(dst + g * W, x[g][j]);
    }
    for (ptrdiff_t k = 0; a_k != 1 && k < K; k++, dst += R)
        for (ptrdiff_t i = 0; i < R; i++)
            dst[i] = a[i * a_m + k * a_k];
}

/* The same where a_m is 1, by whole vectors, too. Columns lie far apart, which defeats the
 * prefetching of the machine; AHEAD of them cover the latency of the last cache. */
enum { AHEAD = 24 };

static void pack_columns(ptrdiff_t K, ptrdiff_t R, const T *a, ptrdiff_t a_k, T *dst)
{
    const ptrdiff_t whole = R / W * W;
    const size_t rest = (size_t)(R - whole);
    for (ptrdiff_t k = 0; k < K; k++, a += a_k, dst += R) {
        prefetch(a, AHEAD * a_k);
        prefetch(a, AHEAD * a_k + R);
        for (ptrdiff_t i = 0; i < whole; i += W)
            v_store(dst + i, v_load(a + i));
        if (rest)
            v_store(dst + whole, v_load_n(a + whole, rest));
    }
}

#endif
