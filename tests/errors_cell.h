/* errors_cell.h: a user's cell, f = sigmoid(x Wf), whose matrix has the rows of another one. The
 * compiler is told that it stands in a file cell.c with the mistake in line 41. */
#ifndef UNROLL_TESTS_ERRORS_CELL_H
#define UNROLL_TESTS_ERRORS_CELL_H

#include "tests/errors.h"

typedef struct slip {
    ur_cell cell;
    ur_node Wf;
} slip;

static ur_node slip_step(const ur_cell *cell, ur_node x, ur_node s[]);

static ur_cell *slip_new(const char *name)
{
    slip *p = ur_cell_new(ps, name, sizeof *p, slip_step, 7, 16, 1, (int[]){ 16 });
    p->Wf = param(ur_namef(ps, "%s.Wf", name), 3, 16);
    return &p->cell;
}

static ur_node slip_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const slip *p = (const slip *)cell;
#line 41 "cell.c"
    return s[0] = ur_sigmoid(ur_matmul(x, p->Wf));
}

#endif
