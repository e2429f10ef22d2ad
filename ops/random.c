/* Dropout and noise.
 *
 *     dropout   y = m ? x / (1 - rate) : 0, m = 1 with probability 1 - rate     dx = the same of g
 *               (Srivastava et al. 2014; one mask for a sequence: Gal and Ghahramani 2016)
 *
 * A random op draws the stream keyed by (seed, run number), which the run hands over, and by its
 * ordinal on the tape or a tag. Attributes: whether tagged, the ordinal or tag, the sizes of the
 * result. The distribution's parameters are operands of rank 0: data. Draws have no gradient; what
 * is made of them (dropout, or sigma * noise) has that of the operations it is made with. */
#include "ops/internal.h"

extern const ur_op ur__op_bernoulli, ur__op_noise_uniform, ur__op_noise_normal;

static bool drawn_shape(ur_shaping *s)
{
    s->out.rank = s->n_attr - 2;
    for (int i = 0; i < s->out.rank; i++) {
        if (!ur__need_size(s, s->attr[2 + i]))
            return false;
        s->out.dim[i] = (int)s->attr[2 + i];
    }
    return true;
}

static uint64_t stream(const ur_compute *c)
{
    return ur__mix(ur__mix(c->key, (uint64_t)c->attr[0]), (uint64_t)c->attr[1]);
}

/* Pieces: BLOCK elements, whose draws depend on the key and their own numbers alone. */
enum { BLOCK = 1024 };

static size_t blocks(const ur_compute *c)
{
    return (ur__elements(&c->shape) + BLOCK - 1) / BLOCK;
}

/* The elements [*first, *first + n) to compute; returns the first's place in out. */
static void *elements(const ur_compute *c, size_t *first, size_t *n)
{
    const size_t all = ur__elements(&c->shape), end = c->end * BLOCK;
    *first = c->begin * BLOCK;
    *n = (end < all ? end : all) - *first;
    return (char *)c->out + *first * ur__type_size((int)c->type);
}

/* Uniform numbers u in [0, 1) in place, then the formula on each. */
#define FROM_UNIFORM(name, formula)                                                                \
    static void name(const ur_compute *c)                                                          \
    {                                                                                              \
        size_t first, n;                                                                           \
        const double p = ur__number(c, 0), q = ur__number(c, c->n_in - 1);                         \
        double *d = elements(c, &first, &n);                                                       \
        float *f = (float *)d;                                                                     \
        (void)q;                                                                                   \
        ur__random_uniform(stream(c), first, n, c->type, d);                                       \
        for (size_t i = 0; i < n; i++) {                                                           \
            const double u = c->type == UR_F64 ? d[i] : f[i], y = formula;                         \
            if (c->type == UR_F64)                                                                 \
                d[i] = y;                                                                          \
            else                                                                                   \
                f[i] = (float)y;                                                                   \
        }                                                                                          \
    }
FROM_UNIFORM(bernoulli_compute, u < p)
FROM_UNIFORM(noise_uniform_compute, p + (q - p) * u)

static void noise_normal_compute(const ur_compute *c)
{
    size_t first, n;
    const double deviation = ur__number(c, 0);
    double *d = elements(c, &first, &n);
    float *f = (float *)d;
    ur__random_normal(stream(c), first, n, c->type, d);
    for (size_t i = 0; i < n; i++) {
        if (c->type == UR_F64)
            d[i] *= deviation;
        else
            f[i] = (float)(f[i] * deviation);
    }
}

#define DRAWN(name_, n)                                                                            \
    const ur_op ur__op_##name_ = { .name = #name_, .kind = UR_OPAQUE, .n_in = n,                   \
        .shape = drawn_shape, .compute = name_##_compute, .flags = UR_FLAT | UR_RANDOM,       \
        .pieces = blocks };
DRAWN(bernoulli, 1)
DRAWN(noise_uniform, 2)
DRAWN(noise_normal, 1)

/* ----------------------------------------------------------------------------- public functions */

