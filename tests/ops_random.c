/* Dropout, noise and sampling: what they are keyed by, their distributions, and their limits. */
#include "values.h"

TEST(dropout)
{
    ON_EACH_GRAPH() {
        ur_seed(g, 5);
        double ones[4000];
        for (int i = 0; i < 4000; i++)
            ones[i] = 1;
        ur_node x = LEAF(ones, 40, 100), y = ur_dropout(x, 0.2), dx = values_grad(y, UR_NIL, x);
        const double *v = values_of(y), *d = values_of(dx);
        int dropped = 0, odd = 0;
        for (int i = 0; i < 4000; i++) {
            dropped += v[i] == 0;
            odd += (v[i] != 0 && fabs(v[i] - 1.25) > 4 * unit) || d[i] != v[i];
        }
        CHECK_INT(odd, 0);
        CHECK_NEAR(dropped, 800, 4 * sqrt(4000 * 0.2 * 0.8));
        CHECK_VALUES(ur_dropout(x, 1), (double[4000]){ 0 }, 0);
        /* at rate 0 and in inference there is nothing to record */
        CHECK_INT(ur_dropout(x, 0).id, x.id);
        CHECK(!ur_error(g));
        ur_dropout(x, 1.5);
        CHECK_HAS(ur_error(g), "the rate 1.5 is not in [0, 1]");
        ur_error_reset(g);
    }
    g = ur_graph_new(UR_F32, UR_INFER);
    ur_node x = LEAF(NULL, 3);
    CHECK_INT(ur_dropout(x, 0.5).id, x.id);
    ur_graph_free(g);
    g = NULL;
}

/* NaN in a dropped place stays there, forward and backward. */
TEST(dropout_hides_nan)
{
    ON_EACH_GRAPH() {
        double nan[64], *seed = nan;
        for (int i = 0; i < 64; i++)
            nan[i] = NAN;
        ur_node x = LEAF(nan, 64), y = ur_dropout(x, 0.5), dx = values_grad(y, LEAF(seed, 64), x);
        const double *v = values_of(y), *d = values_of(dx);
        int hidden = 0;
        for (int i = 0; i < 64; i++) {
            CHECK(isnan(v[i]) ? isnan(d[i]) : v[i] == 0 && d[i] == 0);
            hidden += v[i] == 0;
        }
        CHECK(hidden > 15 && hidden < 49);
        CHECK_VALUES(values_grad(ur_dropout(x, 1), x, x), (double[64]){ 0 }, 0);
    }
}

static bool same(ur_node a, ur_node b)
{
    return memcmp(values_of(a), values_of(b), ur_count(a) * sizeof(double)) == 0;
}

TEST(keys)
{
    ON_EACH_GRAPH() {
        double kept[200], before[200];
        ur_node x = LEAF(NULL, 200);
        ur_node a = ur_dropout(x, 0.5), b = ur_dropout(x, 0.5);
        ur_node c = ur_dropout_tagged(x, 0.5, 7), d = ur_dropout_tagged(x, 0.5, 7);
        ur_node e = ur_dropout_tagged(x, 0.5, 8), f = ur_dropout_tagged(x, 0.5, 0);
        CHECK(!same(a, b));
        CHECK(same(c, d));
        CHECK(!same(c, e) && !same(c, a) && !same(f, a) && !same(e, f));
        memcpy(kept, values_of(c), sizeof kept);
        memcpy(before, values_of(a), sizeof before);
        ur_keep(a);
        ur_keep(c);
        REQUIRE(ur_rerun(g));
        CHECK(memcmp(kept, values_of(c), sizeof kept) != 0);        /* another run, another mask */
        CHECK(memcmp(before, values_of(a), sizeof before) != 0);
        /* the same seed and run number draw the same on a new tape, another seed does not */
        for (int again = 0; again < 3; again++) {
            ur_clear(g);
            ur_seed(g, again == 2);
            ur_set_run_number(g, 41);
            const double *v = values_of(ur_bernoulli(g, 0.5, 200));
            if (again)
                CHECK_INT(memcmp(before, v, sizeof before) == 0, again == 1);
            memcpy(before, v, sizeof before);
        }
    }
}

