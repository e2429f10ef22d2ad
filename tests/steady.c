/* What a long run depends on: a steady state without allocations, memory that grows with the tape
 * and no faster, a tape of two million nodes. */
#include <stdlib.h>
#include "graph/internal.h"
#include "graph/run/pool.h"
#include "optim/internal.h"
#include "tests/counting.h"
#include "tests/test.h"
#include "unroll/unroll.h"

/* A character model with carried state and its optimiser. */
typedef struct model {
    ur_params *ps, *states;
    ur_embedding embed;
    ur_cell *rnn;
    ur_linear_layer out;
    ur_optim *opt;
    ur_graph *g;
    int T, B, V;
} model;

/* Whatever could not be made stays NULL; false then. */
static bool make(model *m, int T, int B, int H)
{
    *m = (model){ .T = T, .B = B, .V = 11 };
    m->ps = ur_params_new(UR_F32, 1);
    if (!m->ps)
        return false;
    m->embed = ur_embedding_new(m->ps, "embed", m->V, H);
    m->rnn = ur_lstm(m->ps, "lstm", H, H);
    m->out = ur_linear_new(m->ps, "out", H, m->V);
    m->states = ur_cell_states(m->rnn, B);
    m->opt = m->states ? ur_optim_new(m->ps, ur_adam(1e-2)) : NULL;
    m->g = m->opt ? ur_graph_new(UR_F32, UR_TRAIN) : NULL;
    if (m->g)
        ur_clip_norm(m->opt, 5);
    return m->g != NULL;
}

static void drop(model *m)
{
    ur_graph_free(m->g);
    ur_optim_free(m->opt);
    ur_params_free(m->states);
    ur_params_free(m->ps);
}

static ur_node record(model *m, int step)
{
    static int32_t x[8 * 4096], y[8 * 4096];
    for (int i = 0; i < m->T * m->B; i++) {
        x[i] = (7 * i + step) % m->V;
        y[i] = (7 * i + step + 3) % m->V;
    }
    ur_node s[2];
    ur_clear(m->g);
    ur_state_in(m->g, m->states, s);
    ur_node h = ur_unroll(m->rnn, ur_embed(m->embed, ur_ints(m->g, x, m->T, m->B)), s);
    ur_node loss = ur_cross_entropy(ur_linear(m->out, h), ur_ints(m->g, y, m->T, m->B));
    ur_state_out(m->states, s);
    return ur_backward(loss);
}

static bool train(model *m, int step, double *loss)
{
    ur_node node = record(m, step);
    if (!ur_run(m->g) || !ur_step(m->opt))
        return false;
    *loss = ur_value(node);
    return true;
}

TEST(steady_state_allocates_nothing)
{
    model m;
    double loss = 0;
    counting_begin(0);
    REQUIRE(make(&m, 40, 4, 12));        /* more steps than operands that fit a fixed array */
    for (int i = 0; i < 3; i++)
        REQUIRE(train(&m, i, &loss));
    long before = counting.calls;
    for (int i = 3; i < 40; i++)
        REQUIRE(train(&m, i, &loss));
    CHECK_INT(counting.calls - before, 0);
    CHECK_INT(ur_stats(m.g).plans_made, 1);
    CHECK(loss < 1.5);                  /* it learns: ln 11 = 2.4 at first */
    drop(&m);
    counting_end();
    CHECK_INT(counting.blocks, 0);
    CHECK_INT(counting.wrong, 0);
}

/* Panels that hold the parameters' values as they are. */
static int fresh_panels(const ur_graph *g)
{
    int n = 0;
    for (size_t i = 0; i < g->n_panels; i++)
        n += g->panel[i].version == g->slot[g->panel[i].slot].store->version;
    return n;
}

/* A new tape in every step: with two threads weights are packed while it is planned, and each
 * number stays as it is with one. */
