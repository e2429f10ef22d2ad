/* band.h: steps by rows: what they touch, and how they are cut. For bands, and for plans within a
 * budget (segment.c). */
#ifndef UR_BAND_H
#define UR_BAND_H

#include "graph/plan/plan.h"

enum { UR__TOUCHED = 24 };              /* values of a step */

/* What a step reads or writes: row by row, or (row 0) as a whole. */
typedef struct ur__touched {
    ur__loc at;
    size_t bytes, row;                  /* of all; from one row to the next */
    bool write;
} ur__touched;

typedef struct ur__member {
    const ur__step *step;
    bool sums;                          /* a product that sums over the rows */
    int n;
    ur__touched value[UR__TOUCHED];
} ur__member;

/* It has no values yet; they are not cleared, since there is one of these for every step. */
static inline void ur__begin_member(ur__member *m, const ur__step *s)
{
    m->step = s;
    m->sums = false;
    m->n = 0;
}

/* Whether a step can be cut by rows, *rows of them (0: as many as the result of a product has), and
 * what it touches then. A gang can where its products sum over the rows, if it is asked for. */
bool ur__by_rows(const ur_graph *g, ur__member *m, const ur__step *s, size_t *rows, bool gangs);
/* Appends that part of a step which has so many rows, of `all`, from `row` on. */
bool ur__cut_rows(ur__work *w, const ur__member *m, size_t all, size_t row, size_t rows);

bool ur__note_value(ur__member *m, ur__loc at, size_t bytes, size_t row, bool write);
bool ur__append_step(ur__work *w, const ur__step *like, void *body);
/* Pieces of a call; 0 if they are no rows. */
size_t ur__call_rows(const ur_graph *g, const ur__routine *f);
/* Whether such a piece reads its row alone of an operand. Sizes do not tell: there may be as many
 * class weights as labels. */
static inline bool ur__by_row(const ur_op *op, int operand)
{
    return operand < 32 && op->by_rows >> operand & 1;
}

#endif
