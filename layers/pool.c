/* One vector for a sequence x_0 .. x_(n-1), for each row of its own length n.
 *
 *     last        x_(n-1)
 *     mean        (sum_t x_t) / n
 *     max         max_t x_t, feature by feature
 *     attention   e_t = v . tanh(x_t W + b)     a = softmax(e)     sum_t a_t x_t
 *
 * The last one: Z. Yang et al., "Hierarchical attention networks for document classification",
 * NAACL 2016; the others are what the lectures' many-to-one models end with.
 *
 * What lies beyond a length is replaced before anything is computed with it: by zeros in sums, by
 * -inf in maxima. Rows of length 0 are zeros and have no gradient.
 */
#include <math.h>
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct pooled {
    ur_at at;
    ur_graph *g;
    ur_node x, mask;                /* mask [T,B,1]; nil where all rows are full */
    const int *lengths;
    int T, B, F;
} pooled;

/* Looks at x and the lengths; false on error. */
static bool begin(pooled *p, const char *what, ur_at at, ur_node x, const int lengths[])
{
    *p = (pooled){ .at = at, .g = ur_graph_of(x), .x = x, .lengths = lengths };
    if (!p->g || ur_error(p->g))
        return false;
    if (ur_shape_of(x).rank != 3)
        return ur_fail(p->g, at, what, "%s, but a sequence is [T,B,features]",
                       ur_called(x, at, 0));
    p->T = ur_dim(x, 0), p->B = ur_dim(x, 1), p->F = ur_dim(x, 2);
    if (lengths)
        p->mask = ur_length_mask_at(at, p->g, p->T, p->B, lengths);
    return !ur_error(p->g);
}

/* max(lengths, least), or with `step` the row of x [T B, F] that is the last of each; int32 [B]. */
static ur_node of_lengths(const pooled *p, int least, bool step)
{
    int32_t *n = ur_graph_alloc(p->g, (size_t)p->B * sizeof *n);
    for (int b = 0; n && b < p->B; b++) {
        n[b] = p->lengths[b] > least ? p->lengths[b] : least;
        n[b] = step ? (n[b] - 1) * p->B + b : n[b];
    }
    return n ? ur_ints_at(p->at, p->g, n, 1, (int[]){ p->B }) : UR_NIL;
}

/* y [B,F] where there is a row at all, zeros where its length is 0. */
static ur_node where_any(const pooled *p, ur_node y)
{
    if (!p->lengths)
        return y;
    ur_node n = ur_cast_at(p->at, of_lengths(p, 0, false));
    return ur_select_at(p->at, ur_reshape_at(p->at, n, 2, (int[]){ p->B, 1 }), y);
}

static ur_node nothing(const pooled *p)
{
    return ur_zeros_at(p->at, p->g, 2, (int[]){ p->B, p->F });
}

ur_node ur_pool_last_at(ur_at at, ur_node x, const int lengths[])
{
    pooled p;
    if (!begin(&p, "pool_last", at, x, lengths))
        return UR_NIL;
    if (p.T == 0)
        return nothing(&p);
    if (!lengths)
        return ur_index_at(at, x, 0, p.T - 1);
    ur_node rows = ur_reshape_at(at, x, 2, (int[]){ p.T * p.B, p.F });
    return where_any(&p, ur_gather_at(at, rows, of_lengths(&p, 1, true)));
}

ur_node ur_pool_mean_at(ur_at at, ur_node x, const int lengths[])
{
    pooled p;
    if (!begin(&p, "pool_mean", at, x, lengths))
        return UR_NIL;
    if (p.T == 0)
        return nothing(&p);
    if (!lengths)
        return ur_mean_over_at(at, x, 1, (int[]){ 0 });
    ur_node n = ur_reshape_at(at, of_lengths(&p, 1, false), 2, (int[]){ p.B, 1 });
    ur_node sum = ur_sum_over_at(at, ur_select_at(at, p.mask, x), 1, (int[]){ 0 });
    return ur_div_at(at, sum, ur_cast_at(at, n));
}

ur_node ur_pool_max_at(ur_at at, ur_node x, const int lengths[])
{
    pooled p;
    if (!begin(&p, "pool_max", at, x, lengths))
        return UR_NIL;
    if (p.T == 0)
        return nothing(&p);
    if (lengths)
        x = ur_where_at(at, p.mask, x, ur_scalar_at(at, p.g, -INFINITY));
    return where_any(&p, ur_max_over_at(at, x, 1, (int[]){ 0 }));
}

/* ------------------------------------------------------------------------------------ attention */

ur_pooling ur_pooling_new(ur_params *ps, const char *name, int F, int A)
{
    const double k = 1 / sqrt(A > 0 ? A : 1);
    return (ur_pooling){
        .W = ur_linear_new(ps, name, F, A),
        .v = ur_param(ps, ur_namef(ps, "%s.v", name), ur_uniform_between(-k, k), A, 1),
    };
}

ur_node ur_pool_attention_at(ur_at at, ur_pooling layer, ur_node x, const int lengths[],
                             ur_node *weights)
{
    pooled p;
    if (weights)
        *weights = UR_NIL;
    if (!begin(&p, "pool_attention", at, x, lengths))
        return UR_NIL;
    if (lengths)
        x = ur_select_at(at, p.mask, x);
    ur_node e = ur_matmul_at(at, ur_tanh_at(at, ur_linear_at(at, layer.W, x)), layer.v);
    if (lengths)
        e = ur_where_at(at, p.mask, e, ur_scalar_at(at, p.g, -INFINITY));
    e = ur_transpose_at(at, ur_reshape_at(at, e, 2, (int[]){ p.T, p.B }));
    ur_node a = ur_softmax_at(at, e);
    if (weights)
        *weights = ur_keep(a);
    a = ur_reshape_at(at, ur_transpose_at(at, a), 3, (int[]){ p.T, p.B, 1 });
    return ur_sum_over_at(at, ur_mul_at(at, a, x), 1, (int[]){ 0 });
}

/* ------------------------------------------------------------------------------ plain functions */

ur_node (ur_pool_last)(ur_node x, const int lengths[])
{
    return ur_pool_last_at(NULL, x, lengths);
}

ur_node (ur_pool_mean)(ur_node x, const int lengths[])
{
    return ur_pool_mean_at(NULL, x, lengths);
}

ur_node (ur_pool_max)(ur_node x, const int lengths[])
{
    return ur_pool_max_at(NULL, x, lengths);
}

ur_node (ur_pool_attention)(ur_pooling layer, ur_node x, const int lengths[], ur_node *weights)
{
    return ur_pool_attention_at(NULL, layer, x, lengths, weights);
}
