/* Phases: runs of steps that do not touch each other's results, and so need no order among threads.
 *
 * The gates of one time step are four products of the same h: each may be too small to be cut, but
 * two threads can compute two each, and wait for each other once. A step joins the phase under way
 * when no memory that it writes is read or written there, and none that it reads is written. What
 * the steps are depends on the plan alone; how a phase is cut, on the number of threads. */
#include "graph/run/run.h"

enum { MOST_STEPS = 16, MOST_RANGES = 96 };

typedef struct range {
    uint64_t region, begin, end;        /* bytes */
} range;

typedef struct ranges {
    range read[MOST_RANGES], written[MOST_RANGES];
    int n_read, n_written;
    bool full;                          /* not all are known */
} ranges;

/* From `at` on, what elements of so many steps along each dimension cover. */
static void note(ranges *r, bool written, ur__loc at, int type, int rank, const ptrdiff_t *dim,
                 const ptrdiff_t *step)
{
    ptrdiff_t low = 0, high = 0;
    for (int d = 0; d < rank; d++) {
        ptrdiff_t far = (dim[d] - 1) * step[d];
        low += far < 0 ? far : 0;
        high += far > 0 ? far : 0;
    }
    ptrdiff_t size = (ptrdiff_t)ur__type_size(type);
    if ((r->full |= r->n_read + r->n_written == MOST_RANGES))
        return;
    range *x = written ? &r->written[r->n_written++] : &r->read[r->n_read++];
    *x = (range){ at.region, at.offset + (uint64_t)(low * size),
                  at.offset + (uint64_t)((high + 1) * size) };
}

static void note_all(ranges *r, bool written, ur__loc at, int type, size_t n)
{
    note(r, written, at, type, 1, &(ptrdiff_t){ (ptrdiff_t)n }, &(ptrdiff_t){ 1 });
}

static double volume(int rank, const ptrdiff_t *dim)
{
    double n = 1;
    for (int d = 0; d < rank; d++)
        n *= (double)dim[d];
    return n;
}

/* Each of these notes what a step touches and returns about how many nanoseconds it takes: measured
 * with AVX-512, where the proportions matter more than the figures. */

static double program(ranges *r, const ur__programmed *x)
{
    const ur__program *p = x->program;
    for (int k = 0; k < p->n_in + p->n_out; k++)
        note(r, k >= p->n_in, x->loc[k], p->type, p->rank, p->dim,
             (k < p->n_in ? p->in[k] : p->out[k - p->n_in]).stride);
    return volume(p->rank, p->dim) * p->n_instructions * (p->type == UR_F64 ? 0.2 : 0.1);
}

/* Besides the multiply-adds of whole vectors, a product loads its right operand and, where that is
 * not packed, packs it; and it stores the result. */
static double cost(const ur__contraction *c, double batches)
{
    const int lanes = c->type == UR_F64 ? 8 : 16;
    const double n = (double)((c->n + lanes - 1) / lanes * lanes);
    double k = 0, right = 0;
    for (size_t i = 0; i < c->n_terms; i++) {
        const bool copied = !c->thin && (c->term[i].b_k || c->term[i].b_n);
        k += (double)c->term[i].k;
        right += (double)c->term[i].k * (copied ? 0.045 : 0.015);
    }
    return batches * n * (k * (double)c->m / 115 + right + 0.05 * (double)c->m) * 16 / lanes;
}

static double contraction(ranges *r, const ur__contraction *c)
{
    const ur__batch *b = c->batch;
    ptrdiff_t dim[UR_MAX_RANK + 2], a[UR_MAX_RANK + 2], right[UR_MAX_RANK + 2];
    ptrdiff_t out[UR_MAX_RANK + 2];
    const int rank = b ? b->rank : 0;
    for (int d = 0; d < rank; d++) {
        dim[d] = b->dim[d];
        a[d] = b->a_step[d], right[d] = b->b_step[d], out[d] = b->c_step[d];
    }
    for (size_t i = 0; i < c->n_terms && !r->full; i++) {
        const ur__term *t = &c->term[i];
        dim[rank] = c->m, dim[rank + 1] = t->k;
        a[rank] = t->a_m, a[rank + 1] = t->a_k;
        note(r, false, t->a, c->type, rank + 2, dim, a);
        dim[rank] = t->k, dim[rank + 1] = c->n;
        right[rank] = t->b_k, right[rank + 1] = t->b_n;
        if (t->b.region != UR__PANELS)          /* which only steps of their own phase write */
            note(r, false, t->b, c->type, rank + 2, dim, right);
    }
    dim[rank] = c->m, dim[rank + 1] = c->n;
    out[rank] = c->ldc, out[rank + 1] = 1;
    note(r, true, c->c, c->type, rank + 2, dim, out);
    return cost(c, volume(rank, dim));
}

