/* The places of a batch [T,B] that belong to its rows of lengths n_b.
 *
 *     m_tb = 1 if t < n_b, else 0        within(x) = m ? x : 0
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

static bool lengths_fit(ur_graph *g, ur_at at, int T, int B, const int lengths[])
{
    for (int b = 0; lengths && b < B; b++)
        if (lengths[b] < 0 || lengths[b] > T)
            return ur_fail(g, at, "length_mask", "lengths[%d] is %d, not between 0 and the %d "
                           "steps", b, lengths[b], T);
    return T >= 0 && B >= 0 ? true : ur_fail(g, at, "length_mask", "[%d,%d] is no batch", T, B);
}

ur_node ur_length_mask_at(ur_at at, ur_graph *g, int T, int B, const int lengths[])
{
    if (!g || ur_error(g) || !lengths_fit(g, at, T, B, lengths))
        return UR_NIL;
    int32_t *m = ur_graph_alloc(g, (size_t)T * (size_t)B * sizeof *m);
    if (!m)
        return UR_NIL;
    for (int t = 0; t < T; t++)
        for (int b = 0; b < B; b++)
            m[(size_t)t * (size_t)B + (size_t)b] = !lengths || t < lengths[b];
    return ur_cast_at(at, ur_ints_at(at, g, m, 3, (int[]){ T, B, 1 }));
}

ur_node ur_within_at(ur_at at, ur_node x, const int lengths[])
{
    ur_graph *g = ur_graph_of(x);
    if (!g || ur_error(g) || !lengths)
        return x;
    if (ur_shape_of(x).rank != 3) {
        ur_fail(g, at, "within", "%s, but a sequence is [T,B,features]", ur_called(x, at, 0));
        return UR_NIL;
    }
    return ur_select_at(at, ur_length_mask_at(at, g, ur_dim(x, 0), ur_dim(x, 1), lengths), x);
}

ur_node (ur_length_mask)(ur_graph *g, int T, int B, const int lengths[])
{
    return ur_length_mask_at(NULL, g, T, B, lengths);
}

ur_node (ur_within)(ur_node x, const int lengths[])
{
    return ur_within_at(NULL, x, lengths);
}
