/* Softmax cross-entropy on integer labels, in one pass over the logits.
 *
 *     l = -w_c sum_v q_v log_softmax(x)_v      q_v = (1 - eps) [v = c] + eps / V,  c the label
 *     dx_v = g w_c (s_v - q_v)                 s = softmax(x)
 *
 * The gradient is an op of its own (one more pass, no array of probabilities kept), with a rule by
 * primitives for second derivatives: with the incoming h[.., V],
 *
 *     dg   = sum_v h_v w_c (s_v - q_v)
 *     dx_v = s_v (t_v - sum_u s_u t_u),  t = g w_c h
 *
 * Rows whose label is `ignore` count for nothing: they are masked by selection wherever they occur,
 * so that whatever their logits hold stays there. The class weights w and eps have no gradient by
 * intent. The mean is over the weights of the labels that count, as PyTorch's; eps follows Szegedy
 * et al. 2016, "Rethinking the Inception Architecture". */
#include "ops/internal.h"

extern const ur_op ur__op_cross_entropy, ur__op_cross_entropy_grad, ur__op_label_weight;

/* Operands: [g,] logits, labels, eps [, weights]; attribute: ignore. */
enum { LOGITS, LABELS, EPS, WEIGHTS, MOST };

/* ---------------------------------------------------------------------------------- shape rules */

/* The operands from `first` on; the shape of the labels becomes the result's. */
static bool check(ur_shaping *s, int first)
{
    const ur_shape *x = &s->in[first + LOGITS], *c = &s->in[first + LABELS];
    if (!ur__need_numbers(s, first + LOGITS) || !ur__need_ints(s, first + LABELS))
        return false;
    bool fit = x->rank == c->rank + 1;
    for (int i = 0; fit && i < c->rank; i++)
        fit = x->dim[i] == c->dim[i];
    if (!fit)
        return ur_refuse(s, first ? "%1 but %2: labels have the shape of the logits without their "
                                    "last axis"
                                  : "%0 but %1: labels have the shape of the logits without their "
                                    "last axis");
    if (s->n_in > first + WEIGHTS) {
        const ur_shape *w = &s->in[first + WEIGHTS];
        if (!ur__need_numbers(s, first + WEIGHTS))
            return false;
        if (w->rank != 1 || w->dim[0] != x->dim[x->rank - 1])
            return ur_refuse(s, first ? "%1 but the weights are %s" : "%0 but %3: each class needs "
                                        "a weight", ur_shape_text(*w));
    }
    s->out = *c;
    return true;
}

static bool cross_entropy_shape(ur_shaping *s)
{
    return check(s, 0);
}

static bool cross_entropy_grad_shape(ur_shaping *s)
{
    if (!ur__need_numbers(s, 0) || !check(s, 1))
        return false;
    s->out = s->in[1 + LOGITS];
    return true;
}

/* -------------------------------------------------------------------------------------- compute */

typedef struct problem {
    size_t rows, n;             /* rows: those from the piece's first on */
    size_t first;
    const void *x, *weight;
    const int32_t *label;
    double eps;
    int32_t ignore;
    bool valid;                 /* every label counts or is in [0, n) */
} problem;

/* The first of the rows to compute in an array with rows of n. */
static void *row_of(const ur_compute *c, const void *x, size_t n)
{
    return (char *)x + c->begin * n * ur__type_size((int)c->type);
}

static problem problem_of(const ur_compute *c, int first)
{
    const ur_shape *x = &c->shape_in[first + LOGITS];
    problem p = {
        .first = c->begin, .rows = c->end - c->begin, .n = (size_t)x->dim[x->rank - 1],
        .label = (const int32_t *)c->in[first + LABELS] + c->begin,
        .weight = c->n_in > first + WEIGHTS ? c->in[first + WEIGHTS] : NULL,
        .eps = ur__number(c, first + EPS), .ignore = (int32_t)c->attr[0], .valid = true,
    };
    p.x = row_of(c, c->in[first + LOGITS], p.n);
    for (size_t i = 0; i < p.rows && p.valid; i++) {
        const int32_t v = p.label[i];
        p.valid = v == p.ignore || (v >= 0 && (size_t)v < p.n);
        if (!p.valid)
            ur_compute_fail(c, "label %d at position %zu is neither in 0:%zu nor the ignored %d",
                            (int)v, p.first + i, p.n, (int)p.ignore);
    }
    return p;
}

static void cross_entropy_compute(const ur_compute *c)
{
    const problem p = problem_of(c, 0);
    const ur__kernel_set *k = ur__kernels_of(c->type);
    if (p.valid && p.n)
        k->cross_entropy(p.rows, p.n, p.x, p.label, p.weight, p.eps, p.ignore,
                         row_of(c, c->out, 1));
    else
        k->fill(p.rows, 0, row_of(c, c->out, 1));
}

