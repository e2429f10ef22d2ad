/* stream.c: how well a language model tells one long text, which it reads once from start to end.
 * A piece is recorded and then replayed with the next one's ids: nothing is planned for it, and the
 * states go on by themselves. */
#include "examples/kit/corpus.h"

bool kit_stream_loss(ur_graph *g, ur_params *states, ur_step_logits *logits, void *model,
                     const int32_t *ids, size_t n, int piece, double *mean)
{
    ur_node x = UR_NIL, y = UR_NIL, loss = UR_NIL;
    size_t steps = n - 1, recorded = 0;
    double total = 0;
    ur_state_reset(states, -1);
    for (size_t i = 0; i < steps; i += recorded) {
        size_t k = steps - i < (size_t)piece ? steps - i : (size_t)piece;
        if (kit_interrupted)
            return false;
        if (k == recorded) {
            ur_set(x, ids + i);
            ur_set(y, ids + i + 1);
            ur_rerun(g);
        } else {
            ur_clear(g);
            ur_node *s = ur_graph_alloc(g, (size_t)ur_params_count(states) * sizeof *s);
            kit_need(g);
            ur_state_in(g, states, s);
            x = ur_ints(g, ids + i, (int)k, 1);
            y = ur_ints(g, ids + i + 1, (int)k, 1);
            loss = ur_cross_entropy(logits(model, x, s), y);
            ur_state_out(states, s);
            ur_run(g);
            recorded = k;
        }
        total += kit_value(g, loss) * (double)k;
    }
    *mean = total / (double)steps;
    return true;
}
