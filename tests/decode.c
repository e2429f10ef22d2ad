/* Beam search and scores, against enumeration. */
#include <stdlib.h>
#include "tests/counting.h"
#include "tests/test.h"
#include "unroll/unroll.h"

enum { V = 4, END = 3, H = 5, LONGEST = 4, BEAMS = 128 };

/* A small language model with weights so large that it has preferences. */
static ur_decoder model(ur_params *ps)
{
    ur_cell_options o = ur_cell_defaults(H);
    o.W = ur_uniform_between(-2, 2);
    ur_decoder m = { ur_embedding_new(ps, "embed", V, H), NULL, { UR_NIL, UR_NIL } };
    m.cell = ur_lstm_with(ps, "lstm", H, H, &o);
    m.out = ur_linear_with(ps, "out", H, V, ur_uniform_between(-2, 2), ur_constant(0));
    return m;
}

typedef struct listed {
    int32_t symbol[LONGEST];
    int n;
    bool ended;
    double log_probability, score;
} listed;

static int by_score(const void *p, const void *q)
{
    const listed *a = p, *b = q;
    if (a->ended != b->ended)
        return b->ended - a->ended;
    return (a->score < b->score) - (a->score > b->score);
}

/* All sequences of the model from a start symbol, best first: those that ended before LONGEST, then
 * those that did not. */
static int enumerate(ur_graph *g, ur_decoder *m, int start, double alpha, listed out[])
{
    int count = 0;
    for (int n = 0; n <= LONGEST; n++) {
        int total = 1;
        for (int k = 0; k < n; k++)
            total *= V - 1;
        for (int code = 0; code < total; code++) {
            listed *l = &out[count++];
            const int32_t *ids = l->symbol;
            for (int k = 0, rest = code; k < n; k++, rest /= V - 1)
                l->symbol[k] = rest % (V - 1);
            l->n = n;
            l->ended = n < LONGEST;
            CHECK(ur_log_probability(g, ur_decoder_all, m, &ids, &n, 1, start,
                                     l->ended ? END : -1, &l->log_probability));
            l->score = l->log_probability / pow((5 + n + l->ended) / 6., alpha);
        }
    }
    qsort(out, (size_t)count, sizeof *out, by_score);
    return count;
}

