/* Connectionist temporal classification: the loss of a labelling whose place in time is not known.
 *
 * A path is a label or the blank at every step; it stands for the labelling that is left when
 * repetitions are merged and blanks dropped. With y' = (blank, y_1, blank, y_2, .., y_L, blank) of
 * S = 2L+1 places, what all paths for y add up to is, in log space,
 *
 *     a_0 = (0, -inf, -inf, ..)
 *     a_t[s] = ln(e^a_t-1[s] + e^a_t-1[s-1] + [skip_s] e^a_t-1[s-2]) + ln p_t[y'_s]
 *     ln p(y) = ln(e^a_n[2L] + e^a_n[2L-1])
 *
 * where a place can be skipped to if it is a label other than the one before it. a_0 stands before
 * the first step, so that no step is special and n = 0 is legal.
 *
 * A step is [2+S, B] here, its first two rows -inf: what a row comes from are three slices of whole
 * rows. Which labels, which skips, which last places and which steps are live is data. Labellings
 * shorter than the longest one have places behind their last; nothing flows back from there.
 *
 * A. Graves, S. Fernandez, F. Gomez and J. Schmidhuber, "Connectionist temporal classification",
 * ICML 2006.
 */
#include <math.h>
#include "unroll/structured.h"

/* Labellings are given room for a multiple of so many labels, so that few plans serve all. */
enum { ROOM = 8, EDGE = 2 };

typedef struct batch {
    ur_at at;
    ur_graph *g;
    ur_node x;                              /* logits */
    const int *label, *n_label, *length;
    int T, B, V, blank, S;
    ur_node id, skip, last, live, nothing;  /* [S,B], [S,B], [2,B], [T,B,1], -inf [] */
} batch;

/* --------------------------------------------------------------------------------------- checks */

static bool check(batch *c)
{
    const ur_shape x = ur_shape_of(c->x);
    static const char what[] = "ctc_loss";
    if (x.rank != 3 || ur_type_of(c->x) == UR_I32)
        return ur_fail(c->g, c->at, what, "%s, but logits are numbers [T,B,V]",
                       ur_called(c->x, c->at, 0));
    c->T = x.dim[0], c->B = x.dim[1], c->V = x.dim[2];
    if (c->blank < 0 || c->blank >= c->V)
        return ur_fail(c->g, c->at, what, "%s, but the blank is %d", ur_called(c->x, c->at, 0),
                       c->blank);
    if (c->B > 0 && !c->n_label)
        return ur_fail(c->g, c->at, what, "n_labels is NULL");
    int most = 0;
    size_t first = 0;
    for (int b = 0; b < c->B; first += (size_t)c->n_label[b++]) {
        if (c->n_label[b] < 0 || c->n_label[b] > INT32_MAX / 4)
            return ur_fail(c->g, c->at, what, "n_labels[%d] is %d", b, c->n_label[b]);
        if (c->n_label[b] > 0 && !c->label)
            return ur_fail(c->g, c->at, what, "labels is NULL");
        most = c->n_label[b] > most ? c->n_label[b] : most;
        for (int i = 0; i < c->n_label[b]; i++) {
            const int k = c->label[first + (size_t)i];
            if (k < 0 || k >= c->V || k == c->blank)
                return ur_fail(c->g, c->at, what, "label %d of row %d is %d, not between 0 and %d "
                               "without the blank, %d", i, b, k, c->V - 1, c->blank);
        }
    }
    c->S = 2 * ((most + ROOM - 1) / ROOM * ROOM) + 1;
    if ((int64_t)c->B * c->V > INT32_MAX || (int64_t)c->B * (c->S + EDGE) > INT32_MAX)
        return ur_fail(c->g, c->at, what, "%s: too many places", ur_called(c->x, c->at, 0));
    return ur_lengths_fit(c->g, c->at, what, c->length, c->T, c->B);
}

/* ----------------------------------------------------------------------------------------- data */

/* Rows of [B V, T] for the places; which may be skipped to; the two last places. */
static bool set_places(batch *c)
{
    const size_t B = (size_t)c->B, S = (size_t)c->S;
    int32_t *id = ur_graph_alloc(c->g, S * B * sizeof *id);
    int32_t *skip = ur_graph_alloc(c->g, S * B * sizeof *skip);
    int32_t *last = ur_graph_alloc(c->g, 2 * B * sizeof *last);
    if (!id || !skip || !last)
        return false;
    size_t first = 0;
    for (size_t b = 0; b < B; first += (size_t)c->n_label[b++]) {
        const size_t n = (size_t)c->n_label[b];
        for (size_t s = 0; s < S; s++) {
            const bool in = s % 2 && s / 2 < n;
            const size_t i = first + s / 2;
            id[s * B + b] = (int32_t)b * c->V + (in ? c->label[i] : c->blank);
            skip[s * B + b] = in && s > 1 && c->label[i] != c->label[i - 1];
        }
        for (size_t k = 0; k < 2; k++)          /* of n = 0 the second one lies in the edge */
            last[k * B + b] = (int32_t)((EDGE + 2 * n - k) * B + b);
    }
    c->id = ur_ints_at(c->at, c->g, id, 2, (int[]){ c->S, c->B });
    c->skip = ur_cast_at(c->at, ur_ints_at(c->at, c->g, skip, 2, (int[]){ c->S, c->B }));
    c->last = ur_ints_at(c->at, c->g, last, 2, (int[]){ 2, c->B });
    if (c->length)
        c->live = ur_length_mask_at(c->at, c->g, c->T, c->B, c->length);
    c->nothing = ur_scalar_at(c->at, c->g, -INFINITY);
    return true;
}

