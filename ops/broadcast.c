/* Repeating along axes, and the sum that is its adjoint.
 *
 *     broadcast_to   y[.., i, ..] = x[.., 0, ..]     dx = g summed over the repeated axes
 *
 * repeat and tile are broadcasts between two reshapes: an axis of size 1 is set beside the one
 * that is repeated. Attributes of broadcast_to: the sizes of the result. */
#include "ops/internal.h"

static bool broadcast_shape(ur_shaping *s)
{
    const ur_shape *x = &s->in[0];
    s->out.rank = s->n_attr;
    s->type = s->type_in[0];
    bool fit = x->rank <= s->n_attr;
    for (int i = 0; i < s->n_attr; i++) {
        if (!ur__need_size(s, s->attr[i]))
            return false;
        s->out.dim[i] = (int)s->attr[i];
        const int k = i - (s->n_attr - x->rank);
        fit = fit && (k < 0 || x->dim[k] == 1 || x->dim[k] == s->out.dim[i]);
    }
    return fit || ur_refuse(s, "%0, which does not broadcast to %s", ur_shape_text(s->out));
}

/* n copies of `bytes` bytes, doubling what is there. */
static void copies(char *to, const char *from, size_t bytes, size_t n)
{
    if (bytes == 0 || n == 0)
        return;
    memcpy(to, from, bytes);
    for (size_t have = 1; have < n;) {
        size_t more = have < n - have ? have : n - have;
        memcpy(to + have * bytes, to, more * bytes);
        have += more;
    }
}

/* The trailing axes that x has as they are make a block, the repeated axes before them its number
 * of copies; an odometer walks the axes that are left. */
static void broadcast_compute(const ur_compute *c)
{
    const ur_shape *y = &c->shape, *x = &c->shape_in[0];
    const int lead = y->rank - x->rank;
    size_t bytes = ur__type_size((int)c->type), step[UR_MAX_RANK], count[UR_MAX_RANK] = { 0 };
    size_t x_size = bytes;
    if (ur__elements(y) == 0)
        return;
    for (int i = y->rank; i-- > 0;) {       /* how far x moves with each axis of y */
        const int n = i >= lead ? x->dim[i - lead] : 1;
        step[i] = n == 1 ? 0 : x_size;
        x_size *= (size_t)n;
    }
    int inner = y->rank;                    /* axes from here on: x as it is, then one repeated */
    size_t block = bytes, times = 1;
    while (inner > 0 && (step[inner - 1] || y->dim[inner - 1] == 1))
        block *= (size_t)y->dim[--inner];
    while (inner > 0 && !step[inner - 1])
        times *= (size_t)y->dim[--inner];
    const char *from = c->in[0];
    char *to = c->out;
    for (int i = 0; i >= 0; to += block * times) {
        copies(to, from, block, times);
        for (i = inner - 1; i >= 0; i--) {
            from += step[i];
            if (++count[i] < (size_t)y->dim[i])
                break;
            from -= step[i] * (size_t)y->dim[i];
            count[i] = 0;
        }
    }
}

static size_t whole(const ur_compute *c)
{
    (void)c;
    return 1;
}

static void broadcast_rule(ur_rule *r)
{
    const ur_shape s = ur_shape_of(r->in[0]);
    ur_give(r, 0, ur__sum_to(NULL, r->g, &s));
}

static ur_node broadcast_sample(ur_draw *d, int which)
{
    switch (which) {
    case 0: return ur_broadcast_to(ur_draw_input(d, -1, 1, 3), 2, 3);
    case 1: return ur_broadcast_to(ur_draw_input(d, -1, 1, 2, 1), 2, 3);
    case 2: return ur_broadcast_to(ur_draw_input_(d, -1, 1, 0, NULL), 2, 2);
    case 3: return ur_broadcast_to(ur_draw_input(d, -1, 1, 2, 1, 3), 2, 2, 2, 3);
    case 4: return ur_broadcast_to(ur_draw_input(d, -1, 1, 1, 2, 1, 2), 3, 2, 2, 2);
    case 5: return ur_broadcast_to(ur_draw_input(d, -1, 1, 2, 3), 2, 3);
    case 6: return ur_broadcast_to(ur_draw_input(d, -1, 1, 1, 3), 0, 3);
    case 7: return ur_repeat(ur_draw_input(d, -1, 1, 2, 3, 2), 1, 2);
    case 8: return ur_tile(ur_draw_input(d, -1, 1, 2, 3, 2), 1, 2);
    default: return UR_NIL;
    }
}

