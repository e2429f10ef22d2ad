/* optim.h: optimisers, parameter groups, clipping, learning-rate schedules.
 *
 *     ur_optim *opt = ur_optim_new(ps, ur_adam(2e-3));
 *     ur_clip_norm(opt, 5);
 *     ur_set_schedule(opt, ur_schedule_cosine(500, 20000, 0.1));
 *     ...
 *         ur_backward(loss);
 *         if (!ur_run(g) || !ur_step(opt))
 *             break;                              // why: ur_error(g), ur_error(ps)
 *     ...
 *     ur_save(path, (ur_params *[]){ ps, ur_optim_state(opt) }, 2, NULL, 0);
 *     ur_optim_free(opt);
 *
 * A step is one pass over the store's flat blocks. Formulas and defaults are those of PyTorch
 * (torch.optim), so that its recipes carry over; the places of eps and of weight decay are part of
 * that. With x a parameter, lr the rate of this step, t its number from 1:
 *
 *     g = gradient * scale                                    ur_optim_scale
 *     g = g * min(1, max_norm / (|g| + 1e-6))                 ur_clip_norm, |g| over all parameters
 *     g = min(max(g, -max_value), max_value)                  ur_clip_value
 *     g = g + weight_decay x                                  (adamw: x = (1 - lr weight_decay) x)
 *
 *     sgd        x = x - lr g
 *     momentum   m = g at t = 1, else momentum m + (1 - dampening) g
 *                x = x - lr m,  with nesterov x - lr (g + momentum m)
 *     adagrad    v = v + g^2                  x = x - lr / (1 + (t-1) lr_decay) g / (sqrt v + eps)
 *     adadelta   v = rho v + (1-rho) g^2      d = sqrt((w + eps) / (v + eps)) g
 *                w = rho w + (1-rho) d^2      x = x - lr d
 *     rmsprop    v = rho v + (1-rho) g^2      d = g / (sqrt v + eps)
 *                centred: e = rho e + (1-rho) g, and v - e^2 in the place of v in d
 *                x = x - lr d,  with momentum w = momentum w + d, x = x - lr w
 *     adam       m = beta1 m + (1-beta1) g    v = beta2 v + (1-beta2) g^2
 *                x = x - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
 *
 * All parameters of the store take part that are not frozen. One that the loss does not depend on
 * has a gradient of zero: its moments decay and its weight decay goes on.
 */
#ifndef UR_OPTIM_H
#define UR_OPTIM_H

#include "unroll/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* -------------------------------------------------------------------------------------- methods */

/* A method and its settings, a value: take one of the functions below and change what differs.
 *     ur_method m = ur_sgd(0.1);
 *     m.momentum = 0.9;
 * Fields that a method's formula above does not name are not used by it. */
typedef struct ur_method {
    const struct ur__method *how;
    double lr, weight_decay;
    double momentum, dampening;
    double beta1, beta2, rho, eps;
    double lr_decay;
    double start;               /* adagrad: what v starts from */
    bool nesterov, centred;
} ur_method;

UR_API ur_method ur_sgd(double lr);         /* momentum: Polyak 1964; nesterov: Sutskever 2013 */
UR_API ur_method ur_adagrad(double lr);     /* eps 1e-10                     Duchi et al. 2011 */
UR_API ur_method ur_adadelta(double lr);    /* lr 1, rho 0.9, eps 1e-6       Zeiler 2012 */
UR_API ur_method ur_rmsprop(double lr);     /* rho 0.99, eps 1e-8            Tieleman 2012;
                                               centred                       Graves 2013 */
UR_API ur_method ur_adam(double lr);        /* beta 0.9, 0.999, eps 1e-8     Kingma and Ba 2015 */
UR_API ur_method ur_adamw(double lr);       /* and weight_decay 0.01         Loshchilov 2019 */

/* ------------------------------------------------------------------------------------ optimiser */

typedef struct ur_optim ur_optim;

/* An optimiser for all parameters of a store, which is sealed by it. The store outlives it. NULL
 * when out of memory, on a store that has an error, and when a setting makes no sense, which
 * ur_error(ps) then tells. */
UR_API ur_optim *ur_optim_new(ur_params *ps, ur_method method);
UR_API void ur_optim_free(ur_optim *opt);

/* One update by the gradient in the store, which it consumes: the next ur_backward overwrites.
 * Several runs before a step add up their gradients.
 *
 * A gradient with a NaN or an infinity is consumed without an update, and counted (ur_skipped).
 * False, with the reason in ur_error(ps), when there is no fresh gradient: no successful run with
 * ur_backward since the last step. */
