/* CTC's loss: values and gradients against the enumeration of all paths and against PyTorch's;
 * labellings that cannot be; padding; texts of errors. */
#include "tests/counting.h"
#include "tests/ctc_paths.h"
#include "tests/reference/ctc.h"

/* A batch of every kind of labelling: none, one, equal neighbours, as long as the row, no row. */
enum { MANY = 7 };
static const int n_labels[MANY] = { 2, 0, 1, 3, 2, 0, 5 };
static const int lengths[MANY] = { 5, 3, 1, 5, 4, 0, 5 };

static void labels_without(int blank, int *label)
{
    static const int pattern[13] = { 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0 };
    for (int i = 0; i < 13; i++)
        label[i] = pattern[i] + (pattern[i] >= blank);
    for (int i = 0; i < 13; i++)
        CHECK(label[i] != blank && label[i] < V);
}

TEST(equal_to_enumeration)
{
    for (int blank = 0; blank < V; blank++) {
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        double x[PATHS_T][MANY][V], log_p[PATHS_T * MANY * V], each[MANY], sum = 0;
        double d_x[PATHS_T][MANY][V], occupied[PATHS_T][V];
        int label[13];
        const int *y = label;
        labels_without(blank, label);
        fill(x[0][0], PATHS_T * MANY * V, 2);
        for (int b = 0; b < MANY; b++)
            for (int t = lengths[b]; t < PATHS_T; t++)
                x[t][b][t % V] = NAN;
        ur_node in = ur_input(g, x, PATHS_T, MANY, V), d, p = ur_log_softmax(in);
        ur_node loss = ur_ctc_loss_with(in, label, n_labels, lengths, blank, false, UR_EACH);
        ur_node total = ur_ctc_loss_with(in, label, n_labels, lengths, blank, false, UR_TOTAL);
        ur_node mean = ur_ctc_loss(in, label, n_labels, lengths, blank);
        ur_grad(&loss, NULL, 1, &in, 1, &d);
        REQUIRE(ran(g));
        CHECK(ur_read(loss, each, MANY) && ur_read(p, log_p, PATHS_T * MANY * V) &&
              ur_read(d, d_x, PATHS_T * MANY * V));
        for (int b = 0; b < MANY; y += n_labels[b++]) {
            double Z = enumerate_paths(log_p, lengths[b], MANY, b, blank, y, n_labels[b], occupied);
            if (!CHECK_NEAR(each[b], -log(Z), 1e-10))
                printf("  blank %d, row %d\n", blank, b);
            sum += each[b];
            for (int t = 0; t < PATHS_T; t++)
                for (int k = 0; k < V; k++) {
                    const double q = log_p[(t * MANY + b) * V + k];
                    const double expected = t < lengths[b] ? exp(q) - occupied[t][k] / Z : 0;
                    CHECK_NEAR(d_x[t][b][k], expected, t < lengths[b] ? 1e-10 : 0);
                }
        }
        CHECK_NEAR(ur_value(total), sum, 1e-10);
        CHECK_NEAR(ur_value(mean), sum / MANY, 1e-10);
        ur_graph_free(g);
    }
}

TEST(equal_to_pytorch)
{
    for (size_t k = 0; k < sizeof torch_ctc / sizeof *torch_ctc; k++) {
        const struct torch_ctc *m = &torch_ctc[k];
        enum { N = TORCH_T * TORCH_B * TORCH_V };
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        double each[TORCH_B], d_x[N];
        ur_node in = ur_input(g, m->x, TORCH_T, TORCH_B, TORCH_V), d;
        ur_node loss = ur_ctc_loss_with(in, m->labels, m->n_labels, m->lengths, m->blank, false,
                                        UR_EACH);
        ur_grad(&loss, NULL, 1, &in, 1, &d);
        REQUIRE(ran(g));
        CHECK(ur_read(loss, each, TORCH_B) && ur_read(d, d_x, N));
        for (int b = 0; b < TORCH_B; b++)
            CHECK_NEAR(each[b], m->loss[b], 1e-10);
        for (int i = 0; i < N; i++)
            CHECK_NEAR(d_x[i], m->d_x[i], 1e-10);
        ur_graph_free(g);
    }
}

