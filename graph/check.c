/* The check of one subject to one order: analytic gradients from a tape with ur_grad, numeric ones
 * by running another tape, without that gradient, on perturbed copies of inputs and parameters.
 *
 *     P = sum_i <w_i, y_i>
 *     D(h) = (8 (P(h) - P(-h)) - (P(2h) - P(-2h))) / 12h
 *     n = (16 D(h/2) - D(h)) / 15
 *
 * Differences are taken output by output before they are weighted and summed, so that an output
 * that did not move adds no rounding. See check.h for the measure of the error and for kinks.
 *
 * Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 25.3.6; L. F. Richardson, "The
 * approximate arithmetical solution by finite differences", 1911; the projection of outputs on
 * uneven weights guards against faults that cancel in a plain sum. */
#include <float.h>
#include <math.h>
#include "graph/check_parts.h"

typedef struct tensor {
    ur_node x;
    const char *name;           /* NULL: number */
    int number;
    size_t count;
    const double *analytic;
    double rms;                 /* of the analytic gradient */
} tensor;

/* Runs of one element: outputs at x - 2h, x - h, x - h/2, x + h/2, x + h, x + 2h. */
enum { RUNS = 6 };
static const double step_of[RUNS] = { -2, -1, -0.5, 0.5, 1, 2 };

typedef struct checker {
    const ur__subject *s;
    const ur_check_options *o;
    ur_report *r;
    ur_graph *g;
    ur_draw d;
    ur__bump memory;
    tensor *x;                  /* what is perturbed */
    size_t n_x;
    ur_node *y;                 /* outputs of the tape */
    size_t n_y, values;         /* values: elements of all of them */
    double *w;                  /* weights of the values */
    double *centre, *at[RUNS];  /* values of the outputs */
} checker;

typedef struct estimate {
    double value;               /* n */
    double doubt;               /* how far the estimates from h and h/2 are apart */
    double noise;               /* what rounding makes of it */
} estimate;

static void *take(checker *c, size_t bytes)
{
    void *p = ur__bump_alloc(&c->memory, bytes + 1);
    if (!p)
        ur__report_error(c->r, "out of memory");
    return p;
}

static bool failed(checker *c)
{
    return ur__report_error(c->r, "%s", ur_error(c->g) ? ur_error(c->g) : "unknown");
}

/* ---------------------------------------------------------------------------------------- tapes */

/* The outputs that can be differentiated. */
static bool find_outputs(checker *c, ur_node out[], int n)
{
    c->y = out;
    c->n_y = 0;
    for (int i = 0; i < n; i++) {
        ur_node y = ur_is_nil(out[i]) ? out[i] : ur_use_at(NULL, c->g, out[i]);
        if (ur_error(c->g))
            return failed(c);
        if (ur_is_nil(y) || ur_graph_of(y) != c->g)
            return ur__report_error(c->r, "output %d was not set to a node of the check's graph", i);
        if (ur_type_of(y) != UR_I32)
            c->y[c->n_y++] = y;
    }
    return c->n_y > 0 || ur__report_error(c->r, "no output can be differentiated: all are int32");
}

/* What was drawn, and what was imported from stores. */
static bool find_tensors(checker *c)
{
    const ur__tape *t = &c->g->tape;
    size_t most = c->d.n;
    for (size_t id = 0; id < t->n; id++) {
        most += t->node[id].op == &ur__op_import;
        if (t->node[id].op == &ur__op_state_out)
            return ur__report_error(c->r, "the function carries a state (ur_state_out): its runs "
                                    "would differ; make the state an input and an output");
    }
    c->n_x = 0;
    if (!(c->x = take(c, most * sizeof *c->x)))
        return false;
    for (size_t k = 0; k < c->d.n; k++) {
        const ur__drawn *d = &c->d.drawn[k];
        if (ur_type_of(d->x) != UR_I32)
            c->x[c->n_x++] = (tensor){ .x = d->x, .name = d->name, .number = (int)k };
    }
    for (size_t id = 0; id < t->n; id++) {
        const ur__node *n = &t->node[id];
        if (n->op != &ur__op_import)
            continue;
        const int64_t *a = t->attr + n->attr;
        c->x[c->n_x++] = (tensor){ .x = ur__node_of(c->g, (uint32_t)id),
                                   .name = c->g->slot[a[0]].store->param[a[1]].name };
    }
    for (size_t k = 0; k < c->n_x; k++)
        c->x[k].count = ur_count(c->x[k].x);
    return c->n_x > 0 ||
           ur__report_error(c->r, "nothing to check: no input that is not int32, no parameter");
}

