/* Steps other than programs and their loops over strided index spaces. */
#include "graph/run/run.h"

/* The next index of the outer dimensions; false after the last. */
static bool advance(int rank, const ptrdiff_t *dim, ptrdiff_t *index)
{
    for (int d = rank; d-- > 0;) {
        if (++index[d] < dim[d])
            return true;
        index[d] = 0;
    }
    return false;
}

static ptrdiff_t dot(int rank, const ptrdiff_t *index, const ptrdiff_t *step)
{
    ptrdiff_t n = 0;
    for (int d = 0; d < rank; d++)
        n += index[d] * step[d];
    return n;
}

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

void ur__run_move(const ur__run *r, const ur__move *m)
{
    bool add = ur__adds(r, m->write, m->slot);
    size_t size = ur__type_size(m->type);
    int outer = m->rank > 0 ? m->rank - 1 : 0;
    size_t n = m->rank ? (size_t)m->dim[outer] : 1;
    ptrdiff_t xs = m->rank ? m->x_step[outer] : 1, ys = m->rank ? m->y_step[outer] : 1;
    ptrdiff_t index[UR_MAX_RANK] = { 0 };
    const char *x0 = ur__ptr(r, m->x);
    char *y0 = ur__ptr(r, m->y);
    bool dense = xs == 1 && ys == 1;
    do {
        const char *x = x0 + dot(outer, index, m->x_step) * (ptrdiff_t)size;
        char *y = y0 + dot(outer, index, m->y_step) * (ptrdiff_t)size;
        if (dense && !add)
            memcpy(y, x, n * size);
        else if (dense && m->type != UR_I32)
            ur__set(r, m->type)->add(n, x, y);
        else if (add)
            add_strided(n, m->type, x, xs, y, ys);
        else
            copy_strided(n, m->type, x, xs, y, ys);
    } while (advance(outer, m->dim, index));
}

void ur__run_contraction(const ur__run *r, const ur__contraction *c)
{
    const ur__kernel_set *k = ur__set(r, c->type);
    ptrdiff_t size = (ptrdiff_t)ur__type_size(c->type);
    ur__segment *s = (ur__segment *)r->scratch;
    char *work = r->scratch + (c->n_terms * sizeof *s + 63) / 64 * 64;
    bool add = ur__adds(r, c->write, c->slot);
    ptrdiff_t index[UR_MAX_RANK] = { 0 };
    for (size_t i = 0; i < c->n_terms; i++) {
        const ur__term *t = &c->term[i];
        s[i] = (ur__segment){ .a_m = t->a_m, .a_k = t->a_k, .b_k = t->b_k, .b_n = t->b_n,
                              .k = t->k };
    }
    do {
        for (size_t i = 0; i < c->n_terms; i++) {
            s[i].a = ur__ptr(r, c->term[i].a) + size * dot(c->batch_rank, index, c->a_step);
            s[i].b = ur__ptr(r, c->term[i].b) + size * dot(c->batch_rank, index, c->b_step);
        }
        k->gemm(c->m, c->n, s, (ptrdiff_t)c->n_terms, add,
                ur__ptr(r, c->c) + size * dot(c->batch_rank, index, c->c_step), c->ldc, work);
    } while (advance(c->batch_rank, c->batch, index));
}

void ur__run_scatter(ur__run *r, const ur__scatter *s)
{
    const int32_t *id = (const int32_t *)ur__ptr(r, s->ids);
    const ur__kernel_set *k = ur__set(r, s->type);
    size_t bytes = s->width * ur__type_size(s->type);
    const char *x = ur__ptr(r, s->x);
    char *y = ur__ptr(r, s->y);
    for (size_t i = 0; i < s->n; i++, x += bytes) {
        if (id[i] < 0 || (size_t)id[i] >= s->rows) {
            ur_compute_fail(&(ur_compute){ .self = r }, "id %d at position %zu, but there are %zu "
                            "rows", (int)id[i], i, s->rows);
            return;
        }
        k->add(s->width, x, y + (size_t)id[i] * bytes);
    }
}

void ur__run_call(ur__run *r, const ur__call *c)
{
    const void **in = (const void **)r->scratch;
    for (int i = 0; i < c->n_in; i++)
        in[i] = ur__ptr(r, c->in[i]);
    ur_compute compute = {
        .n_in = c->n_in, .in = in, .shape_in = c->shape_in, .type_in = c->type_in,
        .out = ur__ptr(r, c->out), .shape = c->shape, .type = (ur_type)c->type,
        .precision = r->g->precision, .attr = c->attr, .n_attr = c->n_attr, .key = r->key,
        .self = r,
    };
    c->op->compute(&compute);
}
