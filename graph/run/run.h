/* run.h: what the files that execute a plan share. */
#ifndef UR_RUN_H
#define UR_RUN_H

#include "graph/plan/plan.h"

enum { UR__TILE = 512 };                /* elements of a tile: in the first cache with a dozen more */

/* One execution: bases of all regions, kernels, stamps of the stores. */
typedef struct ur__run {
    ur_graph *g;
    const ur__plan *p;
    char **base;                        /* by region */
    const ur__kernel_set *f32, *f64;
    char *scratch;                      /* behind the arena */
    uint64_t key;                       /* of random operations */
    size_t step;                        /* the one that runs, for errors */
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

size_t ur__program_scratch(const ur__program *p);
void ur__run_program(const ur__run *r, const ur__programmed *step);
void ur__run_contraction(const ur__run *r, const ur__contraction *c);
void ur__run_move(const ur__run *r, const ur__move *m);
void ur__run_scatter(ur__run *r, const ur__scatter *s);
void ur__run_call(ur__run *r, const ur__call *c);

void ur__run_step(ur__run *r, const ur__step *s);
bool ur__set_bases(ur_graph *g, const ur__plan *p, ur__run *r);

/* Whether losses, gradients and states are finite; if not, fails and names the culprit. */
bool ur__check_finite(ur__run *r);

/* Bytes of scratch that a plan's steps need at most. */
size_t ur__scratch_needed(const ur__plan *p);

#endif
