/* Every request for memory refused in turn: whatever the library was doing, the outcome is an
 * ordinary error, "out of memory", that sticks to a graph or a store. Nothing is lost, parameters
 * and states keep their values, and after a reset the program goes on. */
#include <stdlib.h>
#include "tests/counting.h"
#include "tests/test.h"
#include "unroll/unroll.h"

/* What the last program said when it failed; programs note it before they free what has it. */
static char said[700];

static void note(const void *graph_or_store)
{
    const char *e = ur_error(graph_or_store);
    if (e && !said[0])
        snprintf(said, sizeof said, "%s", graph_or_store ? e : "out of memory");
}

/* ------------------------------------------------------------------------------ a training step */

enum { V = 7, T = 3, B = 2, H = 4, PARAMS = 11 };

/* A character model with carried state, clipping and Adam. */
typedef struct model {
    ur_params *ps, *states;
    ur_embedding embed;
    ur_cell *rnn;
    ur_linear_layer out;
    ur_optim *opt;
    ur_graph *g;
} model;

/* Whatever could not be made stays NULL; false then. */
static bool make(model *m)
{
    *m = (model){ .ps = ur_params_new(UR_F32, 1) };
    m->embed = ur_embedding_new(m->ps, "embed", V, H);
    m->rnn = ur_lstm(m->ps, "lstm", H, H);
    m->out = ur_linear_new(m->ps, "out", H, V);
    m->states = ur_cell_states(m->rnn, B);
    m->opt = ur_optim_new(m->ps, ur_adam(1e-2));
    m->g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_clip_norm(m->opt, 5);
    return m->ps && m->states && m->opt && m->g && !ur_error(m->ps) && !ur_error(m->states);
}

static void drop(model *m)
{
    note(m->ps), note(m->states), note(m->g);
    ur_graph_free(m->g);
    ur_optim_free(m->opt);
    ur_params_free(m->states);
    ur_params_free(m->ps);
}

static bool train(model *m)
{
    int32_t x[T * B], y[T * B];
    for (int i = 0; i < T * B; i++)
        x[i] = 3 * i % V, y[i] = (3 * i + 5) % V;
    ur_node s[2];
    ur_clear(m->g);
    ur_state_in(m->g, m->states, s);
    ur_node h = ur_unroll(m->rnn, ur_embed(m->embed, ur_ints(m->g, x, T, B)), s);
    ur_backward(ur_cross_entropy(ur_linear(m->out, h), ur_ints(m->g, y, T, B)));
    ur_state_out(m->states, s);
    return ur_run(m->g) && ur_step(m->opt);
}

static size_t bytes_of(ur_params *ps)
{
    size_t n = 0;
    for (int k = 0; k < ur_params_count(ps); k++)
        n += ur_count(ur_params_at(ps, k)) * (ur_params_type(ps) == UR_F64 ? 8 : 4);
    return n;
}

/* The values of all parameters, one behind the other. */
static void snapshot(ur_params *ps, char *out)
{
    for (int k = 0; k < ur_params_count(ps); k++) {
        ur_node W = ur_params_at(ps, k);
        size_t n = ur_count(W) * (ur_params_type(ps) == UR_F64 ? 8 : 4);
        memcpy(out, ur_param_values(W), n);
        out += n;
    }
}

enum { BYTES = 4096 };
static struct { char params[BYTES], states[BYTES]; } before, after, now;

/* A model is as it was before its step, or as after it. */
static void check_values(model *m, bool stepped)
{
    snapshot(m->ps, now.params);
    snapshot(m->states, now.states);
    CHECK_MEM(now.params, stepped ? after.params : before.params, bytes_of(m->ps));
    CHECK_MEM(now.states, stepped ? after.states : before.states, bytes_of(m->states));
}

static void starve_training(long n)
{
    model m;
    counting_begin(n);
    bool made = make(&m), ok = made && train(&m);
    long failed = counting.failed;
    counting.fail_at = 0;
    CHECK(ok || failed);                /* a refusal may be made good by asking for less */
    if (!ok) {
        note(m.ps), note(m.states), note(m.g);
        CHECK_HAS(said, "out of memory");
    }
    ur_error_reset(m.ps), ur_error_reset(m.states), ur_error_reset(m.g);
    if (made && ur_params_count(m.ps) == PARAMS && ur_params_count(m.states) == 2) {
        check_values(&m, ok);
        if (!ok && CHECK(train(&m)))
            check_values(&m, true);
    }
    drop(&m);
}

