/* Drawing ids from logits: the softmax of x / temperature, cut to the top_k most likely, then to
 * the fewest most likely that reach top_p together (Holtzman et al. 2020, "The Curious Case of
 * Neural Text Degeneration"), then renormalised.
 *
 * No sorting and no memory: both cuts are a threshold t on x, found by bisection. A set of the most
 * likely ids is {x > t} and the first few of those with x = t; its measure (a count, or a mass)
 * falls with t, and each step of the bisection looks only at what lies between its bounds. */
#include <math.h>
#include "ops/internal.h"

extern const ur_op ur__op_sample;

typedef struct row {
    const void *x;
    bool wide;                  /* double */
    size_t n;
    double top, temperature;    /* the largest x */
} row;

static double logit(const row *r, size_t i)
{
    return r->wide ? ((const double *)r->x)[i] : ((const float *)r->x)[i];
}

/* Proportional to the probability of x; 1 for the largest. */
static double mass(const row *r, double x)
{
    return exp((x - r->top) / r->temperature);
}

/* The ids that are left: x > t, and the first `ties` of those with x = t. */
typedef struct cut {
    double t, ties;
} cut;

/* Sum over lo <= x < hi of 1 or the mass; the least and the largest x of (below, hi) on either side
 * of lo, for the next bounds. */
static double measure(const row *r, bool by_mass, double lo, double hi, double *above,
                      double *below)
{
    double sum = 0, least = hi, most = *below;
    for (size_t i = 0; i < r->n; i++) {
        const double x = logit(r, i);
        if (x >= lo && x < hi) {
            sum += by_mass ? mass(r, x) : 1;
            least = x < least ? x : least;
        } else if (x < lo && x > most) {
            most = x;
        }
    }
    *above = least;
    *below = most;
    return sum;
}

/* Cuts c down to the fewest most likely ids whose measure reaches `goal`; c itself does. */
static cut shorten(const row *r, cut c, bool by_mass, double goal)
{
    double lo = c.t, hi = r->top, above, have, ties = 0;
    for (size_t i = 0; i < r->n; i++)
        ties += logit(r, i) == r->top;
    have = ties;                                /* of x >= hi: each has mass 1 */
    if (have >= goal)
        return (cut){ r->top, fmin(ceil(goal), lo == r->top ? c.ties : ties) };
    while (lo < hi) {                           /* lo reaches the goal, hi does not */
        const double mid = lo / 2 + hi / 2;
        if (!(mid > lo))
            break;
        double below = lo;
        const double more = measure(r, by_mass, mid, hi, &above, &below);
        if (have + more >= goal) {
            lo = above;
        } else {
            have += more;
            hi = mid;
            if (below == lo)
                break;
        }
    }
    /* x > lo is `have` unless the loop ended with others between lo and hi: none by then */
    double one = by_mass ? mass(r, lo) : 1, need = ceil((goal - have) / one), there = 0;
    for (size_t i = 0; i < r->n; i++)
        there += logit(r, i) == lo;
    if (lo == c.t && c.ties < there)
        there = c.ties;
    return (cut){ lo, need < 1 ? 1 : need > there ? there : need };
}

/* Sum of the masses of a cut, or, where `stop` is passed, the id at which it is. */
static double walk(const row *r, cut c, double stop, int32_t *id)
{
    double sum = 0;
    for (size_t i = 0; i < r->n; i++) {
        const double x = logit(r, i);
        if (x < c.t || (x == c.t && c.ties < 1))
            continue;
        c.ties -= x == c.t;
        const double m = mass(r, x);
        if (m > 0)
            *id = (int32_t)i;
        sum += m;
        if (sum > stop)
            break;
    }
    return sum;
}

