/* The public side of the gradient check: functions and ops as subjects; the report, its verdict and
 * its table. */
#include <math.h>
#include "graph/check_parts.h"

/* --------------------------------------------------------------------------------------- report */

ur_check_row *ur__report_row(ur_report *r)
{
    size_t n = (size_t)r->n_rows;
    ur_check_row *row = ur__realloc(r->row, n * sizeof *row, (n + 1) * sizeof *row);
    if (!row) {
        ur__report_error(r, "out of memory");
        return NULL;
    }
    r->row = row;
    return &row[r->n_rows++];
}

bool ur__report_error(ur_report *r, const char *format, ...)
{
    if (r->status == UR_CHECK_ERROR)
        return false;
    va_list args;
    va_start(args, format);
    vsnprintf(r->why, sizeof r->why, format, args);
    va_end(args);
    r->status = UR_CHECK_ERROR;
    return false;
}

/* The index of the worst element: "[3,1]". */
static const char *index_text(const ur_check_row *row, char out[100])
{
    int index[UR_MAX_RANK] = { 0 };
    size_t rest = row->at;
    for (int k = row->shape.rank; k-- > 0 && row->elements;) {
        index[k] = (int)(rest % (size_t)row->shape.dim[k]);
        rest /= (size_t)row->shape.dim[k];
    }
    size_t n = 0;
    out[0] = 0;
    for (int k = 0; k < row->shape.rank; k++)
        n += (size_t)snprintf(out + n, 100 - n, "%c%d", k ? ',' : '[', index[k]);
    if (n)
        snprintf(out + n, 100 - n, "]");
    return out;
}

/* Counts the rows and gives the verdict, unless it is an error already. */
static void judge(ur_report *r)
{
    size_t kinky = 0;
    r->worst = -1;
    for (int k = 0; k < r->n_rows; k++) {
        const ur_check_row *row = &r->row[k];
        r->checked += row->checked;
        r->kinks += row->kinks;
        if (r->worst < 0 || row->error > r->row[r->worst].error)
            r->worst = k;
        if (row->kinks > r->row[kinky].kinks)
            kinky = (size_t)k;
    }
    if (r->status == UR_CHECK_ERROR)
        return;
    const ur_check_row *row = r->worst < 0 ? NULL : &r->row[r->worst];
    char text[100];
    r->status = UR_CHECK_PASSED;
    if (row && row->error > r->bound) {
        r->status = UR_CHECK_WRONG;
        snprintf(r->why, sizeof r->why,
                 "%s%s: the %s derivative is %.12g but differences of values give %.12g: error "
                 "%.2g, the bound is %.2g", row->tensor, index_text(row, text),
                 row->order == 1 ? "first" : "second", row->analytic, row->numeric, row->error,
                 r->bound);
    } else if (100 * r->kinks > r->checked + r->kinks) {
        r->status = UR_CHECK_KINKS;
        snprintf(r->why, sizeof r->why, "%zu of %zu elements lie at kinks, most of them in %s",
                 r->kinks, r->checked + r->kinks, r->row[kinky].tensor);
    }
}

void ur_report_print(const ur_report *r, FILE *to)
{
    int width = 6;
    for (int k = 0; k < r->n_rows; k++) {
        int n = (int)strlen(r->row[k].tensor);
        width = n > width ? n : width;
    }
    if (r->n_rows)
        fprintf(to, "%-*s order elements checked kinks drowned    error  worst at %16s %16s\n",
                width, "tensor", "analytic", "numeric");
    for (int k = 0; k < r->n_rows; k++) {
        const ur_check_row *row = &r->row[k];
        char text[100];
        fprintf(to, "%-*s %5d %8zu %7zu %5zu %7zu %8.1e  %-8s %16.9g %16.9g\n", width,
                row->tensor, row->order, row->elements, row->checked, row->kinks, row->drowned,
                row->error, index_text(row, text), row->analytic, row->numeric);
    }
    static const char *const verdict[] = { "nothing checked", "passed", "WRONG", "KINKS", "ERROR" };
    fprintf(to, "%s", verdict[r->status]);
    if (r->status == UR_CHECK_PASSED)
        fprintf(to, ": %zu elements, %zu kinks, worst error %.1e, bound %.0e\n", r->checked,
                r->kinks, r->worst < 0 ? 0. : r->row[r->worst].error, r->bound);
    else
        fprintf(to, ": %s\n", r->why);
}

void ur_report_free(ur_report *r)
{
    ur__realloc(r->row, (size_t)r->n_rows * sizeof *r->row, 0);
    r->row = NULL;
    r->n_rows = 0;
    r->worst = -1;
}

/* ------------------------------------------------------------------------------------- subjects */

static bool record_function(const ur__subject *s, ur_draw *d, ur_node out[])
{
    const ur_check_options *o = s->options;
    ur_node in[UR_CHECK_INPUTS] = { { 0 } };
    for (int k = 0; k < UR_CHECK_INPUTS && o->in[k].name; k++)
        in[k] = ur__draw_described(d, &o->in[k]);
    if (!d->g->owner.failed)
        s->f(d->g, in, out, o->ctx);
    return true;
}

ur_report ur_check_with(ur_check_function *f, const ur_check_options *options)
{
    ur_report r = { .bound = options->bound > 0 ? options->bound : 1e-7, .worst = -1 };
    ur__subject s = { .record = record_function, .options = options, .f = f,
                      .n_out = options->outputs > 0 ? options->outputs : 1 };
    ur__check_subject(&s, options->order > 1 ? 2 : 1, &r);
    judge(&r);
    return r;
}

static bool record_sample(const ur__subject *s, ur_draw *d, ur_node out[])
{
    out[0] = ur__draw_sample(d, s->op, s->which);
    return d->g->owner.failed || !ur_is_nil(out[0]);
}

ur_report ur_check_op(const ur_op *op, int order)
{
    ur_report r = { .bound = 1e-7, .worst = -1 };
    const ur_check_options options = { .outputs = 1 };
    bool flat = op->flags & (UR_FLAT | UR_INT_OUT);
    if (flat && (op->flags & (UR_RANDOM | UR_INT_OUT) || op->kind != UR_MAP))
        return r.status = UR_CHECK_PASSED, r;
    ur__subject s = { .record = record_sample, .options = &options, .op = op, .n_out = 1 };
    while (ur__check_subject(&s, order > 1 && !flat ? 2 : 1, &r))
        s.which++;
    if (s.which == 0)
        ur__report_error(&r, "%s has no samples", op->name);
    judge(&r);
    return r;
}
