/* Losses of equal shapes, in plain primitives: a number an element, and their mean.
 *
 *     binary cross-entropy   t softplus(-x) + (1 - t) softplus(x): the logarithms of sigmoid x and
 *                            1 - sigmoid x without cancellation, smooth at x = 0
 *     squared                (y - t)^2
 *     absolute               |y - t|
 *     Huber (1964)           c (d - c / 2), d = y - t, c = d clipped to [-delta, delta] */
#include "ops/internal.h"

/* Losses do not broadcast: a target [B] against [B,1] would silently give [B,B]. */
static bool equal_shapes(ur_at at, const char *name, ur_node y, ur_node t)
{
    ur_graph *g = ur__graph_of_either(y, t);
    if (!g || !ur__live(y) || !ur__live(t))
        return true;                            /* the operations on them say so */
    const ur_shape a = ur_shape_of(y), b = ur_shape_of(t);
    if (a.rank == b.rank && memcmp(a.dim, b.dim, sizeof(int) * (size_t)a.rank) == 0)
        return true;
    return ur__fail_at(g, at, name, "%s but %s: a loss does not broadcast, its shapes must be "
                       "equal", ur_called(y, at, 0), ur_called(t, at, 1));
}

ur_node ur_squared_loss_each_at(ur_at at, ur_node y, ur_node t)
{
    if (!equal_shapes(at, "squared_loss", y, t))
        return UR_NIL;
    return ur_square_at(at, ur_sub_at(at, y, t));
}

ur_node ur_absolute_loss_each_at(ur_at at, ur_node y, ur_node t)
{
    if (!equal_shapes(at, "absolute_loss", y, t))
        return UR_NIL;
    return ur_abs_at(at, ur_sub_at(at, y, t));
}

ur_node ur_binary_cross_entropy_each_at(ur_at at, ur_node x, ur_node t)
{
    if (!equal_shapes(at, "binary_cross_entropy", x, t))
        return UR_NIL;
    ur_graph *g = ur__graph_of_either(x, t);
    if (g && !ur_graph_of(x))
        x = ur_use_at(at, g, x);
    ur_node one = ur_mul_at(at, t, ur_softplus_at(at, ur_neg_at(at, x)));
    ur_node zero = ur_mul_at(at, ur_sub_at(at, ur_scalar_at(at, g, 1), t), ur_softplus_at(at, x));
    return ur_add_at(at, one, zero);
}

ur_node ur_huber_loss_each_at(ur_at at, ur_node y, ur_node t, double delta)
{
    ur_graph *g = ur__graph_of_either(y, t);
    if (!equal_shapes(at, "huber_loss", y, t))
        return UR_NIL;
    if (g && !(delta > 0))
        return ur__fail_at(g, at, "huber_loss", "delta is %g, but must be above 0", delta), UR_NIL;
    ur_node d = ur_sub_at(at, y, t);
    ur_node c = ur_clamp_at(at, d, -delta, delta);
    return ur_mul_at(at, c, ur_sub_at(at, d, ur_scale_at(at, c, 0.5)));
}

#define MEAN_OF(name)                                                                              \
    ur_node name##_at(ur_at at, ur_node y, ur_node t)                                              \
    {                                                                                              \
        return ur_mean_at(at, name##_each_at(at, y, t));                                           \
    }                                                                                              \
    ur_node (name)(ur_node y, ur_node t)                                                           \
    {                                                                                              \
        return name##_at(NULL, y, t);                                                              \
    }                                                                                              \
    ur_node (name##_each)(ur_node y, ur_node t)                                                    \
    {                                                                                              \
        return name##_each_at(NULL, y, t);                                                         \
    }
MEAN_OF(ur_squared_loss)
MEAN_OF(ur_absolute_loss)
MEAN_OF(ur_binary_cross_entropy)

ur_node ur_huber_loss_at(ur_at at, ur_node y, ur_node t, double delta)
{
    return ur_mean_at(at, ur_huber_loss_each_at(at, y, t, delta));
}

ur_node (ur_huber_loss)(ur_node y, ur_node t, double delta)
{
    return ur_huber_loss_at(NULL, y, t, delta);
}

ur_node (ur_huber_loss_each)(ur_node y, ur_node t, double delta)
{
    return ur_huber_loss_each_at(NULL, y, t, delta);
}