/* Weights of the outputs, between 0.5 and 1.5 in size, of either sign. */
static bool draw_weights(checker *c, int level)
{
    c->values = 0;
    for (size_t i = 0; i < c->n_y; i++)
        c->values += ur_count(c->y[i]);
    if (!(c->w = take(c, c->values * sizeof *c->w)))
        return false;
    uint64_t key = ur__mix(ur__mix(0x70726f6a, c->o->seed), (uint64_t)level);
    ur__random_uniform(key, 0, c->values, UR_F64, c->w);
    for (size_t i = 0; i < c->values; i++)
        c->w[i] = c->w[i] < 0.5 ? -0.5 - 2 * c->w[i] : 2 * c->w[i] - 0.5;
    return true;
}

/* Replaces the outputs by the gradients of their weighted sum. */
static bool differentiate(checker *c, int level)
{
    ur_node *seed = take(c, c->n_y * sizeof *seed), *x = take(c, c->n_x * sizeof *x);
    ur_node *grad = take(c, c->n_x * sizeof *grad);
    if (!seed || !x || !grad || !draw_weights(c, level))
        return false;
    size_t at = 0;
    for (size_t i = 0; i < c->n_y; at += ur_count(c->y[i++])) {
        ur_shape s = ur_shape_of(c->y[i]);
        seed[i] = ur_input_at(NULL, c->g, c->w + at, s.rank, s.dim);
    }
    for (size_t k = 0; k < c->n_x; k++)
        x[k] = c->x[k].x;
    if (!ur_grad_at(NULL, c->y, seed, (int)c->n_y, x, (int)c->n_x, grad))
        return failed(c);
    c->y = grad;
    c->n_y = c->n_x;
    return true;
}

static bool read_values(checker *c, double *to)
{
    for (size_t i = 0; i < c->n_y; i++) {
        size_t n = ur_count(c->y[i]);
        if (n && !ur_read(c->y[i], to, n))
            return failed(c);
        to += n;
    }
    return true;
}

/* Records the subject and `times` gradients on top of each other, runs, and reads the outputs. */
static bool make_tape(checker *c, int times, double **values)
{
    ur_clear(c->g);
    ur_set_run_number(c->g, 0);
    ur__draw_begin(&c->d, c->g, ur__mix(c->o->seed, (uint64_t)c->s->which));
    int n = c->s->n_out;
    ur_node *out = take(c, (size_t)n * sizeof *out);
    if (!out)
        return false;
    bool some = c->s->record(c->s, &c->d, out);
    if (ur_error(c->g))
        return failed(c);
    if (!some || !find_outputs(c, out, n) || !find_tensors(c))
        return false;
    for (int level = 1; level <= times; level++)
        if (!differentiate(c, level))
            return false;
    if (!draw_weights(c, times + 1))
        return false;
    for (size_t i = 0; i < c->n_y; i++)
        ur_keep(c->y[i]);
    if (!ur_run(c->g))
        return failed(c);
    return (*values = take(c, c->values * sizeof **values)) && read_values(c, *values);
}

/* -------------------------------------------------------------------------------------- numeric */

