/* Softmax and its logarithm over the last axis.
 *
 *     softmax       y = e^(x - m) / sum e^(x - m), m = max x     dx = y (g - sum g y)
 *     log_softmax   y = x - m - ln sum e^(x - m)                 dx = g - e^y sum g
 *
 * A row of -inf has no distribution: softmax gives zeros, whose gradient is zero by the formula;
 * log_softmax gives -inf, and wherever y is -inf its gradient is left out. */
#include <math.h>
#include "ops/internal.h"

static bool softmax_shape(ur_shaping *s)
{
    s->out = s->in[0];
    return ur__need_numbers(s, 0) &&
           (s->in[0].rank > 0 || ur_refuse(s, "%0, but the softmax is over an axis"));
}

#define COMPUTE(name)                                                                              \
    static void name##_compute(const ur_compute *c)                                                \
    {                                                                                              \
        const size_t n = (size_t)c->shape.dim[c->shape.rank - 1];                                  \
        const size_t first = c->begin * n * ur__type_size((int)c->type);                           \
        if (n)                                                                                     \
            ur__kernels_of(c->type)->name(c->end - c->begin, n, (const char *)c->in[0] + first,    \
                                          (char *)c->out + first);                                 \
    }
COMPUTE(softmax)
COMPUTE(log_softmax)

static void softmax_rule(ur_rule *r)
{
    ur_node gy = ur_mul(r->g, r->y);
    ur_give(r, 0, ur_sub(gy, ur_mul(r->y, ur_sum_keep(gy, -1))));
}

static void log_softmax_rule(ur_rule *r)
{
    ur_node finite = ur_greater(r->y, ur_scalar(ur_graph_of(r->y), -INFINITY));
    ur_node g = ur_select(finite, r->g);
    ur_give(r, 0, ur_sub(g, ur_mul(ur_exp(r->y), ur_sum_keep(g, -1))));
}

static ur_node draw_case(ur_draw *d, int which)
{
    switch (which) {
    case 0: return ur_draw_input(d, -2, 2, 4);
    case 1: return ur_draw_input(d, -2, 2, 2, 3);
    case 2: return ur_draw_input(d, -2, 2, 2, 1, 3);
    case 3: return ur_draw_input(d, -2, 2, 2, 1, 2, 3);
    case 4: return ur_draw_input(d, -2, 2, 3, 1);
    case 5: return ur_draw_input(d, -2, 2, 2, 0);
    case 6: return ur_draw_input(d, -6, 6, 3, 5);
    default: return UR_NIL;
    }
}

static ur_node softmax_sample(ur_draw *d, int which)
{
    ur_node x = draw_case(d, which);
    return ur_is_nil(x) ? UR_NIL : ur_softmax(x);
}

static ur_node log_softmax_sample(ur_draw *d, int which)
{
    ur_node x = draw_case(d, which);
    return ur_is_nil(x) ? UR_NIL : ur_log_softmax(x);
}

const ur_op ur__op_softmax = {
    .name = "softmax", .kind = UR_OPAQUE, .n_in = 1, .shape = softmax_shape,
    .compute = softmax_compute, .rule = softmax_rule, .sample = softmax_sample,
    .pieces = ur__rows, .by_rows = 1,
};
const ur_op ur__op_log_softmax = {
    .name = "log_softmax", .kind = UR_OPAQUE, .n_in = 1, .shape = softmax_shape,
    .compute = log_softmax_compute, .rule = log_softmax_rule, .sample = log_softmax_sample,
    .pieces = ur__rows, .by_rows = 1,
};

ur_node ur_softmax_at(ur_at at, ur_node x)
{
    return ur_record(at, &ur__op_softmax, &x, 1, NULL, 0);
}

ur_node (ur_softmax)(ur_node x)
{
    return ur_softmax_at(NULL, x);
}

ur_node ur_log_softmax_at(ur_at at, ur_node x)
{
    return ur_record(at, &ur__op_log_softmax, &x, 1, NULL, 0);
}

ur_node (ur_log_softmax)(ur_node x)
{
    return ur_log_softmax_at(NULL, x);
}
