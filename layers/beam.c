/* Beam search over any step, for many sentences at once.
 *
 *     score(y) = log p(y) / lp(|y|)        lp(n) = ((5 + n) / 6)^alpha
 *
 * Y. Wu et al., "Google's neural machine translation system", arXiv 1609.08144 (2016), section 7.
 *
 * Row b K + k of the graph is beam k of sentence b. A replay first takes the rows of the states
 * that the beams descend from (an int32 leaf, `parent`), then makes the step. On the host a beam is
 * its last symbol and a link to its parent, at each step; sequences are read backwards in the end.
 * Each of K beams has one continuation that is an end, so of the 2 K best K are none. */
#include <math.h>
#include "unroll/decode.h"
#include "unroll/ops.h"

typedef struct candidate {
    double log_probability;
    int row, symbol;            /* the beam it continues, of all rows; row -1: none */
} candidate;

/* An end: a candidate, and at which step. */
typedef struct final {
    candidate c;
    int t;
    bool ended;
    double score;
} final;

typedef struct search {
    ur_graph *g;
    const ur_beam_options *o;
    int B, K, V;
    int32_t *symbol, *parent;   /* [longest, B K]: a beam's last symbol after a step, and origin */
    double *log_probability;    /* [B K] of the beams, -inf where there is none */
    double *next;
    candidate *kept;            /* [2 K] */
    final *final;               /* [B, K], best first */
    int *n_final;               /* [B] */
    bool *done;                 /* [B] */
    ur_node in, from, out;      /* symbols, parents, log probabilities [B K, V] */
} search;

double ur_length_penalty(int n, double alpha)
{
    return pow((5 + n) / 6.0, alpha);
}

static bool makes_sense(ur_graph *g, int B, const ur_beam_options *o)
{
    if (!o)
        return ur_fail(g, NULL, "beam_search", "the options are NULL");
    if (B < 1 || o->width < 1 || o->best < 1 || o->best > o->width || o->longest < 1 ||
        (o->start < 0 && !o->starts))
        return ur_fail(g, NULL, "beam_search", "%d sentences, width %d, best %d, longest %d, start "
                       "%d: at least 1, 1, 1 up to the width, 1, 0", B, o->width, o->best,
                       o->longest, o->start);
    return true;
}

static bool take_memory(search *s)
{
    const size_t rows = (size_t)s->B * (size_t)s->K, all = rows * (size_t)s->o->longest;
    s->symbol = ur_graph_alloc(s->g, all * sizeof *s->symbol);
    s->parent = ur_graph_alloc(s->g, all * sizeof *s->parent);
    s->log_probability = ur_graph_alloc(s->g, rows * sizeof *s->log_probability);
    s->next = ur_graph_alloc(s->g, rows * sizeof *s->next);
    s->kept = ur_graph_alloc(s->g, 2 * (size_t)s->K * sizeof *s->kept);
    s->final = ur_graph_alloc(s->g, rows * sizeof *s->final);
    s->n_final = ur_graph_alloc(s->g, (size_t)s->B * sizeof *s->n_final);
    s->done = ur_graph_alloc(s->g, (size_t)s->B * sizeof *s->done);
    return s->symbol && s->parent && s->log_probability && s->next && s->kept && s->final &&
           s->n_final && s->done;
}

