/* Linear chains and CRF: sums, best labellings and gradients against the enumeration of all
 * labellings; padding; texts of errors. */
#include "tests/chains.h"
#include "tests/counting.h"

/* A batch of random chains, the padding of emissions and labels poisoned. */
typedef struct fixture {
    numbers m;
    int32_t y[STEPS][ROWS];
    double weight[ROWS];
} fixture;

static fixture make_fixture(double scale, const int *lengths)
{
    fixture f;
    fill(&f.m.start[0], (int)(sizeof f.m / sizeof(double)), scale);
    fill(f.weight, ROWS, 1);
    for (int t = 0; t < STEPS; t++)
        for (int b = 0; b < ROWS; b++) {
            f.y[t][b] = (int32_t)(test_uniform() * LABELS);
            if (lengths && t >= lengths[b]) {
                f.y[t][b] = b ? -7 : INT32_MAX;
                for (int k = 0; k < LABELS; k++)
                    f.m.x[t][b][k] = NAN;
            }
        }
    return f;
}

typedef struct nodes {
    ur_chain chain;
    ur_node x, y;
} nodes;

static nodes record(ur_graph *g, const fixture *f, int T, int B)
{
    nodes n = { .chain = { ur_input(g, f->m.start, LABELS),
                           ur_input(g, f->m.transitions, LABELS, LABELS),
                           ur_input(g, f->m.end, LABELS) } };
    n.x = ur_input(g, f->m.x, T, B, LABELS);
    n.y = ur_ints(g, f->y[0], T, B);
    return n;
}

/* --------------------------------------------------------------------------------- enumeration */

static void compare_with_enumeration(const fixture *f, const int *lengths)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    nodes n = record(g, f, STEPS, ROWS);
    double sum[ROWS], score[ROWS], loss[ROWS], best[ROWS], mean, total;
    double d_x[STEPS][ROWS][LABELS], d_w[LABELS][LABELS], d_s[LABELS], d_e[LABELS];
    int32_t path[STEPS][ROWS];
    ur_node s, d[4], z = ur_chain_log_sum(n.chain, n.x, lengths);
    ur_node each = ur_crf_loss_with(n.chain, n.x, n.y, lengths, UR_EACH);
    ur_node one = ur_crf_loss(n.chain, n.x, n.y, lengths);
    ur_node all = ur_crf_loss_with(n.chain, n.x, n.y, lengths, UR_TOTAL);
    ur_node given = ur_chain_score(n.chain, n.x, n.y, lengths);
    ur_node y = ur_chain_best(n.chain, n.x, lengths, &s);
    ur_node by[4] = { n.x, n.chain.transitions, n.chain.start, n.chain.end };
    ur_grad(&z, NULL, 1, by, 4, d);
    REQUIRE(ran(g));
    CHECK(ur_read(z, sum, ROWS) && ur_read(each, loss, ROWS) && ur_read(given, score, ROWS) &&
          ur_read(y, path, STEPS * ROWS) && ur_read(s, best, ROWS) &&
          ur_read(d[0], d_x, STEPS * ROWS * LABELS) && ur_read(d[1], d_w, LABELS * LABELS) &&
          ur_read(d[2], d_s, LABELS) && ur_read(d[3], d_e, LABELS));
    double sum_of_losses = 0, w[LABELS][LABELS] = { { 0 } }, first[LABELS] = { 0 };
    double last[LABELS] = { 0 };
    for (int b = 0; b < ROWS; b++) {
        const int n_b = lengths ? lengths[b] : STEPS;
        totals r = enumerate(&f->m, b, n_b);
        int labels[STEPS];
        for (int t = 0; t < STEPS; t++) {
            labels[t] = f->y[t][b];
            CHECK_INT(path[t][b], t < n_b ? r.path[t] : UR_IGNORE);
            for (int k = 0; k < LABELS; k++)
                CHECK_NEAR(d_x[t][b][k], t < n_b ? r.label[t][k] : 0, t < n_b ? 1e-12 : 0);
        }
        for (int j = 0; j < LABELS; j++) {
            first[j] += r.first[j];
            last[j] += r.last[j];
            for (int k = 0; k < LABELS; k++)
                w[j][k] += r.step[j][k];
        }
        CHECK_NEAR(sum[b], r.log_sum, 1e-10);
        CHECK_NEAR(score[b], score_of(&f->m, b, n_b, labels), 1e-10);
        CHECK_NEAR(loss[b], r.log_sum - score_of(&f->m, b, n_b, labels), 1e-10);
        CHECK_NEAR(best[b], n_b ? r.best : 0, 1e-10);
        sum_of_losses += loss[b];
    }
    mean = ur_value(one), total = ur_value(all);
    CHECK_NEAR(total, sum_of_losses, 1e-10);
    CHECK_NEAR(mean, sum_of_losses / ROWS, 1e-10);
    for (int j = 0; j < LABELS; j++) {
        CHECK_NEAR(d_s[j], first[j], 1e-12);
        CHECK_NEAR(d_e[j], last[j], 1e-12);
        for (int k = 0; k < LABELS; k++)
            CHECK_NEAR(d_w[j][k], w[j][k], 1e-12);
    }
    ur_graph_free(g);
}

