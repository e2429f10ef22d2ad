/* The places of a batch [T,B] that belong to its rows of lengths n_b: those with t < n_b.
 *
 * Masks and row numbers made of lengths are inputs, so lengths are no part of the tape's structure.
 */
#include "unroll/structured.h"

bool ur_lengths_fit(ur_graph *g, ur_at at, const char *what, const int lengths[], int T, int B)
{
    for (int b = 0; lengths && b < B; b++)
        if (lengths[b] < 0 || lengths[b] > T)
            return ur_fail(g, at, what, "lengths[%d] is %d, not between 0 and the %d steps", b,
                           lengths[b], T);
    return true;
}

/* int32 [T,B]: `live` and `dead` places; live < 0 stands for the number of the place itself. */
static ur_node places(ur_at at, ur_graph *g, int T, int B, const int lengths[], int rank,
                      int32_t live, int32_t dead)
{
    int32_t *id = ur_graph_alloc(g, (size_t)T * (size_t)B * sizeof *id);
    if (!id)
        return UR_NIL;
    for (int t = 0; t < T; t++)
        for (int b = 0; b < B; b++)
            id[(size_t)t * (size_t)B + (size_t)b] =
                lengths && t >= lengths[b] ? dead : live < 0 ? t * B + b : live;
    return ur_ints_at(at, g, id, rank, (int[]){ T, B, 1 });
}

ur_node ur_live_steps_at(ur_at at, ur_graph *g, int T, int B, const int lengths[])
{
    if (!g || ur_error(g) || !ur_lengths_fit(g, at, "live_steps", lengths, T, B))
        return UR_NIL;
    return ur_cast_at(at, places(at, g, T, B, lengths, 3, 1, 0));
}

/* Ids move by a gather; padding takes its value from one more place at the end. */
ur_node ur_live_ids_at(ur_at at, ur_node ids, const int lengths[], int padding)
{
    ur_graph *g = ur_graph_of(ids);
    if (!lengths || !g || ur_error(g))
        return ids;
    const ur_shape s = ur_shape_of(ids);
    if (s.rank != 2 || ur_type_of(ids) != UR_I32) {
        ur_fail(g, at, "live_ids", "%s, but ids are int32 [T,B]", ur_called(ids, at, 0));
        return UR_NIL;
    }
    const int T = s.dim[0], B = s.dim[1];
    if ((int64_t)T * B >= INT32_MAX) {
        ur_fail(g, at, "live_ids", "%s: too many places", ur_called(ids, at, 0));
        return UR_NIL;
    }
    if (!ur_lengths_fit(g, at, "live_ids", lengths, T, B))
        return UR_NIL;
    ur_node table[2] = { ur_reshape_at(at, ids, 1, (int[]){ T * B }),
                         ur_ints_at(at, g, &(int32_t){ padding }, 1, (int[]){ 1 }) };
    return ur_gather_at(at, ur_concat_n_at(at, table, 2, 0),
                        places(at, g, T, B, lengths, 2, -1, T * B));
}

ur_node (ur_live_steps)(ur_graph *g, int T, int B, const int lengths[])
{
    return ur_live_steps_at(NULL, g, T, B, lengths);
}

ur_node (ur_live_ids)(ur_node ids, const int lengths[], int padding)
{
    return ur_live_ids_at(NULL, ids, lengths, padding);
}
