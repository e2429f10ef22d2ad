/* Stochastic gradient descent, with momentum and with Nesterov's.
 *
 *     x = x - lr g
 *     m = momentum m + (1 - dampening) g  (m = g at the first step)
 *     x = x - lr m          nesterov: x = x - lr (g + momentum m)
 *
 * B. T. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964);
 * I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and
 * momentum in deep learning", ICML 2013.
 */
#include "optim/internal.h"

static void moments(const ur_method *m, const char *names[])
{
    if (m->momentum != 0)
        names[0] = "m";
}

static ur__update_kernel *kernel(const ur_method *m, const ur__kernel_set *k)
{
    return m->momentum != 0 ? k->momentum : k->sgd;
}

static void numbers(const ur_method *m, double t, ur__update *u)
{
    u->a = m->momentum;
    u->b = t == 1 ? 1 : 1 - m->dampening;
    u->c = m->nesterov ? 1 : 0;
    u->d = m->nesterov ? m->momentum : 1;
}

static bool idle(const ur_method *m)
{
    return m->momentum == 0;
}

static const struct ur__method sgd = {
    .name = "sgd", .moments = moments, .kernel = kernel, .numbers = numbers, .idle = idle,
};

ur_method ur_sgd(double lr)
{
    return (ur_method){ .how = &sgd, .lr = lr };
}