TEST(wide_beam_is_exhaustive)
{
    static listed all[2][BEAMS];
    static ur_hypothesis best[2 * BEAMS];
    const int32_t starts[] = { 1, 2 };
    for (int round = 0; round < 3; round++) {
        ur_params *ps = ur_params_new(UR_F64, (uint64_t)round + 1);
        ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
        ur_decoder m = model(ps);
        const double alpha = 0.7 * round;
        ur_params *st = ur_cell_states(m.cell, 2 * BEAMS);
        ur_beam_options o = { .width = BEAMS, .best = BEAMS, .longest = LONGEST, .end = END,
                              .alpha = alpha, .starts = starts };
        int n = enumerate(g, &m, 1, alpha, all[0]);
        enumerate(g, &m, 2, alpha, all[1]);
        CHECK_INT(n, 40 + 81);
        if (!CHECK(ur_beam_search(g, ur_decoder_step, &m, st, 2, &o, best)))
            printf("%s\n", ur_error(g));
        for (int b = 0; b < 2; b++)
            for (int k = 0; k < n; k++) {
                const ur_hypothesis *h = &best[b * BEAMS + k];
                const listed *l = &all[b][k];
                if (!CHECK(h->n == l->n && h->ended == l->ended && h->symbols))
                    continue;
                CHECK_MEM(h->symbols, l->symbol, sizeof(int32_t) * (size_t)l->n);
                CHECK_NEAR(h->log_probability, l->log_probability, 1e-10);
                CHECK_NEAR(h->score, l->score, 1e-10);
            }
        CHECK(!best[n].symbols && best[n].score == -INFINITY && best[n].n == 0);
        ur_params_free(st);
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

TEST(width_one_is_greedy)
{
    enum { R = 3, LONG = 12 };
    const int32_t starts[R] = { 0, 1, 2 };
    int ended = 0;
    for (int round = 0; round < 20; round++) {
        ur_params *ps = ur_params_new(UR_F32, (uint64_t)round);
        ur_graph *g = ur_graph_new(UR_F32, UR_INFER), *other = ur_graph_new(UR_F32, UR_INFER);
        ur_decoder m = model(ps);
        ur_params *st = ur_cell_states(m.cell, R);
        ur_hypothesis beam[R], greedy[R];
        ur_beam_options o = { .width = 1, .best = 1, .longest = LONG, .end = END, .alpha = 1,
                              .starts = starts };
        ur_sample_options s = { .end = END, .longest = LONG, .starts = starts };
        CHECK(ur_beam_search(g, ur_decoder_step, &m, st, R, &o, beam));
        ur_state_reset(st, -1);
        CHECK(ur_decode_sample(other, ur_decoder_step, &m, st, R, &s, greedy));
        for (int r = 0; r < R; r++) {
            ended += greedy[r].ended;
            CHECK(beam[r].n == greedy[r].n && beam[r].ended == greedy[r].ended);
            CHECK_MEM(beam[r].symbols, greedy[r].symbols, sizeof(int32_t) * (size_t)beam[r].n);
            CHECK_NEAR(beam[r].log_probability, greedy[r].log_probability, 1e-5);
        }
        ur_params_free(st);
        ur_graph_free(g);
        ur_graph_free(other);
        ur_params_free(ps);
    }
    CHECK(ended > 5 && ended < 20 * R - 5);     /* both ways to stop were seen */
}

/* Symbols that depend on the last one: of 1 an end is the likeliest, 0 leads on and 2 ends soon. */
static ur_node chain(void *ctx, ur_node symbols, ur_node s[])
{
    static const double p[V][V] = {
        { .59, .2, .2, .01 }, { .3, 0, .2, .5 }, { .1, 0, 0, .9 }, { 0, 0, 0, 1 },
    };
    (void)ctx, (void)s;
    return ur_gather(ur_log(ur_input(ur_graph_of(symbols), p, V, V)), symbols);
}

/* An end does not take a beam's place: behind it both 0 and 2 go on. */
TEST(ends_leave_room)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_beam_options o = { .width = 2, .best = 2, .longest = 5, .start = 1, .end = END };
    ur_hypothesis h[2];
    CHECK(ur_beam_search(g, chain, NULL, NULL, 1, &o, h));
    CHECK(h[0].n == 0 && h[0].ended);
    CHECK_NEAR(h[0].score, log(.5), 1e-12);
    CHECK(h[1].n == 1 && h[1].ended && h[1].symbols[0] == 2);
    CHECK_NEAR(h[1].score, log(.18), 1e-12);
    ur_graph_free(g);
}

TEST(length_penalty)
{
    CHECK_NEAR(ur_length_penalty(1, 0.6), 1, 0);
    CHECK_NEAR(ur_length_penalty(7, 0.6), 1.5157165665103982, 1e-15);   /* 2^0.6 */
    CHECK_NEAR(ur_length_penalty(13, 1), 3, 1e-15);
    CHECK_NEAR(ur_length_penalty(40, 0), 1, 0);
}

/* ------------------------------------------------------------------------------------ attention */

enum { S = 3, WIDTH = 4 };

typedef struct translator {
    ur_attention a;
    ur_decoder d;
    const double *encoded;      /* [S,B,H] */
    int B;
} translator;

static ur_node attending(void *model, ur_node symbols, ur_node s[])
{
    const translator *m = model;
    ur_node x = ur_repeat(ur_input(ur_graph_of(symbols), m->encoded, S, m->B, H), 1, WIDTH);
    ur_memory memory = ur_memory_new(m->a, x, NULL);
    return ur_decode_step(ur_decoder_on(m->d, memory, NULL), symbols, s);
}

/* A decoder that looks at a memory: two sentences at once are each as they are alone. */
TEST(attends_a_sentence_at_a_time)
{
    double encoded[2][S * H], both[S * 2 * H];
    ur_params *ps = ur_params_new(UR_F64, 11);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER), *one = ur_graph_new(UR_F64, UR_INFER);
    translator m = { .a = ur_attention_new(ps, "a", UR_SCORE_ADDITIVE, H, H, H) };
    m.d.embed = ur_embedding_new(ps, "embed", V, H);
    m.d.cell = ur_attention_cell(ur_gru(ps, "gru", 2 * H, H), m.a);
    m.d.out = ur_linear_with(ps, "out", 2 * H, V, ur_uniform_between(-2, 2), ur_constant(0));
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < S * H; i++)
            encoded[b][i] = both[(i / H * 2 + b) * H + i % H] = 4 * test_uniform() - 2;
    ur_params *two_states = ur_cell_states(m.d.cell, 2 * WIDTH);
    ur_params *states = ur_cell_states(m.d.cell, WIDTH);
    ur_beam_options o = { .width = WIDTH, .best = WIDTH, .longest = 8, .end = END, .alpha = 0.6 };
    ur_hypothesis two[2 * WIDTH], alone[WIDTH];
    m.encoded = both, m.B = 2;
    if (!CHECK(ur_beam_search(g, attending, &m, two_states, 2, &o, two)))
        printf("%s\n", ur_error(g));
    m.B = 1;
    for (int b = 0; b < 2 && !ur_error(g); b++) {
        m.encoded = encoded[b];
        ur_state_reset(states, -1);
        CHECK(ur_beam_search(one, attending, &m, states, 1, &o, alone));
        for (int k = 0; k < WIDTH; k++) {
            const ur_hypothesis *h = &two[b * WIDTH + k];
            CHECK_NEAR(h->score, alone[k].score, 1e-12);
            if (CHECK(h->n == alone[k].n && h->ended == alone[k].ended))
                CHECK_MEM(h->symbols, alone[k].symbols, sizeof(int32_t) * (size_t)h->n);
        }
    }
    CHECK(fabs(two[0].score - two[WIDTH].score) > 1e-6);
    ur_params_free(two_states);
    ur_params_free(states);
    ur_graph_free(g);
    ur_graph_free(one);
    ur_params_free(ps);
}

