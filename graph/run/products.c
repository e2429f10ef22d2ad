/* Contractions, cut by batch, or by rows or columns of the result: kernels.h says that neither
 * changes a bit.
 *
 * Rows and columns differ in what is packed twice (a right operand that is not packed for good, by
 * rows; a transposed left one, by columns), in the balance of the shares, and in how often a panel
 * is loaded. */
#include "graph/run/run.h"

/* The rectangle of C that a part computes. */
typedef struct cut {
    ptrdiff_t row, m, column, n;
} cut;

static size_t batches_of(const ur__contraction *c)
{
    size_t n = 1;
    for (int d = 0; c->batch && d < c->batch->rank; d++)
        n *= (size_t)c->batch->dim[d];
    return n;
}

static ptrdiff_t panel_width(const ur__kernel_set *k, int type)
{
    return (ptrdiff_t)(k->packed_size(1, 1) / ur__type_size(type));
}

static bool packed(const ur__term *t)
{
    return t->b_k == 0 && t->b_n == 0;
}

/* The time of a part, in multiply-adds for each step along K. PACK is what it costs to pack one
 * number, LOAD how many rows' worth of time the loads of a panel take. */
static bool by_rows(const ur__run *r, const ur__contraction *c, int parts)
{
    enum { PACK = 8, LOAD = 2 };
    const ptrdiff_t width = panel_width(ur__set(r, c->type), c->type);
    const ptrdiff_t m = (c->m + parts - 1) / parts;
    const bool gathers = !packed(&c->term[0]), packs = c->term[0].a_k != 1;
    ptrdiff_t n = 0, all = 0, panels = 0;
    for (const ur__contraction *x = c; x; x = x->gang) {
        panels += (x->n + width - 1) / width;
        all += x->n;
    }
    n = (panels + parts - 1) / parts * width;
    n = n < all ? n : all;
    const ptrdiff_t rows = (m + LOAD) * all + PACK * (gathers * all + packs * m);
    const ptrdiff_t columns = (c->m + LOAD) * n + PACK * (gathers * n + packs * c->m);
    return rows < columns;
}

/* Whether q is one more row of the left operand's transpose and of the right operand, where those
 * of p so far lie at equal distances: steps of a single sequence do. Then they become one segment,
 * but not of a product of few rows, whose bits depend on where segments end. Whether the divisions
 * leave a rest is seen by the products; p is one row then, and goes on with strides by which
 * nothing is read. */
static bool joins(ur__segment *p, const ur__segment *q, ptrdiff_t size)
{
    if (q->b_n != 1 || p->b_n != 1 || q->a_m != p->a_m)
        return false;
    const ptrdiff_t a = (const char *)q->a - (const char *)p->a;
    const ptrdiff_t b = (const char *)q->b - (const char *)p->b;
    if (p->k == 1 && a != 0 && b != 0) {
        p->a_k = a / size;
        p->b_k = b / size;
    }
    if (a == 0 || b == 0 || a != p->k * p->a_k * size || b != p->k * p->b_k * size)
        return false;
    p->k++;
    return true;
}

/* Whether the segment of t is part of the one before it now. */
static inline bool follows(const ur__term *t, ur__segment *s, int type)
{
    return t->k == 1 && t->a.region == t[-1].a.region && t->b.region == t[-1].b.region &&
           joins(s - 1, s, (ptrdiff_t)ur__type_size(type));
}

/* Those of terms `from` to `to`, joined if they may be; returns how many there are. */
static ptrdiff_t fill_segments(const ur__run *r, const ur__contraction *c, size_t from, size_t to,
                               const ptrdiff_t *index, const cut *part, bool join,
                               ur__segment *s)
{
    const ur__kernel_set *k = ur__set(r, c->type);
    const ptrdiff_t size = (ptrdiff_t)ur__type_size(c->type);
    const ptrdiff_t a = c->batch ? size * ur__dot(c->batch->rank, index, c->batch->a_step) : 0;
    const ptrdiff_t b = c->batch ? size * ur__dot(c->batch->rank, index, c->batch->b_step) : 0;
    ur__segment *next = s;
    for (size_t i = from; i < to; i++) {
        const ur__term *t = &c->term[i];
        const ptrdiff_t right = packed(t) ? (ptrdiff_t)k->packed_size(t->k, part->column)
                                          : size * part->column * t->b_n;
        *next = (ur__segment){ .a = ur__ptr(r, t->a) + a + size * part->row * t->a_m,
                              .b = ur__ptr(r, t->b) + b + right, .a_m = t->a_m, .a_k = t->a_k,
                              .b_k = t->b_k, .b_n = t->b_n, .k = t->k };
        next += !join || i == from || !follows(t, next, c->type);
    }
    return next - s;
}

static void *place(const ur__run *r, const ur__contraction *c, const cut *part)
{
    return ur__ptr(r, c->c) + (part->row * c->ldc + part->column) *
                                  (ptrdiff_t)ur__type_size(c->type);
}

