/* Phases: runs of steps that do not touch each other's results, and so need no order among threads.
 *
 * The gates of one time step are four products of the same h: each may be too small to be cut, but
 * two threads can compute two each, and wait for each other once. A step joins the phase under way
 * when no memory that it writes is read or written there, and none that it reads is written. What
 * the steps are depends on the plan alone; how a phase is cut, on the number of threads. */
#include "graph/run/run.h"

enum { MOST_STEPS = 16, MOST_RANGES = 96, ROOM = 5 * MOST_RANGES };

/* Bytes of memory; the region is in the highest bits of both, so that two compares tell all. */
typedef struct range {
    uint64_t begin, end;
} range;

/* Those of the phase, from `own` on those of the step looked at: if it joins, they are in place. */
typedef struct ranges {
    range *first, *own, *end;
    range range[ROOM];
} ranges;

typedef struct look {
    ranges read, written;
    bool full;                          /* not all are known */
} look;

/* Whether there is room for n more of the step. */
static inline bool has_room(look *l, size_t n)
{
    const ptrdiff_t used = l->read.end - l->read.own + (l->written.end - l->written.own);
    l->full |= n > MOST_RANGES - (size_t)used;
    return !l->full;
}

/* How far elements reach to both sides of the first one. */
typedef struct reach {
    ptrdiff_t low, high;
} reach;

static inline void extend(reach *r, ptrdiff_t dim, ptrdiff_t step)
{
    const ptrdiff_t far = (dim - 1) * step;
    if (far < 0)
        r->low += far;
    else
        r->high += far;
}

static inline reach reach_of(int rank, const ptrdiff_t *dim, const ptrdiff_t *step)
{
    reach r = { 0, 0 };
    if (rank == 1)                      /* mostly */
        extend(&r, dim[0], step[0]);
    else
        for (int d = 0; d < rank; d++)
            extend(&r, dim[d], step[d]);
    return r;
}

/* `size`: bytes of an element. There is room. */
static inline void note(ranges *to, ur__loc at, ptrdiff_t size, reach r)
{
    const uint64_t place = (uint64_t)at.region << 48 | at.offset;
    *to->end++ = (range){ place + (uint64_t)(r.low * size),
                          place + (uint64_t)((r.high + 1) * size) };
}

static inline ptrdiff_t size_of(int type) { return (ptrdiff_t)ur__type_size(type); }

