/* The graph itself: recording, runs, reads, sections, reruns, states, plans. */
#include <stdlib.h>
#include "graph/plan/plan.h"
#include "test.h"
#include "unroll/unroll.h"

static double *doubles(size_t n, double scale)
{
    static double x[100000];
    for (size_t i = 0; i < n; i++)
        x[i] = scale * (2 * test_uniform() - 1);
    return x;
}

TEST(runs_lazily_and_reads)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_node x = ur_input(g, ((double[]){ 1, 2, 3 }), 3);
    ur_node y = ur_square(x), z = ur_sum(y);
    CHECK_INT(ur_stats(g).plans_made, 0);
    CHECK_NEAR(ur_value(z), 14, 1e-15);
    CHECK_INT(ur_stats(g).plans_made, 1);
    double v[3];
    REQUIRE(ur_read(y, v, 3));          /* not kept: computed again */
    CHECK_NEAR(v[2], 9, 0);
    ur_set(x, (double[]){ 2, 2, 2 });
    REQUIRE(ur_rerun(g));
    CHECK_NEAR(ur_value(z), 12, 0);
    CHECK_NEAR(ur_value(z), 12, 0);
    CHECK(!ur_error(g));
    ur_graph_free(g);
}

/* Whether or not the plan for it was made before. */
TEST(refuses_a_value_that_changed)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    for (int k = 0; k < 5; k++) {
        ur_node x = ur_input(g, ((double[]){ 1, 2 }), 2);
        ur_node y = ur_square(x), z = ur_sum(y);
        double v[2];
        CHECK_NEAR(ur_value(z), 5, 0);
        if (k % 2 == 0) {
            ur_set(x, (double[]){ 3, 3 });
            CHECK(!ur_read(y, v, 2));
            CHECK_HAS(ur_error(g), "ur_keep");
            ur_error_reset(g);
        } else if (CHECK(ur_read(y, v, 2))) {
            CHECK_NEAR(v[1], 4, 0);
        }
        ur_clear(g);
    }
    ur_graph_free(g);
}

/* Reading in the middle, then going on with what was read and with what was not. */
TEST(sections)
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_node W = ur_param(ps, "W", ur_xavier(), 4, 4);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    double whole = 0, parts = 0, gw[16], gp[16];
    for (int split = 0; split < 2; split++) {
        ur_clear(g);
        test_now.random = 7;
        ur_node x = ur_input(g, doubles(8, 1), 2, 4);
        ur_node a = ur_tanh(ur_matmul(x, W)), b = ur_tanh(ur_matmul(a, W));
        if (split) {
            CHECK(ur_value(ur_sum(b)) == ur_value(ur_sum(b)));
            CHECK_INT((int)g->n_sections, 2);
        }
        ur_node loss = ur_sum(ur_square(ur_add(ur_matmul(b, W), a)));
        ur_backward(loss);
        REQUIRE(ur_run(g));
        *(split ? &parts : &whole) = ur_value(loss);
        memcpy(split ? gp : gw, ur_param_gradient(W), sizeof gw);
        ur_gradient_used(ps);
    }
    CHECK_NEAR(parts, whole, 1e-12);
    for (int i = 0; i < 16; i++)
        CHECK_NEAR(gp[i], gw[i], 1e-12);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(states_chain_over_replays)
{
    ur_params *st = ur_params_new(UR_F64, 1);
    ur_param(st, "h", ur_constant(0), 2, 1);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_node h;
    REQUIRE(ur_state_in(g, st, &h));
    h = ur_shift(ur_scale(h, 2), 1);
    REQUIRE(ur_state_out(st, &h));
    for (int i = 0; i < 4; i++)
        REQUIRE(ur_rerun(g));
    const double *v = ur_values(st);
    CHECK_NEAR(v[0], 15, 0);
    REQUIRE(ur_state_reset(st, 1));
    REQUIRE(ur_rerun(g));
    CHECK_NEAR(v[0], 31, 0);
    CHECK_NEAR(v[1], 1, 0);
    ur_clear(g);
    h = ur_zeros(g, 3, 1);
    CHECK(!ur_state_out(st, &h));
    CHECK_HAS(ur_error(g), "[2,1]");
    ur_graph_free(g);
    ur_params_free(st);
}

TEST(stale_and_foreign_nodes)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN), *other = ur_graph_new(UR_F64, UR_TRAIN);
    ur_node x = ur_zeros(g, 2), y = ur_zeros(other, 2);
    ur_clear(g);
    ur_node z = ur_zeros(g, 2);
    CHECK(ur_is_nil(ur_add(z, x)));
    CHECK_HAS(ur_error(g), "cleared");
    CHECK(!ur_run(g));
    ur_error_reset(g);
    CHECK(ur_is_nil(ur_add(z, y)));
    CHECK_HAS(ur_error(g), "two graphs");
    ur_error_reset(g);
    CHECK(ur_is_nil(ur_add(z, (ur_node){ 0 })));
    CHECK_HAS(ur_error(g), "nil");
    ur_graph_free(g);
    ur_graph_free(other);
}

