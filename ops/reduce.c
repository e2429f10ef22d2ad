/* Reductions over axes.
 *
 *     sum         y = sum_r x_r              dx_r = g
 *     max         y = max_r x_r              dx_r = g where r is the first maximum, else 0
 *     logsumexp   y = m + ln sum_r e^(x_r - m), m = max_r x_r       dx_r = g e^(x_r - y)
 *     mean        sum / count
 *     argmax      index of the first maximum, no gradient
 *
 * A node reduces one run of axes that lie side by side: x is then [outer, r, inner] to the kernels.
 * Attributes: first axis, number of axes, whether they are kept with size 1. Other sets of axes are
 * several nodes, the last run first, so that of equal maxima the first in row-major order gets the
 * gradient. */
#include <math.h>
#include "ops/internal.h"

extern const ur_op ur__op_reduce_sum, ur__op_reduce_max, ur__op_reduce_logsumexp,
    ur__op_first_max, ur__op_argmax;

/* ---------------------------------------------------------------------- what all have in common */

static bool reduce_shape(ur_shaping *s)
{
    const int64_t first = s->attr[0], n = s->attr[1], keep = s->attr[2];
    const ur_shape *x = &s->in[0];
    if (!ur__need_numbers(s, 0))
        return false;
    if (first < 0 || n < 0 || first + n > x->rank)
        return ur__need_axis(s, first < 0 || first >= x->rank ? first : first + n - 1, 0);
    for (int i = 0; i < x->rank; i++) {
        const bool reduced = i >= first && i < first + n;
        if (!reduced || keep)
            s->out.dim[s->out.rank++] = reduced ? 1 : x->dim[i];
    }
    return true;
}

typedef struct split {
    size_t outer, r, inner;
} split;

static split split_of(const ur_shape *x, const int64_t *attr)
{
    const int first = (int)attr[0], end = first + (int)attr[1];
    return (split){ ur__span(x, 0, first), ur__span(x, first, end), ur__span(x, end, x->rank) };
}

/* Pieces: LINE columns of one of the outer parts. */
enum { LINE = 16 };

static size_t lines(split n)
{
    return (n.inner + LINE - 1) / LINE;
}

static size_t reduce_pieces(const ur_compute *c)
{
    const split n = split_of(&c->shape_in[0], c->attr);
    return n.outer * lines(n);
}

/* The next columns to reduce of the pieces [*piece, end), as many as lie side by side; or the next
 * outer parts, where these are whole. */
typedef struct span {
    size_t outer, parts, first, columns;
} span;

static bool next_span(split n, size_t *piece, size_t end, span *s)
{
    const size_t each = lines(n), left = end - *piece;
    if (*piece >= end)
        return false;
    const size_t from = *piece % each;
    *s = (span){ .outer = *piece / each, .parts = 1, .first = from * LINE };
    if (from == 0 && left >= each) {
        s->parts = left / each;
        s->columns = n.inner;
        *piece += s->parts * each;
    } else {
        const size_t more = each - from < left ? each - from : left;
        s->columns = (from + more == each ? n.inner : (from + more) * LINE) - s->first;
        *piece += more;
    }
    return true;
}

#define COMPUTE(name)                                                                              \
    static void name##_compute(const ur_compute *c)                                                \
    {                                                                                              \
        const split n = split_of(&c->shape_in[0], c->attr);                                        \
        const size_t size = ur__type_size((int)c->type);                                           \
        span s;                                                                                    \
        for (size_t piece = c->begin; next_span(n, &piece, c->end, &s);)                           \
            ur__kernels_of(c->type)->name(                                                         \
                s.parts, n.r, s.columns,                                                           \
                (const char *)c->in[0] + (s.outer * n.r * n.inner + s.first) * size, n.inner,      \
                (char *)c->out + (s.outer * n.inner + s.first) * size);                            \
    }
COMPUTE(sum)
COMPUTE(max)
COMPUTE(logsumexp)