/* Equal neighbours need a blank between them: 2 labels, 2 steps. */
TEST(labellings_that_cannot_be)
{
    static const int label[] = { 1, 1, 2, 1, 2, 1 }, n[] = { 2, 2, 1, 1 }, steps[] = { 2, 2, 0, 2 };
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    double x[2][4][V], each[4], zeros[4], d_x[2][4][V], d_z[2][4][V], none[4][V] = { { 0 } };
    fill(x[0][0], 2 * 4 * V, 1);
    ur_node in = ur_input(g, x, 2, 4, V), d, z;
    ur_node loss = ur_ctc_loss_with(in, label, n, steps, 0, false, UR_EACH);
    ur_node zero = ur_ctc_loss_with(in, label, n, steps, 0, true, UR_EACH);
    ur_grad(&loss, NULL, 1, &in, 1, &d);
    ur_grad(&zero, NULL, 1, &in, 1, &z);
    REQUIRE(ran(g));
    CHECK(ur_read(loss, each, 4) && ur_read(zero, zeros, 4) && ur_read(d, d_x, 2 * 4 * V) &&
          ur_read(z, d_z, 2 * 4 * V));
    for (int b = 0; b < 4; b++) {
        const bool possible = b % 2;
        CHECK(possible ? each[b] > 0 && isfinite(each[b]) : each[b] == INFINITY);
        CHECK_NEAR(zeros[b], possible ? each[b] : 0, 0);
        for (int t = 0; t < 2; t++) {
            CHECK((memcmp(d_x[t][b], none[b], sizeof none[b]) == 0) != possible);
            CHECK_MEM(d_x[t][b], d_z[t][b], sizeof none[b]);
        }
    }
    ur_graph_free(g);
}

TEST(nothing_at_all)
{
    static const int none[2] = { 0, 0 };
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    double each[2] = { 1, 1 };
    ur_node loss = ur_ctc_loss_with(ur_zeros(g, 0, 2, V), NULL, none, NULL, 0, false, UR_EACH);
    ur_node nobody = ur_ctc_loss(ur_zeros(g, 3, 0, V), NULL, none, NULL, 0);
    ur_node blanks = ur_ctc_loss(ur_zeros(g, 3, 2, V), NULL, none, NULL, 0);
    REQUIRE(ran(g));
    CHECK(ur_read(loss, each, 2));
    CHECK_NEAR(each[0], 0, 0);
    CHECK_NEAR(ur_value(nobody), 0, 0);
    CHECK_NEAR(ur_value(blanks), 3 * log(V), 1e-14);
    ur_graph_free(g);
}

/* ------------------------------------------------------------------------------------- padding */

TEST(padding_never_matters)
{
    for (int type = UR_F32; type <= UR_F64; type++) {
        ur_graph *g = ur_graph_new((ur_type)type, UR_TRAIN);
        const size_t size = type == UR_F64 ? 8 : 4;
        enum { N = PATHS_T * MANY * V };
        char got[2][(N + 1) * 8] = { { 0 } };
        double x[PATHS_T][MANY][V];
        float narrow[N];
        int label[13];
        labels_without(0, label);
        fill(x[0][0], N, 1);
        for (int k = 0; k < 2; k++) {
            for (int b = 0; b < MANY; b++)
                for (int t = lengths[b]; t < PATHS_T; t++)
                    x[t][b][1] = k ? 1e30 : NAN;
            for (int i = 0; i < N; i++)
                narrow[i] = (float)(&x[0][0][0])[i];
            ur_clear(g);
            ur_node in = ur_input(g, type == UR_F64 ? (void *)x : narrow, PATHS_T, MANY, V), d;
            ur_node loss = ur_ctc_loss_with(in, label, n_labels, lengths, 0, true, UR_MEAN);
            ur_grad(&loss, NULL, 1, &in, 1, &d);
            REQUIRE(ran(g));
            CHECK(ur_read(loss, got[k], 1) && ur_read(d, got[k] + size, N));
        }
        CHECK_MEM(got[0], got[1], sizeof got[0]);
        ur_graph_free(g);
    }
}

/* Other labels and lengths are other data: no new plan, no memory. */
TEST(labels_are_data)
{
    counting_begin(0);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_linear_layer out = ur_linear_new(ps, "out", 2, V);
    long calls = 0;
    for (int k = 0; k < 8; k++) {
        const int n[2] = { k % 4, 2 }, steps[2] = { 5, 3 + k % 3 };
        const int label[5] = { 1 + k % 2, 2, 1 + (k + 1) % 2, 1, 2 };
        ur_clear(g);
        ur_node x = ur_linear(out, ur_zeros(g, PATHS_T, 2, 2));
        ur_backward(ur_ctc_loss(x, label, n, steps, 0));
        REQUIRE(ran(g));
        ur_gradient_used(ps);
        if (k == 3)
            calls = counting.calls;
    }
    CHECK_INT(ur_stats(g).plans_made, 1);
    CHECK_INT(counting.calls - calls, 0);
    ur_graph_free(g);
    ur_params_free(ps);
    CHECK_INT(counting.blocks, 0);
    counting_end();
}

