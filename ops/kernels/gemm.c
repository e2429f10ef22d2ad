/* C = (accumulate ? C : 0) + sum over s of A_s B_s, row-major, in one thread.
 *
 * The scheme is that of K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix
 * Multiplication" (ACM TOMS 34, 2008), with the sum over many products inside, as in E. Georganas
 * et al., "High-Performance Deep Learning via a Single Building Block" (arXiv 1906.06440):
 *
 *     for NC columns, where B is not packed
 *         for blocks of KC along the segments' K laid end to end
 *             pieces: what each segment has in this block
 *             for MC rows: A into tiles of at most MR rows, unless it is read in place
 *                 for panels of NR columns: B into the panel, unless it is packed or read in place
 *                     for tiles: C tile += A tile x panel        (tile.h)
 *
 * or, where both operands are read in place, the panels outside and the blocks inside.
 *
 * Bits: an element of C is a chain of multiply-adds in the order of k within each block, and the
 * blocks' chains added in order. Blocks depend on the sizes of the segments only. Everything else
 * here (tiles, panels, what is packed, in place or wide) changes no operand of that chain, so calls
 * may split rows and columns anywhere, and packed and unpacked B give equal bits.
 */
#include "ops/kernels/block.h"

_Static_assert(A_BYTES >= NC * sizeof(T), "a row of the turned result fits (run_flipped)");

const size_t KERNEL(gemm_scratch) = 3 * PIECES_BYTES + A_BYTES + B_BYTES;

/* Rows i0 to i0 + m of one panel (or of several, where tiles are wide) of C. A tile beyond C's edge
 * goes through a buffer. `keeping`: the pieces of the first tile, or NULL. */
static void panel_tiles(const job *j, const piece *p, const piece *end, const piece *keeping,
                        ptrdiff_t i0, ptrdiff_t m, ptrdiff_t column, int width, bool add)
{
    const tiling t = tile_rows(m);
    const ptrdiff_t n = least(j->n - column, W << width);
    ptrdiff_t row = j->pack_a ? 0 : i0; /* of the pieces' A */
    T *next = j->c + i0 * j->ldc + column;
    for (ptrdiff_t i = 0; i < t.count; i++) {
        const ptrdiff_t height = tile_height(t, i);
        T *c = next;
        if (keeping && i == 0) {
            keepers[height](keeping, keeping + (end - p), row, column / NR, c, j->ldc, add);
        } else if (n == W << width) {
            tile_function *const f = i == 0 && width == 1 ? leaders[height] : tiles[height][width];
            f(p, end, row, column / NR, c, j->ldc, add);
        } else {
            T edge[MR * NR];
            tiles[height][width](p, end, row, column / NR, edge, NR, false);
            for (ptrdiff_t r = 0; r < height; r++, c += j->ldc) {
                for (ptrdiff_t k = 0; k < n; k += W) {
                    const size_t lanes = (size_t)least(n - k, W);
                    const V x = v_load(edge + r * NR + k);
                    v_store_n(c + k, add ? v_load_n(c + k, lanes) + x : x, lanes);
                }
            }
        }
        row += height;
        next += height * j->ldc;
    }
}

/* log2 of the vectors of a tile for rows of at most this height and so many columns to go. */
static int tile_width(ptrdiff_t height, ptrdiff_t columns)
{
    if (height == 1 && columns >= 8 * W)
        return 3;
    if (height <= WIDE && columns >= 4 * W)
        return 2;
    return columns > W;
}

