/* Reductions, running sums, softmax and losses against plain loops; and rows of -inf, huge logits,
 * empty axes, ties, ignored labels. */
#include "values.h"

/* ----------------------------------------------------------------------------------- reductions */

/* Sums of 3-d arrays over a set of axes (a bit each), in row-major order of the others. */
static void reduce(const int dim[3], unsigned axes, const double *x, char what, double *y)
{
    int at[3], kept[3];
    size_t n_out = 1;
    for (int i = 0; i < 3; i++)
        n_out *= axes >> i & 1 ? 1 : (size_t)dim[i];
    for (size_t i = 0; i < n_out; i++)
        y[i] = what == 'm' ? -INFINITY : 0;
    for (at[0] = 0; at[0] < dim[0]; at[0]++)
        for (at[1] = 0; at[1] < dim[1]; at[1]++)
            for (at[2] = 0; at[2] < dim[2]; at[2]++) {
                size_t to = 0;
                for (int i = 0; i < 3; i++) {
                    kept[i] = axes >> i & 1 ? 0 : at[i];
                    to = to * (axes >> i & 1 ? 1 : (size_t)dim[i]) + (size_t)kept[i];
                }
                double v = x[(at[0] * dim[1] + at[1]) * dim[2] + at[2]];
                y[to] = what == 'm' ? fmax(y[to], v) : y[to] + (what == 'l' ? exp(v) : v);
            }
    for (size_t i = 0; what == 'l' && i < n_out; i++)
        y[i] = log(y[i]);
}

TEST(reductions_over_all_sets_of_axes)
{
    const int dim[3] = { 3, 4, 5 };
    ON_EACH_GRAPH()
        for (unsigned axes = 1; axes < 8; axes++) {
            double x[60], y[60];
            int list[3], n = 0, count = 1;
            for (int i = 0; i < 60; i++)
                x[i] = floor(64 * test_uniform()) / 16 - 2;
            for (int i = 2; i >= 0; i--)        /* out of order, and counted from the end */
                if (axes >> i & 1) {
                    list[n++] = i == 2 ? -1 : i;
                    count *= dim[i];
                }
            ur_node X = LEAF(x, 3, 4, 5);
            reduce(dim, axes, x, 's', y);
            CHECK_VALUES((ur_sum_over)(X, n, list), y, 8);
            CHECK_VALUES((ur_sum_keep)(X, n, list), y, 8);
            CHECK_INT(ur_shape_of((ur_sum_over)(X, n, list)).rank, 3 - n);
            CHECK_INT(ur_shape_of((ur_sum_keep)(X, n, list)).rank, 3);
            for (int i = 0; i < 60 / count; i++)
                y[i] /= count;
            CHECK_VALUES((ur_mean_over)(X, n, list), y, 8);
            CHECK_VALUES((ur_mean_keep)(X, n, list), y, 8);
            reduce(dim, axes, x, 'm', y);
            CHECK_VALUES((ur_max_over)(X, n, list), y, 0);
            CHECK_VALUES((ur_max_keep)(X, n, list), y, 0);
            reduce(dim, axes, x, 'l', y);
            CHECK_VALUES((ur_logsumexp_over)(X, n, list), y, 16);
            CHECK_VALUES((ur_logsumexp_keep)(X, n, list), y, 16);
        }
}

