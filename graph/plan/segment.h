/* segment.h: what the files that plan within a budget share.
 *
 * They work on the steps as emitted, in an arena in which nothing shares memory with anything else
 * (offsets.c). So a place in it is one value, who writes and reads it is plain, and a step done
 * again has the bits that it had. In the order of what happens:
 *
 *     touch.c         the places that a step reads and writes
 *     blocks.c        steps over the rows of whole sequences, cut into blocks of rows
 *     objects.c       the pieces of memory that steps touch
 *     order.c         what depends on what, the order of steps
 *     segment.c       segments, and what of them is computed again
 *     settle.c        lives and places of objects; the steps as they run */
#ifndef UR_SEGMENT_H
#define UR_SEGMENT_H

#include "graph/plan/band.h"

enum { UR__READS = 1, UR__WRITES = 2 };

/* A place that a step touches; `at` is what says so in the step, to be changed when it moves. */
typedef struct ur__touch {
    ur__loc *at;
    uint64_t begin, end;                /* bytes of the region */
    int how;
} ur__touch;

/* The places, or as many as there is room for; how many there are. */
size_t ur__touches(const ur_graph *g, const ur__step *s, ur__touch *t, size_t room);

/* The same by cells: pieces of memory that every step touches as a whole or not at all. */
typedef struct ur__spot {
    uint32_t first, last;               /* cells */
    int how;
} ur__spot;

/* Neighbouring cells that some step touches together. */
typedef struct ur__object {
    uint32_t first, last;               /* cells */
    uint32_t made, done;                /* positions of the first and the last of its writers */
    bool arena, forward;                /* forward: only such steps write it */
} ur__object;

typedef struct ur__segmenting {
    ur__work *w;
    size_t budget;
    uint32_t *cut, n_cuts;              /* where blocks of rows begin, and their end */
    /* steps, cut; then one for each state that is committed */
    ur__step *step;
    size_t n_packs, n_steps, n;         /* n_packs: those before that pack */
    uint32_t *tall;                     /* 1 + number of the step that this is a block of, or 0 */
    bool *forward;
    size_t n_tall;
    ur__touch *touch;                   /* room for those of any step */
    size_t touch_room;
    /* order.c */
    uint32_t *spots;                    /* those of step i: spot[spots[i] .. spots[i + 1]) */
    ur__spot *spot;
    uint64_t *edge;                     /* of cells: region and offset */
    uint32_t n_cells, *object_of;
    ur__object *object;
    uint32_t n_objects;
    uint32_t *befores, *before;         /* steps that step i needs done, likewise */
    uint32_t *order;                    /* steps */
    bool *eager;                        /* done as soon as they can be */
} ur__segmenting;

static inline uint64_t ur__edge(int region, uint64_t offset)
{
    return (uint64_t)region << 48 | offset;
}
/* The places that step i touches, commits included. */
size_t ur__touches_of(const ur__segmenting *s, ur__step *step, size_t i, ur__touch *t, size_t room);

/* Memory of an object, or of the part of it from `begin` to `end`: the object's own, or that of a
 * copy or of what is computed again. */
typedef struct ur__instance {
    uint64_t begin, end;                /* as the steps have it */
    uint64_t at;                        /* in the arena */
    uint32_t born, dies;                /* entries */
} ur__instance;

/* What runs, in the end: a step; a step once more; the copy of what the next segments need of an
 * object. */
typedef struct ur__entry {
    enum { UR__ONCE, UR__AGAIN, UR__SAVED } what;
    uint32_t index;                     /* of the step or the object */
    uint32_t segment;
    uint32_t spots;                     /* the instances of its spots, from here on */
} ur__entry;

/* A choice of segments. */
typedef struct ur__choice {
    uint32_t n_segments;
    uint32_t *segment;                  /* of positions */
    uint32_t *begin;                    /* position at which each begins, and the end */
    /* by object */
    bool *dropped;                      /* computed again if it is needed after its segment */
    bool *needed;                       /* it is */
    uint32_t *low, *high;               /* cells of it that are saved for later segments; or NONE */
    uint32_t *saved, *again;            /* 1 + their instances */
    uint32_t *again_in;                 /* segment of `again` */
    bool *repeated;                     /* by step */
    bool *ran_again;                    /* by segment */
    ur__entry *entry;
    uint32_t n_entries;
    ur__instance *instance;             /* first one for each object */
    uint32_t n_instances;
    uint32_t *place, n_places;          /* instances of the spots of entries */
    size_t bytes;                       /* of the arena */
} ur__choice;
#define UR__NONE UINT32_MAX

/* Whether a place is one of those that cells are made of. */
bool ur__tracked(const ur__segmenting *s, const ur__touch *t);

bool ur__cut_blocks(ur__segmenting *s);
bool ur__find_objects(ur__segmenting *s);
bool ur__find_order(ur__segmenting *s);
bool ur__lay_out(ur__segmenting *s, ur__choice *c);
bool ur__settle(ur__segmenting *s, ur__choice *c);

#endif
