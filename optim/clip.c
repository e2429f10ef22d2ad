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

bool ur__row_run(const ur__param *p, size_t *i, size_t *begin, size_t *count)
{
    const size_t width = p->count / (size_t)p->shape.dim[0], first = *i;
    if (first >= p->n_rows)
        return false;
    while (++*i < p->n_rows && p->rows[*i] == p->rows[*i - 1] + 1)
        ;
    *begin = (size_t)p->rows[first] * width;
    *count = (*i - first) * width;
    return true;
}

/* Of an embedding only the rows that were touched: the others are zero. */
static double squares(const ur_params *ps, size_t k)
{
    const ur__kernel_set *kernels = ur__set_for(ps->type);
    const ur__param *p = &ps->param[k];
    const char *g = ps->gradients.p + ur__begin(ps, k);
    double sum = 0;
    if (!p->sparse)
        return kernels->sum_squares(p->count, g);
    for (size_t i = 0, begin, count; ur__row_run(p, &i, &begin, &count);)
        sum += kernels->sum_squares(count, g + begin * ur__type_size((int)ps->type));
    return sum;
}

double ur__norm(const ur_params *ps)
{
    double sum = 0;
    for (size_t k = 0; k < ps->n; k++)
        if (!ps->param[k].frozen)
            sum += squares(ps, k);
    return isfinite(sum) || ps->type != UR_F64 ? sqrt(sum) : scaled_norm(ps);
}

double ur__clip_factor(double norm, double max_norm)
{
    double factor = max_norm / (norm + 1e-6);
    return max_norm > 0 && factor < 1 ? factor : 1;
}