TEST(reductions_of_all_and_of_nothing)
{
    ON_EACH_GRAPH() {
        ur_node x = LEAF(((double[]){ 1, 5, 2, 5 }), 2, 2), s = ur_scalar(g, 3);
        CHECK_NEAR(ur_value(ur_sum(x)), 13, 0);
        CHECK_NEAR(ur_value(ur_mean(x)), 3.25, 0);
        CHECK_NEAR(ur_value(ur_max(x)), 5, 0);
        CHECK_NEAR(ur_value(ur_logsumexp(ur_scale(x, 0))), log(4), 4 * unit);
        CHECK_NEAR(ur_value(ur_sum(s)) + ur_value(ur_max(s)) + ur_value(ur_mean(s)), 9, 0);
        CHECK_INT(ur_int(ur_argmax(ur_reshape(x, 4), 0)), 1);
        CHECK_VALUES(ur_argmax(x, 0), ((double[]){ 1, 0 }), 0);
        CHECK_VALUES(ur_argmax(x, -1), ((double[]){ 1, 1 }), 0);
        /* the first of equal maxima, in row-major order, over several axes too */
        CHECK_VALUES(values_grad(ur_max(x), UR_NIL, x), ((double[]){ 0, 1, 0, 0 }), 0);
        CHECK_VALUES(values_grad(ur_max_over(x, 0), UR_NIL, x), ((double[]){ 0, 1, 1, 0 }), 0);
        ur_node y = LEAF(((double[]){ 5, 1, 2, 2, 0, 5, 5, 0 }), 2, 2, 2);
        CHECK_VALUES(values_grad(ur_max_over(y, 0, 2), UR_NIL, y),
                     ((double[]){ 1, 0, 0, 0, 0, 0, 1, 0 }), 0);
        ur_node none = LEAF(NULL, 2, 0);
        CHECK_VALUES(ur_sum_over(none, 1), ((double[]){ 0, 0 }), 0);
        CHECK_VALUES(ur_max_over(none, 1), ((double[]){ -INFINITY, -INFINITY }), 0);
        CHECK_VALUES(ur_logsumexp_over(none, 1), ((double[]){ -INFINITY, -INFINITY }), 0);
        CHECK_VALUES(ur_mean_over(none, 1), ((double[]){ NAN, NAN }), 0);
        CHECK_STR(values_shape(ur_mean_over(none, 0)), "[0]");
        CHECK_INT(ur_count(values_grad(ur_sum(none), UR_NIL, none)), 0);
        CHECK_VALUES(ur_max(LEAF(((double[]){ 1, NAN, 2 }), 3)), ((double[]){ NAN }), 0);
    }
}

TEST(cumsum)
{
    ON_EACH_GRAPH() {
        ur_node x = LEAF(((double[]){ 1, 2, 3, 4, 5, 6 }), 3, 2);
        CHECK_VALUES(ur_cumsum(x, 0), ((double[]){ 1, 2, 4, 6, 9, 12 }), 0);
        CHECK_VALUES(ur_cumsum(x, -1), ((double[]){ 1, 3, 3, 7, 5, 11 }), 0);
        CHECK_VALUES(values_grad(ur_cumsum(x, 0), UR_NIL, x),
                     ((double[]){ 3, 3, 2, 2, 1, 1 }), 0);
        CHECK_INT(ur_count(ur_cumsum(LEAF(NULL, 0, 2), 0)), 0);
    }
}

/* -------------------------------------------------------------------------------------- softmax */

TEST(softmax)
{
    ON_EACH_GRAPH() {
        double x[3 * 37], y[3 * 37], l[3 * 37];
        for (int b = 0; b < 3; b++) {
            double sum = 0;
            for (int v = 0; v < 37; v++)
                sum += exp(x[37 * b + v] = floor(80 * test_uniform()) / 8 - 5);
            for (int v = 0; v < 37; v++)
                y[37 * b + v] = exp(l[37 * b + v] = x[37 * b + v] - log(sum));
        }
        CHECK_VALUES(ur_softmax(LEAF(x, 3, 1, 37)), y, 8);
        CHECK_VALUES(ur_log_softmax(LEAF(x, 3, 37)), l, 8);
    }
}

TEST(softmax_of_infinite_and_huge)
{
    const double inf = INFINITY;
    ON_EACH_GRAPH() {
        ur_node dead = LEAF(((double[]){ -inf, -inf, 1, -inf }), 2, 2);
        ur_node seed = LEAF(((double[]){ 2, 3, 4, 5 }), 2, 2);
        CHECK_VALUES(ur_softmax(dead), ((double[]){ 0, 0, 1, 0 }), 0);
        CHECK_VALUES(values_grad(ur_softmax(dead), seed, dead), ((double[]){ 0, 0, 0, 0 }), 0);
        CHECK_VALUES(ur_log_softmax(dead), ((double[]){ -inf, -inf, 0, -inf }), 0);
        CHECK_VALUES(values_grad(ur_log_softmax(dead), seed, dead), ((double[]){ 0, 0, 0, 0 }), 0);
        CHECK_VALUES(ur_logsumexp_over(dead, 1), ((double[]){ -inf, 1 }), 0);
        ur_node y = ur_logsumexp_over(dead, 1), s = LEAF(((double[]){ 2, 3 }), 2);
        CHECK_VALUES(values_grad(y, s, dead), ((double[]){ 0, 0, 3, 0 }), 0);
        CHECK_VALUES(values_grad(values_grad(y, s, dead), seed, dead), (double[4]){ 0 }, 0);
        ur_node huge = LEAF(((double[]){ 1e4, 1e4, -1e4 }), 3);
        CHECK_VALUES(ur_softmax(huge), ((double[]){ 0.5, 0.5, 0 }), 2);
        CHECK_VALUES(ur_log_softmax(huge), ((double[]){ -log(2), -log(2), -2e4 - log(2) }), 2);
        CHECK_VALUES(ur_logsumexp(huge), ((double[]){ 1e4 + log(2) }), 2);
        CHECK_VALUES(values_grad(ur_logsumexp(huge), UR_NIL, huge),
                     ((double[]){ 0.5, 0.5, 0 }), 2 * 1e4);    /* e^(x - y), y rounded at 1e4 */
        ur_node large = LEAF(((double[]){ 1e30, 0 }), 2);
        CHECK_VALUES(ur_log_softmax(large), ((double[]){ 0, -1e30 }), 1);
        CHECK_VALUES(values_grad(ur_log_softmax(large), LEAF(((double[]){ 0, 1 }), 2), large),
                     ((double[]){ -1, 1 }), 1);
    }
}

