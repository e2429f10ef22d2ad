/* One vector for a sequence: each form against its formula, rows of every length. */
#include "tests/cells.h"
#include "tests/passes.h"

enum { ROWS = 5, STEPS = 5, A = 3, LAST = 0, MEAN, MAX, ATTENTION, FORMS };
static const int lengths[ROWS] = { 5, 0, 2, 1, 3 };

typedef struct pool {
    int form;
    const int *lengths;
    ur_pooling layer;
} pool;

static ur_node pooled(const pool *p, ur_node x, ur_node *weights)
{
    switch (p->form) {
    case LAST:
        return ur_pool_last(x, p->lengths);
    case MEAN:
        return ur_pool_mean(x, p->lengths);
    case MAX:
        return ur_pool_max(x, p->lengths);
    default:
        return ur_pool_attention(p->layer, x, p->lengths, weights);
    }
}

/* The weights of one row's steps in the sum that its vector is. */
static void weights_by_hand(const pool *p, const double *x, int b, int n, double *a)
{
    const double *W = ur_param_values(p->layer.W.W), *c = ur_param_values(p->layer.W.b);
    const double *v = ur_param_values(p->layer.v);
    double sum = 0;
    for (int t = 0; t < n; t++) {
        double e = 0;
        for (int k = 0; k < A; k++) {
            double z = c[k];
            for (int i = 0; i < I; i++)
                z += x[(t * ROWS + b) * I + i] * W[i * A + k];
            e += v[k] * tanh(z);
        }
        sum += a[t] = p->form == ATTENTION ? exp(e) : p->form == MEAN ? 1 : t == n - 1;
    }
    for (int t = 0; t < n; t++)
        a[t] /= sum;
}

TEST(formulas)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    pool p = { .layer = ur_pooling_new(ps, "pool", I, A) };
    double x[STEPS * ROWS * I], y[ROWS * I], a[STEPS], read[ROWS * STEPS];
    fill(x, STEPS * ROWS * I);
    for (p.form = 0; p.form < FORMS; p.form++)
        for (int ragged = 0; ragged < 2; ragged++) {
            ur_clear(g);
            p.lengths = ragged ? lengths : NULL;
            ur_node w = UR_NIL, out = pooled(&p, ur_input(g, x, STEPS, ROWS, I), &w);
            REQUIRE(ran(g) && ur_read(out, y, ROWS * I));
            if (p.form == ATTENTION)
                REQUIRE(ur_read(w, read, ROWS * STEPS));
            for (int b = 0; b < ROWS; b++) {
                const int n = ragged ? lengths[b] : STEPS;
                weights_by_hand(&p, x, b, n, a);
                for (int i = 0; i < I; i++) {
                    double sum = 0, most = n ? -INFINITY : 0;
                    for (int t = 0; t < n; t++) {
                        sum += a[t] * x[(t * ROWS + b) * I + i];
                        most = fmax(most, x[(t * ROWS + b) * I + i]);
                    }
                    CHECK_NEAR(y[b * I + i], p.form == MAX ? most : sum, 1e-14);
                }
                for (int t = 0; p.form == ATTENTION && t < STEPS; t++)
                    CHECK_NEAR(read[b * STEPS + t], t < n ? a[t] : 0, 1e-14);
            }
        }
    ur_graph_free(g);
    ur_params_free(ps);
}

static void record(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const pool *p = ctx;
    (void)g;
    out[0] = pooled(p, in[0], p->form == ATTENTION ? &out[1] : NULL);
}

TEST(gradients)
{
    static const struct { int T, n[ROWS]; } cases[] = {
        { 1, { 1, 0, 1, 1, 0 } }, { 2, { 1, 0, 2, 2, 1 } }, { STEPS, { 5, 0, 2, 1, 3 } },
    };
    ur_params *ps = ur_params_new(UR_F64, 7);
    pool p = { .layer = ur_pooling_new(ps, "pool", I, A) };
    for (p.form = 0; p.form < FORMS; p.form++)
        for (int k = 0; k < 6; k++) {
            const int steps = cases[k % 3].T;
            p.lengths = k < 3 ? NULL : cases[k % 3].n;
            passes("pool", ur_check(record, .in = { ur_in_apart("x", -1, 1, steps, ROWS, I) },
                                    .outputs = 1 + (p.form == ATTENTION), .ctx = &p, .order = 2));
        }
    ur_params_free(ps);
}

/* NaN in the padding: the same bits, in the gradients too, which are zero there. */
TEST(padding_never_matters)
{
    ur_params *ps = ur_params_new(UR_F32, 7);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    pool p = { .layer = ur_pooling_new(ps, "pool", I, A), .lengths = lengths };
    ur_node scale = ur_param(ps, "scale", ur_constant(2), I);
    const size_t n = ur_block_elements(ps);
    for (p.form = 0; p.form < FORMS; p.form++) {
        float x[STEPS * ROWS * I], y[2][ROWS * I], d_x[2][STEPS * ROWS * I], d[2][100];
        for (int i = 0; i < STEPS * ROWS * I; i++)
            x[i] = (float)test_uniform();
        for (int padded = 0; padded < 2; padded++) {
            for (int i = 0; padded && i < STEPS * ROWS * I; i++)
                if (i / I / ROWS >= lengths[i / I % ROWS])
                    x[i] = NAN;
            ur_clear(g);
            ur_node in = ur_input(g, x, STEPS, ROWS, I), by_x;
            ur_node out = pooled(&p, in, NULL);
            ur_node loss = ur_backward(ur_sum(ur_square(ur_mul(out, scale))));
            ur_grad(&loss, NULL, 1, &in, 1, &by_x);
            REQUIRE(ran(g) && ur_read(out, y[padded], ROWS * I) &&
                    ur_read(by_x, d_x[padded], STEPS * ROWS * I) && n <= 100);
            memcpy(d[padded], ur_gradients(ps), n * sizeof **d);
            ur_gradient_used(ps);
        }
        CHECK_MEM(y[0], y[1], sizeof y[0]);
        CHECK_MEM(d_x[0], d_x[1], sizeof d_x[0]);
        CHECK_MEM(d[0], d[1], n * sizeof **d);
        for (int i = 0; i < STEPS * ROWS * I; i++)
            CHECK(isfinite(d_x[1][i]));
    }
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(edges)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    pool p = { .layer = ur_pooling_new(ps, "pool", I, A) };
    double zero[2 * I] = { 0 };
    for (p.form = 0; p.form < FORMS; p.form++) {
        ur_node y = pooled(&p, ur_zeros(g, 0, 2, I), NULL);
        REQUIRE(ran(g));
        compare(y, zero, 2 * I, 0);
        CHECK_INT(ur_dim(pooled(&p, ur_zeros(g, 3, 0, I), NULL), 0), 0);
    }
    ur_clear(g);
    CHECK(ur_is_nil(ur_pool_max(ur_zeros(g, 2, I), NULL)));
    CHECK_HAS(ur_error(g), "pool_max: ");
    CHECK_HAS(ur_error(g), "is [2,3], but a sequence is [T,B,features]");
    ur_error_reset(g);
    ur_clear(g);
    CHECK(ur_is_nil(ur_pool_last(ur_zeros(g, 2, 1, I), ((int[]){ 3 }))));
    CHECK_HAS(ur_error(g), "lengths[0] is 3, not between 0 and the 2 steps");
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST_MAIN(T(formulas), T(gradients), T(padding_never_matters), T(edges))
