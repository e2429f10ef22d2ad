/* Linear chains: the sum over all labellings, the best one, and the conditional random field.
 *
 *     a_1 = start + x_1       a_t[k] = ln sum_j e^(a_t-1[j] + transitions[j,k]) + x_t[k]
 *     ln Z = ln sum_k e^(a_n[k] + end[k])             loss = ln Z - s(x, y)
 *
 * The best labelling is the same with max in the place of ln sum e^, and then, from the end,
 *
 *     y_n = argmax_k a_n[k] + end[k]          y_t = argmax_j a_t[j] + transitions[j, y_t+1]
 *
 * which adds up the very numbers that the maxima were taken of, and needs the columns of the labels
 * chosen alone. A row that has ended keeps its a_t: a select by mask, never a product.
 *
 * ln sum e^ of [B,K,K] and not ln(e^(a-m) e^transitions), a matrix product: where the largest a
 * cannot go on, since its transition is forbidden or very unlikely, what matters are terms that the
 * product has lost to underflow.
 *
 * J. Lafferty, A. McCallum and F. Pereira, "Conditional random fields: probabilistic models for
 * segmenting and labeling sequence data", ICML 2001; A. Viterbi, IEEE Trans. Inf. Theory 13 (1967).
 */
#include "unroll/structured.h"

typedef struct batch {
    ur_at at;
    ur_graph *g;
    ur_chain chain;
    ur_node x, live;            /* emissions, zeros beyond the lengths; [T,B,1], nil without them */
    ur_node w;                  /* transitions, [K,K,1] */
    const int *length;
    int T, B, K;
} batch;

/* --------------------------------------------------------------------------------------- checks */

static bool is_vector(ur_node v, int n)
{
    const ur_shape s = ur_shape_of(v);
    return s.rank == 1 && s.dim[0] == n;
}

static const char *shape_or_nil(ur_node x)
{
    return ur_is_nil(x) ? "nil" : ur_shape_text(ur_shape_of(x));
}

static bool check(batch *c, const char *what)
{
    const ur_shape x = ur_shape_of(c->x), w = ur_shape_of(c->chain.transitions);
    if (x.rank != 3 || ur_type_of(c->x) == UR_I32)
        return ur_fail(c->g, c->at, what, "%s, but emissions are numbers [T,B,K]",
                       ur_called(c->x, c->at, 0));
    c->T = x.dim[0], c->B = x.dim[1], c->K = x.dim[2];
    if (c->K < 1 || w.rank != 2 || w.dim[0] != c->K || w.dim[1] != c->K)
        return ur_fail(c->g, c->at, what, "%s, but the chain's transitions are %s",
                       ur_called(c->x, c->at, 0), shape_or_nil(c->chain.transitions));
    /* A parameter that could not be made is nil, too, but has an owner, and is then an error. */
    for (int k = 0; k < 2; k++) {
        const ur_node v = k ? c->chain.end : c->chain.start;
        if (v.owner && !is_vector(v, c->K))
            return ur_fail(c->g, c->at, what, "the chain's %s scores are %s, not [%d]",
                           k ? "end" : "start", shape_or_nil(v), c->K);
    }
    if ((int64_t)c->T * c->B >= INT32_MAX)
        return ur_fail(c->g, c->at, what, "%s: too many places", ur_called(c->x, c->at, 0));
    return ur_lengths_fit(c->g, c->at, what, c->length, c->T, c->B);
}

/* The common beginning; false on error. */
static bool open(batch *c, const char *what, ur_at at, ur_chain chain, ur_node emissions,
                 ur_node labels, const int lengths[])
{
    *c = (batch){ .at = at, .g = ur_graph_of(emissions), .chain = chain, .x = emissions,
                  .length = lengths };
    if (!c->g)
        c->g = ur_graph_of(labels);
    if (!c->g || ur_error(c->g) || !check(c, what))
        return false;
    c->x = ur_use_at(at, c->g, emissions);
    if (lengths) {
        c->live = ur_length_mask_at(at, c->g, c->T, c->B, lengths);
        c->x = ur_select_at(at, c->live, c->x);
    }
    return true;
}

/* ----------------------------------------------------------------------------------- recursions */

/* [B]: whether rows are longer than t. */
static ur_node live_at(const batch *c, int t)
{
    return ur_reshape_at(c->at, ur_index_at(c->at, c->live, 0, t), 1, (int[]){ c->B });
}

/* ln sum e^ or max over j of a[j] + transitions[j,k]: a [K,B]. Rows are innermost, since there are
 * more of them than labels, mostly, and all of [K,B] is one run for the kernel. */
static ur_node step(const batch *c, ur_node a, bool best)
{
    ur_node from = ur_reshape_at(c->at, a, 3, (int[]){ c->K, 1, c->B });
    ur_node sum = ur_add_at(c->at, from, c->w);
    return best ? ur_max_over_at(c->at, sum, 1, (int[]){ 0 })
                : ur_logsumexp_over_at(c->at, sum, 1, (int[]){ 0 });
}

