/* Back-propagation through time as the lectures write it, term by term, against ur_backward.
 *
 *     h_t = tanh(x_t U + h_{t-1} W + b)      y_t = h_t V      J_t = |y_t - z_t|^2 / 2
 *
 *     dJ/dW = sum_t sum_{k<=t} dJ_t/dy_t dy_t/dh_t (prod_{j=k+1..t} dh_j/dh_{j-1}) dh_k/dW
 *
 * where dh_k/dW is the immediate derivative, that of the k-th use of W alone, with h_{k-1} held
 * constant. Each of the T (T + 1) / 2 terms is built here from explicit Jacobians, in double,
 * with plain loops.
 *
 * Lecture texts, by file and line: 000:351 the sum written out for t = 4 (k = 1 .. 4);
 * 001:306 the sum over k for J_t, 001:300 the sum over t; 002:510 the product of Jacobians. */
#include "tests/test.h"
#include "unroll/layers.h"
#include "unroll/ops.h"

enum { T = 5, B = 2, I = 3, H = 4, O = 2 };

typedef struct net {
    ur_params *ps;
    ur_cell *rnn;
    ur_node W, U, b, V;
} net;

static net make_net(void)
{
    net n = { .ps = ur_params_new(UR_F64, 11) };
    n.rnn = ur_elman(n.ps, "rnn", I, H);
    n.V = ur_param(n.ps, "V", ur_xavier(), H, O);
    n.W = ur_find(n.ps, "rnn.W");
    n.U = ur_find(n.ps, "rnn.U");
    n.b = ur_find(n.ps, "rnn.b");
    return n;
}

typedef struct data {
    double x[T][B][I], z[T][B][O], h0[B][H];
} data;

static void draw(data *d)
{
    double *p = &d->x[0][0][0];
    for (size_t i = 0; i < sizeof *d / sizeof *p; i++)
        p[i] = 2 * test_uniform() - 1;
}

/* dJ_t/dh_t; and the Jacobian dh_j/dh_{j-1}, whose entry (p, q) is dh_j[p] / dh_{j-1}[q]. */
static void loss_by_h(const double h[H], const double z[O], const double *V, double out[H])
{
    for (int p = 0; p < H; p++)
        out[p] = 0;
    for (int o = 0; o < O; o++) {
        double y = 0;
        for (int p = 0; p < H; p++)
            y += h[p] * V[p * O + o];
        for (int p = 0; p < H; p++)
            out[p] += (y - z[o]) * V[p * O + o];
    }
}

static void jacobian(const double h[H], const double *W, double J[H][H])
{
    for (int p = 0; p < H; p++)
        for (int q = 0; q < H; q++)
            J[p][q] = (1 - h[p] * h[p]) * W[q * H + p];
}

static void product(const double A[H][H], const double C[H][H], double out[H][H])
{
    for (int p = 0; p < H; p++)
        for (int q = 0; q < H; q++) {
            out[p][q] = 0;
            for (int k = 0; k < H; k++)
                out[p][q] += A[p][k] * C[k][q];
        }
}

/* The states of row r: h[0] is the initial one, h[t] that after step t. */
static void states(const data *d, int r, const double *W, const double *U, const double *b,
                   double h[T + 1][H])
{
    memcpy(h[0], d->h0[r], sizeof h[0]);
    for (int t = 1; t <= T; t++)
        for (int p = 0; p < H; p++) {
            double a = b[p];
            for (int i = 0; i < I; i++)
                a += d->x[t - 1][r][i] * U[i * H + p];
            for (int q = 0; q < H; q++)
                a += h[t - 1][q] * W[q * H + p];
            h[t][p] = tanh(a);
        }
}

/* Adds the term (t, k) of row r to use[k]: the gradient that the k-th use of W gets. */
static void add_term(const data *d, int r, int t, int k, const double *W, const double *V,
                     double h[T + 1][H], double use[H * H])
{
    double chain[H][H] = { { 0 } }, next[H][H], J[H][H], by_h[H];
    for (int p = 0; p < H; p++)
        chain[p][p] = 1;
    for (int j = t; j > k; j--) {       /* dh_t/dh_{t-1} ... dh_{k+1}/dh_k */
        jacobian(h[j], W, J);
        product((const double (*)[H])chain, (const double (*)[H])J, next);
        memcpy(chain, next, sizeof chain);
    }
    loss_by_h(h[t], d->z[t - 1][r], V, by_h);
    for (int p = 0; p < H; p++) {
        double by_hk = 0;
        for (int q = 0; q < H; q++)
            by_hk += by_h[q] * chain[q][p];
        for (int q = 0; q < H; q++)     /* dh_k[p] / dW[q,p], h_{k-1} held constant */
            use[q * H + p] += by_hk * (1 - h[k][p] * h[k][p]) * h[k - 1][q];
    }
}

