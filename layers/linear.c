/* The affine layer.
 *
 *     y = x W + b
 */
#include <math.h>
#include "unroll/layers.h"
#include "unroll/ops.h"

ur_linear_layer ur_linear_with(ur_params *ps, const char *name, int I, int O, ur_init W, ur_init b)
{
    ur_linear_layer layer = ur_linear_unbiased(ps, name, I, O, W);
    layer.b = ur_param(ps, ur_namef(ps, "%s.b", name), b, O);
    return layer;
}

ur_linear_layer ur_linear_unbiased(ur_params *ps, const char *name, int I, int O, ur_init W)
{
    return (ur_linear_layer){ .W = ur_param(ps, ur_namef(ps, "%s.W", name), W, I, O) };
}

ur_linear_layer ur_linear_new(ur_params *ps, const char *name, int I, int O)
{
    const double k = 1 / sqrt(I > 0 ? I : 1);
    const ur_init start = ur_uniform_between(-k, k);
    return ur_linear_with(ps, name, I, O, start, start);
}

ur_node ur_linear_at(ur_at at, ur_linear_layer layer, ur_node x)
{
    /* A bias that could not be made is nil too, but has an owner, and is then an error. */
    return layer.b.owner ? ur_affine_at(at, x, layer.W, layer.b) : ur_matmul_at(at, x, layer.W);
}

ur_node (ur_linear)(ur_linear_layer layer, ur_node x)
{
    return ur_linear_at(NULL, layer, x);
}
