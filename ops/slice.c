/* Parts along one axis, and their adjoints, which are each other's:
 *
 *     slice   y = x[.., begin : begin + n, ..]       dx = pad(g)
 *     pad     y = x among zeros                      dx = slice(g)
 *     index   y = x[.., i, ..], the axis dropped     dx = unindex(g)
 *     unindex y = x at position i among zeros        dx = index(g)
 *
 * The kinds UR_SLICE (attributes axis, begin, length) and UR_PAD (axis, begin, full) are run by the
 * planner. Whether an operand has the axis follows from the ranks. */
#include "ops/internal.h"

static ur_node along(ur_at at, const ur_op *op, ur_node x, int64_t axis, int64_t b, int64_t c)
{
    return ur_record(at, op, &x, 1, (int64_t[]){ axis, b, c }, 3);
}

/* ---------------------------------------------------------------------------------- shape rules */

static bool slice_shape(ur_shaping *s)
{
    const int64_t axis = s->attr[0], begin = s->attr[1], length = s->attr[2];
    if (!ur__need_axis(s, axis, 0))
        return false;
    s->out = s->in[0];
    s->type = s->type_in[0];
    if (begin < 0 || length < 0 || begin + length > s->in[0].dim[axis])
        return ur_refuse(s, "%0, which has no part %lld:%lld on axis %d", (long long)begin,
                         (long long)(begin + length), (int)axis);
    s->out.dim[axis] = (int)length;
    return true;
}

static bool index_shape(ur_shaping *s)
{
    const int64_t axis = s->attr[0], i = s->attr[1];
    if (!ur__need_axis(s, axis, 0))
        return false;
    if (i < 0 || i >= s->in[0].dim[axis])
        return ur_refuse(s, "%0, which has no position %lld on axis %d", (long long)i, (int)axis);
    s->out = s->in[0];
    s->type = s->type_in[0];
    s->out.rank--;
    memmove(s->out.dim + axis, s->out.dim + axis + 1,
            sizeof(int) * (size_t)(s->out.rank - (int)axis));
    return true;
}

static bool pad_shape(ur_shaping *s)
{
    const int64_t axis = s->attr[0], begin = s->attr[1], full = s->attr[2];
    if (!ur__need_axis(s, axis, 0) || !ur__need_size(s, full))
        return false;
    if (begin < 0 || begin + s->in[0].dim[axis] > full)
        return ur_refuse(s, "%0, but %lld zeros before and %lld after it are asked for",
                         (long long)begin, (long long)(full - begin - s->in[0].dim[axis]));
    s->out = s->in[0];
    s->type = s->type_in[0];
    s->out.dim[axis] = (int)full;
    return true;
}

static bool unindex_shape(ur_shaping *s)
{
    const int64_t axis = s->attr[0], i = s->attr[1], full = s->attr[2];
    if (!ur__need_axis(s, axis, 1))
        return false;
    if (i < 0 || i >= full)
        return ur_refuse(s, "%0, but position %lld is not in 0:%lld", (long long)i,
                         (long long)full);
    s->out = s->in[0];
    s->type = s->type_in[0];
    memmove(s->out.dim + axis + 1, s->out.dim + axis,
            sizeof(int) * (size_t)(s->out.rank - (int)axis));
    s->out.rank++;
    s->out.dim[axis] = (int)full;
    return true;
}

/* ---------------------------------------------------------------------------------------- rules */

static void slice_rule(ur_rule *r)
{
    int64_t axis = r->attr[0];
    ur_give(r, 0, along(NULL, &ur__op_pad, r->g, axis, r->attr[1], ur_dim(r->in[0], (int)axis)));
}

static void pad_rule(ur_rule *r)
{
    int64_t axis = r->attr[0];
    ur_give(r, 0, along(NULL, &ur__op_slice, r->g, axis, r->attr[1], ur_dim(r->in[0], (int)axis)));
}

static void index_rule(ur_rule *r)
{
    int64_t axis = r->attr[0];
    ur_give(r, 0, along(NULL, &ur__op_unindex, r->g, axis, r->attr[1],
                        ur_dim(r->in[0], (int)axis)));
}

static void unindex_rule(ur_rule *r)
{
    ur_give(r, 0, along(NULL, &ur__op_index, r->g, r->attr[0], r->attr[1], 1));
}

/* -------------------------------------------------------------------------------------- samples */

typedef struct part {
    ur_shape s;
    int axis, b, c;
} part;

static ur_node draw_part(ur_draw *d, const ur_op *op, const part *cases, size_t n, int which)
{
    if (which < 0 || which >= (int)n)
        return UR_NIL;
    const part *p = &cases[which];
    return along(NULL, op, ur__draw(d, -1, 1, &p->s), p->axis, p->b, p->c);
}

#define SAMPLE(name, op, ...)                                                                      \
    static ur_node name(ur_draw *d, int which)                                                     \
    {                                                                                              \
        static const part cases[] = { __VA_ARGS__ };                                               \
        return draw_part(d, &op, cases, sizeof cases / sizeof cases[0], which);                    \
    }

