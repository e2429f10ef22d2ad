/* Two cells over one sequence, in both directions.
 *
 *     h_t = forward(x_t, h_t-1)       k_t = backward(x_t, k_t+1)       y_t = merge(h_t, k_t)
 *
 * M. Schuster and K. K. Paliwal, "Bidirectional recurrent neural networks", IEEE Transactions on
 * Signal Processing 45 (1997); A. Graves and J. Schmidhuber, Neural Networks 18 (2005), with lstm.
 *
 * Neither depends on the other, so that they run side by side.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

ur_node (ur_unroll_backward)(const ur_cell *cell, ur_node x, const int lengths[], ur_node s[])
{
    return ur_unroll_backward_at(NULL, cell, x, lengths, s, NULL);
}

ur_node (ur_unroll_backward_states)(const ur_cell *cell, ur_node x, const int lengths[],
                                    ur_node s[], ur_node all[])
{
    return ur_unroll_backward_at(NULL, cell, x, lengths, s, all);
}

bool ur_bidirectional_apart_at(ur_at at, const ur_cell *forward, const ur_cell *backward,
                               ur_node x, const int lengths[], ur_node s[], ur_node all[],
                               ur_node y[2])
{
    const int n = ur_cell_usable(forward) ? forward->n_states : 0;
    y[0] = ur_unroll_at(at, forward, x, lengths, s, all);
    y[1] = ur_unroll_backward_at(at, backward, x, lengths, s ? s + n : NULL, all ? all + n : NULL);
    return !ur_is_nil(y[0]) && !ur_is_nil(y[1]);
}

static ur_node merged(ur_at at, ur_merge merge, ur_node h, ur_node k)
{
    switch (merge) {
    case UR_MERGE_SUM:
        return ur_add_at(at, h, k);
    case UR_MERGE_AVERAGE:
        return ur_scale_at(at, ur_add_at(at, h, k), 0.5);
    case UR_MERGE_MAXIMUM:
        return ur_maximum_at(at, h, k);
    default:
        return ur_concat_at(at, h, k);
    }
}

ur_node ur_bidirectional_at(ur_at at, const ur_cell *forward, const ur_cell *backward, ur_node x,
                            const int lengths[], ur_merge merge, ur_node s[])
{
    ur_node y[2];
    if (!ur_bidirectional_apart_at(at, forward, backward, x, lengths, s, NULL, y))
        return UR_NIL;
    ur_graph *g = ur_graph_of(y[0]);
    if ((int)merge < UR_MERGE_CONCAT || merge > UR_MERGE_MAXIMUM) {
        ur_fail(g, at, "bidirectional", "there is no merge %d", (int)merge);
        return UR_NIL;
    }
    if (merge != UR_MERGE_CONCAT && forward->outputs != backward->outputs) {
        ur_fail(g, at, "bidirectional", "cell %s has %d outputs, but %s has %d: these are merged "
                "side by side alone", forward->name, forward->outputs, backward->name,
                backward->outputs);
        return UR_NIL;
    }
    return merged(at, merge, y[0], y[1]);
}

ur_node (ur_bidirectional)(const ur_cell *forward, const ur_cell *backward, ur_node x,
                           const int lengths[], ur_merge merge, ur_node s[])
{
    return ur_bidirectional_at(NULL, forward, backward, x, lengths, merge, s);
}

bool (ur_bidirectional_apart)(const ur_cell *forward, const ur_cell *backward, ur_node x,
                              const int lengths[], ur_node s[], ur_node all[], ur_node y[2])
{
    return ur_bidirectional_apart_at(NULL, forward, backward, x, lengths, s, all, y);
}
