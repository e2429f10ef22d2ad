/* Cells made of cells: stacks and dropout; and what constructors refuse. */
#include <dirent.h>
#include <limits.h>
#include "tests/cells.h"

TEST(a_stack_is_one_on_top_of_the_other)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_cell *low = ur_lstm(ps, "low", I, 5), *high = ur_gru(ps, "high", 5, H);
    ur_cell *both = ur_stacked("both", (ur_cell *[]){ low, high }, 2, 0.5);
    CHECK_INT(both->n_states, 3);
    CHECK_INT(both->inputs, I);
    CHECK_INT(both->outputs, H);
    CHECK_INT(both->sizes[0], 5);
    CHECK_INT(both->sizes[2], H);
    double x[T * B * I], y[T * B * H], c[B * 5];
    fill(x, T * B * I);
    ur_node in = ur_input(g, x, T, B, I), s[3], a[2], b[1];
    CHECK(ur_cell_zero_states(g, both, B, s) && ur_cell_zero_states(g, low, B, a) &&
          ur_cell_zero_states(g, high, B, b));
    ur_node stacked = ur_unroll(both, in, s);
    ur_node apart = ur_unroll(high, ur_unroll(low, in, a), b);
    REQUIRE(ran(g));
    CHECK(ur_read(apart, y, T * B * H) && ur_read(a[1], c, B * 5));
    compare(stacked, y, T * B * H, 1e-14);
    compare(s[1], c, B * 5, 1e-14);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* Zeros of the output, one a place; what a mask of one sequence looks like. */
static void zeros_of(ur_node y, bool *zero, int n)
{
    double v[400];
    REQUIRE(n <= 400 && ur_read(y, v, (size_t)n));
    for (int i = 0; i < n; i++)
        zero[i] = v[i] == 0;
}

TEST(dropout_on_outputs)
{
    enum { MANY = 40, TOTAL = 3 * 2 * MANY };
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN), *infer = ur_graph_new(UR_F64, UR_INFER);
    ur_cell *cell = ur_gru(ps, "gru", I, MANY);
    ur_cell *each = ur_dropout_cell(cell, 0.5), *one = ur_dropout_cell_sequence(cell, 0.5);
    double x[3 * 2 * I], plain[TOTAL], h[2 * MANY];
    bool a[TOTAL], b[TOTAL];
    fill(x, 3 * 2 * I);
    ur_node s[1], r[1], in = ur_input(g, x, 3, 2, I);
    CHECK(ur_cell_zero_states(g, each, 2, s) && ur_cell_zero_states(g, cell, 2, r));
    ur_node y = ur_unroll(each, in, s), z = ur_unroll(one, in, NULL), w = ur_unroll(cell, in, r);
    REQUIRE(ran(g));
    CHECK(ur_read(r[0], h, 2 * MANY));
    compare(s[0], h, 2 * MANY, 1e-14);      /* what is carried stays whole */
    zeros_of(y, a, TOTAL);
    zeros_of(z, b, TOTAL);
    int dropped = 0, same = 0, kept = 0;
    for (int i = 0; i < TOTAL; i++) {
        dropped += a[i];
        same += a[i] == a[i % (2 * MANY)];
        kept += b[i] == b[i % (2 * MANY)];
    }
    CHECK(dropped > TOTAL / 3 && dropped < TOTAL * 2 / 3);
    CHECK(same < TOTAL);
    CHECK_INT(kept, TOTAL);
    CHECK(ur_read(w, plain, TOTAL));
    double doubled[TOTAL];
    CHECK(ur_read(y, doubled, TOTAL));
    for (int i = 0; i < TOTAL; i++)
        CHECK_NEAR(doubled[i], a[i] ? 0 : 2 * plain[i], 1e-14);
    /* no dropout where nothing is learnt, and another rate on the same plan */
    ur_node v = ur_unroll(one, ur_input(infer, x, 3, 2, I), NULL);
    compare(v, plain, TOTAL, 1e-14);
    CHECK(ur_set_dropout(each, 1) && !ur_set_dropout(each, 1.5) && !ur_set_dropout(cell, 0.5));
    ur_clear(g);
    y = ur_unroll(each, ur_input(g, x, 3, 2, I), NULL);
    REQUIRE(ran(g));
    zeros_of(y, a, TOTAL);
    for (int i = 0; i < TOTAL; i++)
        CHECK(a[i]);
    ur_graph_free(g);
    ur_graph_free(infer);
    ur_params_free(ps);
}

