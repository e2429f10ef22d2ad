/* Steps other than programs and products: copies, scattered rows, opaque operations. */
#include "graph/run/run.h"

static void add_strided(size_t n, int type, const char *x, ptrdiff_t x_step, char *y,
                        ptrdiff_t y_step)
{
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++)
        if (type == UR_F64)
            ((double *)y)[i * y_step] += ((const double *)x)[i * x_step];
        else if (type == UR_F32)
            ((float *)y)[i * y_step] += ((const float *)x)[i * x_step];
        else
            ((int32_t *)y)[i * y_step] += ((const int32_t *)x)[i * x_step];
}

static void copy_strided(size_t n, int type, const char *x, ptrdiff_t x_step, char *y,
                         ptrdiff_t y_step)
{
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++)
        if (type == UR_F64)
            ((double *)y)[i * y_step] = ((const double *)x)[i * x_step];
        else
            ((int32_t *)y)[i * y_step] = ((const int32_t *)x)[i * x_step];
}

enum { RUN = 2048 };            /* elements of the innermost dimension that stay together */

static size_t outer_of(const ur__move *m)
{
    size_t n = 1;
    for (int d = 0; d + 1 < m->rank; d++)
        n *= (size_t)m->dim[d];
    return n;
}

static size_t runs_of(const ur__move *m)
{
    return m->rank ? ((size_t)m->dim[m->rank - 1] + RUN - 1) / RUN : 1;
}

static void move_run(const ur__run *r, const ur__move *m, bool add, size_t n, const char *x,
                     ptrdiff_t xs, char *y, ptrdiff_t ys)
{
    bool dense = xs == 1 && ys == 1;
    if (dense && !add)
        memcpy(y, x, n * ur__type_size(m->type));
    else if (dense && m->type != UR_I32)
        ur__set(r, m->type)->add(n, x, y);
    else if (add)
        add_strided(n, m->type, x, xs, y, ys);
    else
        copy_strided(n, m->type, x, xs, y, ys);
}

void ur__run_move(const ur__run *r, const ur__move *m, const ur__piece *q)
{
    bool add = ur__adds(r, m->write, m->slot);
    ptrdiff_t size = (ptrdiff_t)ur__type_size(m->type);
    int outer = m->rank > 0 ? m->rank - 1 : 0;
    size_t width = m->rank ? (size_t)m->dim[outer] : 1, runs = runs_of(m), unit, end;
    ptrdiff_t xs = m->rank ? m->x_step[outer] : 1, ys = m->rank ? m->y_step[outer] : 1;
    ptrdiff_t index[UR_MAX_RANK] = { 0 };
    const char *x0 = ur__ptr(r, m->x);
    char *y0 = ur__ptr(r, m->y);
    ur__units(outer_of(m) * runs, q, &unit, &end);
    ur__index(outer, m->dim, unit / runs, index);
    while (unit < end) {
        size_t from = unit % runs, to = runs - from > end - unit ? from + end - unit : runs;
        size_t i = from * RUN, n = (to < runs ? to * RUN : width) - i;
        move_run(r, m, add, n,
                 x0 + (ur__dot(outer, index, m->x_step) + (ptrdiff_t)i * xs) * size, xs,
                 y0 + (ur__dot(outer, index, m->y_step) + (ptrdiff_t)i * ys) * size, ys);
        unit += to - from;
        ur__advance(outer, m->dim, index);
    }
}

/* By columns: rows of one id are then added by one part, in their order. */
void ur__run_scatter(ur__run *r, const ur__scatter *s, const ur__piece *q)
{
    const int32_t *id = (const int32_t *)ur__ptr(r, s->ids);
    const ur__kernel_set *k = ur__set(r, s->type);
    size_t bytes = s->width * ur__type_size(s->type);
    const char *x = ur__ptr(r, s->x);
    char *y = ur__ptr(r, s->y);
    enum { LINE = 16 };
    size_t begin, end;
    ur__units((s->width + LINE - 1) / LINE, q, &begin, &end);
    begin *= LINE;
    end = end * LINE < s->width ? end * LINE : s->width;
    if (begin >= end)
        return;
    size_t column = begin * ur__type_size(s->type);
    uint64_t *touched = NULL;
    if (s->table && begin == 0)
        touched = r->g->slot[s->slot].store->param[s->table - 1].touched;
    for (size_t i = 0; i < s->n; i++, x += bytes) {
        if (id[i] < 0 || (size_t)id[i] >= s->rows) {
            ur_compute_fail(&(ur_compute){ .self = r }, "id %d at position %zu, but there are %zu "
                            "rows", (int)id[i], i, s->rows);
            return;
        }
        k->add(end - begin, x + column, y + (size_t)id[i] * bytes + column);
        if (touched)
            touched[id[i] / 64] |= (uint64_t)1 << id[i] % 64;
    }
}

void ur__run_call(ur__run *r, const ur__call *c, const ur__piece *q)
{
    const ur__routine *f = c->routine;
    const void **in = (const void **)r->scratch;
    for (int i = 0; i < f->n_in; i++)
        in[i] = ur__ptr(r, c->in[i]);
    ur_compute compute = {
        .n_in = f->n_in, .in = in, .shape_in = f->shape_in, .type_in = f->type_in,
        .out = ur__ptr(r, c->out), .shape = f->shape, .type = (ur_type)f->type,
        .precision = r->g->precision, .attr = f->attr, .n_attr = f->n_attr, .key = r->key,
        .self = r,
    };
    size_t pieces = c->end ? c->end - c->begin : f->op->pieces ? f->op->pieces(&compute) : 1;
    ur__units(pieces, q, &compute.begin, &compute.end);
    compute.begin += c->begin;
    compute.end += c->begin;
    if (compute.begin < compute.end)
        f->op->compute(&compute);
}
