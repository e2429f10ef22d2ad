/* The operations that the graph itself owns: leaves, the cut, requests, sums, effects. */
#include "graph/internal.h"

static bool same_as_operand(ur_shaping *s)
{
    s->out = s->in[0];
    s->type = s->type_in[0];
    return true;
}

/* d sum_k x_k / d x_k = g, of the shape of x_k: a sum [N] may have terms [1,N] (rowsum.c). */
static void sum_rule(ur_rule *r)
{
    for (int k = 0; k < r->n_in; k++) {
        const ur_shape s = ur_shape_of(r->in[k]);
        const bool alike = s.rank == ur_shape_of(r->g).rank;
        ur_give(r, k, alike ? r->g : ur__reshape_to(NULL, r->g, &s));
    }
}

#define LEAF(id, text) \
    const ur_op ur__op_##id = { .name = text, .kind = UR_LEAF, .n_in = 0, .flags = UR_FLAT }
LEAF(input, "input");
LEAF(constant, "constant");
LEAF(param, "parameter");
LEAF(import, "imported parameter");
LEAF(state, "state");

const ur_op ur__op_cut = { .name = "detach", .kind = UR_VIEW, .n_in = 1, .shape = same_as_operand,
                           .flags = UR_FLAT };
const ur_op ur__op_request = { .name = "gradient request", .kind = UR_REQUEST, .n_in = -1,
                               .flags = UR_FLAT };
const ur_op ur__op_grad = { .name = "gradient", .kind = UR_REQUEST, .n_in = 1, .flags = UR_FLAT };
const ur_op ur__op_sum = { .name = "sum of contributions", .kind = UR_SUM, .n_in = -1,
                           .rule = sum_rule };
const ur_op ur__op_deposit = { .name = "gradient of parameter", .kind = UR_EFFECT, .n_in = 1,
                               .flags = UR_FLAT };
const ur_op ur__op_state_out = { .name = "state", .kind = UR_EFFECT, .n_in = 1, .flags = UR_FLAT };

bool ur__is_leaf(const ur_op *op)
{
    return op->kind == UR_LEAF;
}
