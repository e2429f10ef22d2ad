/* Attention: the mean of what is looked at, weighted by how well it goes with a query.
 *
 *     dot           e_s = q . x_s
 *     scaled dot    e_s = q . x_s / sqrt(Q)            Vaswani et al., NIPS 2017
 *     general       e_s = q . (x_s W)                  Luong, Pham and Manning, EMNLP 2015
 *     additive      e_s = v . tanh(q W + x_s U + b)    Bahdanau, Cho and Bengio, ICLR 2015
 *     a = softmax(e), c = sum_s a_s x_s
 *
 * What depends on x alone, its keys, is computed once for all queries. Rows come first in a memory,
 * [B,S,.], so that scores and contexts are products of matrices, one for each row.
 */
#include <math.h>
#include "unroll/attention.h"
#include "unroll/ops.h"

static bool sizes_fit(ur_params *ps, const char *name, ur_score score, int Q, int K, int A)
{
    if ((int)score < UR_SCORE_DOT || score > UR_SCORE_ADDITIVE)
        return ur_fail(ps, NULL, NULL, "attention %s: there is no score %d", name, (int)score);
    if (Q < 1 || Q > UR_MAX_SIZE || K < 1 || K > UR_MAX_SIZE ||
        (score == UR_SCORE_ADDITIVE && (A < 1 || A > UR_MAX_SIZE)))
        return ur_fail(ps, NULL, NULL, "attention %s: Q %d, K %d, A %d: sizes are from 1 to %d",
                       name, Q, K, A, UR_MAX_SIZE);
    if (Q != K && (score == UR_SCORE_DOT || score == UR_SCORE_SCALED_DOT))
        return ur_fail(ps, NULL, NULL, "attention %s: queries of %d features and keys of %d have no"
                       " dot product", name, Q, K);
    return true;
}

static ur_init uniform(int inputs)
{
    const double k = 1 / sqrt(inputs);
    return ur_uniform_between(-k, k);
}

ur_attention ur_attention_new(ur_params *ps, const char *name, ur_score score, int Q, int K, int A)
{
    ur_attention a = { .score = score, .Q = Q, .K = K };
    if (!sizes_fit(ps, name, score, Q, K, A))
        return a;
    if (score == UR_SCORE_GENERAL)
        a.W = ur_param(ps, ur_namef(ps, "%s.W", name), uniform(K), K, Q);
    if (score == UR_SCORE_ADDITIVE) {
        a.W = ur_param(ps, ur_namef(ps, "%s.W", name), uniform(Q), Q, A);
        a.U = ur_param(ps, ur_namef(ps, "%s.U", name), uniform(K), K, A);
        a.b = ur_param(ps, ur_namef(ps, "%s.b", name), uniform(K), A);
        a.v = ur_param(ps, ur_namef(ps, "%s.v", name), uniform(A), A, 1);
    }
    return a;
}

/* --------------------------------------------------------------------------------------- memory */

static ur_node keys_of(ur_at at, ur_attention a, ur_node x)
{
    switch (a.score) {
    case UR_SCORE_SCALED_DOT:
        return ur_scale_at(at, x, 1 / sqrt(a.Q));
    case UR_SCORE_GENERAL:
        return ur_matmul_at(at, x, a.W);
    case UR_SCORE_ADDITIVE:
        return ur_affine_at(at, x, a.U, a.b);
    default:
        return x;
    }
}

/* mask [S,B,1] or nil */
static ur_memory memory(ur_at at, ur_attention a, ur_node x, ur_node mask, bool masked)
{
    ur_memory m = { .mask = UR_NIL };
    if (masked) {
        x = ur_select_at(at, mask, x);
        m.mask = ur_permute_at(at, mask, 3, (int[]){ 1, 2, 0 });
    }
    m.values = ur_permute_at(at, x, 3, (int[]){ 1, 0, 2 });
    m.keys = keys_of(at, a, m.values);
    return m;
}

static bool is_memory(ur_at at, ur_attention a, ur_node x)
{
    ur_graph *g = ur_graph_of(x);
    const ur_shape s = ur_shape_of(x);
    return g && !ur_error(g) &&
           ((s.rank == 3 && s.dim[2] == a.K) ||
            ur_fail(g, at, "memory", "%s, but the attention looks at [S,B,%d]",
                    ur_called(x, at, 0), a.K));
}

