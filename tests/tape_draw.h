/* tape_draw.h: what drawing a line (tape_forms.c) and a tape (tape_draw.c) share.
 *
 * Each line is recorded on a graph as it is drawn, which tells its shape and refuses what does not
 * fit; what was refused is not on the tape. The functions below give a line's number, or -1. */
#ifndef UNROLL_TESTS_TAPE_DRAW_H
#define UNROLL_TESTS_TAPE_DRAW_H

#include "graph/internal.h"
#include "tests/tape.h"

enum { REMARKED = 24, ROOM_SMALL = 700, ROOM_WIDE = 30000, ROOM_APART = 4000 };

typedef struct drawing {
    tape *t;
    uint64_t state;
    tape_run r;
    ur_node v[TAPE_LINES];
    bool wide, tall, empty;                 /* large sizes; large batches; sizes of 0 */
    int keys, states;
    int remarked[REMARKED], n_remarked;     /* inner values of cells: for gradients */
} drawing;

int draw_pick(drawing *d, int n);           /* in [0, n); 0 when n < 1 */
int draw_size(drawing *d);
int draw_any(drawing *d);                   /* an earlier value */
int draw_form(drawing *d, int form);        /* with operands as the table says */

/* A line with the operands and integers given: refused where one of them is -1. */
int draw_put(drawing *d, tape_line l);
int draw_one(drawing *d, int form, int x, int a, int b, int c);
int draw_two(drawing *d, int form, int x, int y, int a, int b);
int draw_leaf(drawing *d, int how, int below, int rank, const int *dim);
int draw_weight(drawing *d, int rank, const int *dim);

static inline const ur_shape *draw_shape(const drawing *d, int line)
{
    return &d->t->line[line].shape;
}

#endif
