/* Optimisers, clipping and schedules against PyTorch's numbers in reference/optim.h; refusals. */
#include "tests/optimisers.h"

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

/* ------------------------------------------------------------------------------------- refusals */

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
#define FAILS(call, text)                                                                          \
    do {                                                                                           \
        call;                                                                                      \
        CHECK_HAS(ur_error(p.ps), text);                                                           \
        ur_error_reset(p.ps);                                                                      \
    } while (0)
    FAILS(ur_group(opt, "a lstm.*", 1, 0), "group: no parameter is called \"lstm.*\"");
    FAILS(ur_group(opt, "a*a", 1, 0), "group: no parameter is called \"a*a\"");
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

TEST_MAIN(T(methods_f64), T(methods_f32), T(schedules), T(a_step_needs_a_gradient),
          T(a_gradient_that_is_not_finite_is_skipped), T(a_norm_beyond_the_root_of_the_range),
          T(settings_are_checked), T(settings_of_an_optimiser_are_checked))
