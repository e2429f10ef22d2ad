/* Decoders that look at a memory: against the same written out by hand, rows of different lengths,
 * gradients of whole translators. */
#include "tests/translator.h"
#include "tests/counting.h"
#include "tests/passes.h"

static const int from_lengths[B] = { 3, 1, 0, 2 }, to_lengths[B] = { 2, 5, 1, 0 };

/* -------------------------------------------------------------------------- written out by hand */

/* One step, as the papers have it. */
static ur_node by_hand(const translator *m, ur_memory memory, ur_node x, ur_node s[],
                       ur_node *weights)
{
    if (m->how == LUONG) {
        ur_node y = ur_cell_apply(m->inner, -1, ur_concat(x, s[2]), s);
        ur_node c = ur_attend(m->a, memory, y, weights);
        return s[2] = ur_tanh(ur_matmul(ur_concat(c, y), m->W.W));
    }
    ur_node c = ur_attend(m->a, memory, s[m->how == STACKED ? 2 : 0], weights);
    return ur_concat(ur_cell_apply(m->inner, -1, ur_concat(x, c), s), c);
}

TEST(cells_are_what_the_papers_write)
{
    for (how how = 0; how < HOWS; how++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
        translator m = make(ps, how);
        m.from_lengths = from_lengths;
        int32_t source[S * B], target[T * B];
        draw(source, S * B);
        draw(target, T * B);
        ur_node s[3], r[3], weights[T], same[T], logits[T], ids = ur_ints(g, target, T, B);
        ur_memory memory = encode(g, &m, ur_ints(g, source, S, B), s);
        memcpy(r, s, sizeof s);
        ur_decoder on = ur_decoder_on(m.d, memory, weights);
        ur_node y = ur_teach(on, ids, NULL, s, .ratio = 1);
        for (int t = 0; t < T; t++)
            logits[t] = ur_linear(m.d.out, by_hand(&m, memory, ur_embed(m.d.embed,
                                                                         ur_index(ids, 0, t)),
                                                   r, &same[t]));
        ur_node expected = ur_stack(logits, T), look = ur_stack(same, T);
        ur_node seen = ur_stack(weights, T), last = ur_concat_n(r, m.d.cell->n_states, 1);
        ur_node state = ur_concat_n(s, m.d.cell->n_states, 1);
        const ur_node pairs[][2] = { { y, expected }, { seen, look }, { state, last } };
        for (int k = 0; k < 3; k++) {
            double p[T * B * V], q[T * B * V];
            const size_t n = ur_count(pairs[k][0]);
            REQUIRE(n <= T * B * V && n == ur_count(pairs[k][1]));
            CHECK(ur_read(pairs[k][0], p, n) && ur_read(pairs[k][1], q, n));
            CHECK_STR(ur_error(g), NULL);
            for (size_t i = 0; i < n; i++)
                CHECK_NEAR(p[i], q[i], 1e-14);
        }
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* The state of the cell on top, wherever the stack is: 0 lstm h c, 2 gru, 3 the upper lstm h c. */
TEST(attention_looks_with_the_top)
{
    enum { FORMS = 6 };
    static const int top[FORMS] = { 2, 2, 2, 2, 3, 3 };
    for (int form = 0; form < FORMS; form++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
        ur_attention a = ur_attention_new(ps, "a", UR_SCORE_GENERAL, H, A, 0);
        ur_cell *low = ur_lstm(ps, "low", H + A, H), *gru = ur_gru(ps, "gru", H, H);
        ur_cell *high = ur_zoneout(ur_lstm(ps, "high", H, H), (double[]){ 0.1, 0.1 });
        ur_cell *two = ur_stacked("two", (ur_cell *[]){ low, gru }, 2, 0.1);
        ur_cell *upper = ur_stacked("upper", (ur_cell *[]){ gru, high }, 2, 0);
        ur_cell *inner = form == 0 ? two : form == 1 ? ur_dropout_cell(two, 0.1)
                       : form == 2 ? ur_projected(ur_zoneout(two, (double[]){ 0, 0.1, 0.1 }), A)
                       : form == 3 ? ur_stacked("one", &two, 1, 0)
                       : form == 4 ? ur_stacked("all", (ur_cell *[]){ two, high }, 2, 0)
                                   : ur_stacked("nested", (ur_cell *[]){ low, upper }, 2, 0);
        ur_cell *cell = ur_attention_cell(inner, a);
        double x[B * H], memory[S * B * A], state[5][B * H], got[B * S], expected[B * S];
        ur_node s[5], weights[1], look;
        REQUIRE(ur_cell_usable(cell) && cell->n_states <= 5);
        for (int i = 0; i < B * H; i++)
            x[i] = test_uniform();
        for (int i = 0; i < S * B * A; i++)
            memory[i] = test_uniform();
        for (int k = 0; k < cell->n_states; k++) {
            for (int i = 0; i < B * H; i++)
                state[k][i] = test_uniform();
            s[k] = ur_input(g, state[k], B, H);
        }
        ur_memory m = ur_memory_new(a, ur_input(g, memory, S, B, A), NULL);
        ur_attend(a, m, s[top[form]], &look);
        ur_cell_apply(ur_on_memory(cell, m, weights), 0, ur_input(g, x, B, H), s);
        REQUIRE(ur_read(weights[0], got, B * S) && ur_read(look, expected, B * S));
        for (int i = 0; i < B * S; i++)
            CHECK_NEAR(got[i], expected[i], 1e-14);
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* s_k = tanh([all last states] W_k + b_k), for states of any sizes. */
TEST(bridges_are_their_equation)
{
    enum { FIRST = 2, SECOND = 3, TO = 4 };
    static const char *const names[2][2] = { { "bridge.0.W", "bridge.0.b" },
                                             { "bridge.1.W", "bridge.1.b" } };
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_bridge bridge = ur_bridge_new(ps, "bridge", 2, (int[]){ FIRST, SECOND },
                                     ur_lstm(ps, "to", E, TO));
    double from[B][FIRST + SECOND], a[B][FIRST], b[B][SECOND], got[B][TO];
    for (int r = 0; r < B; r++)
        for (int i = 0; i < FIRST + SECOND; i++)
            *(i < FIRST ? &a[r][i] : &b[r][i - FIRST]) = from[r][i] = 2 * test_uniform() - 1;
    ur_node in[2] = { ur_input(g, a, B, FIRST), ur_input(g, b, B, SECOND) }, s[2];
    CHECK(ur_bridge_states(bridge, in, s));
    for (int k = 0; k < 2; k++) {
        const double *W = ur_param_values(ur_find(ps, names[k][0]));
        const double *bias = ur_param_values(ur_find(ps, names[k][1]));
        REQUIRE(W && bias && ur_read(s[k], got, B * TO));
        for (int r = 0; r < B; r++)
            for (int u = 0; u < TO; u++) {
                double z = bias[u];
                for (int i = 0; i < FIRST + SECOND; i++)
                    z += from[r][i] * W[i * TO + u];
                CHECK_NEAR(got[r][u], tanh(z), 1e-14);
            }
    }
    ur_graph_free(g);
    ur_params_free(ps);
}

/* ----------------------------------------------------------------------------- rows and lengths */

/* Logits and last states of some rows; the rest of the arrays is left alone. */
static bool run_rows(ur_graph *g, const translator *m, const int32_t *source, const int32_t *target,
                     int steps, int s_steps, int rows, double *logits, double *last)
{
    ur_clear(g);
    ur_node s[3];
    ur_memory memory = encode(g, m, ur_ints(g, source, s_steps, rows), s);
    ur_decoder on = ur_decoder_on(m->d, memory, NULL);
    ur_node y = ur_teach_at(UR_AT("ids"), on, ur_ints(g, target, steps, rows), m->to_lengths, s,
                            &m->teaching);
    bool ok = ur_read(y, logits, (size_t)(steps * rows * V)) &&
              ur_read(s[1], last, (size_t)(rows * H));
    return CHECK_STR(ur_error(g), NULL) && CHECK(ok);
}

/* A ragged batch has the numbers of its rows alone; fed by coins that are always right, too. */
TEST(rows_are_rows_alone)
{
    for (how how = 0; how < HOWS; how++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
        translator m = make(ps, how), alone = m;
        m.from_lengths = from_lengths, m.to_lengths = to_lengths;
        int32_t source[S * B], target[T * B], x[S], y[T];
        double logits[2][T * B * V], last[2][B * H], one[T * V], state[H];
        draw(source, S * B);
        draw(target, T * B);
        REQUIRE(run_rows(g, &m, source, target, T, S, B, logits[0], last[0]));
        m.teaching.ratio = 1 - 1e-15;
        REQUIRE(run_rows(g, &m, source, target, T, S, B, logits[1], last[1]));
        for (int i = 0; i < T * B * V; i++)
            CHECK_NEAR(logits[0][i], logits[1][i], 1e-14);
        for (int i = 0; i < B * H; i++)
            CHECK_NEAR(last[0][i], last[1][i], 1e-14);
        const double *b = ur_param_values(m.d.out.b);
        for (int r = 0; r < B; r++) {
            const int n = to_lengths[r], k = from_lengths[r];
            for (int t = 0; t < T; t++)
                y[t] = target[t * B + r];
            for (int t = 0; t < k; t++)
                x[t] = source[t * B + r];
            REQUIRE(run_rows(g, &alone, x, y, n, k, 1, one, state));
            for (int i = 0; i < T * V; i++)
                CHECK_NEAR(logits[0][(i / V * B + r) * V + i % V], i / V < n ? one[i] : b[i % V],
                           1e-13);
            for (int i = 0; i < H; i++)
                CHECK_NEAR(last[0][r * H + i], state[i], 1e-13);
        }
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* NaN beyond the lengths of what is looked at, and of what is read, forwards and backwards. */
static bool unroll_on(ur_graph *g, const translator *m, ur_params *ps, bool backward,
                      const float *memory, const float *x, float *out, float *gradient)
{
    enum { X = T * B * E, M = S * B * 2 * H };
    ur_clear(g);
    ur_node in[2] = { ur_input(g, memory, S, B, 2 * H), ur_input(g, x, T, B, E) }, d[2], all[3];
    const ur_cell *on = ur_on_memory(m->d.cell, ur_memory_new(m->a, in[0], from_lengths), NULL);
    ur_node y = backward ? ur_unroll_backward_states(on, in[1], to_lengths, NULL, all)
                         : ur_unroll_states(on, in[1], to_lengths, NULL, all);
    ur_node loss = ur_backward(ur_add(ur_sum(ur_square(y)), ur_sum(all[1])));
    ur_grad(&loss, NULL, 1, in, 2, d);
    bool ok = ur_run(g) && ur_read(d[0], out, M) && ur_read(d[1], out + M, X) &&
              ur_read(y, out + M + X, ur_count(y));
    memcpy(gradient, ur_gradients(ps), ur_block_elements(ps) * sizeof *gradient);
    ur_gradient_used(ps);
    return CHECK_STR(ur_error(g), NULL) && CHECK(ok);
}

TEST(padding_never_matters)
{
    for (int k = 0; k < HOWS * 2; k++) {
        ur_params *ps = ur_params_new(UR_F32, 7);
        ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
        translator m = make(ps, k / 2);
        static float memory[S * B * 2 * H], x[T * B * E], out[2][999], gradient[2][2000];
        const size_t n = ur_block_elements(ps);
        REQUIRE(n <= 2000);
        for (int i = 0; i < S * B * 2 * H; i++)
            memory[i] = (float)test_uniform();
        for (int i = 0; i < T * B * E; i++)
            x[i] = (float)test_uniform();
        REQUIRE(unroll_on(g, &m, ps, k % 2, memory, x, out[0], gradient[0]));
        for (int i = 0; i < S * B * 2 * H; i++)
            if (i / (2 * H) / B >= from_lengths[i / (2 * H) % B])
                memory[i] = NAN;
        for (int i = 0; i < T * B * E; i++)
            if (i / E / B >= to_lengths[i / E % B])
                x[i] = NAN;
        REQUIRE(unroll_on(g, &m, ps, k % 2, memory, x, out[1], gradient[1]));
        CHECK_MEM(out[0], out[1], sizeof out[0]);
        CHECK_MEM(gradient[0], gradient[1], n * sizeof **gradient);
        for (int i = 0; i < 999; i++)
            CHECK(isfinite(out[1][i]));
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* ------------------------------------------------------------------------------------ gradients */

/* The logits, what was looked at in every step, and every last state; one after the other. */
enum { OUTPUTS = 5 };

static void loss_of(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const translator *m = ctx;
    const int steps = ur_dim(in[1], 0);
    ur_node s[3] = { UR_NIL, UR_NIL, UR_NIL }, weights[T];
    ur_memory memory = encode(g, m, in[0], s);
    out[0] = ur_teach_at(UR_AT("ids"), ur_decoder_on(m->d, memory, weights), in[1], m->to_lengths,
                         s, &m->teaching);
    if (ur_is_nil(out[0]))
        return;                     /* without memory nothing was put into weights */
    out[1] = ur_stack(weights, steps);
    for (int k = 0; k < 3; k++)
        out[2 + k] = k < m->d.cell->n_states ? s[k] : s[0];
}

TEST(gradients)
{
    static const struct { int T, to[B]; } cases[] = {
        { 1, { 1, 0, 1, 1 } }, { 2, { 2, 1, 0, 2 } }, { T, { 2, 5, 1, 0 } },
    };
    static const ur_teaching ways[] = {
        { .ratio = 1 }, { .ratio = 0.5 }, { .ratio = 0.5, .per_sequence = true },
    };
    for (int k = 0; k < HOWS * 3 * 3 * 2; k++) {
        const int which = k / HOWS % 3, ragged = k / HOWS / 9;
        ur_params *ps = ur_params_new(UR_F32, 7);
        translator m = make(ps, k % HOWS);
        if (ragged)
            m.from_lengths = from_lengths, m.to_lengths = cases[which].to;
        m.teaching = ways[k / HOWS / 3 % 3];
        ur_check_options o = { .in = { ur_in_ints("x", V, S, B), { .name = "y", .below = V } },
                               .outputs = OUTPUTS, .ctx = &m, .elements = 16 };
        o.in[1].shape = (ur_shape){ 2, { cases[which].T, B } };
        if (!passes("translator", ur_check_with(loss_of, &o)))
            printf("  how %d, %d steps, ragged %d\n", k % HOWS, cases[which].T, ragged);
        ur_params_free(ps);
    }
}

/* ------------------------------------------------------------------------------- memory, errors */

static bool update(ur_graph *g, const translator *m, int32_t *source, int32_t *target)
{
    ur_clear(g);
    ur_node out[OUTPUTS], in[2] = { ur_ints(g, source, S, B), ur_ints(g, target, T, B) };
    loss_of(g, in, out, (void *)m);
    ur_backward(ur_cross_entropy(out[0], in[1]));
    return ur_run(g);
}

TEST(steady_state_takes_no_memory)
{
    for (how how = 0; how < HOWS; how++) {
        counting_begin(0);
        ur_params *ps = ur_params_new(UR_F32, 1);
        ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
        translator m = make(ps, how);
        m.from_lengths = from_lengths, m.to_lengths = to_lengths;
        ur_optim *opt = ur_optim_new(ps, ur_adam(1e-2));
        int32_t source[S * B], target[T * B];
        long calls = 0;
        for (int step = 0; step < 12; step++) {
            m.teaching.ratio = 0.9 - 0.05 * step;
            draw(source, S * B);
            draw(target, T * B);
            REQUIRE(update(g, &m, source, target) && ur_step(opt));
            calls = step == 4 ? counting.calls : calls;
        }
        CHECK_INT(counting.calls - calls, 0);
        ur_optim_free(opt);
        ur_graph_free(g);
        ur_params_free(ps);
        CHECK_INT(counting.blocks, 0);
        counting_end();
    }
}

TEST(without_memory)
{
    int32_t source[S * B] = { 0 }, target[T * B] = { 0 };
    for (long call = 1; ; call += call < 60 ? 1 : 7) {
        counting_begin(call);
        ur_params *ps = ur_params_new(UR_F32, 1);
        ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
        bool ok = ps && g;
        if (ok) {
            translator m = make(ps, LUONG);
            m.from_lengths = from_lengths, m.to_lengths = to_lengths;
            m.teaching.ratio = 0.5;
            ok = !ur_error(ps) && update(g, &m, source, target);
        }
        long failed = counting.failed;
        CHECK(ok || failed);
        ur_graph_free(g);
        ur_params_free(ps);
        CHECK_INT(counting.blocks, 0);
        counting_end();
        if (!failed)
            break;
    }
}

TEST(errors_of_decoders)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    translator m = make(ps, BAHDANAU);
    ur_node s[3];
    ur_node ids = ur_ints(g, NULL, T, B);
    CHECK(ur_is_nil(ur_teach(m.d, ids, NULL, NULL, .ratio = 1)));
    CHECK_HAS(ur_error(g), "cell d is on no memory: see ur_on_memory");
    ur_error_reset(g);
    ur_clear(g);
    ids = ur_ints(g, NULL, T, B);
    ur_decoder on = ur_decoder_on(m.d, encode(g, &m, ids, s), NULL);
    CHECK(ur_is_nil(ur_teach(on, ids, NULL, NULL, .ratio = 1.5)));
    CHECK_HAS(ur_error(g), "teach: the ratio 1.5 is not in [0, 1]");
    ur_error_reset(g);
    ur_clear(g);
    ids = ur_ints(g, NULL, B);
    CHECK(ur_is_nil(ur_teach(on, ids, NULL, NULL, .ratio = 1)));
    CHECK_HAS(ur_error(g), "teach: ids is int32 [4], but symbols are [T,B]");
    ur_error_reset(g);
    CHECK(!ur_cell_usable(ur_attention_cell(m.forward, m.a)));
    CHECK_HAS(ur_error(ps), "attention_cell: cell f, 2 inputs, cannot look with 3 features at 6");
    ur_error_reset(ps);
    CHECK(!ur_cell_usable(ur_input_feeding(m.forward, "x", m.a, 2)));
    CHECK_HAS(ur_error(ps), "input_feeding x: cell f, 2 inputs and 3 outputs, is to look with 3");
    ur_error_reset(ps);
    ur_bridge none = ur_bridge_new(ps, "b", 0, NULL, m.inner);
    CHECK_HAS(ur_error(ps), "bridge b: from 0 states to a cell that was made");
    ur_clear(g);
    s[0] = ur_zeros(g, B, H);
    CHECK(!ur_bridge_states(none, s, s + 1));
    CHECK_HAS(ur_error(g), "bridge: the bridge could not be made");
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST_MAIN(T(cells_are_what_the_papers_write), T(attention_looks_with_the_top),
          T(bridges_are_their_equation), T(rows_are_rows_alone), T(padding_never_matters),
          T(gradients), T(steady_state_takes_no_memory), T(without_memory), T(errors_of_decoders))