/* tag NULL: the next ordinal. */
static ur_node drawn(ur_at at, ur_graph *g, const ur_op *op, const double p[], const int64_t *tag,
                     int rank, const int *dim)
{
    int64_t attr[2 + UR_MAX_RANK] = { tag != NULL, 0 };
    ur_node in[2];
    if (!g)
        return UR_NIL;
    if (rank < 0 || rank > UR_MAX_RANK)
        return ur__fail_at(g, at, op->name, "rank %d, but ranks go from 0 to %d", rank,
                           UR_MAX_RANK), UR_NIL;
    attr[1] = tag ? *tag : (int64_t)g->random_ops++;
    for (int i = 0; i < rank; i++)
        attr[2 + i] = dim[i];
    for (int i = 0; i < op->n_in; i++)
        in[i] = ur_scalar_at(at, g, p[i]);
    return ur_record(at, op, in, op->n_in, attr, 2 + rank);
}

static ur_node bernoulli(ur_at at, ur_graph *g, double p, const int64_t *tag, int rank,
                         const int *dim)
{
    if (g && !(p >= 0 && p <= 1))
        return ur__fail_at(g, at, "bernoulli", "the probability %g is not in [0, 1]", p), UR_NIL;
    return drawn(at, g, &ur__op_bernoulli, &p, tag, rank, dim);
}

ur_node ur_bernoulli_at(ur_at at, ur_graph *g, double p, int rank, const int *dim)
{
    return bernoulli(at, g, p, NULL, rank, dim);
}

ur_node (ur_bernoulli)(ur_graph *g, double p, int rank, const int *dim)
{
    return bernoulli(NULL, g, p, NULL, rank, dim);
}

ur_node ur_bernoulli_tagged_at(ur_at at, ur_graph *g, double p, int64_t tag, int rank,
                               const int *dim)
{
    return bernoulli(at, g, p, &tag, rank, dim);
}

ur_node (ur_bernoulli_tagged)(ur_graph *g, double p, int64_t tag, int rank, const int *dim)
{
    return bernoulli(NULL, g, p, &tag, rank, dim);
}

ur_node ur_noise_uniform_at(ur_at at, ur_graph *g, double lo, double hi, int rank, const int *dim)
{
    return drawn(at, g, &ur__op_noise_uniform, (double[]){ lo, hi }, NULL, rank, dim);
}

ur_node (ur_noise_uniform)(ur_graph *g, double lo, double hi, int rank, const int *dim)
{
    return ur_noise_uniform_at(NULL, g, lo, hi, rank, dim);
}

ur_node ur_noise_normal_at(ur_at at, ur_graph *g, double deviation, int rank, const int *dim)
{
    return drawn(at, g, &ur__op_noise_normal, &deviation, NULL, rank, dim);
}

ur_node (ur_noise_normal)(ur_graph *g, double deviation, int rank, const int *dim)
{
    return ur_noise_normal_at(NULL, g, deviation, rank, dim);
}

/* The mask selects before the scale, forward and, since rules run from the end, after it backward:
 * NaN in a dropped place stays there. At rate 1 nothing is left to scale. */
static ur_node dropout(ur_at at, ur_node x, double rate, const int64_t *tag)
{
    ur_graph *g = ur_graph_of(x);
    const ur_shape s = ur_shape_of(x);
    if (!g || s.rank < 0)
        return ur_relu_at(at, x);               /* a record that reports x */
    if (!(rate >= 0 && rate <= 1))
        return ur__fail_at(g, at, "dropout", "the rate %g is not in [0, 1]", rate), UR_NIL;
    if (rate == 0 || ur_mode(g) == UR_INFER)
        return x;
    ur_node mask = bernoulli(at, g, 1 - rate, tag, s.rank, s.dim);
    return ur_scale_at(at, ur_select_at(at, mask, x), rate < 1 ? 1 / (1 - rate) : 0);
}

ur_node ur_dropout_at(ur_at at, ur_node x, double rate)
{
    return dropout(at, x, rate, NULL);
}

ur_node (ur_dropout)(ur_node x, double rate)
{
    return dropout(NULL, x, rate, NULL);
}

ur_node ur_dropout_tagged_at(ur_at at, ur_node x, double rate, int64_t tag)
{
    return dropout(at, x, rate, &tag);
}

ur_node (ur_dropout_tagged)(ur_node x, double rate, int64_t tag)
{
    return dropout(NULL, x, rate, &tag);
}