TEST(a_training_step)
{
    model m;
    REQUIRE(make(&m) && bytes_of(m.ps) <= BYTES);
    snapshot(m.ps, before.params);
    snapshot(m.states, before.states);
    REQUIRE(train(&m));
    snapshot(m.ps, after.params);
    snapshot(m.states, after.states);
    CHECK(memcmp(before.params, after.params, bytes_of(m.ps)) != 0);
    CHECK(memcmp(before.states, after.states, bytes_of(m.states)) != 0);
    drop(&m);

    long n = 0;
    do {
        said[0] = 0;
        starve_training(++n);
        CHECK_INT(counting.blocks, 0);
        CHECK_INT(counting.wrong, 0);
    } while (counting.failed && n < 5000 && test_now.failures == 0);
    CHECK(n > 50 && n < 5000);
    counting_end();
}

/* ----------------------------------------------------------------------------- whole programs */

/* Rows of different lengths, dropout, sampling; reads in the middle, reruns, drawings. */
static bool generate(void)
{
    ur_params *ps = ur_params_new(UR_F32, 3);
    ur_cell *cells[2] = { ur_gru(ps, "bottom", 3, 4), ur_gru_reset_after(ps, "top", 4, 5) };
    ur_cell *rnn = ur_stacked("stack", cells, 2, 0.3);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    FILE *to = fopen("/dev/null", "w");
    ur_node s[2] = { { 0 } }, all[2] = { { 0 } }, y, ids;
    bool ok = to && ur_cell_zero_states(g, rnn, 3, s);
    ur_node x = ur_noise_normal(g, 1, 6, 3, 3);
    y = ur_unroll_states(rnn, x, ((int[]){ 4, 0, 6 }), s, all);
    ok = ok && ur_data(ur_mean(y));
    ids = ur_sample(ur_reshape(ur_concat(y, ur_dropout(all[1], 0.5)), -1, 10), 0.7, 3, 0.9);
    ok = ok && ur_data(ids) && ur_rerun(g) && ur_print_plan(g, to) && ur_print_dot(g, to);
    note(ps), note(g);
    if (to)
        fclose(to);
    ur_graph_free(g);
    ur_params_free(ps);
    return ok;
}

/* Derivatives of derivatives, in double, of an operation with many operands; batches of products;
 * two plans that do not fit the cache together; parameters of another precision. */
static bool differentiate_twice(void)
{
    ur_params *ps = ur_params_new(UR_F64, 3), *single = ur_params_new(UR_F32, 3);
    ur_node W = ur_param(ps, "W", ur_orthogonal(1), 4, 4);
    ur_node b = ur_param(single, "b", ur_normal_with(0, 1), 4);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_watch(g, true);
    ur_plan_cache_limit(g, 1);
    bool ok = true;
    for (int round = 0; ok && round < 2; round++) {
        double data[2 * 3 * 4];
        ur_node many[20], x, y, dx, ddx;
        ur_clear(g);
        for (int i = 0; i < 24; i++)
            data[i] = i / 24.0;
        x = ur_named(ur_input(g, data, 2, 3, 4), "x");
        for (int i = 0; i < 20; i++)
            many[i] = ur_affine(x, W, b);
        y = ur_tanh(ur_concat_n(many, 19 + round, -1));
        y = ur_matmul_with(y, ur_softmax(y), false, true);
        ok = ur_grad(&y, NULL, 1, &x, 1, &dx);
        dx = ur_sum(ur_square(dx));
        ok = ok && ur_grad(&dx, NULL, 1, &x, 1, &ddx) && !ur_is_nil(ur_backward(dx)) && ur_run(g) &&
             ur_data(ddx);
    }
    note(ps), note(single), note(g);
    ur_graph_free(g);
    ur_params_free(single);
    ur_params_free(ps);
    return ok;
}

/* The hunt for a NaN plans and runs once more. */
static bool hunt(void)
{
    ur_params *ps = ur_params_new(UR_F32, 3);
    ur_node W = ur_param(ps, "W", ur_constant(-1), 4);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_watch(g, true);
    ur_backward(ur_sum(ur_log(ur_use(g, W))));
    ur_run(g);
    note(ps), note(g);
    bool found = strstr(said, "log: the result is not finite") != NULL;
    ur_graph_free(g);
    ur_params_free(ps);
    return found;
}

