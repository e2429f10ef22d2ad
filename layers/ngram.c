/* n-gram model: what follows the last symbols, by counting; interpolated Witten-Bell smoothing.
 *
 *     p(w | h) = (c(h w) + d(h) p(w | h')) / (c(h) + d(h)),       p(w) of no context at all: 1 / V
 *
 * h the last symbols, h' without the first of them, c(h w) how often w followed h, c(h) the sum of
 * that over w, d(h) how many different w followed. A context never seen is left out. So the weight
 * of the shorter context is that of an event which happened d(h) times: something new.
 *
 * A string of symbols is a node of a tree, found by its parent (the string without the last symbol)
 * and its last symbol through a hash table. A text is counted with one cursor for each length of
 * context: n look-ups a symbol. Nodes never move: block k has FIRST << k of them.
 *
 * I. Witten and T. Bell, "The zero-frequency problem", IEEE Trans. Inf. Theory 37 (1991); S. Chen
 * and J. Goodman, "An empirical study of smoothing techniques for language modeling", Computer
 * Speech and Language 13 (1999), equation 16.
 */
#include <math.h>
#include "unroll/structured.h"

enum { FIRST = 256, BLOCKS = 23, NONE = -1 };

typedef struct node {
    int32_t parent, symbol;
    int64_t count;              /* how often the string occurred */
    int64_t followed;           /* c: the sum of the counts of its children */
    int32_t different;          /* d: its children */
} node;

struct ur_ngram {
    ur_params *ps;
    int order, V;
    int32_t n;                  /* nodes; 0 is the empty string */
    node *block[BLOCKS];
    int32_t *slot;              /* 1 + node, 0 free; a power of two, at most half full */
    size_t slots;
};

static node *at(const ur_ngram *m, int32_t i)
{
    int k = 0;
    while (i >= FIRST << k)
        i -= FIRST << k++;
    return &m->block[k][i];
}

static size_t slot_of(const ur_ngram *m, int32_t parent, int32_t symbol)
{
    uint64_t h = ((uint64_t)(uint32_t)parent << 32 | (uint32_t)symbol) * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)(h ^ h >> 29) & (m->slots - 1);
    for (; m->slot[i]; i = (i + 1) & (m->slots - 1)) {
        const node *x = at(m, m->slot[i] - 1);
        if (x->parent == parent && x->symbol == symbol)
            break;
    }
    return i;
}

static int32_t find(const ur_ngram *m, int32_t parent, int32_t symbol)
{
    return m->slot[slot_of(m, parent, symbol)] - 1;
}

/* ------------------------------------------------------------------------------------- counting */

/* Room for `more` nodes. What a smaller table took stays with the store: in all as much again. */
static bool reserve(ur_ngram *m, int32_t more)
{
    if (m->n > INT32_MAX / 2 - more)
        return ur_fail(m->ps, NULL, "ngram", "more than %d different strings", INT32_MAX / 2);
    for (int64_t k = 0, end = FIRST; k < BLOCKS; end += (int64_t)FIRST << ++k) {
        if (!m->block[k])
            m->block[k] = ur_params_alloc(m->ps, ((size_t)FIRST << k) * sizeof *m->block[k]);
        if (!m->block[k])
            return false;
        if (end >= m->n + more)
            break;
    }
    size_t slots = m->slots ? m->slots : 2 * FIRST;
    while (slots < 2 * (size_t)(m->n + more))
        slots *= 2;
    if (slots == m->slots)
        return true;
    int32_t *slot = ur_params_alloc(m->ps, slots * sizeof *slot);
    if (!slot)
        return false;
    m->slot = slot;
    m->slots = slots;
    for (int32_t i = 1; i < m->n; i++)
        slot[slot_of(m, at(m, i)->parent, at(m, i)->symbol)] = i + 1;
    return true;
}

/* Counts `symbol` after the string `parent`; there is room. */
static int32_t count(ur_ngram *m, int32_t parent, int32_t symbol)
{
    const size_t i = slot_of(m, parent, symbol);
    node *p = at(m, parent);
    if (!m->slot[i]) {
        *at(m, m->n) = (node){ .parent = parent, .symbol = symbol };
        m->slot[i] = ++m->n;
        p->different++;
    }
    p->followed++;
    at(m, m->slot[i] - 1)->count++;
    return m->slot[i] - 1;
}

static bool in_range(const ur_ngram *m, const char *what, const int32_t ids[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= m->V)
            return ur_fail(m->ps, NULL, what, "id %d at position %zu, but ids are from 0 to %d",
                           (int)ids[i], i, m->V - 1);
    return true;
}

