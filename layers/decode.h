/* decode.h: sequences out of a model: sampled, greedy, or by beam search; and scores of given ones.
 *
 * A model shows itself as one step, whatever it is made of:
 *
 *     static ur_node step(void *model, ur_node symbols, ur_node s[])      // symbols int32 [R]
 *     {
 *         const translator *m = model;
 *         ur_node x = ur_repeat(ur_input(ur_graph_of(symbols), m->encoded, S, B, F), 1, 5);
 *         ur_memory on = ur_memory_new(m->attention, x, m->lengths);      // S, R rows
 *         return ur_decode_step(ur_decoder_on(m->decoder, on, NULL), symbols, s);    // [R,V]
 *     }
 *     ...
 *     ur_params *st = ur_cell_states(m.decoder.cell, B * 5);               // rows: B sentences, 5
 *     ... the encoder leaves its states in `encoded`, B rows ...          //   beams of each
 *     ur_state_spread(encoded, st);
 *     ur_hypothesis best[B];
 *     ur_beam_options o = { .width = 5, .best = 1, .longest = 60, .start = sos, .end = eos,
 *                           .alpha = 0.6 };
 *     if (!ur_beam_search(g, step, &m, st, B, &o, best))
 *         fprintf(stderr, "%s\n", ur_error(g));
 *
 * The step is recorded once a call and then replayed for each symbol; in the steady state nothing
 * is planned and nothing allocated. What a step needs besides its states and is the same for all
 * symbols, such as the encoder's outputs for attention, it records there as well: from parameters
 * (ur_use) or arrays (ur_input), on the graph of `symbols`. It has R = B * width rows, the beams of
 * a sentence side by side, in which ur_repeat(memory, axis, width) puts a sentence's.
 *
 * Each function clears g, which should be a UR_INFER graph and another one than that of training.
 * What it returns lies in the graph's memory until that is cleared: until the next call.
 */
#ifndef UR_DECODE_H
#define UR_DECODE_H

#include "unroll/attention.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One step for R rows: the logits [R,V] of the symbols that may follow `symbols` [R]; the states
 * s[k] [R, ...], as many as the store has, are replaced by their successors. */
typedef ur_node ur_step_logits(void *model, ur_node symbols, ur_node s[]);

typedef struct ur_hypothesis {
    const int32_t *symbols;     /* [n], without start and end symbol; NULL where there is none */
    int n;
    bool ended;                 /* by the end symbol, and not by the limit on the length */
    double log_probability;     /* of the symbols, and the end symbol where it ended; in nats */
    double score;               /* log_probability / ur_length_penalty; -inf where there is none */
} ur_hypothesis;

/* Row b of the states `from` (B rows) into the rows b*K .. b*K + K-1 of `to` (B*K rows), K >= 1.
 * False, with an error of `to`, when they are not alike but for that. */
UR_API bool ur_state_spread(ur_params *from, ur_params *to);

/* ---------------------------------------------------------------------------------------- sampling
 *
 * Draws a sequence for each of R rows. temperature, top_k and top_p are those of ur_sample (ops.h):
 * 0 for the first is greedy. top_p 0 stands for 1. The numbers are those of the graph: ur_seed,
 * ur_set_run_number. The log probability is that under the model, whatever it was drawn by; the
 * score is the same. */
typedef struct ur_sample_options {
    int start;                  /* the symbol before the first */
    int end;                    /* ends a sequence; -1: none does */
    int longest;                /* symbols at most, with the end symbol */
    double temperature;
    int top_k;
    double top_p;
    const int32_t *starts;      /* [R], for rows that start differently; or NULL */
} ur_sample_options;
/* The states go on from where the store is, which may be NULL for a model without any. out[R].
 * False, with an error of g: what the step or ur_sample refuses, or states without R rows. */
UR_API bool ur_decode_sample(ur_graph *g, ur_step_logits *step, void *model, ur_params *states,
                             int R, const ur_sample_options *o, ur_hypothesis out[]);

/* ------------------------------------------------------------------------------------- beam search
 *
 * The likeliest sequences of B sentences at once, `width` beams a sentence. Of all continuations of
 * its beams, those by the end symbol that are among the `width` most likely have ended; the `width`
 * most likely others are the next beams. A sentence is done when as many sequences as beams have
 * ended. Those that reach `longest` without their end come after all that ended. Of equal ones the
 * first beam's and the lowest symbol's counts. Width 1 is greedy.
 *     score = log p / lp(n)    lp(n) = ((5 + n) / 6)^alpha              Wu et al. 2016
 * n counts the end symbol. alpha 0 is no penalty, about 0.6 usual. */
typedef struct ur_beam_options {
    int width, best;            /* beams; sequences wanted, 1 <= best <= width */
    int longest;                /* symbols at most, with the end symbol */
    int start, end;
    double alpha;
    const int32_t *starts;      /* [B], or NULL */
} ur_beam_options;
/* out[b * best + k] is the k-th best of sentence b. `states` has B * width rows, those of a
 * sentence equal (ur_state_spread), and is left in no particular state; NULL for a model without.
 * False, with an error of g: options that make no sense, states without as many rows, logits with
 * NaN or not [B * width, V]. */
UR_API bool ur_beam_search(ur_graph *g, ur_step_logits *step, void *model, ur_params *states, int B,
                           const ur_beam_options *o, ur_hypothesis out[]);

UR_API double ur_length_penalty(int n, double alpha);

/* ------------------------------------------------------------------------------------------ scores
 *
 * Logits [T, B, V] of the symbols that follow each of ids [T, B]: a model over whole sequences. */
typedef ur_node ur_all_logits(void *model, ur_node ids, const int lengths[]);

/* The log probability, in nats, of each of B sequences ids[b] of n[b] symbols, into out[B]. start
 * is the symbol before the first; -1: the first symbol is given and not scored. end is scored as
 * the last one, -1: there is none. False with an error of g. */
UR_API bool ur_log_probability(ur_graph *g, ur_all_logits *all, void *model,
                               const int32_t *const ids[], const int n[], int B, int start, int end,
                               double out[]);
/* exp(-log_probability / n), of n symbols that were scored. */
UR_API double ur_perplexity(double log_probability, int64_t n);

/* A decoder of attention.h, or a plain language model, which is the same without a memory, as both:
 * ur_decoder_step is a ur_step_logits and ur_decoder_all a ur_all_logits. `model` is a ur_decoder.
 * One on a memory (ur_decoder_on) needs a step of one's own, that puts it there. */
UR_API ur_node ur_decoder_step(void *model, ur_node symbols, ur_node s[]);
UR_API ur_node ur_decoder_all(void *model, ur_node ids, const int lengths[]);

#ifdef __cplusplus
}
#endif

#endif