/* One elman over T steps, its gradients into grad. */
static double elman(ur_graph *g, ur_params *ps, int T, double *grad)
{
    enum { B = 3, I = 5, H = 7 };
    test_now.random = 99;
    ur_clear(g);
    ur_node x = ur_input(g, doubles((size_t)T * B * I, 1), T, B, I), h = ur_zeros(g, B, H), y[64];
    ur_node W = ur_find(ps, "W"), b = ur_find(ps, "b");
    for (int t = 0; t < T; t++) {
        ur_scope_begin(g, "elman", t);
        y[t] = h = ur_tanh(ur_affine(ur_concat(h, ur_index(x, 0, t)), W, b));
        ur_scope_end(g);
    }
    ur_node loss = ur_mean(ur_square(ur_stack(y, T)));
    ur_backward(loss);
    double v = ur_value(loss);
    memcpy(grad, ur_gradients(ps), sizeof(double) * ps->padded);
    ur_gradient_used(ps);
    return v;
}

/* Any subset of the rewrites gives the same numbers. */
TEST(rewrites_change_nothing)
{
    static const char *const name[] = { "batch", "hoist", "split", "swap", "mmerge", "kmerge",
                                        "nmerge", "fuse", "recompute", "chunk", "band", "views",
                                        "accumulate", "pack", "schedule", "memory" };
    enum { N = sizeof name / sizeof *name };
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_param(ps, "W", ur_xavier(), 12, 7);
    ur_param(ps, "b", ur_uniform_between(-1, 1), 7);
    double first[500], grad[500], loss = 0;
    for (int off = 0; off < 1 << N; off += 771) {
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        for (int k = 0; k < N; k++)
            CHECK(ur_rewrite(g, name[k], !(off >> k & 1)));
        CHECK(!ur_rewrite(g, "nonsense", true));
        for (int T = 5; T < 20; T += 9) {
            double v = elman(g, ps, T, T == 5 && off == 0 ? first : grad);
            CHECK(!ur_error(g));
            if (T == 5 && off == 0)
                loss = v;
            if (T != 5 || off == 0)
                continue;
            CHECK_NEAR(v, loss, 1e-14);
            for (size_t i = 0; i < ps->padded; i++)
                CHECK_NEAR(grad[i], first[i], 1e-14);
        }
        ur_graph_free(g);
    }
    ur_params_free(ps);
}

/* Weights of classes are read as a whole, also where there are as many of them as rows, of which a
 * band takes some at a time. */
TEST(bands_read_all_class_weights)
{
    enum { N = 33, K = 5 };
    const ur__limits usual = ur__limit;
    ur__limit = (ur__limits){ .thin = 1, .times = 1, .step_rows = 1000, .chunk_rows = 3,
                              .band_rows = 4, .block_rows = 3 };
    double x[N * K], W[K * N], v[N], loss[2];
    int32_t label[N];
    for (int i = 0; i < N * K; i++)
        x[i] = test_uniform(), W[i] = test_uniform();
    for (int i = 0; i < N; i++)
        v[i] = test_uniform(), label[i] = N - 1 - i;
    for (int band = 0; band < 2; band++) {
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        g->off = ~(band ? 1u << UR__BIT_band : 0u);
        ur_node logits = ur_matmul(ur_input(g, x, N, K), ur_input(g, W, K, N));
        ur_node weights = ur_exp(ur_input(g, v, N));
        ur_node l = ur_cross_entropy_with(logits, ur_ints(g, label, N), UR_IGNORE, 0.1, weights,
                                          UR_MEAN);
        loss[band] = ur_value(l);
        CHECK((g->last_plan->merged[UR__BIT_band] > 0) == band);
        ur_graph_free(g);
    }
    ur__limit = usual;
    CHECK_NEAR(loss[1], loss[0], 1e-12);
}

