/* A block of K of a product (gemm.c): the pieces that the segments have in it, and their operands
 * packed. */
#ifndef UR_BLOCK_H
#define UR_BLOCK_H

#include <stdbool.h>
#include "ops/kernels/pack.h"
#include "ops/kernels/set.h"

enum {
    KC = UR__GEMM_BLOCK,                /* KC x NR of B stay in the first cache */
    MC = 18 * MR,                       /* MC x KC of A stay in the second one */
    NC = 512 * 1024 / (KC * NR * sizeof(T)) * NR,
    IN_PLACE = 512 * 1024 / sizeof(T),  /* of A, to stay in the second one beside B */
    NEAR = 16 * 1024,                   /* bytes of A, or B, to stay in the first one */
    SHORT = 16,                         /* K of a piece that is hardly worth its own loop */
    COLUMNS = 8, SLACK = 4,             /* see gather_a */
    PIECES_BYTES = (KC * sizeof(piece) + 63) / 64 * 64,
    A_BYTES = ((MC * (KC + SLACK) + W) * sizeof(T) + 63) / 64 * 64,
    B_BYTES = NC * KC * sizeof(T),
};

typedef struct job {
    const ur__segment *s, *end;
    ptrdiff_t block;                    /* K of a block, at most KC */
    ptrdiff_t row, m, column, n;        /* this part of C */
    T *c;                               /* its first element */
    ptrdiff_t ldc;
    bool add, pack_a, gather_b, flipped;
    piece *pieces, *packed_pieces, *keeping_pieces;
    T *packed_a, *packed_b;
} job;

static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

/* The piece of segment t that begins at k, for the place k0 of the block. B to be gathered will be
 * in panels [panel][K of the block][NR], whose stride is not known yet. */
static piece make_piece(const job *j, const ur__segment *s, ptrdiff_t k, ptrdiff_t k0)
{
    const ur__segment flipped = { .a = s->b, .a_m = s->b_n, .a_k = s->b_k,
                                  .b = s->a, .b_k = s->a_k, .b_n = s->a_m, .k = s->k };
    const ur__segment *t = j->flipped ? &flipped : s;
    piece p = {
        .a = (const T *)t->a + j->row * t->a_m + k * t->a_k, .a_m = t->a_m, .a_k = t->a_k,
        .k0 = k0, .k = least(t->k - k, j->block - k0), .b_k = NR,
    };
    if (t->b_k == 0 && t->b_n == 0) {
        p.b = (const T *)t->b + j->column * t->k + k * NR;
        p.b_panel = t->k * NR;
    } else if (j->gather_b) {
        p.b = j->packed_b + k0 * NR;
        p.from = (const T *)t->b + j->column * t->b_n + k * t->b_k;
        p.from_k = t->b_k;
        p.from_n = t->b_n;
    } else {
        p.b = (const T *)t->b + j->column + k * t->b_k;
        p.b_panel = NR;
        p.b_k = t->b_k;
    }
    return p;
}

/* True if q goes on where p ends, as steps of a sequence do that lie one after another. */
static bool continues(const piece *p, const piece *q)
{
    return p->from && q->from && q->a == p->a + p->k * p->a_k
        && q->from == p->from + p->k * p->from_k && p->from_k == q->from_k
        && p->from_n == q->from_n && p->a_m == q->a_m && p->a_k == q->a_k;
}

/* The pieces of the next block; *s and *k, the place on the way along K, move on. Returns how many;
 * *total is the block's K. */
static ptrdiff_t cut_block(const job *j, const ur__segment **s, ptrdiff_t *k, ptrdiff_t *total)
{
    ptrdiff_t count = 0;
    for (*total = 0; *s < j->end && *total < j->block; ++*s, *k = 0) {
        if ((*s)->k <= 0)
            continue;
        piece *p = &j->pieces[count];
        *p = make_piece(j, *s, *k, *total);
        *total += p->k;
        *k += p->k;
        if (count && continues(p - 1, p))
            p[-1].k += p->k;
        else
            count++;
        if (*k < (*s)->k)
            break;
    }
    for (piece *p = j->pieces; p < j->pieces + count; p++)
        if (p->from)
            p->b_panel = *total * NR;
    return count;
}