static double gang(ranges *r, const ur__contraction *c)
{
    double work = 0;
    for (; c; c = c->gang)
        work += contraction(r, c);
    return work;
}

static double move(ranges *r, const ur__move *m)
{
    note(r, false, m->x, m->type, m->rank, m->dim, m->x_step);
    note(r, true, m->y, m->type, m->rank, m->dim, m->y_step);
    return volume(m->rank, m->dim) * 0.2;
}

static double scatter(ranges *r, const ur__scatter *s)
{
    note_all(r, false, s->x, s->type, s->n * s->width);
    note_all(r, false, s->ids, UR_I32, s->n);
    note_all(r, true, s->y, s->type, s->rows * s->width);
    return (double)s->n * (double)s->width * 0.1;
}

static double call(ranges *r, const ur__call *c)
{
    const ur__routine *f = c->routine;
    const size_t out = ur__elements(&f->shape);
    size_t n = out;
    const bool looks_up = f->op->flags & UR_LOOKUP;
    note_all(r, true, c->out, f->type, out);
    for (int i = 0; i < f->n_in && !r->full; i++) {
        const size_t count = ur__elements(&f->shape_in[i]);
        note_all(r, false, c->in[i], (int)f->type_in[i], count);
        n += i == 0 && looks_up ? 0 : count;
    }
    double share = 1;
    if (c->end && f->op->pieces) {              /* a block of rows (plan/band.c) */
        const ur_compute whole = { .n_in = f->n_in, .shape_in = f->shape_in, .type_in = f->type_in,
                                   .shape = f->shape, .type = (ur_type)f->type, .attr = f->attr,
                                   .n_attr = f->n_attr };
        share = (double)(c->end - c->begin) / (double)f->op->pieces(&whole);
    }
    return (double)n * (looks_up ? 0.15 : 0.5) * share;
}

static double zero(ranges *r, const ur__zero *z)
{
    note_all(r, true, z->y, UR_F32, (z->bytes + 3) / 4);
    return (double)z->bytes / 32;
}

static double packing(const ur_graph *g, const ur__step *s)
{
    const ur__panel *panel = &g->panel[s->panel];
    return (double)(panel->k * panel->n) * 0.4;
}

/* Whether a step has a phase of its own, since it changes more than memory or is a user's operation
 * that may not like company. */
static bool alone(const ur__step *s)
{
    switch (s->what) {
    case UR__ZERO:
        return ((const ur__zero *)s->body)->table;
    case UR__CALL:
        return !((const ur__call *)s->body)->routine->op->pieces;
    case UR__PACK:
        return true;
    default:
        return false;
    }
}

static double look_at(const ur_graph *g, const ur__step *s, ranges *r)
{
    r->n_read = r->n_written = 0;
    r->full = false;
    switch (s->what) {
    case UR__PROGRAM:
        return program(r, s->body);
    case UR__CONTRACT:
        return gang(r, s->body);
    case UR__MOVE:
        return move(r, s->body);
    case UR__ZERO:
        return zero(r, s->body);
    case UR__SCATTER:
        return scatter(r, s->body);
    case UR__CALL:
        return call(r, s->body);
    case UR__PACK:
        return packing(g, s);
    }
    return 0;
}

static bool apart(const range *a, int n, const range *b, int m)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < m; k++)
            if (a[i].region == b[k].region && a[i].begin < b[k].end && b[k].begin < a[i].end)
                return false;
    return true;
}

/* Whether a step can join a phase: nothing that one of them writes is touched by the other. */
static bool fits(const ranges *r, const ranges *s)
{
    return r->n_read + r->n_written + s->n_read + s->n_written <= MOST_RANGES &&
           apart(r->written, r->n_written, s->read, s->n_read) &&
           apart(r->written, r->n_written, s->written, s->n_written) &&
           apart(r->read, r->n_read, s->written, s->n_written);
}

static void add(ranges *r, const ranges *s)
{
    for (int i = 0; i < s->n_read; i++)
        r->read[r->n_read++] = s->read[i];
    for (int i = 0; i < s->n_written; i++)
        r->written[r->n_written++] = s->written[i];
}

void ur__find_phases(const ur_graph *g, ur__plan *p, bool side_by_side)
{
    ranges phase, own;
    int steps = 0;
    for (size_t i = 0; i < p->n_steps; i++) {
        ur__step *s = &p->step[i];
        s->work = (float)look_at(g, s, &own) + 20;
        s->ends = true;
        bool single = !side_by_side || alone(s) || own.full;
        if (!single && steps > 0 && steps < MOST_STEPS && fits(&phase, &own))
            p->step[i - 1].ends = false;
        else
            phase.n_read = phase.n_written = steps = 0;
        if (single)
            continue;
        add(&phase, &own);
        steps++;
    }
}
