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

static void fill_segments(const ur__run *r, const ur__contraction *c, size_t from, size_t to,
                          const ptrdiff_t *index, ur__segment *s)
{
    ptrdiff_t size = (ptrdiff_t)ur__type_size(c->type);
    ptrdiff_t a = c->batch ? size * dot(c->batch->rank, index, c->batch->a_step) : 0;
    ptrdiff_t b = c->batch ? size * dot(c->batch->rank, index, c->batch->b_step) : 0;
    for (size_t i = from; i < to; i++) {
        const ur__term *t = &c->term[i];
        *s++ = (ur__segment){ .a = ur__ptr(r, t->a) + a, .b = ur__ptr(r, t->b) + b, .a_m = t->a_m,
                              .a_k = t->a_k, .b_k = t->b_k, .b_n = t->b_n, .k = t->k };
    }
}

/* Members of a gang take turns on stretches of terms whose left operands stay in the second cache. A
 * stretch is a multiple of the kernel's block of K wherever terms allow, so that most bits are those
 * of the whole product; which stretches there are depends on the sizes alone. */
static void run_gang(const ur__run *r, const ur__contraction *c, ur__segment *s, char *work)
{
    enum { STRETCH = 512 };
    const ur__kernel_set *k = ur__set(r, c->type);
    static const ptrdiff_t index[UR_MAX_RANK];
    for (size_t from = 0, to; from < c->n_terms; from = to) {
        ptrdiff_t sum = 0;
        for (to = from; to < c->n_terms && sum < STRETCH; to++)
            sum += c->term[to].k;
        for (const ur__contraction *x = c; x; x = x->gang) {
            fill_segments(r, x, from, to, index, s);
            k->gemm(x->m, x->n, s, (ptrdiff_t)(to - from),
                    from > 0 || ur__adds(r, x->write, x->slot), ur__ptr(r, x->c), x->ldc, work);
        }
    }
}

void ur__run_contraction(const ur__run *r, const ur__contraction *c)
{
    const ur__kernel_set *k = ur__set(r, c->type);
    ptrdiff_t size = (ptrdiff_t)ur__type_size(c->type);
    ur__segment *s = (ur__segment *)r->scratch;
    char *work = r->scratch + (c->n_terms * sizeof *s + 63) / 64 * 64;
    if (c->gang) {
        run_gang(r, c, s, work);
        return;
    }
    ptrdiff_t index[UR_MAX_RANK] = { 0 };
    do {
        fill_segments(r, c, 0, c->n_terms, index, s);
        k->gemm(c->m, c->n, s, (ptrdiff_t)c->n_terms, ur__adds(r, c->write, c->slot),
                ur__ptr(r, c->c) + (c->batch ? size * dot(c->batch->rank, index, c->batch->c_step) : 0),
                c->ldc, work);
    } while (c->batch && advance(c->batch->rank, c->batch->dim, index));
}

void ur__run_scatter(ur__run *r, const ur__scatter *s)
{
    const int32_t *id = (const int32_t *)ur__ptr(r, s->ids);
    const ur__kernel_set *k = ur__set(r, s->type);
    size_t bytes = s->width * ur__type_size(s->type);
    const char *x = ur__ptr(r, s->x);
    char *y = ur__ptr(r, s->y);
    uint64_t *touched = s->table ? r->g->slot[s->slot].store->param[s->table - 1].touched : NULL;
    for (size_t i = 0; i < s->n; i++, x += bytes) {
        if (id[i] < 0 || (size_t)id[i] >= s->rows) {
            ur_compute_fail(&(ur_compute){ .self = r }, "id %d at position %zu, but there are %zu "
                            "rows", (int)id[i], i, s->rows);
            return;
        }
        k->add(s->width, x, y + (size_t)id[i] * bytes);
        if (touched)
            touched[id[i] / 64] |= (uint64_t)1 << id[i] % 64;
    }
}

void ur__run_call(ur__run *r, const ur__call *c)
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
    f->op->compute(&compute);
}