/* A vector of scores as [K,1]. */
static ur_node column(const batch *c, ur_node v)
{
    return ur_reshape_at(c->at, ur_use_at(c->at, c->g, v), 2, (int[]){ c->K, 1 });
}

/* Returns a_T [K,B]; all of them into a[T] if that is not NULL. */
static ur_node forward(batch *c, bool best, ur_node a[])
{
    ur_node now = UR_NIL, all = ur_permute_at(c->at, c->x, 3, (int[]){ 0, 2, 1 });
    c->w = ur_reshape_at(c->at, ur_use_at(c->at, c->g, c->chain.transitions), 3,
                         (int[]){ c->K, c->K, 1 });
    for (int t = 0; t < c->T; t++) {
        ur_scope_begin(c->g, "chain", t);
        ur_node x = ur_index_at(c->at, all, 0, t);
        if (t == 0) {
            now = c->chain.start.owner ? ur_add_at(c->at, x, column(c, c->chain.start)) : x;
        } else {
            ur_node next = ur_add_at(c->at, step(c, now, best), x);
            if (c->length)
                next = ur_where_at(c->at, live_at(c, t), next, now);
            now = next;
        }
        ur_scope_end(c->g);
        if (a)
            a[t] = now;
    }
    return now;
}

static ur_node with_end(const batch *c, ur_node a)
{
    return c->chain.end.owner ? ur_add_at(c->at, a, column(c, c->chain.end)) : a;
}

/* y [B], 0 for rows of length 0. */
static ur_node unless_empty(const batch *c, ur_node y)
{
    return c->length ? ur_select_at(c->at, live_at(c, 0), y) : y;
}

static ur_node log_sum(batch *c)
{
    if (c->T == 0)
        return ur_zeros_at(c->at, c->g, 1, (int[]){ c->B });
    ur_node a = with_end(c, forward(c, false, NULL));
    return unless_empty(c, ur_logsumexp_over_at(c->at, a, 1, (int[]){ 0 }));
}

ur_node ur_chain_log_sum_at(ur_at at, ur_chain chain, ur_node emissions, const int lengths[])
{
    batch c;
    if (!open(&c, "chain_log_sum", at, chain, emissions, UR_NIL, lengths))
        return UR_NIL;
    return log_sum(&c);
}

/* ------------------------------------------------------------------------------ given labelling */

/* [B]: end[y_n]. The place of the last label is data, as lengths are. */
static ur_node end_of(const batch *c, ur_node labels)
{
    int32_t *place = ur_graph_alloc(c->g, (size_t)c->B * sizeof *place);
    if (!place)
        return UR_NIL;
    for (int b = 0; b < c->B; b++) {
        const int last = c->length ? c->length[b] - 1 : c->T - 1;
        place[b] = (last > 0 ? last : 0) * c->B + b;
    }
    ur_node flat = ur_reshape_at(c->at, labels, 1, (int[]){ c->T * c->B });
    ur_node last = ur_gather_at(c->at, flat, ur_ints_at(c->at, c->g, place, 1, (int[]){ c->B }));
    return unless_empty(c, ur_gather_at(c->at, c->chain.end, last));
}

/* What the step to each label costs: the sum of start or transitions and emissions, [T,B,K], of
 * which the label's element counts. */
static ur_node score(const batch *c, ur_node labels)
{
    if (c->T == 0)
        return ur_zeros_at(c->at, c->g, 1, (int[]){ c->B });
    labels = ur_ids_within_at(c->at, labels, c->length, 0);
    ur_node before = ur_slice_at(c->at, labels, 0, 0, c->T - 1);
    ur_node start = c->chain.start.owner ? ur_use_at(c->at, c->g, c->chain.start)
                                         : ur_zeros_at(c->at, c->g, 1, (int[]){ c->K });
    ur_node prior[2] = {
        ur_broadcast_to_at(c->at, start, 3, (int[]){ 1, c->B, c->K }),
        ur_gather_at(c->at, c->chain.transitions, before),
    };
    ur_node x = ur_add_at(c->at, c->x, ur_concat_n_at(c->at, prior, 2, 0));
    x = ur_select_at(c->at, ur_one_hot_at(c->at, labels, c->K), x);
    if (c->length)
        x = ur_select_at(c->at, c->live, x);
    ur_node sum = ur_sum_over_at(c->at, x, 2, (int[]){ 0, 2 });
    return c->chain.end.owner ? ur_add_at(c->at, sum, end_of(c, labels)) : sum;
}

static bool check_labels(const batch *c, const char *what, ur_node labels)
{
    const ur_shape s = ur_shape_of(labels);
    return (s.rank == 2 && s.dim[0] == c->T && s.dim[1] == c->B && ur_type_of(labels) == UR_I32) ||
           ur_fail(c->g, c->at, what, "%s and %s, but labels are int32 [T,B]",
                   ur_called(c->x, c->at, 0), ur_called(labels, c->at, 1));
}

