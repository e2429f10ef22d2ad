/* plan.h: a plan is a list of kernel calls over one arena; and what the passes that make it share.
 *
 * The passes, in order (each in the file of its name):
 *     expand              the tape, rewritten (batch, hoist, split, swap, mmerge), with adjoints
 *     live                goals, what they need, what is known already; the role of every node
 *     accumulate          sums are computed where they lie; those of products (kmerge) become one
 *                         contraction over all of them
 *     views               slices and stacks that need no copy
 *     fuse                clusters of elementwise nodes, levels; what is computed again (recompute)
 *     chunk               sums of products over many steps are added as they become known
 *     schedule            the order of units
 *     nmerge              sums of products with the same left operands take turns
 *     offsets             the arena
 *     emit                the steps; parameters are packed once (pack)
 *     band                steps over the same many rows take turns on blocks of them
 *     segment             instead, if the arena is over a budget: steps run again to save memory
 */
#ifndef UR_PLAN_H
#define UR_PLAN_H

#include "graph/internal.h"

/* Rewrites that can be switched off; a bit each in g->off. */
#define UR__REWRITES(X)                                                                            \
    X(batch) X(hoist) X(split) X(swap) X(mmerge) X(kmerge) X(nmerge) X(fuse) X(recompute)          \
    X(chunk) X(band) X(views) X(accumulate) X(pack) X(segment) X(schedule) X(memory)
enum {
#define X(name) UR__BIT_##name,
    UR__REWRITES(X)
#undef X
    UR__N_REWRITES
};
/* From where on rewrites are worth it; measured. Tests make all small so that little tapes meet
 * every rewrite. Set before the first run of a process, or between runs of graphs that have no
 * plans. */
typedef struct ur__limits {
    int thin;                           /* split: K of a part that is worth a term of its own */
    int times;                          /* swap: tokens for each row of the table */
    int step_rows;                      /* mmerge: rows of a step at most */
    int chunk_rows;                     /* chunk: of K, at least */
    int band_rows, block_rows;          /* band: rows worth it; of a block */
} ur__limits;
extern ur__limits ur__limit;

void ur__switch_off(ur_graph *g, const char *list);     /* rewrites by names, commas between */
static inline bool ur__on(const ur_graph *g, int bit) { return !(g->off >> bit & 1); }

/* ---------------------------------------------------------------------------------------- steps */

/* How a step writes: over what was there, in addition to it, or, for the gradient block of a store,
 * whichever the store's stamp asks for in that run. */
enum { UR__OVER, UR__ADD, UR__BY_STAMP };

/* How a plan writes the gradient of a parameter: all of it, or rows of a table. */
enum { UR__WHOLE = 1, UR__BY_ROWS };

/* One tiled program of elementwise instructions over a common index space. The steps of a
 * recurrence share one program and differ in locations only: a long plan stays small in the
 * caches. */
typedef struct ur__access {
    ptrdiff_t stride[UR_MAX_RANK];      /* elements, per collapsed dimension */
    int64_t tile;                       /* into which it is brought, or -1 to read in place */
} ur__access;
typedef struct ur__instruction {
    ur__map_kernel *run;
    int y, a, b, c;                     /* pointer numbers: inputs, outputs, then tiles; -1 none */
} ur__instruction;
typedef struct ur__program {
    int rank, type;
    ptrdiff_t dim[UR_MAX_RANK];         /* collapsed; the last one is innermost */
    int n_in, n_out, n_instructions, n_tiles;
    ur__access *in, *out;
    const ur__instruction *instruction;
    uint64_t hash, *key;                /* of sizes and strides (emit_program.c) */
    size_t n_key;
    struct ur__program *next;           /* of the same form */
} ur__program;
/* Programs that differ in sizes and strides only have one form: a ragged sequence has a few forms
 * and as many programs of each as there are numbers of rows. */
typedef struct ur__form {
    int type, n_in, n_out, n_instructions, n_tiles;     /* tiles: of results */
    ur__instruction *instruction;
    uint64_t hash;
    const void *key;                    /* what it was made from (emit_program.c) */
    ur__program *programs;
    struct ur__form *next;              /* in the plan's table of forms */
} ur__form;
typedef struct ur__programmed {
    const ur__program *program;
    ur__loc loc[];                      /* inputs, then outputs */
} ur__programmed;

