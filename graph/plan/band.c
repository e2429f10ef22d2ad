/* Bands: consecutive steps over the same many rows run block of rows by block of rows,
 *
 *     logits = h W      + b      cross-entropy      its gradient over the logits      dh = . W^T
 *
 * so that what one step leaves the next one finds in the cache. Products that sum over the rows
 * (dW = h^T dlogits) take part: they add up the blocks.
 *
 * Steps are cut where they stand, after memory has been laid out. So two of them may share memory
 * only row by row: at the same place and with the same distance between rows. */
#include "graph/plan/plan.h"

enum {
    CACHE = 1 << 20,                    /* bytes that a block may touch */
    MOST = 12,                          /* steps of a band */
    FEW = 4,                            /* steps that are put off */
    TOUCHED = 24                        /* values of a step */
};

/* What a step reads or writes: row by row, or (row 0) as a whole. */
typedef struct touched {
    ur__loc at;
    size_t bytes, row;                  /* of all; from one row to the next */
    bool write;
} touched;

typedef struct member {
    const ur__step *step;
    bool sums;                          /* a product that sums over the rows */
    int n;
    touched value[TOUCHED];
} member;

typedef struct band {
    size_t rows, row_bytes;
    int n, n_put_off;
    member member[MOST];
    member put_off[FEW];                /* steps in between that can run after the band */
} band;

/* ------------------------------------------------------------------------- what a step touches */

static bool touch(member *m, ur__loc at, size_t bytes, size_t row, bool write)
{
    if (m->n == TOUCHED)
        return false;
    m->value[m->n++] = (touched){ at, bytes, row, write };
    return true;
}

static bool touch_term(member *m, const ur__contraction *c, const ur__term *t, size_t size)
{
    size_t a = (size_t)((c->m - 1) * t->a_m + (t->k - 1) * t->a_k + 1) * size;
    bool packed = t->b_k == 0 && t->b_n == 0;
    size_t b = (size_t)((t->k - 1) * t->b_k + (c->n - 1) * t->b_n + 1) * size;
    if (t->a_m < 0 || t->a_k < 0 || t->b_k < 0 || t->b_n < 0)
        return false;
    return touch(m, t->a, a, (size_t)(m->sums ? t->a_k : t->a_m) * size, false) &&
           (packed || touch(m, t->b, b, m->sums ? (size_t)t->b_k * size : 0, false));
}

/* Its rows are those of the result, or those that it sums over. */
static bool look_at_product(member *m, const ur__contraction *c, size_t *rows)
{
    size_t size = ur__type_size(c->type);
    if (c->batch || c->gang)
        return false;
    if (!*rows)
        *rows = (size_t)c->m;
    m->sums = (size_t)c->m != *rows;
    if (m->sums && (c->n_terms != 1 || (size_t)c->term[0].k != *rows ||
                    (c->term[0].b_k == 0 && c->term[0].b_n == 0)))
        return false;
    for (size_t i = 0; i < c->n_terms; i++)
        if (!touch_term(m, c, &c->term[i], size))
            return false;
    return touch(m, c->c, (size_t)((c->m - 1) * c->ldc + c->n) * size,
                 m->sums ? 0 : (size_t)c->ldc * size, true);
}

/* A program whose outermost dimension is the rows, or whose elements are whole rows of all its
 * operands. */
static bool look_at_program(member *m, const ur__programmed *x, size_t rows)
{
    const ur__program *p = x->program;
    size_t size = ur__type_size(p->type), dim = (size_t)p->dim[0];
    if (!rows || dim % rows || (p->rank > 1 && dim != rows))
        return false;
    for (int k = 0; k < p->n_in + p->n_out; k++) {
        const ur__access *a = k < p->n_in ? &p->in[k] : &p->out[k - p->n_in];
        size_t bytes = size, row = (size_t)a->stride[0] * (dim / rows) * size;
        for (int d = 0; d < p->rank; d++) {
            if (a->stride[d] < 0)
                return false;
            bytes += (size_t)((p->dim[d] - 1) * a->stride[d]) * size;
        }
        if (!touch(m, x->loc[k], bytes, row, k >= p->n_in))
            return false;
    }
    return true;
}

