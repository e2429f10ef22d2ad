/* batch.h: what the two files of batching share. */
#ifndef UR_BATCH_H
#define UR_BATCH_H

#include "graph/plan/rewrite.h"

typedef struct ur__group {
    uint32_t first, n, begin;           /* a member; how many; their place in the list */
    uint32_t node;                      /* 1 + the planned node that computes them all */
    uint64_t hash;                      /* of its key, some words in the list of keys */
    size_t key, n_key, n_attr;
} ur__group;

/* Results of one shape's rows laid end to end. */
typedef struct ur__pool {
    uint32_t shape, node;               /* of a member; the planned node, 0 none yet */
    uint32_t rows;
} ur__pool;

typedef struct ur__batching {
    ur__expansion *e;
    const ur__tape *t;
    uint32_t n;                         /* recorded nodes that take part: those before a request */
    uint32_t *depth, deepest;
    uint64_t *like;                     /* a word for a node as an operand (batch.c) */
    uint32_t *gate;                     /* tells nodes of one place apart (batch.c) */
    uint32_t *joined;                   /* 1 + the last concatenation that begins with a node */
    uint8_t *apart;                     /* its gradient is asked for, or it comes from such a one:
                                           its rows among others would make those depend on it */
    uint32_t *group_of;                 /* 1 + group, or 0 */
    uint32_t *index;                    /* among the members of its group */
    uint32_t *member;                   /* of all groups, in order of the tape */
    ur__group *groups;
    size_t n_groups, cap;
    uint64_t *keys;                     /* of all groups, end to end */
    size_t n_keys, key_cap;
    uint32_t *table;                    /* 1 + group by hash */
    size_t table_cap;
    ur__pool *pools;
    size_t n_pools, pool_cap;
    uint32_t *pooled;                   /* 1 + first row in its pool, by planned node */
    size_t pooled_cap;
    bool worth;                         /* some group starts batching */
} ur__batching;

static inline const ur_shape *ur__recorded_shape(const ur__batching *b, uint32_t id)
{
    return &b->e->g->shape[b->t->node[id].shape].s;
}

/* The group that a recorded node is computed with, or NULL. */
static inline ur__group *ur__grouped(const ur__batching *b, uint32_t id)
{
    ur__group *x = id < b->n && b->group_of[id] ? &b->groups[b->group_of[id] - 1] : NULL;
    return x && x->node ? x : NULL;
}

/* The planned node of a recorded one; a member of a group is cut out of it. */
ur_node ur__planned(ur__batching *b, uint32_t id);
/* [u_1; ..; u_n], of one shape each. */
ur_node ur__rows_of(ur__batching *b, const uint32_t *u, uint32_t n);

#endif
