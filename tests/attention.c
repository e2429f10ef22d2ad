/* Attention: every score against its formula, gradients, padding, what is refused. */
#include "tests/test.h"
#include "tests/passes.h"
#include "unroll/unroll.h"

enum { B = 3, S = 4, T = 2, F = 3, A = 2, SCORES = 4 };
static const int lengths[B] = { 2, 0, 4 };

typedef struct net {
    ur_attention a;
    const int *lengths;
    bool step, masked;
} net;

static net make(ur_params *ps, int score)
{
    return (net){ .a = ur_attention_new(ps, "a", (ur_score)score, F, F, A) };
}

static ur_node attend(const net *n, ur_node q, ur_node x, ur_node *weights)
{
    ur_memory m;
    if (n->masked) {
        ur_node mask = ur_length_mask(ur_graph_of(x), ur_dim(x, 0), B, n->lengths);
        m = ur_memory_masked(n->a, x, ur_reshape(mask, -1, B));
    } else {
        m = ur_memory_new(n->a, x, n->lengths);
    }
    return ur_attend(n->a, m, q, weights);
}

static void fill(double *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = 2 * test_uniform() - 1;
}

/* ------------------------------------------------------------------------------------- formulas */

static double score(ur_attention a, const double *q, const double *x)
{
    double e = 0;
    const double *W = ur_param_values(a.W), *U = ur_param_values(a.U), *b = ur_param_values(a.b);
    const double *v = ur_param_values(a.v);
    if (a.score == UR_SCORE_ADDITIVE) {
        for (int k = 0; k < A; k++) {
            double z = b[k];
            for (int i = 0; i < F; i++)
                z += q[i] * W[i * A + k] + x[i] * U[i * A + k];
            e += v[k] * tanh(z);
        }
        return e;
    }
    for (int i = 0; i < F; i++)
        if (a.score == UR_SCORE_GENERAL)
            for (int j = 0; j < F; j++)
                e += q[j] * x[i] * W[i * F + j];
        else
            e += q[i] * x[i];
    return a.score == UR_SCORE_SCALED_DOT ? e / sqrt(F) : e;
}

/* Context c[F] and weights w[S] of one query over the n first steps of row b. */
static void by_hand(ur_attention a, const double *q, const double *x, int b, int n, double *c,
                    double *w)
{
    double sum = 0;
    for (int s = 0; s < n; s++)
        sum += w[s] = exp(score(a, q, x + (s * B + b) * F));
    for (int s = 0; s < S; s++)
        w[s] = s < n ? w[s] / sum : 0;
    for (int i = 0; i < F; i++) {
        c[i] = 0;
        for (int s = 0; s < n; s++)
            c[i] += w[s] * x[(s * B + b) * F + i];
    }
}