static void cross_entropy_grad_compute(const ur_compute *c)
{
    const problem p = problem_of(c, 1);
    const ur__kernel_set *k = ur__kernels_of(c->type);
    if (p.valid && p.n)
        k->cross_entropy_grad(p.rows, p.n, p.x, p.label, p.weight, p.eps, p.ignore,
                              row_of(c, c->in[0], 1), row_of(c, c->out, p.n));
    else
        k->fill(p.rows * p.n, 0, row_of(c, c->out, p.n));
}

/* ---------------------------------------------------------------------------------------- rules */

/* The gradient op on the operands of `in`, with g in front. */
static ur_node gradient(ur_node g, const ur_node in[], int n_in, const int64_t *attr)
{
    ur_node with[1 + MOST] = { g };
    memcpy(with + 1, in, sizeof *in * (size_t)n_in);
    return ur_record(NULL, &ur__op_cross_entropy_grad, with, n_in + 1, attr, 1);
}

static void cross_entropy_rule(ur_rule *r)
{
    if (ur_wants(r, LOGITS))
        ur_give(r, LOGITS, gradient(r->g, r->in, r->n_in, r->attr));
}

/* w_c of each label, 0 for those that do not count. */
static ur_node label_weight(ur_at at, ur_node labels, ur_node weights, int64_t ignore)
{
    const bool weighted = !ur_is_nil(weights);
    ur_graph *g = ur__graph_of_either(labels, weights);
    ur_node in[] = { labels, weighted ? weights : ur_scalar_at(at, g, 1) };
    return ur_record(at, &ur__op_label_weight, in, 2, &ignore, 1);
}

static void cross_entropy_grad_rule(ur_rule *r)
{
    const ur_node *in = r->in + 1;
    ur_node x = in[LOGITS], g = r->in[0], h = r->g;
    const ur_shape rows = ur_shape_of(g);
    ur_shape kept = ur_shape_of(x);
    kept.dim[kept.rank - 1] = 1;
    ur_node w = label_weight(NULL, in[LABELS], r->n_in - 1 > WEIGHTS ? in[WEIGHTS] : UR_NIL,
                             r->attr[0]);
    ur_node w1 = ur__reshape_to(NULL, w, &kept);
    h = ur_select(w1, h);
    if (ur_wants(r, 0)) {
        ur_node one = ur__broadcast(NULL, ur_scalar(ur_graph_of(x), 1), &rows);
        ur_node dl = gradient(one, in, r->n_in - 1, r->attr);
        ur_give(r, 0, ur_sum_over(ur_mul(h, dl), -1));
    }
    if (ur_wants(r, 1 + LOGITS)) {
        ur_node gw = ur__reshape_to(NULL, ur_mul(ur_select(w, g), w), &kept);
        ur_node s = ur_softmax(ur_select(w1, x));
        ur_node st = ur_mul(s, ur_mul(gw, h));
        ur_give(r, 1 + LOGITS, ur_sub(st, ur_mul(s, ur_sum_keep(st, -1))));
    }
}

/* -------------------------------------------------------------------------------------- samples */

/* Label 1 is the ignored one in every other sample. */
static int draw_operands(ur_draw *d, int which, ur_node in[MOST], int64_t *ignore)
{
    static const ur_shape cases[] = {
        UR__SHAPE(4, 3), UR__SHAPE(5), UR__SHAPE(2, 3, 4), UR__SHAPE(2, 1, 2, 3), UR__SHAPE(2, 1),
        UR__SHAPE(0, 3),
    };
    const int n = (int)(sizeof cases / sizeof cases[0]);
    if (which < 0 || which >= 4 * n)
        return 0;
    const ur_shape *x = &cases[which % n];
    const int V = x->dim[x->rank - 1];
    const bool weighted = which / n == 1, smooth = which / n == 2;
    in[LOGITS] = ur__draw(d, -2, 2, x);
    in[LABELS] = ur_draw_ints_(d, V, x->rank - 1, x->dim);
    in[EPS] = ur_scalar(ur_draw_graph(d), smooth ? 0.1 : 0);
    if (weighted)       /* from integers, which are not perturbed */
        in[WEIGHTS] = ur_shift(ur_scale(ur_cast(ur_draw_ints(d, 10, V)), 0.1), 0.5);
    *ignore = which / n == 3 ? 1 : UR_IGNORE;
    return weighted ? MOST : WEIGHTS;
}

static ur_node cross_entropy_sample(ur_draw *d, int which)
{
    ur_node in[MOST];
    int64_t ignore;
    int n = draw_operands(d, which, in, &ignore);
    return n ? ur_record(NULL, &ur__op_cross_entropy, in, n, &ignore, 1) : UR_NIL;
}

