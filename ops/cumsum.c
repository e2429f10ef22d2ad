/* Running sums along an axis.
 *
 *     y_k = x_0 + ... + x_k          dx_k = g_k + ... + g_n: the running sum from the other end
 *
 * Attributes: axis, whether it goes from the end. */
#include "ops/internal.h"

static bool cumsum_shape(ur_shaping *s)
{
    s->out = s->in[0];
    return ur__need_numbers(s, 0) && ur__need_axis(s, s->attr[0], 0);
}

/* The axis as [outer, n, inner]; one pass, in the order of the sum. Pieces are outer parts. */
#define CUMSUM(name, T)                                                                            \
    static void name(size_t outer, size_t n, size_t inner, bool from_end, const T *x, T *y)        \
    {                                                                                              \
        for (size_t o = 0; o < outer; o++, x += n * inner, y += n * inner) {                       \
            for (size_t k = 0; k < n; k++) {                                                       \
                const size_t at = (from_end ? n - 1 - k : k) * inner;                              \
                const T *before = from_end ? y + at + inner : y + at - inner;                      \
                for (size_t i = 0; i < inner; i++)                                                 \
                    y[at + i] = k ? before[i] + x[at + i] : x[at + i];                             \
            }                                                                                      \
        }                                                                                          \
    }
CUMSUM(cumsum_f32, float)
CUMSUM(cumsum_f64, double)

static size_t cumsum_pieces(const ur_compute *c)
{
    return ur__span(&c->shape, 0, (int)c->attr[0]);
}

static void cumsum_compute(const ur_compute *c)
{
    const int axis = (int)c->attr[0];
    const size_t outer = c->end - c->begin, n = (size_t)c->shape.dim[axis];
    const size_t inner = ur__span(&c->shape, axis + 1, c->shape.rank);
    const size_t first = c->begin * n * inner;
    if (c->type == UR_F64)
        cumsum_f64(outer, n, inner, c->attr[1], (const double *)c->in[0] + first,
                   (double *)c->out + first);
    else
        cumsum_f32(outer, n, inner, c->attr[1], (const float *)c->in[0] + first,
                   (float *)c->out + first);
}

static ur_node cumsum(ur_at at, ur_node x, int64_t axis, int64_t from_end);

static void cumsum_rule(ur_rule *r)
{
    ur_give(r, 0, cumsum(NULL, r->g, r->attr[0], !r->attr[1]));
}

static ur_node cumsum_sample(ur_draw *d, int which)
{
    switch (which) {
    case 0: return ur_cumsum(ur_draw_input(d, -1, 1, 4), 0);
    case 1: return ur_cumsum(ur_draw_input(d, -1, 1, 3, 2), 0);
    case 2: return ur_cumsum(ur_draw_input(d, -1, 1, 2, 3), -1);
    case 3: return ur_cumsum(ur_draw_input(d, -1, 1, 2, 3, 1, 2), 1);
    case 4: return cumsum(NULL, ur_draw_input(d, -1, 1, 3, 2), 0, 1);
    case 5: return ur_cumsum(ur_draw_input(d, -1, 1, 2, 0), 1);
    default: return UR_NIL;
    }
}

const ur_op ur__op_cumsum = {
    .name = "cumsum", .kind = UR_OPAQUE, .n_in = 1, .shape = cumsum_shape,
    .compute = cumsum_compute, .rule = cumsum_rule, .sample = cumsum_sample,
    .pieces = cumsum_pieces,
};

static ur_node cumsum(ur_at at, ur_node x, int64_t axis, int64_t from_end)
{
    return ur_record(at, &ur__op_cumsum, &x, 1, (int64_t[]){ axis, from_end }, 2);
}

ur_node ur_cumsum_at(ur_at at, ur_node x, int axis)
{
    return cumsum(at, x, ur__axis(x, axis), 0);
}

ur_node (ur_cumsum)(ur_node x, int axis)
{
    return ur_cumsum_at(NULL, x, axis);
}