static bool record(search *s, ur_step_logits *step, void *model, ur_params *states)
{
    const int rows = s->B * s->K, n = states ? ur_params_count(states) : 0;
    ur_node *state = ur_graph_alloc(s->g, (size_t)n * sizeof *state);
    int32_t *first = ur_graph_alloc(s->g, 2 * (size_t)rows * sizeof *first);
    if (!state || !first)
        return false;
    for (int r = 0; r < rows; r++) {
        first[r] = s->o->starts ? s->o->starts[r / s->K] : s->o->start;
        first[rows + r] = r;
    }
    s->in = ur_ints_at(NULL, s->g, first, 1, &rows);
    s->from = ur_ints_at(NULL, s->g, first + rows, 1, &rows);
    if (states && !ur_state_in(s->g, states, state))
        return ur_error(s->g) ? false : ur_fail(s->g, NULL, "beam_search", "%s", ur_error(states));
    for (int k = 0; k < n; k++) {
        if (ur_dim(state[k], 0) != rows)
            return ur_fail(s->g, NULL, "beam_search", "state %d is %s, but %d sentences of %d "
                           "beams are %d rows", k, ur_shape_text(ur_shape_of(state[k])), s->B,
                           s->K, rows);
        state[k] = ur_gather(state[k], s->from);
    }
    ur_node logits = step(model, s->in, state);
    ur_shape shape = ur_shape_of(logits);
    if (!ur_error(s->g) && (shape.rank != 2 || shape.dim[0] != rows))
        return ur_fail(s->g, NULL, "beam_search", "the step's logits are %s, but for %d sentences "
                       "of %d beams [%d,V] is needed",
                       shape.rank < 0 ? "nil" : ur_shape_text(shape), s->B, s->K, rows);
    s->V = ur_dim(logits, 1);
    s->out = ur_log_softmax(logits);
    return (!states || ur_state_out(states, state)) && !ur_error(s->g);
}

/* -------------------------------------------------------------------------------------- a step */

/* Puts a candidate in its place among the n best so far, of which the worst may drop out; the first
 * of equals stays in front. */
static void keep(candidate *kept, int n, candidate c)
{
    int i = n - 1;
    if (!(c.log_probability > kept[i].log_probability))
        return;
    for (; i > 0 && c.log_probability > kept[i - 1].log_probability; i--)
        kept[i] = kept[i - 1];
    kept[i] = c;
}

/* The 2 K best continuations of a sentence's beams. */
static bool continue_beams(search *s, const void *values, int b, int t)
{
    const bool wide = ur_precision(s->g) == UR_F64;
    for (int i = 0; i < 2 * s->K; i++)
        s->kept[i] = (candidate){ -INFINITY, -1, -1 };
    for (int r = b * s->K; r < (b + 1) * s->K; r++) {
        const double so_far = s->log_probability[r];
        const size_t row = (size_t)r * (size_t)s->V;
        for (int v = 0; so_far > -INFINITY && v < s->V; v++) {
            const double p = wide ? ((const double *)values)[row + (size_t)v]
                                  : ((const float *)values)[row + (size_t)v];
            if (isnan(p))
                return ur_fail(s->g, NULL, "beam_search", "NaN in the logits of step %d, sentence "
                               "%d", t, b);
            keep(s->kept, 2 * s->K, (candidate){ so_far + p, r, v });
        }
    }
    return true;
}

/* A sequence that is complete, in its place among those of its sentence; those that ended first. */
static void finish(search *s, int b, candidate c, int t, bool ended)
{
    final f = { c, t, ended, c.log_probability / ur_length_penalty(t + 1, s->o->alpha) };
    final *all = s->final + (size_t)b * (size_t)s->K;
    if (s->n_final[b] == s->K)
        return;
    int i = s->n_final[b]++;
    for (; i > 0 && (f.ended == all[i - 1].ended ? f.score > all[i - 1].score : f.ended); i--)
        all[i] = all[i - 1];
    all[i] = f;
}

