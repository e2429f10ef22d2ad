/* What a plan costs, from its steps: what the printer says of it.
 *
 *     steps, phases   a phase is steps that run side by side; threads wait for each other after it
 *     flops           2MNK of a product, 1 for each element and instruction of a program, 1 for
 *                     each element that is added elsewhere; what calls compute is not known
 *     moved           bytes: each operand of a step once, an element that is repeated once, a
 *                     result that is added to twice; a right operand that a product has to pack
 *                     three times (read, written, read), a packed one once
 *     fetched         those of them that are not among the last 2 MB moved: what a second-level
 *                     cache would not have
 *     arena           bytes of memory besides what outlives the run
 *
 * It is the cost of a run after parameters changed, into gradients that hold nothing. Rows that ids
 * choose are taken for the first ones of their table. */
#include "graph/plan/band.h"

enum { LINE = 64, CACHE = (2 << 20) / LINE, AXES = UR_MAX_RANK + 2 };

/* Of each line of each region: how many had been moved when it was touched, 0 never. */
typedef struct account {
    const ur_graph *g;
    ur__cost *cost;
    uint64_t arena_bias;
    size_t *first;                      /* line of each region, and the end */
    uint32_t *touched;
} account;

/* An index space; axes that are repeated or of one index alone are left out. */
typedef struct space {
    int rank;
    ptrdiff_t dim[AXES], step[AXES];    /* bytes */
    size_t run;                         /* bytes without a gap */
    ptrdiff_t low;                      /* from the first element to the lowest one */
    bool empty;
} space;

static double volume(int rank, const ptrdiff_t *dim)
{
    double n = 1;
    for (int d = 0; d < rank; d++)
        n *= (double)dim[d];
    return n;
}

/* Axes are kept from the widest step to the narrowest. */
static void add_axis(space *s, ptrdiff_t dim, ptrdiff_t step)
{
    s->empty |= dim == 0;
    if (dim < 2 || step == 0)
        return;
    if (step < 0) {
        s->low += (dim - 1) * step;
        step = -step;
    }
    int d = s->rank++;
    for (; d > 0 && s->step[d - 1] < step; d--) {
        s->dim[d] = s->dim[d - 1];
        s->step[d] = s->step[d - 1];
    }
    s->dim[d] = dim;
    s->step[d] = step;
}

static space space_of(int type, int rank, const ptrdiff_t *dim, const ptrdiff_t *step)
{
    const ptrdiff_t size = (ptrdiff_t)ur__type_size(type);
    space s = { .run = (size_t)size };
    for (int d = 0; d < rank; d++)
        add_axis(&s, dim[d], step[d] * size);
    return s;
}

static void touch_run(account *a, uint32_t region, uint64_t begin, size_t bytes)
{
    const size_t last = a->first[region] + (size_t)((begin + bytes + LINE - 1) / LINE);
    const size_t end = last < a->first[region + 1] ? last : a->first[region + 1];
    const uint32_t now = 1 + CACHE + (uint32_t)(uint64_t)(a->cost->moved / LINE);
    size_t missed = 0;
    a->cost->moved += (double)bytes;
    for (size_t i = a->first[region] + (size_t)(begin / LINE); i < end; i++) {
        missed += now - a->touched[i] > CACHE;
        a->touched[i] = now;
    }
    a->cost->fetched += (double)(missed * LINE < bytes ? missed * LINE : bytes);
}

static void touch(account *a, ur__loc at, space s)
{
    ptrdiff_t index[AXES] = { 0 };
    if (s.empty)
        return;
    while (s.rank > 0 && s.step[s.rank - 1] == (ptrdiff_t)s.run)
        s.run *= (size_t)s.dim[--s.rank];
    uint64_t place = at.offset + (uint64_t)s.low;
    if (at.region == UR__ARENA)
        place -= a->arena_bias;
    for (int d = 0; d >= 0;) {
        touch_run(a, at.region, place, s.run);
        for (d = s.rank - 1; d >= 0; d--) {
            place += (uint64_t)s.step[d];
            if (++index[d] < s.dim[d])
                break;
            place -= (uint64_t)(s.dim[d] * s.step[d]);
            index[d] = 0;
        }
    }
}

static void touch_all(account *a, ur__loc at, size_t bytes)
{
    touch(a, at, (space){ .run = bytes, .empty = bytes == 0 });
}

static void program(account *a, const ur__programmed *x)
{
    const ur__program *p = x->program;
    for (int k = 0; k < p->n_in + p->n_out; k++)
        touch(a, x->loc[k],
              space_of(p->type, p->rank, p->dim,
                       (k < p->n_in ? &p->in[k] : &p->out[k - p->n_in])->stride));
    a->cost->flops += volume(p->rank, p->dim) * p->n_instructions;
}

static void right_operand(account *a, const ur__contraction *c, const ur__term *t, const space *s)
{
    if (t->b.region == UR__PANELS) {
        touch_all(a, t->b, (size_t)(t->k * c->n) * ur__type_size(c->type));
        return;
    }
    touch(a, t->b, *s);
    if (!c->thin && !s->empty)
        a->cost->moved += 2 * volume(s->rank, s->dim) * (double)s->run;
}

