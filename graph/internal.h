/* internal.h: what the files of graph/, and the ops, share and users do not see.
 *
 * A tape is three arrays: nodes of 32 bytes, their operands (ids), their attributes (int64 words).
 * All three hold structure alone, so that two tapes are equal exactly when the arrays are: that is
 * how a cached plan is confirmed. What varies from step to step is data: the values of leaves,
 * which lie in the graph's data block at offsets that the structure determines.
 */
#ifndef UR_GRAPH_INTERNAL_H
#define UR_GRAPH_INTERNAL_H

#include <stdarg.h>
#include <string.h>
#include "graph/graph.h"
#include "graph/memory.h"
#include "graph/op.h"
#include "ops/kernels/kernels.h"

/* --------------------------------------------------------------------------------------- errors */

enum { UR__GRAPH = 0x47, UR__STORE = 0x53 };

/* The head of graphs and stores, so that a node's owner can be told apart. */
typedef struct ur__owner {
    int what;
    uint32_t generation;        /* of nodes that are valid now; never 0 */
    bool failed;
    char error[600];
} ur__owner;

/* The funnel of all errors, the place for a breakpoint. The first one sticks; returns false. */
bool ur__fail(ur__owner *o, const char *format, ...) UR__PRINTF(2, 3);

/* ur__fail with "file:line: op: " in front and " (in scope, t=..)" behind. */
bool ur__fail_at(ur_graph *g, ur_at at, const char *op, const char *format, ...) UR__PRINTF(4, 5);
bool ur__out_of_memory(ur__owner *o);

/* What is wrong with a node that is not live: "is nil", "is of a tape that was cleared since". */
const char *ur__gone(ur_node x);
/* "lstm, t=3" of a scope; empty for none. */
const char *ur__scope_text(const ur_graph *g, uint32_t scope);
/* "cell.c:41: " of a place; empty for none. The same ring. */
const char *ur__place(ur_at at);
/* The argument text number k of a place, into out. */
void ur__argument(ur_at at, int k, char *out, size_t size);

/* ----------------------------------------------------------------------------------------- tape */

enum {
    UR__KEEP = 1,               /* the value is to remain after the run */
    UR__GROWS = 2,              /* depends on a parameter that is not frozen */
    UR__WANTED = 4,             /* its gradient is asked for: rewrites leave it where it is */
    UR__SLICED = 8,             /* slices of its first axis, two or more, make up most of it */
    UR__LASTING = 16,           /* comes from parameters alone, the same in all of a run */
};

typedef struct ur__node {
    const ur_op *op;
    uint32_t shape;             /* interned in the graph */
    uint32_t in, n_in;          /* operands: tape->operand[in .. in + n_in) */
    uint32_t attr;              /* tape->attr[attr .. attr + n_attr) */
    uint16_t n_attr;
    uint8_t type, flags;
    uint32_t unused;            /* zero, so that tapes compare as bytes */
} ur__node;

typedef struct ur__origin {
    ur_at at;
    uint32_t scope;             /* 1 + index into g->scopes, 0 none */
    uint32_t anchor;            /* adjoints: the incoming gradient they were made for */
} ur__origin;

typedef struct ur__tape {
    ur__node *node;
    ur__origin *origin;
    uint32_t *operand;
    int64_t *attr;
    size_t n, n_operands, n_attrs;
    size_t cap, origin_cap, operand_cap, attr_cap;
    uint64_t hash;
    ur__bump *memory;           /* NULL: the heap */
} ur__tape;

typedef struct ur__shape {
    ur_shape s;
    size_t count;
} ur__shape;

typedef struct ur__scope {
    const char *name;
    int t;
    uint32_t parent;
} ur__scope;

/* Where a value lies: a byte offset from a base that each run sets up. */
enum {
    UR__NOWHERE, UR__ARENA, UR__DATA, UR__CONST, UR__PANELS, UR__VALUES,    /* + 2 * slot */
};
typedef struct ur__loc {
    uint64_t region : 16;       /* UR__VALUES + 2 slot: values; + 1: gradients of that store */
    uint64_t offset : 48;
} ur__loc;

