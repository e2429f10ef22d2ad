/* Budgets of memory: a graph that may not keep all values computes segments of its chains again,
 * and every bit of what comes out is the same. */
#include "graph/internal.h"
#include "graph/plan/plan.h"
#include "tests/counting.h"
#include "tests/test.h"
#include "unroll/unroll.h"

enum { V = 13, MOST_T = 512, MOST_B = 16, MOST_LAYERS = 3, MOST_STATES = 2 * MOST_LAYERS };

typedef ur_cell *make_cell(ur_params *ps, const char *name, int I, int H);

/* A gate of the user's own: f = sigmoid(W [h,x]), h' = h + f (tanh(U [f h, x]) - h). */
typedef struct gated {
    ur_cell cell;
    ur_node W, U;
} gated;

static ur_node gated_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const gated *p = (const gated *)cell;
    ur_node h = s[0], f = ur_sigmoid(ur_matmul(ur_concat(h, x), p->W));
    ur_node n = ur_tanh(ur_matmul(ur_concat(ur_mul(f, h), x), p->U));
    return s[0] = ur_add(h, ur_mul(f, ur_sub(n, h)));
}

static ur_cell *gated_new(ur_params *ps, const char *name, int I, int H)
{
    gated *p = ur_cell_new(ps, name, sizeof *p, gated_step, I, H, 1, (int[]){ H });
    if (!p)
        return NULL;
    p->W = ur_param(ps, ur_namef(ps, "%s.W", name), ur_xavier(), H + I, H);
    p->U = ur_param(ps, ur_namef(ps, "%s.U", name), ur_xavier(), H + I, H);
    return &p->cell;
}

/* How the loss is written: of all steps at once, or of each by itself. */
typedef enum form { WHOLE, STEPWISE, RAGGED } form;

typedef struct setting {
    const char *name;
    make_cell *make;
    int T, B, H, layers;
    double dropout;
    form form;
    double part;                /* of the usual memory that is enough */
} setting;

static const setting settings[] = {
    { "lstm", ur_lstm, 256, 8, 16, 1, 0, WHOLE, 0.3 },
    { "gru", ur_gru, 256, 8, 16, 1, 0, WHOLE, 0.35 },
    { "elman", ur_elman, 256, 8, 16, 1, 0, WHOLE, 0.5 },
    { "gated", gated_new, 256, 8, 16, 1, 0, WHOLE, 0.4 },
    { "lstm, T prime", ur_lstm, 257, 7, 12, 1, 0, WHOLE, 0.95 },
    { "lstm, B 5", ur_lstm, 300, 5, 12, 1, 0, WHOLE, 0.95 },
    { "two layers", ur_lstm, 256, 8, 16, 2, 0, WHOLE, 0.6 },
    { "three layers of gru", ur_gru, 128, 8, 16, 3, 0, WHOLE, 0.7 },
    { "dropout", ur_lstm, 128, 8, 16, 2, 0.3, WHOLE, 0.8 },
    { "step by step", ur_lstm, 128, 4, 16, 1, 0, STEPWISE, 0.7 },
    { "two layers step by step", gated_new, 64, 4, 16, 2, 0.2, STEPWISE, 0.9 },
    { "lengths", ur_lstm, 96, 6, 16, 1, 0, RAGGED, 0.8 },
};
enum { SETTINGS = sizeof settings / sizeof *settings, STEPS = 3 };

typedef struct model {
    const setting *s;
    ur_params *ps, *states;
    ur_embedding embed;
    ur_cell *cell[MOST_LAYERS], *rnn;
    ur_linear_layer out;
    ur_graph *g;
    ur_node x, y, loss;
} model;

static ur_params *states_of(ur_cell *const cell[], int layers, int B)
{
    ur_params *st = ur_params_new(UR_F32, 0);
    for (int l = 0; l < layers; l++)
        for (int k = 0; k < cell[l]->n_states; k++)
            ur_param(st, ur_namef(st, "%d.%d", l, k), ur_constant(0), B, cell[l]->sizes[k]);
    return st;
}

static model make(const setting *s, size_t budget, int threads)
{
    model m = { .s = s, .ps = ur_params_new(UR_F32, 1) };
    m.embed = ur_embedding_new(m.ps, "embed", V, s->H);
    for (int l = 0; l < s->layers; l++)
        m.cell[l] = s->make(m.ps, ur_namef(m.ps, "rnn%d", l), s->H, s->H);
    m.rnn = s->layers == 1 ? m.cell[0] : ur_stacked("rnn", m.cell, s->layers, s->dropout);
    m.out = ur_linear_new(m.ps, "out", s->H, V);
    m.states = states_of(m.cell, s->layers, s->B);
    m.g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_set_threads(m.g, threads);
    ur_graph_budget(m.g, budget);
    return m;
}

static void drop(model *m)
{
    ur_graph_free(m->g);
    ur_params_free(m->states);
    ur_params_free(m->ps);
}

static void draw(const setting *s, int step, int32_t *x, int32_t *y)
{
    for (int i = 0; i < s->T * s->B; i++) {
        x[i] = (7 * i + i / 5 + step) % V;
        y[i] = (3 * i + i / 7 + step) % V;
    }
}