static size_t pieces_of(const ur_graph *g, const ur__routine *f)
{
    if (!f->op->pieces || !(f->op->flags & UR_ROWS))
        return 0;
    return f->op->pieces(&(ur_compute){
        .n_in = f->n_in, .shape_in = f->shape_in, .type_in = f->type_in, .shape = f->shape,
        .type = (ur_type)f->type, .precision = g->precision, .attr = f->attr,
        .n_attr = f->n_attr, .end = 1 });
}

/* A call whose pieces are the rows. An operand with as many of them is read row by row. */
static bool look_at_call(const ur_graph *g, member *m, const ur__call *c, size_t rows)
{
    const ur__routine *f = c->routine;
    if (!rows || pieces_of(g, f) != rows)
        return false;
    size_t bytes = ur__elements(&f->shape) * ur__type_size(f->type);
    if (bytes % rows)
        return false;
    for (int i = 0; i < f->n_in; i++) {
        size_t n = ur__elements(&f->shape_in[i]) * ur__type_size((int)f->type_in[i]);
        if (!touch(m, c->in[i], n, n % rows || n / rows == 0 ? 0 : n / rows, false))
            return false;
    }
    return touch(m, c->out, bytes, bytes / rows, true);
}

static void begin(member *m, const ur__step *s)
{
    m->step = s;
    m->sums = false;
    m->n = 0;
}

/* A call of any kind, which reads and writes whole values: the sum of the losses. */
static bool look_at_whole(member *m, const ur__step *s)
{
    const ur__call *c = s->body;
    begin(m, s);
    if (s->what != UR__CALL)
        return false;
    const ur__routine *f = c->routine;
    for (int i = 0; i < f->n_in; i++)
        if (!touch(m, c->in[i],
                   ur__elements(&f->shape_in[i]) * ur__type_size((int)f->type_in[i]), 0, false))
            return false;
    return touch(m, c->out, ur__elements(&f->shape) * ur__type_size(f->type), 0, true);
}

static bool look_at(const ur_graph *g, member *m, const ur__step *s, size_t *rows)
{
    begin(m, s);
    switch (s->what) {
    case UR__CONTRACT: return look_at_product(m, s->body, rows);
    case UR__PROGRAM: return look_at_program(m, s->body, *rows);
    case UR__CALL: return look_at_call(g, m, s->body, *rows);
    default: return false;
    }
}

static bool overlap(const touched *x, const touched *y)
{
    return x->at.region == y->at.region && x->at.offset < y->at.offset + y->bytes &&
           y->at.offset < x->at.offset + x->bytes;
}

/* Whether x and y may be done block by block in turns: apart, only read, or shared row by row. */
static bool compatible(const touched *x, const touched *y)
{
    return (!x->write && !y->write) || !overlap(x, y) ||
           (x->row && x->row == y->row && x->at.offset == y->at.offset);
}

static bool side_by_side(const member *x, const member *y)
{
    for (int i = 0; i < x->n; i++)
        for (int k = 0; k < y->n; k++)
            if (!compatible(&x->value[i], &y->value[k]))
                return false;
    return true;
}

