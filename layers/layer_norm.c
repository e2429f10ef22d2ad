/* Layer normalisation: each row is brought to mean 0 and variance 1, then scaled and shifted.
 *
 *     m = mean of x     v = mean of (x - m)^2     y = (x - m) / sqrt(v + eps) * gain + bias
 *
 * J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", arXiv 1607.06450 (2016).
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

ur_layer_norm ur_layer_norm_with(ur_params *ps, const char *name, int F, ur_init gain,
                                 ur_init bias)
{
    return (ur_layer_norm){ .gain = ur_param(ps, ur_namef(ps, "%s.gain", name), gain, F),
                            .bias = ur_param(ps, ur_namef(ps, "%s.bias", name), bias, F),
                            .eps = 1e-5 };
}

ur_layer_norm ur_layer_norm_new(ur_params *ps, const char *name, int F)
{
    return ur_layer_norm_with(ps, name, F, ur_constant(1), ur_constant(0));
}

/* Broadcasting would hide a gain of another size than x where one of both is 1. */
static bool fits(ur_at at, ur_layer_norm norm, ur_node x)
{
    ur_graph *g = ur_graph_of(x);
    const int F = ur_dim(norm.gain, 0);
    if (!g || F < 0 || ur_shape_of(x).rank < 0 || ur_dim(x, -1) == F)
        return true;                            /* or the operations tell what is wrong */
    return ur_fail(g, at, "normalise", "%s, but %s is [%d]", ur_called(x, at, 0),
                   ur_param_name(norm.gain), F);
}

ur_node ur_normalise_at(ur_at at, ur_layer_norm norm, ur_node x)
{
    if (!fits(at, norm, x))
        return UR_NIL;
    ur_node d = ur_sub_at(at, x, ur_mean_keep_at(at, x, 1, (int[]){ -1 }));
    ur_node v = ur_mean_keep_at(at, ur_square_at(at, d), 1, (int[]){ -1 });
    ur_node y = ur_div_at(at, d, ur_sqrt_at(at, ur_shift_at(at, v, norm.eps)));
    return ur_add_at(at, ur_mul_at(at, y, norm.gain), norm.bias);
}

ur_node (ur_normalise)(ur_layer_norm norm, ur_node x)
{
    return ur_normalise_at(NULL, norm, x);
}