/* The candidates kept become ends and the next beams of their sentence. */
static void choose(search *s, int b, int t)
{
    const int first = b * s->K, rows = s->B * s->K;
    int32_t *symbol = s->symbol + (size_t)t * (size_t)rows;
    int32_t *parent = s->parent + (size_t)t * (size_t)rows;
    int n = 0;
    for (int i = 0; i < 2 * s->K && s->kept[i].row >= 0; i++) {
        const candidate c = s->kept[i];
        if (c.symbol == s->o->end) {
            if (i < s->K)
                finish(s, b, c, t, true);
        } else if (n < s->K) {
            symbol[first + n] = c.symbol;
            parent[first + n] = c.row;
            s->next[first + n++] = c.log_probability;
        }
    }
    s->done[b] = s->n_final[b] == s->K || n == 0;
    if (!s->done[b] && t + 1 == s->o->longest)
        for (int k = 0; k < n; k++)
            finish(s, b, (candidate){ s->next[first + k], parent[first + k], symbol[first + k] }, t,
                   false);
    for (; n < s->K; n++) {
        symbol[first + n] = 0;
        parent[first + n] = first;
        s->next[first + n] = -INFINITY;
    }
    for (int k = 0; k < s->K; k++)
        s->log_probability[first + k] = s->next[first + k];
}

static bool step_all(search *s, int t, bool *going)
{
    const size_t rows = (size_t)s->B * (size_t)s->K;
    if (t > 0 && (!ur_set(s->in, s->symbol + (size_t)(t - 1) * rows) ||
                  !ur_set(s->from, s->parent + (size_t)(t - 1) * rows)))
        return false;
    const void *values = (t == 0 ? ur_run(s->g) : ur_rerun(s->g)) ? ur_data(s->out) : NULL;
    if (!values)
        return false;
    *going = false;
    for (int b = 0; b < s->B; b++) {
        if (s->done[b]) {       /* its rows stay where they are and count for nothing */
            for (int r = b * s->K; r < (b + 1) * s->K; r++) {
                s->symbol[(size_t)t * rows + (size_t)r] = 0;
                s->parent[(size_t)t * rows + (size_t)r] = r;
            }
            continue;
        }
        if (!continue_beams(s, values, b, t))
            return false;
        choose(s, b, t);
        *going = *going || !s->done[b];
    }
    return true;
}

/* ------------------------------------------------------------------------------------- the end */

/* The symbols of a complete sequence, from the links, last one first. */
static bool trace(const search *s, const final *f, ur_hypothesis *out)
{
    const size_t rows = (size_t)s->B * (size_t)s->K;
    const int n = f->t + !f->ended;
    int32_t *symbols = ur_graph_alloc(s->g, (size_t)n * sizeof *symbols);
    if (!symbols)
        return false;
    if (!f->ended)
        symbols[f->t] = f->c.symbol;
    for (int t = f->t - 1, r = f->c.row; t >= 0; t--) {
        symbols[t] = s->symbol[(size_t)t * rows + (size_t)r];
        r = s->parent[(size_t)t * rows + (size_t)r];
    }
    *out = (ur_hypothesis){ symbols, n, f->ended, f->c.log_probability, f->score };
    return true;
}

bool ur_beam_search(ur_graph *g, ur_step_logits *step, void *model, ur_params *states, int B,
                    const ur_beam_options *o, ur_hypothesis out[])
{
    if (!g || ur_error(g) || !makes_sense(g, B, o))
        return false;
    ur_clear(g);
    search s = { .g = g, .o = o, .B = B, .K = o->width };
    if (!take_memory(&s) || !record(&s, step, model, states))
        return false;
    for (int r = 0; r < B * s.K; r++)   /* the rows of a sentence are equal: one of them counts */
        s.log_probability[r] = r % s.K ? -INFINITY : 0;
    bool going = true;
    for (int t = 0; going && t < o->longest; t++)
        if (!step_all(&s, t, &going))
            return false;
    for (int b = 0; b < B; b++)
        for (int k = 0; k < o->best; k++) {
            ur_hypothesis *h = &out[b * o->best + k];
            *h = (ur_hypothesis){ .score = -INFINITY, .log_probability = -INFINITY };
            if (k < s.n_final[b] && !trace(&s, &s.final[(size_t)b * (size_t)s.K + (size_t)k], h))
                return false;
        }
    return true;
}