ur_memory ur_memory_at(ur_at at, ur_attention attention, ur_node x, const int lengths[])
{
    if (!is_memory(at, attention, x))
        return (ur_memory){ .mask = UR_NIL };
    ur_node mask = lengths ? ur_length_mask_at(at, ur_graph_of(x), ur_dim(x, 0), ur_dim(x, 1),
                                               lengths) : UR_NIL;
    return memory(at, attention, x, mask, lengths != NULL);
}

ur_memory ur_memory_masked_at(ur_at at, ur_attention attention, ur_node x, ur_node mask)
{
    if (!is_memory(at, attention, x))
        return (ur_memory){ .mask = UR_NIL };
    ur_node m = ur_reshape_at(at, mask, 3, (int[]){ ur_dim(x, 0), ur_dim(x, 1), 1 });
    return memory(at, attention, x, m, true);
}

/* -------------------------------------------------------------------------------------- queries */

/* Scores [B,T,S] of queries [T,B,Q], or [B,1,S] of [B,Q]. */
static ur_node scores(ur_at at, ur_attention a, ur_memory m, ur_node q)
{
    const bool one = ur_shape_of(q).rank == 2;
    const int B = ur_dim(q, -2), T = one ? 1 : ur_dim(q, 0), S = ur_dim(m.keys, 1);
    if (a.score == UR_SCORE_ADDITIVE)
        q = ur_matmul_at(at, q, a.W);
    const int F = ur_dim(q, -1);
    q = one ? ur_reshape_at(at, q, 3, (int[]){ B, 1, F })
            : ur_permute_at(at, q, 3, (int[]){ 1, 0, 2 });
    if (a.score != UR_SCORE_ADDITIVE)
        return ur_matmul_with_at(at, q, m.keys, false, true);
    ur_node k = m.keys;
    if (!one) {
        q = ur_reshape_at(at, q, 4, (int[]){ B, T, 1, F });
        k = ur_reshape_at(at, k, 4, (int[]){ B, 1, S, F });
    }
    ur_node e = ur_matmul_at(at, ur_tanh_at(at, ur_add_at(at, k, q)), a.v);
    return ur_reshape_at(at, e, 3, (int[]){ B, T, S });
}

static bool fits(ur_graph *g, ur_at at, ur_attention a, ur_memory m, ur_node q)
{
    const ur_shape s = ur_shape_of(q);
    const int B = ur_dim(m.values, 0);
    if (ur_is_nil(m.values))
        return ur_fail(g, at, "attend", "the memory is nil, or of a tape that was cleared");
    return (s.rank >= 2 && s.rank <= 3 && s.dim[s.rank - 1] == a.Q && s.dim[s.rank - 2] == B) ||
           ur_fail(g, at, "attend", "%s, but queries of this memory are [%d,%d] or [T,%d,%d]",
                   ur_called(q, at, 0), B, a.Q, B, a.Q);
}

ur_node ur_attend_at(ur_at at, ur_attention attention, ur_memory memory, ur_node q,
                     ur_node *weights)
{
    ur_graph *g = ur_graph_of(q);
    if (weights)
        *weights = UR_NIL;
    if (!g || ur_error(g) || !fits(g, at, attention, memory, q))
        return UR_NIL;
    const bool one = ur_shape_of(q).rank == 2;
    const int B = ur_dim(q, -2), S = ur_dim(memory.values, 1);
    ur_node e = scores(at, attention, memory, q);
    if (!ur_is_nil(memory.mask))
        e = ur_where_at(at, memory.mask, e, ur_scalar_at(at, g, -INFINITY));
    ur_node a = ur_softmax_at(at, e), c = ur_matmul_at(at, a, memory.values);
    if (weights)
        *weights = ur_keep(one ? ur_reshape_at(at, a, 2, (int[]){ B, S }) : a);
    return one ? ur_reshape_at(at, c, 2, (int[]){ B, attention.K })
               : ur_permute_at(at, c, 3, (int[]){ 1, 0, 2 });
}

/* ------------------------------------------------------------------------------ plain functions */

ur_memory (ur_memory_new)(ur_attention attention, ur_node x, const int lengths[])
{
    return ur_memory_at(NULL, attention, x, lengths);
}

ur_memory (ur_memory_masked)(ur_attention attention, ur_node x, ur_node mask)
{
    return ur_memory_masked_at(NULL, attention, x, mask);
}

ur_node (ur_attend)(ur_attention attention, ur_memory memory, ur_node q, ur_node *weights)
{
    return ur_attend_at(NULL, attention, memory, q, weights);
}
