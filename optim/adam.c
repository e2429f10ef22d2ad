/* Adam, and AdamW, whose weight decay does not pass through the moments.
 *
 *     m = beta1 m + (1-beta1) g       v = beta2 v + (1-beta2) g^2
 *     x = x - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
 *     adamw: x = (1 - lr weight_decay) x beforehand
 *
 * D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015;
 * I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
 */
#include <math.h>
#include "optim/internal.h"

static void moments(const ur_method *m, const char *names[])
{
    (void)m;
    names[0] = "m";
    names[1] = "v";
}

static ur__update_kernel *kernel(const ur_method *m, const ur__kernel_set *k)
{
    (void)m;
    return k->adam;
}

/* The kernel computes shrink x - rate m / (d sqrt(v) + eps). */
static void numbers(const ur_method *m, double t, ur__update *u)
{
    u->rate /= 1 - pow(m->beta1, t);
    u->d = 1 / sqrt(1 - pow(m->beta2, t));
    u->a = 1 - m->beta1;
    u->b = m->beta2;
    u->c = 1 - m->beta2;
}

static void numbers_decoupled(const ur_method *m, double t, ur__update *u)
{
    u->shrink = 1 - u->rate * u->decay;
    u->decay = 0;
    numbers(m, t, u);
}

static const struct ur__method adam = {
    .name = "adam", .needs_eps = true,
    .moments = moments, .kernel = kernel, .numbers = numbers,
};

static const struct ur__method adamw = {
    .name = "adamw", .needs_eps = true,
    .moments = moments, .kernel = kernel, .numbers = numbers_decoupled,
};

ur_method ur_adam(double lr)
{
    return (ur_method){ .how = &adam, .lr = lr, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 };
}

ur_method ur_adamw(double lr)
{
    ur_method m = ur_adam(lr);
    m.how = &adamw;
    m.weight_decay = 0.01;
    return m;
}
