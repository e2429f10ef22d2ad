/* Steps by rows: what a step touches of so many rows, and the part of it that has some of them.
 * Where rows are cut changes no bit (kernels.h); what products that sum over them say of that is
 * ur__gemm_block. */
#include "graph/plan/band.h"
#include "graph/plan/emit.h"

/* ------------------------------------------------------------------------- what a step touches */

bool ur__note_value(ur__member *m, ur__loc at, size_t bytes, size_t row, bool write)
{
    if (m->n == UR__TOUCHED)
        return false;
    m->value[m->n++] = (ur__touched){ at, bytes, row, write };
    return true;
}

static bool touch_term(ur__member *m, const ur__contraction *c, const ur__term *t, size_t size)
{
    size_t a = (size_t)((c->m - 1) * t->a_m + (t->k - 1) * t->a_k + 1) * size;
    bool packed = t->b_k == 0 && t->b_n == 0;
    size_t b = (size_t)((t->k - 1) * t->b_k + (c->n - 1) * t->b_n + 1) * size;
    if (t->a_m < 0 || t->a_k < 0 || t->b_k < 0 || t->b_n < 0)
        return false;
    return ur__note_value(m, t->a, a, (size_t)(m->sums ? t->a_k : t->a_m) * size, false) &&
           (packed || ur__note_value(m, t->b, b, m->sums ? (size_t)t->b_k * size : 0, false));
}

/* Its rows are those of the result, or those that it sums over. */
static bool look_at_product(ur__member *m, const ur__contraction *c, size_t *rows)
{
    size_t size = ur__type_size(c->type);
    if (c->batch)
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
    return ur__note_value(m, c->c, (size_t)((c->m - 1) * c->ldc + c->n) * size,
                 m->sums ? 0 : (size_t)c->ldc * size, true);
}

/* A program whose outermost dimension is the rows, or whose elements are whole rows of all its
 * operands. */
static bool look_at_program(ur__member *m, const ur__programmed *x, size_t rows)
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
        if (!ur__note_value(m, x->loc[k], bytes, row, k >= p->n_in))
            return false;
    }
    return true;
}

size_t ur__call_rows(const ur_graph *g, const ur__routine *f)
{
    if (!f->op->pieces || !f->op->by_rows)
        return 0;
    return f->op->pieces(&(ur_compute){
        .n_in = f->n_in, .shape_in = f->shape_in, .type_in = f->type_in, .shape = f->shape,
        .type = (ur_type)f->type, .precision = g->precision, .attr = f->attr,
        .n_attr = f->n_attr, .end = 1 });
}

/* A call whose pieces are the rows. */
static bool look_at_call(const ur_graph *g, ur__member *m, const ur__call *c, size_t rows)
{
    const ur__routine *f = c->routine;
    if (!rows || ur__call_rows(g, f) != rows)
        return false;
    size_t bytes = ur__elements(&f->shape) * ur__type_size(f->type);
    if (bytes % rows)
        return false;
    for (int i = 0; i < f->n_in; i++) {
        size_t n = ur__elements(&f->shape_in[i]) * ur__type_size((int)f->type_in[i]);
        if (!ur__note_value(m, c->in[i], n, ur__by_row(f->op, i) ? n / rows : 0, false))
            return false;
    }
    return ur__note_value(m, c->out, bytes, bytes / rows, true);
}

/* A gang whose members all sum over the rows. */
static bool look_at_gang(ur__member *m, const ur__contraction *c, size_t rows)
{
    for (; c; c = c->gang)
        if (!rows || !look_at_product(m, c, &rows) || !m->sums)
            return false;
    return true;
}

bool ur__by_rows(const ur_graph *g, ur__member *m, const ur__step *s, size_t *rows, bool gangs)
{
    ur__begin_member(m, s);
    if (s->what == UR__CONTRACT && ((const ur__contraction *)s->body)->gang)
        return gangs && look_at_gang(m, s->body, *rows);
    switch (s->what) {
    case UR__CONTRACT: return look_at_product(m, s->body, rows);
    case UR__PROGRAM: return look_at_program(m, s->body, *rows);
    case UR__CALL: return look_at_call(g, m, s->body, *rows);
    default: return false;
    }
}

/* ------------------------------------------------------------------------------------- cutting */

bool ur__append_step(ur__work *w, const ur__step *like, void *body)
{
    ur__plan *p = w->p;
    if (p->n_steps == w->step_cap && !ur__more_steps(w))
        return false;
    p->step[p->n_steps] = *like;
    p->step[p->n_steps++].body = body;
    return true;
}

static void *copy(ur__work *w, const void *body, size_t bytes)
{
    void *p = ur__bump_take(&w->p->memory, bytes);
    return p ? memcpy(p, body, bytes) : NULL;
}

static ur__contraction *part_of_product(ur__work *w, const ur__member *m, const ur__contraction *c,
                                        size_t row, size_t rows)
{
    const ptrdiff_t size = (ptrdiff_t)ur__type_size(c->type), r = (ptrdiff_t)row;
    ur__contraction *part = copy(w, c, sizeof *c);
    ur__term *term = copy(w, c->term, c->n_terms * sizeof *term);
    if (!part || !term)
        return ur__out_of_memory(&w->g->owner), NULL;
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
    return part;
}

static bool cut_product(ur__work *w, const ur__member *m, size_t row, size_t rows)
{
    ur__contraction *first = NULL, **link = &first;
    for (const ur__contraction *c = m->step->body; c; c = c->gang, link = &(*link)->gang)
        if (!(*link = part_of_product(w, m, c, row, rows)))
            return false;
    return ur__append_step(w, m->step, first);
}

static bool cut_program(ur__work *w, const ur__member *m, size_t all, size_t row, size_t rows)
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
    return ur__append_step(w, m->step, part);
}

static bool cut_call(ur__work *w, const ur__member *m, size_t row, size_t rows)
{
    const ur__call *c = m->step->body;
    ur__call *part = copy(w, c, sizeof *c + (size_t)c->routine->n_in * sizeof *c->in);
    if (!part)
        return ur__out_of_memory(&w->g->owner);
    part->begin = row;
    part->end = row + rows;
    return ur__append_step(w, m->step, part);
}

bool ur__cut_rows(ur__work *w, const ur__member *m, size_t all, size_t row, size_t rows)
{
    switch (m->step->what) {
    case UR__CONTRACT: return cut_product(w, m, row, rows);
    case UR__PROGRAM: return cut_program(w, m, all, row, rows);
    default: return cut_call(w, m, row, rows);
    }
}
