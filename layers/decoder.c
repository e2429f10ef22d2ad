/* Decoders: cells that look at a memory, bridges from encoders, and how they are taught.
 *
 *     attention cell    c = attend(h)          y = inner([x,c])                    output [y,c]
 *     input feeding     y = inner([x,a])       a' = tanh([attend(y), y] W)         output a'
 *     bridge            s_k = tanh([encoders' last states] W_k + b_k)
 *     teaching          x_t = E[true symbol] where a coin says so, else E[choice of logits_t-1]
 *
 * D. Bahdanau, K. Cho and Y. Bengio, ICLR 2015 (the first and the third); M.-T. Luong, H. Pham and
 * C. D. Manning, EMNLP 2015; S. Bengio et al., "Scheduled sampling for sequence prediction with
 * recurrent neural networks", NIPS 2015.
 *
 * A cell on a memory is a copy of the cell that lives as long as the tape, whose nodes it holds.
 */
#include <math.h>
#include "unroll/attention.h"
#include "unroll/ops.h"

typedef struct attending {
    ur_cell cell;
    const ur_cell *inner;
    ur_attention attention;
    ur_linear_layer W;                  /* input feeding */
    ur_memory memory;
    ur_node *weights;                   /* of the steps, or NULL */
    int *steps;                         /* done on this memory; NULL: on none */
} attending;

static ur_node look(const attending *p, ur_node q)
{
    if (!p->steps) {
        ur_fail(ur_graph_of(q), NULL, NULL, "cell %s is on no memory: see ur_on_memory",
                p->cell.name);
        return UR_NIL;
    }
    return ur_attend(p->attention, p->memory, q, p->weights ? &p->weights[(*p->steps)++] : NULL);
}

static ur_node attention_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const attending *p = (const attending *)cell;
    ur_node c = look(p, s[p->inner->top]);
    ur_node y = p->inner->step(p->inner, ur_concat(x, c), s);
    return ur_concat(y, c);
}

static ur_node feeding_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const attending *p = (const attending *)cell;
    ur_node *a = &s[p->inner->n_states];
    ur_node y = p->inner->step(p->inner, ur_concat(x, *a), s);
    return *a = ur_tanh(ur_linear(p->W, ur_concat(look(p, y), y)));
}

/* What cannot be made, the store having an error: a cell that cannot be used. */
static ur_cell *no_cell(const ur_cell *inner)
{
    return ur_cell_new(inner->params, inner->name, sizeof(ur_cell), attention_step, 1, 1, 0, NULL);
}

ur_cell *ur_attention_cell(ur_cell *inner, ur_attention attention)
{
    if (!ur_cell_usable(inner))
        return inner;
    ur_params *ps = inner->params;
    const int K = attention.K;
    if (inner->top >= inner->n_states || inner->sizes[inner->top] != attention.Q || K < 1 ||
        K >= inner->inputs) {
        ur_fail(ps, NULL, NULL, "attention_cell: cell %s, %d inputs, cannot look with %d features "
                "at %d: the latter are inputs beside x, the former the size of its first state",
                inner->name, inner->inputs, attention.Q, K);
        return no_cell(inner);
    }
    attending *p = ur_cell_new(ps, inner->name, sizeof *p, attention_step, inner->inputs - K,
                               inner->outputs + K, inner->n_states, inner->sizes);
    p->inner = inner;
    p->attention = attention;
    p->cell.top = inner->top;
    p->cell.keeps_rows = true;
    return &p->cell;
}

ur_cell *ur_input_feeding(ur_cell *inner, const char *name, ur_attention attention, int A)
{
    if (!ur_cell_usable(inner))
        return inner;
    ur_params *ps = inner->params;
    const int n = inner->n_states, Q = attention.Q;
    if (inner->outputs != Q || attention.K < 1 || A < 1 || A >= inner->inputs) {
        ur_fail(ps, NULL, NULL, "input_feeding %s: cell %s, %d inputs and %d outputs, is to look "
                "with %d features and to be fed %d beside x", name, inner->name, inner->inputs,
                inner->outputs, Q, A);
        return no_cell(inner);
    }
    int *sizes = ur_params_alloc(ps, sizeof *sizes * (size_t)(n + 1));
    for (int k = 0; sizes && k <= n; k++)
        sizes[k] = k < n ? inner->sizes[k] : A;
    attending *p = ur_cell_new(ps, name, sizeof *p, feeding_step, inner->inputs - A, A, n + 1,
                               sizes);
    p->inner = inner;
    p->attention = attention;
    const double k = 1 / sqrt(attention.K + Q);
    p->W = ur_linear_unbiased(ps, name, attention.K + Q, A, ur_uniform_between(-k, k));
    p->cell.top = inner->top;
    p->cell.keeps_rows = true;
    return &p->cell;
}

const ur_cell *ur_on_memory(const ur_cell *cell, ur_memory memory, ur_node weights[])
{
    ur_graph *g = ur_graph_of(memory.values);
    if (!ur_cell_usable(cell) || !g ||
        (cell->step != attention_step && cell->step != feeding_step))
        return cell;
    attending *p = ur_graph_alloc(g, sizeof *p);
    int *steps = ur_graph_alloc(g, sizeof *steps);
    if (!p || !steps)
        return cell;
    *p = *(const attending *)cell;
    p->memory = memory;
    p->weights = weights;
    p->steps = steps;
    return &p->cell;
}

/* -------------------------------------------------------------------------------------- bridges */