TEST(noise)
{
    double v[2][4000];
    ON_EACH_GRAPH() {
        ur_node u = ur_noise_uniform(g, -1, 3, 40, 100), z = ur_noise_normal(g, 2, 4000);
        ur_node b = ur_bernoulli(g, 0.25, 4000), t = ur_bernoulli_tagged(g, 0.25, 3, 4000);
        CHECK(same(t, ur_bernoulli_tagged(g, 0.25, 3, 4000)));
        memcpy(v[0], values_of(u), sizeof v[0]);
        memcpy(v[1], values_of(z), sizeof v[1]);
        const double *p = values_of(b);
        double sum[4] = { 0 }, ones = 0;
        for (int i = 0; i < 4000; i++) {
            CHECK(v[0][i] >= -1 && v[0][i] <= 3);
            for (int k = 0; k < 2; k++) {
                sum[2 * k] += v[k][i] / 4000;
                sum[2 * k + 1] += v[k][i] * v[k][i] / 4000;
            }
            ones += p[i];
        }
        CHECK_NEAR(sum[0], 1, 4 * sqrt(16 / 12.0 / 4000));
        CHECK_NEAR(sum[1] - sum[0] * sum[0], 16 / 12.0, 0.1);
        CHECK_NEAR(sum[2], 0, 4 * sqrt(4 / 4000.0));
        CHECK_NEAR(sum[3], 4, 4 * 4 * sqrt(2 / 4000.0));
        CHECK_NEAR(ones, 1000, 4 * sqrt(750));
        CHECK_NEAR(ur_value(ur_sum(ur_noise_uniform(g, 2, 2, 3))), 6, 8 * unit);
    }
}

/* How often each of the ids of one distribution is drawn, in rows of one tape. */
static void count(const double *logits, int V, int rows, double temperature, int top_k,
                  double top_p, int *times)
{
    static double x[VALUES];
    for (int i = 0; i < rows * V; i++)
        x[i] = logits[i % V];
    memset(times, 0, sizeof *times * (size_t)V);
    const double *id = values_of(ur_sample(LEAF(x, rows, V), temperature, top_k, top_p));
    for (int i = 0; i < rows; i++)
        if (CHECK(id[i] >= 0 && id[i] < V))
            times[(int)id[i]]++;
}

/* Whether the draws are those of probabilities p (which need not sum to 1). */
static void check_draws(const int *times, int V, int rows, const double *p)
{
    double sum = 0;
    for (int v = 0; v < V; v++)
        sum += p[v];
    for (int v = 0; v < V; v++) {
        double q = p[v] / sum;
        CHECK_NEAR(times[v], q * rows, 4.5 * sqrt(rows * q * (1 - q)));
    }
}

TEST(sample)
{
    enum { V = 5, ROWS = 800 };
    const double p[V] = { 0.3, 0.05, 0.4, 0.05, 0.2 };
    double x[V], hot[V];
    int times[V];
    for (int v = 0; v < V; v++) {
        x[v] = log(p[v]) + 3;
        hot[v] = pow(p[v], 0.5);
    }
    ON_EACH_GRAPH() {
        count(x, V, ROWS, 1, 0, 1, times);
        check_draws(times, V, ROWS, p);
        count(x, V, ROWS, 2, 0, 1, times);
        check_draws(times, V, ROWS, hot);
        count(x, V, ROWS, 0, 0, 1, times);
        CHECK_INT(times[2], ROWS);
        count(x, V, ROWS, 1, 1, 1, times);
        CHECK_INT(times[2], ROWS);
        count(x, V, ROWS, 1, 2, 1, times);
        check_draws(times, V, ROWS, (double[]){ 0.3, 0, 0.4, 0, 0 });
        count(x, V, ROWS, 1, 4, 1, times);      /* of equal ones the first */
        check_draws(times, V, ROWS, (double[]){ 0.3, 0.05, 0.4, 0, 0.2 });
        count(x, V, ROWS, 1, 9, 1, times);
        check_draws(times, V, ROWS, p);
        count(x, V, ROWS, 1, 0, 0.35, times);
        CHECK_INT(times[2], ROWS);
        count(x, V, ROWS, 1, 0, 0.65, times);
        check_draws(times, V, ROWS, (double[]){ 0.3, 0, 0.4, 0, 0 });
        count(x, V, ROWS, 1, 0, 0.93, times);
        check_draws(times, V, ROWS, (double[]){ 0.3, 0.05, 0.4, 0, 0.2 });
        count(x, V, ROWS, 1, 3, 0.75, times);   /* of 0.9 that top_k leaves, 0.675: two do */
        check_draws(times, V, ROWS, (double[]){ 0.3, 0, 0.4, 0, 0 });
        count(x, V, ROWS, 1, 3, 0.8, times);
        check_draws(times, V, ROWS, (double[]){ 0.3, 0, 0.4, 0, 0.2 });
    }
}