static ur_node loss_of(const model *m, ur_node h)
{
    ur_node loss = UR_NIL;
    if (m->s->form != STEPWISE)
        return ur_cross_entropy(ur_linear(m->out, h), m->y);
    for (int t = 0; t < m->s->T; t++) {
        ur_node l = ur_cross_entropy(ur_linear(m->out, ur_index(h, 0, t)), ur_index(m->y, 0, t));
        loss = t ? ur_add(loss, l) : l;
    }
    return loss;
}

static void record(model *m, int step)
{
    static int32_t x[MOST_T * MOST_B], y[MOST_T * MOST_B];
    const setting *s = m->s;
    int lengths[MOST_B];
    ur_node state[MOST_STATES];
    for (int b = 0; b < s->B; b++)
        lengths[b] = s->T - 13 * b;
    draw(s, step, x, y);
    ur_clear(m->g);
    ur_state_in(m->g, m->states, state);
    m->x = ur_ints(m->g, x, s->T, s->B);
    m->y = ur_ints(m->g, y, s->T, s->B);
    ur_node e = ur_embed(m->embed, m->x);
    ur_node h = s->form == RAGGED ? ur_unroll_lengths(m->rnn, e, lengths, state)
                                  : ur_unroll(m->rnn, e, state);
    m->loss = loss_of(m, h);
    ur_state_out(m->states, state);
    ur_backward(m->loss);
}

/* Sums that any other bit changes. */
static uint64_t fold(uint64_t h, const void *p, size_t n)
{
    const uint32_t *word = p;
    for (size_t i = 0; i < n; i++)
        h = ur__mix(h, word[i]);
    return h;
}

/* Steps of plain descent, recorded anew or (`again`) run again on other data; what came out of
 * them, or 0 on an error. */
static uint64_t train(model *m, bool again)
{
    static int32_t x[MOST_T * MOST_B], y[MOST_T * MOST_B];
    uint64_t h = 1;
    const size_t n = ur_block_elements(m->ps);
    for (int k = 0; k < STEPS; k++) {
        if (k == 0 || !again) {
            record(m, k);
        } else {
            draw(m->s, k, x, y);
            ur_set(m->x, x);
            ur_set(m->y, y);
        }
        if (!(k == 0 || !again ? ur_run(m->g) : ur_rerun(m->g)))
            return 0;
        float *v = ur_values(m->ps), loss = (float)ur_value(m->loss);
        const float *d = ur_gradients(m->ps);
        h = fold(h, &loss, 1);
        h = fold(h, d, n);
        h = fold(h, ur_values(m->states), ur_block_elements(m->states));
        for (size_t i = 0; i < n; i++)
            v[i] -= 0.5f * d[i];
        ur_params_changed(m->ps);
        ur_gradient_used(m->ps);
    }
    return h;
}

static uint64_t run(const setting *s, size_t budget, int threads, bool again, size_t *arena,
                    size_t *plans)
{
    model m = make(s, budget, threads);
    const uint64_t h = train(&m, again);
    *arena = ur_stats(m.g).arena_bytes;
    *plans = ur_stats(m.g).plans_made;
    if (!h)
        printf("  %s: %s\n", s->name, ur_error(m.g));
    drop(&m);
    return h;
}

TEST(a_budget_changes_no_bit)
{
    for (int i = 0; i < SETTINGS; i++) {
        const setting *s = &settings[i];
        size_t usual, less, plans;
        const uint64_t want = run(s, 0, 1, false, &usual, &plans);
        const size_t budget = (size_t)(s->part * (double)usual);
        REQUIRE(want != 0);
        for (int threads = 1; threads <= 3; threads++) {
            if (!CHECK(run(s, budget, threads, threads == 3, &less, &plans) == want))
                printf("  %s on %d threads\n", s->name, threads);
            CHECK(less <= budget);
            CHECK_INT(plans, 1);
        }
    }
}

/* Bytes of the block that the arena of a plan is in, after some steps. */
static size_t memory_of(const setting *s, size_t budget, size_t *arena)
{
    counting_begin(0);
    model m = make(s, budget, 1);
    CHECK(train(&m, false) != 0);
    const size_t held = m.g->arena.bytes;
    *arena = ur_stats(m.g).arena_bytes;
    const size_t bytes = counting.bytes;
    CHECK(train(&m, false) != 0);
    CHECK_INT(counting.bytes, bytes);           /* a steady state */
    drop(&m);
    counting_end();
    CHECK_INT(counting.blocks, 0);
    CHECK_INT(counting.wrong, 0);
    return held;
}

TEST(less_memory_is_taken)
{
    const setting large = { "", ur_lstm, MOST_T, MOST_B, 32, 1, 0, WHOLE, 0.25 };
    size_t usual, less;
    const size_t held = memory_of(&large, 0, &usual);
    const size_t then = memory_of(&large, (size_t)(large.part * (double)usual), &less);
    CHECK(less <= usual / 4);
    CHECK(held - then >= usual - less);
}