/* The outputs with one element of a leaf changed. */
static bool evaluate(checker *c, const tensor *t, size_t e, double value, double *to)
{
    double *leaf = ur__leaf_data(c->g, t->x);
    leaf[e] = value;
    c->g->changed = true;
    ur_set_run_number(c->g, 0);
    return ur_rerun(c->g) ? read_values(c, to) : failed(c);
}

static bool estimate_with(checker *c, const tensor *t, size_t e, double h, estimate *out)
{
    const double x = ((double *)ur__leaf_data(c->g, t->x))[e];
    bool ok = true;
    for (int k = 0; ok && k < RUNS; k++)
        ok = evaluate(c, t, e, x + step_of[k] * h, c->at[k]);
    ((double *)ur__leaf_data(c->g, t->x))[e] = x;
    double wide = 0, narrow = 0, bend = 0, moved = 0, *const *p = c->at;
    for (size_t i = 0; ok && i < c->values; i++) {
        double w = c->w[i], y = c->centre[i];
        double d2 = p[5][i] - p[0][i], d1 = p[4][i] - p[1][i], d0 = p[3][i] - p[2][i];
        double s1 = (p[4][i] - y) - (y - p[1][i]), s0 = (p[3][i] - y) - (y - p[2][i]);
        wide += w * (8 * d1 - d2);
        narrow += w * (8 * d0 - d1);
        bend += w * (s1 - 4 * s0);
        moved += d0 != 0 || d1 != 0 || d2 != 0 ? w * y * w * y : 0;
    }
    wide /= 12 * h;
    narrow /= 6 * h;
    /* For a smooth function s1 = 4 s0 but for O(h^4); at a kink of size J it is 2 s0 = J h. */
    bend = fabs(bend) / h;
    out->value = narrow + (narrow - wide) / 15;
    out->noise = 8 * DBL_EPSILON * sqrt(moved) / h;
    out->doubt = fabs(wide - narrow);
    if (bend > 1e-5 * (fabs(out->value) + t->rms) + out->noise && bend > out->doubt)
        out->doubt = bend;
    return ok;
}

/* The best estimate over several h. 1/512 suits elements whose natural scale is about 1: with the
 * sixth power as its error it leaves nothing, and rounding makes 1e-13 of it. Smaller ones are for
 * strong curvature and kinks nearby, larger ones for values that rounding would drown. Powers of
 * 2, so that x + h is exact mostly. Returns false on an error. */
static bool best_estimate(checker *c, const tensor *t, size_t e, estimate *best, bool *kink)
{
    static const double scale[] = { 1, 1 / 16., 16, 1 / 256., 256 };
    const double bound = c->r->bound;
    best->value = best->doubt = best->noise = NAN;
    *kink = true;
    for (size_t k = 0; k < sizeof scale / sizeof *scale; k++) {
        estimate new;
        if (!estimate_with(c, t, e, scale[k] / 512, &new))
            return false;
        double size = bound * (2 * fabs(new.value) + 1e-3 * t->rms);
        if (!isfinite(new.value) || new.doubt + new.noise >= best->doubt + best->noise)
            continue;
        *best = new;
        *kink = new.doubt > size / 4 + new.noise;
        if (new.doubt + new.noise <= size / 2)
            break;
    }
    if (isnan(best->value))
        *kink = false;          /* not finite anywhere near: that is an error, and no kink */
    return true;
}

static double error_of(const tensor *t, double a, const estimate *n)
{
    double off = fabs(a - n->value);
    if (off <= n->noise)
        return 0;
    double error = off / (fabs(a) + fabs(n->value) + 1e-3 * t->rms);
    return isnan(error) ? (double)INFINITY : error;
}

