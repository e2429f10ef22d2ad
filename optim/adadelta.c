/* Adadelta: steps in the units of the parameter, from running means of squares.
 *
 *     v = rho v + (1-rho) g^2      d = sqrt((w + eps) / (v + eps)) g
 *     w = rho w + (1-rho) d^2      x = x - lr d
 *
 * M. D. Zeiler, "Adadelta: an adaptive learning rate method", arXiv 1212.5701 (2012).
 */
#include "optim/internal.h"

static void moments(const ur_method *m, const char *names[])
{
    (void)m;
    names[0] = "v";
    names[1] = "w";
}

static ur__update_kernel *kernel(const ur_method *m, const ur__kernel_set *k)
{
    (void)m;
    return k->adadelta;
}

static void numbers(const ur_method *m, double t, ur__update *u)
{
    (void)t;
    u->a = m->rho;
    u->b = 1 - m->rho;
}

static const struct ur__method adadelta = {
    .name = "adadelta", .needs_eps = true,
    .moments = moments, .kernel = kernel, .numbers = numbers,
};

ur_method ur_adadelta(double lr)
{
    return (ur_method){ .how = &adadelta, .lr = lr, .rho = 0.9, .eps = 1e-6 };
}