/* A result (or its gradient) with the reduced axes kept, so that it broadcasts against x. */
static ur_node kept(const ur_rule *r, ur_node y)
{
    ur_shape s = ur_shape_of(r->in[0]);
    for (int64_t i = 0; i < r->attr[1]; i++)
        s.dim[r->attr[0] + i] = 1;
    return ur__reshape_to(NULL, y, &s);
}

/* ---------------------------------------------------------------------------------------- rules */

static void sum_rule(ur_rule *r)
{
    const ur_shape s = ur_shape_of(r->in[0]);
    /* leading axes need no view: broadcasting adds them */
    ur_node g = r->attr[0] == 0 && !r->attr[2] ? r->g : kept(r, r->g);
    ur_give(r, 0, ur__broadcast(NULL, g, &s));
}

static void max_rule(ur_rule *r)
{
    ur_node mask = ur_record(NULL, &ur__op_first_max, r->in, 1, r->attr, 2);
    ur_give(r, 0, ur_select(mask, kept(r, r->g)));
}

/* Where y is -inf all x are, and e^(x - 0) is the zero that e^(x - y) should be. */
static void logsumexp_rule(ur_rule *r)
{
    ur_node y = kept(r, r->y);
    ur_node finite = ur_greater(y, ur_scalar(ur_graph_of(y), -INFINITY));
    ur_node p = ur_exp(ur_sub(r->in[0], ur_select(finite, y)));
    ur_give(r, 0, ur_mul(p, kept(r, r->g)));
}

/* -------------------------------------------------------------------------------------- samples */

static ur_node reduce_sample(ur_draw *d, int which, const ur_op *op)
{
    static const struct {
        ur_shape x;
        int first, n;
    } cases[] = {
        { UR__SHAPE(4), 0, 1 }, { UR__SHAPE(2, 3), 0, 1 }, { UR__SHAPE(2, 3), 1, 1 },
        { UR__SHAPE(2, 3), 0, 2 }, { UR__SHAPE(2, 3, 2), 1, 1 }, { UR__SHAPE(2, 2, 3), 1, 2 },
        { UR__SHAPE(2, 3, 1, 2), 1, 2 }, { { .rank = 0 }, 0, 0 }, { UR__SHAPE(2, 1, 3), 1, 1 },
        { UR__SHAPE(0, 2), 1, 1 },
    };
    const int n = (int)(sizeof cases / sizeof cases[0]);
    if (which < 0 || which >= 2 * n)
        return UR_NIL;
    const ur_shape *s = &cases[which % n].x;
    const bool kinks = op == &ur__op_reduce_max || op == &ur__op_first_max;
    ur_node x = kinks ? ur_draw_apart_(d, -2, 2, s->rank, s->dim) : ur__draw(d, -2, 2, s);
    return ur_record(NULL, op, &x, 1,
                     (int64_t[]){ cases[which % n].first, cases[which % n].n, which >= n }, 3);
}

/* Sums of nothing have a gradient of no elements; max and logsumexp of nothing are -inf. */
static ur_node sum_sample(ur_draw *d, int which)
{
    if (which == 0)
        return ur_sum_over(ur_draw_input(d, -1, 1, 2, 0, 3), 1);
    return reduce_sample(d, which - 1, &ur__op_reduce_sum);
}

static ur_node max_sample(ur_draw *d, int which)
{
    return reduce_sample(d, which, &ur__op_reduce_max);
}

static ur_node first_max_sample(ur_draw *d, int which)
{
    return reduce_sample(d, which, &ur__op_first_max);
}

static ur_node logsumexp_sample(ur_draw *d, int which)
{
    return reduce_sample(d, which, &ur__op_reduce_logsumexp);
}