/* ln p_t[y'_s]: [T,S,B]. Rows of all steps are gathered, so they are few. */
static ur_node places_over_time(const batch *c)
{
    ur_node x = c->length ? ur_select_at(c->at, c->live, c->x) : c->x;
    ur_node p = ur_reshape_at(c->at, ur_log_softmax_at(c->at, x), 2, (int[]){ c->T, c->B * c->V });
    p = ur_gather_at(c->at, ur_transpose_at(c->at, p), c->id);
    return ur_permute_at(c->at, p, 3, (int[]){ 2, 0, 1 });
}

/* ------------------------------------------------------------------------------------ recursion */

/* a_0 [2+S,B] */
static ur_node before_first(const batch *c)
{
    const int rows = EDGE + c->S;
    int32_t *start = ur_graph_alloc(c->g, (size_t)rows * sizeof *start);
    if (!start)
        return UR_NIL;
    start[EDGE] = 1;
    ur_node first = ur_cast_at(c->at, ur_ints_at(c->at, c->g, start, 2, (int[]){ rows, 1 }));
    ur_node zeros = ur_zeros_at(c->at, c->g, 2, (int[]){ rows, c->B });
    return ur_where_at(c->at, first, zeros, c->nothing);
}

static ur_node forward(const batch *c)
{
    ur_node a = before_first(c), p = places_over_time(c);
    ur_node edge = ur_broadcast_to_at(c->at, c->nothing, 2, (int[]){ EDGE, c->B });
    const int rows = EDGE + c->S;
    for (int t = 0; t < c->T; t++) {
        ur_scope_begin(c->g, "ctc", t);
        ur_node here = ur_slice_at(c->at, a, 0, 2, rows);
        ur_node over = ur_slice_at(c->at, a, 0, 0, rows - 2);
        ur_node from[3] = { here, ur_slice_at(c->at, a, 0, 1, rows - 1),
                            ur_where_at(c->at, c->skip, over, c->nothing) };
        ur_node sum = ur_logsumexp_over_at(c->at, ur_stack_n_at(c->at, from, 3, 0), 1,
                                           (int[]){ 0 });
        ur_node next = ur_add_at(c->at, sum, ur_index_at(c->at, p, 0, t));
        if (c->length) {
            ur_node live = ur_index_at(c->at, c->live, 0, t);
            next = ur_where_at(c->at, ur_reshape_at(c->at, live, 2, (int[]){ 1, c->B }), next,
                               here);
        }
        a = ur_concat_n_at(c->at, (ur_node[]){ edge, next }, 2, 0);
        ur_scope_end(c->g);
    }
    return a;
}

ur_node ur_ctc_loss_at(ur_at at, ur_node logits, const int labels[], const int n_labels[],
                       const int lengths[], int blank, bool zero_infinity, ur_reduction reduction)
{
    batch c = { .at = at, .g = ur_graph_of(logits), .x = logits, .label = labels,
                .n_label = n_labels, .length = lengths, .blank = blank };
    if (!c.g || ur_error(c.g) || !check(&c) || !set_places(&c))
        return UR_NIL;
    ur_node a = ur_reshape_at(at, forward(&c), 1, (int[]){ (EDGE + c.S) * c.B });
    ur_node ends = ur_gather_at(at, a, c.last);
    ur_node log_p = ur_logsumexp_over_at(at, ends, 1, (int[]){ 0 });
    if (zero_infinity)
        log_p = ur_unless_at(at, ur_equal_at(at, log_p, c.nothing), log_p);
    ur_node each = ur_neg_at(at, log_p);
    if (reduction == UR_EACH)
        return each;
    ur_node total = ur_sum_at(at, each);
    return reduction == UR_TOTAL || c.B == 0 ? total : ur_scale_at(at, total, 1.0 / c.B);
}

ur_node (ur_ctc_loss)(ur_node logits, const int labels[], const int n_labels[],
                      const int lengths[], int blank)
{
    return ur_ctc_loss_at(NULL, logits, labels, n_labels, lengths, blank, false, UR_MEAN);
}

ur_node (ur_ctc_loss_with)(ur_node logits, const int labels[], const int n_labels[],
                           const int lengths[], int blank, bool zero_infinity,
                           ur_reduction reduction)
{
    return ur_ctc_loss_at(NULL, logits, labels, n_labels, lengths, blank, zero_infinity, reduction);
}