/* One mask for a sequence is that of the whole row, too, where rows end at different steps. */
TEST(one_mask_for_rows_of_any_length)
{
    enum { MANY = 20, ROWS = 3, STEPS = 5 };
    static const int lengths[ROWS] = { 3, 5, 0 };
    for (int k = 0; k < 4; k++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        ur_cell *cell = ur_dropout_cell_sequence(ur_gru(ps, "gru", I, MANY), 0.5);
        double x[STEPS * ROWS * I];
        bool zero[STEPS * ROWS * MANY];
        int dropped = 0;
        fill(x, STEPS * ROWS * I);
        const int *n = k < 2 ? lengths : NULL;
        ur_node in = ur_input(g, x, STEPS, ROWS, I);
        zeros_of(k % 2 ? ur_unroll_backward(cell, in, n, NULL)
                       : ur_unroll_lengths(cell, in, n, NULL), zero, STEPS * ROWS * MANY);
        for (int i = 0; i < STEPS * ROWS * MANY; i++) {
            const int b = i / MANY % ROWS, t = i / MANY / ROWS;
            CHECK_INT(zero[i], (n && t >= lengths[b]) || zero[i % (ROWS * MANY)]);
            dropped += t == 0 && zero[i];
        }
        CHECK(dropped > MANY && dropped < ROWS * MANY - (k < 2 ? 0 : MANY));
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* --------------------------------------------------------------------------------- construction */

TEST(errors_of_construction)
{
    static const struct { int inputs, hidden; const char *text; } bad[] = {
        { 0, 2, "cell lstm: 0 inputs, 2 outputs, 2 states: sizes are from 1" },
        { 3, -1, "cell lstm: 3 inputs, -1 outputs, 2 states: sizes are from 1" },
    };
    for (int k = 0; k < 2; k++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        ur_cell *cell = ur_lstm(ps, "lstm", bad[k].inputs, bad[k].hidden);
        CHECK_HAS(ur_error(ps), bad[k].text);
        CHECK(!ur_cell_usable(cell));
        CHECK(ur_cell_states(cell, 2) == NULL);
        CHECK(ur_is_nil(ur_unroll(cell, ur_zeros(g, 1, 1, 1), NULL)));
        CHECK_HAS(ur_error(g), "unroll: the cell could not be made: cell lstm: ");
        ur_graph_free(g);
        ur_params_free(ps);
    }
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_cell *a = ur_gru(ps, "a", 3, 4), *b = ur_gru(ps, "b", 5, 4);
    CHECK(!ur_cell_usable(ur_stacked("two", (ur_cell *[]){ a, b }, 2, 0)));
    CHECK_STR(ur_error(ps), "stacked two: cell 2, b, takes 5 inputs, but a below it has 4 outputs");
    ur_error_reset(ps);
    ur_gru(ps, "a", 3, 4);
    CHECK_HAS(ur_error(ps), "there is a parameter \"a.Wr\" already");
    ur_params_free(ps);
}

/* Sums and multiples of such sizes would not be ints: no constructor forms them first. */
TEST(sizes_beyond_the_largest)
{
    enum { MOST = INT_MAX };
    static ur_cell *(*const cell[])(ur_params *, const char *, int, int) = {
        ur_elman, ur_elman_relu, ur_irnn, ur_lstm, ur_lstm_peephole, ur_lstm_coupled, ur_lstm_norm,
        ur_gru, ur_gru_reset_after, ur_gru_simple, ur_mgu,
    };
    static const int sizes[][2] = { { MOST, MOST }, { 3, MOST }, { MOST, 3 }, { -MOST - 1, -1 } };
    char text[200];
    for (size_t k = 0; k < sizeof cell / sizeof *cell; k++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            ur_params *ps = ur_params_new(UR_F32, 7);
            CHECK(!ur_cell_usable(cell[k](ps, "big", sizes[i][0], sizes[i][1])));
            snprintf(text, sizeof text, "cell big: %d inputs, %d outputs, ", sizes[i][0],
                     sizes[i][1]);
            CHECK_HAS(ur_error(ps), text);
            CHECK_HAS(ur_error(ps), " states: sizes are from 1 to 268435456, states at least 0");
            ur_params_free(ps);
        }
    ur_params *ps = ur_params_new(UR_F32, 7);
    ur_cell *gru = ur_gru(ps, "gru", 3, 4);
    const ur_attention one = ur_attention_new(ps, "one", UR_SCORE_GENERAL, 4, 1, 0);
    ur_attention wide = one;
    wide.K = -MOST - 1;
#define REFUSED(call, text)                                                                        \
    do {                                                                                           \
        (void)(call);                                                                              \
        CHECK_STR(ur_error(ps), text);                                                             \
        ur_error_reset(ps);                                                                        \
    } while (0)
    REFUSED(ur_cell_new(ps, "own", sizeof(ur_cell), gru->step, 3, 4, 1, (int[]){ MOST }),
            "cell own: state 0 has size 2147483647, which must be from 1 to 268435456");
    REFUSED(ur_tree_lstm_binary(ps, "tree", 3, MOST),
            "tree_lstm tree: 3 inputs, 2147483647 units: sizes are from 1 to 268435456");
    REFUSED(ur_encoder_block_new(ps, "block", MOST, .heads = 1),
            "transformer block block: 2147483647 features, not 1 to 268435456");
    REFUSED(ur_attention_new(ps, "a", UR_SCORE_ADDITIVE, 1, MOST, 1),
            "attention a: Q 1, K 2147483647, A 1: sizes are from 1 to 268435456");
    REFUSED(ur_attention_cell(gru, wide), "attention_cell: cell gru, 3 inputs, cannot look with 4 "
            "features at -2147483648: the latter are inputs beside x, the former the size of its "
            "first state");
    REFUSED(ur_input_feeding(gru, "feeding", one, -MOST - 1), "input_feeding feeding: cell gru, 3 "
            "inputs and 4 outputs, is to look with 4 features and to be fed -2147483648 beside x");
    REFUSED(ur_bridge_new(ps, "bridge", 3, (int[]){ MOST, MOST, 1 }, gru),
            "bridge bridge: from 4294967295 features, not 1 to 268435456");
#undef REFUSED
    ur_params_free(ps);
}

/* Layers are written with what a user has: of the tree, they include public headers alone. */
TEST(layers_use_the_public_headers_alone)
{
    char path[600], text[300];
    int files = 0;
    DIR *folder = opendir(TEST_ROOT "/layers");
    REQUIRE(folder != NULL);
    for (const struct dirent *e; (e = readdir(folder)) != NULL;) {
        size_t n = strlen(e->d_name);
        if (n < 3 || (strcmp(e->d_name + n - 2, ".c") != 0 && strcmp(e->d_name + n - 2, ".h") != 0))
            continue;
        snprintf(path, sizeof path, "%s/layers/%.200s", TEST_ROOT, e->d_name);
        FILE *f = fopen(path, "r");
        for (files++; f && fgets(text, sizeof text, f);)
            if (!CHECK(strncmp(text, "#include \"", 10) || !strncmp(text + 10, "unroll/", 7)))
                printf("  %s: %s", e->d_name, text);
        if (CHECK(f != NULL))
            fclose(f);
    }
    closedir(folder);
    CHECK(files > 10);
}

TEST_MAIN(T(a_stack_is_one_on_top_of_the_other), T(dropout_on_outputs),
          T(one_mask_for_rows_of_any_length), T(errors_of_construction),
          T(sizes_beyond_the_largest), T(layers_use_the_public_headers_alone))
