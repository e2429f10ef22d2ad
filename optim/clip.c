/* The norm of the gradient and how far it is cut.
 *
 *     |g| = sqrt(sum g^2)      g = g * min(1, max_norm / (|g| + 1e-6))
 *
 * R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
 * ICML 2013. Squares are summed in double, stretch after stretch of the parameters in the order of
 * the store, so the norm has the same bits for any number of threads.
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

/* Of an embedding only the rows that were touched, with its first stretch: the others are zero. */
static void add_squares(void *job, ur__stretch *s)
{
    const ur_params *ps = job;
    const ur__kernel_set *kernels = ur__set_for(ps->type);
    const ur__param *p = &ps->param[s->param];
    const size_t size = ur__type_size((int)ps->type);
    const char *g = ps->gradients.p + ur__begin(ps, s->param);
    s->squares = 0;
    if (p->frozen || (p->sparse && s->begin))
        return;
    if (!p->sparse)
        s->squares = kernels->sum_squares(s->n, g + s->begin * size);
    for (size_t i = 0, begin, count; p->sparse && ur__row_run(p, &i, &begin, &count);)
        s->squares += kernels->sum_squares(count, g + begin * size);
}

double ur__norm(ur_optim *opt)
{
    double sum = 0;
    ur__each_stretch(opt, add_squares, opt->ps);
    for (size_t i = 0; i < opt->n_stretches; i++)
        sum += opt->stretch[i].squares;
    return isfinite(sum) || opt->ps->type != UR_F64 ? sqrt(sum) : scaled_norm(opt->ps);
}

double ur__clip_factor(double norm, double max_norm)
{
    double factor = max_norm / (norm + 1e-6);
    return max_norm > 0 && factor < 1 ? factor : 1;
}
