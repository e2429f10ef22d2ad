/* fuse.h: what fusion finds of each node, for the rewrites that go by it (fuse.c, recompute.c). */
#ifndef UR_FUSE_H
#define UR_FUSE_H

#include "graph/plan/plan.h"

/* Of a node, what those that read it ask about, in one place. */
typedef struct ur__seen {
    int32_t level;                      /* below 0 of what is known before the run */
    uint32_t kin;                       /* of elementwise nodes: shape and type; 0 others */
    int32_t latest;                     /* level at which it is read, if elementwise or a leaf */
    uint32_t reader;                    /* 1 + the last elementwise node that read it outside its
                                           cluster */
} ur__seen;

#define UR__LEAF_KIN UINT32_MAX         /* the kin of leaves */

typedef struct ur__fusion {
    ur__work *w;
    ur__seen *seen;
    uint32_t *map, n_maps;              /* the elementwise nodes */
    uint32_t *read;                     /* room for what a node reads */
} ur__fusion;

/* Says which nodes are not stored although another level reads them. */
void ur__recompute(const ur__fusion *f);

#endif