/* Every optimiser with everything that it can keep. */
static bool optimise(void)
{
    bool ok = true;
    for (int k = 0; ok && k < 6; k++) {
        ur_method method = k == 0   ? ur_sgd(0.1)
                           : k == 1 ? ur_adagrad(0.1)
                           : k == 2 ? ur_adadelta(1)
                           : k == 3 ? ur_rmsprop(0.1)
                           : k == 4 ? ur_adam(0.1)
                                    : ur_adamw(0.1);
        method.momentum = k == 0 || k == 3 ? 0.9 : 0;
        method.centred = k == 3;
        ur_params *ps = ur_params_new(UR_F64, 3);
        ur_node E = ur_param(ps, "E", ur_he(), 9, 2), W = ur_param(ps, "W", ur_identity(1), 2, 2);
        ur_optim *opt = ur_optim_new(ps, method);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        ok = ur_group(opt, "W", 2, 0.01) == 1;
        ur_node rows = ur_gather(E, ur_ints(g, ((int32_t[]){ 8, 1, 1 }), 3));
        ur_backward(ur_sum(ur_square(ur_matmul(rows, W))));
        ok = ok && ur_run(g) && ur_step(opt) && ur_rerun(g) && ur_step(opt);
        note(ps), note(g);
        ur_graph_free(g);
        ur_optim_free(opt);
        ur_params_free(ps);
    }
    return ok;
}

/* The gradient check makes graphs of its own and tells in its report. */
static bool check(void)
{
    ur_params *ps = ur_params_new(UR_F32, 3);
    ur_cell *rnn = ur_elman(ps, "elman", 2, 2);
    ur_report r = ur_check_cell(rnn, .T = 2, .B = 1, .order = 2);
    note(ps);
    if (r.status != UR_CHECK_PASSED && !said[0])
        snprintf(said, sizeof said, "%s", r.why);
    bool ok = r.status == UR_CHECK_PASSED;
    CHECK(ok || r.status == UR_CHECK_ERROR);
    ur_report_free(&r);
    ur_params_free(ps);
    return ok;
}

/* What could not be made is NULL, and may be handed on. */
TEST(no_graph_can_be_used)
{
    const ur_node nil = { 0 };
    ur_node s[1], y;
    ur_graph *g = NULL;
    ur_params *ps = NULL;
    float x = 0;
    ur_clear(g), ur_seed(g, 1), ur_set_run_number(g, 1), ur_set_threads(g, 2), ur_watch(g, true);
    ur_plan_cache_limit(g, 1), ur_scope_begin(g, "a", 0), ur_scope_end(g);
    CHECK(!ur_run(g) && !ur_rerun(g) && !ur_rewrite(g, "fuse", true));
    CHECK(ur_mode(g) == UR_INFER && ur_precision(g) == UR_F32 && ur_run_number(g) == 0);
    CHECK_INT(ur_stats(g).nodes, 0);
    CHECK(!ur_print_plan(g, stdout) && !ur_print_dot(g, stdout));
    y = ur_tanh(ur_add(ur_input(g, &x, 1), ur_scalar(g, 1)));
    y = ur_concat(ur_matmul(ur_zeros(g, 1, 1), y), ur_use(g, nil));
    y = ur_cross_entropy(ur_dropout(y, 0.1), ur_ints(g, NULL, 1));
    y = ur_mean(ur_add(y, ur_noise_normal(g, 1, 2)));
    CHECK(ur_is_nil(y) && ur_is_nil(ur_backward(y)) && ur_is_nil(ur_detach(y)));
    CHECK(!ur_grad(&nil, NULL, 1, &nil, 1, &y) && !ur_state_in(g, ps, s) && !ur_state_out(ps, s));
    CHECK(!ur_set(y, &x) && !ur_set_scalar(y, 1) && !ur_read(y, &x, 1) && !ur_data(y));
    CHECK(ur_value(y) != ur_value(y) && ur_int(y) == -1 && ur_is_nil(ur_keep(ur_named(y, "y"))));
    CHECK(!ur_graph_of(y) && ur_shape_of(y).rank == -1 && ur_dim(y, 0) == -1 && !ur_count(y));
    ur_error_reset(NULL), ur_graph_free(g);
}

