/* check_parts.h: what the files of the gradient check share.
 *
 *     check.c          the check of one subject: tapes, projections, elements
 *     check_numeric.c  the numeric derivative of one element
 *     check_draw.c     drawing operands; samples of ops
 *     check_report.c   the public functions; rows, verdicts, printing
 */
#ifndef UR_CHECK_PARTS_H
#define UR_CHECK_PARTS_H

#include "graph/check.h"
#include "graph/internal.h"

typedef struct ur__drawn {
    ur_node x;
    const char *name;           /* NULL: named by its number */
} ur__drawn;

/* The leaves that a subject asked for while it was recorded; the n-th drawing has the same values
 * every time. */
struct ur_draw {
    ur_graph *g;
    uint64_t seed;
    int apart;                  /* drawings so far whose elements are apart */
    ur__drawn *drawn;
    size_t n, cap;
};
void ur__draw_begin(ur_draw *d, ur_graph *g, uint64_t seed);    /* d zeroed, or used before */
void ur__draw_end(ur_draw *d);
/* Draws an input of a description. */
ur_node ur__draw_described(ur_draw *d, const ur_check_input *in);
/* The which-th sample of an op, its own or a map's; nil after the last. */
ur_node ur__draw_sample(ur_draw *d, const ur_op *op, int which);

/* What is checked. It is recorded anew for every tape of the check. */
typedef struct ur__subject ur__subject;
struct ur__subject {
    /* Sets out[0 .. n_out); false when there is nothing to check (no such sample). */
    bool (*record)(const ur__subject *s, ur_draw *d, ur_node out[]);
    const ur_check_options *options;
    ur_check_function *f;       /* of a function */
    const ur_op *op;            /* of an op's sample */
    int which, n_out;
};

/* Checks the first orders, 1 or 2 of them; adds rows to the report. False when the subject has
 * nothing to check, or on an error, which is then in the report. */
bool ur__check_subject(const ur__subject *s, int orders, ur_report *r);

/* ------------------------------------------------------------------------------ while it runs */

enum { UR__CHECK_RUNS = 6 };

/* Something that is perturbed. */
typedef struct ur__tensor {
    ur_node x;
    const char *name;           /* NULL: named by its number */
    int number;
    size_t count;
    const double *analytic;     /* gradient */
    double rms;                 /* of the analytic gradient, where it is finite */
} ur__tensor;

typedef struct ur__checker {
    const ur__subject *s;
    const ur_check_options *o;
    ur_report *r;
    ur_graph *g;
    ur_draw d;
    ur__bump memory;
    ur__tensor *x;
    size_t n_x;
    ur_node *y;                 /* outputs of the tape */
    size_t n_y, values;         /* values: elements of all of them */
    double *w;                  /* weights of the values */
    double *centre;             /* values of the outputs, nothing perturbed */
    double *at[UR__CHECK_RUNS]; /* and in the runs of one element */
    double size, before;        /* root of the sum of (w y)^2; the same of the order before, or 0 */
} ur__checker;

typedef struct ur__estimate {
    double value;               /* the numeric derivative */
    double doubt;               /* how far those of h and h/2 are apart */
    double noise;               /* what rounding makes of it */
} ur__estimate;

/* The best estimate for element e. False on an error, which is then in the report. */
bool ur__check_estimate(ur__checker *c, const ur__tensor *t, size_t e, ur__estimate *best,
                        bool *kink);
/* The error of check.h; infinite for what is not finite. drowned: it is over the bound but within
 * rounding, and counts as 0. */
double ur__check_error(const ur__checker *c, const ur__tensor *t, double a, const ur__estimate *n,
                       bool *drowned);
/* Reads all outputs. */
bool ur__check_read(ur__checker *c, double *to);

/* -------------------------------------------------------------------------------- the report */

/* A new row, or NULL without memory; the report says so then. */
ur_check_row *ur__report_row(ur_report *r);
/* The status UR_CHECK_ERROR with a text; returns false. The first one stays. */
bool ur__report_error(ur_report *r, const char *format, ...) UR__PRINTF(2, 3);

#endif
