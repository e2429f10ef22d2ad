/* Hidden Markov model with discrete emissions, trained by gradient.
 *
 *     p(x_1 .. x_n) = sum over states y_1 .. y_n of
 *                     pi[y_1] E[y_1,x_1] prod_t>1 A[y_t-1,y_t] E[y_t,x_t]
 *     pi = softmax(start)    A = softmax(transitions), by row    E = softmax(emissions), by row
 *
 * That is a chain whose scores are logarithms of probabilities; the chain's sum and best labelling
 * (crf.c) are the forward algorithm and Viterbi's.
 *
 * L. Rabiner, "A tutorial on hidden Markov models and selected applications in speech recognition",
 * Proc. IEEE 77 (1989); by gradient rather than by re-estimation: P. Baldi and Y. Chauvin, "Smooth
 * on-line learning algorithms for hidden Markov models", Neural Computation 6 (1994).
 */
#include "unroll/structured.h"

ur_hmm ur_hmm_with(ur_params *ps, const char *name, int K, int V, ur_init start)
{
    return (ur_hmm){
        .start = ur_param(ps, ur_namef(ps, "%s.start", name), start, K),
        .transitions = ur_param(ps, ur_namef(ps, "%s.transitions", name), start, K, K),
        .emissions = ur_param(ps, ur_namef(ps, "%s.emissions", name), start, K, V),
    };
}

ur_hmm ur_hmm_new(ur_params *ps, const char *name, int K, int V)
{
    return ur_hmm_with(ps, name, K, V, ur_normal_with(0, 1));
}

static bool check(ur_graph *g, ur_at at, const char *what, const ur_hmm *m, ur_node ids,
                  const int lengths[])
{
    const ur_shape x = ur_shape_of(ids), e = ur_shape_of(m->emissions);
    if (x.rank != 2 || ur_type_of(ids) != UR_I32)
        return ur_fail(g, at, what, "%s, but ids are int32 [T,B]", ur_called(ids, at, 0));
    const bool fits = e.rank == 2 && ur_count(m->start) == (size_t)e.dim[0] &&
                      ur_count(m->transitions) == (size_t)e.dim[0] * (size_t)e.dim[0];
    if (!fits || e.dim[0] < 1)
        return ur_fail(g, at, what, "the model's emissions are %s, its transitions %s",
                       ur_is_nil(m->emissions) ? "nil" : ur_shape_text(e),
                       ur_is_nil(m->transitions) ? "nil"
                                                 : ur_shape_text(ur_shape_of(m->transitions)));
    return ur_lengths_fit(g, at, what, lengths, x.dim[0], x.dim[1]);
}

/* The chain, and ln E[.,x_t] of every place: [T,B,K]. False on error. */
static bool open(ur_at at, const char *what, const ur_hmm *m, ur_node ids, const int lengths[],
                 ur_chain *chain, ur_node *scores)
{
    ur_graph *g = ur_graph_of(ids);
    if (!g || ur_error(g) || !check(g, at, what, m, ids, lengths))
        return false;
    chain->start = ur_log_softmax_at(at, ur_use_at(at, g, m->start));
    chain->transitions = ur_log_softmax_at(at, ur_use_at(at, g, m->transitions));
    chain->end = UR_NIL;
    ur_node by_id = ur_transpose_at(at, ur_log_softmax_at(at, ur_use_at(at, g, m->emissions)));
    *scores = ur_gather_at(at, by_id, ur_ids_within_at(at, ids, lengths, 0));
    return !ur_is_nil(*scores);
}

static ur_node log_p_of(ur_at at, const char *what, const ur_hmm *m, ur_node ids,
                        const int lengths[])
{
    ur_chain chain;
    ur_node scores;
    if (!open(at, what, m, ids, lengths, &chain, &scores))
        return UR_NIL;
    return ur_chain_log_sum_at(at, chain, scores, lengths);
}

ur_node ur_hmm_log_p_at(ur_at at, ur_hmm hmm, ur_node ids, const int lengths[])
{
    return log_p_of(at, "hmm_log_p", &hmm, ids, lengths);
}

ur_node ur_hmm_loss_at(ur_at at, ur_hmm hmm, ur_node ids, const int lengths[])
{
    ur_node log_p = log_p_of(at, "hmm_loss", &hmm, ids, lengths);
    if (ur_is_nil(log_p))
        return UR_NIL;
    const int T = ur_dim(ids, 0), B = ur_dim(ids, 1);
    int64_t symbols = lengths ? 0 : (int64_t)T * B;
    for (int b = 0; lengths && b < B; b++)
        symbols += lengths[b];
    return ur_scale_at(at, ur_sum_at(at, log_p), symbols ? -1.0 / (double)symbols : 0);
}

ur_node ur_hmm_best_at(ur_at at, ur_hmm hmm, ur_node ids, const int lengths[], ur_node *log_p)
{
    ur_chain chain;
    ur_node scores;
    if (log_p)
        *log_p = UR_NIL;
    if (!open(at, "hmm_best", &hmm, ids, lengths, &chain, &scores))
        return UR_NIL;
    return ur_chain_best_at(at, chain, scores, lengths, log_p);
}

ur_node (ur_hmm_log_p)(ur_hmm hmm, ur_node ids, const int lengths[])
{
    return ur_hmm_log_p_at(NULL, hmm, ids, lengths);
}

ur_node (ur_hmm_loss)(ur_hmm hmm, ur_node ids, const int lengths[])
{
    return ur_hmm_loss_at(NULL, hmm, ids, lengths);
}

ur_node (ur_hmm_best)(ur_hmm hmm, ur_node ids, const int lengths[], ur_node *log_p)
{
    return ur_hmm_best_at(NULL, hmm, ids, lengths, log_p);
}
