/* The optimiser: its state, and the step.
 *
 * A moment has a parameter of the same shape for each of the store's, in the same order. The
 * parameters are cut into stretches that stay in the caches, which are what threads share.
 */
#include <math.h>
#include "optim/internal.h"

/* ---------------------------------------------------------------------------------------- counters
 *
 * A double is kept as four numbers of 16 bits, which any floating-point type holds exactly. */

enum { DIGITS = 4 };

static uint64_t digit(const ur_params *state, const void *values, size_t i)
{
    double v = state->type == UR_F64 ? ((const double *)values)[i] : ((const float *)values)[i];
    return v >= 0 && v < 65536 ? (uint64_t)v : 0;       /* whatever a file may hold */
}

ur__counters ur__read_counters(const ur_optim *opt)
{
    ur__counters c;
    double numbers[UR__COUNTERS];
    const void *values = opt->state->values.p + opt->counters;
    for (size_t k = 0; k < UR__COUNTERS; k++) {
        uint64_t bits = 0;
        for (size_t d = 0; d < DIGITS; d++)
            bits |= digit(opt->state, values, k * DIGITS + d) << (16 * d);
        memcpy(&numbers[k], &bits, sizeof bits);
    }
    memcpy(&c, numbers, sizeof c);
    return c;
}

void ur__write_counters(ur_optim *opt, const ur__counters *c)
{
    double numbers[UR__COUNTERS];
    void *values = opt->state->values.p + opt->counters;
    memcpy(numbers, c, sizeof *c);
    for (size_t k = 0; k < UR__COUNTERS; k++) {
        uint64_t bits;
        memcpy(&bits, &numbers[k], sizeof bits);
        for (size_t d = 0; d < DIGITS; d++, bits >>= 16) {
            double v = (double)(bits & 0xffff);
            if (opt->state->type == UR_F64)
                ((double *)values)[k * DIGITS + d] = v;
            else
                ((float *)values)[k * DIGITS + d] = (float)v;
        }
    }
    ur_params_changed(opt->state);
}

/* ------------------------------------------------------------------------------------- creation */

static bool setting(ur_params *ps, const char *method, const char *name, double v, double lo,
                    double hi)
{
    return (v >= lo && v <= hi) || ur__fail(&ps->owner, "%s: %s is %g, but must lie in [%g, %g]",
                                            method, name, v, lo, hi);
}

static bool settings_make_sense(ur_params *ps, const ur_method *m)
{
    if (!m->how)
        return ur__fail(&ps->owner, "optim_new: the method is empty: take one from ur_adam(lr) or "
                                    "another of its kind");
    const char *name = m->how->name;
    const double below_1 = nextafter(1, 0), most = 1e30;
    return setting(ps, name, "lr", m->lr, 0, most) &&
           setting(ps, name, "weight_decay", m->weight_decay, 0, most) &&
           setting(ps, name, "momentum", m->momentum, 0, most) &&
           setting(ps, name, "dampening", m->dampening, -most, most) &&
           setting(ps, name, "beta1", m->beta1, 0, below_1) &&
           setting(ps, name, "beta2", m->beta2, 0, below_1) &&
           setting(ps, name, "rho", m->rho, 0, 1) &&
           setting(ps, name, "eps", m->eps, m->how->needs_eps ? 1e-37 : 0, most) &&
           setting(ps, name, "lr_decay", m->lr_decay, 0, most) &&
           setting(ps, name, "start", m->start, 0, most) &&
           (!m->nesterov || (m->momentum > 0 && m->dampening == 0) ||
            ur__fail(&ps->owner, "%s: nesterov needs a momentum above 0 and no dampening", name));
}

/* Cuts the parameters into stretches. */
static bool make_stretches(ur_optim *opt)
{
    const ur_params *ps = opt->ps;
    size_t n = 0;
    for (size_t k = 0; k < ps->n; k++)
        n += (ps->param[k].count + UR__STRETCH - 1) / UR__STRETCH;
    opt->stretch = ur_params_alloc(opt->state, (n + 1) * sizeof *opt->stretch);
    if (!opt->stretch)
        return false;
    for (size_t k = 0; k < ps->n; k++)
        for (size_t begin = 0; begin < ps->param[k].count; begin += UR__STRETCH) {
            size_t left = ps->param[k].count - begin;
            opt->stretch[opt->n_stretches++] =
                (ur__stretch){ .param = k, .begin = begin,
                               .n = left < UR__STRETCH ? left : UR__STRETCH };
        }
    return true;
}