/* The panels of B that hold n columns from `column` on. */
static void gather_b(const job *j, ptrdiff_t count, ptrdiff_t total, ptrdiff_t column, ptrdiff_t n)
{
    for (const ptrdiff_t end = column + n; column < end; column += NR)
        for (const piece *p = j->pieces; p < j->pieces + count; p++)
            if (p->from)
                pack_panel(p->k, least(end - column, NR), p->from + column * p->from_n, p->from_k,
                           p->from_n, j->packed_b + column * total + p->k0 * NR);
}

/* Rows are dealt to as few tiles as possible, whose heights differ by at most one. */
typedef struct tiling { ptrdiff_t count, height, taller; } tiling;

static tiling tile_rows(ptrdiff_t m)
{
    const ptrdiff_t count = (m + MR - 1) / MR;
    return (tiling){ count, m / count, m % count };
}

static ptrdiff_t tile_height(tiling t, ptrdiff_t i)
{
    return t.height + (i < t.taller);
}

/* Rows are walked in even chunks of at most MC, which are whole tiles. */
static ptrdiff_t chunk_rows(ptrdiff_t m)
{
    const ptrdiff_t chunks = (m + MC - 1) / MC, rows = (m + chunks - 1) / chunks;
    return (rows + MR - 1) / MR * MR;
}

/* A of rows i0 to i0 + m copied into tiles. A tile of R rows has total + SLACK columns, which
 * leaves room for the whole vectors that packing stores. Columns of A are read a few at a time from
 * end to end, because the stride from one to the next is the worst case of a cache. */
static void gather_a(const job *j, ptrdiff_t i0, ptrdiff_t m, ptrdiff_t count, ptrdiff_t total)
{
    const tiling t = tile_rows(m);
    for (const piece *p = j->pieces; p < j->pieces + count; p++) {
        for (ptrdiff_t k = 0; p->a_m == 1 && k < p->k; k += COLUMNS) {
            const ptrdiff_t columns = least(p->k - k, COLUMNS);
            const T *a = p->a + i0 + k * p->a_k;
            T *to = j->packed_a;
            for (ptrdiff_t i = 0, R; i < t.count; i++, a += R, to += R * (total + SLACK)) {
                R = tile_height(t, i);
                pack_columns(columns, R, a, p->a_k, to + (p->k0 + k) * R);
            }
        }
        ptrdiff_t row = 0;
        for (ptrdiff_t i = 0, R; p->a_m != 1 && i < t.count; i++, row += R) {
            R = tile_height(t, i);
            pack_rows(p->k, R, p->a + (i0 + row) * p->a_m, p->a_m, p->a_k,
                      j->packed_a + row * (total + SLACK) + p->k0 * R);
        }
    }
}

/* The pieces as they read packed A; neighbours whose B is contiguous too become one. */
static ptrdiff_t packed_pieces(const job *j, ptrdiff_t count, ptrdiff_t total)
{
    ptrdiff_t made = 0;
    for (const piece *p = j->pieces; p < j->pieces + count; p++) {
        piece *q = &j->packed_pieces[made];
        if (made && p->b_k == NR && p->b_panel == q[-1].b_panel && p->b == q[-1].b + q[-1].k * NR) {
            q[-1].k += p->k;
        } else {
            *q = *p;
            q->a = j->packed_a;
            q->a_m = total + SLACK;
            q->a_k = 0;
            made++;
        }
    }
    return made;
}

/* The pieces p as the first of several tiles reads them where B is, keeping it for the others; NULL
 * where B is gathered better than it is walked through. */
static const piece *keeping_pieces(const job *j, const piece *p, ptrdiff_t count, ptrdiff_t total)
{
    if (total < SHORT * count)
        return NULL;
    for (ptrdiff_t i = 0; i < count; i++) {
        const piece *from = &j->pieces[i];
        if (!from->from || from->from_n != 1)
            return NULL;
        piece *q = &j->keeping_pieces[i];
        *q = p[i];
        q->b = from->from;
        q->b_panel = NR;
        q->b_k = from->from_k;
        q->keep = j->packed_b + from->k0 * NR;
        q->keep_panel = from->b_panel;
    }
    return j->keeping_pieces;
}

#endif
