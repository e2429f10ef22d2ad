/* Optimisers, clipping, groups, schedules and their state, against numbers of PyTorch's in
 * reference/optim.h (whose script says what the problem is). */
#include "tests/test.h"
#include "tests/reference/optim.h"
#include "graph/internal.h"
#include "unroll/optim.h"

/* ------------------------------------------------------------------------------------ the problem */

typedef struct problem {
    ur_params *ps;
    ur_node part[2];            /* a [19], b [3,5] */
} problem;

static double start(int i)
{
    return ((5 * i) % 11 - 5) / 4.0;
}

static double gradient(int i, int t)
{
    return ((7 * i + 13 * t) % 17 - 8) / 8.0;
}

/* Element i of both parameters together, among values (which 0) or gradients. */
static double *f64_at(const problem *p, int i, bool gradients)
{
    ur_node W = p->part[i >= 19];
    double *v = gradients ? ur_param_gradient(W) : ur_param_values(W);
    return v + (i < 19 ? i : i - 19);
}

static float *f32_at(const problem *p, int i, bool gradients)
{
    ur_node W = p->part[i >= 19];
    float *v = gradients ? ur_param_gradient(W) : ur_param_values(W);
    return v + (i < 19 ? i : i - 19);
}

static double value(const problem *p, int i)
{
    return ur_params_type(p->ps) == UR_F64 ? *f64_at(p, i, false) : *f32_at(p, i, false);
}

static void set(const problem *p, int i, bool gradients, double v)
{
    if (ur_params_type(p->ps) == UR_F64)
        *f64_at(p, i, gradients) = v;
    else
        *f32_at(p, i, gradients) = (float)v;
}

static problem new_problem(ur_type type)
{
    problem p = { .ps = ur_params_new(type, 1) };
    p.part[0] = ur_param(p.ps, "a", ur_constant(0), 19);
    p.part[1] = ur_param(p.ps, "b", ur_constant(0), 3, 5);
    for (int i = 0; i < OPTIM_N; i++)
        set(&p, i, false, start(i));
    return p;
}

/* What runs with ur_backward would leave: the sum of n gradients, the last one number t. */
static void give_gradient(const problem *p, int t, int n)
{
    for (int i = 0; i < OPTIM_N; i++) {
        double sum = 0;
        for (int k = 0; k < n; k++)
            sum += gradient(i, t - k);
        set(p, i, true, sum);
    }
    ur_gradients_changed(p->ps);
}

/* ------------------------------------------------------------------------------- against PyTorch */

static ur_optim *no_momentum(ur_params *ps, ur_method m, double weight_decay)
{
    m.weight_decay = weight_decay;
    return ur_optim_new(ps, m);
}

static ur_optim *momentum(ur_params *ps, double lr, double mu, double dampening, bool nesterov,
                          double weight_decay)
{
    ur_method m = ur_sgd(lr);
    m.momentum = mu;
    m.dampening = dampening;
    m.nesterov = nesterov;
    m.weight_decay = weight_decay;
    return ur_optim_new(ps, m);
}