/* A name that is none would leave on what somebody looks for a fault in. */
TEST(the_environment_switches_off)
{
    static const struct { const char *list, *unknown; } cases[] = {
        { "", NULL }, { "fuse,kmerge", NULL }, { ",views,", NULL }, { "fuze", "\"fuze\"" },
        { "fuse,kmerg,views", "\"kmerg\"" }, { "fuse, views", "\" views\"" },
    };
    const char *before = getenv("UR_OFF");
    char old[200] = "";
    snprintf(old, sizeof old, "%s", before ? before : "");
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        setenv("UR_OFF", cases[k].list, 1);
        ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
        CHECK(!ur_error(g) == !cases[k].unknown);
        if (cases[k].unknown)
            CHECK_HAS(ur_error(g), cases[k].unknown);
        CHECK((g->off != 0) == (strchr(cases[k].list, 's') != NULL));
        ur_graph_free(g);
    }
    setenv("UR_OFF", old, 1);
}

TEST(plans_are_cached_and_bounded)
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_param(ps, "W", ur_xavier(), 12, 7);
    ur_param(ps, "b", ur_constant(0), 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    double grad[500];
    for (int round = 0; round < 3; round++)
        for (int T = 2; T < 6; T++)
            elman(g, ps, T, grad);
    CHECK_INT(ur_stats(g).plans_made, 4);
    CHECK_INT(ur_stats(g).plans_cached, 4);
    ur_plan_cache_limit(g, 1);
    CHECK_INT(ur_stats(g).plans_cached, 1);
    elman(g, ps, 3, grad);
    elman(g, ps, 2, grad);
    CHECK_INT(ur_stats(g).plans_made, 6);
    CHECK(!ur_error(g));
    ur_graph_free(g);
    ur_params_free(ps);
}

enum { LONGEST = 40 };

/* Plans made in so many rounds of tapes of 2 to LONGEST steps. */
static void count_plans(size_t limit, int rounds, size_t made[])
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_param(ps, "W", ur_xavier(), 12, 7);
    ur_param(ps, "b", ur_constant(0), 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    double grad[500];
    if (limit)
        ur_plan_cache_limit(g, limit);
    for (int round = 0; round < rounds; round++) {
        for (int T = 2; T <= LONGEST; T++)
            elman(g, ps, T, grad);
        made[round] = ur_stats(g).plans_made;
    }
    CHECK_INT(made[0], LONGEST - 1);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(plans_that_come_again_get_more_room)
{
    size_t made[6] = { 0 };
    count_plans((size_t)16 << 20, 6, made);     /* new plans have a 64th of it */
    CHECK(made[1] > made[0]);                   /* else they had room enough from the start */
    CHECK_INT(made[5], made[4]);
}

/* After many new tapes in a row plans cannot be found again, but those of tapes that come again. */
TEST(plans_of_new_tapes_are_kept_when_they_come_again)
{
    size_t made[3] = { 0 };
    count_plans(0, 3, made);
    CHECK(made[1] > made[0] && made[1] < 2 * made[0]);
    CHECK_INT(made[2], made[1]);
}

TEST(watch_names_the_culprit)
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_param(ps, "W", ur_constant(1), 2, 2);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_watch(g, true);
    ur_node x = ur_input(g, ((double[]){ 1, -2 }), 1, 2), h = x;
    for (int t = 0; t < 3; t++) {
        ur_scope_begin(g, "cell", t);
        h = ur_log(ur_matmul(h, ur_find(ps, "W")));
        ur_scope_end(g);
    }
    ur_node loss = ur_sum(h);
    ur_backward(loss);
    CHECK(!ur_run(g));
    CHECK_HAS(ur_error(g), "log");
    CHECK_HAS(ur_error(g), "cell, t=0");
    CHECK(!ur_gradient_ready(ps));
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(prints_and_draws)
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_param(ps, "W", ur_xavier(), 12, 7);
    ur_param(ps, "b", ur_constant(0), 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    double grad[500];
    elman(g, ps, 4, grad);
    char text[40000] = "";
    FILE *f = tmpfile();
    REQUIRE(f != NULL);
    CHECK(ur_print_plan(g, f));
    CHECK(ur_print_dot(g, f));
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    CHECK_HAS(text, "4 terms, into the gradient");
    CHECK_HAS(text, "kmerge     8 products merged; saves ");
    const char *layer = strstr(text, "label=\"elman\""), *step = strstr(text, "label=\"t=3\"");
    CHECK(layer && step && layer < step);       /* each layer a cluster, with one for each step */
    CHECK(!strstr(text, "label=\"t=4\""));
    fclose(f);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST_MAIN(T(runs_lazily_and_reads), T(refuses_a_value_that_changed), T(sections),
          T(states_chain_over_replays), T(stale_and_foreign_nodes), T(rewrites_change_nothing),
          T(bands_read_all_class_weights),
          T(the_environment_switches_off), T(plans_are_cached_and_bounded),
          T(plans_that_come_again_get_more_room),
          T(plans_of_new_tapes_are_kept_when_they_come_again),
          T(watch_names_the_culprit), T(prints_and_draws))
