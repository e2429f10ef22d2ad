/* Attention with several heads, each of which looks at D / heads features.
 *
 *     Q = q Wq + bq    K = x Wk + bk    V = x Wv + bv    d = D / heads
 *     head_i = softmax(mask(Q_i K_i^T / sqrt(d))) V_i    y = [head_1 .. head_h] Wo + bo
 *
 * A. Vaswani et al., "Attention is all you need", NIPS 2017. The three products of a sequence with
 * itself share a left operand, which is for the planner to see.
 */
#include <math.h>
#include "unroll/attention.h"
#include "unroll/ops.h"

static ur_linear_layer square(ur_params *ps, const char *name, const char *part, int D)
{
    return ur_linear_with(ps, ur_namef(ps, "%s.%s", name, part), D, D, ur_xavier(),
                          ur_constant(0));
}

ur_multi_head ur_multi_head_new(ur_params *ps, const char *name, int D, int heads)
{
    if (heads < 1 || D < 1 || D % heads) {
        ur_fail(ps, NULL, NULL, "multi_head %s: %d features are not shared by %d heads", name, D,
                heads);
        return (ur_multi_head){ .heads = 0 };
    }
    return (ur_multi_head){
        .q = square(ps, name, "q", D), .k = square(ps, name, "k", D),
        .v = square(ps, name, "v", D), .out = square(ps, name, "out", D), .heads = heads,
    };
}

/* x [T,B,D], or nil, of the size that the layer has. */
static bool fits(ur_graph *g, ur_at at, ur_multi_head layer, ur_node x)
{
    const ur_shape s = ur_shape_of(x);
    const int D = ur_dim(layer.out.W, 0);
    if (layer.heads < 1)
        return ur_fail(g, at, "multi_head", "the layer could not be made");
    return (s.rank == 3 && s.dim[2] == D) ||
           ur_fail(g, at, "multi_head", "%s, but a sequence is [T,B,%d]", ur_called(x, at, 0), D);
}

/* [T,B,D] -> [B,heads,T,d] */
static ur_node split(ur_at at, ur_multi_head layer, ur_node x)
{
    const int T = ur_dim(x, 0), B = ur_dim(x, 1), h = layer.heads, d = ur_dim(x, 2) / h;
    x = ur_reshape_at(at, x, 4, (int[]){ T, B, h, d });
    return ur_permute_at(at, x, 4, (int[]){ 1, 2, 0, 3 });
}

ur_memory ur_heads_memory_at(ur_at at, ur_multi_head layer, ur_node x, const int lengths[])
{
    ur_graph *g = ur_graph_of(x);
    ur_memory m = { .mask = UR_NIL };
    if (!g || ur_error(g) || !fits(g, at, layer, x))
        return m;
    if (lengths) {
        ur_node mask = ur_length_mask_at(at, g, ur_dim(x, 0), ur_dim(x, 1), lengths);
        x = ur_select_at(at, mask, x);
        m.mask = ur_permute_at(at, mask, 3, (int[]){ 1, 2, 0 });
    }
    const double d = ur_dim(x, 2) / layer.heads;
    ur_node k = ur_linear_at(at, layer.k, x), v = ur_linear_at(at, layer.v, x);
    if (ur_is_nil(k) || ur_is_nil(v))
        return m;
    m.keys = ur_scale_at(at, split(at, layer, k), 1 / sqrt(d));
    m.values = split(at, layer, v);
    return m;
}

/* [T,S], 1 where query t may look: up to S - T + t. */
static ur_node causal_mask(ur_at at, ur_graph *g, int T, int S)
{
    int32_t *m = ur_graph_alloc(g, (size_t)T * (size_t)S * sizeof *m);
    for (int t = 0; m && t < T; t++)
        for (int s = 0; s <= S - T + t; s++)
            m[(size_t)t * (size_t)S + (size_t)s] = 1;
    return m ? ur_cast_at(at, ur_ints_at(at, g, m, 2, (int[]){ T, S })) : UR_NIL;
}

/* e with -inf where a mask says so. */
static ur_node masked(ur_at at, ur_graph *g, ur_memory m, const ur_heads_options *o, ur_node e)
{
    const int T = ur_dim(e, 2), S = ur_dim(e, 3);
    if (o->causal)
        e = ur_where_at(at, causal_mask(at, g, T, S), e, ur_scalar_at(at, g, -INFINITY));
    if (!ur_is_nil(m.mask)) {
        ur_node mask = ur_reshape_at(at, m.mask, 4, (int[]){ ur_dim(m.mask, 0), 1, 1, S });
        e = ur_where_at(at, mask, e, ur_scalar_at(at, g, -INFINITY));
    }
    if (!ur_is_nil(o->mask))
        e = ur_where_at(at, o->mask, e, ur_scalar_at(at, g, -INFINITY));
    return e;
}

ur_node ur_heads_attend_at(ur_at at, ur_multi_head layer, ur_memory memory, ur_node q,
                           const ur_heads_options *o)
{
    ur_graph *g = ur_graph_of(q);
    if (o->weights)
        *o->weights = UR_NIL;
    if (!g || ur_error(g) || !fits(g, at, layer, q))
        return UR_NIL;
    const int T = ur_dim(q, 0), B = ur_dim(q, 1), D = ur_dim(q, 2), S = ur_dim(memory.keys, 2);
    if (ur_dim(memory.keys, 0) != B || (o->causal && S < T)) {
        ur_fail(g, at, "multi_head", ur_is_nil(memory.keys) ? "%s, but the memory is nil"
                : "%s, but the memory has %d rows of %d steps", ur_called(q, at, 0),
                ur_dim(memory.keys, 0), S);
        return UR_NIL;
    }
    ur_node Q = ur_linear_at(at, layer.q, q);
    if (ur_is_nil(Q))
        return UR_NIL;
    ur_node e = ur_matmul_with_at(at, split(at, layer, Q), memory.keys, false, true);
    ur_node a = ur_softmax_at(at, masked(at, g, memory, o, e));
    if (o->weights)
        *o->weights = ur_keep(a);
    if (o->dropout > 0)
        a = ur_dropout_at(at, a, o->dropout);
    ur_node y = ur_permute_at(at, ur_matmul_at(at, a, memory.values), 4, (int[]){ 2, 0, 1, 3 });
    return ur_linear_at(at, layer.out, ur_reshape_at(at, y, 3, (int[]){ T, B, D }));
}

ur_node ur_self_attention_at(ur_at at, ur_multi_head layer, ur_node x, const int lengths[],
                             const ur_heads_options *options)
{
    x = ur_within_at(at, x, lengths);
    ur_memory m = ur_heads_memory_at(at, layer, x, lengths);
    return ur_within_at(at, ur_heads_attend_at(at, layer, m, x, options), lengths);
}

ur_memory (ur_heads_memory)(ur_multi_head layer, ur_node x, const int lengths[])
{
    return ur_heads_memory_at(NULL, layer, x, lengths);
}