static void note_all(look *l, ranges *to, ur__loc at, int type, size_t n)
{
    reach r = { 0, 0 };
    extend(&r, (ptrdiff_t)n, 1);
    if (has_room(l, 1))
        note(to, at, size_of(type), r);
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

static double program(look *l, const ur__programmed *x)
{
    const ur__program *p = x->program;
    const ptrdiff_t size = size_of(p->type);
    const bool fits = has_room(l, (size_t)(p->n_in + p->n_out));
    for (int k = 0; fits && k < p->n_in; k++)
        note(&l->read, x->loc[k], size, reach_of(p->rank, p->dim, p->in[k].stride));
    for (int k = 0; fits && k < p->n_out; k++)
        note(&l->written, x->loc[p->n_in + k], size,
             reach_of(p->rank, p->dim, p->out[k].stride));
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

/* Panels are written by steps of a phase of their own only. */
static inline bool in_panel(const ur__term *t) { return t->b.region == UR__PANELS; }

static void note_product(look *l, const ur__contraction *c, const ur__batch *b)
{
    const ptrdiff_t size = size_of(c->type);
    const reach left = reach_of(b->rank, b->dim, b->a_step);
    const reach right = reach_of(b->rank, b->dim, b->b_step);
    size_t n = 1;
    for (size_t i = 0; i < c->n_terms; i++)
        n += in_panel(&c->term[i]) ? 1 : 2;
    if (!has_room(l, n))
        return;
    for (size_t i = 0; i < c->n_terms; i++) {
        const ur__term *t = &c->term[i];
        reach r = left;
        extend(&r, c->m, t->a_m);
        extend(&r, t->k, t->a_k);
        note(&l->read, t->a, size, r);
        if (in_panel(t))
            continue;
        r = right;
        extend(&r, t->k, t->b_k);
        extend(&r, c->n, t->b_n);
        note(&l->read, t->b, size, r);
    }
    reach r = reach_of(b->rank, b->dim, b->c_step);
    extend(&r, c->m, c->ldc);
    extend(&r, c->n, 1);
    note(&l->written, c->c, size, r);
}

static double contraction(look *l, const ur__contraction *c)
{
    static const ur__batch none;
    const ur__batch *b = c->batch ? c->batch : &none;
    note_product(l, c, b);
    return cost(c, volume(b->rank, b->dim));
}

static double gang(look *l, const ur__contraction *c)
{
    double work = 0;
    for (; c; c = c->gang)
        work += contraction(l, c);
    return work;
}

static double move(look *l, const ur__move *m)
{
    const ptrdiff_t size = size_of(m->type);
    note(&l->read, m->x, size, reach_of(m->rank, m->dim, m->x_step));
    note(&l->written, m->y, size, reach_of(m->rank, m->dim, m->y_step));
    return volume(m->rank, m->dim) * 0.2;
}

static double scatter(look *l, const ur__scatter *s)
{
    note_all(l, &l->read, s->x, s->type, s->n * s->width);
    note_all(l, &l->read, s->ids, UR_I32, s->n);
    note_all(l, &l->written, s->y, s->type, s->rows * s->width);
    return (double)s->n * (double)s->width * 0.1;
}

static double call(look *l, const ur__call *c)
{
    const ur__routine *f = c->routine;
    const size_t out = ur__elements(&f->shape);
    size_t n = out;
    const bool looks_up = f->op->flags & UR_LOOKUP;
    note_all(l, &l->written, c->out, f->type, out);
    for (int i = 0; i < f->n_in && !l->full; i++) {
        const size_t count = ur__elements(&f->shape_in[i]);
        note_all(l, &l->read, c->in[i], (int)f->type_in[i], count);
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

static double zero(look *l, const ur__zero *z)
{
    note_all(l, &l->written, z->y, UR_F32, (z->bytes + 3) / 4);
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

static double look_at(const ur_graph *g, const ur__step *s, look *l)
{
    l->read.end = l->read.own;
    l->written.end = l->written.own;
    l->full = false;
    switch (s->what) {
    case UR__PROGRAM:
        return program(l, s->body);
    case UR__CONTRACT:
        return gang(l, s->body);
    case UR__MOVE:
        return move(l, s->body);
    case UR__ZERO:
        return zero(l, s->body);
    case UR__SCATTER:
        return scatter(l, s->body);
    case UR__CALL:
        return call(l, s->body);
    case UR__PACK:
        return packing(g, s);
    }
    return 0;
}

/* Whether what the step has in `own` is apart from what the phase has in `others`. Mostly a step
 * goes on with what the last one made: that is seen first. */
static inline bool apart(const ranges *own, const ranges *others)
{
    for (const range *a = own->own; a < own->end; a++)
        for (const range *b = others->own; b-- > others->first;)
            if (a->begin < b->end && b->begin < a->end)
                return false;
    return true;
}

/* Whether a step can join a phase: nothing that one of them writes is touched by the other. */
static bool fits(const look *l)
{
    return l->read.end - l->read.first + (l->written.end - l->written.first) <= MOST_RANGES &&
           apart(&l->read, &l->written) && apart(&l->written, &l->written) &&
           apart(&l->written, &l->read);
}

/* A phase begins with the step looked at. There is room for all of it, and a step more. */
static inline void begin(ranges *r)
{
    r->first = r->own;
    if (r->first < r->range + ROOM - 2 * MOST_RANGES)
        return;
    const ptrdiff_t n = r->end - r->own;
    memmove(r->range, r->own, (size_t)n * sizeof *r->own);
    r->first = r->own = r->range;
    r->end = r->range + n;
}

size_t ur__find_phases(const ur_graph *g, ur__plan *p, bool side_by_side)
{
    look l;
    size_t joined = 0;
    int steps = 0;
    l.read.first = l.read.own = l.read.range;
    l.written.first = l.written.own = l.written.range;
    for (size_t i = 0; i < p->n_steps; i++) {
        ur__step *s = &p->step[i];
        s->work = (float)look_at(g, s, &l) + 20;
        s->ends = true;
        const bool single = !side_by_side || alone(s) || l.full;
        if (!single && steps > 0 && steps < MOST_STEPS && fits(&l)) {
            p->step[i - 1].ends = false;
            s->before = s[-1].before + s[-1].work;
            joined++;
        } else {                        /* it begins a phase */
            begin(&l.read);
            begin(&l.written);
            s->before = 0;
            steps = 0;
        }
        if (single)
            continue;
        l.read.own = l.read.end;
        l.written.own = l.written.end;
        steps++;
    }
    return joined;
}
