/* The innermost product: a tile of C of R rows and N vectors stays in registers while K is walked.
 *
 * The text is written with loops over arrays, but R and N are constants wherever it is inlined and
 * the loops are unrolled by request: that turns the array of sums into registers (28 of 32 for the
 * largest tile). A loop left rolled would keep them in memory at a quarter of the speed.
 */
#ifndef UR_KERNELS_TILE_H
#define UR_KERNELS_TILE_H

#include <stdbool.h>
#include "ops/kernels/kernels.h"
#include "ops/kernels/vec.h"

/* MR: rows of the largest tile. Up to WIDE rows a tile is two panels wide, and one of a single row
 * four: with fewer than eight sums the multipliers would wait for each other. */
#if !defined UR_SCALAR && V_BYTES == 64
    #define MR 14                       /* 32 registers */
    #define WIDE 4
#else
    #define MR 6                        /* 16 registers */
    #define WIDE 2
#endif

enum {
    NR = 2 * W,                         /* columns of a panel of packed B */
    FORESEEN = 32,                      /* rows of B between a request and its use: see tile */
};

/* A part of one segment inside a block of K: element (i, k) of A and (k, j) of panel p of B are
 *     a[i * a_m + k * a_k]          in place, one of the strides being 1; or, when a_k is 0,
 *     a[i0 * a_m + (k0 + k) * R + i - i0]     packed: tiles of R rows, the first of them i0
 *     b[p * b_panel + k * b_k + j] */
typedef struct piece {
    const T *a, *b;
    ptrdiff_t a_m, a_k, b_panel, b_k;
    ptrdiff_t k0, k;                    /* place in the block, and length */
    const T *from;                      /* B to be gathered, or NULL */
    ptrdiff_t from_k, from_n;           /* its strides */
    T *keep;                            /* panels for a tile that keeps B as it comes along */
    ptrdiff_t keep_panel;
} piece;

typedef void tile_function(const piece *p, const piece *end, ptrdiff_t i0, ptrdiff_t panel,
                           T *c, ptrdiff_t ldc, bool add);

/* A row of B, N vectors of N / 2 panels: loaded; kept for other tiles, if there is `to`; with
 * `first`, the row that lies FORESEEN ahead is requested. */
INLINE void load_row(const int N, const bool first, const T *b, ptrdiff_t b_panel, ptrdiff_t b_k,
                     T *to, V y[8])
{
    UNROLL
    for (int j = 0; j < N; j++) {
        const T *const at = b + j / 2 * b_panel + j % 2 * W;
        if (first)
            prefetch(at, FORESEEN * b_k);
        y[j] = v_load(at);
        if (to)
            v_store(to + j * W, y[j]);
    }
}

/* Times a column of A. */
INLINE void add_products(const int R, const int N, const T *a, ptrdiff_t a_m, const V y[8],
                         V sum[MR][8])
{
    UNROLL
    for (int i = 0; i < R; i++) {
        const V x = v_set(a[i * a_m]);
        UNROLL
        for (int j = 0; j < N; j++)
            sum[i][j] += x * y[j];
    }
}

/* C tile = (add ? C : 0) + sum over pieces. Every element is one chain of multiply-adds in the
 * order of k, whatever R and N are. The first tile of a panel of B that is read where it is can
 * `keep` it for the others: its stores are free beside so many multiply-adds. So are requests for
 * rows that lie ahead, which the machine makes too late for a third cache: the `first` tile makes
 * them, the others find the panel in the second one. With one row or two all loads are dear. */
INLINE void tile(const int R, const int N, const bool first, const bool keep, const piece *p,
                 const piece *end, ptrdiff_t i0, ptrdiff_t panel, T *c, ptrdiff_t ldc, bool add)
{
    V sum[MR][8], y[8];
    UNROLL
    for (int i = 0; i < R; i++) {
        UNROLL
        for (int j = 0; j < N; j++)
            sum[i][j] = v_set(0);
    }
    if (add) {
        UNROLL
        for (int i = 0; i < R; i++) {
            UNROLL
            for (int j = 0; j < N; j++)
                prefetch(c, i * ldc + j * W);
        }
    }
    for (; p < end; p++) {
        const T *a = p->a + i0 * p->a_m, *b = p->b + panel * p->b_panel;
        const ptrdiff_t b_k = p->b_k, b_panel = p->b_panel;
        T *to = keep ? p->keep + panel * p->keep_panel : NULL;
        if (p->a_k == 1) {              /* A by rows */
            const ptrdiff_t a_m = p->a_m;
            for (ptrdiff_t k = 0; k < p->k; k++, b += b_k, to += keep ? NR : 0) {
                load_row(N, first, b, b_panel, b_k, keep ? to : NULL, y);
                add_products(R, N, a + k, a_m, y, sum);
            }
        } else {                        /* A by columns, or packed */
            const ptrdiff_t a_k = p->a_k ? p->a_k : R;
            a += p->a_k ? 0 : p->k0 * R;
            for (ptrdiff_t k = 0; k < p->k; k++, a += a_k, b += b_k, to += keep ? NR : 0) {
                load_row(N, first, b, b_panel, b_k, keep ? to : NULL, y);
                add_products(R, N, a, 1, y, sum);
            }
        }
    }
    UNROLL
    for (int i = 0; i < R; i++, c += ldc) {
        UNROLL
        for (int j = 0; j < N; j++)
            v_store(c + j * W, add ? v_load(c + j * W) + sum[i][j] : sum[i][j]);
    }
}

