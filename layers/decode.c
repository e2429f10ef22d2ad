/* Sequences drawn from a model symbol by symbol, and the probability of given ones.
 *
 *     y_t ~ softmax(step(y_t-1, s_t-1))        log p(y) = sum_t log softmax(step(y_t-1, ..))[y_t]
 *
 * One step is recorded and replayed: symbols and states are what changes. */
#include <math.h>
#include <string.h>
#include "unroll/decode.h"
#include "unroll/ops.h"

bool ur_state_spread(ur_params *from, ur_params *to)
{
    if (!from || !to || ur_error(from) || ur_error(to))
        return false;
    const int n = ur_params_count(from);
    bool same = n == ur_params_count(to) && ur_params_type(from) == ur_params_type(to);
    for (int k = 0; same && k < n; k++) {
        ur_shape a = ur_shape_of(ur_params_at(from, k)), b = ur_shape_of(ur_params_at(to, k));
        same = a.rank == b.rank && a.rank > 0 && a.dim[0] > 0 && b.dim[0] % a.dim[0] == 0 &&
               memcmp(a.dim + 1, b.dim + 1, (size_t)(a.rank - 1) * sizeof *a.dim) == 0;
    }
    if (!same)
        return ur_fail(to, NULL, "state_spread", "the stores differ in more than a multiple of "
                       "rows");
    for (int k = 0; k < n; k++) {
        ur_node a = ur_params_at(from, k), b = ur_params_at(to, k);
        const size_t size = ur_params_type(from) == UR_F64 ? 8 : 4;
        const size_t row = ur_count(a) / (size_t)ur_dim(a, 0) * size;
        const int times = ur_dim(b, 0) / ur_dim(a, 0);
        const char *source = ur_param_values(a);
        char *target = ur_param_values(b);
        if (!source || !target)
            return false;
        for (int r = 0; r < ur_dim(b, 0); r++)
            memcpy(target + (size_t)r * row, source + (size_t)(r / times) * row, row);
    }
    ur_params_changed(to);
    return true;
}

static bool sampling_makes_sense(ur_graph *g, int R, const ur_sample_options *o)
{
    if (R < 1 || o->longest < 0 || (o->start < 0 && !o->starts))
        return ur_fail(g, NULL, "decode_sample", "%d rows, longest %d, start %d: at least 1, 0, 0",
                       R, o->longest, o->start);
    return true;
}

/* The recorded step. */
typedef struct sampler {
    ur_node symbols, next, each;        /* int32 [R] in and out; -log p of `next` */
} sampler;

static bool record(ur_graph *g, ur_step_logits *step, void *model, ur_params *states,
                   const int32_t *now, int R, const ur_sample_options *o, sampler *m)
{
    const int n_states = states ? ur_params_count(states) : 0;
    ur_node *s = ur_graph_alloc(g, (size_t)n_states * sizeof *s);
    if (!s || (states && !ur_state_in(g, states, s)))
        return false;
    m->symbols = ur_ints_at(NULL, g, now, 1, &R);
    ur_node logits = step(model, m->symbols, s);
    m->next = ur_keep(ur_sample(logits, o->temperature, o->top_k, o->top_p > 0 ? o->top_p : 1));
    m->each = ur_cross_entropy_with(logits, m->next, UR_IGNORE, 0, UR_NIL, UR_EACH);
    return !states || ur_state_out(states, s);
}

/* Takes one step's symbols; the number of rows that go on. */
static int take(const int32_t *now, const void *each, bool wide, int R, int end, int t,
                int32_t *text, int longest, ur_hypothesis out[])
{
    int going = 0;
    for (int r = 0; r < R; r++) {
        if (out[r].ended)
            continue;
        out[r].log_probability -= wide ? ((const double *)each)[r] : ((const float *)each)[r];
        out[r].ended = now[r] == end;
        if (!out[r].ended) {
            text[(size_t)r * (size_t)longest + (size_t)t] = now[r];
            out[r].n++;
            going++;
        }
    }
    return going;
}

