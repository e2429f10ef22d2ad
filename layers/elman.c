/* Elman's simple recurrent network, with the hyperbolic tangent or the rectifier.
 *
 *     h' = tanh(x U + h W + b)        h' = relu(x U + h W + b)
 *
 * J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990).
 * Relu with W starting as the identity: Q. V. Le, N. Jaitly and G. E. Hinton, "A simple way to
 * initialize recurrent networks of rectified linear units", arXiv 1504.00941 (2015).
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct elman {
    ur_cell cell;
    ur_node U, W, b;
} elman;

static ur_node tanh_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const elman *p = (const elman *)cell;
    ur_node h = s[0];
    return s[0] = ur_tanh(ur_add(ur_matmul(x, p->U), ur_affine(h, p->W, p->b)));
}

static ur_node relu_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const elman *p = (const elman *)cell;
    ur_node h = s[0];
    return s[0] = ur_relu(ur_add(ur_matmul(x, p->U), ur_affine(h, p->W, p->b)));
}

static ur_cell *new_elman(ur_params *ps, const char *name, int I, int H, ur_cell_step *step,
                          const ur_cell_options *options)
{
    const ur_cell_options o = options ? *options : ur_cell_defaults(H);
    elman *p = ur_cell_new(ps, name, sizeof *p, step, I, H, 1, (int[]){ H });
    p->U = ur_param(ps, ur_namef(ps, "%s.U", name), o.U, I, H);
    p->W = ur_param(ps, ur_namef(ps, "%s.W", name), o.W, H, H);
    p->b = ur_param(ps, ur_namef(ps, "%s.b", name), o.b, H);
    return &p->cell;
}

ur_cell *ur_elman_with(ur_params *ps, const char *name, int I, int H, const ur_cell_options *o)
{
    return new_elman(ps, name, I, H, tanh_step, o);
}

ur_cell *ur_elman(ur_params *ps, const char *name, int I, int H)
{
    return ur_elman_with(ps, name, I, H, NULL);
}

ur_cell *ur_elman_relu_with(ur_params *ps, const char *name, int I, int H,
                            const ur_cell_options *o)
{
    return new_elman(ps, name, I, H, relu_step, o);
}

ur_cell *ur_elman_relu(ur_params *ps, const char *name, int I, int H)
{
    return ur_elman_relu_with(ps, name, I, H, NULL);
}