/* Left operands of a gang are those of its first product. */
static void product(account *a, const ur__contraction *c, bool left)
{
    static const ur__batch none;
    const ur__batch *b = c->batch ? c->batch : &none;
    const ptrdiff_t size = (ptrdiff_t)ur__type_size(c->type);
    const double batches = volume(b->rank, b->dim);
    for (size_t i = 0; i < c->n_terms; i++) {
        const ur__term *t = &c->term[i];
        space s = space_of(c->type, b->rank, b->dim, b->a_step);
        add_axis(&s, c->m, t->a_m * size);
        add_axis(&s, t->k, t->a_k * size);
        if (left)
            touch(a, t->a, s);
        s = space_of(c->type, b->rank, b->dim, b->b_step);
        add_axis(&s, t->k, t->b_k * size);
        add_axis(&s, c->n, t->b_n * size);
        right_operand(a, c, t, &s);
        a->cost->flops += 2 * batches * (double)c->m * (double)c->n * (double)t->k;
    }
    space s = space_of(c->type, b->rank, b->dim, b->c_step);
    add_axis(&s, c->m, c->ldc * size);
    add_axis(&s, c->n, size);
    for (int k = 0; k < (c->write == UR__ADD ? 2 : 1); k++)
        touch(a, c->c, s);
}

static void move(account *a, const ur__move *m)
{
    touch(a, m->x, space_of(m->type, m->rank, m->dim, m->x_step));
    for (int k = 0; k < (m->write == UR__ADD ? 2 : 1); k++)
        touch(a, m->y, space_of(m->type, m->rank, m->dim, m->y_step));
    a->cost->flops += m->write == UR__ADD ? volume(m->rank, m->dim) : 0;
}

/* Rows are read and written; ids may name one several times. */
static void scatter(account *a, const ur__scatter *s)
{
    const size_t row = s->width * ur__type_size(s->type);
    touch_all(a, s->x, s->n * row);
    touch_all(a, s->ids, s->n * ur__type_size(UR_I32));
    const size_t lines = s->n < s->rows ? s->n : s->rows;
    touch_all(a, s->y, lines * row);
    a->cost->moved += (double)row * (double)(2 * s->n - lines);
    a->cost->flops += (double)s->n * (double)s->width;
}

/* Of a block of rows (band.c) those rows of what is read and written row by row. */
static void call(account *a, const ur__call *c)
{
    const ur__routine *f = c->routine;
    const size_t rows = c->end ? ur__call_rows(a->g, f) : 0;
    const size_t out = ur__elements(&f->shape) * ur__type_size(f->type);
    for (int i = 0; i <= f->n_in; i++) {
        const ur__loc at = i < f->n_in ? c->in[i] : c->out;
        size_t n = i < f->n_in ? ur__elements(&f->shape_in[i]) * ur__type_size((int)f->type_in[i])
                               : out;
        if (i == 0 && f->op->flags & UR_LOOKUP && n > out)
            n = out;
        if (rows && (i == f->n_in || ur__by_row(f->op, i)))
            touch_all(a, (ur__loc){ at.region, at.offset + c->begin * (n / rows) },
                      (c->end - c->begin) * (n / rows));
        else
            touch_all(a, at, n);
    }
}

static void pack(account *a, const ur__panel *p)
{
    const int type = (int)a->g->precision;
    touch(a, (ur__loc){ UR__VALUES + 2 * p->slot, p->from },
          space_of(type, 2, (ptrdiff_t[]){ p->k, p->n }, (ptrdiff_t[]){ p->b_k, p->b_n }));
    touch_all(a, (ur__loc){ UR__PANELS, p->offset }, (size_t)(p->k * p->n) * ur__type_size(type));
}

static void step(account *a, const ur__step *s)
{
    switch (s->what) {
    case UR__PROGRAM:
        program(a, s->body);
        break;
    case UR__CONTRACT:
        for (const ur__contraction *c = s->body; c; c = c->gang)
            product(a, c, c == s->body);
        break;
    case UR__MOVE:
        move(a, s->body);
        break;
    case UR__ZERO: {
        const ur__zero *z = s->body;
        if (!z->table)                  /* of a table those rows that an earlier run wrote */
            touch_all(a, z->y, z->bytes);
        break;
    }
    case UR__SCATTER:
        scatter(a, s->body);
        break;
    case UR__CALL:
        call(a, s->body);
        break;
    case UR__PACK:
        pack(a, &a->g->panel[s->panel]);
        break;
    }
}

static size_t bytes_of(const ur_graph *g, const ur__plan *p, size_t region)
{
    switch (region) {
    case UR__NOWHERE:
        return 0;
    case UR__ARENA:
        return p->arena_bytes;
    case UR__DATA:
        return p->data_end;
    case UR__CONST:
        return p->consts.bytes;
    case UR__PANELS:
        return g->panels_used;
    default: {
        const ur_params *ps = g->slot[(region - UR__VALUES) / 2].store;
        return ps->padded * ur__type_size((int)ps->type);
    }
    }
}

bool ur__cost_of(ur_graph *g, ur__plan *p, ur__cost *out)
{
    const size_t regions = UR__VALUES + 2 * g->n_slots;
    ur__bump room = { 0 };
    account a = { .g = g, .cost = out, .arena_bias = p->arena_bias };
    ur__plan_ready(g, p);
    *out = (ur__cost){ .steps = (double)p->n_steps, .arena = (double)p->arena_bytes };
    if ((a.first = ur__bump_alloc(&room, (regions + 1) * sizeof *a.first))) {
        for (size_t r = 0; r < regions; r++)
            a.first[r + 1] = a.first[r] + bytes_of(g, p, r) / LINE + 1;
        a.touched = ur__bump_alloc(&room, a.first[regions] * sizeof *a.touched);
    }
    if (!a.first || !a.touched) {
        ur__bump_free(&room);
        return ur__out_of_memory(&g->owner);
    }
    for (size_t i = 0; i < p->n_steps; i++) {
        step(&a, &p->step[i]);
        out->phases += p->step[i].ends;
    }
    ur__bump_free(&room);
    return true;
}