static int32_t draw(const row *r, double top_k, double top_p, double u)
{
    int32_t id = 0;
    if (r->temperature == 0 || isinf(r->top)) {
        while (logit(r, (size_t)id) != r->top)
            id++;
        return id;
    }
    double least = r->top;
    for (size_t i = 0; i < r->n; i++)
        least = logit(r, i) < least && logit(r, i) > -INFINITY ? logit(r, i) : least;
    cut c = { least, (double)r->n };
    double finite = 0;
    for (size_t i = 0; i < r->n; i++)
        finite += logit(r, i) >= least;
    if (top_k > 0 && top_k < finite)
        c = shorten(r, c, false, top_k);
    if (top_p < 1)
        c = shorten(r, c, true, top_p * walk(r, c, INFINITY, &id));
    walk(r, c, u * walk(r, c, INFINITY, &id), &id);
    return id;
}

/* Operands: logits, temperature, top_k, top_p. Attribute: the ordinal. */
static bool sample_shape(ur_shaping *s)
{
    const ur_shape *x = &s->in[0];
    if (!ur__need_numbers(s, 0))
        return false;
    if (x->rank < 1 || x->dim[x->rank - 1] == 0)
        return ur_refuse(s, "%0, which leaves nothing to draw from");
    s->out = *x;
    s->out.rank--;
    s->type = UR_I32;
    return true;
}

static void sample_compute(const ur_compute *c)
{
    const size_t n = (size_t)c->shape_in[0].dim[c->shape_in[0].rank - 1];
    const uint64_t key = ur__mix(ur__mix(c->key, 0), (uint64_t)c->attr[0]);
    const double top_k = *(const int32_t *)c->in[2], top_p = ur__number(c, 3);
    row r = { .wide = c->type_in[0] == UR_F64, .n = n, .temperature = ur__number(c, 1) };
    int32_t *id = c->out;
    for (size_t b = c->begin; b < c->end; b++) {
        bool has_nan = false;
        double u;
        r.x = (const char *)c->in[0] + b * n * ur__type_size((int)c->type_in[0]);
        r.top = -INFINITY;
        for (size_t i = 0; i < n; i++) {
            has_nan |= isnan(logit(&r, i)) != 0;
            r.top = logit(&r, i) > r.top ? logit(&r, i) : r.top;
        }
        id[b] = 0;
        if (has_nan || r.top == -INFINITY) {
            ur_compute_fail(c, "row %zu of the logits %s", b,
                            has_nan ? "holds NaN" : "is -inf throughout");
            continue;
        }
        ur__random_uniform(key, b, 1, UR_F64, &u);
        id[b] = draw(&r, top_k, top_p, u);
    }
}

const ur_op ur__op_sample = {
    .name = "sample", .kind = UR_OPAQUE, .n_in = 4, .shape = sample_shape,
    .compute = sample_compute, .flags = UR_FLAT | UR_INT_OUT | UR_RANDOM,
    .pieces = ur__each,
};

ur_node ur_sample_at(ur_at at, ur_node logits, double temperature, int top_k, double top_p)
{
    ur_graph *g = ur_graph_of(logits);
    const char *wrong = !(temperature >= 0) ? "the temperature %g is below 0"
                        : top_k < 0         ? "top_k is %g, but must be at least 0"
                        : !(top_p > 0 && top_p <= 1) ? "top_p is %g, but must be in (0, 1]" : NULL;
    if (!g)
        return ur_record(at, &ur__op_sample, &logits, 1, NULL, 0);
    if (wrong) {
        ur__fail_at(g, at, "sample", wrong,
                    !(temperature >= 0) ? temperature : top_k < 0 ? (double)top_k : top_p);
        return UR_NIL;
    }
    const int32_t k = top_k;
    ur_node in[] = {
        logits, ur_scalar_at(at, g, temperature), ur_ints_at(at, g, &k, 0, NULL),
        ur_scalar_at(at, g, top_p),
    };
    return ur_record(at, &ur__op_sample, in, 4, (int64_t[]){ g->random_ops++ }, 1);
}

ur_node (ur_sample)(ur_node logits, double temperature, int top_k, double top_p)
{
    return ur_sample_at(NULL, logits, temperature, top_k, top_p);
}
