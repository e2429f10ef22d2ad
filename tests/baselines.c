/* What recurrent networks are compared with. The n-gram model: against sums by hand and against
 * counting by looking, sums of 1, generation, errors, memory. Bags and windows. */
#include <stdlib.h>
#include "tests/chains.h"
#include "tests/counting.h"

/* The text 0 1 0 2, pairs: p(w) = (c(w) + 3/3) / (4 + 3); after 0, which 1 and 2 followed once,
 * (c + 2 p(w)) / (2 + 2); after 1, (c + p(w)) / (1 + 1); after 2, nothing. */
TEST(by_hand)
{
    static const int32_t text[] = { 0, 1, 0, 2 };
    static const double after[4][3] = {
        { 6.0 / 28, 11.0 / 28, 11.0 / 28 },
        { 10.0 / 14, 2.0 / 14, 2.0 / 14 },
        { 3.0 / 7, 2.0 / 7, 2.0 / 7 },
        { 3.0 / 7, 2.0 / 7, 2.0 / 7 },          /* no history */
    };
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_ngram *m = ur_ngram_new(ps, 2, 3);
    double p[3];
    CHECK(ur_ngram_next(m, NULL, 0, p));
    for (int w = 0; w < 3; w++)
        CHECK_NEAR(p[w], 1.0 / 3, 1e-15);
    CHECK(ur_ngram_add(m, text, 4));
    for (int32_t h = 0; h < 4; h++) {
        const int32_t history[2] = { 1, h };
        CHECK(ur_ngram_next(m, history, h == 3 ? 0 : 2, p));
        for (int32_t w = 0; w < 3; w++) {
            CHECK_NEAR(p[w], after[h][w], 1e-15);
            CHECK_NEAR(ur_ngram_log_p(m, history, h == 3 ? 0 : 2, w), log(after[h][w]), 1e-14);
        }
    }
    CHECK_NEAR(ur_ngram_text_log_p(m, text, 4),
               log(3.0 / 7 * 11 / 28 * 10 / 14 * 11 / 28), 1e-14);
    CHECK_NEAR(ur_ngram_text_log_p(m, text, 0), 0, 0);
    ur_params_free(ps);
}

/* p(w | the last k symbols of h), counted by looking through two texts. */
static double by_looking(const int32_t *text[2], const int *n, const int32_t *h, int k, int V,
                         int32_t w)
{
    const double below = k < 0 ? 0 : k == 0 ? 1.0 / V
                                            : by_looking(text, n, h + 1, k - 1, V, w);
    double seen = 0, followed = 0, different = 0;
    bool *met = calloc((size_t)V, 1);
    for (int which = 0; which < 2; which++)
        for (int i = 0; i + k < n[which]; i++) {
            if (memcmp(text[which] + i, h, sizeof *h * (size_t)k) != 0)
                continue;
            const int32_t next = text[which][i + k];
            followed++;
            seen += next == w;
            different += !met[next];
            met[next] = true;
        }
    free(met);
    return followed > 0 ? (seen + different * below) / (followed + different) : below;
}

TEST(all_orders)
{
    enum { N = 300, V = 4 };
    int32_t a[N], b[N / 2];
    const int32_t *text[2] = { a, b };
    const int n[2] = { N, N / 2 };
    for (int i = 0; i < N; i++)
        a[i] = (int32_t)(V * test_uniform() * test_uniform());
    for (int i = 0; i < N / 2; i++)
        b[i] = (int32_t)(V * test_uniform());
    for (int order = 1; order <= UR_NGRAM_ORDER; order++) {
        ur_params *ps = ur_params_new(UR_F32, 1);
        ur_ngram *m = ur_ngram_new(ps, order, V);
        CHECK(ur_ngram_add(m, a, N) && ur_ngram_add(m, b, N / 2));
        for (int trial = 0; trial < 40; trial++) {
            int32_t h[10];
            double p[V], sum = 0;
            const int known = trial % 10, k = known < order - 1 ? known : order - 1;
            for (int i = 0; i < 10; i++)
                h[i] = trial < 30 ? a[7 * trial + i] : (int32_t)(V * test_uniform());
            CHECK(ur_ngram_next(m, h, (size_t)known, p));
            for (int32_t w = 0; w < V; w++) {
                sum += p[w];
                CHECK(p[w] > 0);
                CHECK_NEAR(p[w], by_looking(text, n, h + known - k, k, V, w), 1e-13);
            }
            CHECK_NEAR(sum, 1, 1e-13);
        }
        ur_params_free(ps);
    }
}

