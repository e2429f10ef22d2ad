/* Adagrad: a rate for every element that falls with the sum of its squared gradients.
 *
 *     v = v + g^2
 *     x = x - lr / (1 + (t-1) lr_decay) g / (sqrt v + eps)
 *
 * J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and
 * stochastic optimization", JMLR 12 (2011).
 */
#include "optim/internal.h"

static void moments(const ur_method *m, const char *names[])
{
    (void)m;
    names[0] = "v";
}

static ur__update_kernel *kernel(const ur_method *m, const ur__kernel_set *k)
{
    (void)m;
    return k->adagrad;
}

static void numbers(const ur_method *m, double t, ur__update *u)
{
    u->rate /= 1 + (t - 1) * m->lr_decay;
}

static bool idle(const ur_method *m)
{
    (void)m;
    return true;
}

static const struct ur__method adagrad = {
    .name = "adagrad", .needs_eps = true, .starts = true,
    .moments = moments, .kernel = kernel, .numbers = numbers, .idle = idle,
};

ur_method ur_adagrad(double lr)
{
    return (ur_method){ .how = &adagrad, .lr = lr, .eps = 1e-10 };
}