static ur_node cross_entropy_grad_sample(ur_draw *d, int which)
{
    ur_node in[MOST];
    int64_t ignore;
    int n = draw_operands(d, which, in, &ignore);
    if (n == 0)
        return UR_NIL;
    const ur_shape rows = ur_shape_of(in[LABELS]);
    return gradient(ur__draw(d, -1, 1, &rows), in, n, &ignore);
}

const ur_op ur__op_cross_entropy = {
    .name = "cross_entropy", .kind = UR_OPAQUE, .n_in = -1, .shape = cross_entropy_shape,
    .compute = cross_entropy_compute, .rule = cross_entropy_rule, .sample = cross_entropy_sample,
    .pieces = ur__each, .by_rows = 1 << LOGITS | 1 << LABELS,
};
const ur_op ur__op_cross_entropy_grad = {
    .name = "cross_entropy_grad", .kind = UR_OPAQUE, .n_in = -1,
    .shape = cross_entropy_grad_shape, .compute = cross_entropy_grad_compute,
    .rule = cross_entropy_grad_rule, .sample = cross_entropy_grad_sample, .pieces = ur__rows,
    .by_rows = 1 | 1 << (1 + LOGITS) | 1 << (1 + LABELS), .in_place = 1 + 1 + LOGITS,
};

/* ---------------------------------------------------------------------------- weights of labels */

static bool label_weight_shape(ur_shaping *s)
{
    s->out = s->in[0];
    return ur__need_ints(s, 0) && ur__need_numbers(s, 1);
}

/* The second operand: weights[V], or one weight for all. A label out of range is reported by the
 * loss itself. */
static void label_weight_compute(const ur_compute *c)
{
    const bool weighted = c->shape_in[1].rank == 1;
    const int32_t *label = c->in[0], ignore = (int32_t)c->attr[0];
    const int V = weighted ? c->shape_in[1].dim[0] : INT32_MAX;
    const double *wd = c->in[1];
    const float *wf = c->in[1];
    for (size_t i = c->begin; i < c->end; i++) {
        const bool counts = label[i] != ignore && label[i] >= 0 && label[i] < V;
        const size_t k = counts && weighted ? (size_t)label[i] : 0;
        if (c->type == UR_F64)
            ((double *)c->out)[i] = counts ? wd[k] : 0;
        else
            ((float *)c->out)[i] = counts ? wf[k] : 0;
    }
}

const ur_op ur__op_label_weight = {
    .name = "label_weight", .kind = UR_OPAQUE, .n_in = 2, .shape = label_weight_shape,
    .compute = label_weight_compute, .flags = UR_FLAT, .pieces = ur__each, .by_rows = 1,
};

/* ----------------------------------------------------------------------------- public functions */

ur_node ur_cross_entropy_with_at(ur_at at, ur_node logits, ur_node labels, int ignore,
                                 double smoothing, ur_node weights, ur_reduction reduction)
{
    ur_graph *g = ur__graph_of_either(logits, labels);
    if (!g)
        return ur_record(at, &ur__op_cross_entropy, &logits, 1, NULL, 0);
    if (!(smoothing >= 0 && smoothing < 1))
        return ur__fail_at(g, at, "cross_entropy", "the smoothing %g is not in [0, 1)", smoothing),
               UR_NIL;
    const int n_in = weights.owner ? MOST : WEIGHTS;
    const int64_t attr = ignore;
    ur_node in[MOST] = { logits, labels, ur_scalar_at(at, g, smoothing), weights };
    ur_node l = ur_record(at, &ur__op_cross_entropy, in, n_in, &attr, 1);
    if (reduction == UR_EACH || !ur__live(l))
        return l;
    ur_node total = ur_sum_at(at, l);
    if (reduction == UR_TOTAL)
        return total;
    /* Where nothing counts the divisor is 1, not 0: the loss is 0 and so is its gradient. */
    ur_node n = ur_sum_at(at, label_weight(at, labels, weights, ignore));
    ur_node none = ur_one_minus_at(at, ur_positive_at(at, n));
    return ur_div_at(at, total, ur_add_at(at, n, none));
}

ur_node (ur_cross_entropy_with)(ur_node logits, ur_node labels, int ignore, double smoothing,
                                ur_node weights, ur_reduction reduction)
{
    return ur_cross_entropy_with_at(NULL, logits, labels, ignore, smoothing, weights, reduction);
}

ur_node ur_cross_entropy_at(ur_at at, ur_node logits, ur_node labels)
{
    return ur_cross_entropy_with_at(at, logits, labels, UR_IGNORE, 0, UR_NIL, UR_MEAN);
}

ur_node (ur_cross_entropy)(ur_node logits, ur_node labels)
{
    return ur_cross_entropy_at(NULL, logits, labels);
}
