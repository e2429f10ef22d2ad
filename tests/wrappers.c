/* Wrappers of cells against what they wrap, and initial states that are learnt. */
#include "tests/cells.h"
#include "tests/counting.h"

enum { MANY = 40, STEPS = 3, STATE = B * MANY };

/* States after every step of a zoneout cell, and what the plain cell makes of those before. */
typedef struct zoned {
    double start[2][STATE], after[2][STEPS][STATE], plain[2][STEPS][STATE], y[STEPS][STATE];
} zoned;

static void run_zoned(const ur_cell *zone, const ur_cell *cell, ur_graph *g, zoned *z)
{
    double x[STEPS * B * I];
    ur_node s[2], all[2];
    ur_graph *other = ur_graph_new(UR_F64, UR_INFER);
    fill(x, STEPS * B * I);
    fill(z->start[0], 2 * STATE);
    ur_clear(g);
    for (int k = 0; k < 2; k++)
        s[k] = ur_input(g, z->start[k], B, MANY);
    ur_node y = ur_unroll_states(zone, ur_input(g, x, STEPS, B, I), NULL, s, all);
    REQUIRE(ran(g));
    CHECK(ur_read(y, z->y[0], STEPS * STATE));
    for (int k = 0; k < 2; k++)
        CHECK(ur_read(all[k], z->after[k][0], STEPS * STATE));
    for (int t = 0; t < STEPS; t++) {
        ur_clear(other);
        for (int k = 0; k < 2; k++)
            s[k] = ur_input(other, t ? z->after[k][t - 1] : z->start[k], B, MANY);
        ur_cell_apply(cell, t, ur_input(other, x + t * B * I, B, I), s);
        for (int k = 0; k < 2; k++)
            CHECK(ur_read(s[k], z->plain[k][t], STATE));
    }
    ur_graph_free(other);
}