ur_node ur_chain_score_at(ur_at at, ur_chain chain, ur_node emissions, ur_node labels,
                          const int lengths[])
{
    batch c;
    if (!open(&c, "chain_score", at, chain, emissions, labels, lengths) ||
        !check_labels(&c, "chain_score", labels))
        return UR_NIL;
    return score(&c, labels);
}

/* ------------------------------------------------------------------------------- best labelling */

/* y_t for all t, from the last. Steps beyond the end of a row choose as its last one does. */
static ur_node trace(const batch *c, const ur_node a[], ur_node last)
{
    ur_node *y = ur_graph_alloc(c->g, (size_t)c->T * sizeof *y);
    if (!y)
        return UR_NIL;
    ur_node into = ur_transpose_at(c->at, ur_use_at(c->at, c->g, c->chain.transitions));
    y[c->T - 1] = ur_argmax_at(c->at, last, 0);
    for (int t = c->T - 2; t >= 0; t--) {
        ur_node chosen = ur_transpose_at(c->at, ur_gather_at(c->at, into, y[t + 1]));
        ur_node sum = ur_add_at(c->at, a[t], chosen);
        if (c->length)
            sum = ur_where_at(c->at, live_at(c, t + 1), sum, last);
        y[t] = ur_argmax_at(c->at, sum, 0);
    }
    return ur_ids_within_at(c->at, ur_stack_n_at(c->at, y, c->T, 0), c->length, UR_IGNORE);
}

ur_node ur_chain_best_at(ur_at at, ur_chain chain, ur_node emissions, const int lengths[],
                         ur_node *score)
{
    batch c;
    if (score)
        *score = UR_NIL;
    if (!open(&c, "chain_best", at, chain, emissions, UR_NIL, lengths))
        return UR_NIL;
    if (c.T == 0) {
        if (score)
            *score = ur_zeros_at(at, c.g, 1, (int[]){ c.B });
        return ur_ints_at(at, c.g, NULL, 2, (int[]){ 0, c.B });
    }
    ur_node *a = ur_graph_alloc(c.g, (size_t)c.T * sizeof *a);
    if (!a)
        return UR_NIL;
    ur_node last = with_end(&c, forward(&c, true, a));
    if (score)
        *score = unless_empty(&c, ur_max_over_at(at, last, 1, (int[]){ 0 }));
    return trace(&c, a, last);
}

/* ------------------------------------------------------------------------------------------ CRF */

ur_chain ur_crf_with(ur_params *ps, const char *name, int K, ur_init start)
{
    return (ur_chain){
        .start = ur_param(ps, ur_namef(ps, "%s.start", name), start, K),
        .transitions = ur_param(ps, ur_namef(ps, "%s.transitions", name), start, K, K),
        .end = ur_param(ps, ur_namef(ps, "%s.end", name), start, K),
    };
}

ur_chain ur_crf_new(ur_params *ps, const char *name, int K)
{
    return ur_crf_with(ps, name, K, ur_uniform_between(-0.1, 0.1));
}

ur_node ur_crf_loss_at(ur_at at, ur_chain crf, ur_node emissions, ur_node labels,
                       const int lengths[], ur_reduction reduction)
{
    batch c;
    if (!open(&c, "crf_loss", at, crf, emissions, labels, lengths) ||
        !check_labels(&c, "crf_loss", labels))
        return UR_NIL;
    ur_node each = ur_sub_at(at, log_sum(&c), score(&c, labels));
    if (reduction == UR_EACH)
        return each;
    ur_node total = ur_sum_at(at, each);
    return reduction == UR_TOTAL || c.B == 0 ? total : ur_scale_at(at, total, 1.0 / c.B);
}

ur_node (ur_chain_log_sum)(ur_chain chain, ur_node emissions, const int lengths[])
{
    return ur_chain_log_sum_at(NULL, chain, emissions, lengths);
}

ur_node (ur_chain_score)(ur_chain chain, ur_node emissions, ur_node labels, const int lengths[])
{
    return ur_chain_score_at(NULL, chain, emissions, labels, lengths);
}

ur_node (ur_chain_best)(ur_chain chain, ur_node emissions, const int lengths[], ur_node *score)
{
    return ur_chain_best_at(NULL, chain, emissions, lengths, score);
}

ur_node (ur_crf_loss)(ur_chain crf, ur_node emissions, ur_node labels, const int lengths[])
{
    return ur_crf_loss_at(NULL, crf, emissions, labels, lengths, UR_MEAN);
}

ur_node (ur_crf_loss_with)(ur_chain crf, ur_node emissions, ur_node labels, const int lengths[],
                           ur_reduction reduction)
{
    return ur_crf_loss_at(NULL, crf, emissions, labels, lengths, reduction);
}
