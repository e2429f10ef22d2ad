/* check_parts.h: what the files of the gradient check share.
 *
 *     check.c          the check of one subject: tapes, projections, differences
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

/* Checks one order; adds rows to the report. False when the subject has nothing to check, or on an
 * error, which is then in the report. */
bool ur__check_subject(const ur__subject *s, int order, ur_report *r);

/* A new row, or NULL without memory; the report says so then. */
ur_check_row *ur__report_row(ur_report *r);
/* The status UR_CHECK_ERROR with a text; returns false. The first one stays. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
bool ur__report_error(ur_report *r, const char *format, ...);

#endif