/* A contraction: for each batch index, C (+)= sum over terms A B. */
typedef struct ur__term {
    ur__loc a, b;
    ptrdiff_t a_m, a_k, b_k, b_n, k;
} ur__term;
typedef struct ur__batch {              /* loops outside; strides in elements */
    int rank;
    ptrdiff_t dim[UR_MAX_RANK], a_step[UR_MAX_RANK], b_step[UR_MAX_RANK], c_step[UR_MAX_RANK];
} ur__batch;
typedef struct ur__contraction {
    ptrdiff_t m, n, ldc;
    size_t n_terms;
    ur__term *term;
    ur__loc c;
    int type, write;
    uint32_t slot;                      /* of UR__BY_STAMP */
    struct ur__contraction *gang;       /* the next one with the same left operands, or NULL */
    const ur__batch *batch;             /* NULL: one product */
    bool thin;                          /* few rows: right operands are read where they are */
} ur__contraction;

/* y = x or y += x over a strided index space. */
typedef struct ur__move {
    ur__loc x, y;
    int rank, type, write;
    uint32_t slot;
    ptrdiff_t dim[UR_MAX_RANK], x_step[UR_MAX_RANK], y_step[UR_MAX_RANK];
} ur__move;

typedef struct ur__zero {
    ur__loc y;
    size_t bytes;
    int write;                          /* UR__BY_STAMP: only when overwriting */
    uint32_t slot, table;               /* 1 + parameter whose gradient it is, rows only; or 0 */
} ur__zero;

/* Adds rows of x into the table y. */
typedef struct ur__scatter {
    ur__loc x, ids, y;
    size_t n, width, rows;
    int type;
    uint32_t slot, table;               /* as in ur__zero: marks the rows */
} ur__scatter;

/* A compute function on operands of given shapes; shared like programs. */
typedef struct ur__routine {
    const ur_op *op;
    int n_in, n_attr, type;
    ur_shape shape, *shape_in;
    ur_type *type_in;
    int64_t *attr;
    struct ur__routine *next;           /* in the plan's list of those with the same op */
} ur__routine;
typedef struct ur__call {
    const ur__routine *routine;
    size_t begin, end;                  /* pieces of a band; 0, 0 all */
    ur__loc out, in[];
} ur__call;

typedef struct ur__commit {             /* the new value of a state */
    ur__loc x;
    uint32_t slot, param;
} ur__commit;

typedef enum ur__what {
    UR__PROGRAM, UR__CONTRACT, UR__MOVE, UR__ZERO, UR__SCATTER, UR__CALL, UR__PACK
} ur__what;

typedef struct ur__step {
    ur__what what;
    uint32_t node;                      /* of the plan's tape, for names; the last one merged */
    uint32_t panel;                     /* UR__PACK */
    void *body;
    float work;                         /* nanoseconds on one thread, about */
    float before;                       /* those of its phase before it */
    bool ends;                          /* the last one of a phase (run/phases.c) */
    bool turned;                        /* as all of the phase: from the other end (run/turns.c) */
    uint8_t ahead;                      /* steps to the program whose operands it fetches, or 0 */
} ur__step;

typedef struct ur__label {              /* what the printer and the errors say of a node */
    const ur_op *op;
    ur_at at;
    uint32_t shape, scope;
    bool adjoint;
} ur__label;

struct ur__plan {
    struct ur__plan *next;
    /* the key */
    ur__node *node;
    uint32_t *operand;
    int64_t *attr;
    size_t n_tape, n_operands, n_attrs, done, data_begin;
    uint64_t hash;
    uint32_t off;
    size_t budget;
    uint64_t kept_hash;
    uint32_t revived;                   /* 1 + a node of an earlier run that it computes, or 0 */
    /* what runs */
    ur__step *step;
    size_t n_steps;
    ur__form *forms[64];                /* by hash */
    ur__routine *routines[64];
    ur__commit *commit;
    size_t n_commits;
    ur__kept *kept;
    size_t n_kept;
    size_t n_nodes, arena_bytes, data_end, scratch_bytes;
    uint64_t arena_bias;                /* the arena begins at this offset (segment.c) */
    ur__block consts;
    uint8_t **deposits;                 /* [slot][parameter]: 0, or how its gradient is written */
    size_t n_deposit_slots;
    ur__label *label;                   /* of each step */
    size_t merged[UR__N_REWRITES];      /* what each rewrite did, in nodes or as print.c says */
    int pinned;
    bool found;                         /* it served a tape that it was not made for */
    uint32_t ran_generation;            /* the tape that it last ran on */
    ur__bump memory;
};

/* ----------------------------------------------------------------------------------- the passes */

