/* Groups of parameters, and what an optimiser must carry over into a resumed program. */
#include "tests/optimisers.h"
#include "unroll/ops.h"

/* --------------------------------------------------------------------------------------- groups */

static void one_step(ur_optim *opt, ur_params *ps)
{
    ur_gradients_changed(ps);
    CHECK(ur_step(opt));
}

/* Groups by pattern and by list, beside each other in one store, against each parameter alone in a
 * store with settings of its own. One is frozen. */
TEST(groups_and_frozen_parameters)
{
    enum { N = 7, FROZEN = 3 };
    const char *names[N] = { "lstm.W", "lstm.b", "in.W", "out.W", "last.W", "out.b", "E" };
    const int size[N] = { 3000, 5, 1200, 16, 3, 1, 5000 };
    const double factor[N] = { 2, 2, 1, 1, 1, 1, 0.5 };
    const double decay[N] = { 0.1, 0, 0.01, 0, 0.01, 0, 0.2 };
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
            one_step(opt_alone[k], alone[k]);
        }
        one_step(opt, ps);
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

/* ---------------------------------------------------------------------------------------- state */

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

/* An embedding's gradient is walked by rows where that is the same, and gives the same. */
TEST(rows_of_an_embedding)
{
    const ur_method method[4] = { ur_sgd(0.1), ur_adagrad(0.1), ur_adam(0.1), ur_sgd(0.1) };
    for (int k = 0; k < 4; k++) {
        ur_params *ps[2];
        ur_node E[2];
        ur_optim *opt[2];
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        for (int dense = 0; dense < 2; dense++) {
            ps[dense] = ur_params_new(UR_F64, 1);
            E[dense] = ur_param(ps[dense], "E", ur_uniform_between(-1, 1), 50, 3);
            ur_param(ps[dense], "W", ur_uniform_between(-1, 1), 5);
            ur_method m = method[k];
            m.weight_decay = k == 3 ? 0.1 : 0;
            opt[dense] = ur_optim_new(ps[dense], m);
            ur_clip_norm(opt[dense], 0.5);
        }
        for (int t = 0; t < 3; t++)
            for (int dense = 0; dense < 2; dense++) {
                int32_t id[4] = { 7 * t, 7 * t + 1, 30, 30 };
                ur_clear(g);
                ur_backward(ur_sum(ur_square(ur_gather(E[dense], ur_ints(g, id, 4)))));
                REQUIRE(ur_run(g));
                size_t n;
                CHECK(ur_param_rows(E[dense], &n) && n == 3);
                if (dense)
                    ur_gradients_changed(ps[1]);
                CHECK(!dense || !ur_param_rows(E[1], &n));
                REQUIRE(ur_step(opt[dense]));
            }
        CHECK_NEAR(ur_gradient_norm(opt[0]), ur_gradient_norm(opt[1]), 1e-15);
        const double *a = ur_values(ps[0]), *b = ur_values(ps[1]);
        for (size_t i = 0; i < 150; i++)
            CHECK_NEAR(a[i], b[i], 1e-15);
        for (int dense = 0; dense < 2; dense++)
            ur_optim_free(opt[dense]);
        ur_graph_free(g);
        for (int dense = 0; dense < 2; dense++)
            ur_params_free(ps[dense]);
    }
}

TEST_MAIN(T(rows_of_an_embedding), T(groups_and_frozen_parameters),
          T(the_stores_are_all_there_is_to_resume))
