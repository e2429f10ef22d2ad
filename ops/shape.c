/* The same numbers under another shape or in another order of axes.
 *
 *     reshape   y = x read in order          dx = g under x's shape
 *     permute   axis k of y is axis order[k] of x     dx = g permuted by the inverse order
 *
 * reshape is a view (UR_VIEW); attributes: the sizes asked for, one of which may be -1. */
#include "ops/internal.h"

/* -------------------------------------------------------------------------------------- reshape */

static bool reshape_shape(ur_shaping *s)
{
    const size_t have = ur__elements(&s->in[0]);
    size_t known = 1;
    int open = -1;
    for (int i = 0; i < s->n_attr; i++) {
        if (s->attr[i] == -1 && open < 0) {
            open = i;
        } else if (s->attr[i] < 0) {
            return ur_refuse(s, "%0, but size %lld of axis %d is asked for%s",
                             (long long)s->attr[i], i, open < 0 ? "" : " (one -1 is allowed)");
        } else {
            known *= (size_t)s->attr[i];
            s->out.dim[i] = (int)s->attr[i];
        }
    }
    s->out.rank = s->n_attr;
    s->type = s->type_in[0];
    if (open >= 0 && known > 0 && have % known == 0)
        s->out.dim[open] = (int)(have / known);
    else if (open >= 0 || known != have)
        return ur_refuse(s, "%0, whose %zu elements do not fill %s", have,
                         open < 0 ? ur_shape_text(s->out) : "the sizes asked for");
    return true;
}

static void reshape_rule(ur_rule *r)
{
    const ur_shape s = ur_shape_of(r->in[0]);
    ur_give(r, 0, ur__reshape_to(NULL, r->g, &s));
}

static ur_node reshape_sample(ur_draw *d, int which)
{
    switch (which) {
    case 0: return ur_reshape(ur_draw_input(d, -1, 1, 2, 3), 3, 2);
    case 1: return ur_reshape(ur_draw_input(d, -1, 1, 2, 3, 2), -1, 4);
    case 2: return ur_reshape_at(NULL, ur_draw_input(d, -1, 1, 1, 1), 0, NULL);
    case 3: return ur_reshape(ur_draw_input(d, -1, 1, 4), 1, 2, 1, 2);
    case 4: return ur_reshape(ur_draw_input(d, -1, 1, 0, 3), 3, 0);
    case 5: return ur_reshape(ur_draw_input(d, -1, 1, 2), 2);
    default: return UR_NIL;
    }
}

const ur_op ur__op_reshape = {
    .name = "reshape", .kind = UR_VIEW, .n_in = 1, .shape = reshape_shape, .rule = reshape_rule,
    .sample = reshape_sample,
};

ur_node ur_reshape_at(ur_at at, ur_node x, int rank, const int *dim)
{
    int64_t attr[UR_MAX_RANK] = { 0 };
    ur_graph *g = ur_graph_of(x);
    if (rank < 0 || rank > UR_MAX_RANK) {
        if (g)
            ur__fail_at(g, at, "reshape", "rank %d, but ranks go from 0 to %d", rank, UR_MAX_RANK);
        return UR_NIL;
    }
    for (int i = 0; i < rank; i++)
        attr[i] = dim[i];
    return ur_record(at, &ur__op_reshape, &x, 1, attr, rank);
}

ur_node (ur_reshape)(ur_node x, int rank, const int *dim)
{
    return ur_reshape_at(NULL, x, rank, dim);
}

ur_node ur__reshape_to(ur_at at, ur_node x, const ur_shape *s)
{
    const ur_shape now = ur_shape_of(x);
    if (now.rank == s->rank && memcmp(now.dim, s->dim, sizeof(int) * (size_t)s->rank) == 0)
        return x;
    return ur_reshape_at(at, x, s->rank, s->dim);
}

/* -------------------------------------------------------------------------------------- permute */

static bool permute_shape(ur_shaping *s)
{
    unsigned seen = 0;
    s->out.rank = s->n_attr;
    s->type = s->type_in[0];
    for (int i = 0; i < s->n_attr; i++) {
        if (!ur__need_axis(s, s->attr[i], 0))
            return false;
        seen |= 1u << s->attr[i];
        s->out.dim[i] = s->in[0].dim[s->attr[i]];
    }
    return (s->n_attr == s->in[0].rank && seen == (1u << s->n_attr) - 1) ||
           ur_refuse(s, "%0: the order must name each of its axes once");
}

static size_t permute_pieces(const ur_compute *c)
{
    return c->shape.rank ? (size_t)c->shape.dim[0] : 1;
}

/* Two axes at a time by a kernel: the last axis of y, and the one that is contiguous in x (or else
 * the last but one); an odometer walks the others. */