/* ----------------------------------------------------------------------------------- gradients */

typedef struct setting {
    const int *label, *n, *lengths;
    int blank;
} setting;

static void losses(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const setting *p = ctx;
    (void)g;
    out[0] = ur_ctc_loss_with(in[0], p->label, p->n, p->lengths, p->blank, true, UR_EACH);
}

TEST(gradients)
{
    static const int label[] = { 1, 2, 2, 1 }, short_n[2] = { 1, 0 };
    setting p = { .label = label, .n = short_n };
    passes("1 step", ur_check(losses, .in = { ur_in("x", 1, 2, V) }, .ctx = &p, .order = 2));
    p.n = (int[]){ 2, 1 };
    passes("2 steps", ur_check(losses, .in = { ur_in("x", 2, 2, V) }, .ctx = &p, .order = 2));
    p.n = (int[]){ 1, 1 }, p.lengths = (int[]){ 2, 1 };
    passes("2 and 1 steps", ur_check(losses, .in = { ur_in("x", 2, 2, V) }, .ctx = &p,
                                     .order = 2));
    p.n = short_n, p.lengths = (int[]){ 1, 0 };
    passes("1 and no steps", ur_check(losses, .in = { ur_in("x", 1, 2, V) }, .ctx = &p,
                                      .order = 2));
    p.n = (int[]){ 4, 0 }, p.lengths = NULL;
    passes("5 steps", ur_check(losses, .in = { ur_in("x", 5, 2, V) }, .ctx = &p, .order = 2));
    int ragged_label[13];
    labels_without(1, ragged_label);
    p = (setting){ ragged_label, n_labels, lengths, 1 };
    passes("ragged", ur_check(losses, .in = { ur_in("x", PATHS_T, MANY, V) }, .ctx = &p,
                              .order = 2));
    /* equal numbers everywhere: ties are no kinks */
    static const double same[5 * 2 * V];
    p = (setting){ label, (int[]){ 2, 2 }, NULL, 0 };
    passes("ties", ur_check(losses, .in = { ur_in_given("x", same, 5, 2, V) }, .ctx = &p));
}

/* ------------------------------------------------------------------------------------- errors */

TEST(errors)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    static const int label[] = { 1, 2, 0 };
    ur_node x;
#define FAILS(call, text)                                                                          \
    do {                                                                                           \
        x = ur_zeros(g, 4, 2, V);                                                                  \
        (void)x;                                                                                   \
        CHECK(ur_is_nil(call));                                                                    \
        CHECK_HAS(ur_error(g), text);                                                              \
        CHECK_HAS(ur_error(g), "ctc.c:");                                                          \
        ur_error_reset(g);                                                                         \
        ur_clear(g);                                                                               \
    } while (0)
    const int one[2] = { 1, 1 }, three[2] = { 1, 2 };
    FAILS((x = ur_zeros(g, 4, 3), ur_ctc_loss(x, label, one, NULL, 0)),
          "ctc_loss: x is [4,3], but logits are numbers [T,B,V]");
    FAILS(ur_ctc_loss(x, label, one, NULL, 3), "ctc_loss: x is [4,2,3], but the blank is 3");
    FAILS(ur_ctc_loss(x, label, NULL, NULL, 0), "ctc_loss: n_labels is NULL");
    FAILS(ur_ctc_loss(x, NULL, one, NULL, 0), "ctc_loss: labels is NULL");
    FAILS(ur_ctc_loss(x, label, one, NULL, -1), "ctc_loss: x is [4,2,3], but the blank is -1");
    FAILS(ur_ctc_loss(x, label, three, NULL, 0), "ctc_loss: label 1 of row 1 is 0, not between 0 "
          "and 2 without the blank, 0");
    FAILS(ur_ctc_loss(x, ((int[]){ 7 }), one, NULL, 0), "ctc_loss: label 0 of row 0 is 7, not");
    FAILS(ur_ctc_loss(x, label, ((int[]){ 1, -1 }), NULL, 0), "ctc_loss: n_labels[1] is -1");
    FAILS(ur_ctc_loss(x, label, one, ((int[]){ 4, 5 }), 0),
          "ctc_loss: lengths[1] is 5, not between 0 and the 4 steps");
#undef FAILS
    ur_graph_free(g);
}

TEST_MAIN(T(equal_to_enumeration), T(equal_to_pytorch), T(labellings_that_cannot_be),
          T(nothing_at_all), T(padding_never_matters), T(labels_are_data), T(gradients), T(errors))