TEST(sample_at_the_limits)
{
    const double inf = INFINITY;
    int times[6];
    ON_EACH_GRAPH() {
        const double flat[] = { 1, 1, 1, 1 }, wide[] = { -1e30, 3e30, 2e30 };
        count(flat, 4, 400, 1, 3, 1, times);
        CHECK_INT(times[3], 0);
        CHECK(times[0] > 90 && times[1] > 90 && times[2] > 90);
        count(flat, 4, 400, 1, 0, 0.5, times);
        CHECK(times[0] > 150 && times[1] > 150 && times[2] == 0 && times[3] == 0);
        count(flat, 4, 20, 0, 0, 1, times);
        CHECK_INT(times[0], 20);
        count(flat, 4, 20, 1e-30, 2, 0.9, times);
        CHECK_INT(times[0] + times[1], 20);
        count(wide, 3, 20, 1, 2, 0.9, times);
        CHECK_INT(times[1], 20);
        count((double[]){ -inf, 2, -inf, 2 }, 4, 50, 1, 3, 0.99, times);
        CHECK(times[1] > 5 && times[3] > 5 && times[1] + times[3] == 50);
        count((double[]){ 1, inf, 2, inf }, 4, 20, 1, 0, 1, times);
        CHECK_INT(times[1], 20);
        count((double[]){ 1e-300, -1e-300, 0 }, 3, 20, 1, 1, 1, times);
        CHECK_INT(times[0], 20);
        CHECK_INT(ur_int(ur_sample(LEAF(NULL, 1), 1, 0, 1)), 0);
    }
}

TEST(sample_refuses)
{
    const double bad[2][3] = { { 0, NAN, 1 }, { -INFINITY, -INFINITY, -INFINITY } };
    const char *const why[] = { "row 0 of the logits holds NaN", "row 0 of the logits is -inf",
                                "the temperature -1", "top_k is -2", "top_p is 0, but" };
    for (int k = 0; k < 5; k++) {
        g = ur_graph_new(UR_F64, UR_INFER);
        ur_node x = LEAF(bad[k % 2], 1, 3);
        ur_node id = k < 2 ? ur_sample(x, 1, 0, 1) : k == 2 ? ur_sample(x, -1, 0, 1)
                     : k == 3 ? ur_sample(x, 1, -2, 1) : ur_sample(x, 1, 0, 0);
        CHECK_INT(ur_is_nil(id), k >= 2);
        CHECK(!ur_run(g));
        CHECK_HAS(ur_error(g), why[k]);
        ur_graph_free(g);
        g = NULL;
    }
}

/* A larger vocabulary, against sorting. */
TEST(top_p_of_many)
{
    enum { V = 1000 };
    double x[V], sorted[V], sum = 0, mass = 0;
    for (int v = 0; v < V; v++)
        sum += exp(sorted[v] = x[v] = (float)(8 * test_uniform()));
    for (int i = 1; i < V; i++)
        for (int k = i; k > 0 && sorted[k] > sorted[k - 1]; k--) {
            double t = sorted[k];
            sorted[k] = sorted[k - 1];
            sorted[k - 1] = t;
        }
    int n = 0;
    while (mass < 0.6 * sum)
        mass += exp(sorted[n++]);
    ON_EACH_GRAPH() {
        int times[V], below = 0, least = 0;
        for (int k = 0; k < 50; k++) {
            count(x, V, 4, 1, k % 2 ? 0 : n, k % 2 ? 0.6 : 1, times);
            for (int v = 0; v < V; v++) {
                below += times[v] && x[v] < sorted[n - 1];
                least += times[v] && x[v] < sorted[n / 2];
            }
        }
        CHECK_INT(below, 0);
        CHECK(least > 10);      /* the lower half of what is left is drawn too */
    }
}

TEST_MAIN(T(dropout), T(dropout_hides_nan), T(keys), T(noise), T(sample), T(sample_at_the_limits),
          T(sample_refuses), T(top_p_of_many))
