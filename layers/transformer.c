/* Transformer blocks, and stacks of them.
 *
 *     pre-norm     x = x + A(n1(x))    x = x + C(n2(x))    y = x + F(n3(x))
 *     post-norm    x = n1(x + A(x))    x = n2(x + C(x))    y = n3(x + F(x))
 *     F(x) = f(x Wu + bu) Wd + bd      A to itself, C to a memory (decoders), f gelu or relu
 *
 * A. Vaswani et al., NIPS 2017; normalisation before the layers: A. Radford et al., "Language
 * models are unsupervised multitask learners" (2019), R. Xiong et al., ICML 2020.
 */
#include "unroll/attention.h"
#include "unroll/ops.h"

static ur_transformer_block block_new(ur_params *ps, const char *name, int D,
                                      const ur_transformer_options *options, bool cross)
{
    ur_transformer_block b = { .how = *options };
    if (D < 1 || D > UR_MAX_SIZE) {
        ur_fail(ps, NULL, NULL, "transformer block %s: %d features, not 1 to %d", name, D,
                UR_MAX_SIZE);
        return b;
    }
    b.how.heads = options->heads ? options->heads : 1;
    b.how.inner = options->inner ? options->inner : 4 * D;
    b.how.causal = options->causal || cross;
    b.self = ur_multi_head_new(ps, ur_namef(ps, "%s.self", name), D, b.how.heads);
    b.n1 = ur_layer_norm_new(ps, ur_namef(ps, "%s.n1", name), D);
    if (cross) {
        b.cross = ur_multi_head_new(ps, ur_namef(ps, "%s.cross", name), D, b.how.heads);
        b.n2 = ur_layer_norm_new(ps, ur_namef(ps, "%s.n2", name), D);
    }
    b.n3 = ur_layer_norm_new(ps, ur_namef(ps, "%s.n3", name), D);
    b.up = ur_linear_new(ps, ur_namef(ps, "%s.up", name), D, b.how.inner);
    b.down = ur_linear_new(ps, ur_namef(ps, "%s.down", name), b.how.inner, D);
    return b;
}

ur_transformer_block ur_encoder_block_with(ur_params *ps, const char *name, int D,
                                           const ur_transformer_options *options)
{
    return block_new(ps, name, D, options, false);
}

ur_transformer_block ur_decoder_block_with(ur_params *ps, const char *name, int D,
                                           const ur_transformer_options *options)
{
    return block_new(ps, name, D, options, true);
}

/* The three layers, each of what it is to be applied to. */

static ur_node dropped(const ur_transformer_block *b, ur_node x)
{
    return b->how.dropout > 0 ? ur_dropout(x, b->how.dropout) : x;
}

static ur_node look(const ur_transformer_block *b, ur_node x, const int lengths[])
{
    ur_memory m = ur_heads_memory(b->self, x, lengths);
    return dropped(b, ur_heads_attend(b->self, m, x, .causal = b->how.causal,
                                      .dropout = b->how.dropout));
}

static ur_node look_across(const ur_transformer_block *b, ur_node x, ur_memory m)
{
    return dropped(b, ur_heads_attend(b->cross, m, x, .dropout = b->how.dropout));
}

static ur_node forward(const ur_transformer_block *b, ur_node x)
{
    ur_node wide = ur_linear(b->up, x);
    wide = dropped(b, b->how.relu ? ur_relu(wide) : ur_gelu(wide));
    return dropped(b, ur_linear(b->down, wide));
}

ur_node ur_block_apply(const ur_transformer_block *b, ur_node x, const int lengths[],
                       const ur_memory *memory)
{
    const bool cross = b->cross.heads > 0;
    if (cross && !memory) {
        ur_fail(ur_graph_of(x), NULL, "block_apply", "a decoder's block needs a memory");
        return UR_NIL;
    }
    x = ur_within(x, lengths);
    if (b->how.post_norm) {
        x = ur_normalise(b->n1, ur_add(x, look(b, x, lengths)));
        x = cross ? ur_normalise(b->n2, ur_add(x, look_across(b, x, *memory))) : x;
        return ur_normalise(b->n3, ur_add(x, forward(b, x)));
    }
    x = ur_add(x, look(b, ur_normalise(b->n1, x), lengths));
    x = cross ? ur_add(x, look_across(b, ur_normalise(b->n2, x), *memory)) : x;
    return ur_add(x, forward(b, ur_normalise(b->n3, x)));
}

/* --------------------------------------------------------------------------------------- stacks */

static ur_transformer stack_new(ur_params *ps, const char *name, int D, int layers,
                                const ur_transformer_options *options, bool cross)
{
    ur_transformer stack = { .layers = layers };
    if (layers < 1) {
        ur_fail(ps, NULL, NULL, "transformer %s: %d layers, at least 1 is needed", name, layers);
        return stack;
    }
    stack.blocks = ur_params_alloc(ps, sizeof *stack.blocks * (size_t)layers);
    for (int l = 0; stack.blocks && l < layers; l++)
        stack.blocks[l] = block_new(ps, ur_namef(ps, "%s.%d", name, l), D, options, cross);
    if (!options->post_norm)
        stack.last = ur_layer_norm_new(ps, ur_namef(ps, "%s.last", name), D);
    return stack;
}

ur_transformer ur_transformer_encoder_with(ur_params *ps, const char *name, int D, int layers,
                                           const ur_transformer_options *options)
{
    return stack_new(ps, name, D, layers, options, false);
}

ur_transformer ur_transformer_decoder_with(ur_params *ps, const char *name, int D, int layers,
                                           const ur_transformer_options *options)
{
    return stack_new(ps, name, D, layers, options, true);
}

/* m nil: no memory. */
static ur_node transform(ur_transformer stack, ur_node x, const int lengths[], ur_node m,
                         const int m_lengths[])
{
    ur_graph *g = ur_graph_of(x);
    if (!g || ur_error(g))
        return UR_NIL;
    if (!stack.blocks) {
        ur_fail(g, NULL, "transform", "the stack could not be made");
        return UR_NIL;
    }
    for (int l = 0; l < stack.layers; l++) {
        const ur_transformer_block *b = &stack.blocks[l];
        ur_memory memory = { .mask = UR_NIL };
        ur_scope_begin(g, "block", l);
        if (!ur_is_nil(m))
            memory = ur_heads_memory(b->cross, m, m_lengths);
        x = ur_block_apply(b, x, lengths, ur_is_nil(m) ? NULL : &memory);
        ur_scope_end(g);
    }
    if (!stack.blocks[0].how.post_norm)
        x = ur_normalise(stack.last, x);
    return ur_within(x, lengths);
}

ur_node ur_transform(ur_transformer stack, ur_node x, const int lengths[])
{
    return transform(stack, x, lengths, UR_NIL, NULL);
}

ur_node ur_transform_memory(ur_transformer stack, ur_node x, const int lengths[], ur_node m,
                            const int m_lengths[])
{
    return transform(stack, x, lengths, m, m_lengths);
}
