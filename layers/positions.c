/* Where in a sequence a step stands, added to it.
 *
 *     sinusoid    p_2i = sin(t / 10000^(2i/D))    p_2i+1 = cos(t / 10000^(2i/D))
 *     learned     p = P[t]
 *
 * A. Vaswani et al., NIPS 2017; A. Radford et al., "Improving language understanding by generative
 * pre-training" (2018), for the start of P.
 */
#include <math.h>
#include "unroll/attention.h"
#include "unroll/ops.h"

ur_positions ur_positions_new(ur_params *ps, const char *name, int steps, int D)
{
    return (ur_positions){
        ur_param(ps, ur_namef(ps, "%s.P", name), ur_normal_with(0, 0.02), steps, D),
    };
}

/* What both refuse; the graph of x, or NULL. */
static ur_graph *graph_for(ur_at at, ur_node x, int first)
{
    ur_graph *g = ur_graph_of(x);
    if (!g || ur_error(g))
        return NULL;
    if (ur_shape_of(x).rank != 3 || first < 0) {
        ur_fail(g, at, "positions", "%s from step %d on, but a sequence is [T,B,D], from step 0 on "
                "or later", ur_called(x, at, 0), first);
        return NULL;
    }
    return g;
}

ur_node ur_add_sinusoid_at(ur_at at, ur_node x, int first)
{
    ur_graph *g = graph_for(at, x, first);
    const int T = ur_dim(x, 0), D = ur_dim(x, 2);
    if (!g)
        return UR_NIL;
    const bool f64 = ur_precision(g) == UR_F64;
    void *p = ur_graph_alloc(g, (size_t)T * (size_t)D * (f64 ? sizeof(double) : sizeof(float)));
    if (!p)
        return UR_NIL;
    for (int j = 0; j < D; j++) {
        const double w = pow(10000, -(double)(j / 2 * 2) / D);
        for (int t = 0; t < T; t++) {
            const double angle = ((double)first + t) * w, v = j % 2 ? cos(angle) : sin(angle);
            const size_t i = (size_t)t * (size_t)D + (size_t)j;
            if (f64)
                ((double *)p)[i] = v;
            else
                ((float *)p)[i] = (float)v;
        }
    }
    return ur_add_at(at, x, ur_input_at(at, g, p, 3, (int[]){ T, 1, D }));
}

ur_node ur_add_positions_at(ur_at at, ur_positions layer, ur_node x, int first)
{
    ur_graph *g = graph_for(at, x, first);
    const int T = ur_dim(x, 0), D = ur_dim(x, 2), rows = ur_dim(layer.P, 0);
    if (!g)
        return UR_NIL;
    if (rows >= 0 && (T > rows - first || D != ur_dim(layer.P, 1))) {
        ur_fail(g, at, "positions", "%s from step %d on, but there are positions [%d,%d]",
                ur_called(x, at, 0), first, rows, ur_dim(layer.P, 1));
        return UR_NIL;
    }
    ur_node p = ur_slice_at(at, ur_use_at(at, g, layer.P), 0, first, first + T);
    return ur_add_at(at, x, ur_reshape_at(at, p, 3, (int[]){ T, 1, D }));
}

ur_node (ur_add_sinusoid)(ur_node x, int first)
{
    return ur_add_sinusoid_at(NULL, x, first);
}

ur_node (ur_add_positions)(ur_positions layer, ur_node x, int first)
{
    return ur_add_positions_at(NULL, layer, x, first);
}
