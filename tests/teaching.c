/* What a decoder is fed: the truth, or its own choice by the toss of a coin. */
#include "tests/translator.h"

/* A cell without states that hands x on: what a decoder made of it is fed can be read off its
 * logits. Symbol v is answered by v + 1, and the truth is always 0: a row that is fed its own
 * symbols counts on from its last 0. */
static ur_node hand_on(const ur_cell *cell, ur_node x, ur_node s[])
{
    (void)cell, (void)s;
    return ur_scale(x, 1);
}

enum { LONG = 24, ROWS = 50, SYMBOLS = 40 };

static ur_decoder counting_decoder(ur_params *ps)
{
    ur_decoder d = {
        .embed = ur_embedding_with(ps, "e", SYMBOLS, SYMBOLS, ur_identity(1)),
        .cell = ur_cell_new(ps, "on", sizeof(ur_cell), hand_on, SYMBOLS, SYMBOLS, 0, NULL),
        .out = ur_linear_unbiased(ps, "next", SYMBOLS, SYMBOLS, ur_constant(0)),
    };
    float *W = ur_param_values(d.out.W);
    for (int v = 0; v < SYMBOLS; v++)
        W[v * SYMBOLS + (v + 1) % SYMBOLS] = 30;
    ur_params_changed(ps);
    return d;
}

/* What each row was fed, and how many were the truth after the first step. */
static int fed(ur_graph *g, ur_decoder d, const ur_teaching *how, int32_t id[LONG][ROWS])
{
    ur_clear(g);
    ur_node y = ur_teach_at(UR_AT("ids"), d, ur_ints(g, NULL, LONG, ROWS), NULL, NULL, how);
    int truths = 0;
    CHECK(ur_read(ur_argmax(y, -1), id, LONG * ROWS));
    for (int t = 0; t < LONG; t++)
        for (int b = 0; b < ROWS; b++) {
            id[t][b]--;
            truths += t && id[t][b] == 0;
            CHECK(id[t][b] == 0 || (t && id[t][b] == id[t - 1][b] + 1));
        }
    CHECK_STR(ur_error(g), NULL);
    return truths;
}

TEST(coins_choose_what_is_fed)
{
    const int all = (LONG - 1) * ROWS;
    static int32_t id[LONG][ROWS];
    ur_params *ps = ur_params_new(UR_F32, 7);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_decoder d = counting_decoder(ps);
    CHECK_INT(fed(g, d, &(ur_teaching){ .ratio = 1 }, id), all);
    CHECK_INT(fed(g, d, &(ur_teaching){ .ratio = 0 }, id), 0);
    const size_t plans = ur_stats(g).plans_made;
    int some = fed(g, d, &(ur_teaching){ .ratio = 0.7 }, id), rows = 0;
    CHECK(some > all * 0.65 && some < all * 0.75);
    some = fed(g, d, &(ur_teaching){ .ratio = 0.3, .temperature = 0.5 }, id);
    CHECK(some > all * 0.25 && some < all * 0.35);
    CHECK_INT(ur_stats(g).plans_made, plans);           /* a ratio is data */
    some = fed(g, d, &(ur_teaching){ .ratio = 0.5, .per_sequence = true }, id);
    for (int b = 0; b < ROWS; b++) {
        for (int t = 2; t < LONG; t++)
            CHECK((id[t][b] == 0) == (id[1][b] == 0));
        rows += id[1][b] == 0;
    }
    CHECK_INT(some, rows * (LONG - 1));
    CHECK(rows > ROWS / 4 && rows < ROWS * 3 / 4);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* A row's own choice is what greedy decoding by single steps makes: the same symbols. */
TEST(one_step_alone)
{
    for (how how = 0; how < HOWS; how++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
        translator m = make(ps, how);
        int32_t source[S * B], start[T * B] = { 0 };
        double all[T * B * V], step[B * V];
        draw(source, S * B);
        ur_node s[3], x = ur_ints(g, source, S, B);
        ur_decoder on = ur_decoder_on(m.d, encode(g, &m, x, s), NULL);
        ur_node y = ur_teach(on, ur_ints(g, start, T, B), NULL, s, .ratio = 0);
        on = ur_decoder_on(m.d, encode(g, &m, x, s), NULL);
        ur_node id = ur_ints(g, start, B), logits[T];
        for (int t = 0; t < T; t++) {
            logits[t] = ur_keep(ur_decode_step(on, id, s));
            id = ur_argmax(logits[t], -1);
        }
        REQUIRE(ur_read(y, all, T * B * V));
        for (int t = 0; t < T; t++) {
            REQUIRE(ur_read(logits[t], step, B * V));
            for (int i = 0; i < B * V; i++)
                CHECK_NEAR(step[i], all[t * B * V + i], 1e-14);
        }
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

TEST_MAIN(T(coins_choose_what_is_fed), T(one_step_alone))