/* The store of moments and counters. */
static bool make_state(ur_optim *opt)
{
    const ur_params *ps = opt->ps;
    const char *names[UR__MOMENTS] = { NULL }, *method = opt->method.how->name;
    const ur_init start = ur_constant(opt->method.how->starts ? opt->method.start : 0);
    opt->method.how->moments(&opt->method, names);
    opt->state = ur_params_new(ps->type, 0);
    for (int j = 0; j < UR__MOMENTS; j++) {
        opt->moment[j] = names[j] && opt->state ? (ptrdiff_t)opt->state->n : -1;
        for (size_t k = 0; names[j] && k < ps->n; k++)
            ur_freeze(ur_param_at(NULL, opt->state,
                                  ur_namef(opt->state, "%s.%s.%s", method, names[j],
                                           ps->param[k].name),
                                  start, ps->param[k].shape.rank, ps->param[k].shape.dim), true);
    }
    ur_freeze(ur_param(opt->state, ur_namef(opt->state, "%s.counters", method), ur_constant(0),
                       (int)UR__COUNTERS, DIGITS), true);
    opt->group = ur_params_alloc(opt->state, (ps->n + 1) * sizeof *opt->group);
    if (!make_stretches(opt) || !ur_values(opt->state))
        return false;
    opt->counters = ur__begin(opt->state, opt->state->n - 1);
    for (size_t k = 0; k < ps->n; k++)
        opt->group[k] = &opt->common;
    ur__write_counters(opt, &(ur__counters){ .lr = opt->method.lr, .factor = 1,
                                             .best = INFINITY });
    return true;
}

ur_optim *ur_optim_new(ur_params *ps, ur_method method)
{
    if (!ps || ur_error(ps) || !settings_make_sense(ps, &method) || !ur_gradients(ps))
        return NULL;
    ur_optim *opt = ur__realloc(NULL, 0, sizeof *opt);
    if (!opt) {
        ur__out_of_memory(&ps->owner);
        return NULL;
    }
    *opt = (ur_optim){ .ps = ps, .method = method, .scale = 1,
                       .common = { 1, method.weight_decay }, .schedule = ur_schedule_constant() };
    if (!make_state(opt)) {
        ur__fail(&ps->owner, "optim_new: %s", ur_error(opt->state));
        ur_optim_free(opt);
        return NULL;
    }
    return opt;
}

void ur_optim_free(ur_optim *opt)
{
    if (!opt)
        return;
    ur_params_free(opt->state);
    ur__realloc(opt, sizeof *opt, 0);
}

ur_params *ur_optim_state(ur_optim *opt)
{
    return opt ? opt->state : NULL;
}

/* ----------------------------------------------------------------------------------- the update */

typedef struct update {
    ur_optim *opt;
    double lr, t, clip;
} update;

/* Elements begin to begin + n of parameter k. */
static void update_range(const update *a, size_t k, size_t begin, size_t n)
{
    const ur_optim *opt = a->opt;
    const ur_params *ps = opt->ps;
    const ur__group *group = opt->group[k];
    const size_t skip = begin * ur__type_size((int)ps->type), at = ur__begin(ps, k) + skip;
    const ur_method *m = &opt->method;
    ur__update u = {
        .scale = opt->scale * a->clip, .bound = opt->max_value > 0 ? opt->max_value : INFINITY,
        .decay = group->weight_decay, .rate = a->lr * group->lr_factor, .eps = m->eps, .shrink = 1,
    };
    m->how->numbers(m, a->t, &u);
    void *moment[UR__MOMENTS] = { NULL };
    for (int j = 0; j < UR__MOMENTS; j++)
        if (opt->moment[j] >= 0) {
            moment[j] = opt->state->values.p +
                        ur__begin(opt->state, (size_t)opt->moment[j] + k) + skip;
            if (a->t <= 1)
                ur__ahead(moment[j], n * ur__type_size((int)ps->type));
        }
    m->how->kernel(m, ur__set_for(ps->type))(n, &u, ps->values.p + at, ps->gradients.p + at,
                                             moment);
}

static bool by_rows(const ur_optim *opt, size_t k)
{
    const ur__param *p = &opt->ps->param[k];
    const struct ur__method *how = opt->method.how;
    return p->sparse && how->idle && how->idle(&opt->method) && opt->group[k]->weight_decay == 0;
}