UR_API bool ur_step(ur_optim *opt);

/* The norm sqrt(sum g^2) of the last step's gradient over all parameters that are not frozen, after
 * scaling and before clipping; not finite where the step was skipped. 0 before the first step. */
UR_API double ur_gradient_norm(const ur_optim *opt);
/* Updates made, and gradients refused. */
UR_API uint64_t ur_steps(const ur_optim *opt);
UR_API uint64_t ur_skipped(const ur_optim *opt);

/* Multiplies every gradient from now on, 1 at first: 1.0 / n averages over n runs a step. */
UR_API void ur_optim_scale(ur_optim *opt, double factor);
/* Clips the gradient by its norm over all parameters      Pascanu, Mikolov and Bengio 2013
 * and by value, element by element. 0 switches either off, as at first. */
UR_API void ur_clip_norm(ur_optim *opt, double max_norm);
UR_API void ur_clip_value(ur_optim *opt, double max_value);

/* The rate that the next step will use, and the rate that schedules multiply. */
UR_API double ur_lr(const ur_optim *opt);
UR_API void ur_set_lr(ur_optim *opt, double lr);

/* What an optimiser remembers, as a store: saved and loaded together with the parameters, a resumed
 * program goes on bit for bit. It holds the moments, "adam.m.lstm.Wf" of the shape of lstm.Wf, and
 * "adam.counters" [7, 4]: steps made, steps skipped, base rate, and of the plateau its factor, best
 * loss, bad reports and cooldown. A row holds the 64 bits of a double as four numbers of 16 bits,
 * lowest first, which both precisions keep exactly. What the program itself sets (method, groups,
 * clipping, scale, schedule) is not in it. */
UR_API ur_params *ur_optim_state(ur_optim *opt);

/* --------------------------------------------------------------------------------------- groups */

/* Gives some parameters a rate of lr_factor times the common one and a weight decay of their own.
 * `names` lists them, separated by spaces; one * in a name stands for any text: "lstm.* out.W",
 * "*.b". A later group takes parameters from earlier ones. Returns how many were selected; 0 and an
 * error on the store when a name fits none. */
UR_API int ur_group(ur_optim *opt, const char *names, double lr_factor, double weight_decay);
/* The same for a list of n parameters. */
UR_API int ur_group_list(ur_optim *opt, const ur_node W[], int n, double lr_factor,
                         double weight_decay);

/* ------------------------------------------------------------------------------------ schedules */

/* A factor for the rate as a function of t, the number of updates made before this one. */
typedef struct ur_schedule {
    int kind;
    double a, b, c;
} ur_schedule;

UR_API ur_schedule ur_schedule_constant(void);                      /* 1 */
/* factor^k, k = 0 before update `first`, then 1, and one more after every further `every`. */
UR_API ur_schedule ur_schedule_step(double first, double every, double factor);
UR_API ur_schedule ur_schedule_exponential(double factor);          /* factor^t */
/* (t+1) / warmup for t < warmup, then floor + (1 - floor) (1 + cos(pi u)) / 2 with
 * u = (t - warmup) / (total - warmup), at most 1                   Loshchilov and Hutter 2017 */
UR_API ur_schedule ur_schedule_cosine(double warmup, double total, double floor);
/* min((t+1) / warmup, sqrt(warmup / (t+1))); warmup >= 1           Vaswani et al. 2017 */
UR_API ur_schedule ur_schedule_inverse_sqrt(double warmup);

UR_API double ur_schedule_factor(ur_schedule s, uint64_t t);
UR_API void ur_set_schedule(ur_optim *opt, ur_schedule s);

/* Reduces the rate when a loss has stopped falling. Called with every new validation loss: one that
 * is not below best * (1 - threshold) is bad; after more than `patience` bad ones in a row the rate
 * is multiplied by factor, but not below min_lr, and the next `cooldown` reports are not counted
 * as bad. Multiplies with the schedule. Returns whether the rate was reduced. */
typedef struct ur_plateau {
    double factor, threshold, min_lr;
    int patience, cooldown;
} ur_plateau;
UR_API ur_plateau ur_plateau_defaults(void);    /* 0.1, 1e-4, 0, 10, 0 */
UR_API bool ur_plateau_report(ur_optim *opt, ur_plateau p, double loss);

#ifdef __cplusplus
}
#endif

#endif
