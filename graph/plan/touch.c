/* The places that a step reads and writes. */
#include "graph/plan/segment.h"

typedef struct touches {
    ur__touch *t;
    size_t n, room;
} touches;

static void note(touches *x, ur__loc *at, int how, uint64_t begin, uint64_t end)
{
    if (at->region == UR__CONST || at->region == UR__PANELS || begin == end)
        return;
    if (x->n < x->room)
        x->t[x->n] = (ur__touch){ at, begin, end, how };
    x->n++;
}

/* From `at` on, what elements of so many steps along each dimension cover. */
static void note_strided(touches *x, ur__loc *at, int how, int type, int rank,
                         const ptrdiff_t *dim, const ptrdiff_t *step)
{
    ptrdiff_t low = 0, high = 0;
    const ptrdiff_t size = (ptrdiff_t)ur__type_size(type);
    for (int d = 0; d < rank; d++) {
        ptrdiff_t far = (dim[d] - 1) * step[d];
        if (dim[d] == 0)
            return;
        low += far < 0 ? far : 0;
        high += far > 0 ? far : 0;
    }
    note(x, at, how, at->offset + (uint64_t)(low * size),
         at->offset + (uint64_t)((high + 1) * size));
}

static void note_all(touches *x, ur__loc *at, int how, size_t bytes)
{
    note(x, at, how, at->offset, at->offset + bytes);
}

static int written(int write)
{
    return write == UR__OVER ? UR__WRITES : UR__READS | UR__WRITES;
}

static void program(touches *x, ur__programmed *s)
{
    const ur__program *p = s->program;
    for (int k = 0; k < p->n_in + p->n_out; k++)
        note_strided(x, &s->loc[k], k < p->n_in ? UR__READS : UR__WRITES, p->type, p->rank, p->dim,
                     (k < p->n_in ? p->in[k] : p->out[k - p->n_in]).stride);
}

static void contraction(touches *x, ur__contraction *c)
{
    const ur__batch *b = c->batch;
    ptrdiff_t dim[UR_MAX_RANK + 2], left[UR_MAX_RANK + 2], right[UR_MAX_RANK + 2];
    ptrdiff_t out[UR_MAX_RANK + 2];
    const int rank = b ? b->rank : 0;
    for (int d = 0; d < rank; d++) {
        dim[d] = b->dim[d];
        left[d] = b->a_step[d], right[d] = b->b_step[d], out[d] = b->c_step[d];
    }
    for (size_t i = 0; i < c->n_terms; i++) {
        ur__term *t = &c->term[i];
        dim[rank] = c->m, dim[rank + 1] = t->k;
        left[rank] = t->a_m, left[rank + 1] = t->a_k;
        note_strided(x, &t->a, UR__READS, c->type, rank + 2, dim, left);
        dim[rank] = t->k, dim[rank + 1] = c->n;
        right[rank] = t->b_k, right[rank + 1] = t->b_n;
        note_strided(x, &t->b, UR__READS, c->type, rank + 2, dim, right);
    }
    dim[rank] = c->m, dim[rank + 1] = c->n;
    out[rank] = c->ldc, out[rank + 1] = 1;
    note_strided(x, &c->c, written(c->write), c->type, rank + 2, dim, out);
}

/* A value of a block of rows: all of it where rows is 0. */
static void call_value(touches *x, const ur__call *c, ur__loc *at, int how, size_t rows,
                       const ur_shape *s, int type)
{
    const size_t bytes = ur__elements(s) * ur__type_size(type);
    if (!rows)
        note_all(x, at, how, bytes);
    else
        note(x, at, how, at->offset + c->begin * (bytes / rows),
             at->offset + c->end * (bytes / rows));
}

static void call(touches *x, const ur_graph *g, ur__call *c)
{
    const ur__routine *f = c->routine;
    const size_t rows = c->end ? ur__call_rows(g, f) : 0;
    for (int i = 0; i < f->n_in; i++)
        call_value(x, c, &c->in[i], UR__READS, ur__by_row(f->op, i) ? rows : 0, &f->shape_in[i],
                   (int)f->type_in[i]);
    call_value(x, c, &c->out, UR__WRITES, rows, &f->shape, f->type);
}

size_t ur__touches(const ur_graph *g, const ur__step *s, ur__touch *t, size_t room)
{
    touches x = { t, 0, room };
    switch (s->what) {
    case UR__PROGRAM:
        program(&x, s->body);
        break;
    case UR__CONTRACT:
        for (ur__contraction *c = s->body; c; c = c->gang)
            contraction(&x, c);
        break;
    case UR__MOVE: {
        ur__move *m = s->body;
        note_strided(&x, &m->x, UR__READS, m->type, m->rank, m->dim, m->x_step);
        note_strided(&x, &m->y, written(m->write), m->type, m->rank, m->dim, m->y_step);
        break;
    }
    case UR__ZERO: {
        ur__zero *z = s->body;
        note_all(&x, &z->y, written(z->write), z->bytes);
        break;
    }
    case UR__SCATTER: {
        ur__scatter *c = s->body;
        note_all(&x, &c->x, UR__READS, c->n * c->width * ur__type_size(c->type));
        note_all(&x, &c->ids, UR__READS, c->n * ur__type_size(UR_I32));
        note_all(&x, &c->y, UR__READS | UR__WRITES, c->rows * c->width * ur__type_size(c->type));
        break;
    }
    case UR__CALL:
        call(&x, g, s->body);
        break;
    case UR__PACK:
        break;
    }
    return x.n;
}

size_t ur__touches_of(const ur__segmenting *s, ur__step *step, size_t i, ur__touch *t, size_t room)
{
    const ur__plan *p = s->w->p;
    if (i < s->n_steps)
        return ur__touches(s->w->g, step, t, room);
    ur__commit *c = &p->commit[i - s->n_steps];
    const ur_params *ps = s->w->g->slot[c->slot].store;
    touches x = { t, 0, room };
    note_all(&x, &c->x, UR__READS, ps->param[c->param].count * ur__type_size((int)ps->type));
    return x.n;
}