/* An embedding walked by rows is updated with its first stretch. */
static void update_stretch(void *job, ur__stretch *s)
{
    const update *a = job;
    const ur__param *p = &a->opt->ps->param[s->param];
    if (p->frozen)
        return;
    if (!by_rows(a->opt, s->param))
        update_range(a, s->param, s->begin, s->n);
    else if (s->begin == 0)
        for (size_t i = 0, begin, count; ur__row_run(p, &i, &begin, &count);)
            update_range(a, s->param, begin, count);
}

typedef struct stretches {
    ur_optim *opt;
    void (*f)(void *job, ur__stretch *s);
    void *job;
} stretches;

static void run_stretches(void *at, int part, int parts)
{
    const stretches *s = at;
    const size_t n = s->opt->n_stretches, end = n * ((size_t)part + 1) / (size_t)parts;
    for (size_t i = n * (size_t)part / (size_t)parts; i < end; i++)
        s->f(s->job, &s->opt->stretch[i]);
}

void ur__each_stretch(ur_optim *opt, void (*f)(void *job, ur__stretch *s), void *job)
{
    enum { LEAST = 2 };         /* stretches of a part: a few microseconds */
    stretches s = { opt, f, job };
    const size_t most = opt->n_stretches / LEAST;
    int threads = opt->ps->threads;
    threads = ur__pool_take(most < (size_t)threads ? (int)most : threads);
    if (threads > 1)
        ur__pool_run(threads, run_stretches, &s,
                     (double)opt->n_stretches * UR__STRETCH / threads);     /* 1 ns an element */
    else
        run_stretches(&s, 0, 1);
    ur__pool_give(threads);
}

static double rate(const ur_optim *opt, const ur__counters *c)
{
    return c->lr * c->factor * ur_schedule_factor(opt->schedule, (uint64_t)c->steps);
}

bool ur_step(ur_optim *opt)
{
    if (!opt || ur_error(opt->ps) || ur_error(opt->state))
        return false;
    if (!ur_gradient_ready(opt->ps))
        return ur__fail(&opt->ps->owner, "step: there is no fresh gradient: since the last step no "
                                         "ur_backward was part of a successful ur_run");
    ur__counters c = ur__read_counters(opt);
    opt->norm = ur__norm(opt) * fabs(opt->scale);
    if (isfinite(opt->norm)) {
        update u = { opt, rate(opt, &c), c.steps + 1, ur__clip_factor(opt->norm, opt->max_norm) };
        ur__each_stretch(opt, update_stretch, &u);
        ur_params_changed(opt->ps);
        c.steps++;
    } else {
        c.skipped++;
    }
    ur__write_counters(opt, &c);
    ur_gradient_used(opt->ps);
    ur__params_settle(opt->ps);
    ur__params_settle(opt->state);
    return true;
}

/* ------------------------------------------------------------------------------------- settings */

double ur_gradient_norm(const ur_optim *opt)
{
    return opt ? opt->norm : 0;
}

uint64_t ur_steps(const ur_optim *opt)
{
    return opt ? (uint64_t)ur__read_counters(opt).steps : 0;
}

uint64_t ur_skipped(const ur_optim *opt)
{
    return opt ? (uint64_t)ur__read_counters(opt).skipped : 0;
}

double ur_lr(const ur_optim *opt)
{
    if (!opt)
        return 0;
    ur__counters c = ur__read_counters(opt);
    return rate(opt, &c);
}

void ur_set_lr(ur_optim *opt, double lr)
{
    if (!opt || !setting(opt->ps, opt->method.how->name, "lr", lr, 0, 1e30))
        return;
    ur__counters c = ur__read_counters(opt);
    c.lr = lr;
    ur__write_counters(opt, &c);
}

void ur_optim_scale(ur_optim *opt, double factor)
{
    if (opt && setting(opt->ps, "optim_scale", "factor", factor, -1e30, 1e30))
        opt->scale = factor;
}

void ur_clip_norm(ur_optim *opt, double max_norm)
{
    if (opt && setting(opt->ps, "clip_norm", "max_norm", max_norm, 0, INFINITY))
        opt->max_norm = max_norm;
}

void ur_clip_value(ur_optim *opt, double max_value)
{
    if (opt && setting(opt->ps, "clip_value", "max_value", max_value, 0, INFINITY))
        opt->max_value = max_value;
}