static void run(const job *j)
{
    const ur__segment *s = j->s;
    ptrdiff_t k = 0, total, count;
    bool add = j->add;
    while ((count = cut_block(j, &s, &k, &total)) > 0) {
        const piece *p = j->pieces, *end = p + count;
        const ptrdiff_t rows = chunk_rows(j->m);
        if (j->pack_a) {
            p = j->packed_pieces;
            end = p + packed_pieces(j, count, total);
        }
        for (ptrdiff_t i = 0; i < j->m; i += rows) {
            const ptrdiff_t m = least(j->m - i, rows);
            const tiling t = tile_rows(m);
            if (j->pack_a)
                gather_a(j, i, m, count, total);
            const piece *keeping = i == 0 && j->gather_b && t.count > 1 && end - p == count
                                       ? keeping_pieces(j, p, count, total) : NULL;
            for (ptrdiff_t column = 0; column < j->n;) {
                const int width = tile_width(t.height + (t.taller > 0), j->n - column);
                if (j->n - column < NR)
                    keeping = NULL;
                if (i == 0 && j->gather_b && !keeping)
                    gather_b(j, count, total, column, least(j->n - column, W << width));
                panel_tiles(j, p, end, keeping, i, m, column, width, add);
                column += W << width;
            }
        }
        add = true;
    }
}

/* The same where both operands are read in place, panel by panel, each over all of K: a panel of C
 * stays in the first cache, where `run` would load and store all of C for every block. */
static void run_panels(const job *j)
{
    const tiling t = tile_rows(j->m);
    for (ptrdiff_t column = 0; column < j->n;) {
        const int width = tile_width(t.height + (t.taller > 0), j->n - column);
        const ur__segment *s = j->s;
        ptrdiff_t k = 0, total, count;
        for (bool add = j->add; (count = cut_block(j, &s, &k, &total)) > 0; add = true)
            panel_tiles(j, j->pieces, j->pieces + count, NULL, 0, j->m, column, width, add);
        column += W << width;
    }
}

static void clear(ptrdiff_t m, ptrdiff_t n, T *c, ptrdiff_t ldc)
{
    for (ptrdiff_t i = 0; i < m; i++)
        memset(c + i * ldc, 0, (size_t)n * sizeof(T));
}

/* The same job on n columns from `column` of C. */
static void run_columns(job j, ptrdiff_t column, ptrdiff_t n, bool gather)
{
    j.column = column;
    j.n = n;
    j.c += column;
    j.gather_b = gather;
    run(&j);
}

/* C^T = B^T A^T, the same sums, where columns of B would have to be turned for few rows of A: rows
 * of A are turned in their place. As many columns of C at a time as there is room for. */
static void run_flipped(job j)
{
    const ptrdiff_t columns = j.n, ldc = j.ldc, ldt = (j.m + W - 1) / W * W;
    const ptrdiff_t most = A_BYTES / (ptrdiff_t)sizeof(T) / ldt;
    T *c = j.c;
    j.flipped = j.gather_b = true;
    j.pack_a = false;
    j.n = j.m;
    j.c = j.packed_a;
    j.ldc = ldt;
    for (j.row = 0; j.row < columns; j.row += most, c += most) {
        j.m = least(columns - j.row, most);
        if (j.add)
            KERNEL(copy2)((size_t)j.m, (size_t)j.n, c, 1, ldc, j.c, ldt);
        run(&j);
        KERNEL(copy2)((size_t)j.n, (size_t)j.m, j.c, 1, ldt, c, ldc);
    }
}

/* Whether that is faster, and the rows turned fit; to pack a number takes as long as PACK
 * multiply-adds of whole vectors. */
static bool worth_flipping(ptrdiff_t m, ptrdiff_t n)
{
    enum { PACK = 9 };
    const ptrdiff_t width = (m + W - 1) / W * W;
    return m > MR && m <= NC && (m + PACK) * n > width * n + PACK * m;
}

/* Whether K rows so far apart are a stretch of memory of which two stay in the first cache. */
static bool near(ptrdiff_t k, ptrdiff_t stride)
{
    const ptrdiff_t elements = k * (stride < 0 ? -stride : stride);
    return elements <= NEAR / (ptrdiff_t)sizeof(T);
}

/* Whether rows of a tile that lie so far apart push each other out of the first cache, which has
 * room for few lines whose addresses are equal modulo 4096: 8 or 12, and B comes through too. */
static bool crowded(ptrdiff_t m, ptrdiff_t stride)
{
    enum { WAYS = 6 };
    return least(m, MR) > WAYS && stride * (ptrdiff_t)sizeof(T) % 4096 == 0;
}

