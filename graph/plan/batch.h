/* batch.h: what the files of batching share. */
#ifndef UR_BATCH_H
#define UR_BATCH_H

#include "graph/plan/rewrite.h"

typedef struct ur__group {
    uint32_t first, n, begin;           /* a member; how many; their place in the list */
    uint32_t node;                      /* 1 + the planned node that computes them all */
    uint32_t depth;
    uint32_t varying;                   /* operands that differ between members, a bit each; all
                                           of those that have no bit */
    uint32_t next;                      /* the group of the node recorded behind one of these */
    uint32_t gate, from;                /* which product its members, and what they are made of,
                                           come from (batch_groups.c) */
    bool repeats;                       /* some nodes have a seat together */
    uint32_t hash;
    ur_at at;
} ur__group;

/* What is known of a recorded node. */
typedef struct ur__spot {
    uint64_t seat;                      /* its group and its index there, or 0; neighbours of one
                                           group have neighbouring seats */
    uint32_t depth;
    uint32_t like;                      /* as an operand: its size, or itself (batch_groups.c) */
} ur__spot;

/* Results of one shape, rows laid end to end: those that some gather takes rows of, so that values
 * which are never gathered together lie apart. */
typedef struct ur__pool {
    uint32_t node, rows;                /* the planned node */
    uint32_t into, row;                 /* the pool that it became part of, and its first row there;
                                           itself: none */
} ur__pool;

/* Where a planned node's rows lie. */
typedef struct ur__pooled {
    uint32_t pool, row;                 /* 1 + pool; the first row */
} ur__pooled;

typedef struct ur__batching {
    ur__expansion *e;
    const ur__tape *t;
    uint32_t n;                         /* recorded nodes that take part: those before a request */
    ur__spot *spot;                     /* of each */
    uint32_t *joined;                   /* 1 + the last concatenation that begins with a node */
    uint8_t *apart;                     /* its gradient is asked for, or it comes from such a one:
                                           its rows among others would make those depend on it;
                                           NULL if there are none */
    uint32_t *member;                   /* of all groups, in order of the tape */
    ur__group *groups;                  /* from 1 on */
    size_t n_groups, cap;
    uint32_t *table;                    /* groups by hash */
    size_t table_cap;
    ur__pool *pools;
    size_t n_pools, pool_cap;
    ur__pooled *pooled;                 /* by planned node */
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
    const uint64_t seat = b->spot[id].seat;
    return seat ? &b->groups[seat >> 32] : NULL;
}

/* A node's index among the members of its group. */
static inline uint32_t ur__index(const ur__batching *b, uint32_t id)
{
    return (uint32_t)b->spot[id].seat;
}

/* Whether nodes of this kind are worth computing together whatever their operands are. */
static inline bool ur__starts_group(const ur__node *x)
{
    return x->op == &ur__op_gather || x->op->kind == UR_CONTRACTION;
}

static inline bool ur__varies(const ur__group *x, uint32_t operand)
{
    return x->varying >> (operand & 31) & 1;
}

/* Gives every node that can be computed with others a seat in a group. */
bool ur__form_groups(ur__batching *b);

/* The planned node of a recorded one; a member of a group is cut out of it. */
ur_node ur__planned(ur__batching *b, uint32_t id);
/* [u_1; ..; u_n], of one shape each. */
ur_node ur__rows_of(ur__batching *b, const uint32_t *u, uint32_t n);
/* The same of nodes that have the seats of u_1 and those behind it. */
ur_node ur__rows_from(ur__batching *b, uint32_t u, uint32_t n);

#endif