/* A store that this graph uses. */
typedef struct ur__slot {
    ur_params *store;
    uint32_t *import;           /* parameter -> id of its leaf on the tape, where stamped */
    uint32_t *stamp;            /* generation of the tape that the import is of */
    size_t n_import, import_cap, stamp_cap;
    uint64_t version;           /* of the values when the tape first ran */
} ur__slot;

typedef struct ur__kept {
    uint32_t id;
    ur__loc loc;
} ur__kept;

typedef struct ur__plan ur__plan;

/* What a shape rule said of operands of these shapes: it is asked once. */
enum { UR__INFERRED = 1024, UR__INFER_WORDS = 6 };
typedef struct ur__inferred {
    const ur_op *op;
    uint64_t word[UR__INFER_WORDS];     /* shapes and types of operands, then attributes */
    uint32_t out;
    uint8_t n_in, n_attr, type;
} ur__inferred;

/* The packed panels of a parameter, or a part of it, as a right operand. */
typedef struct ur__panel {
    uint32_t slot, param;
    uint64_t from;              /* where it begins in the store's values, bytes */
    ptrdiff_t b_k, b_n;         /* strides, elements */
    ptrdiff_t k, n;             /* of the right operand */
    uint64_t offset;            /* in g->panels */
    uint64_t version;           /* of the values that were packed; 0 none */
    uint64_t planned;           /* the last planning that renews it, by g->plannings */
} ur__panel;

struct ur_graph {
    ur__owner owner;
    ur_type precision;
    int mode, threads;
    bool watch, copies;         /* copies: parameters are imported as copies (the checker's) */
    uint64_t seed, run_number;
    uint32_t off;               /* rewrites that are switched off, a bit each */
    size_t budget;              /* of arenas, in bytes; 0 none */

    ur__tape tape;
    ur__tape expanded;          /* the plan's tape, with adjoints, while it is planned */
    ur__tape *into;             /* where records go: the tape, or a plan's while rules run */
    uint32_t anchor;            /* given to new nodes of a plan's tape */
    const ur__origin *rule_of;  /* while a rule runs: the place its nodes inherit */
    uint32_t random_ops;        /* ordinal of the next random operation */

    ur__shape *shape;           /* interned shapes */
    uint32_t *shape_index;      /* open addressing, 0 empty, else 1 + shape */
    size_t n_shapes, shape_cap, shape_index_cap;

    ur__inferred inferred[UR__INFERRED];

    ur__scope *scopes;
    size_t n_scopes, scope_cap;
    uint32_t scope;             /* the current one */
    struct ur__name { uint32_t id; const char *text; } *names;
    size_t n_names, name_cap;
    ur__bump text;              /* names, scopes, arrays: until the tape is cleared */

    ur__block data, consts;     /* leaves and kept values of the tape; leaves made by rules */
    size_t data_used, consts_used;
    ur__block arena, panels;
    size_t panels_used;
    ur__panel *panel;
    size_t n_panels, panel_cap;

    ur__slot *slot;
    size_t n_slots, slot_cap;

    size_t done;                /* nodes that have been run */
    bool pending;               /* a value that was not kept is asked for */
    bool changed;               /* a leaf was set since the first run */
    uint64_t tape_run;          /* the run number of this tape's runs */
    ur__kept *kept;
    size_t n_kept, kept_cap;
    ur__plan **section;         /* the plans of this tape so far, for rerun */
    size_t n_sections, section_cap;

    ur__plan *plans;            /* the cache, most recently used first */
    size_t plan_bytes, plan_limit, once_limit;
    uint64_t dropped[256];      /* hashes of plans that left the cache, the last ones */
    size_t n_dropped, n_new;    /* n_new: tapes in a row that were never planned before */
    ur__bump scratch;           /* of planning */
    ur__bump spare;             /* memory of plans that were dropped, for the next ones */
    size_t plans_made, plans_cached;
    uint64_t plannings;         /* emissions of steps so far */
    double record_ns, plan_ns, record_start;
    const ur__plan *last_plan;
    void *pool;
};

static inline ur_graph *ur__graph(ur_node x) { return (ur_graph *)x.owner; }