const ur_op ur__op_reduce_sum = {
    .name = "sum", .kind = UR_OPAQUE, .n_in = 1, .shape = reduce_shape, .compute = sum_compute,
    .rule = sum_rule, .sample = sum_sample, .pieces = reduce_pieces,
};
const ur_op ur__op_reduce_max = {
    .name = "max", .kind = UR_OPAQUE, .n_in = 1, .shape = reduce_shape, .compute = max_compute,
    .rule = max_rule, .sample = max_sample, .pieces = reduce_pieces,
};
const ur_op ur__op_reduce_logsumexp = {
    .name = "logsumexp", .kind = UR_OPAQUE, .n_in = 1, .shape = reduce_shape,
    .compute = logsumexp_compute, .rule = logsumexp_rule, .sample = logsumexp_sample,
    .pieces = reduce_pieces,
};

/* --------------------------------------------------------------------- the place of the maximum */

static bool first_max_shape(ur_shaping *s)
{
    s->out = s->in[0];
    return true;
}

/* 1 at the first maximum of each reduced run, 0 elsewhere. */
#define FIRST_MAX(name, T)                                                                         \
    static void name(split n, const T *x, T *y)                                                    \
    {                                                                                              \
        for (size_t o = 0; o < n.outer; o++, x += n.r * n.inner, y += n.r * n.inner) {             \
            for (size_t i = 0; i < n.inner; i++) {                                                 \
                size_t best = 0;                                                                   \
                for (size_t r = 0; r < n.r; r++) {                                                 \
                    const T v = x[r * n.inner + i], m = x[best * n.inner + i];                     \
                    y[r * n.inner + i] = 0;                                                        \
                    if (v > m || (v != v && m == m))    /* a NaN counts as largest */              \
                        best = r;                                                                  \
                }                                                                                  \
                if (n.r > 0)                                                                       \
                    y[best * n.inner + i] = 1;                                                     \
            }                                                                                      \
        }                                                                                          \
    }
FIRST_MAX(first_max_f32, float)
FIRST_MAX(first_max_f64, double)

static size_t first_max_pieces(const ur_compute *c)
{
    return split_of(&c->shape, c->attr).outer;
}

static void first_max_compute(const ur_compute *c)
{
    split n = split_of(&c->shape, c->attr);
    const size_t first = c->begin * n.r * n.inner;
    n.outer = c->end - c->begin;
    if (c->type == UR_F64)
        first_max_f64(n, (const double *)c->in[0] + first, (double *)c->out + first);
    else
        first_max_f32(n, (const float *)c->in[0] + first, (float *)c->out + first);
}

const ur_op ur__op_first_max = {
    .name = "first_max", .kind = UR_OPAQUE, .n_in = 1, .shape = first_max_shape,
    .compute = first_max_compute, .sample = first_max_sample, .flags = UR_FLAT,
    .pieces = first_max_pieces,
};

static bool argmax_shape(ur_shaping *s)
{
    if (!ur__need_axis(s, s->attr[0], 0))
        return false;
    if (s->in[0].dim[s->attr[0]] == 0)
        return ur_refuse(s, "%0, and axis %d has no maximum", (int)s->attr[0]);
    s->type = UR_I32;
    return reduce_shape(s);
}

static void argmax_compute(const ur_compute *c)
{
    const split n = split_of(&c->shape_in[0], c->attr);
    const size_t size = ur__type_size((int)c->type_in[0]);
    span s;
    for (size_t piece = c->begin; next_span(n, &piece, c->end, &s);)
        ur__kernels_of(c->type_in[0])->argmax(
            s.parts, n.r, s.columns,
            (const char *)c->in[0] + (s.outer * n.r * n.inner + s.first) * size, n.inner,
            (int32_t *)c->out + s.outer * n.inner + s.first);
}

const ur_op ur__op_argmax = {
    .name = "argmax", .kind = UR_OPAQUE, .n_in = 1, .shape = argmax_shape,
    .compute = argmax_compute, .flags = UR_FLAT | UR_INT_OUT, .pieces = reduce_pieces,
};

ur_node ur_argmax_at(ur_at at, ur_node x, int axis)
{
    return ur_record(at, &ur__op_argmax, &x, 1, (int64_t[]){ ur__axis(x, axis), 1, 0 }, 3);
}

