/* Operands side by side along an axis (concat), or on an axis of their own (stack).
 *
 *     y[.., begin_k : begin_k + n_k, ..] = x_k      dx_k = that slice of g
 *
 * The kind UR_CONCAT is run by the planner; attributes: axis, whether stacked. A stacked operand
 * lacks the axis and counts one. */
#include "ops/internal.h"

/* Adds operand k to the result: equal sizes but along the axis. */
static bool same_but(ur_shaping *s, int k, int axis)
{
    const ur_shape *a = &s->in[0], *b = &s->in[k];
    bool same = a->rank == b->rank && s->type_in[0] == s->type_in[k];
    for (int i = 0; same && i < a->rank; i++)
        same = i == axis || a->dim[i] == b->dim[i];
    if (same)
        return true;
    if (k == 1)
        return axis < 0 ? ur_refuse(s, "%0 but %1: shapes and types of what is stacked are equal")
                        : ur_refuse(s, "%0 but %1: shapes and types are equal but along axis %d",
                                    axis);
    return ur_refuse(s, "%0 but operand %d is %s%s: shapes and types are equal%s", k,
                     ur_shape_text(*b), s->type_in[k] == UR_I32 ? " of int32" : "",
                     axis < 0 ? "" : " but along the axis");
}

static bool concat_shape(ur_shaping *s)
{
    const int axis = (int)s->attr[0], stacked = (int)s->attr[1];
    if (!ur__need_axis(s, s->attr[0], stacked))
        return false;
    if (stacked && s->in[0].rank == UR_MAX_RANK)
        return ur_refuse(s, "%0, and the result would have rank %d, more than %d", UR_MAX_RANK + 1,
                         UR_MAX_RANK);
    int64_t size = stacked ? s->n_in : s->in[0].dim[axis];
    for (int k = 1; k < s->n_in; k++) {
        if (!same_but(s, k, stacked ? -1 : axis))
            return false;
        size += stacked ? 0 : s->in[k].dim[axis];
    }
    if (!ur__need_size(s, size))
        return false;
    s->out = s->in[0];
    s->type = s->type_in[0];
    if (stacked) {
        memmove(s->out.dim + axis + 1, s->out.dim + axis,
                sizeof(int) * (size_t)(s->in[0].rank - axis));
        s->out.rank++;
    }
    s->out.dim[axis] = (int)size;
    return true;
}

static void concat_rule(ur_rule *r)
{
    const int64_t axis = r->attr[0];
    const bool stacked = r->attr[1];
    int64_t begin = 0;
    for (int k = 0; k < r->n_in; k++) {
        int64_t length = stacked ? 1 : ur_dim(r->in[k], (int)axis);
        if (ur_wants(r, k))
            ur_give(r, k, ur_record(NULL, stacked ? &ur__op_index : &ur__op_slice, &r->g, 1,
                                    (int64_t[]){ axis, begin, length }, 3));
        begin += length;
    }
}

typedef struct parts {
    int n, axis;
    ur_shape s[3];
} parts;

static ur_node concat_sample(ur_draw *d, int which)
{
    static const parts cases[] = {
        { 2, 1, { UR__SHAPE(2, 3), UR__SHAPE(2, 1) } },
        { 3, 0, { UR__SHAPE(2, 2), UR__SHAPE(1, 2), UR__SHAPE(3, 2) } },
        { 2, 1, { UR__SHAPE(2, 1, 3), UR__SHAPE(2, 2, 3) } },
        { 3, 2, { UR__SHAPE(2, 1, 2, 2), UR__SHAPE(2, 1, 0, 2), UR__SHAPE(2, 1, 1, 2) } },
        { 1, 0, { UR__SHAPE(3) } },
    };
    ur_node x[3];
    if (which < 0 || which >= (int)(sizeof cases / sizeof cases[0]))
        return UR_NIL;
    for (int k = 0; k < cases[which].n; k++)
        x[k] = ur__draw(d, -1, 1, &cases[which].s[k]);
    return ur_concat_n(x, cases[which].n, cases[which].axis);
}

static ur_node stack_sample(ur_draw *d, int which)
{
    static const parts cases[] = {
        { 3, 0, { UR__SHAPE(2, 3) } }, { 2, 1, { UR__SHAPE(2, 3) } }, { 2, 2, { UR__SHAPE(2, 3) } },
        { 1, 0, { UR__SHAPE(2) } }, { 2, 1, { UR__SHAPE(2, 1, 3) } }, { 3, 0, { { .rank = 0 } } },
    };
    ur_node x[3];
    if (which < 0 || which >= (int)(sizeof cases / sizeof cases[0]))
        return UR_NIL;
    for (int k = 0; k < cases[which].n; k++)
        x[k] = ur__draw(d, -1, 1, &cases[which].s[0]);
    return ur_stack_n(x, cases[which].n, cases[which].axis);
}

const ur_op ur__op_concat = {
    .name = "concat", .kind = UR_CONCAT, .n_in = -1, .shape = concat_shape, .rule = concat_rule,
    .sample = concat_sample,
};
const ur_op ur__op_stack = {
    .name = "stack", .kind = UR_CONCAT, .n_in = -1, .shape = concat_shape, .rule = concat_rule,
    .sample = stack_sample,
};

ur_node ur_concat_n_at(ur_at at, const ur_node nodes[], int n, int axis)
{
    if (n < 1)
        return UR_NIL;
    return ur_record(at, &ur__op_concat, nodes, n, (int64_t[]){ ur__axis(nodes[0], axis), 0 }, 2);
}

ur_node (ur_concat_n)(const ur_node nodes[], int n, int axis)
{
    return ur_concat_n_at(NULL, nodes, n, axis);
}

ur_node ur_concat_at(ur_at at, ur_node a, ur_node b)
{
    return ur_concat_n_at(at, (ur_node[]){ a, b }, 2, -1);
}

ur_node (ur_concat)(ur_node a, ur_node b)
{
    return ur_concat_at(NULL, a, b);
}

ur_node ur_stack_n_at(ur_at at, const ur_node nodes[], int n, int axis)
{
    if (n < 1)
        return UR_NIL;
    if (axis < 0)
        axis += ur_shape_of(nodes[0]).rank + 1;
    return ur_record(at, &ur__op_stack, nodes, n, (int64_t[]){ axis, 1 }, 2);
}

ur_node (ur_stack_n)(const ur_node nodes[], int n, int axis)
{
    return ur_stack_n_at(NULL, nodes, n, axis);
}

ur_node (ur_stack)(const ur_node nodes[], int n)
{
    return ur_stack_n_at(NULL, nodes, n, 0);
}