/* The interned number of a shape; UINT32_MAX without memory. */
uint32_t ur__intern(ur_graph *g, const ur_shape *s);
size_t ur__elements(const ur_shape *s);
static inline size_t ur__type_size(int type) { return type == UR_F64 ? 8 : 4; }

/* Appends a node without asking its op for a shape. */
ur_node ur__append(ur_graph *g, ur_at at, const ur_op *op, const uint32_t in[], size_t n_in,
                   const int64_t attr[], size_t n_attr, const ur_shape *s, int type, int flags);

/* The same with an interned shape. */
ur_node ur__append_shaped(ur_graph *g, ur_at at, const ur_op *op, const uint32_t in[], size_t n_in,
                          const int64_t attr[], size_t n_attr, uint32_t shape, int type, int flags);
/* A parameter's leaf on g's tape; one for each tape. */
ur_node ur__import(ur_graph *g, ur_at at, ur_node W);

/* One step of a structural hash: cheap, since it runs for every word of every node; a hit is
 * confirmed by comparison. Without the fold, words within what is folded once in the end. */
static inline uint64_t ur__blend(uint64_t h, uint64_t word)
{
    return (h ^ word) * 0x9E3779B97F4A7C15u;
}
static inline uint64_t ur__fold(uint64_t h, uint64_t word)
{
    h = ur__blend(h, word);
    return h ^ h >> 32;
}

/* Node of the tape that records go to, from its id. */
static inline ur_node ur__node_of(ur_graph *g, uint32_t id)
{
    return (ur_node){ g, id, g->owner.generation };
}
static inline const ur__node *ur__at(const ur_graph *g, uint32_t id) { return &g->into->node[id]; }

/* The shape of a live node of the tape that records go to. */
static inline const ur__shape *ur__shape_of(ur_node x)
{
    return &ur__graph(x)->shape[ur__at(ur__graph(x), x.id)->shape];
}

/* Room for so many more nodes, operands and attributes; for one node. */
bool ur__tape_grow(ur__tape *t, size_t nodes, size_t operands, size_t attrs);
static inline bool ur__tape_room(ur__tape *t, size_t operands, size_t attrs)
{
    return (t->n < t->cap && t->n < t->origin_cap && t->n_operands + operands <= t->operand_cap &&
            t->n_attrs + attrs <= t->attr_cap) || ur__tape_grow(t, 1, operands, attrs);
}

bool ur__is_leaf(const ur_op *op);
/* Reserves bytes in the data block of the tape (or the plan's constants); the offset in *offset. */
bool ur__data_reserve(ur_graph *g, size_t bytes, uint64_t *offset);
/* A leaf of the tape that records go to, its data uninitialised at *data. */
ur_node ur__leaf(ur_graph *g, ur_at at, const ur_shape *s, ur_type type, void **data);
/* Where a leaf's data lie, or NULL. */
void *ur__leaf_data(ur_graph *g, ur_node x);

/* The ops that graph/ itself owns. */
extern const ur_op ur__op_input, ur__op_constant, ur__op_param, ur__op_import, ur__op_state,
    ur__op_cut, ur__op_request, ur__op_grad, ur__op_sum, ur__op_deposit, ur__op_state_out;
extern const ur_op ur__op_pad;              /* of ops/ */

/* Ops on parts of an axis: their shape does not depend on where the part begins, attr[1]. */
static inline bool ur__begins_somewhere(const ur_op *op)
{
    return op->kind == UR_SLICE || op == &ur__op_pad;
}

/* ------------------------------------------------------------------------------------ gradients */

/* Attributes of a request: numbers of ys, seeds and xs, and whether it is a backward. */
enum { UR__A_YS, UR__A_SEEDS, UR__A_XS, UR__A_BACKWARD, UR__A_COUNT };

/* A test's way to plant faults: called with each contribution that a rule gives, returns what is
 * used instead. NULL normally. */
typedef ur_node ur__fault(void *user, const ur_op *op, int operand, ur_node to, ur_node given);
extern ur__fault *ur__fault_hook;
extern void *ur__fault_user;

