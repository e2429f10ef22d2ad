/* RMSprop: the gradient over a running root mean square of itself.
 *
 *     v = rho v + (1-rho) g^2      d = g / (sqrt v + eps)
 *     centred: e = rho e + (1-rho) g, and v - e^2, the variance, in the place of v in d
 *     x = x - lr d,  with momentum w = momentum w + d, x = x - lr w
 *
 * T. Tieleman and G. Hinton, "Lecture 6.5: rmsprop", Neural Networks for Machine Learning (2012);
 * centred: A. Graves, "Generating sequences with recurrent neural networks", arXiv 1308.0850
 * (2013).
 */
#include "optim/internal.h"

static void moments(const ur_method *m, const char *names[])
{
    names[0] = "v";
    names[1] = m->centred ? "e" : NULL;
    names[2] = m->momentum != 0 ? "w" : NULL;
}

static ur__update_kernel *kernel(const ur_method *m, const ur__kernel_set *k)
{
    (void)m;
    return k->rmsprop;
}

static void numbers(const ur_method *m, double t, ur__update *u)
{
    (void)t;
    u->a = m->rho;
    u->b = 1 - m->rho;
    u->c = m->momentum;
}

static const struct ur__method rmsprop = {
    .name = "rmsprop", .needs_eps = true,
    .moments = moments, .kernel = kernel, .numbers = numbers,
};

ur_method ur_rmsprop(double lr)
{
    return (ur_method){ .how = &rmsprop, .lr = lr, .rho = 0.99, .eps = 1e-8 };
}