static bool fits(const band *b, const member *m)
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
static size_t row_bytes(const member *m)
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
        member *m = &b->member[b->n];
        if (step[i].what == UR__PACK && b->n)
            continue;
        size_t rows = b->rows;
        if (look_at(w->g, m, &step[i], &rows) && rows >= (size_t)ur__limit.band_rows &&
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

static bool append(ur__work *w, const ur__step *like, void *body)
{
    ur__plan *p = w->p;
    if (!ur__room(&p->step, &p->step_cap, p->n_steps + 1, sizeof *p->step))
        return ur__out_of_memory(&w->g->owner);
    p->step[p->n_steps] = *like;
    p->step[p->n_steps++].body = body;
    return true;
}

static void *copy(ur__work *w, const void *body, size_t bytes)
{
    void *p = ur__bump_alloc(&w->p->memory, bytes);
    return p ? memcpy(p, body, bytes) : NULL;
}

static bool cut_product(ur__work *w, const member *m, size_t row, size_t rows)
{
    const ur__contraction *c = m->step->body;
    const ptrdiff_t size = (ptrdiff_t)ur__type_size(c->type), r = (ptrdiff_t)row;
    ur__contraction *part = copy(w, c, sizeof *c);
    ur__term *term = copy(w, c->term, c->n_terms * sizeof *term);
    if (!part || !term)
        return ur__out_of_memory(&w->g->owner);
    part->term = term;
    for (size_t i = 0; i < c->n_terms; i++) {
        term[i].a.offset += (uint64_t)(r * (m->sums ? term[i].a_k : term[i].a_m) * size);
        if (m->sums) {
            term[i].b.offset += (uint64_t)(r * term[i].b_k * size);
            term[i].k = (ptrdiff_t)rows;
        }
    }
    if (m->sums && row > 0)
        part->write = UR__ADD;
    if (!m->sums) {
        part->m = (ptrdiff_t)rows;
        part->c.offset += (uint64_t)(r * c->ldc * size);
    }
    return append(w, m->step, part);
}

static bool cut_program(ur__work *w, const member *m, size_t all, size_t row, size_t rows)
{
    const ur__programmed *x = m->step->body;
    const ur__program *p = x->program;
    const int n = p->n_in + p->n_out;
    const size_t each = (size_t)p->dim[0] / all, size = ur__type_size(p->type);
    ur__programmed *part = copy(w, x, sizeof *x + (size_t)n * sizeof *x->loc);
    ur__program *shorter = copy(w, p, sizeof *p);
    if (!part || !shorter)
        return ur__out_of_memory(&w->g->owner);
    shorter->dim[0] = (ptrdiff_t)(rows * each);
    part->program = shorter;
    for (int k = 0; k < n; k++) {
        const ur__access *a = k < p->n_in ? &p->in[k] : &p->out[k - p->n_in];
        part->loc[k].offset += (uint64_t)a->stride[0] * row * each * size;
    }
    return append(w, m->step, part);
}

static bool cut_call(ur__work *w, const member *m, size_t row, size_t rows)
{
    const ur__call *c = m->step->body;
    ur__call *part = copy(w, c, sizeof *c + (size_t)c->routine->n_in * sizeof *c->in);
    if (!part)
        return ur__out_of_memory(&w->g->owner);
    part->begin = row;
    part->end = row + rows;
    return append(w, m->step, part);
}

static bool cut(ur__work *w, const band *b, const member *m, size_t row, size_t rows)
{
    switch (m->step->what) {
    case UR__CONTRACT: return cut_product(w, m, row, rows);
    case UR__PROGRAM: return cut_program(w, m, b->rows, row, rows);
    default: return cut_call(w, m, row, rows);
    }
}

static bool cut_band(ur__work *w, const band *b, const ur__step *step, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (step[i].what == UR__PACK && !append(w, &step[i], step[i].body))
            return false;
    const size_t block = (size_t)ur__limit.block_rows;
    for (size_t row = 0; row < b->rows; row += block) {
        size_t rows = b->rows - row < block ? b->rows - row : block;
        for (int k = 0; k < b->n; k++)
            if (!cut(w, b, &b->member[k], row, rows))
                return false;
    }
    for (int k = 0; k < b->n_put_off; k++)
        if (!append(w, b->put_off[k].step, b->put_off[k].step->body))
            return false;
    w->p->merged[UR__BIT_band] += (size_t)b->n;
    w->p->saved[UR__BIT_band] += (double)b->rows * (double)b->row_bytes;
    return true;
}

bool ur__pass_bands(ur__work *w)
{
    ur__plan *p = w->p;
    if (!ur__on(w->g, UR__BIT_band))
        return true;
    size_t n = p->n_steps, bytes = p->step_cap * sizeof *p->step;
    ur__step *step = p->step;
    p->step = NULL;
    p->n_steps = p->step_cap = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < n;) {
        band b;
        int taken = find_band(w, step + i, n - i, &b);
        if (taken)
            ok = cut_band(w, &b, step + i, (size_t)taken);
        else
            ok = append(w, &step[i], step[i].body);
        i += taken ? (size_t)taken : 1;
    }
    ur__realloc(step, bytes, 0);
    return ok;
}
