/* The norm of the gradient and how far it is cut.
 *
 *     |g| = sqrt(sum g^2)      g = g * min(1, max_norm / (|g| + 1e-6))
 *
 * R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
 * ICML 2013. Squares are summed in double, parameter after parameter in the order of the store, so
 * the norm has the same bits however the parameters are grouped.
 */
#include <math.h>
#include "optim/internal.h"

/* The norm where squares leave the range of double: every number is divided by the largest first.
 * A float's square never does. Infinite or NaN when a number is. */
static double scaled_norm(const ur_params *ps)
{
    double largest = 0, sum = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t k = 0; k < ps->n; k++) {
            const double *g = (const double *)(ps->gradients.p + ur__begin(ps, k));
            for (size_t i = 0; !ps->param[k].frozen && i < ps->param[k].count; i++)
                if (pass == 0)
                    largest = fabs(g[i]) <= largest ? largest : fabs(g[i]);
                else
                    sum += (g[i] / largest) * (g[i] / largest);
        }
    return largest * sqrt(sum);
}

double ur__norm(const ur_params *ps)
{
    const ur__kernel_set *kernels = ur__set_for(ps->type);
    double sum = 0;
    for (size_t k = 0; k < ps->n; k++)
        if (!ps->param[k].frozen)
            sum += kernels->sum_squares(ps->param[k].count,
                                        ps->gradients.p + ur__begin(ps, k));
    return isfinite(sum) || ps->type != UR_F64 ? sqrt(sum) : scaled_norm(ps);
}

double ur__clip_factor(double norm, double max_norm)
{
    double factor = max_norm / (norm + 1e-6);
    return max_norm > 0 && factor < 1 ? factor : 1;
}