/* -------------------------------------------------------------------------------- cross-entropy */

/* The definition, label by label. weight may be NULL. */
static void reference(int n, int V, const double *x, const int *label, int ignore, double eps,
                      const double *weight, double *l, double *dx, double *total_weight)
{
    *total_weight = 0;
    for (int i = 0; i < n; i++, x += V, dx += V) {
        double sum = 0, w = weight && label[i] != ignore ? weight[label[i]] : 1;
        l[i] = 0;
        for (int v = 0; v < V; v++) {
            sum += exp(x[v]);
            dx[v] = 0;
        }
        if (label[i] == ignore)
            continue;
        *total_weight += w;
        for (int v = 0; v < V; v++) {
            double q = (1 - eps) * (v == label[i]) + eps / V;
            l[i] -= w * q * (x[v] - log(sum));
            dx[v] = w * (exp(x[v]) / sum - q);
        }
    }
}

TEST(cross_entropy)
{
    enum { N = 6, V = 5 };
    const int label[N] = { 0, 4, 2, 2, 1, 3 };
    const double weight[V] = { 0.5, 2, 1, 0.25, 3 };
    ON_EACH_GRAPH()
        for (int form = 0; form < 6; form++) {
            const bool weighted = form == 2 || form == 5;
            const double eps = form >= 4 ? 0.125 : 0;
            const int ignore = form & 1 || form == 2 ? 2 : UR_IGNORE;
            double x[N * V], l[N], dx[N * V], total = 0, w;
            for (int i = 0; i < N * V; i++)
                x[i] = floor(64 * test_uniform()) / 16 - 2;
            reference(N, V, x, label, ignore, eps, weighted ? weight : NULL, l, dx, &w);
            for (int i = 0; i < N; i++)
                total += l[i];
            ur_node X = LEAF(x, 2, 3, V), c = ur_ints(g, label, 2, 3);
            ur_node W = weighted ? LEAF(weight, V) : UR_NIL;
            ur_node each = ur_cross_entropy_with(X, c, ignore, eps, W, UR_EACH);
            CHECK_STR(values_shape(each), "[2,3]");
            CHECK_VALUES(each, l, 16);
            ur_node sum = ur_cross_entropy_with(X, c, ignore, eps, W, UR_TOTAL);
            CHECK_VALUES(sum, &total, 32);
            CHECK_VALUES(values_grad(sum, UR_NIL, X), dx, 16);
            double mean = total / w;
            CHECK_VALUES(ur_cross_entropy_with(X, c, ignore, eps, W, UR_MEAN), &mean, 16);
            if (form == 0)
                CHECK_VALUES(ur_cross_entropy(X, c), &mean, 16);
        }
}