/* -------------------------------------------------------------------------------------- scores */

static ur_node uniform(void *ctx, ur_node ids, const int lengths[])
{
    (void)ctx, (void)lengths;
    return ur_zeros(ur_graph_of(ids), ur_dim(ids, 0), ur_dim(ids, 1), V);
}

TEST(scores)
{
    static const int32_t a[] = { 1, 2, 0 }, b[] = { 2 };
    const int32_t *const ids[] = { a, b, NULL };
    const int n[] = { 3, 1, 0 };
    double p[3];
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    CHECK(ur_log_probability(g, uniform, NULL, ids, n, 3, 0, END, p));
    for (int k = 0; k < 3; k++) {
        CHECK_NEAR(p[k], -log(4) * (n[k] + 1), 1e-12);
        CHECK_NEAR(ur_perplexity(p[k], n[k] + 1), 4, 1e-12);
    }
    CHECK(ur_log_probability(g, uniform, NULL, ids, n, 3, -1, -1, p));
    CHECK_NEAR(p[0], -log(4) * 2, 1e-12);
    CHECK(p[1] == 0 && p[2] == 0);
    /* by the step: the same sequence, a symbol at a time */
    ur_params *ps = ur_params_new(UR_F64, 4);
    ur_decoder m = model(ps);
    CHECK(ur_log_probability(g, ur_decoder_all, &m, ids, n, 3, 0, END, p));
    ur_clear(g);
    ur_node s[2];
    ur_cell_zero_states(g, m.cell, 1, s);
    double sum = 0;
    for (int32_t now = 0, t = 0; t < 4; t++) {
        int32_t next = t < 3 ? a[t] : END;
        sum -= ur_value(ur_cross_entropy(ur_decoder_step(&m, ur_ints(g, &now, 1), s),
                                         ur_ints(g, &next, 1)));
        now = next;
    }
    CHECK_NEAR(p[0], sum, 1e-12);
    CHECK(!ur_error(g));
    ur_graph_free(g);
    ur_params_free(ps);
}

