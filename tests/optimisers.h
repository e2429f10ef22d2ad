/* optimisers.h: for the tests of optim/: the problem of reference/optim.py, and its optimisers. */
#ifndef UNROLL_TESTS_OPTIMISERS_H
#define UNROLL_TESTS_OPTIMISERS_H

#include "tests/test.h"
#include "tests/reference/optim.h"
#include "unroll/optim.h"

/* ---------------------------------------------------------------------------------- the problem */

typedef struct problem {
    ur_params *ps;
    ur_node part[2];            /* a [19], b [3,5] */
} problem;

static inline double start(int i)
{
    return ((5 * i) % 11 - 5) / 4.0;
}

static inline double gradient(int i, int t)
{
    return ((7 * i + 13 * t) % 17 - 8) / 8.0;
}

/* Element i of both parameters together, among values (which 0) or gradients. */
static inline double *f64_at(const problem *p, int i, bool gradients)
{
    ur_node W = p->part[i >= 19];
    double *v = gradients ? ur_param_gradient(W) : ur_param_values(W);
    return v + (i < 19 ? i : i - 19);
}

static inline float *f32_at(const problem *p, int i, bool gradients)
{
    ur_node W = p->part[i >= 19];
    float *v = gradients ? ur_param_gradient(W) : ur_param_values(W);
    return v + (i < 19 ? i : i - 19);
}

static inline double value(const problem *p, int i)
{
    return ur_params_type(p->ps) == UR_F64 ? *f64_at(p, i, false) : *f32_at(p, i, false);
}

static inline void set(const problem *p, int i, bool gradients, double v)
{
    if (ur_params_type(p->ps) == UR_F64)
        *f64_at(p, i, gradients) = v;
    else
        *f32_at(p, i, gradients) = (float)v;
}

static inline problem new_problem(ur_type type)
{
    problem p = { .ps = ur_params_new(type, 1) };
    p.part[0] = ur_param(p.ps, "a", ur_constant(0), 19);
    p.part[1] = ur_param(p.ps, "b", ur_constant(0), 3, 5);
    for (int i = 0; i < OPTIM_N; i++)
        set(&p, i, false, start(i));
    return p;
}

/* What runs with ur_backward would leave: the sum of n gradients, the last one number t. */
static inline void give_gradient(const problem *p, int t, int n)
{
    for (int i = 0; i < OPTIM_N; i++) {
        double sum = 0;
        for (int k = 0; k < n; k++)
            sum += gradient(i, t - k);
        set(p, i, true, sum);
    }
    ur_gradients_changed(p->ps);
}

/* ------------------------------------------------------------------------------ against PyTorch */

static inline ur_optim *no_momentum(ur_params *ps, ur_method m, double weight_decay)
{
    m.weight_decay = weight_decay;
    return ur_optim_new(ps, m);
}

static inline ur_optim *momentum(ur_params *ps, double lr, double mu, double dampening,
                                 bool nesterov, double weight_decay)
{
    ur_method m = ur_sgd(lr);
    m.momentum = mu;
    m.dampening = dampening;
    m.nesterov = nesterov;
    m.weight_decay = weight_decay;
    return ur_optim_new(ps, m);
}

static inline ur_optim *rmsprop(ur_params *ps, double rho, double eps, double mu, bool centred,
                                double weight_decay)
{
    ur_method m = ur_rmsprop(0.02);
    m.rho = rho;
    m.eps = eps;
    m.momentum = mu;
    m.centred = centred;
    m.weight_decay = weight_decay;
    return ur_optim_new(ps, m);
}

static inline ur_optim *adam_all(ur_params *ps, ur_method m)
{
    m.beta1 = 0.7;
    m.beta2 = 0.9;
    m.eps = 1e-2;
    m.weight_decay = 0.3;
    return ur_optim_new(ps, m);
}

static inline ur_optim *adagrad_all(ur_params *ps)
{
    ur_method m = ur_adagrad(0.3);
    m.lr_decay = 0.1;
    m.weight_decay = 0.2;
    m.start = 0.5;
    m.eps = 1e-3;
    return ur_optim_new(ps, m);
}

static inline ur_optim *adadelta_all(ur_params *ps)
{
    ur_method m = ur_adadelta(3);
    m.rho = 0.7;
    m.eps = 1e-3;
    m.weight_decay = 0.2;
    return ur_optim_new(ps, m);
}

static inline ur_optim *clipped(ur_params *ps, double norm)
{
    ur_method m = ur_adam(0.05);
    m.eps = 1e-1;
    ur_optim *opt = ur_optim_new(ps, m);
    ur_clip_norm(opt, norm);
    return opt;
}

static inline ur_optim *clipped_by_value(ur_params *ps, double most)
{
    ur_optim *opt = ur_optim_new(ps, ur_sgd(0.1));
    ur_clip_value(opt, most);
    return opt;
}

static inline ur_optim *grouped(ur_params *ps)
{
    ur_optim *opt = no_momentum(ps, ur_adamw(0.1), 0.1);
    CHECK_INT(ur_group(opt, "b", 0.2, 0.5), 1);
    return opt;
}

static inline ur_optim *averaged(ur_params *ps)
{
    ur_optim *opt = momentum(ps, 0.1, 0.5, 0, false, 0);
    ur_optim_scale(opt, 1.0 / 3);
    return opt;
}

/* The optimiser of a row of the reference. */
static inline ur_optim *optimiser(const char *name, ur_params *ps)
{
#define IS(text) if (strcmp(name, text) == 0) return
    IS("sgd") ur_optim_new(ps, ur_sgd(0.1));
    IS("sgd decay") no_momentum(ps, ur_sgd(0.1), 0.3);
    IS("momentum") momentum(ps, 0.1, 0.9, 0, false, 0);
    IS("momentum dampening") momentum(ps, 0.1, 0.8, 0.4, false, 0.2);
    IS("nesterov") momentum(ps, 0.05, 0.9, 0, true, 0.1);
    IS("adagrad") ur_optim_new(ps, ur_adagrad(0.3));
    IS("adagrad all") adagrad_all(ps);
    IS("adadelta") ur_optim_new(ps, ur_adadelta(1));
    IS("adadelta all") adadelta_all(ps);
    IS("rmsprop") ur_optim_new(ps, ur_rmsprop(0.02));
    IS("rmsprop centred") rmsprop(ps, 0.9, 1e-8, 0, true, 0);
    IS("rmsprop momentum") rmsprop(ps, 0.99, 1e-8, 0.9, false, 0);
    IS("rmsprop all") rmsprop(ps, 0.8, 1e-2, 0.7, true, 0.3);
    IS("adam") ur_optim_new(ps, ur_adam(0.05));
    IS("adam all") adam_all(ps, ur_adam(0.05));
    IS("adamw") ur_optim_new(ps, ur_adamw(0.05));
    IS("adamw all") adam_all(ps, ur_adamw(0.05));
    IS("clip norm") clipped(ps, 0.5);
    IS("clip value") clipped_by_value(ps, 0.25);
    IS("groups") grouped(ps);
    IS("average") averaged(ps);
#undef IS
    return NULL;
}

#endif