TEST(zoneout_keeps_units)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_cell *cell = ur_lstm(ps, "lstm", I, MANY);
    ur_cell *zone = ur_zoneout(cell, (double[]){ 0.3, 0.6 });
    static zoned z;
    CHECK_INT(zone->n_states, 2);
    CHECK_STR(zone->name, "lstm");
    run_zoned(zone, cell, g, &z);
    int kept[2][STEPS] = { { 0 } }, as_before = 0;
    for (int k = 0; k < 2; k++)
        for (int t = 0; t < STEPS; t++)
            for (int i = 0; i < STATE; i++) {
                const double old = t ? z.after[k][t - 1][i] : z.start[k][i];
                const bool same = z.after[k][t][i] == old;
                kept[k][t] += same;
                as_before += t && same == (z.after[k][t - 1][i] ==
                                           (t > 1 ? z.after[k][t - 2][i] : z.start[k][i]));
                if (!same)
                    CHECK_NEAR(z.after[k][t][i], z.plain[k][t][i], 1e-14);
            }
    for (int t = 0; t < STEPS; t++) {
        CHECK(kept[0][t] > STATE / 10 && kept[0][t] < STATE / 2);
        CHECK(kept[1][t] > 4 * STATE / 10 && kept[1][t] < 8 * STATE / 10);
    }
    CHECK(as_before < 2 * (STEPS - 1) * STATE);         /* new masks at every step */
    CHECK_MEM(z.y, z.after[0], sizeof z.y);             /* the output is h as it is carried */
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(zoneout_at_inference_is_the_expectation)
{
    const double rates[] = { 0.3, 0.6 };
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_cell *cell = ur_lstm(ps, "lstm", I, MANY), *zone = ur_zoneout(cell, rates);
    static zoned z;
    run_zoned(zone, cell, g, &z);
    for (int k = 0; k < 2; k++)
        for (int t = 0; t < STEPS; t++)
            for (int i = 0; i < STATE; i++) {
                const double old = t ? z.after[k][t - 1][i] : z.start[k][i];
                CHECK_NEAR(z.after[k][t][i], rates[k] * old + (1 - rates[k]) * z.plain[k][t][i],
                           1e-14);
            }
    CHECK_MEM(z.y, z.after[0], sizeof z.y);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* Another rate on the same plan; rate 1 holds everything, whatever the cell makes of its input. */
TEST(zoneout_rates_are_data)
{
    for (int mode = UR_INFER; mode <= UR_TRAIN; mode++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, mode);
        ur_cell *zone = ur_zoneout(ur_gru(ps, "gru", I, MANY), (double[]){ 0.5 });
        double x[STEPS * B * I], h[STATE];
        fill(h, STATE);
        size_t plans = 0;
        for (int k = 0; k < 2; k++) {
            fill(x, STEPS * B * I);
            if (k && mode == UR_TRAIN)
                x[0] = NAN;
            ur_clear(g);
            ur_node s[1] = { ur_input(g, h, B, MANY) };
            ur_unroll(zone, ur_input(g, x, STEPS, B, I), s);
            ur_keep(s[0]);
            REQUIRE(ran(g));
            if (k)
                compare(s[0], h, STATE, 0);
            else
                plans = ur_stats(g).plans_made;
            CHECK(ur_set_zoneout(zone, (double[]){ 1 }));
        }
        CHECK_INT(ur_stats(g).plans_made, plans);
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

TEST(a_residual_adds_its_input)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_cell *cell = ur_lstm(ps, "lstm", I, I), *sum = ur_residual(cell);
    double x[T * B * I], y[T * B * I], c[B * I];
    fill(x, T * B * I);
    ur_node in = ur_input(g, x, T, B, I), s[2], r[2];
    CHECK(ur_cell_zero_states(g, cell, B, s) && ur_cell_zero_states(g, sum, B, r));
    ur_node plain = ur_unroll(cell, in, s), out = ur_unroll(sum, in, r);
    REQUIRE(ran(g));
    CHECK(ur_read(plain, y, T * B * I) && ur_read(s[1], c, B * I));
    for (int i = 0; i < T * B * I; i++)
        y[i] += x[i];
    compare(out, y, T * B * I, 1e-14);
    compare(r[1], c, B * I, 1e-14);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(a_projection_is_of_the_output)
{
    enum { O = 5 };
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_cell *cell = ur_lstm(ps, "lstm", I, H), *less = ur_projected(cell, O);
    CHECK_INT(less->outputs, O);
    CHECK_INT(less->sizes[1], H);
    double x[T * B * I], h[T * B * H], c[B * H], y[T * B * O];
    fill(x, T * B * I);
    ur_node in = ur_input(g, x, T, B, I), s[2], r[2];
    CHECK(ur_cell_zero_states(g, cell, B, s) && ur_cell_zero_states(g, less, B, r));
    ur_node plain = ur_unroll(cell, in, s), out = ur_unroll(less, in, r);
    REQUIRE(ran(g));
    CHECK(ur_read(plain, h, T * B * H) && ur_read(s[1], c, B * H));
    const double *P = ur_param_values(ur_find(ps, "lstm.P"));
    double largest = 0;
    for (int i = 0; i < H * O; i++)
        largest = fmax(largest, fabs(P[i]));
    CHECK(largest > sqrt(1.0 / 3) && largest <= sqrt(0.5));
    for (int row = 0; row < T * B; row++)
        for (int o = 0; o < O; o++)
            y[row * O + o] = h[row * H] * P[o] + h[row * H + 1] * P[O + o];
    compare(out, y, T * B * O, 1e-14);
    compare(r[1], c, B * H, 1e-14);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* Rows of a batch start alike, and the gradient of the start is the sum over them. */
TEST(initial_states_are_learnt)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_cell *cell = ur_lstm(ps, "lstm", I, H);
    ur_initial start = ur_initial_with(ps, "start", cell, ur_uniform_between(-1, 1));
    ur_initial zero = ur_initial_new(ps, "zero", cell);
    CHECK_INT(start.n, 2);
    double x[T * B * I], given[2][B * H], y[T * B * H], d[2][B * H], none[B * H] = { 0 };
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < B * H; i++)
            given[k][i] = ((const double *)ur_param_values(start.row[k]))[i % H];
    CHECK(given[0][0] != 0 && given[0][0] != given[1][0]);
    fill(x, T * B * I);
    ur_node in = ur_input(g, x, T, B, I), s[2], r[2], z[2], ds[2];
    CHECK(ur_initial_states(g, start, B, s) && ur_initial_states(g, zero, B, z));
    ur_node a[2] = { r[0] = ur_input(g, given[0], B, H), r[1] = ur_input(g, given[1], B, H) };
    ur_node learnt = ur_unroll(cell, in, s), same = ur_unroll(cell, in, r);
    ur_node loss = ur_sum(ur_square(same));
    ur_grad(&loss, NULL, 1, a, 2, ds);
    ur_backward(ur_sum(ur_square(learnt)));
    REQUIRE(ran(g));
    CHECK(ur_read(same, y, T * B * H));
    compare(learnt, y, T * B * H, 1e-14);
    compare(z[1], none, B * H, 0);
    for (int k = 0; k < 2; k++) {
        const double *sum = ur_param_gradient(ur_find(ps, k ? "start.state1" : "start.state0"));
        CHECK(ur_read(ds[k], d[k], B * H));
        for (int u = 0; u < H; u++)
            CHECK_NEAR(sum[u], d[k][u] + d[k][H + u], 1e-14);
    }
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(errors_of_construction)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_cell *cell = ur_lstm(ps, "lstm", I, H), *gru = ur_gru(ps, "gru", I, H), *bad = NULL;
    ur_cell *zone = ur_zoneout(cell, (double[]){ 0, 1 });
    ur_node s[2];
#define FAILS(call, text)                                                                          \
    do {                                                                                           \
        bad = call;                                                                                \
        CHECK(!ur_cell_usable(bad));                                                               \
        CHECK_STR(ur_error(ps), text);                                                             \
        CHECK(ur_residual(bad) == bad && ur_projected(bad, 2) == bad &&                            \
              ur_zoneout(bad, NULL) == bad);                                                       \
        ur_error_reset(ps);                                                                        \
    } while (0)
    FAILS(ur_zoneout(cell, (double[]){ 0.5, 1.5 }),
          "zoneout of lstm: the rate of state 1 is 1.5, not in [0, 1]");
    FAILS(ur_zoneout(gru, (double[]){ NAN }),
          "zoneout of gru: the rate of state 0 is nan, not in [0, 1]");
    FAILS(ur_zoneout(gru, NULL), "zoneout of gru: the rates are NULL");
    FAILS(ur_residual(cell), "residual of lstm: it has 3 inputs and 2 outputs, which cannot be "
          "added: ur_projected makes them equal");
    FAILS(ur_projected(cell, 0),
          "cell lstm: 3 inputs, 0 outputs, 2 states: sizes are from 1 to 268435456, states at "
          "least 0");
#undef FAILS
    CHECK(!ur_set_zoneout(cell, (double[]){ 0, 0 }) && !ur_set_zoneout(NULL, (double[]){ 0 }));
    CHECK(!ur_cell_usable(ur_stacked("none", NULL, 2, 0)) && !ur_set_zoneout(zone, NULL));
    CHECK(!ur_set_zoneout(zone, (double[]){ 0, -0.1 }) && !ur_set_dropout(zone, 0.5));
    CHECK(!ur_initial_states(g, ur_initial_new(ps, "start", bad), B, s));
    CHECK_HAS(ur_error(g), "wrappers.c:");
    CHECK_HAS(ur_error(g), "initial_states: the states could not be made");
    ur_graph_free(g);
    ur_params_free(ps);
}

/* --------------------------------------------------------------------------------------- memory */

static const int lengths[B] = { 2, 0 };

static ur_cell *wrapped(ur_params *ps)
{
    ur_cell *low = ur_zoneout(ur_lstm_norm(ps, "low", I, H), (double[]){ 0.2, 0.1 });
    ur_cell *high = ur_residual(ur_dropout_cell(ur_mgu(ps, "high", I, I), 0.1));
    return ur_stacked("both", (ur_cell *[]){ ur_projected(low, I), high }, 2, 0.1);
}

/* Other numbers beyond the lengths, NaN among them: the same bits, whatever is drawn in a step. */
TEST(padding_never_matters)
{
    enum { STATES = 3, X = T * B * I };
    for (int backward = 0; backward < 2; backward++) {
        ur_params *ps = ur_params_new(UR_F32, 1);
        ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
        ur_cell *cell = wrapped(ps);
        const size_t n = ur_params_elements(ps);
        float x[X], got[2][2 * X + 3 * T * B * I], gradient[2][300];
        REQUIRE(n <= 300 && cell->n_states == STATES && cell->outputs == I);
        memset(got, 0, sizeof got);
        for (int i = 0; i < X; i++)
            x[i] = (float)test_uniform();
        for (int k = 0; k < 2; k++) {
            for (int i = 0; k && i < X; i++)
                if (i / I / B >= lengths[i / I % B])
                    x[i] = NAN;
            ur_clear(g);
            ur_set_run_number(g, 0);
            ur_node in = ur_input(g, x, T, B, I), all[STATES], d;
            ur_node y = backward ? ur_unroll_backward_states(cell, in, lengths, NULL, all)
                                 : ur_unroll_states(cell, in, lengths, NULL, all);
            ur_node loss = ur_backward(ur_sum(ur_square(y)));
            ur_grad(&loss, NULL, 1, &in, 1, &d);
            float *to = got[k];
            REQUIRE(ran(g) && ur_read(y, to, X) && ur_read(d, to + X, X));
            to += 2 * X;
            for (int i = 0; i < STATES; to += ur_count(all[i++]))
                REQUIRE(ur_read(all[i], to, ur_count(all[i])));
            memcpy(gradient[k], ur_gradients(ps), n * sizeof **gradient);
            ur_gradient_used(ps);
        }
        CHECK_MEM(got[0], got[1], sizeof got[0]);
        CHECK_MEM(gradient[0], gradient[1], n * sizeof **gradient);
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

TEST(without_memory)
{
    for (long call = 1; ; call++) {
        counting_begin(call);
        ur_params *ps = ur_params_new(UR_F32, 1);
        ur_cell *cell = ps ? wrapped(ps) : NULL;
        ur_initial start = ur_initial_new(ps, "start", cell);
        ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
        ur_node x = g ? ur_zeros(g, T, B, I) : (ur_node){ 0 }, s[3];
        bool ok = ur_initial_states(g, start, B, s);
        if (ok)
            ur_backward(ur_sum(ur_unroll_lengths(cell, x, lengths, s)));
        ok = ok && ur_run(g);
        long failed = counting.failed;
        CHECK(ok || failed);
        CHECK(ok || !ps || !g || ur_error(ps) || ur_error(g));
        ur_graph_free(g);
        ur_params_free(ps);
        CHECK_INT(counting.blocks, 0);
        counting_end();
        if (!failed)
            break;
    }
}

TEST(steady_state_takes_no_memory)
{
    counting_begin(0);
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_cell *cell = wrapped(ps);
    ur_initial start = ur_initial_new(ps, "start", cell);
    ur_optim *opt = ur_optim_new(ps, ur_adam(1e-2));
    float x[T * B * I] = { 0 };
    long calls = 0;
    for (int step = 0; step < 20; step++) {
        ur_node s[3];
        ur_clear(g);
        CHECK(ur_initial_states(g, start, B, s));
        x[step % (T * B * I)] += 1;
        ur_backward(ur_sum(ur_square(ur_unroll_lengths(cell, ur_input(g, x, T, B, I), lengths,
                                                       s))));
        REQUIRE(ran(g));
        CHECK(ur_step(opt));
        if (step == 4)
            calls = counting.calls;
    }
    CHECK_INT(counting.calls - calls, 0);
    CHECK_INT(ur_stats(g).plans_made, 1);
    ur_optim_free(opt);
    ur_graph_free(g);
    ur_params_free(ps);
    CHECK_INT(counting.blocks, 0);
    counting_end();
}

TEST_MAIN(T(zoneout_keeps_units), T(zoneout_at_inference_is_the_expectation),
          T(zoneout_rates_are_data), T(a_residual_adds_its_input),
          T(a_projection_is_of_the_output), T(initial_states_are_learnt),
          T(errors_of_construction), T(padding_never_matters), T(without_memory),
          T(steady_state_takes_no_memory))
