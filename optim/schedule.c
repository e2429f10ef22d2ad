/* Learning-rate schedules: factors as functions of the number of updates, and the plateau.
 *
 *     step          factor^k,  k = 0 for t < first, else 1 + floor((t - first) / every)
 *     exponential   factor^t
 *     cosine        (t+1) / warmup for t < warmup, else floor + (1 - floor) (1 + cos(pi u)) / 2
 *     inverse sqrt  min((t+1) / warmup, sqrt(warmup / (t+1)))
 *
 * I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017;
 * A. Vaswani et al., "Attention is all you need", NIPS 2017, normalised to a largest factor of 1.
 */
#include <math.h>
#include "optim/internal.h"

enum { CONSTANT, STEP, EXPONENTIAL, COSINE, INVERSE_SQRT };

ur_schedule ur_schedule_constant(void)
{
    return (ur_schedule){ .kind = CONSTANT };
}

ur_schedule ur_schedule_step(double first, double every, double factor)
{
    return (ur_schedule){ STEP, first, every, factor };
}

ur_schedule ur_schedule_exponential(double factor)
{
    return (ur_schedule){ .kind = EXPONENTIAL, .a = factor };
}

ur_schedule ur_schedule_cosine(double warmup, double total, double floor)
{
    return (ur_schedule){ COSINE, warmup, total, floor };
}

ur_schedule ur_schedule_inverse_sqrt(double warmup)
{
    return (ur_schedule){ .kind = INVERSE_SQRT, .a = warmup };
}

static double cosine(double t, double warmup, double total, double least)
{
    if (t < warmup)
        return (t + 1) / warmup;
    double u = t < total ? (t - warmup) / (total - warmup) : 1;
    return least + (1 - least) * (1 + cos(3.14159265358979323846 * u)) / 2;
}

double ur_schedule_factor(ur_schedule s, uint64_t step)
{
    const double t = (double)step;
    switch (s.kind) {
    case STEP:
        return t < s.a ? 1 : pow(s.c, 1 + floor((t - s.a) / s.b));
    case EXPONENTIAL:
        return pow(s.a, t);
    case COSINE:
        return cosine(t, s.a, s.b, s.c);
    case INVERSE_SQRT:
        return t + 1 < s.a ? (t + 1) / s.a : sqrt(s.a / (t + 1));
    default:
        return 1;
    }
}

/* What makes no sense, or NULL. */
static const char *fault(ur_schedule s)
{
    switch (s.kind) {
    case CONSTANT:
        return NULL;
    case STEP:
        return s.b >= 1 && s.c >= 0 ? NULL : "step: every >= 1 and factor >= 0 are needed";
    case EXPONENTIAL:
        return s.a >= 0 ? NULL : "exponential: the factor must be at least 0";
    case COSINE:
        return s.a >= 0 && s.b > s.a && s.c >= 0 ? NULL
            : "cosine: 0 <= warmup < total and floor >= 0 are needed";
    case INVERSE_SQRT:
        return s.a >= 1 ? NULL : "inverse_sqrt: warmup >= 1 is needed";
    default:
        return "not made by one of the functions ur_schedule_...";
    }
}

void ur_set_schedule(ur_optim *opt, ur_schedule s)
{
    const char *why = opt ? fault(s) : NULL;
    if (why)
        ur__fail(&opt->ps->owner, "schedule: %s", why);
    else if (opt)
        opt->schedule = s;
}

/* -------------------------------------------------------------------------------------- plateau */

ur_plateau ur_plateau_defaults(void)
{
    return (ur_plateau){ .factor = 0.1, .threshold = 1e-4, .patience = 10 };
}

bool ur_plateau_report(ur_optim *opt, ur_plateau p, double loss)
{
    if (!opt)
        return false;
    ur__counters c = ur__read_counters(opt);
    if (loss < c.best * (1 - p.threshold)) {
        c.best = loss;
        c.bad = 0;
    } else {
        c.bad++;
    }
    if (c.cooldown > 0) {
        c.cooldown--;
        c.bad = 0;
    }
    bool reduced = false;
    if (c.bad > p.patience) {
        double before = c.lr * c.factor, after = before * p.factor;
        after = after > p.min_lr ? after : p.min_lr;
        reduced = before - after > 1e-8;
        c.factor = reduced ? after / c.lr : c.factor;
        c.cooldown = p.cooldown;
        c.bad = 0;
    }
    ur__write_counters(opt, &c);
    return reduced;
}
