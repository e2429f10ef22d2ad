/* The places of a batch [T,B] that belong to its rows of lengths n_b.
 *
 *     m_tb = 1 if t < n_b, else 0        within(x) = m ? x : 0
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

bool ur_lengths_fit(ur_graph *g, ur_at at, const char *what, const int lengths[], int T, int B)
{
    for (int b = 0; lengths && b < B; b++)
        if (lengths[b] < 0 || lengths[b] > T)
            return ur_fail(g, at, what, "lengths[%d] is %d, not between 0 and the %d steps", b,
                           lengths[b], T);
    return T >= 0 && B >= 0 ? true : ur_fail(g, at, what, "[%d,%d] is no batch", T, B);
}

ur_node ur_length_mask_at(ur_at at, ur_graph *g, int T, int B, const int lengths[])
{
    if (!g || ur_error(g) || !ur_lengths_fit(g, at, "length_mask", lengths, T, B))
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

/* int32 [T,B]: the number of each place, or `dead` beyond the lengths. */
static ur_node places(ur_at at, ur_graph *g, int T, int B, const int lengths[], int32_t dead)
{
    int32_t *id = ur_graph_alloc(g, (size_t)T * (size_t)B * sizeof *id);
    if (!id)
        return UR_NIL;
    for (int t = 0; t < T; t++)
        for (int b = 0; b < B; b++)
            id[(size_t)t * (size_t)B + (size_t)b] = t < lengths[b] ? t * B + b : dead;
    return ur_ints_at(at, g, id, 2, (int[]){ T, B });
}

/* Ids move by a gather; padding takes its value from one more place at the end. */
ur_node ur_ids_within_at(ur_at at, ur_node ids, const int lengths[], int padding)
{
    ur_graph *g = ur_graph_of(ids);
    if (!lengths || !g || ur_error(g))
        return ids;
    const ur_shape s = ur_shape_of(ids);
    if (s.rank != 2 || ur_type_of(ids) != UR_I32) {
        ur_fail(g, at, "ids_within", "%s, but ids are int32 [T,B]", ur_called(ids, at, 0));
        return UR_NIL;
    }
    const int T = s.dim[0], B = s.dim[1];
    if ((int64_t)T * B >= INT32_MAX) {
        ur_fail(g, at, "ids_within", "%s: too many places", ur_called(ids, at, 0));
        return UR_NIL;
    }
    if (!ur_lengths_fit(g, at, "ids_within", lengths, T, B))
        return UR_NIL;
    ur_node table[2] = { ur_reshape_at(at, ids, 1, (int[]){ T * B }),
                         ur_ints_at(at, g, &(int32_t){ padding }, 1, (int[]){ 1 }) };
    return ur_gather_at(at, ur_concat_n_at(at, table, 2, 0),
                        places(at, g, T, B, lengths, T * B));
}

ur_node (ur_length_mask)(ur_graph *g, int T, int B, const int lengths[])
{
    return ur_length_mask_at(NULL, g, T, B, lengths);
}

ur_node (ur_within)(ur_node x, const int lengths[])
{
    return ur_within_at(NULL, x, lengths);
}

ur_node (ur_ids_within)(ur_node ids, const int lengths[], int padding)
{
    return ur_ids_within_at(NULL, ids, lengths, padding);
}