TEST(no_store_can_be_used)
{
    const ur_node nil = { 0 };
    ur_node s[1], y = nil;
    ur_params *ps = NULL;
    char out[4];
    CHECK(ur_is_nil(ur_param(ps, "W", ur_xavier(), 2, 2)) && ur_is_nil(ur_find(ps, "W")));
    CHECK_STR(ur_namef(ps, "W%d", 1), "");
    CHECK(!ur_params_alloc(ps, 1) && !ur_params_count(ps) && !ur_params_elements(ps));
    CHECK(ur_is_nil(ur_params_at(ps, 0)) && !ur_param_name(nil) && !ur_param_values(nil));
    CHECK(!ur_param_gradient(nil) && !ur_is_frozen(nil) && !ur_values(ps) && !ur_gradients(ps));
    CHECK(ur_params_type(ps) == UR_F32 && !ur_gradient_ready(ps) && !ur_state_reset(ps, -1));
    CHECK(!ur_save("x", &ps, 1, NULL, 0) && !ur_load("x", &ps, 1, true, NULL));
    CHECK(!ur_load_metadata(NULL, "k", out, sizeof out, NULL, 0));
    ur_freeze(nil, true), ur_params_changed(ps), ur_gradients_changed(ps), ur_gradient_used(ps);

    ur_cell *cells[2] = { ur_lstm(ps, "lstm", 2, 3), ur_gru(ps, "gru", 3, 2) };
    ur_cell *stack = ur_stacked("stack", cells, 2, 0);
    CHECK(stack && !ur_cell_usable(stack) && !ur_cell_states(stack, 2));
    CHECK(ur_is_nil(ur_unroll(stack, y, NULL)) && ur_is_nil(ur_cell_apply(stack, 0, y, s)));
    CHECK(ur_is_nil(ur_linear(ur_linear_new(ps, "out", 2, 3), y)));
    CHECK(ur_is_nil(ur_embed(ur_embedding_new(ps, "embed", 2, 3), y)));

    ur_optim *opt = ur_optim_new(ps, ur_adam(1));
    CHECK(!opt && !ur_step(opt) && !ur_steps(opt) && !ur_skipped(opt) && !ur_optim_state(opt));
    CHECK(ur_gradient_norm(opt) == 0 && ur_lr(opt) == 0 && !ur_group(opt, "W", 1, 0));
    ur_optim_scale(opt, 1), ur_clip_norm(opt, 1), ur_clip_value(opt, 1), ur_set_lr(opt, 1);
    ur_set_schedule(opt, ur_schedule_constant());
    CHECK(!ur_plateau_report(opt, ur_plateau_defaults(), 1));
    CHECK_HAS(ur_error(NULL), "out of memory");
    ur_error_reset(NULL), ur_params_free(ps), ur_optim_free(opt);
}

static void starve(bool (*program)(void), long most)
{
    long n = 1, step = 1;
    for (;; n += step) {
        said[0] = 0;
        counting_begin(n);
        bool ok = program();
        long failed = counting.failed;
        counting_end();
        if (!ok && !CHECK_HAS(said, "out of memory"))
            printf("  request %ld\n", n);
        CHECK(ok || failed);
        CHECK_INT(counting.blocks, 0);
        CHECK_INT(counting.wrong, 0);
        if (!failed || test_now.failures)
            break;
        step = 1 + n / 200;             /* late requests are mostly alike */
    }
    CHECK(n > 20 && n < most);
}

TEST(a_program_that_generates) { starve(generate, 5000); }
TEST(a_program_that_differentiates_twice) { starve(differentiate_twice, 5000); }
TEST(a_program_that_hunts) { starve(hunt, 1000); }
TEST(a_program_that_optimises) { starve(optimise, 5000); }
TEST(a_program_that_checks_gradients) { starve(check, 20000); }

TEST_MAIN(T(a_training_step), T(a_program_that_generates), T(a_program_that_differentiates_twice),
          T(a_program_that_hunts), T(a_program_that_optimises), T(a_program_that_checks_gradients),
          T(no_graph_can_be_used), T(no_store_can_be_used))