TEST(equal_to_enumeration)
{
    for (int k = 0; k < 12; k++) {
        const int *lengths = k % 2 ? ragged : NULL;
        fixture f = make_fixture(k < 6 ? 1 : 20, lengths);
        compare_with_enumeration(&f, lengths);
    }
}

/* Without start and end scores; some transitions forbidden. */
TEST(forbidden_and_missing_scores)
{
    fixture f = make_fixture(1, ragged);
    memset(f.m.start, 0, sizeof f.m.start);
    memset(f.m.end, 0, sizeof f.m.end);
    f.m.transitions[0][1] = f.m.transitions[2][0] = -INFINITY;
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    nodes n = record(g, &f, STEPS, ROWS);
    n.chain.start = n.chain.end = UR_NIL;
    double sum[ROWS], d_x[STEPS][ROWS][LABELS], d_w[LABELS][LABELS];
    int32_t path[STEPS][ROWS];
    ur_node d[2], z = ur_chain_log_sum(n.chain, n.x, ragged);
    ur_node y = ur_chain_best(n.chain, n.x, ragged, NULL);
    ur_node by[2] = { n.x, n.chain.transitions };
    ur_grad(&z, NULL, 1, by, 2, d);
    REQUIRE(ran(g));
    CHECK(ur_read(z, sum, ROWS) && ur_read(y, path, STEPS * ROWS) &&
          ur_read(d[0], d_x, STEPS * ROWS * LABELS) && ur_read(d[1], d_w, LABELS * LABELS));
    for (int b = 0; b < ROWS; b++) {
        totals r = enumerate(&f.m, b, ragged[b]);
        CHECK_NEAR(sum[b], r.log_sum, 1e-10);
        for (int t = 0; t < STEPS; t++) {
            CHECK_INT(path[t][b], t < ragged[b] ? r.path[t] : UR_IGNORE);
            for (int k = 0; k < LABELS; k++)
                CHECK_NEAR(d_x[t][b][k], t < ragged[b] ? r.label[t][k] : 0, 1e-12);
        }
    }
    CHECK_NEAR(d_w[0][1], 0, 0);
    CHECK_NEAR(d_w[2][0], 0, 0);
    ur_graph_free(g);
}

/* A best start that cannot go on: what a sum in the domain of probabilities loses to underflow. */
TEST(nothing_underflows)
{
    for (int type = UR_F32; type <= UR_F64; type++) {
        ur_graph *g = ur_graph_new((ur_type)type, UR_INFER);
        ur_node x = ur_scale(ur_cast(ur_ints(g, ((int32_t[]){ 1, 0, 0, 0 }), 2, 1, 2)), 2000);
        ur_node w = ur_scale(ur_cast(ur_ints(g, ((int32_t[]){ -1, -1, 0, 0 }), 2, 2)), 4000);
        ur_node z = ur_chain_log_sum(((ur_chain){ .transitions = w }), x, NULL);
        CHECK_NEAR(ur_value(z), log(2), 1e-6);
        ur_graph_free(g);
    }
}

/* ------------------------------------------------------------------------------------- padding */

