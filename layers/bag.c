/* Baselines that know no order, or only a little of it: bags and windows of inputs.
 *
 *     sum   y_b = sum over t < n_b of x_tb          mean  y_b = sum / n_b, zeros for n_b = 0
 *     window y_tb = [x_(t-before)b, .., x_tb, .., x_(t+after)b], zeros where there is no input
 *
 * Windows of embedded words under a feed-forward network: Y. Bengio, R. Ducharme, P. Vincent and
 * C. Jauvin, "A neural probabilistic language model", JMLR 3 (2003).
 */
#include "unroll/structured.h"

/* The graph of a sequence x [T,B,F], or NULL on error. */
static ur_graph *check(ur_at at, const char *what, ur_node x, const int lengths[])
{
    ur_graph *g = ur_graph_of(x);
    const ur_shape s = ur_shape_of(x);
    if (!g || ur_error(g))
        return NULL;
    if (s.rank != 3 || ur_type_of(x) == UR_I32) {
        ur_fail(g, at, what, "%s, but a sequence is numbers [T,B,F]", ur_called(x, at, 0));
        return NULL;
    }
    return ur_lengths_fit(g, at, what, lengths, s.dim[0], s.dim[1]) ? g : NULL;
}

ur_node ur_bag_at(ur_at at, ur_node x, const int lengths[], ur_reduction how)
{
    ur_graph *g = check(at, "bag", x, lengths);
    if (!g)
        return UR_NIL;
    if (how != UR_MEAN && how != UR_TOTAL) {
        ur_fail(g, at, "bag", "a bag is a UR_MEAN or a UR_TOTAL");
        return UR_NIL;
    }
    const int T = ur_dim(x, 0), B = ur_dim(x, 1);
    ur_node sum = ur_sum_over_at(at, ur_within_at(at, x, lengths), 1, (int[]){ 0 });
    int32_t *n = ur_graph_alloc(g, (size_t)B * sizeof *n);
    if (how == UR_TOTAL || !n)
        return n ? sum : UR_NIL;
    for (int b = 0; b < B; b++)         /* the sum of nothing is zeros, over whatever */
        n[b] = (lengths ? lengths[b] : T) > 0 ? (lengths ? lengths[b] : T) : 1;
    return ur_div_at(at, sum, ur_cast_at(at, ur_ints_at(at, g, n, 2, (int[]){ B, 1 })));
}

ur_node ur_window_at(ur_at at, ur_node x, const int lengths[], int before, int after)
{
    ur_graph *g = check(at, "window", x, lengths);
    if (!g)
        return UR_NIL;
    if (before < 0 || after < 0 || before > INT32_MAX / 4 || after > INT32_MAX / 4) {
        ur_fail(g, at, "window", "%d before and %d after: both are at least 0", before, after);
        return UR_NIL;
    }
    const int T = ur_dim(x, 0), n = before + 1 + after;
    ur_node *part = ur_graph_alloc(g, (size_t)n * sizeof *part);
    if (!part)
        return UR_NIL;
    ur_node padded = ur_pad_at(at, ur_within_at(at, x, lengths), 0, before, after);
    for (int i = 0; i < n; i++)
        part[i] = ur_slice_at(at, padded, 0, i, i + T);
    return ur_within_at(at, ur_concat_n_at(at, part, n, 2), lengths);
}

ur_node (ur_bag)(ur_node x, const int lengths[], ur_reduction how)
{
    return ur_bag_at(NULL, x, lengths, how);
}

ur_node (ur_window)(ur_node x, const int lengths[], int before, int after)
{
    return ur_window_at(NULL, x, lengths, before, after);
}