typedef enum ur__role {
    R_DEAD, R_LEAF, R_HAVE,             /* not needed; from outside; known from an earlier run */
    R_ALIAS,                            /* part of another value's memory */
    R_MAP, R_SUM_MAP,                   /* elementwise; a small sum that acts like one */
    R_ACCUMULATE,                       /* a sum with merged terms */
    R_ABSORBED,                         /* a term that its sum computes */
    R_CONTRACTION, R_CALL, R_SCATTER, R_PAD, R_SLICE, R_CONCAT,
    R_PART,                             /* a padded part, moved into its sum once it is there */
    R_ROWS,                             /* scattered rows, likewise added to theirs */
    R_CHUNK,                            /* the first of some products added to theirs together */
    R_EFFECT
} ur__role;

/* What a plan does with a value besides computing it. */
enum {
    UR__STORED = 1,                     /* elementwise: wanted outside its cluster */
    UR__TILED,                          /* a sum: its parts tile it, nothing is left to add */
    UR__GATHERED,                       /* a sum of scattered rows, added once they are there */
    UR__CHUNKED,                        /* a sum of products, added some at a time */
    UR__SEEDED,                         /* a sum: one term is computed in its place, others add */
    UR__FAR = 8,                        /* with UR__STORED: by some that cannot compute it again */
};

typedef struct ur__work {
    ur_graph *g;
    ur__plan *p;
    const ur__tape *t;
    uint32_t n;
    size_t usual;               /* 0, or the arena that is over the budget: then values lie apart */
    uint32_t *map;              /* tape -> plan's tape */
    const uint8_t *readers;     /* of the tape's nodes: 0, 1, or more for several */
    uint8_t *role, *goal, *strict, *stored;
    uint8_t *again;             /* not stored: whoever reads it later computes it again */
    uint8_t **deposits;         /* [slot][parameter]: 0, 1, or 2 for several */
    const bool *owed;           /* by slot: its store gets a gradient, if only zeros */
    uint8_t *begun;             /* a sum that some step has written to */
    uint8_t *mode;              /* 1 + how a root in a gradient block is written */
    uint8_t *thick;             /* what products of many rows read it (pack.c) */
    uint32_t *uses;             /* live consumers */
    uint32_t *user;             /* the last of them */
    uint32_t *root;             /* whose memory it lies in; itself normally */
    int64_t *offset;            /* elements from the root's begin */
    uint32_t *placed, n_placed; /* those with another root, each once */
    uint32_t *base;             /* after views: the root of the root, and so on, and the offset */
    int64_t *shift;             /* from its begin */
    uint32_t *effect;           /* the nodes that are effects, in order */
    uint32_t *site;             /* those that are part of others, or others of them: views, slices,
                                   concats and sums; in order */
    uint32_t *product;          /* those that are products, the last one first */
    uint32_t n_effects, n_sites, n_products;
    ptrdiff_t **stride;         /* NULL: contiguous */
    uint32_t *level, *unit;
    uint32_t *pos;              /* in order[], of units */
    uint32_t *order;            /* units in order of execution, by their last node */
    uint32_t n_units;
    size_t step_cap;            /* of the plan's steps, while they are made */
    size_t level_begin;         /* the first step of the level under way */
    uint32_t *gang;             /* 1 + the sum with which it takes turns, or 0 */
    uint32_t *next;             /* members of a cluster in order of the tape; terms of a chunk */
    ur__loc *loc;               /* of roots */
    uint64_t *number;           /* in a program of a pointer, or of a panel; above 32 bits whose */
    void *room;                 /* in which clusters are described */
    size_t room_bytes;
} ur__work;

/* Copies the tape to g->expanded, expanding requests by the rules. Gradients and states of nodes
 * before g->done, written by an earlier run, are left out. */
bool ur__expand(ur__work *w);
bool ur__pass_live(ur__work *w);
bool ur__pass_accumulate(ur__work *w);
bool ur__pass_views(ur__work *w);
bool ur__pass_fuse(ur__work *w);
bool ur__pass_chunk(ur__work *w);
bool ur__pass_schedule(ur__work *w);
bool ur__pass_nmerge(ur__work *w);
bool ur__pass_offsets(ur__work *w);
bool ur__pass_emit(ur__work *w);
bool ur__pass_bands(ur__work *w);
bool ur__pass_segment(ur__work *w);
/* Terms of sum id that it computes by itself from now on, since nobody else wants them: those with
 * one of these roles, a bit each; returns how many. Products (kmerge.c), if its terms have such
 * roles as `seen` says. */