/* ------------------------------------------------------------------------------------ the rest */

TEST(spreads_states)
{
    ur_params *a = ur_params_new(UR_F32, 0), *b = ur_params_new(UR_F32, 0);
    ur_node x = ur_param(a, "h", ur_uniform_between(0, 1), 2, 3);
    ur_node y = ur_param(b, "h", ur_constant(0), 6, 3);
    CHECK(ur_state_spread(a, b));
    for (int r = 0; r < 6; r++)
        CHECK_MEM((float *)ur_param_values(y) + 3 * r, (float *)ur_param_values(x) + r / 3 * 3, 12);
    CHECK(!ur_state_spread(b, a));
    CHECK_HAS(ur_error(a), "state_spread: the stores differ");
    ur_params_free(a);
    ur_params_free(b);
}

static ur_node not_a_number(void *ctx, ur_node symbols, ur_node s[])
{
    (void)ctx, (void)s;
    return ur_log(ur_shift(ur_zeros(ur_graph_of(symbols), ur_dim(symbols, 0), V), -1));
}

TEST(refused)
{
    ur_params *ps = ur_params_new(UR_F32, 0);
    ur_graph *g = ur_graph_new(UR_F32, UR_INFER);
    ur_decoder m = model(ps);
    ur_params *st = ur_cell_states(m.cell, 3);
    ur_hypothesis h[4];
    ur_beam_options o = { .width = 2, .best = 3, .longest = 5 };
    CHECK(!ur_beam_search(g, ur_decoder_step, &m, st, 1, NULL, h));
    CHECK_HAS(ur_error(g), "beam_search: the options are NULL");
    ur_error_reset(g);
    CHECK(!ur_beam_search(g, ur_decoder_step, &m, st, 1, &o, h));
    CHECK_HAS(ur_error(g), "beam_search: 1 sentences, width 2, best 3");
    ur_error_reset(g);
    o.best = 1;
    CHECK(!ur_beam_search(g, ur_decoder_step, &m, st, 1, &o, h));
    CHECK_HAS(ur_error(g), "state 0 is [3,5], but 1 sentences of 2 beams are 2 rows");
    ur_error_reset(g);
    CHECK(!ur_beam_search(g, not_a_number, NULL, NULL, 1, &o, h));
    CHECK_HAS(ur_error(g), "NaN in the logits of step 0, sentence 0");
    ur_params_free(st);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(steady)
{
    counting_begin(0);
    ur_params *ps = ur_params_new(UR_F32, 7);
    ur_graph *g = ur_graph_new(UR_F32, UR_INFER);
    ur_decoder m = model(ps);
    ur_params *st = ur_cell_states(m.cell, 4);
    ur_beam_options o = { .width = 4, .best = 2, .longest = 30, .end = END };
    ur_hypothesis h[2];
    long calls = 0;
    for (int k = 0; k < 6; k++) {
        ur_state_reset(st, -1);
        o.start = k % 3;
        CHECK(ur_beam_search(g, ur_decoder_step, &m, st, 1, &o, h));
        if (k == 3)
            calls = counting.calls;
    }
    CHECK_INT(counting.calls, calls);
    ur_params_free(st);
    ur_graph_free(g);
    ur_params_free(ps);
    counting_end();
    CHECK_INT(counting.blocks, 0);
    CHECK_INT(counting.wrong, 0);
}

TEST_MAIN(T(wide_beam_is_exhaustive), T(width_one_is_greedy), T(ends_leave_room),
          T(length_penalty), T(attends_a_sentence_at_a_time), T(scores), T(spreads_states),
          T(refused), T(steady))