#define TILE(R, N)                                                                                 \
    static void tile_##R##_##N(const piece *p, const piece *end, ptrdiff_t i0, ptrdiff_t panel,   \
                               T *c, ptrdiff_t ldc, bool add)                                      \
    {                                                                                              \
        tile(R, N, R > 2 && N > 2, false, p, end, i0, panel, c, ldc, add);                         \
    }
#define KEEPER(R)                                                                                  \
    static void keeper_##R(const piece *p, const piece *end, ptrdiff_t i0, ptrdiff_t panel, T *c, \
                           ptrdiff_t ldc, bool add)                                                \
    {                                                                                              \
        tile(R, 2, true, true, p, end, i0, panel, c, ldc, add);                                    \
    }

#define LEADER(R)                                                                                  \
    static void leader_##R(const piece *p, const piece *end, ptrdiff_t i0, ptrdiff_t panel, T *c, \
                           ptrdiff_t ldc, bool add)                                                \
    {                                                                                              \
        tile(R, 2, true, false, p, end, i0, panel, c, ldc, add);                                   \
    }

#define TILES(R) TILE(R, 1) TILE(R, 2)
TILES(1) TILES(2) TILES(3) TILES(4) TILES(5) TILES(6)
TILE(1, 4) TILE(2, 4) TILE(1, 8)
LEADER(3) LEADER(4) LEADER(5) LEADER(6)
#if MR == 14
TILES(7) TILES(8) TILES(9) TILES(10) TILES(11) TILES(12) TILES(13) TILES(14)
TILE(3, 4) TILE(4, 4)
LEADER(7) LEADER(8) LEADER(9) LEADER(10) LEADER(11) LEADER(12) LEADER(13) LEADER(14)
KEEPER(8) KEEPER(9) KEEPER(10) KEEPER(11) KEEPER(12) KEEPER(13) KEEPER(14)
#else
KEEPER(4) KEEPER(5) KEEPER(6)
#endif

/* tiles[R][log2 N] */
#define ROW(R) { tile_##R##_1, tile_##R##_2, NULL, NULL }
#define WIDE_ROW(R) { tile_##R##_1, tile_##R##_2, tile_##R##_4, NULL }
static tile_function *const tiles[MR + 1][4] = {
    [1] = { tile_1_1, tile_1_2, tile_1_4, tile_1_8 }, [2] = WIDE_ROW(2),
#if MR == 14
    [3] = WIDE_ROW(3), [4] = WIDE_ROW(4), [7] = ROW(7), [8] = ROW(8), [9] = ROW(9), [10] = ROW(10),
    [11] = ROW(11), [12] = ROW(12), [13] = ROW(13), [14] = ROW(14),
#else
    [3] = ROW(3), [4] = ROW(4),
#endif
    [5] = ROW(5), [6] = ROW(6),
};

/* The first tile of a panel. */
static tile_function *const leaders[MR + 1] = {
    NULL, tile_1_2, tile_2_2, leader_3, leader_4, leader_5, leader_6,
#if MR == 14
    leader_7, leader_8, leader_9, leader_10, leader_11, leader_12, leader_13, leader_14,
#endif
};

/* Of the first of several tiles, the taller ones among which have more than MR / 2 rows. */
static tile_function *const keepers[MR + 1] = {
#if MR == 14
    [8] = keeper_8, [9] = keeper_9, [10] = keeper_10, [11] = keeper_11, [12] = keeper_12,
    [13] = keeper_13, [14] = keeper_14,
#else
    [4] = keeper_4, [5] = keeper_5, [6] = keeper_6,
#endif
};

#endif