/* What a part has of x, a member of the gang of c: rows of all, or panels counted through all. */
static bool share(const ur__run *r, const ur__contraction *c, const ur__contraction *x, bool rows,
                  const ur__piece *q, cut *out)
{
    size_t begin, end;
    *out = (cut){ .m = x->m, .n = x->n };
    if (rows) {
        ur__units((size_t)x->m, q, &begin, &end);
        out->row = (ptrdiff_t)begin;
        out->m = (ptrdiff_t)(end - begin);
        return end > begin;
    }
    const ptrdiff_t width = panel_width(ur__set(r, c->type), c->type);
    ptrdiff_t before = 0, all = 0, first, last;
    for (const ur__contraction *y = c; y; y = y->gang) {
        before = y == x ? all : before;
        all += (y->n + width - 1) / width;
    }
    ur__units((size_t)all, q, &begin, &end);
    first = ((ptrdiff_t)begin - before) * width;
    last = ((ptrdiff_t)end - before) * width;
    first = first > 0 ? first : 0;
    last = last < x->n ? last : x->n;
    out->column = first;
    out->n = last - first;
    return last > first;
}

/* Members of a gang take turns on stretches of terms whose left operands stay in the second cache.
 * A stretch is a multiple of the kernel's block of K wherever terms allow, so that most bits are
 * those of the whole product; which stretches there are depends on the sizes alone. */
static void run_gang(const ur__run *r, const ur__contraction *c, ur__segment *s, char *work,
                     const ur__piece *q)
{
    enum { STRETCH = 512 };
    const ur__kernel_set *k = ur__set(r, c->type);
    const bool rows = by_rows(r, c, q->of);
    static const ptrdiff_t index[UR_MAX_RANK];
    for (size_t from = 0, to; from < c->n_terms; from = to) {
        ptrdiff_t sum = 0;
        for (to = from; to < c->n_terms && sum < STRETCH; to++)
            sum += c->term[to].k;
        for (const ur__contraction *x = c; x; x = x->gang) {
            cut own;
            if (!share(r, c, x, rows, q, &own))
                continue;
            const ptrdiff_t n = fill_segments(r, x, from, to, index, &own, true, s);
            k->gemm(own.m, own.n, s, n, from > 0 || ur__adds(r, x->write, x->slot),
                    place(r, x, &own), x->ldc, work);
        }
    }
}

/* A few rows, all of them: what the steps of one sequence are made of, so the shortest way. */
static void run_thin(const ur__run *r, const ur__contraction *c, bool turned, ur__segment *s)
{
    for (size_t i = 0; i < c->n_terms; i++) {
        const ur__term *t = &c->term[i];
        s[i] = (ur__segment){ ur__ptr(r, t->a), ur__ptr(r, t->b), t->a_m, t->a_k, t->b_k, t->b_n,
                              t->k };
    }
    ur__set(r, c->type)->thin(c->m, c->n, s, (ptrdiff_t)c->n_terms, turned,
                              ur__adds(r, c->write, c->slot), ur__ptr(r, c->c), c->ldc);
}

void ur__run_contraction(const ur__run *r, const ur__contraction *c, bool turned,
                         const ur__piece *q)
{
    const ur__kernel_set *k = ur__set(r, c->type);
    const ptrdiff_t size = (ptrdiff_t)ur__type_size(c->type);
    ur__segment *s = (ur__segment *)r->scratch;
    char *work = r->scratch + (c->n_terms * sizeof *s + 63) / 64 * 64;
    if (c->gang) {
        run_gang(r, c, s, work, q);
        return;
    }
    if (c->thin && !c->batch && q->from <= 0 && q->to >= 1) {
        run_thin(r, c, turned, s);
        return;
    }
    ptrdiff_t index[UR_MAX_RANK] = { 0 };
    size_t batch = 0, end = batches_of(c);
    cut own = { .m = c->m, .n = c->n };
    if (end >= (size_t)q->of) {
        ur__units(end, q, &batch, &end);
        if (c->batch)
            ur__index(c->batch->rank, c->batch->dim, batch, index);
    } else if (q->of > 1 && !share(r, c, c, by_rows(r, c, q->of), q, &own)) {
        return;
    }
    for (; batch < end; batch++) {
        const ptrdiff_t n = fill_segments(r, c, 0, c->n_terms, index, &own, !c->thin, s);
        char *to = (char *)place(r, c, &own) +
                   (c->batch ? size * ur__dot(c->batch->rank, index, c->batch->c_step) : 0);
        const bool adds = ur__adds(r, c->write, c->slot);
        if (c->thin)
            k->thin(own.m, own.n, s, n, turned, adds, to, c->ldc);
        else
            k->gemm(own.m, own.n, s, n, adds, to, c->ldc, work);
        if (c->batch)
            ur__advance(c->batch->rank, c->batch->dim, index);
    }
}