SAMPLE(slice_sample, ur__op_slice,
    { UR__SHAPE(4), 0, 1, 2 }, { UR__SHAPE(3, 4), 0, 0, 2 }, { UR__SHAPE(3, 4), 1, 3, 1 },
    { UR__SHAPE(2, 3, 2), 1, 1, 2 }, { UR__SHAPE(2, 2, 3, 2), 2, 0, 3 },
    { UR__SHAPE(2, 3), 1, 1, 0 }, { UR__SHAPE(1, 3), 0, 0, 1 })
SAMPLE(pad_sample, ur__op_pad,
    { UR__SHAPE(2), 0, 1, 4 }, { UR__SHAPE(2, 3), 0, 0, 3 }, { UR__SHAPE(2, 3), 1, 2, 5 },
    { UR__SHAPE(2, 1, 2), 1, 1, 3 }, { UR__SHAPE(1, 2, 2, 2), 2, 1, 4 }, { UR__SHAPE(0), 0, 1, 2 },
    { UR__SHAPE(2), 0, 0, 2 })
SAMPLE(index_sample, ur__op_index,
    { UR__SHAPE(4), 0, 2, 1 }, { UR__SHAPE(3, 2, 2), 0, 1, 1 }, { UR__SHAPE(3, 4), 1, 3, 1 },
    { UR__SHAPE(2, 3, 2), 1, 0, 1 }, { UR__SHAPE(2, 1, 3, 2), 3, 1, 1 },
    { UR__SHAPE(1, 2), 0, 0, 1 })
SAMPLE(unindex_sample, ur__op_unindex,
    { { .rank = 0 }, 0, 1, 3 }, { UR__SHAPE(2, 3), 0, 2, 3 }, { UR__SHAPE(2, 3), 1, 0, 2 },
    { UR__SHAPE(2, 3), 2, 1, 2 }, { UR__SHAPE(2, 1, 2), 0, 0, 1 })

const ur_op ur__op_slice = {
    .name = "slice", .kind = UR_SLICE, .n_in = 1, .shape = slice_shape, .rule = slice_rule,
    .sample = slice_sample,
};
const ur_op ur__op_pad = {
    .name = "pad", .kind = UR_PAD, .n_in = 1, .shape = pad_shape, .rule = pad_rule,
    .sample = pad_sample,
};
const ur_op ur__op_index = {
    .name = "index", .kind = UR_SLICE, .n_in = 1, .shape = index_shape, .rule = index_rule,
    .sample = index_sample,
};
const ur_op ur__op_unindex = {
    .name = "unindex", .kind = UR_PAD, .n_in = 1, .shape = unindex_shape, .rule = unindex_rule,
    .sample = unindex_sample,
};

/* ----------------------------------------------------------------------------- public functions */

ur_node ur_slice_at(ur_at at, ur_node x, int axis, int begin, int end)
{
    const int k = ur__axis(x, axis);
    if (begin < 0 || end < 0 || end == UR_END) {
        int size = ur_dim(x, k);
        begin = begin < 0 ? begin + size : begin;
        end = end < 0 ? end + size : end == UR_END ? size : end;
    }
    return along(at, &ur__op_slice, x, k, begin, (int64_t)end - begin);
}

ur_node (ur_slice)(ur_node x, int axis, int begin, int end)
{
    return ur_slice_at(NULL, x, axis, begin, end);
}

ur_node ur_index_at(ur_at at, ur_node x, int axis, int i)
{
    const int k = ur__axis(x, axis);
    return along(at, &ur__op_index, x, k, i < 0 ? i + ur_dim(x, k) : i, 1);
}

ur_node (ur_index)(ur_node x, int axis, int i)
{
    return ur_index_at(NULL, x, axis, i);
}

ur_node ur_pad_at(ur_at at, ur_node x, int axis, int before, int after)
{
    const int k = ur__axis(x, axis);
    return along(at, &ur__op_pad, x, k, before, (int64_t)before + ur_dim(x, k) + after);
}

ur_node (ur_pad)(ur_node x, int axis, int before, int after)
{
    return ur_pad_at(NULL, x, axis, before, after);
}

bool ur_split_at(ur_at at, ur_node x, int axis, int n, ur_node out[])
{
    const int k = ur__axis(x, axis), size = ur_dim(x, k);
    ur_graph *g = ur_graph_of(x);
    if (g && size >= 0 && (n < 1 || size % n != 0))
        return ur__fail_at(g, at, "split", "%s, whose axis %d does not have %d equal parts",
                           ur_called(x, at, 0), k, n);
    for (int i = 0; i < n; i++) {
        out[i] = along(at, &ur__op_slice, x, k, (int64_t)i * (size / n), size / n);
        if (!ur__live(out[i]))
            return false;
    }
    return n >= 1;
}

bool (ur_split)(ur_node x, int axis, int n, ur_node out[])
{
    return ur_split_at(NULL, x, axis, n, out);
}