static void permute_compute(const ur_compute *c)
{
    const int rank = c->shape.rank;
    const size_t size = ur__type_size((int)c->type);
    const ur__kernel_set *k = ur__kernels_of(c->type);      /* int32 moves as float does */
    ptrdiff_t in_step[UR_MAX_RANK + 2], step_x[UR_MAX_RANK + 2], step_y[UR_MAX_RANK + 2];
    size_t dim[UR_MAX_RANK + 2], at[UR_MAX_RANK + 2] = { 0 };
    if (ur__elements(&c->shape) == 0)
        return;
    ptrdiff_t n = 1;
    for (int i = rank; i-- > 0; n *= c->shape_in[0].dim[i])
        in_step[i] = n;
    n = 1;
    for (int i = rank; i-- > 0; n *= c->shape.dim[i]) {
        dim[i] = (size_t)c->shape.dim[i];
        step_x[i] = in_step[c->attr[i]];
        step_y[i] = n;
    }
    const char *x = c->in[0];
    char *y = c->out;
    if (rank) {                             /* of y's first axis a piece */
        dim[0] = c->end - c->begin;
        x += (ptrdiff_t)(c->begin * size) * step_x[0];
        y += (ptrdiff_t)(c->begin * size) * step_y[0];
    }
    /* rows and columns; missing axes have size 1 */
    const int col = rank - 1;
    int row = rank - 2;
    for (int i = 0; i < col; i++)
        if (step_x[i] == 1 && dim[i] > 1)
            row = i;
    const size_t cols = col >= 0 ? dim[col] : 1, rows = row >= 0 ? dim[row] : 1;
    const ptrdiff_t x_c = col >= 0 ? step_x[col] : 1, x_r = row >= 0 ? step_x[row] : 1;
    const ptrdiff_t y_r = row >= 0 ? step_y[row] : (ptrdiff_t)cols;
    for (int i = 0; i >= 0;) {
        k->copy2(rows, cols, x, x_r, x_c, y, y_r);
        for (i = rank - 2; i >= 0; i--) {
            if (i == row)
                continue;
            x += step_x[i] * (ptrdiff_t)size;
            y += step_y[i] * (ptrdiff_t)size;
            if (++at[i] < dim[i])
                break;
            x -= step_x[i] * (ptrdiff_t)(dim[i] * size);
            y -= step_y[i] * (ptrdiff_t)(dim[i] * size);
            at[i] = 0;
        }
    }
}

static void permute_rule(ur_rule *r)
{
    int64_t inverse[UR_MAX_RANK] = { 0 };
    for (int i = 0; i < r->n_attr; i++)
        inverse[r->attr[i]] = i;
    ur_give(r, 0, ur_record(NULL, &ur__op_permute, &r->g, 1, inverse, r->n_attr));
}

static ur_node permute_sample(ur_draw *d, int which)
{
    switch (which) {
    case 0: return ur_transpose(ur_draw_input(d, -1, 1, 2, 3));
    case 1: return ur_permute(ur_draw_input(d, -1, 1, 2, 3, 2), 2, 0, 1);
    case 2: return ur_permute(ur_draw_input(d, -1, 1, 2, 3, 2), 1, 2, 0);
    case 3: return ur_swap_axes(ur_draw_input(d, -1, 1, 2, 3, 2), 0, -2);
    case 4: return ur_permute(ur_draw_input(d, -1, 1, 2, 1, 3, 2), 3, 1, 0, 2);
    case 5: return ur_permute(ur_draw_input(d, -1, 1, 3), 0);
    case 6: return ur_transpose(ur_draw_input(d, -1, 1, 0, 3));
    case 7: return ur_transpose(ur_draw_input(d, -1, 1, 2, 1, 2));
    default: return UR_NIL;
    }
}

const ur_op ur__op_permute = {
    .name = "permute", .kind = UR_OPAQUE, .n_in = 1, .shape = permute_shape,
    .compute = permute_compute, .rule = permute_rule, .sample = permute_sample,
    .pieces = permute_pieces,
};

ur_node ur_permute_at(ur_at at, ur_node x, int rank, const int *order)
{
    int64_t attr[UR_MAX_RANK + 1] = { 0 };
    rank = rank > UR_MAX_RANK ? UR_MAX_RANK + 1 : rank;     /* too many: the shape rule refuses */
    for (int i = 0; i < rank; i++)
        attr[i] = ur__axis(x, order[i]);
    return ur_record(at, &ur__op_permute, &x, 1, attr, rank);
}

ur_node (ur_permute)(ur_node x, int rank, const int *order)
{
    return ur_permute_at(NULL, x, rank, order);
}

ur_node ur_swap_axes_at(ur_at at, ur_node x, int i, int j)
{
    const int rank = ur_shape_of(x).rank, a = ur__axis(x, i), b = ur__axis(x, j);
    int64_t attr[UR_MAX_RANK] = { 0, 1, 2, 3, 4, 5 };
    const bool has_a = a >= 0 && a < rank, has_b = b >= 0 && b < rank;
    if (has_a && has_b) {
        attr[a] = b;
        attr[b] = a;
    } else {
        attr[0] = has_a ? b : a;        /* the axis that is not there is left to the shape rule */
    }
    return ur_record(at, &ur__op_permute, &x, 1, attr, rank < 1 ? 1 : rank);
}

ur_node (ur_swap_axes)(ur_node x, int i, int j)
{
    return ur_swap_axes_at(NULL, x, i, j);
}

ur_node ur_transpose_at(ur_at at, ur_node x)
{
    return ur_swap_axes_at(at, x, -1, -2);
}

ur_node (ur_transpose)(ur_node x)
{
    return ur_swap_axes_at(NULL, x, -1, -2);
}
