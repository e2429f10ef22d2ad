/* The hidden Markov model: probabilities and best states against the enumeration of all states;
 * all probabilities add up to 1; it learns. */
#include "tests/chains.h"

enum { V = 4, FULL = STEPS * ROWS };

static double softmax(const double *logits, int n, int k)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += exp(logits[i] - logits[k]);
    return 1 / sum;
}

/* The model as a chain for ids x [STEPS][ROWS]. */
static numbers chain_of(ur_hmm m, int32_t x[][ROWS])
{
    numbers c = { .end = { 0 } };
    const double *pi = ur_param_values(m.start), *a = ur_param_values(m.transitions);
    const double *e = ur_param_values(m.emissions);
    for (int k = 0; k < LABELS; k++) {
        c.start[k] = log(softmax(pi, LABELS, k));
        for (int j = 0; j < LABELS; j++)
            c.transitions[j][k] = log(softmax(a + j * LABELS, LABELS, k));
        for (int t = 0; t < STEPS; t++)
            for (int b = 0; b < ROWS; b++)
                if (x[t][b] >= 0 && x[t][b] < V)
                    c.x[t][b][k] = log(softmax(e + k * V, V, x[t][b]));
    }
    return c;
}

TEST(equal_to_enumeration)
{
    for (int trial = 0; trial < 2; trial++) {
        const int *lengths = trial ? ragged : NULL;
        ur_params *ps = ur_params_new(UR_F64, 5);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        ur_hmm m = ur_hmm_new(ps, "hmm", LABELS, V);
        int32_t x[STEPS][ROWS], path[STEPS][ROWS];
        double p[ROWS], best[ROWS], sum = 0;
        int symbols = 0;
        for (int t = 0; t < STEPS; t++)
            for (int b = 0; b < ROWS; b++)
                x[t][b] = lengths && t >= lengths[b] ? 1000 : (int32_t)(V * test_uniform());
        ur_node in = ur_ints(g, x[0], STEPS, ROWS), s;
        ur_node log_p = ur_hmm_log_p(m, in, lengths), loss = ur_hmm_loss(m, in, lengths);
        ur_node y = ur_hmm_best(m, in, lengths, &s);
        REQUIRE(ran(g));
        CHECK(ur_read(log_p, p, ROWS) && ur_read(y, path, FULL) && ur_read(s, best, ROWS));
        numbers c = chain_of(m, x);
        for (int b = 0; b < ROWS; b++) {
            const int n = lengths ? lengths[b] : STEPS;
            totals r = enumerate(&c, b, n);
            CHECK_NEAR(p[b], r.log_sum, 1e-10);
            CHECK_NEAR(best[b], n ? r.best : 0, 1e-10);
            for (int t = 0; t < STEPS; t++)
                CHECK_INT(path[t][b], t < n ? r.path[t] : UR_IGNORE);
            sum -= p[b];
            symbols += n;
        }
        CHECK_NEAR(ur_value(loss), sum / symbols, 1e-12);
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* Of all sequences of three symbols. */
TEST(probabilities_add_up_to_one)
{
    enum { N = 3, ALL = V * V * V };
    ur_params *ps = ur_params_new(UR_F64, 5);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    int32_t x[N][ALL];
    double p[ALL], sum = 0;
    for (int i = 0; i < ALL; i++)
        x[0][i] = i % V, x[1][i] = i / V % V, x[2][i] = i / V / V;
    ur_hmm m = ur_hmm_new(ps, "hmm", LABELS, V);
    CHECK(ur_read(ur_hmm_log_p(m, ur_ints(g, x[0], N, ALL), NULL), p, ALL));
    for (int i = 0; i < ALL; i++)
        sum += exp(p[i]);
    CHECK_NEAR(sum, 1, 1e-12);
    ur_graph_free(g);
    ur_params_free(ps);
}

typedef struct setting {
    ur_hmm hmm;
    const int *lengths;
} setting;

static void losses(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const setting *p = ctx;
    (void)g;
    out[0] = ur_hmm_log_p(p->hmm, in[0], p->lengths);
    out[1] = ur_hmm_loss(p->hmm, in[0], p->lengths);
    ur_hmm_best(p->hmm, in[0], p->lengths, &out[2]);
}

TEST(gradients)
{
    ur_params *ps = ur_params_new(UR_F32, 3);
    setting p = { .hmm = ur_hmm_new(ps, "hmm", LABELS, V) };
    for (int k = 0; k < 6; k++) {
        p.lengths = k < 3 ? NULL : checked[k % 3].n;
        passes("hmm", ur_check(losses, .in = { ur_in_ints("x", V, checked[k % 3].T, ROWS) },
                               .outputs = 3, .ctx = &p, .order = 2));
    }
    ur_params_free(ps);
}

/* Symbols 0 1 2 3 in turn need four states; -ln p goes from ln 4 to nearly 0. */
TEST(learns_a_cycle)
{
    ur_params *ps = ur_params_new(UR_F32, 2);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_hmm m = ur_hmm_new(ps, "hmm", 6, V);
    ur_optim *opt = ur_optim_new(ps, ur_adam(0.1));
    int32_t x[20][ROWS];
    double loss = 0;
    for (int t = 0; t < 20; t++)
        for (int b = 0; b < ROWS; b++)
            x[t][b] = t % V;
    for (int i = 0; i < 150; i++) {
        ur_clear(g);
        ur_node l = ur_hmm_loss(m, ur_ints(g, x[0], 20, ROWS), NULL);
        ur_backward(l);
        REQUIRE(ran(g) && ur_step(opt));
        loss = ur_value(l);
    }
    CHECK(loss < 0.1);
    ur_optim_free(opt);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(padding_never_matters)
{
    ur_params *ps = ur_params_new(UR_F32, 2);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_hmm m = ur_hmm_new(ps, "hmm", LABELS, V);
    float loss[2];
    float gradient[2][LABELS + LABELS * LABELS + LABELS * V];
    for (int k = 0; k < 2; k++) {
        int32_t x[STEPS][ROWS];
        for (int t = 0; t < STEPS; t++)
            for (int b = 0; b < ROWS; b++)
                x[t][b] = t < ragged[b] ? (t + b) % V : k ? 1 : -5;
        ur_clear(g);
        ur_node l = ur_backward(ur_hmm_loss(m, ur_ints(g, x[0], STEPS, ROWS), ragged));
        REQUIRE(ran(g) && ur_read(l, &loss[k], 1));
        memcpy(gradient[k], ur_param_gradient(m.start), sizeof(float) * LABELS);
        memcpy(gradient[k] + LABELS, ur_param_gradient(m.transitions),
               sizeof(float) * LABELS * LABELS);
        memcpy(gradient[k] + LABELS + LABELS * LABELS, ur_param_gradient(m.emissions),
               sizeof(float) * LABELS * V);
        ur_gradient_used(ps);
    }
    CHECK_MEM(&loss[0], &loss[1], sizeof loss[0]);
    CHECK_MEM(gradient[0], gradient[1], sizeof gradient[0]);
    CHECK_INT(ur_stats(g).plans_made, 1);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(errors)
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_hmm m = ur_hmm_new(ps, "hmm", LABELS, V);
    ur_node x = ur_zeros(g, STEPS, ROWS);
    CHECK(ur_is_nil(ur_hmm_loss(m, x, NULL)));
    CHECK_HAS(ur_error(g), "hmm_loss: x is [5,4], but ids are int32 [T,B]");
    CHECK_HAS(ur_error(g), "hmm.c:");
    ur_error_reset(g);
    ur_clear(g);
    x = ur_ints(g, NULL, STEPS, ROWS);
    CHECK(ur_is_nil(ur_hmm_best(m, x, ((int[]){ 1, 2, 3, 9 }), NULL)));
    CHECK_HAS(ur_error(g), "hmm_best: lengths[3] is 9, not between 0 and the 5 steps");
    ur_error_reset(g);
    ur_clear(g);
    x = ur_ints(g, NULL, STEPS, ROWS);
    CHECK(ur_is_nil(ur_hmm_loss(((ur_hmm){ m.start, m.emissions, m.emissions }), x, NULL)));
    CHECK_HAS(ur_error(g), "hmm_loss: the model's emissions are [3,4], its transitions [3,4]");
    ur_error_reset(g);
    ur_clear(g);
    x = ur_ints(g, ((int32_t[]){ 0, V }), 2, 1);
    ur_hmm_loss(m, x, NULL);
    CHECK(!ur_run(g));
    CHECK_HAS(ur_error(g), "id 4 at position 1, but ids are from 0 to 3 here");
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST_MAIN(T(equal_to_enumeration), T(probabilities_add_up_to_one), T(gradients),
          T(learns_a_cycle), T(padding_never_matters), T(errors))
