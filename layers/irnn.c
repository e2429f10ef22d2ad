/* Elman's network of rectified units that starts by carrying what it has: W = 1, b = 0.
 *
 *     h' = relu(x U + h W + b)
 *
 * Q. V. Le, N. Jaitly and G. E. Hinton, "A simple way to initialize recurrent networks of rectified
 * linear units", arXiv 1504.00941 (2015). What starts with another W, as 0.01 for a shorter memory,
 * is ur_elman_relu_with.
 */
#include "unroll/layers.h"

ur_cell *ur_irnn_with(ur_params *ps, const char *name, int I, int H, const ur_cell_options *options)
{
    ur_cell_options o = options ? *options : ur_cell_defaults(H);
    o.W = ur_identity(1);
    o.b = ur_constant(0);
    return ur_elman_relu_with(ps, name, I, H, &o);
}

ur_cell *ur_irnn(ur_params *ps, const char *name, int I, int H)
{
    return ur_irnn_with(ps, name, I, H, NULL);
}