TEST(generation)
{
    enum { N = 20000, V = 5 };
    static int32_t ids[N + 1], again[N + 1];
    static const int32_t text[] = { 0, 1, 2, 3, 4, 0, 0, 3, 1, 4, 2, 0, 0, 1 };
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_ngram *m = ur_ngram_new(ps, 2, V);
    double p[V], drawn[V] = { 0 }, zeros = 0;
    const int32_t zero = 0;
    CHECK(ur_ngram_add(m, text, sizeof text / sizeof *text));
    ids[0] = again[0] = 3;
    CHECK(ur_ngram_generate(m, 9, ids, 1, N + 1) && ur_ngram_generate(m, 9, again, 1, N + 1));
    CHECK_MEM(ids, again, sizeof ids);
    CHECK_INT(ids[0], 3);
    CHECK(ur_ngram_generate(m, 10, again, 1, N + 1) && memcmp(ids, again, sizeof ids) != 0);
    CHECK(ur_ngram_next(m, &zero, 1, p));
    for (int i = 0; i < N; i++)
        if (ids[i] == 0) {
            zeros++;
            drawn[ids[i + 1]]++;
        }
    for (int k = 0; k < V; k++)
        CHECK_NEAR(drawn[k] / zeros, p[k], 0.03);
    ur_params_free(ps);
}

TEST(refusals)
{
    ur_params *ps = ur_params_new(UR_F32, 1);
    static const int32_t ids[] = { 0, 1, 5, 1 };
    double p[3];
    CHECK(!ur_ngram_new(ps, 9, 3));
    CHECK_STR(ur_error(ps), "ngram: order 9 of 3 symbols: orders are from 1 to 8, symbols at least "
              "1");
    CHECK(!ur_ngram_new(ps, 2, 3));
    ur_error_reset(ps);
    CHECK(!ur_ngram_new(ps, 2, 0) && !ur_ngram_new(NULL, 2, 3));
    ur_error_reset(ps);
    ur_ngram *m = ur_ngram_new(ps, 2, 3);
    CHECK(m && !ur_ngram_add(m, ids, 4));
    CHECK_STR(ur_error(ps), "ngram_add: id 5 at position 2, but ids are from 0 to 2");
    CHECK(!ur_ngram_add(m, ids, 2) && isnan(ur_ngram_log_p(m, ids, 1, 0)));
    ur_error_reset(ps);
    CHECK(ur_ngram_next(m, NULL, 0, p));
    CHECK_NEAR(p[0], 1.0 / 3, 1e-15);           /* nothing was counted */
    CHECK(isnan(ur_ngram_log_p(m, ids, 1, 3)));
    CHECK_STR(ur_error(ps), "ngram_log_p: id 3 at position 0, but ids are from 0 to 2");
    ur_error_reset(ps);
    CHECK(isnan(ur_ngram_text_log_p(m, ids, 4)));
    ur_error_reset(ps);
    int32_t out[6] = { 7 };
    CHECK(!ur_ngram_generate(m, 1, out, 1, 6));
    CHECK(!ur_ngram_add(NULL, ids, 1) && !ur_ngram_next(NULL, ids, 1, p));
    ur_params_free(ps);
}

TEST(without_memory)
{
    enum { N = 3000 };
    static int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(50 * test_uniform());
    for (long call = 1; ; call++) {
        counting_begin(call);
        ur_params *ps = ur_params_new(UR_F32, 1);
        ur_ngram *m = ur_ngram_new(ps, 4, 50);
        bool ok = ur_ngram_add(m, ids, N);
        const long failed = counting.failed;
        CHECK(ok == !failed);
        CHECK(ok || !ps || ur_error(ps));
        ur_params_free(ps);
        CHECK_INT(counting.blocks, 0);
        counting_end();
        if (!failed)
            break;
    }
}

/* ----------------------------------------------------------------------------- bags and windows */

enum { F = 2, FULL = STEPS * ROWS * F };