/* Other lengths have the plan of the first; other padding has the same bits, gradients too. */
TEST(padding_never_matters)
{
    for (int type = UR_F32; type <= UR_F64; type++) {
        ur_params *ps = ur_params_new((ur_type)type, 3);
        ur_graph *g = ur_graph_new((ur_type)type, UR_TRAIN);
        ur_chain crf = ur_crf_new(ps, "crf", LABELS);
        const size_t size = type == UR_F64 ? 8 : 4;
        char got[2][2048];
        float x[STEPS][ROWS][LABELS];
        double y[STEPS][ROWS][LABELS];
        fixture f = make_fixture(1, ragged);
        for (int k = 0; k < 2; k++) {
            for (int i = 0; i < STEPS * ROWS * LABELS; i++) {
                double v = (&f.m.x[0][0][0])[i];
                (&y[0][0][0])[i] = k && isnan(v) ? i - 30 : v;
                (&x[0][0][0])[i] = (float)(&y[0][0][0])[i];
            }
            for (int i = 0; k && i < STEPS * ROWS; i++)
                if ((&f.y[0][0])[i] < 0 || (&f.y[0][0])[i] >= LABELS)
                    (&f.y[0][0])[i] = 1;
            ur_clear(g);
            ur_node in = ur_input(g, type == UR_F64 ? (void *)y : x, STEPS, ROWS, LABELS), d, s;
            ur_node loss = ur_crf_loss(crf, in, ur_ints(g, f.y[0], STEPS, ROWS), ragged);
            ur_node path = ur_chain_best(crf, in, ragged, &s);
            ur_backward(loss);
            ur_grad(&loss, NULL, 1, &in, 1, &d);
            REQUIRE(ran(g));
            char *to = got[k];
            const size_t n = STEPS * ROWS * LABELS;
            CHECK(ur_read(loss, to, 1) && ur_read(s, to + size, ROWS) &&
                  ur_read(d, to + 5 * size, n) && ur_read(path, to + (5 + n) * size, STEPS * ROWS));
            to += (5 + n) * size + 4 * STEPS * ROWS;
            memcpy(to, ur_gradients(ps), ur_block_elements(ps) * size);
            to += ur_block_elements(ps) * size;
            memset(to, 0, (size_t)(got[k] + sizeof got[k] - to));
            ur_gradient_used(ps);
        }
        CHECK_MEM(got[0], got[1], sizeof got[0]);
        size_t plans = ur_stats(g).plans_made;
        ur_clear(g);
        static const int other[ROWS] = { 5, 2, 0, 4 };
        ur_node in = ur_input(g, NULL, STEPS, ROWS, LABELS), d, s;
        ur_node loss = ur_crf_loss(crf, in, ur_ints(g, NULL, STEPS, ROWS), other);
        ur_chain_best(crf, in, other, &s);
        ur_backward(loss);
        ur_grad(&loss, NULL, 1, &in, 1, &d);
        REQUIRE(ran(g));
        CHECK_INT(ur_stats(g).plans_made, plans);
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

TEST(nothing_at_all)
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_chain crf = ur_crf_new(ps, "crf", LABELS);
    double loss[2] = { 1, 1 };
    ur_node s, y = ur_chain_best(crf, ur_zeros(g, 0, 2, LABELS), NULL, &s);
    ur_node each = ur_crf_loss_with(crf, ur_zeros(g, 0, 2, LABELS), ur_ints(g, NULL, 0, 2), NULL,
                                    UR_EACH);
    ur_node nobody = ur_crf_loss(crf, ur_zeros(g, 2, 0, LABELS), ur_ints(g, NULL, 2, 0), NULL);
    REQUIRE(ran(g));
    CHECK_INT(ur_dim(y, 0), 0);
    CHECK_INT(ur_dim(s, 0), 2);
    CHECK(ur_read(each, loss, 2));
    CHECK_NEAR(loss[0], 0, 0);
    CHECK_NEAR(ur_value(nobody), 0, 0);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* ----------------------------------------------------------------------------------- gradients */

typedef struct setting {
    ur_chain crf;
    const int *lengths;
} setting;

static void losses(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const setting *p = ctx;
    (void)g;
    out[0] = ur_crf_loss_with(p->crf, in[0], in[1], p->lengths, UR_EACH);
    out[1] = ur_chain_log_sum(p->crf, in[0], p->lengths);
    ur_chain_best(p->crf, in[0], p->lengths, &out[2]);
}

TEST(gradients)
{
    ur_params *ps = ur_params_new(UR_F32, 3);
    setting p = { .crf = ur_crf_with(ps, "crf", LABELS, ur_uniform_between(-1, 1)) };
    for (int k = 0; k < 6; k++) {
        const int T = checked[k % 3].T;
        p.lengths = k < 3 ? NULL : checked[k % 3].n;
        passes(k < 3 ? "crf" : "crf, ragged",
               ur_check(losses, .in = { ur_in("x", T, ROWS, LABELS),
                                        ur_in_ints("y", LABELS, T, ROWS) },
                        .outputs = 3, .ctx = &p, .order = 2));
    }
    ur_params_free(ps);
}

/* ------------------------------------------------------------------------------------- errors */

TEST(errors)
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_chain crf = ur_crf_new(ps, "crf", LABELS);
    ur_node x, y;
#define FAILS(call, text)                                                                          \
    do {                                                                                           \
        x = ur_zeros(g, STEPS, ROWS, LABELS);                                                      \
        y = ur_ints(g, NULL, STEPS, ROWS);                                                         \
        (void)x, (void)y;                                                                          \
        CHECK(ur_is_nil(call));                                                                    \
        CHECK_HAS(ur_error(g), text);                                                              \
        CHECK_HAS(ur_error(g), "structured.c:");                                                   \
        ur_error_reset(g);                                                                         \
        ur_clear(g);                                                                               \
    } while (0)
    FAILS((x = ur_zeros(g, 4, 3), ur_crf_loss(crf, x, y, NULL)),
          "crf_loss: x is [4,3], but emissions are numbers [T,B,K]");
    FAILS(ur_crf_loss(crf, y, y, NULL),
          "crf_loss: y is int32 [5,4], but emissions are numbers [T,B,K]");
    FAILS((x = ur_zeros(g, 5, 4, 2), ur_chain_best(crf, x, NULL, NULL)),
          "chain_best: x is [5,4,2], but the chain's transitions are [3,3]");
    FAILS(ur_crf_loss(crf, x, x, NULL),
          "crf_loss: x is [5,4,3] and x is [5,4,3], but labels are int32 [T,B]");
    FAILS((y = ur_ints(g, NULL, 4, 5), ur_chain_score(crf, x, y, NULL)),
          "chain_score: x is [5,4,3] and y is int32 [4,5], but labels are int32 [T,B]");
    FAILS(ur_chain_log_sum(((ur_chain){ .transitions = crf.transitions, .end = x }), x, NULL),
          "chain_log_sum: the chain's end scores are [5,4,3], not [3]");
    FAILS(ur_crf_loss(crf, x, y, ((int[]){ 5, 0, 6, 1 })),
          "crf_loss: lengths[2] is 6, not between 0 and the 5 steps");
    FAILS(ur_ids_within(x, ragged, 0), "ids_within: x is [5,4,3], but ids are int32 [T,B]");
    FAILS(ur_length_mask(g, 1, ROWS, ragged), "length_mask: lengths[0] is 3, not between 0 and");
#undef FAILS
    /* only the run can tell of a label, at a step that is live */
    int32_t bad[STEPS][ROWS] = { { 0 } };
    bad[3][0] = 9;
    x = ur_zeros(g, STEPS, ROWS, LABELS);
    ur_node loss = ur_crf_loss(crf, x, ur_ints(g, bad[0], STEPS, ROWS), ragged);
    CHECK(!isnan(ur_value(loss)));
    bad[2][0] = LABELS;
    loss = ur_crf_loss(crf, x, ur_ints(g, bad[0], STEPS, ROWS), ragged);
    CHECK(!ur_run(g));
    CHECK_HAS(ur_error(g), "id 3 at position 8, but ids are from 0 to 2 here");
    ur_graph_free(g);
    ur_params_free(ps);
}

/* --------------------------------------------------------------------------------------- memory */

TEST(steady_state_takes_no_memory)
{
    counting_begin(0);
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_chain crf = ur_crf_new(ps, "crf", LABELS);
    long calls = 0;
    for (int step = 0; step < 8; step++) {
        const int lengths[ROWS] = { step % 6, 3, 5 - step % 5, 0 };
        ur_clear(g);
        ur_node x = ur_zeros(g, STEPS, ROWS, LABELS);
        ur_node y = ur_chain_best(crf, x, lengths, NULL);
        ur_backward(ur_crf_loss(crf, x, ur_ints(g, NULL, STEPS, ROWS), lengths));
        REQUIRE(ran(g));
        CHECK_INT(ur_dim(y, 0), STEPS);
        ur_gradient_used(ps);
        if (step == 3)
            calls = counting.calls;
    }
    CHECK_INT(counting.calls - calls, 0);
    ur_graph_free(g);
    ur_params_free(ps);
    CHECK_INT(counting.blocks, 0);
    counting_end();
}

TEST_MAIN(T(equal_to_enumeration), T(forbidden_and_missing_scores), T(nothing_underflows),
          T(padding_never_matters), T(nothing_at_all), T(gradients), T(errors),
          T(steady_state_takes_no_memory))
