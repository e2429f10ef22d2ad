/* Sequences sampled from a model without a memory: how often what is drawn. */
#include "tests/test.h"
#include "unroll/unroll.h"

enum { V = 4, END = 3 };

static const float fixed[V] = { -0.6931472f, -1.3862944f, -2.0794415f, -2.0794415f };

/* 1/2, 1/4, 1/8, 1/8 whatever went before. */
static ur_node memoryless(void *ctx, ur_node symbols, ur_node s[])
{
    (void)ctx, (void)s;
    ur_graph *g = ur_graph_of(symbols);
    return ur_repeat(ur_input(g, fixed, 1, V), 0, ur_dim(symbols, 0));
}

TEST(sampling_frequencies)
{
    enum { R = 4000, LONG = 5 };
    static ur_hypothesis out[R];
    ur_graph *g = ur_graph_new(UR_F32, UR_INFER);
    static const struct { double temperature, top_p; int top_k; double p[V]; } cases[] = {
        { 1, 0, 0, { .5, .25, .125, .125 } },
        { 1, 1, 2, { 2 / 3., 1 / 3., 0, 0 } },
        { 1, .8, 0, { 4 / 7., 2 / 7., 1 / 7., 0 } },
        { .5, 1, 0, { 8 / 11., 2 / 11., .5 / 11, .5 / 11 } },
        { 0, 1, 0, { 1, 0, 0, 0 } },
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        ur_sample_options o = { .end = -1, .longest = LONG, .temperature = cases[c].temperature,
                                .top_k = cases[c].top_k, .top_p = cases[c].top_p };
        double n[V] = { 0 };
        ur_seed(g, 3);
        CHECK(ur_decode_sample(g, memoryless, NULL, NULL, R, &o, out));
        for (int r = 0; r < R; r++) {
            double log_p = 0;
            for (int t = 0; t < LONG; t++) {
                n[out[r].symbols[t]]++;
                log_p += fixed[out[r].symbols[t]];
            }
            if (out[r].n != LONG || out[r].ended || fabs(out[r].score - log_p) > 1e-5)
                CHECK(!"a whole sequence");
        }
        for (int v = 0; v < V; v++)
            CHECK_NEAR(n[v] / (R * LONG), cases[c].p[v], 0.0175 * (cases[c].p[v] > 0));
    }
    ur_graph_free(g);
}

/* An end by chance: a share of 1/8 of the sequences are empty, and the numbers are the seed's. */
TEST(seeded_ends)
{
    enum { R = 2000, LONG = 6 };
    static ur_hypothesis out[R];
    static int32_t first[R];
    ur_graph *g = ur_graph_new(UR_F32, UR_INFER);
    ur_sample_options o = { .end = END, .longest = LONG, .temperature = 1 };
    int empty = 0, again = 0;
    for (int round = 0; round < 2; round++) {
        ur_seed(g, 5);
        ur_set_run_number(g, 0);
        CHECK(ur_decode_sample(g, memoryless, NULL, NULL, R, &o, out));
        for (int r = 0; r < R; r++) {
            empty += out[r].n == 0 && out[r].ended;
            CHECK(out[r].ended || out[r].n == LONG);
            int32_t code = out[r].n;
            for (int t = 0; t < out[r].n; t++)
                code = 5 * code + out[r].symbols[t];
            again += round == 1 && code == first[r];
            first[r] = code;
        }
    }
    CHECK_NEAR(empty / (2. * R), 0.125, 0.03);
    CHECK_INT(again, R);
    ur_graph_free(g);
}

TEST(refused)
{
    ur_graph *g = ur_graph_new(UR_F32, UR_INFER);
    ur_sample_options s = { .longest = -1 };
    ur_hypothesis h;
    CHECK(!ur_decode_sample(g, memoryless, NULL, NULL, 1, &s, &h));
    CHECK_HAS(ur_error(g), "decode_sample: 1 rows, longest -1");
    ur_graph_free(g);
}

TEST_MAIN(T(sampling_frequencies), T(seeded_ends), T(refused))