/* The i-th element of a sample. Every other one has a gradient other than 0, where there is one. */
static size_t pick(checker *c, const tensor *t, size_t k, size_t i, const size_t *picked)
{
    double u;
    ur__random_uniform(ur__mix(ur__mix(0x7069636b, c->o->seed), k), i, 1, UR_F64, &u);
    size_t e = (size_t)(u * (double)t->count), left = t->count;
    if (i % 2)
        while (left-- && t->analytic[e] == 0)
            e = (e + 1) % t->count;
    for (size_t j = 0; j < i; j++)
        if (picked[j] == e) {           /* taken: the next one, compared with all once more */
            e = (e + 1) % t->count;
            j = (size_t)-1;
        }
    return e;
}

static void name_row(const checker *c, const tensor *t, ur_check_row *row)
{
    char own[24];
    snprintf(own, sizeof own, "x%d", t->number);
    const char *name = t->name ? t->name : own;
    if (c->s->op)
        snprintf(row->tensor, sizeof row->tensor, "%d: %s", c->s->which, name);
    else
        snprintf(row->tensor, sizeof row->tensor, "%s", name);
}

static bool check_tensor(checker *c, size_t k, int order)
{
    const tensor *t = &c->x[k];
    size_t limit = c->o->elements > 0 ? (size_t)c->o->elements : 256;
    bool all = t->count <= limit;
    /* a sample has some more in reserve, to take the place of kinks */
    size_t want = all ? t->count : limit, most = all ? want : want + want / 4;
    most = most < t->count ? most : t->count;
    size_t *picked = take(c, most * sizeof *picked);
    ur_check_row *row = picked ? ur__report_row(c->r) : NULL;
    if (!row)
        return false;
    *row = (ur_check_row){ .order = order, .shape = ur_shape_of(t->x), .elements = t->count,
                           .error = -1 };
    name_row(c, t, row);
    for (size_t i = 0; i < most && row->checked < want; i++) {
        size_t e = picked[i] = all ? i : pick(c, t, k, i, picked);
        estimate n;
        bool kink;
        if (!best_estimate(c, t, e, &n, &kink))
            return false;
        row->kinks += kink;
        row->checked += !kink;
        double error = kink ? -1 : error_of(t, t->analytic[e], &n);
        if (error > row->error) {
            row->error = error;
            row->at = e;
            row->analytic = t->analytic[e];
            row->numeric = n.value;
        }
    }
    row->error = row->error < 0 ? 0 : row->error;
    return true;
}

/* ---------------------------------------------------------------------------------- the subject */

static bool same_tensors(checker *c, const tensor *before, size_t n, const double *analytic)
{
    bool same = c->n_x == n;
    for (size_t k = 0; same && k < n; k++)
        same = c->x[k].count == before[k].count;
    if (!same)
        return ur__report_error(c->r, "the function recorded something else the second time");
    for (size_t k = 0; k < n; k++) {
        tensor *t = &c->x[k];
        double squares = 0;
        t->analytic = analytic;
        for (size_t i = 0; i < t->count; i++)
            squares += analytic[i] * analytic[i];
        t->rms = t->count ? sqrt(squares / (double)t->count) : 0;
        analytic += t->count;
    }
    return true;
}

static bool check_order(checker *c, int order)
{
    double *analytic;
    if (!make_tape(c, order, &analytic))
        return false;
    const tensor *before = c->x;
    size_t n = c->n_x;
    if (!make_tape(c, order - 1, &c->centre) || !same_tensors(c, before, n, analytic))
        return false;
    for (int k = 0; k < RUNS; k++)
        if (!(c->at[k] = take(c, c->values * sizeof **c->at)))
            return false;
    for (size_t k = 0; k < n; k++)
        if (!check_tensor(c, k, order))
            return false;
    return true;
}

bool ur__check_subject(const ur__subject *s, int order, ur_report *r)
{
    checker c = { .s = s, .o = s->options, .r = r, .g = ur_graph_new(UR_F64, UR_TRAIN) };
    if (!c.g)
        return ur__report_error(r, "out of memory");
    c.g->copies = true;
    bool ok = check_order(&c, order);
    ur__draw_end(&c.d);
    ur__bump_free(&c.memory);
    ur_graph_free(c.g);
    return ok;
}