ur_node (ur_argmax)(ur_node x, int axis)
{
    return ur_argmax_at(NULL, x, axis);
}

/* ----------------------------------------------------------------------------- public functions */

static ur_node run(ur_at at, const ur_op *op, ur_node x, int64_t first, int64_t n, bool keep)
{
    return ur_record(at, op, &x, 1, (int64_t[]){ first, n, keep }, 3);
}

static ur_node all(ur_at at, const ur_op *op, ur_node x)
{
    return run(at, op, x, 0, ur_shape_of(x).rank, false);
}

static ur_node over(ur_at at, const ur_op *op, ur_node x, int n, const int *axes, bool keep)
{
    unsigned chosen = 0;
    const int rank = ur_shape_of(x).rank;
    for (int i = 0; i < n; i++) {
        const int k = ur__axis(x, axes[i]);
        if (k < 0 || k >= rank || chosen >> k & 1) {
            ur_graph *g = ur_graph_of(x);
            if (g && rank >= 0 && k >= 0 && k < rank)
                return ur__fail_at(g, at, op->name, "%s, and axis %d is given twice",
                                   ur_called(x, at, 0), axes[i]), UR_NIL;
            return run(at, op, x, k, 1, keep);      /* refused there */
        }
        chosen |= 1u << k;
    }
    if (n < 1)
        return run(at, op, x, 0, 0, keep);
    for (int end = rank; end > 0; end--) {
        int first = end;
        while (first > 0 && chosen >> (first - 1) & 1)
            first--;
        if (first < end)
            x = run(at, op, x, first, end - first, keep);
        end = first < end ? first + 1 : end;
    }
    return x;
}

#define PUBLIC(name, op)                                                                           \
    ur_node name##_at(ur_at at, ur_node x)                                                         \
    {                                                                                              \
        return all(at, &op, x);                                                                    \
    }                                                                                              \
    ur_node name##_over_at(ur_at at, ur_node x, int n, const int *axes)                            \
    {                                                                                              \
        return over(at, &op, x, n, axes, false);                                                   \
    }                                                                                              \
    ur_node name##_keep_at(ur_at at, ur_node x, int n, const int *axes)                            \
    {                                                                                              \
        return over(at, &op, x, n, axes, true);                                                    \
    }
#define PLAIN(name)                                                                                \
    ur_node (name)(ur_node x)                                                                      \
    {                                                                                              \
        return name##_at(NULL, x);                                                                 \
    }                                                                                              \
    ur_node (name##_over)(ur_node x, int n, const int *axes)                                       \
    {                                                                                              \
        return name##_over_at(NULL, x, n, axes);                                                   \
    }                                                                                              \
    ur_node (name##_keep)(ur_node x, int n, const int *axes)                                       \
    {                                                                                              \
        return name##_keep_at(NULL, x, n, axes);                                                   \
    }
PUBLIC(ur_sum, ur__op_reduce_sum)
PUBLIC(ur_max, ur__op_reduce_max)
PUBLIC(ur_logsumexp, ur__op_reduce_logsumexp)
PLAIN(ur_sum)
PLAIN(ur_max)
PLAIN(ur_logsumexp)
PLAIN(ur_mean)

/* A sum of parts of x, over how many elements each is. */
static ur_node averaged(ur_at at, ur_node x, ur_node sum)
{
    const ur_shape from = ur_shape_of(x), to = ur_shape_of(sum);
    if (to.rank < 0)
        return UR_NIL;
    return ur_scale_at(at, sum, (double)ur__elements(&to) / (double)ur__elements(&from));
}

ur_node ur_mean_at(ur_at at, ur_node x)
{
    return averaged(at, x, ur_sum_at(at, x));
}

ur_node ur_mean_over_at(ur_at at, ur_node x, int n, const int *axes)
{
    return averaged(at, x, ur_sum_over_at(at, x, n, axes));
}

ur_node ur_mean_keep_at(ur_at at, ur_node x, int n, const int *axes)
{
    return averaged(at, x, ur_sum_keep_at(at, x, n, axes));
}