/* The number behind "(" in a text. */
static size_t asked_for(const char *text)
{
    const char *p = text ? strchr(text, '(') : NULL;
    return p ? (size_t)strtoull(p + 1, NULL, 10) : 0;
}

TEST(too_small_a_budget_is_refused)
{
    model m = make(&settings[0], 1000, 1);
    record(&m, 0);
    CHECK(!ur_run(m.g));
    CHECK_HAS(ur_error(m.g), "budget: the values of a run need at least ");
    CHECK_HAS(ur_error(m.g), "but 0.0009537 MB (1000 bytes) are allowed");
    CHECK(!ur_gradient_ready(m.ps));
    const size_t least = asked_for(ur_error(m.g));
    ur_error_reset(m.g);
    ur_graph_budget(m.g, least - 1);
    record(&m, 0);
    CHECK(!ur_run(m.g));
    CHECK_INT(asked_for(ur_error(m.g)), least);
    ur_error_reset(m.g);
    ur_graph_budget(m.g, least);
    record(&m, 0);
    CHECK(ur_run(m.g));
    CHECK(ur_stats(m.g).arena_bytes <= least);
    drop(&m);
}

TEST(switched_off_the_usual_memory_is_needed)
{
    model m = make(&settings[0], 0, 1);
    record(&m, 0);
    REQUIRE(ur_run(m.g));
    const size_t usual = ur_stats(m.g).arena_bytes;
    CHECK(ur_rewrite(m.g, "segment", false));
    ur_graph_budget(m.g, usual - 1);
    record(&m, 0);
    CHECK(!ur_run(m.g));
    CHECK_INT(asked_for(ur_error(m.g)), usual);
    ur_error_reset(m.g);
    ur_graph_budget(m.g, usual);
    record(&m, 0);
    CHECK(ur_run(m.g));
    CHECK_INT(ur_stats(m.g).plans_made, 2);
    drop(&m);
}

/* The plan as it is printed, and how many nodes, steps or values it says that a rewrite changed. */
static char text[1 << 22];

static unsigned merged(ur_graph *g, const char *rewrite)
{
    unsigned n = 0;
    FILE *f = tmpfile();
    if (!f || !CHECK(ur_print_plan(g, f)))
        return 0;
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    const char *line = strstr(text, rewrite);
    if (CHECK(line != NULL))
        sscanf(line + strlen(rewrite), " %u ", &n);
    return n;
}

TEST(the_plan_says_what_is_done_again)
{
    model m = make(&settings[0], 0, 1);
    record(&m, 0);
    REQUIRE(ur_run(m.g));
    ur_graph_budget(m.g, ur_stats(m.g).arena_bytes / 3);
    record(&m, 1);
    REQUIRE(ur_run(m.g));
    CHECK(merged(m.g, "\n  segment ") > 100);
    CHECK_HAS(strstr(text, "\n  segment "), " steps run again; saves ");
    drop(&m);
}

/* Values that share memory, and steps that run side by side: without, there is more of both, and
 * not another bit. */
TEST(memory_and_schedule_can_be_switched_off)
{
    uint64_t bits[3];
    size_t arena[3];
    for (int k = 0; k < 3; k++) {
        model m = make(&settings[6], 0, 2);
        CHECK(k == 0 || ur_rewrite(m.g, k == 1 ? "memory" : "schedule", false));
        bits[k] = train(&m, false);
        CHECK(bits[k] != 0);
        arena[k] = ur_stats(m.g).arena_bytes;
        const size_t *did = m.g->last_plan->merged;
        CHECK(k == 1 ? did[UR__BIT_memory] == 0 : merged(m.g, "\n  memory ") > 100);
        CHECK(k == 2 ? did[UR__BIT_schedule] == 0 : merged(m.g, "\n  schedule ") > 100);
        if (k)
            CHECK_HAS(text, k == 1 ? "\n  memory     off; with it: "
                                   : "\n  schedule   off; with it: ");
        drop(&m);
    }
    CHECK(bits[1] == bits[0] && bits[2] == bits[0]);
    CHECK(2 * arena[1] > 3 * arena[0] && arena[2] == arena[0]);
}

/* What is not finite is found node by node, for which no budget holds. */
TEST(a_watched_graph_names_the_culprit)
{
    model m = make(&settings[0], 0, 1);
    record(&m, 0);
    REQUIRE(ur_run(m.g));
    const size_t usual = ur_stats(m.g).arena_bytes;
    drop(&m);
    m = make(&settings[0], usual / 3, 1);
    ur_watch(m.g, true);
    float *W = ur_param_values(ur_find(m.ps, "out.W"));
    W[3] = (float)NAN;
    ur_params_changed(m.ps);
    record(&m, 0);
    CHECK(!ur_run(m.g));
    CHECK_HAS(ur_error(m.g), "matmul: the result is not finite: the first such value of the run");
    drop(&m);
}

TEST_MAIN(T(a_budget_changes_no_bit), T(less_memory_is_taken),
          T(too_small_a_budget_is_refused), T(switched_off_the_usual_memory_is_needed),
          T(the_plan_says_what_is_done_again),
          T(memory_and_schedule_can_be_switched_off), T(a_watched_graph_names_the_culprit))