ur_bridge ur_bridge_new(ur_params *ps, const char *name, int n, const int from[],
                        const ur_cell *to)
{
    ur_bridge bridge = { .n_from = n };
    int64_t features = 0;
    for (int k = 0; k < n; k++)
        features += from[k];
    if (!ur_cell_usable(to) || n < 1) {
        ur_fail(ps, NULL, NULL, "bridge %s: from %d states to a cell that %s made", name, n,
                ur_cell_usable(to) ? "was" : "was not");
        return bridge;
    }
    if (features < 1 || features > UR_MAX_SIZE) {
        ur_fail(ps, NULL, NULL, "bridge %s: from %lld features, not 1 to %d", name,
                (long long)features, UR_MAX_SIZE);
        return bridge;
    }
    ur_linear_layer *layers = ur_params_alloc(ps, sizeof *layers * (size_t)to->n_states);
    for (int k = 0; layers && k < to->n_states; k++)
        layers[k] = ur_linear_new(ps, ur_namef(ps, "%s.%d", name, k), (int)features,
                                  to->sizes[k]);
    bridge.layers = layers;
    bridge.n_to = layers ? to->n_states : 0;
    return bridge;
}

bool ur_bridge_states(ur_bridge bridge, const ur_node from[], ur_node to[])
{
    if (!bridge.layers)
        return ur_fail(ur_graph_of(from[0]), NULL, "bridge", "the bridge could not be made");
    bool ok = true;
    ur_node all = ur_concat_n(from, bridge.n_from, -1);
    for (int k = 0; k < bridge.n_to; k++) {
        to[k] = ur_tanh(ur_linear(bridge.layers[k], all));
        ok &= !ur_is_nil(to[k]);
    }
    return ok;
}

/* ------------------------------------------------------------------------------------- decoders */

ur_decoder ur_decoder_on(ur_decoder decoder, ur_memory memory, ur_node weights[])
{
    decoder.cell = ur_on_memory(decoder.cell, memory, weights);
    return decoder;
}

ur_node ur_decode_step(ur_decoder decoder, ur_node ids, ur_node s[])
{
    return ur_linear(decoder.out,
                     ur_cell_apply(decoder.cell, -1, ur_embed(decoder.embed, ids), s));
}

typedef struct lesson {
    ur_at at;
    ur_graph *g;
    ur_decoder d;
    const ur_teaching *how;
    ur_node ids, coin, mask;            /* mask [T,B,1] or nil */
    int T, B;
} lesson;

/* What is fed at step t: the truth where the coin [B,1] is 1, else the choice from the logits. */
static ur_node fed(lesson *l, int t, ur_node logits)
{
    ur_node truth = ur_embed_at(l->at, l->d.embed, ur_index_at(l->at, l->ids, 0, t));
    if (t == 0)
        return truth;
    if (t == 1 || !l->how->per_sequence)
        l->coin = ur_bernoulli_at(l->at, l->g, l->how->ratio, 2, (int[]){ l->B, 1 });
    ur_node choice = ur_sample_at(l->at, logits, l->how->temperature, 0, 1);
    return ur_where_at(l->at, l->coin, truth, ur_embed_at(l->at, l->d.embed, choice));
}

/* Step by step; states and outputs beyond a row's length are as unroll has them. */
static ur_node by_steps(lesson *l, ur_node s[])
{
    const int n = l->d.cell->n_states;
    ur_node *logits = ur_graph_alloc(l->g, sizeof *logits * (size_t)l->T);
    ur_node *old = ur_graph_alloc(l->g, sizeof *old * (size_t)n);
    if (!logits || !old)
        return UR_NIL;
    for (int t = 0; t < l->T && !ur_error(l->g); t++) {
        for (int k = 0; k < n; k++)
            old[k] = s[k];
        ur_node y = ur_cell_apply(l->d.cell, t, fed(l, t, t ? logits[t - 1] : UR_NIL), s);
        if (!ur_is_nil(l->mask)) {
            ur_node m = ur_index_at(l->at, l->mask, 0, t);
            y = ur_select_at(l->at, m, y);
            for (int k = 0; k < n; k++)
                s[k] = ur_where_at(l->at, m, s[k], old[k]);
        }
        logits[t] = ur_linear_at(l->at, l->d.out, y);
    }
    return ur_stack_n_at(l->at, logits, l->T, 0);
}

static bool can_teach(const lesson *l)
{
    if (!ur_cell_usable(l->d.cell))
        return ur_fail(l->g, l->at, "teach", "the decoder's cell could not be made");
    if (ur_shape_of(l->ids).rank != 2)
        return ur_fail(l->g, l->at, "teach", "%s, but symbols are [T,B]",
                       ur_called(l->ids, l->at, 0));
    return (l->how->ratio >= 0 && l->how->ratio <= 1) ||
           ur_fail(l->g, l->at, "teach", "the ratio %g is not in [0, 1]", l->how->ratio);
}

ur_node ur_teach_at(ur_at at, ur_decoder decoder, ur_node ids, const int lengths[], ur_node s[],
                    const ur_teaching *how)
{
    lesson l = { .at = at, .g = ur_graph_of(ids), .d = decoder, .how = how, .ids = ids,
                 .mask = UR_NIL };
    if (!l.g || ur_error(l.g) || !can_teach(&l))
        return UR_NIL;
    l.T = ur_dim(ids, 0), l.B = ur_dim(ids, 1);
    if (how->ratio >= 1 || l.T < 2)
        return ur_linear_at(at, decoder.out,
                            ur_unroll_at(at, decoder.cell, ur_embed_at(at, decoder.embed, ids),
                                         lengths, s, NULL));
    if (!s) {
        s = ur_graph_alloc(l.g, sizeof *s * (size_t)decoder.cell->n_states);
        if (!s || !ur_cell_zero_states(l.g, decoder.cell, l.B, s))
            return UR_NIL;
    }
    if (lengths)
        l.mask = ur_length_mask_at(at, l.g, l.T, l.B, lengths);
    return by_steps(&l, s);
}
