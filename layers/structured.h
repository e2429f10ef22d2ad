/* structured.h: losses over whole labellings, and the models that recurrent networks are compared
 * with: linear-chain CRF, CTC, hidden Markov model, n-gram model, bag of words, windows.
 *
 *     ur_chain crf = ur_crf_new(ps, "crf", K);
 *     ...
 *     ur_node e = ur_linear(out, h);                              // emissions [T,B,K]
 *     ur_node loss = ur_crf_loss(crf, e, labels, lengths);        // trained with
 *     ur_node path = ur_chain_best(crf, e, lengths, NULL);        // int32 [T,B]: tagged with
 *
 * Letters: T steps, B rows of a batch, K labels or states, V symbols. A sequence is [T, B, ...];
 * lengths[b] in [0, T] are those of its rows, an array of the program, NULL where all are T. What
 * lies beyond a row's length is never looked at: numbers may be NaN, ids may be anything, and no
 * gradient gets there. Lengths are data here, not structure: a batch of equal T, B, K and other
 * lengths has the same plan. All sums of products are sums of exponentials in log space, so that
 * nothing underflows, and -inf (a thing forbidden) is legal as long as something is allowed: a row
 * without a labelling of positive weight has ln sum -inf, with zero gradient.
 */
#ifndef UR_STRUCTURED_H
#define UR_STRUCTURED_H

#include "unroll/layers.h"
#include "unroll/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------ linear chain
 *
 * The score of a labelling y_1 .. y_n of one row with emissions x [n,K] is
 *     s(x, y) = start[y_1] + x[1,y_1] + sum_t>1 (transitions[y_t-1, y_t] + x[t,y_t]) + end[y_n]
 * and 0 for n = 0. start [K] and end [K] may be UR_NIL: zeros. transitions [K,K], from row to
 * column. They are parameters or nodes: a CRF's are free, a hidden Markov model's are logarithms of
 * probabilities. */
typedef struct ur_chain {
    ur_node start, transitions, end;
} ur_chain;

/* ln sum over all labellings of e^s: emissions [T,B,K] -> [B], 0 for a row of length 0. Its
 * gradient in emissions[t,b,k] is the probability of label k there, in transitions[j,k] the
 * expected count of that step. Time and memory are T B K^2, a few nodes a step. */