/* The terms for every use of W, with losses at the steps from `first` on. */
static int all_terms(const net *n, const data *d, int first, double use[T + 1][H * H])
{
    const double *W = ur_param_values(n->W), *U = ur_param_values(n->U);
    const double *b = ur_param_values(n->b), *V = ur_param_values(n->V);
    int terms = 0;
    memset(use, 0, sizeof(double[T + 1][H * H]));
    for (int r = 0; r < B; r++) {
        double h[T + 1][H];
        states(d, r, W, U, b, h);
        for (int t = first; t <= T; t++)
            for (int k = 1; k <= t; k++, terms++)
                add_term(d, r, t, k, W, V, h, use[k]);
    }
    return terms / B;
}

static ur_node loss_of(ur_graph *g, const net *n, const data *d, int first)
{
    ur_node s[1] = { ur_input(g, d->h0, B, H) }, loss = { 0 };
    for (int t = 1; t <= T; t++) {
        ur_node h = n->rnn->step(n->rnn, ur_input(g, d->x[t - 1], B, I), s);
        ur_node off = ur_sub(ur_matmul(h, n->V), ur_input(g, d->z[t - 1], B, O));
        ur_node J = ur_scale(ur_sum(ur_square(off)), 0.5);
        if (t >= first)
            loss = t > first ? ur_add(loss, J) : J;
    }
    return loss;
}

static void compare(int first)
{
    net n = make_net();
    data d;
    draw(&d);
    double use[T + 1][H * H];
    int terms = all_terms(&n, &d, first, use);
    CHECK_INT(terms, first == T ? T : T * (T + 1) / 2);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_backward(loss_of(g, &n, &d, first));
    if (!CHECK(ur_run(g)))
        printf("  %s\n", ur_error(g));
    const double *got = ur_param_gradient(n.W);
    double size = 0;
    for (int i = 0; i < H * H; i++) {
        double sum = 0;
        for (int k = 1; k <= T; k++)
            sum += use[k][i];
        CHECK_NEAR(got[i], sum, 1e-12);
        size += fabs(sum);
    }
    CHECK(size > 0.1);          /* there is something to compare */
    ur_graph_free(g);
    ur_params_free(n.ps);
}

/* 000:351, 001:306 and 001:300: losses at every step. */
TEST(losses_at_every_step) { compare(1); }

/* 002:510: one loss, at the last step. */
TEST(loss_at_the_last_step) { compare(T); }

/* Every use of W by itself: recorded with a leaf of its own for each step, whose gradient is the
 * sum of the terms with that k, over all t >= k. */
TEST(every_use_of_W)
{
    net n = make_net();
    data d;
    draw(&d);
    double use[T + 1][H * H];
    all_terms(&n, &d, 1, use);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_node h = ur_input(g, d.h0, B, H), W[T], by_W[T], loss = { 0 };
    for (int t = 0; t < T; t++) {
        W[t] = ur_input(g, ur_param_values(n.W), H, H);
        ur_node a = ur_add(ur_matmul(ur_input(g, d.x[t], B, I), n.U), ur_matmul(h, W[t]));
        h = ur_tanh(ur_add(a, n.b));
        ur_node off = ur_sub(ur_matmul(h, n.V), ur_input(g, d.z[t], B, O));
        ur_node J = ur_scale(ur_sum(ur_square(off)), 0.5);
        loss = t ? ur_add(loss, J) : J;
    }
    REQUIRE(ur_grad(&loss, NULL, 1, W, T, by_W));
    for (int k = 1; k <= T; k++) {
        double got[H * H] = { 0 };
        if (!CHECK(ur_read(by_W[k - 1], got, H * H)))
            printf("  %s\n", ur_error(g));
        for (int i = 0; i < H * H; i++)
            CHECK_NEAR(got[i], use[k][i], 1e-12);
    }
    ur_graph_free(g);
    ur_params_free(n.ps);
}

TEST_MAIN(T(losses_at_every_step), T(loss_at_the_last_step), T(every_use_of_W))
