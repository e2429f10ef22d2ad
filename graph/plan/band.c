/* Bands: consecutive steps over the same many rows run block of rows by block of rows,
 *
 *     logits = h W      + b      cross-entropy      its gradient over the logits      dh = . W^T
 *
 * so that what one step leaves the next one finds in the cache. Products that sum over the rows
 * (dW = h^T dlogits) take part: they add up the blocks.
 *
 * Steps are cut where they stand, after memory has been laid out. So two of them may share memory
 * only row by row: at the same place and with the same distance between rows. */
#include "graph/plan/band.h"

enum {
    CACHE = 1 << 20,                    /* bytes that a block may touch */
    MOST = 12,                          /* steps of a band */
    FEW = 4                             /* steps that are put off */
};

typedef struct band {
    size_t rows, row_bytes;
    int n, n_put_off;
    ur__member member[MOST];
    ur__member put_off[FEW];                /* steps in between that can run after the band */
} band;

/* A call of any kind, which reads and writes whole values: the sum of the losses. */
static bool look_at_whole(ur__member *m, const ur__step *s)
{
    const ur__call *c = s->body;
    ur__begin_member(m, s);
    if (s->what != UR__CALL)
        return false;
    const ur__routine *f = c->routine;
    for (int i = 0; i < f->n_in; i++)
        if (!ur__note_value(m, c->in[i],
                   ur__elements(&f->shape_in[i]) * ur__type_size((int)f->type_in[i]), 0, false))
            return false;
    return ur__note_value(m, c->out, ur__elements(&f->shape) * ur__type_size(f->type), 0, true);
}

static bool overlap(const ur__touched *x, const ur__touched *y)
{
    return x->at.region == y->at.region && x->at.offset < y->at.offset + y->bytes &&
           y->at.offset < x->at.offset + x->bytes;
}

/* Whether x and y may be done block by block in turns: apart, only read, or shared row by row. */
static bool compatible(const ur__touched *x, const ur__touched *y)
{
    return (!x->write && !y->write) || !overlap(x, y) ||
           (x->row && x->row == y->row && x->at.offset == y->at.offset);
}

static bool side_by_side(const ur__member *x, const ur__member *y)
{
    for (int i = 0; i < x->n; i++)
        for (int k = 0; k < y->n; k++)
            if (!compatible(&x->value[i], &y->value[k]))
                return false;
    return true;
}

static bool fits(const band *b, const ur__member *m)
{
    for (int j = 0; j < b->n; j++)
        if (!side_by_side(m, &b->member[j]))
            return false;
    for (int j = 0; j < b->n_put_off; j++)
        if (!side_by_side(m, &b->put_off[j]))
            return false;
    return true;
}

/* Bytes of a row that the band brings into the cache. */
static size_t row_bytes(const ur__member *m)
{
    size_t n = 0;
    for (int i = 0; i < m->n; i++)
        n += m->value[i].row;
    return n;
}

/* How many of n steps the band takes that begins with the first; 0 when it is none. A panel to be
 * packed is renewed before it: it depends on parameters only. */
static int find_band(const ur__work *w, const ur__step *step, size_t n, band *b)
{
    int taken = 0, put_off = 0;
    b->rows = b->row_bytes = 0;
    b->n = b->n_put_off = 0;
    for (size_t i = 0; i < n && b->n < MOST; i++) {
        ur__member *m = &b->member[b->n];
        if (step[i].what == UR__PACK && b->n)
            continue;
        size_t rows = b->rows;
        if (ur__by_rows(w->g, m, &step[i], &rows, false) && rows >= (size_t)ur__limit.band_rows &&
            fits(b, m) &&
            (b->row_bytes + row_bytes(m)) * (size_t)ur__limit.block_rows <= CACHE) {
            b->rows = rows;
            b->row_bytes += row_bytes(m);
            b->n++;
            taken = (int)i + 1;
            put_off = b->n_put_off;
        } else if (!b->n || b->n_put_off == FEW ||
                   !look_at_whole(&b->put_off[b->n_put_off++], &step[i])) {
            break;
        }
    }
    b->n_put_off = put_off;             /* those after the last member stay where they are */
    return b->n > 1 ? taken : 0;
}

/* ------------------------------------------------------------------------------------- cutting */

/* Rows of a block: where products sum over them, those that keep the bits of the whole. */
static size_t block_of(const band *b)
{
    const size_t block = (size_t)ur__gemm_block((ptrdiff_t)b->rows);
    bool sums = false;
    for (int k = 0; k < b->n; k++)
        sums |= b->member[k].sums;
    return sums && block < (size_t)ur__limit.block_rows ? block : (size_t)ur__limit.block_rows;
}

static bool cut_band(ur__work *w, const band *b, const ur__step *step, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (step[i].what == UR__PACK && !ur__append_step(w, &step[i], step[i].body))
            return false;
    const size_t block = block_of(b);
    for (size_t row = 0; row < b->rows; row += block) {
        size_t rows = b->rows - row < block ? b->rows - row : block;
        for (int k = 0; k < b->n; k++)
            if (!ur__cut_rows(w, &b->member[k], b->rows, row, rows))
                return false;
    }
    for (int k = 0; k < b->n_put_off; k++)
        if (!ur__append_step(w, b->put_off[k].step, b->put_off[k].step->body))
            return false;
    w->p->merged[UR__BIT_band] += (size_t)b->n;
    return true;
}

/* A band begins with a product that has many rows, which few do. */
static bool can_begin(const ur__step *s)
{
    return s->what == UR__CONTRACT &&
           ((const ur__contraction *)s->body)->m >= ur__limit.band_rows;
}

bool ur__pass_bands(ur__work *w)
{
    ur__plan *p = w->p;
    size_t n = p->n_steps, i = 0;
    band b;
    int taken = 0;
    if (!ur__on(w->g, UR__BIT_band))
        return true;
    while (i < n && !(can_begin(&p->step[i]) && (taken = find_band(w, p->step + i, n - i, &b))))
        i++;
    if (i == n)
        return true;
    /* the steps from the first band on are listed anew */
    ur__step *step = ur__bump_take(&w->g->scratch, (n -= i) * sizeof *step);
    if (!step)
        return ur__out_of_memory(&w->g->owner);
    memcpy(step, p->step + i, n * sizeof *step);
    p->n_steps = i;
    bool ok = true;
    for (i = 0; ok && i < n; i += taken ? (size_t)taken : 1) {
        taken = can_begin(&step[i]) ? find_band(w, step + i, n - i, &b) : 0;
        ok = taken ? cut_band(w, &b, step + i, (size_t)taken)
                   : ur__append_step(w, &step[i], step[i].body);
    }
    return ok;
}
