/* Backwards along an axis; or the first n_b steps of each row b backwards, which is what the
 * backward direction over a batch of different lengths reads. Both are their own inverse and their
 * own adjoint: dx = the same of g.
 *
 * The lengths are an int32 operand: data, so that another batch of lengths does not make another
 * plan. They are checked while recording. */
#include "ops/internal.h"

extern const ur_op ur__op_reverse, ur__op_reverse_lengths;

/* -------------------------------------------------------------------------------------- reverse */

static bool reverse_shape(ur_shaping *s)
{
    s->out = s->in[0];
    s->type = s->type_in[0];
    return ur__need_axis(s, s->attr[0], 0);
}

static size_t reverse_pieces(const ur_compute *c)
{
    return ur__span(&c->shape, 0, (int)c->attr[0] + 1);
}

static void reverse_compute(const ur_compute *c)
{
    const int axis = (int)c->attr[0];
    const size_t n = (size_t)c->shape.dim[axis];
    const size_t bytes = ur__span(&c->shape, axis + 1, c->shape.rank) *
                         ur__type_size((int)c->type);
    if (bytes == 0)
        return;
    for (size_t i = c->begin; i < c->end; i++)
        memcpy((char *)c->out + i * bytes,
               (const char *)c->in[0] + (i - i % n + n - 1 - i % n) * bytes, bytes);
}

static void reverse_rule(ur_rule *r)
{
    ur_give(r, 0, ur_reverse(r->g, (int)r->attr[0]));
}

static ur_node reverse_sample(ur_draw *d, int which)
{
    switch (which) {
    case 0: return ur_reverse(ur_draw_input(d, -1, 1, 4), 0);
    case 1: return ur_reverse(ur_draw_input(d, -1, 1, 3, 2), 0);
    case 2: return ur_reverse(ur_draw_input(d, -1, 1, 2, 3), -1);
    case 3: return ur_reverse(ur_draw_input(d, -1, 1, 2, 3, 1, 2), 1);
    case 4: return ur_reverse(ur_draw_input(d, -1, 1, 0, 2), 0);
    default: return UR_NIL;
    }
}

const ur_op ur__op_reverse = {
    .name = "reverse", .kind = UR_OPAQUE, .n_in = 1, .shape = reverse_shape,
    .compute = reverse_compute, .rule = reverse_rule, .sample = reverse_sample,
    .pieces = reverse_pieces,
};

ur_node ur_reverse_at(ur_at at, ur_node x, int axis)
{
    return ur_record(at, &ur__op_reverse, &x, 1, (int64_t[]){ ur__axis(x, axis) }, 1);
}

ur_node (ur_reverse)(ur_node x, int axis)
{
    return ur_reverse_at(NULL, x, axis);
}

/* ----------------------------------------------------------------------------------- by lengths */

static bool reverse_lengths_shape(ur_shaping *s)
{
    const ur_shape *x = &s->in[0], *n = &s->in[1];
    if (!ur__need_ints(s, 1))
        return false;
    if (x->rank < 2 || n->rank != 1 || n->dim[0] != x->dim[1])
        return ur_refuse(s, "%0, but it needs [T, B, ...] and B lengths, not %s",
                         ur_shape_text(*n));
    s->out = *x;
    s->type = s->type_in[0];
    return true;
}

static size_t reverse_lengths_pieces(const ur_compute *c)
{
    return ur__span(&c->shape, 0, 2);
}

static void reverse_lengths_compute(const ur_compute *c)
{
    const int T = c->shape.dim[0], B = c->shape.dim[1];
    const size_t bytes = ur__span(&c->shape, 2, c->shape.rank) * ur__type_size((int)c->type);
    const int32_t *n = c->in[1];
    if (bytes == 0)
        return;
    for (size_t i = c->begin; i < c->end; i++) {
        const int t = (int)(i / (size_t)B), b = (int)(i % (size_t)B);
        const int k = t < n[b] && n[b] <= T ? n[b] - 1 - t : t;
        memcpy((char *)c->out + i * bytes,
               (const char *)c->in[0] + ((size_t)k * (size_t)B + (size_t)b) * bytes, bytes);
    }
}

static void reverse_lengths_rule(ur_rule *r)
{
    if (ur_wants(r, 0))
        ur_give(r, 0, ur_record(NULL, &ur__op_reverse_lengths, (ur_node[]){ r->g, r->in[1] }, 2,
                                NULL, 0));
}

static ur_node reverse_lengths_sample(ur_draw *d, int which)
{
    switch (which) {
    case 0: return ur_reverse_lengths(ur_draw_input(d, -1, 1, 4, 3, 2), ((int[]){ 4, 0, 3 }));
    case 1: return ur_reverse_lengths(ur_draw_input(d, -1, 1, 3, 2), ((int[]){ 2, 1 }));
    case 2: return ur_reverse_lengths(ur_draw_input(d, -1, 1, 2, 1, 2, 2), (int[]){ 2 });
    case 3: return ur_reverse_lengths(ur_draw_input(d, -1, 1, 0, 1, 2), (int[]){ 0 });
    default: return UR_NIL;
    }
}

const ur_op ur__op_reverse_lengths = {
    .name = "reverse_lengths", .kind = UR_OPAQUE, .n_in = 2, .shape = reverse_lengths_shape,
    .compute = reverse_lengths_compute, .rule = reverse_lengths_rule,
    .sample = reverse_lengths_sample, .pieces = reverse_lengths_pieces,
};

ur_node ur_reverse_lengths_at(ur_at at, ur_node x, const int *lengths)
{
    ur_graph *g = ur_graph_of(x);
    const ur_shape s = ur_shape_of(x);
    const int B = s.rank >= 2 ? s.dim[1] : 0;
    if (!g)
        return ur_record(at, &ur__op_reverse_lengths, (ur_node[]){ x, x }, 2, NULL, 0);
    for (int b = 0; b < B; b++)
        if (lengths[b] < 0 || lengths[b] > s.dim[0])
            return ur__fail_at(g, at, "reverse_lengths", "%s, but length %d of row %d is not in "
                               "0:%d", ur_called(x, at, 0), lengths[b], b, s.dim[0]), UR_NIL;
    ur_node n = ur_ints_at(at, g, lengths, 1, &B);
    return ur_record(at, &ur__op_reverse_lengths, (ur_node[]){ x, n }, 2, NULL, 0);
}

ur_node (ur_reverse_lengths)(ur_node x, const int *lengths)
{
    return ur_reverse_lengths_at(NULL, x, lengths);
}