bool ur_decode_sample(ur_graph *g, ur_step_logits *step, void *model, ur_params *states, int R,
                      const ur_sample_options *o, ur_hypothesis out[])
{
    if (!g || ur_error(g) || !sampling_makes_sense(g, R, o))
        return false;
    ur_clear(g);
    const bool wide = ur_precision(g) == UR_F64;
    int32_t *now = ur_graph_alloc(g, (size_t)R * sizeof *now);
    int32_t *text = ur_graph_alloc(g, (size_t)R * (size_t)o->longest * sizeof *text);
    if (!now || !text)
        return false;
    for (int r = 0; r < R; r++) {
        now[r] = o->starts ? o->starts[r] : o->start;
        out[r] = (ur_hypothesis){ .symbols = text + (size_t)r * (size_t)o->longest };
    }
    sampler m = { UR_NIL, UR_NIL, UR_NIL };
    if (!record(g, step, model, states, now, R, o, &m) && !ur_error(g))
        return ur_fail(g, NULL, "decode_sample", "%s", states ? ur_error(states) : "no step");
    for (int t = 0, going = R; t < o->longest && going > 0; t++) {
        if (t > 0 && !ur_set(m.symbols, now))
            return false;
        if (!(t == 0 ? ur_run(g) : ur_rerun(g)) || !ur_read(m.next, now, (size_t)R))
            return false;
        const void *each = ur_data(m.each);
        if (!each)
            return false;
        going = take(now, each, wide, R, o->end, t, text, o->longest, out);
    }
    for (int r = 0; r < R; r++)
        out[r].score = out[r].log_probability;
    return true;
}

/* -------------------------------------------------------------------------------------- scores */

/* Fills in what is read and what is to follow; the steps of the longest sequence. */
static int steps_of(const int n[], int B, int start, int end)
{
    int T = 0;
    for (int b = 0; b < B; b++) {
        const int steps = n[b] + (end >= 0) - (start < 0);
        T = steps > T ? steps : T;
    }
    return T;
}

/* The symbol at place i of start, ids, end; -1 where there is none. */
static int32_t symbol_at(const int32_t *ids, int n, int i, int start, int end)
{
    i -= start >= 0;
    return i < 0 ? start : i < n ? ids[i] : i == n ? end : -1;
}

bool ur_log_probability(ur_graph *g, ur_all_logits *all, void *model, const int32_t *const ids[],
                        const int n[], int B, int start, int end, double out[])
{
    if (!g || ur_error(g))
        return false;
    ur_clear(g);
    const int T = steps_of(n, B, start, end);
    const size_t elements = (size_t)(T > 0 ? T : 0) * (size_t)B;
    int32_t *x = ur_graph_alloc(g, elements * sizeof *x);
    int32_t *y = ur_graph_alloc(g, elements * sizeof *y);
    int *lengths = ur_graph_alloc(g, (size_t)B * sizeof *lengths);
    if (!x || !y || !lengths)
        return false;
    for (int b = 0; b < B; b++) {
        out[b] = 0;
        for (int t = 0; t < T; t++) {
            const int32_t next = symbol_at(ids[b], n[b], t + 1, start, end);
            const size_t i = (size_t)t * (size_t)B + (size_t)b;
            y[i] = next >= 0 ? next : UR_IGNORE;
            x[i] = next >= 0 ? symbol_at(ids[b], n[b], t, start, end) : 0;
            lengths[b] += next >= 0;
        }
    }
    if (elements == 0)
        return true;
    ur_node logits = all(model, ur_ints_at(NULL, g, x, 2, (int[]){ T, B }), lengths);
    ur_node each = ur_cross_entropy_with(logits, ur_ints_at(NULL, g, y, 2, (int[]){ T, B }),
                                         UR_IGNORE, 0, UR_NIL, UR_EACH);
    const void *loss = ur_run(g) ? ur_data(each) : NULL;
    for (size_t i = 0; loss && i < elements; i++)
        out[i % (size_t)B] -= ur_precision(g) == UR_F64 ? ((const double *)loss)[i]
                                                        : ((const float *)loss)[i];
    return loss != NULL;
}

double ur_perplexity(double log_probability, int64_t n)
{
    return exp(-log_probability / (double)n);
}

ur_node ur_decoder_step(void *model, ur_node symbols, ur_node s[])
{
    return ur_decode_step(*(const ur_decoder *)model, symbols, s);
}

ur_node ur_decoder_all(void *model, ur_node ids, const int lengths[])
{
    const ur_decoder *m = model;
    return ur_linear(m->out, ur_unroll_lengths(m->cell, ur_embed(m->embed, ids), lengths, NULL));
}