#define ur_chain_log_sum(chain, emissions, lengths)                                                \
    ur_chain_log_sum_at(UR_AT(#emissions), chain, emissions, lengths)
/* s of given labels, int32 [T,B] in [0, K): [B]. Fails in the run: a label that is not. */
#define ur_chain_score(chain, emissions, labels, lengths)                                          \
    ur_chain_score_at(UR_AT(#emissions ", " #labels), chain, emissions, labels, lengths)
/* The labelling with the largest s (Viterbi 1967): int32 [T,B], UR_IGNORE beyond the lengths, so
 * that it can serve as the labels of a cross-entropy; of equal ones that with the smaller label, at
 * the last place where they differ. *score, if not NULL, becomes its s, [B], through which
 * gradients flow (the loss of Collins's perceptron: it minus the score of the right labels). */
#define ur_chain_best(chain, emissions, lengths, score)                                            \
    ur_chain_best_at(UR_AT(#emissions), chain, emissions, lengths, score)
UR_API ur_node ur_chain_log_sum_at(ur_at at, ur_chain chain, ur_node emissions,
                                   const int lengths[]);
UR_API ur_node ur_chain_score_at(ur_at at, ur_chain chain, ur_node emissions, ur_node labels,
                                 const int lengths[]);
UR_API ur_node ur_chain_best_at(ur_at at, ur_chain chain, ur_node emissions, const int lengths[],
                                ur_node *score);
UR_API ur_node (ur_chain_log_sum)(ur_chain chain, ur_node emissions, const int lengths[]);
UR_API ur_node (ur_chain_score)(ur_chain chain, ur_node emissions, ur_node labels,
                                const int lengths[]);
UR_API ur_node (ur_chain_best)(ur_chain chain, ur_node emissions, const int lengths[],
                               ur_node *score);

/* Linear-chain conditional random field             Lafferty, McCallum and Pereira 2001
 *     p(y | x) = e^s(x, y) / sum_y' e^s(x, y')
 * Parameters "name.transitions", "name.start", "name.end", from U(-0.1, 0.1); ..._with: as
 * given. */
UR_API ur_chain ur_crf_new(ur_params *ps, const char *name, int K);
UR_API ur_chain ur_crf_with(ur_params *ps, const char *name, int K, ur_init start);

/* -ln p(labels | emissions), in nats: emissions [T,B,K], labels int32 [T,B]. ur_crf_loss is the
 * mean over the B rows, of which one of length 0 has loss 0 and counts; 0 for B = 0. ..._with:
 * UR_MEAN, UR_TOTAL, or UR_EACH [B]. Fails: shapes that do not fit, a length that is not in [0, T];
 * in the run, a label of a live step that is not in [0, K). */
#define ur_crf_loss(crf, emissions, labels, lengths)                                               \
    ur_crf_loss_at(UR_AT(#emissions ", " #labels), crf, emissions, labels, lengths, UR_MEAN)
#define ur_crf_loss_with(crf, emissions, labels, lengths, reduction)                               \
    ur_crf_loss_at(UR_AT(#emissions ", " #labels), crf, emissions, labels, lengths, reduction)
UR_API ur_node ur_crf_loss_at(ur_at at, ur_chain crf, ur_node emissions, ur_node labels,
                              const int lengths[], ur_reduction reduction);
UR_API ur_node (ur_crf_loss)(ur_chain crf, ur_node emissions, ur_node labels, const int lengths[]);
UR_API ur_node (ur_crf_loss_with)(ur_chain crf, ur_node emissions, ur_node labels,
                                  const int lengths[], ur_reduction reduction);

/* -------------------------------------------------------------------------------------------- CTC
 *
 * Connectionist temporal classification                                    Graves et al. 2006
 *
 * -ln of the probability that a labelling is what is left of the T steps when repetitions are
 * merged and blanks dropped, in nats: the sum over all such paths. logits [T,B,V], of which the
 * softmax is taken here. labels are those of all rows one after the other, n_labels[b] >= 0 of row
 * b, in [0, V) and not the blank, which is any of [0, V). lengths[b] are the steps of row b.
 *     -ln sum over paths of prod_t softmax(logits[t,b])[path_t]
 * ur_ctc_loss is the mean over the B rows (PyTorch's 'mean' divides by n_labels first), 0 for
 * B = 0. ..._with: UR_MEAN, UR_TOTAL, or UR_EACH [B].
 *
 * An empty labelling is legal. One that needs more steps than the row has (its labels, and a blank
 * between equal neighbours) has probability 0: the loss of its row is +inf, or 0 with
 * `zero_infinity`; its gradient is zero either way, and the other rows' are what they are.
 * Labels and lengths are data. The plan depends on T, B, V and the largest of n_labels, up to the
 * next multiple of 8; on whether lengths is NULL. Time and memory: T B (V + 6 max n_labels).
 * Fails: logits not [T,B,V], a label, the blank or a length out of its range. */
#define ur_ctc_loss(logits, labels, n_labels, lengths, blank)                                      \
    ur_ctc_loss_at(UR_AT(#logits), logits, labels, n_labels, lengths, blank, false, UR_MEAN)
#define ur_ctc_loss_with(logits, labels, n_labels, lengths, blank, zero_infinity, reduction)       \
    ur_ctc_loss_at(UR_AT(#logits), logits, labels, n_labels, lengths, blank, zero_infinity,        \
                   reduction)
UR_API ur_node ur_ctc_loss_at(ur_at at, ur_node logits, const int labels[], const int n_labels[],
                              const int lengths[], int blank, bool zero_infinity,
                              ur_reduction reduction);
UR_API ur_node (ur_ctc_loss)(ur_node logits, const int labels[], const int n_labels[],
                             const int lengths[], int blank);
UR_API ur_node (ur_ctc_loss_with)(ur_node logits, const int labels[], const int n_labels[],
                                  const int lengths[], int blank, bool zero_infinity,
                                  ur_reduction reduction);

/* What a program has read of ur_log_softmax(logits): log_p [T,B,V], floats or doubles. */
typedef struct ur_ctc_output {
    ur_type type;               /* UR_F32 or UR_F64 */
    const void *log_p;
    int T, B, V, blank;
} ur_ctc_output;

/* Labels for the first `length` steps of row b, into labels[length]; returns how many. *log_p may
 * be NULL.
 *     best_path   of the most likely path, whose probability ln *log_p is (of equal labels the
 *                 first). Time: length V.
 *     beam        prefix beam search: the most likely of the labellings that `width` prefixes lead
 *                 to, with the probability of all its paths among them; exact when no prefix was
 *                 left out. Of equal ones those that were found first. Time: at most
 *                 length width V log(width), memory: width (length + V).
 * -1: an argument is out of its range (b, length, blank, type, width < 1), or out of memory. NaN
 * counts as improbable. */
UR_API int ur_ctc_best_path(const ur_ctc_output *o, int b, int length, int labels[],
                            double *log_p);
UR_API int ur_ctc_beam(const ur_ctc_output *o, int b, int length, int width, int labels[],
                       double *log_p);

/* ---------------------------------------------------------------------------- hidden Markov model
 *
 * K hidden states, V symbols                    Rabiner 1989; by gradient: Baldi and Chauvin 1994
 *     p(x) = sum over y of pi[y_1] E[y_1,x_1] prod_t>1 A[y_t-1,y_t] E[y_t,x_t]
 * Parameters are logits, "name.start" [K], "name.transitions" [K,K], "name.emissions" [K,V], of
 * which the softmax by row is pi, A, E: so they are trained as any others are. They start as
 * N(0, 1), since equal states would stay equal; ..._with: as given. */
typedef struct ur_hmm {
    ur_node start, transitions, emissions;
} ur_hmm;
UR_API ur_hmm ur_hmm_new(ur_params *ps, const char *name, int K, int V);
UR_API ur_hmm ur_hmm_with(ur_params *ps, const char *name, int K, int V, ur_init start);

/* Of ids int32 [T,B] in [0, V), time and memory T B K^2:
 *     hmm_log_p   ln p(x), [B], 0 for rows of length 0
 *     hmm_loss    -ln p of all rows over the number of all symbols: nats a symbol, 0 for none
 *     hmm_best    the most likely states, int32 [T,B], UR_IGNORE beyond the lengths; *log_p, if not
 *                 NULL, becomes ln p(x, y) of them, [B]
 * Fails: shapes that do not fit, a length that is not in [0, T]; in the run, an id of a live step
 * that is not in [0, V). */
#define ur_hmm_log_p(hmm, ids, lengths) ur_hmm_log_p_at(UR_AT(#ids), hmm, ids, lengths)
#define ur_hmm_loss(hmm, ids, lengths)  ur_hmm_loss_at(UR_AT(#ids), hmm, ids, lengths)
#define ur_hmm_best(hmm, ids, lengths, log_p)                                                      \
    ur_hmm_best_at(UR_AT(#ids), hmm, ids, lengths, log_p)
UR_API ur_node ur_hmm_log_p_at(ur_at at, ur_hmm hmm, ur_node ids, const int lengths[]);
UR_API ur_node ur_hmm_loss_at(ur_at at, ur_hmm hmm, ur_node ids, const int lengths[]);
UR_API ur_node ur_hmm_best_at(ur_at at, ur_hmm hmm, ur_node ids, const int lengths[],
                              ur_node *log_p);
UR_API ur_node (ur_hmm_log_p)(ur_hmm hmm, ur_node ids, const int lengths[]);
UR_API ur_node (ur_hmm_loss)(ur_hmm hmm, ur_node ids, const int lengths[]);
UR_API ur_node (ur_hmm_best)(ur_hmm hmm, ur_node ids, const int lengths[], ur_node *log_p);

/* ----------------------------------------------------------------------------------- n-gram model
 *
 * What follows the last n - 1 symbols, by counting, with interpolated Witten-Bell smoothing (Witten
 * and Bell 1991): a program's plain functions over ids, without a graph.
 *     p(w | h) = (c(h w) + d(h) p(w | h')) / (c(h) + d(h)),     below the empty context: 1 / V
 * h the last symbols, h' without the first of them; c(h w) how often w followed h, c(h) the sum of
 * that over all w, d(h) how many different w there were. A context never seen is left out, so is
 * what lies before the beginning of a text. Probabilities are above 0 and sum to 1. */
typedef struct ur_ngram ur_ngram;
enum { UR_NGRAM_ORDER = 8 };

/* A model of order n, 1 to UR_NGRAM_ORDER, over ids in [0, V). It lives in the store, as its memory
 * does, and is freed with it. NULL, with an error of the store, where these do not fit or there is
 * no memory; the functions below refuse NULL, a store with an error, and ids out of range, which is
 * an error of the store. */
UR_API ur_ngram *ur_ngram_new(ur_params *ps, int order, int V);

/* Counts a text: all its strings of up to n symbols. Texts can be added at any time; none goes on
 * where another one ended. n look-ups a symbol; 50 to 100 bytes for each different string. False on
 * error; of a text for which there was no memory a beginning may have been counted. */
UR_API bool ur_ngram_add(ur_ngram *m, const int32_t ids[], size_t n);

/* ln p of the next symbol after a history of n symbols, of which the last ones count; of a whole
 * text, from its first symbol on; NaN on error. */
UR_API double ur_ngram_log_p(const ur_ngram *m, const int32_t history[], size_t n, int32_t next);
UR_API double ur_ngram_text_log_p(const ur_ngram *m, const int32_t ids[], size_t n);
/* p of all symbols after a history into p[V]; false on error. */
UR_API bool ur_ngram_next(const ur_ngram *m, const int32_t history[], size_t n, double p[]);

/* Draws ids[given .. n) one after the other, each after all before it; a seed always gives the
 * same ids. Time: V n a symbol. False on error. */
UR_API bool ur_ngram_generate(const ur_ngram *m, uint64_t seed, int32_t ids[], size_t given,
                              size_t n);

/* -------------------------------------------------------------------------------- bags and windows
 *
 * What a recurrent network is compared with: embedded words without their order, or the words
 * nearby, below any feed-forward layers. */

/* x [T,B,F] -> [B,F]: the UR_MEAN over the steps of each row, or their UR_TOTAL; zeros for rows of
 * length 0. Fails: x not [T,B,F], a length that is not in [0, T], another `how`. */
#define ur_bag(x, lengths, how) ur_bag_at(UR_AT(#x), x, lengths, how)
UR_API ur_node ur_bag_at(ur_at at, ur_node x, const int lengths[], ur_reduction how);
UR_API ur_node (ur_bag)(ur_node x, const int lengths[], ur_reduction how);

/* x [T,B,F] -> [T,B,(before + 1 + after) F]: at each step the inputs from `before` steps ago to
 * `after` steps ahead side by side, the earliest first, zeros where the row has none; zeros beyond
 * the lengths. The k last inputs: before = k - 1, after = 0 (Bengio et al. 2003); a centred window:
 * before = after. Fails as ur_bag does; before or after below 0. */
#define ur_window(x, lengths, before, after) ur_window_at(UR_AT(#x), x, lengths, before, after)
UR_API ur_node ur_window_at(ur_at at, ur_node x, const int lengths[], int before, int after);
UR_API ur_node (ur_window)(ur_node x, const int lengths[], int before, int after);

#ifdef __cplusplus
}
#endif

#endif