/* How a product is walked. */
typedef struct manner {
    ptrdiff_t total;                    /* K of all segments */
    bool all_packed, in_place_b, in_place_a, flips;
} manner;

static manner manner_of(ptrdiff_t m, ptrdiff_t n, const ur__segment *s, ptrdiff_t n_segments)
{
    manner w = { 0, true, true, true, worth_flipping(m, n) };
    bool by_columns = false;
    ptrdiff_t count = 0;
    for (ptrdiff_t i = 0; i < n_segments; i++) {
        const ur__segment *t = &s[i];
        if (t->k <= 0)
            continue;
        w.total += t->k;
        count++;
        const bool packed = t->b_k == 0 && t->b_n == 0;
        w.all_packed = w.all_packed && packed;
        /* Tiles may read rows where they are, unless these are crowded. Columns, and the rows of
         * B, are worth a copy when they are read more than once and are not near, or where it makes
         * one piece of many short ones. */
        w.in_place_b = w.in_place_b && (packed ? m <= MR
                                               : t->b_n == 1 && (m <= MR || near(t->k, t->b_k)));
        w.in_place_a = w.in_place_a &&
                       ((t->a_k == 1 && (n <= NR || !crowded(m, t->a_m))) ||
                        (t->a_m == 1 && (m <= MR || n <= NR || near(t->k, t->a_k))));
        by_columns = by_columns || t->a_k != 1;
        w.flips = w.flips && t->a_k == 1 && t->b_k == 1 && t->b_n != 1;
    }
    w.in_place_b = w.in_place_b && (w.all_packed || m == 1 || w.total >= SHORT * count);
    w.in_place_a = w.in_place_a && (!by_columns || w.total >= SHORT * count);
    return w;
}

void KERNEL(gemm)(ptrdiff_t m, ptrdiff_t n, const ur__segment *s, ptrdiff_t n_segments,
                  bool accumulate, void *c, ptrdiff_t ldc, void *scratch)
{
    const manner w = manner_of(m, n, s, n_segments);
    if (m <= 0 || n <= 0)
        return;
    if (w.total == 0) {
        if (!accumulate)
            clear(m, n, c, ldc);
        return;
    }
    char *at = scratch;
    job j = {
        .s = s, .end = s + n_segments, .block = ur__gemm_block(w.total),
        .m = m, .n = n, .c = c, .ldc = ldc, .add = accumulate, .pack_a = !w.in_place_a,
        .pieces = (piece *)at, .packed_pieces = (piece *)(at + PIECES_BYTES),
        .keeping_pieces = (piece *)(at + 2 * PIECES_BYTES),
        .packed_a = (T *)(at + 3 * PIECES_BYTES),
        .packed_b = (T *)(at + 3 * PIECES_BYTES + A_BYTES),
    };
    if (w.all_packed) {
        const ptrdiff_t rows = chunk_rows(m);
        for (ptrdiff_t i = 0; i < m; i += rows, j.c += rows * ldc, j.row += rows) {
            j.m = least(m - i, rows);
            if (!j.pack_a && j.m * w.total <= IN_PLACE)
                run_panels(&j);
            else
                run(&j);
        }
    } else if (w.flips) {
        run_flipped(j);
    } else if (w.in_place_b) {
        const ptrdiff_t whole = n / NR * NR;
        if (whole)
            run_columns(j, 0, whole, false);
        if (whole < n)
            run_columns(j, whole, n - whole, true);
    } else {
        for (ptrdiff_t i = 0; i < n; i += NC)
            run_columns(j, i, least(n - i, NC), true);
    }
}

size_t KERNEL(packed_size)(ptrdiff_t k, ptrdiff_t n)
{
    return (size_t)((n + NR - 1) / NR) * (size_t)k * NR * sizeof(T);
}

void KERNEL(pack)(ptrdiff_t k, ptrdiff_t n, const void *b, ptrdiff_t b_k, ptrdiff_t b_n, void *dst)
{
    T *to = dst;
    for (ptrdiff_t i = 0; i < n; i += NR)
        pack_panel(k, least(n - i, NR), (const T *)b + i * b_n, b_k, b_n, to + i * k);
}