TEST(cross_entropy_that_ignores)
{
    const double inf = INFINITY;
    ON_EACH_GRAPH() {
        ur_node x = LEAF(((double[]){ NAN, inf, -inf, 1, 1, 1, 1e4, -1e4, 0 }), 3, 3);
        ur_node c = ur_ints(g, ((int32_t[]){ UR_IGNORE, 1, 0 }), 3);
        ur_node loss = ur_cross_entropy(x, c), dx = values_grad(loss, UR_NIL, x);
        const double p = 1 / 3.0, some[9] = { 0, 0, 0, p / 2, (p - 1) / 2, p / 2, 0, 0, 0 };
        CHECK_VALUES(loss, ((double[]){ log(3) / 2 }), 4);
        CHECK_VALUES(dx, some, 4);
        /* through the second derivative too: h' H h of the rows that count */
        ur_node h = LEAF(((double[]){ NAN, 2, inf, 1, 0, 0, 1, 1, 1 }), 3, 3);
        const double second[9] = { 0, 0, 0, p * (1 - p) / 2, -p * p / 2, -p * p / 2, 0, 0, 0 };
        CHECK_VALUES(values_grad(dx, h, x), second, 4);
        /* nothing left: zero, and a zero gradient */
        ur_node none = ur_ints(g, ((int32_t[]){ -100, -100, -100 }), 3);
        ur_node zero = ur_cross_entropy(x, none);
        CHECK_NEAR(ur_value(zero), 0, 0);
        CHECK_VALUES(values_grad(zero, UR_NIL, x), (double[9]){ 0 }, 0);
        ur_node empty = LEAF(NULL, 0, 3);
        ur_node zero2 = ur_cross_entropy(empty, ur_ints(g, NULL, 0));
        CHECK_NEAR(ur_value(zero2), 0, 0);
    }
}

TEST(cross_entropy_refuses_labels)
{
    const int32_t bad[2][3] = { { 0, 3, 1 }, { 0, 1, -1 } };
    for (int k = 0; k < 2; k++) {
        g = ur_graph_new(UR_F32, UR_TRAIN);
        ur_node x = LEAF(NULL, 3, 3), loss = ur_cross_entropy(x, ur_ints(g, bad[k], 3));
        CHECK(isnan(ur_value(loss)));
        CHECK_HAS(ur_error(g), k ? "label -1 at position 2" : "label 3 at position 1");
        CHECK_HAS(ur_error(g), "ops_reductions.c");
        ur_graph_free(g);
        g = NULL;
    }
}

/* --------------------------------------------------------------------------------- other losses */

TEST(other_losses)
{
    ON_EACH_GRAPH() {
        ur_node y = LEAF(((double[]){ -2, 0, 0.5, 3 }), 2, 2), t = LEAF((double[4]){ 0 }, 2, 2);
        CHECK_VALUES(ur_squared_loss_each(y, t), ((double[]){ 4, 0, 0.25, 9 }), 0);
        CHECK_VALUES(ur_squared_loss(y, t), ((double[]){ 13.25 / 4 }), 0);
        CHECK_VALUES(ur_absolute_loss_each(y, t), ((double[]){ 2, 0, 0.5, 3 }), 0);
        CHECK_VALUES(ur_absolute_loss(y, t), ((double[]){ 5.5 / 4 }), 0);
        CHECK_VALUES(ur_huber_loss_each(y, t, 1), ((double[]){ 1.5, 0, 0.125, 2.5 }), 0);
        CHECK_VALUES(ur_huber_loss(y, t, 1), ((double[]){ 4.125 / 4 }), 0);
        CHECK_VALUES(values_grad(ur_huber_loss_each(y, t, 1), UR_NIL, y),
                     ((double[]){ -1, 0, 0.5, 1 }), 0);
        /* at +-100 a hard target is met or missed exactly, and at 0 the slope is 1/2 - t */
        ur_node x = LEAF(((double[]){ 100, -100, 100, 0 }), 4);
        ur_node c = LEAF(((double[]){ 1, 0, 0, 1 }), 4);
        ur_node b = ur_binary_cross_entropy_each(x, c);
        const double *l = values_of(b);
        CHECK_NEAR(l[0], exp(-100), 2e-45);
        CHECK_NEAR(l[1], exp(-100), 2e-45);
        CHECK_NEAR(l[2], 100, 0);
        CHECK_NEAR(l[3], log(2), 2 * unit);
        CHECK_VALUES(values_grad(b, UR_NIL, x), ((double[]){ 0, 0, 1, -0.5 }), 1);
        ur_node zero = LEAF((double[2]){ 0 }, 2), soft = LEAF(((double[]){ 0.25, 1 }), 2);
        CHECK_VALUES(ur_binary_cross_entropy(zero, soft), ((double[]){ log(2) }), 2);
    }
}

TEST_MAIN(T(reductions_over_all_sets_of_axes), T(reductions_of_all_and_of_nothing), T(cumsum),
          T(softmax), T(softmax_of_infinite_and_huge), T(cross_entropy),
          T(cross_entropy_that_ignores), T(cross_entropy_refuses_labels), T(other_losses))
