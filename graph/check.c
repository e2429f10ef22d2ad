/* The check of one subject: analytic gradients from a tape with ur_grad, numeric ones by running
 * another tape, without that gradient, on perturbed copies of inputs and parameters.
 *
 *     P = sum_i <w_i, y_i>
 *
 * The projection on uneven weights guards against faults that cancel in a plain sum; it is made by
 * the seeds of ur_grad on one side and on the values read on the other. See check.h for the measure
 * of the error, check_numeric.c for the differences. */
#include <math.h>
#include "graph/check_parts.h"

static void *take(ur__checker *c, size_t bytes)
{
    void *p = ur__bump_alloc(&c->memory, bytes + 1);
    if (!p)
        ur__report_error(c->r, "out of memory");
    return p;
}

static bool failed(ur__checker *c)
{
    return ur__report_error(c->r, "%s", ur_error(c->g) ? ur_error(c->g) : "unknown");
}

/* ---------------------------------------------------------------------------------------- tapes */

/* The outputs that can be differentiated. */
static bool find_outputs(ur__checker *c, ur_node out[], int n)
{
    c->y = out;
    c->n_y = 0;
    for (int i = 0; i < n; i++) {
        ur_node y = ur_is_nil(out[i]) ? out[i] : ur_use_at(NULL, c->g, out[i]);
        if (ur_error(c->g))
            return failed(c);
        if (ur_is_nil(y) || ur_graph_of(y) != c->g)
            return ur__report_error(c->r, "output %d was not set to a node of the graph", i);
        if (ur_type_of(y) != UR_I32)
            c->y[c->n_y++] = y;
    }
    return c->n_y > 0 || ur__report_error(c->r, "no output can be differentiated: all are int32");
}

/* What was drawn, and what was imported from stores. */
static bool find_tensors(ur__checker *c)
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
            c->x[c->n_x++] = (ur__tensor){ .x = d->x, .name = d->name, .number = (int)k };
    }
    for (size_t id = 0; id < t->n; id++) {
        const ur__node *n = &t->node[id];
        if (n->op != &ur__op_import)
            continue;
        const int64_t *a = t->attr + n->attr;
        c->x[c->n_x++] = (ur__tensor){ .x = ur__node_of(c->g, (uint32_t)id),
                                       .name = c->g->slot[a[0]].store->param[a[1]].name };
    }
    for (size_t k = 0; k < c->n_x; k++)
        c->x[k].count = ur_count(c->x[k].x);
    return c->n_x > 0 ||
           ur__report_error(c->r, "nothing to check: no input that is not int32, no parameter");
}

/* Weights of the outputs, between 0.5 and 1.5 in size, of either sign. */
static bool draw_weights(ur__checker *c, int level)
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
static bool differentiate(ur__checker *c, int level)
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

bool ur__check_read(ur__checker *c, double *to)
{
    for (size_t i = 0; i < c->n_y; i++) {
        size_t n = ur_count(c->y[i]);
        if (n && !ur_read(c->y[i], to, n))
            return failed(c);
        to += n;
    }
    return true;
}

/* How large the terms of P are: the scale of their rounding. */
static double size_of(const ur__checker *c, const double *values)
{
    double sum = 0;
    for (size_t i = 0; i < c->values; i++)
        if (isfinite(values[i]))
            sum += c->w[i] * values[i] * c->w[i] * values[i];
    return sqrt(sum);
}

/* Records the subject and `times` gradients on top of each other, runs, and reads the outputs. */
static bool make_tape(ur__checker *c, int times, double **values)
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
    return (*values = take(c, c->values * sizeof **values)) && ur__check_read(c, *values);
}

/* -------------------------------------------------------------------------------------- tensors */

/* The i-th element of a sample. Every other one has a gradient other than 0, where there is one. */
static size_t pick(ur__checker *c, const ur__tensor *t, size_t k, size_t i, const size_t *picked)
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

static void name_row(const ur__checker *c, const ur__tensor *t, ur_check_row *row)
{
    char own[24];
    snprintf(own, sizeof own, "x%d", t->number);
    const char *name = t->name ? t->name : own;
    if (c->s->op)
        snprintf(row->tensor, sizeof row->tensor, "%d: %s", c->s->which, name);
    else
        snprintf(row->tensor, sizeof row->tensor, "%s", name);
}

static bool check_tensor(ur__checker *c, size_t k, int order)
{
    const ur__tensor *t = &c->x[k];
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
        ur__estimate n;
        bool kink;
        if (!ur__check_estimate(c, t, e, &n, &kink))
            return false;
        row->kinks += kink;
        row->checked += !kink;
        bool drowned = false;
        double error = kink ? -1 : ur__check_error(c, t, t->analytic[e], &n, &drowned);
        row->drowned += drowned;
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

static bool same_tensors(ur__checker *c, const ur__tensor *before, size_t n, const double *analytic)
{
    bool same = c->n_x == n;
    for (size_t k = 0; same && k < n; k++)
        same = c->x[k].count == before[k].count;
    if (!same)
        return ur__report_error(c->r, "the function recorded something else the second time");
    for (size_t k = 0; k < n; k++) {
        ur__tensor *t = &c->x[k];
        double squares = 0;
        t->analytic = analytic;
        for (size_t i = 0; i < t->count; i++)
            squares += isfinite(analytic[i]) ? analytic[i] * analytic[i] : 0;
        t->rms = t->count ? sqrt(squares / (double)t->count) : 0;
        analytic += t->count;
    }
    return true;
}

static bool check_order(ur__checker *c, int order)
{
    double *analytic;
    if (!make_tape(c, order, &analytic))
        return false;
    const ur__tensor *before = c->x;
    size_t n = c->n_x;
    if (!make_tape(c, order - 1, &c->centre) || !same_tensors(c, before, n, analytic))
        return false;
    c->size = size_of(c, c->centre);
    for (int k = 0; k < UR__CHECK_RUNS; k++)
        if (!(c->at[k] = take(c, c->values * sizeof **c->at)))
            return false;
    for (size_t k = 0; k < n; k++)
        if (!check_tensor(c, k, order))
            return false;
    c->before = c->size;
    return true;
}

bool ur__check_subject(const ur__subject *s, int orders, ur_report *r)
{
    ur__checker c = { .s = s, .o = s->options, .r = r, .g = ur_graph_new(UR_F64, UR_TRAIN) };
    if (!c.g)
        return ur__report_error(r, "out of memory");
    c.g->copies = true;
    bool ok = true;
    for (int order = 1; ok && order <= orders; order++)
        ok = check_order(&c, order);
    ur__draw_end(&c.d);
    ur__bump_free(&c.memory);
    ur_graph_free(c.g);
    return ok;
}