ur_ngram *ur_ngram_new(ur_params *ps, int order, int V)
{
    if (!ps || ur_error(ps))
        return NULL;
    if (order < 1 || order > UR_NGRAM_ORDER || V < 1) {
        ur_fail(ps, NULL, "ngram", "order %d of %d symbols: orders are from 1 to %d, symbols at "
                "least 1", order, V, UR_NGRAM_ORDER);
        return NULL;
    }
    ur_ngram *m = ur_params_alloc(ps, sizeof *m);
    if (!m)
        return NULL;
    *m = (ur_ngram){ .ps = ps, .order = order, .V = V };
    if (!reserve(m, 1))
        return NULL;
    *at(m, m->n++) = (node){ .parent = NONE, .symbol = NONE };
    return m;
}

bool ur_ngram_add(ur_ngram *m, const int32_t ids[], size_t n)
{
    int32_t cursor[UR_NGRAM_ORDER + 1] = { 0 };         /* [k]: the last k symbols */
    if (!m || ur_error(m->ps) || !in_range(m, "ngram_add", ids, n))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!reserve(m, m->order))
            return false;
        const int known = i < (size_t)m->order - 1 ? (int)i : m->order - 1;
        for (int k = known; k >= 0; k--)
            cursor[k + 1] = count(m, cursor[k], ids[i]);
    }
    return true;
}

/* ------------------------------------------------------------------------------- probabilities */

/* The nodes of the last 0, 1, .. symbols of a history, as far as they were seen; how many. */
static int contexts(const ur_ngram *m, const int32_t history[], size_t n, int32_t context[])
{
    const int most = n < (size_t)m->order - 1 ? (int)n : m->order - 1;
    context[0] = 0;
    for (int k = 1; k <= most; k++) {
        int32_t here = 0;
        for (int i = k; i > 0 && here != NONE; i--)
            here = find(m, here, history[n - (size_t)i]);
        if (here == NONE)
            return k;
        context[k] = here;
    }
    return most + 1;
}

static double probability(const ur_ngram *m, const int32_t context[], int n, int32_t next)
{
    double p = 1.0 / m->V;
    for (int k = 0; k < n; k++) {
        const node *h = at(m, context[k]);
        if (!h->followed)
            continue;
        const int32_t w = find(m, context[k], next);
        const double seen = w == NONE ? 0 : (double)at(m, w)->count;
        p = (seen + h->different * p) / ((double)h->followed + h->different);
    }
    return p;
}

static bool usable(const ur_ngram *m, const char *what, const int32_t ids[], size_t n)
{
    return m && !ur_error(m->ps) && in_range(m, what, ids, n);
}

double ur_ngram_log_p(const ur_ngram *m, const int32_t history[], size_t n, int32_t next)
{
    int32_t context[UR_NGRAM_ORDER];
    if (!usable(m, "ngram_log_p", history, n) || !in_range(m, "ngram_log_p", &next, 1))
        return NAN;
    return log(probability(m, context, contexts(m, history, n, context), next));
}

double ur_ngram_text_log_p(const ur_ngram *m, const int32_t ids[], size_t n)
{
    int32_t context[UR_NGRAM_ORDER];
    double sum = 0;
    if (!usable(m, "ngram_text_log_p", ids, n))
        return NAN;
    for (size_t i = 0; i < n; i++)
        sum += log(probability(m, context, contexts(m, ids, i, context), ids[i]));
    return sum;
}

bool ur_ngram_next(const ur_ngram *m, const int32_t history[], size_t n, double p[])
{
    int32_t context[UR_NGRAM_ORDER];
    if (!usable(m, "ngram_next", history, n))
        return false;
    const int known = contexts(m, history, n, context);
    for (int32_t k = 0; k < m->V; k++)
        p[k] = probability(m, context, known, k);
    return true;
}

/* ---------------------------------------------------------------------------------- generation */

/* Uniform in [0, 1): the splitmix64 generator (Steele, Lea and Flood 2014). */
static double uniform(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

bool ur_ngram_generate(const ur_ngram *m, uint64_t seed, int32_t ids[], size_t given, size_t n)
{
    int32_t context[UR_NGRAM_ORDER];
    if (!usable(m, "ngram_generate", ids, given < n ? given : n))
        return false;
    for (size_t i = given; i < n; i++) {
        const int known = contexts(m, ids, i, context);
        double left = uniform(&seed);
        int32_t k = 0;
        for (; k < m->V - 1; k++) {
            left -= probability(m, context, known, k);
            if (left < 0)
                break;
        }
        ids[i] = k;
    }
    return true;
}