uint32_t ur__absorb(ur__work *w, uint32_t id, uint32_t roles);
uint32_t ur__merge_products(ur__work *w, uint32_t id, uint32_t seen);
/* Runs a pass; another thread packs meanwhile what the last plan had packed (run/panels.c). */
bool ur__plan_and_pack(ur__work *w, bool (*plan)(ur__work *w));
/* Fails with how much memory is needed at least. */
bool ur__over_budget(ur_graph *g, size_t least);

static inline const uint32_t *ur__in(const ur__work *w, uint32_t id)
{
    return w->t->operand + w->t->node[id].in;
}
static inline const int64_t *ur__attr(const ur__work *w, uint32_t id)
{
    return w->t->attr + w->t->node[id].attr;
}
static inline const ur__shape *ur__shape_at(const ur__work *w, uint32_t id)
{
    return &w->g->shape[w->t->node[id].shape];
}
static inline bool ur__is_map(uint8_t role) { return role == R_MAP || role == R_SUM_MAP; }
static inline bool ur__elementwise(const ur__work *w, uint32_t id)
{
    return ur__is_map(w->role[id]);
}
/* Computed by a step of its own (and so able to be computed anywhere). */
enum { UR__COMPUTED = (2 << R_CHUNK) - (1 << R_MAP) - (1 << R_ABSORBED) };      /* a bit a role */
static inline bool ur__computed(const ur__work *w, uint32_t id)
{
    return UR__COMPUTED >> w->role[id] & 1;
}

/* How many deposits write the gradient that this one writes: 1, or 2 for several. */
static inline int ur__deposits(const ur__work *w, uint32_t deposit)
{
    const int64_t *a = ur__attr(w, deposit);
    return w->deposits[a[0]][a[1]];
}

/* What a step of another unit reads when it reads u: u itself, or what it computes u from. */
static inline uint32_t ur__source(const ur__work *w, uint32_t reader, uint32_t u)
{
    return w->again[u] && w->unit[u] != w->unit[reader] ? ur__in(w, u)[0] : u;
}

/* Where node id lies: its root's location and the offset; strides in elements. */
static inline uint32_t ur__root(const ur__work *w, uint32_t id) { return w->base[id]; }
static inline ur__loc ur__where(const ur__work *w, uint32_t id)
{
    ur__loc l = w->loc[w->base[id]];
    l.offset += (uint64_t)w->shift[id] * ur__type_size(w->t->node[id].type);
    return l;
}
void ur__lie_in(ur__work *w, uint32_t id, uint32_t of, int64_t offset);
bool ur__find_roots(ur__work *w);       /* once views and chunks are known */
static inline void ur__natural_strides(const ur_shape *s, ptrdiff_t stride[UR_MAX_RANK])
{
    ptrdiff_t n = 1;
    for (int i = s->rank; i-- > 0; n *= s->dim[i])
        stride[i] = n;
}
static inline void ur__strides(const ur__work *w, uint32_t id, ptrdiff_t stride[UR_MAX_RANK])
{
    if (w->stride[id])
        memcpy(stride, w->stride[id], UR_MAX_RANK * sizeof *stride);
    else
        ur__natural_strides(&ur__shape_at(w, id)->s, stride);
}

/* Whether a contraction has no batch loop, so that it can be a term of a merged one: its result is
 * a matrix, or all leading axes of A are rows (operands of rank above 2 are contiguous). */
static inline bool ur__plain_product(const ur__work *w, uint32_t id)
{
    if (w->t->node[id].op->kind != UR_CONTRACTION)
        return false;
    return ur__shape_at(w, id)->s.rank == 2 ||
           (!ur__attr(w, id)[0] && ur__shape_at(w, ur__in(w, id)[1])->s.rank == 2);
}

ur__plan *ur__plan_new(ur_graph *g);                    /* of the tape as it is; not cached */
ur__plan *ur__plan_in_arena(ur_graph *g);               /* between runs: it works in their memory */
/* Before it first runs: which steps run side by side (run/phases.c), and what scratch they need. */
void ur__plan_ready(const ur_graph *g, ur__plan *p);

/* cost.c: what it says of a plan; false without memory. */
typedef struct ur__cost {
    double steps, phases, flops, moved, fetched, arena;
} ur__cost;
bool ur__cost_of(ur_graph *g, ur__plan *p, ur__cost *out);

/* cache.c */
void ur__cache_free(ur_graph *g);
void ur__cache_trim(ur_graph *g);
ur__plan *ur__cache_find(ur_graph *g);
void ur__cache_insert(ur_graph *g, ur__plan *p);
bool ur__cache_key(ur_graph *g, ur__plan *p);           /* copies the tape's structure into p */

#endif
