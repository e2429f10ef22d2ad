/* run.h: what the files that execute a plan share. */
#ifndef UR_RUN_H
#define UR_RUN_H

#include "graph/plan/plan.h"
#include "graph/run/pool.h"

enum { UR__TILE = 512 };                /* elements of a tile: the first cache holds a dozen */

/* One execution: bases of all regions, kernels, stamps of the stores. Each part of a step has a
 * copy with scratch and failures of its own. */
typedef struct ur__run {
    ur_graph *g;
    const ur__plan *p;
    char **base;                        /* by region */
    const ur__kernel_set *f32, *f64;
    char *scratch;                      /* behind the arena */
    uint64_t key;                       /* of random operations */
    size_t step;                        /* the one that runs, for errors */
    int threads;                        /* parts that a step may have */
    struct ur__run *lane;               /* of each part; the first is the run itself, not in here */
    size_t fault_step;                  /* the first failure of the part: its step and text */
    char fault[300];
} ur__run;

static inline char *ur__ptr(const ur__run *r, ur__loc l)
{
    return r->base[l.region] + l.offset;
}
static inline const ur__kernel_set *ur__set(const ur__run *r, int type)
{
    return type == UR_F64 ? r->f64 : r->f32;
}
/* Whether a step adds to what is there. */
static inline bool ur__adds(const ur__run *r, int write, uint32_t slot)
{
    return write == UR__ADD || (write == UR__BY_STAMP && r->g->slot[slot].store->ready);
}

/* The share of a part in a step: from one fraction of its work to another. `of` is how many parts
 * have one. Neighbours have the same fraction for the border between them. */
typedef struct ur__piece {
    double from, to;
    int of;
} ur__piece;

/* The units [*begin, *end) of n that a piece has. What is one unit belongs to one part. */
static inline void ur__units(size_t n, const ur__piece *q, size_t *begin, size_t *end)
{
    *begin = (size_t)((double)n * q->from + 0.5);
    *end = (size_t)((double)n * q->to + 0.5);
}

/* A piece of each kind of step. Pieces write apart from each other, and where they are cut changes
 * no bit. */
void ur__run_program(const ur__run *r, const ur__programmed *step, const ur__piece *q);
void ur__run_contraction(const ur__run *r, const ur__contraction *c, bool turned,
                         const ur__piece *q);
void ur__run_move(const ur__run *r, const ur__move *m, const ur__piece *q);
void ur__run_scatter(ur__run *r, const ur__scatter *s, const ur__piece *q);
void ur__run_call(ur__run *r, const ur__call *c, const ur__piece *q);

/* Nanoseconds of work that a part has at least; tests make it small, so that everything is cut. */
extern double ur__part_work;

/* panels.c: whether a panel is that of the values as they are; a piece of it, if not. */
bool ur__panel_fresh(const ur_graph *g, const ur__panel *p);
void ur__renew_panel(ur_graph *g, const ur__panel *p, const ur__piece *q);

/* ahead.c: says of products which program follows soon; asks for a piece of its operands. */
void ur__mark_ahead(ur__plan *p);
void ur__fetch_ahead(const ur__run *r, const ur__programmed *next, const ur__piece *q);

/* turns.c: says which products are walked from the other end, after phases are known. */
void ur__mark_turns(ur__plan *p);

/* phases.c: says of each step how long it takes and, if asked, which ones may run side by side;
 * returns how many join others. */
size_t ur__find_phases(const ur_graph *g, ur__plan *p, bool side_by_side);

size_t ur__program_scratch(const ur__program *p);
/* Runs the phase that begins at r->step; returns the first step after it. */
size_t ur__run_phase(ur__run *r);
bool ur__set_bases(ur_graph *g, const ur__plan *p, ur__run *r);

/* Index spaces of outer dimensions: the index of a number, the next index (false after the last),
 * the offset of an index. */
static inline void ur__index(int rank, const ptrdiff_t *dim, size_t number, ptrdiff_t *index)
{
    for (int d = rank; d-- > 0; number /= (size_t)dim[d])
        index[d] = (ptrdiff_t)(number % (size_t)dim[d]);
}
static inline bool ur__advance(int rank, const ptrdiff_t *dim, ptrdiff_t *index)
{
    for (int d = rank; d-- > 0;) {
        if (++index[d] < dim[d])
            return true;
        index[d] = 0;
    }
    return false;
}
static inline ptrdiff_t ur__dot(int rank, const ptrdiff_t *index, const ptrdiff_t *step)
{
    ptrdiff_t n = 0;
    for (int d = 0; d < rank; d++)
        n += index[d] * step[d];
    return n;
}

/* Whether losses, gradients and states are finite; if not, fails and names the culprit. */
bool ur__check_finite(ur__run *r);

/* Bytes of scratch that a plan's steps need at most. */
size_t ur__scratch_needed(const ur__plan *p);

#endif