/* x under another shape of as many elements; x itself where it has that shape already (ops/). */
ur_node ur__reshape_to(ur_at at, ur_node x, const ur_shape *s);

/* x summed over the axes along which s was broadcast to x's shape, in the shape s (ops/). */
ur_node ur__sum_to(ur_at at, ur_node x, const ur_shape *s);

/* -------------------------------------------------------------------------------------- stores */

typedef struct ur__param {
    const char *name;
    ur_shape shape;
    size_t count, offset;       /* both in elements; offset into the blocks, at 64 bytes */
    ur_init init;
    bool frozen;
    bool dirty;                 /* the gradient block may hold something else than zeros here */
    uint64_t *touched;          /* a bit a row: dirty ones, while `sparse`; NULL never was */
    int32_t *rows;              /* the same as a sorted list */
    size_t n_rows;
    bool sparse;                /* only the rows listed are dirty */
} ur__param;

struct ur_params {
    ur__owner owner;
    ur_type type;
    uint64_t seed, version;     /* version grows whenever values change */
    int references;             /* the user's and one for every graph */
    ur__param *param;
    size_t n, cap;
    uint32_t *index;            /* names: open addressing, 0 empty, else 1 + number */
    size_t index_cap;
    size_t elements, padded;    /* padded: elements of a block with its alignment gaps */
    bool sealed, ready;         /* ready: a gradient waits for an update */
    int threads;                /* of the graph that it comes from */
    ur__block values, gradients;    /* gradients: none as long as all were frozen */
    ur__bump memory;            /* names, cells */
};

/* Whether x is a live node of its graph's current tape or a parameter of a store. */
static inline bool ur__live(ur_node x)
{
    const ur__owner *o = x.owner;
    if (!o || x.generation != o->generation)
        return false;
    return x.id < (o->what == UR__STORE ? ((const ur_params *)x.owner)->n : ur__graph(x)->into->n);
}

/* Embedding gradients: room for the list of rows; zeroes what is dirty of a gradient; brings the
 * list up to date with the bits. */
bool ur__rows_prepare(ur_params *ps, ur__param *p);
void ur__gradient_zero(ur_params *ps, ur__param *p);
void ur__rows_list(ur__param *p);

bool ur__seal(ur_params *ps);                           /* draws the initial values; idempotent */
void ur__params_ref(ur_params *ps);                     /* both from any thread */
void ur__params_unref(ur_params *ps);
void ur__params_settle(ur_params *ps);                  /* its blocks: see ur__block_settle */
/* Writes the initial values of a parameter, in the store's type, over zeros. False when there is no
 * memory to work in. */
bool ur__draw_initial(const ur_params *ps, const ur__param *p, void *values);
bool ur__zero_initial(const ur__param *p);              /* whether it writes nothing */
/* What is wrong with an initialiser for a parameter of this shape; NULL when nothing is. */
const char *ur__init_fault(const ur_init *init, const ur_shape *s);
uint32_t ur__slot_of(ur_graph *g, ur_params *ps);       /* UINT32_MAX without memory */

/* -------------------------------------------------------------------------------------- random */

/* Philox4x32-10 (Salmon et al. 2011): four 32-bit words from a counter and a key. */
void ur__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* n numbers from the stream `key`, element e depending on (key, first + e) alone: uniform in [0, 1)
 * or standard normal (Box-Muller), as float or double. */
void ur__random_uniform(uint64_t key, uint64_t first, size_t n, ur_type type, void *out);
void ur__random_normal(uint64_t key, uint64_t first, size_t n, ur_type type, void *out);
/* Mixes words into a 64-bit key. */
uint64_t ur__mix(uint64_t h, uint64_t word);
uint64_t ur__hash_text(const char *text);

/* ---------------------------------------------------------------------------------- plan and
 * run */

ur__plan *ur__plan_for(ur_graph *g);                    /* cached or new; NULL on error */
void ur__plan_free(ur_graph *g, ur__plan *p);
bool ur__execute(ur_graph *g, ur__plan *p, bool first);
const char *ur__node_name(const ur_graph *g, uint32_t id);
double ur__now_ns(void);

#endif