TEST(formulas)
{
    for (int k = 0; k < SCORES * 2; k++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
        net n = make(ps, k / 2);
        n.lengths = k % 2 ? lengths : NULL;
        double q[T * B * F], x[S * B * F], y[2][T * B * F], w[2][B * T * S], c[F], a[S];
        fill(q, T * B * F);
        fill(x, S * B * F);
        ur_node in = ur_input(g, x, S, B, F), weights[2];
        ur_node all = attend(&n, ur_input(g, q, T, B, F), in, &weights[0]);
        ur_node one = attend(&n, ur_input(g, q, B, F), in, &weights[1]);
        REQUIRE(ur_run(g) && ur_read(all, y[0], T * B * F) && ur_read(one, y[1], B * F));
        REQUIRE(ur_read(weights[0], w[0], B * T * S) && ur_read(weights[1], w[1], B * S));
        for (int b = 0; b < B; b++)
            for (int t = 0; t < T; t++) {
                by_hand(n.a, q + (t * B + b) * F, x, b, n.lengths ? lengths[b] : S, c, a);
                for (int i = 0; i < F; i++) {
                    CHECK_NEAR(y[0][(t * B + b) * F + i], c[i], 1e-14);
                    CHECK(t || fabs(y[1][b * F + i] - c[i]) < 1e-14);
                }
                for (int s = 0; s < S; s++) {
                    CHECK_NEAR(w[0][(b * T + t) * S + s], a[s], 1e-14);
                    CHECK(t || fabs(w[1][b * S + s] - a[s]) < 1e-14);
                }
            }
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* ------------------------------------------------------------------------------------ gradients */

static void record(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const net *n = ctx;
    (void)g;
    out[0] = attend(n, in[0], in[1], &out[1]);
}

/* Every score, one query a row or several, over 1, 2 and 5 places, all of which count, or those
 * within lengths, or those of a mask. */
TEST(gradients)
{
    static const struct { int S; int lengths[B]; } places[] = {
        { 1, { 1, 0, 1 } }, { 2, { 2, 0, 1 } }, { 5, { 2, 0, 5 } },
    };
    for (int k = 0; k < SCORES * 3 * 3 * 2; k++) {
        const int which = k / SCORES % 3, limit = k / SCORES / 3 % 3, several = k / SCORES / 9;
        ur_params *ps = ur_params_new(UR_F32, 7);
        net n = make(ps, k % SCORES);
        n.lengths = limit ? places[which].lengths : NULL;
        n.masked = limit == 2;
        ur_check_options o = { .in = { ur_in("q", B, F), ur_in("x", places[which].S, B, F) },
                               .outputs = 2, .ctx = &n, .order = 2 };
        if (several)
            o.in[0].shape = (ur_shape){ 3, { T, B, F } };
        if (!passes("attention", ur_check_with(record, &o)))
            printf("  score %d, %d places, limit %d\n", k % SCORES, places[which].S, limit);
        ur_params_free(ps);
    }
}

/* NaN beyond the lengths: the same bits, in the gradients too. */
TEST(padding_never_matters)
{
    for (int k = 0; k < SCORES * 2; k++) {
        ur_params *ps = ur_params_new(UR_F32, 7);
        ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
        net n = make(ps, k / 2);
        n.lengths = lengths;
        n.masked = k % 2;
        ur_node scale = ur_param(ps, "scale", ur_constant(2), F);
        float q[B * F], x[S * B * F], y[2][B * F], d[2][S * B * F], dp[2][100] = { { 0 } };
        const size_t p = ur_block_elements(ps);
        for (int i = 0; i < B * F; i++)
            q[i] = (float)test_uniform();
        for (int i = 0; i < S * B * F; i++)
            x[i] = (float)test_uniform();
        for (int padded = 0; padded < 2; padded++) {
            for (int i = 0; padded && i < S * B * F; i++)
                x[i] = i / F / B >= lengths[i / F % B] ? NAN : x[i];
            ur_clear(g);
            ur_node in = ur_input(g, x, S, B, F), by;
            ur_node c = attend(&n, ur_mul(ur_input(g, q, B, F), scale), in, NULL);
            ur_node loss = ur_backward(ur_sum(ur_square(ur_mul(c, scale))));
            ur_grad(&loss, NULL, 1, &in, 1, &by);
            REQUIRE(ur_run(g) && ur_read(c, y[padded], B * F) && ur_read(by, d[padded], S * B * F));
            memcpy(dp[padded], ur_gradients(ps), p * sizeof **dp);
            ur_gradient_used(ps);
        }
        CHECK_MEM(y[0], y[1], sizeof y[0]);
        CHECK_MEM(d[0], d[1], sizeof d[0]);
        CHECK_MEM(dp[0], dp[1], p * sizeof **dp);
        for (int i = 0; i < S * B * F; i++)
            CHECK(isfinite(d[1][i]));
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

TEST(nothing_to_look_at)
{
    for (int k = 0; k < SCORES; k++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        net n = make(ps, k);
        double y[B * F], zero[B * F] = { 0 };
        ur_node c = attend(&n, ur_zeros(g, B, F), ur_zeros(g, 0, B, F), NULL);
        CHECK(ur_read(c, y, B * F));
        CHECK_MEM(y, zero, sizeof y);
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* --------------------------------------------------------------------------------------- errors */

TEST(errors_of_attention)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    net n = make(ps, UR_SCORE_DOT);
    ur_memory m = ur_memory_new(n.a, ur_zeros(g, S, B, F), NULL);
    ur_node q = ur_zeros(g, B + 1, F);
    CHECK(ur_is_nil(ur_attend(n.a, m, q, NULL)));
    CHECK_HAS(ur_error(g), "attend: q is [4,3], but queries of this memory are [3,3] or [T,3,3]");
    ur_error_reset(g);
    ur_clear(g);
    q = ur_zeros(g, B, F);
    CHECK(ur_is_nil(ur_attend(n.a, m, q, NULL)));
    CHECK_HAS(ur_error(g), "attend: the memory is nil, or of a tape that was cleared");
    ur_error_reset(g);
    ur_clear(g);
    ur_node x = ur_zeros(g, S, B, F + 1);
    CHECK(ur_is_nil(ur_memory_new(n.a, x, NULL).values));
    CHECK_HAS(ur_error(g), "memory: x is [4,3,4], but the attention looks at [S,B,3]");
    ur_error_reset(g);
    ur_attention_new(ps, "odd", UR_SCORE_SCALED_DOT, 2, 3, 0);
    CHECK_HAS(ur_error(ps), "attention odd: queries of 2 features and keys of 3 have no dot");
    ur_error_reset(ps);
    ur_attention_new(ps, "new", (ur_score)9, 2, 3, 0);
    CHECK_HAS(ur_error(ps), "attention new: there is no score 9");
    ur_error_reset(ps);
    ur_attention_new(ps, "none", UR_SCORE_ADDITIVE, 2, 3, 0);
    CHECK_HAS(ur_error(ps), "attention none: Q 2, K 3, A 0: sizes are from 1 to 268435456");
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST_MAIN(T(formulas), T(gradients), T(padding_never_matters), T(nothing_to_look_at),
          T(errors_of_attention))
