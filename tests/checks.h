/* checks.h: what the tests of the gradient checker share. */
#ifndef UNROLL_TESTS_CHECKS_H
#define UNROLL_TESTS_CHECKS_H

#include "tests/test.h"
#include "unroll/check.h"
#include "unroll/op.h"
#include "unroll/ops.h"

/* Prints a report that was expected to be another one. */
static inline void expect(ur_report *r, ur_check_status status)
{
    if (!CHECK_INT(r->status, status))
        ur_report_print(r, stdout);
}

static inline const ur_check_row *row_of(const ur_report *r, const char *tensor, int order)
{
    for (int k = 0; k < r->n_rows; k++)
        if (strcmp(r->row[k].tensor, tensor) == 0 && r->row[k].order == order)
            return &r->row[k];
    return NULL;
}

typedef struct net {
    ur_node W, b;
} net;

static inline void dense(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const net *n = ctx;
    (void)g;
    out[0] = ur_tanh(ur_affine(in[0], n->W, n->b));
}

static inline net make_net(ur_params *ps, int I, int H)
{
    return (net){ ur_param(ps, "W", ur_xavier(), I, H),
                  ur_param(ps, "b", ur_uniform_between(-1, 1), H) };
}

static inline void cubic(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    out[0] = ur_mul(in[0], ur_square(in[0]));
}

#endif