TEST(bags)
{
    for (int k = 0; k < 2; k++) {
        const int *lengths = k ? ragged : NULL;
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        double x[STEPS][ROWS][F], sum[ROWS][F], mean[ROWS][F], d_x[STEPS][ROWS][F];
        fill(x[0][0], FULL, 1);
        for (int t = 0; t < STEPS; t++)
            for (int b = 0; b < ROWS; b++)
                if (lengths && t >= lengths[b])
                    x[t][b][0] = x[t][b][1] = NAN;
        ur_node in = ur_input(g, x, STEPS, ROWS, F), d;
        ur_node total = ur_bag(in, lengths, UR_TOTAL), average = ur_bag(in, lengths, UR_MEAN);
        ur_grad(&average, NULL, 1, &in, 1, &d);
        REQUIRE(ran(g));
        CHECK(ur_read(total, sum, ROWS * F) && ur_read(average, mean, ROWS * F) &&
              ur_read(d, d_x, FULL));
        for (int b = 0; b < ROWS; b++)
            for (int f = 0; f < F; f++) {
                const int n = lengths ? lengths[b] : STEPS;
                double s = 0;
                for (int t = 0; t < n; t++)
                    s += x[t][b][f];
                CHECK_NEAR(sum[b][f], s, 1e-14);
                CHECK_NEAR(mean[b][f], n ? s / n : 0, 1e-14);
                for (int t = 0; t < STEPS; t++)
                    CHECK_NEAR(d_x[t][b][f], t < n ? 1.0 / n : 0, 1e-15);
            }
        ur_graph_free(g);
    }
}

TEST(windows)
{
    static const struct {
        int before, after;
    } shapes[] = { { 2, 0 }, { 1, 1 }, { 0, 0 }, { 7, 6 } };
    for (int k = 0; k < 8; k++) {
        const int before = shapes[k / 2].before, n = before + 1 + shapes[k / 2].after;
        const int *lengths = k % 2 ? ragged : NULL;
        ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
        double x[STEPS][ROWS][F], got[STEPS * ROWS * 14 * F];
        fill(x[0][0], FULL, 1);
        for (int t = 0; t < STEPS; t++)
            for (int b = 0; b < ROWS; b++)
                if (lengths && t >= lengths[b])
                    x[t][b][0] = NAN;
        ur_node y = ur_window(ur_input(g, x, STEPS, ROWS, F), lengths, before, n - 1 - before);
        REQUIRE(ran(g));
        CHECK_INT(ur_dim(y, 2), n * F);
        REQUIRE(ur_read(y, got, (size_t)(STEPS * ROWS * n * F)));
        for (int t = 0; t < STEPS; t++)
            for (int b = 0; b < ROWS; b++)
                for (int i = 0; i < n * F; i++) {
                    const int from = t - before + i / F, end = lengths ? lengths[b] : STEPS;
                    const bool in = t < end && from >= 0 && from < end;
                    CHECK_NEAR(got[((t * ROWS) + b) * n * F + i], in ? x[from][b][i % F] : 0, 0);
                }
        ur_graph_free(g);
    }
}

static void both(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g;
    out[0] = ur_bag(in[0], ctx, UR_MEAN);
    out[1] = ur_bag(in[0], ctx, UR_TOTAL);
    out[2] = ur_window(in[0], ctx, 2, 1);
}

TEST(gradients)
{
    for (int k = 0; k < 6; k++)
        passes("bag and window",
               ur_check(both, .in = { ur_in("x", checked[k % 3].T, ROWS, F) }, .outputs = 3,
                        .ctx = k < 3 ? NULL : (void *)checked[k % 3].n, .order = 2));
}

TEST(errors)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_node x;
#define FAILS(call, text)                                                                          \
    do {                                                                                           \
        x = ur_zeros(g, STEPS, ROWS, F);                                                           \
        (void)x;                                                                                   \
        CHECK(ur_is_nil(call));                                                                    \
        CHECK_HAS(ur_error(g), text);                                                              \
        CHECK_HAS(ur_error(g), "baselines.c:");                                                    \
        ur_error_reset(g);                                                                         \
        ur_clear(g);                                                                               \
    } while (0)
    FAILS((x = ur_zeros(g, 2, 3), ur_bag(x, NULL, UR_MEAN)),
          "bag: x is [2,3], but a sequence is numbers [T,B,F]");
    FAILS(ur_bag(x, ((int[]){ 1, 1, 1, -1 }), UR_MEAN), "bag: lengths[3] is -1, not between 0 and");
    FAILS(ur_bag(x, NULL, UR_EACH), "bag: a bag is a UR_MEAN or a UR_TOTAL");
    FAILS((x = ur_ints(g, NULL, 5, 4, 2), ur_window(x, NULL, 1, 1)),
          "window: x is int32 [5,4,2], but a sequence is numbers [T,B,F]");
    FAILS(ur_window(x, NULL, -1, 1), "window: -1 before and 1 after: both are at least 0");
#undef FAILS
    ur_graph_free(g);
}

TEST_MAIN(T(by_hand), T(all_orders), T(generation), T(refusals), T(without_memory), T(bags),
          T(windows), T(gradients), T(errors))