TEST(weights_are_packed_while_planning)
{
    enum { STEPS = 24, H = 64, B = 8 };
    model m[2];
    double loss[2];
    const int cores = ur__pool_cores;
    ur__pool_cores = 2;
    for (int k = 0; k < 2; k++) {
        REQUIRE(make(&m[k], 1, B, H));
        ur_set_threads(m[k].g, 1 + k);
    }
    for (int step = 0; step < STEPS; step++) {
        for (int k = 0; k < 2; k++) {
            m[k].T = 10 + step;
            ur_node node = record(&m[k], step);
            REQUIRE(ur__plan_for(m[k].g) != NULL);
            CHECK(step == 0 || (fresh_panels(m[k].g) > 0) == (k == 1));
            REQUIRE(ur_run(m[k].g) && ur_step(m[k].opt));
            loss[k] = ur_value(node);
        }
        CHECK(loss[0] == loss[1]);
    }
    CHECK_INT(memcmp(m[0].ps->values.p, m[1].ps->values.p, m[0].ps->padded * sizeof(float)), 0);
    drop(&m[0]);
    drop(&m[1]);
    ur__pool_cores = cores;
}

static void make_old(ur__block *b)
{
    b->born_ns -= 1e15;
}

/* Values and gradients survive while blocks that prove to last move to large pages between steps,
 * of tapes that are new, replayed by the plan, and longer than before. */
TEST(blocks_settle_between_steps)
{
    enum { STEPS = 6, H = 352, B = 8 };
    model m[2];
    double loss[2];
    for (int k = 0; k < 2; k++)
        REQUIRE(make(&m[k], 64, B, H));
    for (int step = 0; step < STEPS; step++) {
        for (int k = 0; k < 2; k++) {
            m[k].T = step < STEPS / 2 ? 64 : 112;
            REQUIRE(train(&m[k], step, &loss[k]));
        }
        CHECK(loss[0] == loss[1]);
        CHECK_INT(memcmp(m[0].ps->values.p, m[1].ps->values.p, m[0].ps->padded * sizeof(float)), 0);
        make_old(&m[1].g->arena);
        make_old(&m[1].g->panels);
        make_old(&m[1].ps->values);
        make_old(&m[1].ps->gradients);
        make_old(&m[1].opt->state->values);
    }
    printf("  on large pages: %d MB of values of a step, %d MB of moments\n",
           (int)(m[1].g->arena.large >> 20), (int)(m[1].opt->state->values.large >> 20));
#ifdef __linux__
    CHECK(m[1].g->arena.large > 0 && m[1].opt->state->values.large > 0);
#endif
    drop(&m[0]);
    drop(&m[1]);
}

/* h' = tanh(w h), a million times: the value and dL/dw against plain loops. */
TEST(two_million_nodes)
{
#ifdef SANITIZED
    enum { T = 100000 };
#else
    enum { T = 1000000 };
#endif
    ur_params *ps = ur_params_new(UR_F64, 1);
    ur_node w = ur_param(ps, "w", ur_constant(1.5), 1);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_node h = ur_input(g, ((double[]){ 0.3 }), 1);
    for (int t = 0; t < T; t++)
        h = ur_tanh(ur_mul(w, h));
    ur_node loss = ur_sum(h);
    ur_backward(loss);
    REQUIRE(ur_run(g));
    CHECK(ur_stats(g).nodes >= 2 * (size_t)T);
    double *value = malloc((T + 1) * sizeof *value), grad = 0, a = 1;
    REQUIRE(value != NULL);
    value[0] = 0.3;
    for (int t = 0; t < T; t++)
        value[t + 1] = tanh(1.5 * value[t]);
    for (int t = T; t-- > 0;) {
        a *= 1 - value[t + 1] * value[t + 1];
        grad += a * value[t];
        a *= 1.5;
    }
    CHECK_NEAR(ur_value(loss), value[T], 1e-14);
    CHECK_NEAR(*(double *)ur_param_gradient(w), grad, 1e-12);
    free(value);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* Memory a token does not grow with the length of the sequence. */
TEST(memory_is_linear)
{
    double bytes[2];
    for (int k = 0; k < 2; k++) {
        model m;
        double loss;
        REQUIRE(make(&m, k ? 4096 : 64, 8, 64));
        REQUIRE(train(&m, 0, &loss));
        bytes[k] = (double)ur_stats(m.g).arena_bytes / (m.T * m.B);
        drop(&m);
    }
    printf("  arena: %.0f bytes a token at T=64, %.0f at T=4096\n", bytes[0], bytes[1]);
    CHECK(bytes[1] <= 1.2 * bytes[0]);
}

TEST_MAIN(T(steady_state_allocates_nothing), T(weights_are_packed_while_planning),
          T(blocks_settle_between_steps), T(two_million_nodes), T(memory_is_linear))