static ur_optim *rmsprop(ur_params *ps, double rho, double eps, double mu, bool centred,
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

static ur_optim *adam_all(ur_params *ps, ur_method m)
{
    m.beta1 = 0.7;
    m.beta2 = 0.9;
    m.eps = 1e-2;
    m.weight_decay = 0.3;
    return ur_optim_new(ps, m);
}

static ur_optim *adagrad_all(ur_params *ps)
{
    ur_method m = ur_adagrad(0.3);
    m.lr_decay = 0.1;
    m.weight_decay = 0.2;
    m.start = 0.5;
    m.eps = 1e-3;
    return ur_optim_new(ps, m);
}

static ur_optim *adadelta_all(ur_params *ps)
{
    ur_method m = ur_adadelta(3);
    m.rho = 0.7;
    m.eps = 1e-3;
    m.weight_decay = 0.2;
    return ur_optim_new(ps, m);
}

static ur_optim *clipped(ur_params *ps, double norm)
{
    ur_method m = ur_adam(0.05);
    m.eps = 1e-1;
    ur_optim *opt = ur_optim_new(ps, m);
    ur_clip_norm(opt, norm);
    return opt;
}

static ur_optim *clipped_by_value(ur_params *ps, double most)
{
    ur_optim *opt = ur_optim_new(ps, ur_sgd(0.1));
    ur_clip_value(opt, most);
    return opt;
}

static ur_optim *grouped(ur_params *ps)
{
    ur_optim *opt = no_momentum(ps, ur_adamw(0.1), 0.1);
    CHECK_INT(ur_group(opt, "b", 0.2, 0.5), 1);
    return opt;
}

static ur_optim *averaged(ur_params *ps)
{
    ur_optim *opt = momentum(ps, 0.1, 0.5, 0, false, 0);
    ur_optim_scale(opt, 1.0 / 3);
    return opt;
}

/* The optimiser of a row of the reference. */
static ur_optim *optimiser(const char *name, ur_params *ps)
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

static void compare(const problem *p, const char *name, const double *expected, double tolerance)
{
    int wrong = -1;
    for (int i = 0; i < OPTIM_N && wrong < 0; i++)
        if (!(fabs(value(p, i) - expected[i]) <= tolerance))
            wrong = i;
    if (wrong >= 0)
        printf("  %s, element %d:\n", name, wrong);
    CHECK_NEAR(value(p, wrong < 0 ? 0 : wrong), expected[wrong < 0 ? 0 : wrong], tolerance);
}

static void against_pytorch(ur_type type, double tolerance)
{
    for (size_t r = 0; r < sizeof optim_runs / sizeof *optim_runs; r++) {
        const char *name = optim_runs[r].name;
        const int n = strcmp(name, "average") == 0 ? 3 : 1;
        problem p = new_problem(type);
        ur_optim *opt = optimiser(name, p.ps);
        if (!CHECK(opt != NULL)) {
            printf("  %s: %s\n", name, ur_error(p.ps) ? ur_error(p.ps) : "no such row in the test");
        } else {
            for (int t = 1; t <= OPTIM_STEPS; t++) {
                give_gradient(&p, n * t, n);
                CHECK(ur_step(opt));
                if (t == 1)
                    compare(&p, name, optim_runs[r].first, tolerance);
            }
            compare(&p, name, optim_runs[r].last, tolerance);
            CHECK_NEAR(ur_gradient_norm(opt), optim_runs[r].norm, 1e-6);
            CHECK_INT(ur_steps(opt), OPTIM_STEPS);
        }
        ur_optim_free(opt);
        ur_params_free(p.ps);
    }
}

TEST(methods_f64)
{
    against_pytorch(UR_F64, 1e-13);
}

TEST(methods_f32)
{
    against_pytorch(UR_F32, 1e-5);
}

TEST(schedules)
{
    for (size_t r = 0; r < sizeof schedule_runs / sizeof *schedule_runs; r++) {
        const char *name = schedule_runs[r].name;
        const double losses[] = { 5, 4, 3.9999, 4.2, 4.1, 3, 3, 3, 3, 3, 2.9, 2.9999, 2.91, 2.9, 3,
                                  3, 3, 3, 3, 3 };
        problem p = new_problem(UR_F32);
        ur_optim *opt = ur_optim_new(p.ps, ur_sgd(0.8));
        bool plateau = strcmp(name, "plateau") == 0;
        ur_set_schedule(opt, strcmp(name, "step") == 0 ? ur_schedule_step(7, 7, 0.5)
                           : strcmp(name, "step later") == 0 ? ur_schedule_step(10, 1, 0.5)
                           : strcmp(name, "exponential") == 0 ? ur_schedule_exponential(0.9)
                           : strcmp(name, "cosine") == 0 ? ur_schedule_cosine(8, 30, 0.1)
                           : strcmp(name, "inverse sqrt") == 0 ? ur_schedule_inverse_sqrt(6)
                           : ur_schedule_constant());
        int reductions = 0;
        for (int t = 0; t < schedule_runs[r].n; t++) {
            if (!CHECK_NEAR(ur_lr(opt), schedule_runs[r].rate[t], 1e-14))
                printf("  %s, update %d\n", name, t);
            give_gradient(&p, t, 1);
            CHECK(ur_step(opt));
            if (plateau)
                reductions += ur_plateau_report(opt, (ur_plateau){ 0.5, 1e-3, 0.1, 2, 3 },
                                                losses[t % 20]);
        }
        CHECK_INT(reductions, plateau ? 3 : 0);
        ur_optim_free(opt);
        ur_params_free(p.ps);
    }
    CHECK_NEAR(ur_schedule_factor(ur_schedule_cosine(8, 30, 0.1), 1000), 0.1, 1e-15);
}

/* --------------------------------------------------------------------------------------- refusals */

TEST(a_step_needs_a_gradient)
{
    problem p = new_problem(UR_F32);
    ur_optim *opt = ur_optim_new(p.ps, ur_adam(0.1));
    double before = value(&p, 3);
    CHECK(!ur_step(opt));
    CHECK_HAS(ur_error(p.ps), "step: there is no fresh gradient");
    CHECK_NEAR(value(&p, 3), before, 0);
    CHECK_INT(ur_steps(opt), 0);
    ur_error_reset(p.ps);
    give_gradient(&p, 1, 1);
    CHECK(ur_step(opt));
    CHECK(!ur_gradient_ready(p.ps));
    CHECK(!ur_step(opt));
    CHECK_INT(ur_steps(opt), 1);
    ur_optim_free(opt);
    ur_params_free(p.ps);
}

TEST(a_gradient_that_is_not_finite_is_skipped)
{
    const double bad[] = { NAN, INFINITY, -INFINITY };
    for (int type = 0; type < 2; type++) {
        problem p = new_problem(type ? UR_F64 : UR_F32);
        ur_optim *opt = ur_optim_new(p.ps, ur_adam(0.1));
        ur_clip_norm(opt, 1);
        for (int k = 0; k < 6; k++) {
            double before = value(&p, k);
            give_gradient(&p, k, 1);
            set(&p, k % 2 ? OPTIM_N - 1 : 0, true, bad[k / 2]);
            CHECK(ur_step(opt));
            CHECK(!isfinite(ur_gradient_norm(opt)));
            CHECK(!ur_gradient_ready(p.ps));
            CHECK_NEAR(value(&p, k), before, 0);
        }
        CHECK_INT(ur_skipped(opt), 6);
        CHECK_INT(ur_steps(opt), 0);
        give_gradient(&p, 1, 1);
        CHECK(ur_step(opt));
        CHECK(isfinite(value(&p, 0)) && value(&p, 0) != start(0));
        ur_optim_free(opt);
        ur_params_free(p.ps);
    }
}

/* Squares of 1e200 have no place in a double, their norm has. */
TEST(a_norm_beyond_the_root_of_the_range)
{
    problem p = new_problem(UR_F64);
    ur_optim *opt = ur_optim_new(p.ps, ur_sgd(1));
    ur_clip_norm(opt, 5);
    give_gradient(&p, 1, 1);
    for (int i = 0; i < OPTIM_N; i++)
        set(&p, i, true, i == 4 ? 3e200 : i == 30 ? -4e200 : 0);
    CHECK(ur_step(opt));
    CHECK_NEAR(ur_gradient_norm(opt), 5e200, 1e185);
    CHECK_NEAR(value(&p, 4), start(4) - 3, 1e-12);
    CHECK_NEAR(value(&p, 30), start(30) + 4, 1e-12);
    ur_optim_free(opt);
    ur_params_free(p.ps);
}

TEST(settings_are_checked)
{
    static const struct {
        ur_method method;
        const char *text;
    } bad[] = {
        { { 0 }, "optim_new: the method is empty" },
        { { .lr = -1 }, "adam: lr is -1, but must lie in [0, " },
        { { .lr = NAN }, "adam: lr is " },
        { { .beta2 = 1 }, "adam: beta2 is 1, but must lie in [0, " },
        { { .weight_decay = INFINITY }, "adam: weight_decay is inf" },
        { { .eps = -1 }, "adam: eps is -1" },
        { { .nesterov = true }, "adam: nesterov needs a momentum above 0" },
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        problem p = new_problem(UR_F32);
        ur_method m = k ? ur_adam(0.1) : (ur_method){ 0 };
        const ur_method *b = &bad[k].method;
        m.lr = b->lr != 0 ? b->lr : m.lr;
        m.beta2 = b->beta2 != 0 ? b->beta2 : m.beta2;
        m.weight_decay = b->weight_decay;
        m.eps = b->eps != 0 ? b->eps : m.eps;
        m.nesterov = b->nesterov;
        CHECK(ur_optim_new(p.ps, m) == NULL);
        CHECK_HAS(ur_error(p.ps), bad[k].text);
        ur_params_free(p.ps);
    }
    CHECK(ur_optim_new(NULL, ur_sgd(1)) == NULL);
    CHECK(!ur_step(NULL));
    ur_optim_free(NULL);
}

TEST(settings_of_an_optimiser_are_checked)
{
    problem p = new_problem(UR_F32);
    ur_optim *opt = ur_optim_new(p.ps, ur_sgd(0.1));
#define FAILS(call, text) do { call; CHECK_HAS(ur_error(p.ps), text); ur_error_reset(p.ps); } while (0)
    FAILS(ur_group(opt, "a lstm.*", 1, 0), "group: no parameter is called \"lstm.*\"");
    FAILS(ur_group(opt, "a", -1, 0), "group: lr_factor -1 and weight_decay 0");
    FAILS(ur_group_list(opt, &(ur_node){ 0 }, 1, 1, 0), "group: node 1 of 1");
    FAILS(ur_set_schedule(opt, ur_schedule_cosine(5, 5, 0)), "schedule: cosine: 0 <= warmup");
    FAILS(ur_set_schedule(opt, ur_schedule_step(1, 0, 1)), "schedule: step: every >= 1");
    FAILS(ur_set_schedule(opt, ur_schedule_inverse_sqrt(0)), "schedule: inverse_sqrt: warmup >= 1");
    FAILS(ur_set_schedule(opt, (ur_schedule){ .kind = 99 }), "schedule: not made by");
    FAILS(ur_clip_norm(opt, -1), "clip_norm: max_norm is -1");
    FAILS(ur_clip_value(opt, NAN), "clip_value: max_value is");
    FAILS(ur_optim_scale(opt, INFINITY), "optim_scale: factor is inf");
    FAILS(ur_set_lr(opt, -2), "sgd: lr is -2");
#undef FAILS
    CHECK_NEAR(ur_lr(opt), 0.1, 0);
    ur_optim_free(opt);
    ur_params_free(p.ps);
}

/* ----------------------------------------------------------------------------------------- groups */

/* Groups by pattern and by list, beside each other in one store, against each parameter alone in a
 * store with settings of its own. One is frozen. */
TEST(groups_and_frozen_parameters)
{
    enum { N = 5, FROZEN = 2 };
    const char *names[N] = { "lstm.W", "lstm.b", "out.W", "out.b", "E" };
    const int size[N] = { 37, 5, 16, 1, 50 };
    const double factor[N] = { 2, 2, 1, 1, 0.5 }, decay[N] = { 0.1, 0, 0.01, 0, 0.2 };
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_node W[N];
    for (int k = 0; k < N; k++)
        W[k] = ur_param(ps, names[k], ur_uniform_between(-1, 1), size[k]);
    ur_optim *opt = no_momentum(ps, ur_adam(0.01), 0.01);
    CHECK_INT(ur_group(opt, "*.b", 1, 0), 2);
    CHECK_INT(ur_group(opt, "lstm.W", 2, 0.1), 1);
    CHECK_INT(ur_group_list(opt, &W[1], 1, 2, 0), 1);
    CHECK_INT(ur_group(opt, "  E  ", 0.5, 0.2), 1);
    ur_freeze(W[FROZEN], true);
    float start_of_frozen[16];
    memcpy(start_of_frozen, ur_param_values(W[FROZEN]), sizeof start_of_frozen);

    ur_params *alone[N];
    ur_optim *opt_alone[N];
    for (int k = 0; k < N; k++) {
        alone[k] = ur_params_new(UR_F32, 1);
        ur_node V = ur_param(alone[k], names[k], ur_constant(0), size[k]);
        memcpy(ur_param_values(V), ur_param_values(W[k]), sizeof(float) * (size_t)size[k]);
        opt_alone[k] = no_momentum(alone[k], ur_adam(0.01 * factor[k]), decay[k]);
    }
    for (int t = 0; t < 4; t++) {
        for (int k = 0; k < N; k++) {
            float *g = ur_param_gradient(ur_params_at(alone[k], 0));
            for (int i = 0; i < size[k]; i++)
                g[i] = (float)gradient(i + 3 * k, t);
            if (k != FROZEN)
                memcpy(ur_param_gradient(W[k]), g, sizeof *g * (size_t)size[k]);
            ur_gradients_changed(alone[k]);
            CHECK(ur_step(opt_alone[k]));
        }
        ur_gradients_changed(ps);
        CHECK(ur_step(opt));
    }
    CHECK_MEM(ur_param_values(W[FROZEN]), start_of_frozen, sizeof start_of_frozen);
    for (int k = 0; k < N; k++) {
        const float *x = ur_param_values(W[k]), *y = ur_param_values(ur_params_at(alone[k], 0));
        for (int i = 0; k != FROZEN && i < size[k]; i++)
            CHECK_NEAR(x[i], y[i], 1e-6);
        ur_optim_free(opt_alone[k]);
        ur_params_free(alone[k]);
    }
    ur_optim_free(opt);
    ur_params_free(ps);
}

/* ------------------------------------------------------------------------------------------ state */

static void copy_store(ur_params *to, ur_params *from)
{
    REQUIRE(ur_params_count(to) == ur_params_count(from));
    for (int k = 0; k < ur_params_count(to); k++) {
        ur_node a = ur_params_at(to, k), b = ur_params_at(from, k);
        REQUIRE(CHECK_STR(ur_param_name(a), ur_param_name(b)));
        memcpy(ur_param_values(a), ur_param_values(b),
               ur_count(a) * (ur_params_type(to) == UR_F64 ? 8 : 4));
    }
    ur_params_changed(to);
}

static void ten_steps(problem *p, ur_optim *opt, int from, int to)
{
    for (int t = from; t < to; t++) {
        give_gradient(p, t, 1);
        if (t == 3 || t == 7)
            set(p, 0, true, NAN);
        CHECK(ur_step(opt));
        ur_plateau_report(opt, (ur_plateau){ 0.5, 0, 0, 1, 1 }, t < 3 ? -t : 0);
    }
}

/* Ten steps at once; and five, new objects with copies of both stores, and five more. */
TEST(the_stores_are_all_there_is_to_resume)
{
    for (size_t r = 0; r < 2 * sizeof optim_runs / sizeof *optim_runs; r++) {
        const char *name = optim_runs[r / 2].name;
        problem whole = new_problem(r % 2 ? UR_F64 : UR_F32), half = new_problem(r % 2 ? UR_F64
                                                                                       : UR_F32);
        problem rest = new_problem(r % 2 ? UR_F64 : UR_F32);
        ur_optim *opt[] = { optimiser(name, whole.ps), optimiser(name, half.ps),
                            optimiser(name, rest.ps) };
        for (int k = 0; k < 3; k++)
            ur_set_schedule(opt[k], ur_schedule_exponential(0.9));
        ur_set_lr(opt[0], 0.03);
        ur_set_lr(opt[1], 0.03);
        ten_steps(&whole, opt[0], 0, 10);
        ten_steps(&half, opt[1], 0, 5);
        copy_store(rest.ps, half.ps);
        copy_store(ur_optim_state(opt[2]), ur_optim_state(opt[1]));
        ten_steps(&rest, opt[2], 5, 10);
        CHECK_INT(ur_steps(opt[2]), 8);
        CHECK_INT(ur_skipped(opt[2]), 2);
        CHECK_NEAR(ur_lr(opt[2]), ur_lr(opt[0]), 0);
        for (int i = 0; i < OPTIM_N; i++)
            CHECK_NEAR(value(&rest, i), value(&whole, i), 0);
        for (int k = 0; k < 3; k++)
            ur_optim_free(opt[k]);
        ur_params_free(whole.ps);
        ur_params_free(half.ps);
        ur_params_free(rest.ps);
    }
}

TEST_MAIN(T(methods_f64), T(methods_f32), T(schedules), T(a_step_needs_a_gradient),
          T(a_gradient_that_is_not_finite_is_skipped), T(a_norm_beyond_the_root_of_the_range),
          T(settings_are_checked), T(settings_of_an_optimiser_are_checked),
          T(groups_and_frozen_parameters), T(the_stores_are_all_there_is_to_resume))