const ur_op ur__op_broadcast = {
    .name = "broadcast_to", .kind = UR_OPAQUE, .n_in = 1, .shape = broadcast_shape,
    .compute = broadcast_compute, .rule = broadcast_rule, .sample = broadcast_sample,
    .pieces = whole,
};

ur_node ur_broadcast_to_at(ur_at at, ur_node x, int rank, const int *dim)
{
    int64_t attr[UR_MAX_RANK] = { 0 };
    ur_graph *g = ur_graph_of(x);
    if (rank < 0 || rank > UR_MAX_RANK) {
        if (g)
            ur__fail_at(g, at, "broadcast_to", "rank %d, but ranks go from 0 to %d", rank,
                        UR_MAX_RANK);
        return UR_NIL;
    }
    for (int i = 0; i < rank; i++)
        attr[i] = dim[i];
    return ur_record(at, &ur__op_broadcast, &x, 1, attr, rank);
}

ur_node (ur_broadcast_to)(ur_node x, int rank, const int *dim)
{
    return ur_broadcast_to_at(NULL, x, rank, dim);
}

ur_node ur__broadcast(ur_at at, ur_node x, const ur_shape *s)
{
    const ur_shape now = ur_shape_of(x);
    if (now.rank == s->rank && memcmp(now.dim, s->dim, sizeof(int) * (size_t)s->rank) == 0)
        return x;
    return ur_broadcast_to_at(at, x, s->rank, s->dim);
}

/* [outer, n, inner] or [outer, 1, n * inner] -> an axis of its own for the copies. */
static ur_node repeated(ur_at at, const char *name, ur_node x, int axis, int n, bool whole)
{
    const ur_shape s = ur_shape_of(x);
    const int k = ur__axis(x, axis);
    ur_graph *g = ur_graph_of(x);
    if (!g || s.rank < 0)
        return ur_record(at, &ur__op_broadcast, &x, 1, NULL, 0);    /* refused there */
    if (k < 0 || k >= s.rank)
        return ur__fail_at(g, at, name, "%s, so there is no axis %d", ur_called(x, at, 0), axis),
               UR_NIL;
    if (n < 0 || (n > 0 && s.dim[k] > 0x7fffffff / n))
        return ur__fail_at(g, at, name, "%s, and %d copies along axis %d are asked for",
                           ur_called(x, at, 0), n, axis), UR_NIL;
    ur_shape view = { .rank = 3 }, out = s;
    const size_t one = ur__span(&s, k + 1, s.rank), all = (size_t)s.dim[k] * one;
    const size_t before = ur__span(&s, 0, k);
    view.dim[0] = (int)(whole ? before : before * (size_t)s.dim[k]);
    view.dim[1] = 1;
    view.dim[2] = (int)(whole ? all : one);
    ur_node y = ur__reshape_to(at, x, &view);
    view.dim[1] = n;
    out.dim[k] *= n;
    return ur__reshape_to(at, ur__broadcast(at, y, &view), &out);
}

ur_node ur_repeat_at(ur_at at, ur_node x, int axis, int n)
{
    return repeated(at, "repeat", x, axis, n, false);
}

ur_node (ur_repeat)(ur_node x, int axis, int n)
{
    return ur_repeat_at(NULL, x, axis, n);
}

ur_node ur_tile_at(ur_at at, ur_node x, int axis, int n)
{
    return repeated(at, "tile", x, axis, n, true);
}

ur_node (ur_tile)(ur_node x, int axis, int n)
{
    return ur_tile_at(NULL, x, axis, n);
}

/* Missing leading axes and runs of axes of size 1 are summed over, the last run first. */
ur_node ur__sum_to(ur_at at, ur_node x, const ur_shape *s)
{
    const ur_shape now = ur_shape_of(x);
    const int lead = now.rank - s->rank;
    int axes[UR_MAX_RANK], n = 0;
    for (int i = 0; i < now.rank; i++)
        if (i < lead || (s->dim[i - lead] == 1 && now.dim[i] != 1))
            axes[n++] = i;
    if (n > 0)
        x = ur_sum_over_at(at, x, n, axes);
    return ur__reshape_to(at, x, s);
}
