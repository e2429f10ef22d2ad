/* rewrite.h: rewrites of the recorded tape, made while it is copied to be differentiated.
 *
 * They make ordinary nodes in place of recorded ones, so the adjoints of what they make follow by
 * the ops' rules and need no rewrites of their own. A rewrite may leave an operand out (the concat
 * whose parts it multiplies apart) but not one whose gradient is asked for: UR__WANTED. */
#ifndef UR_REWRITE_H
#define UR_REWRITE_H

#include "graph/plan/plan.h"

typedef struct ur__contribution {
    uint32_t node, next;                /* next: 1 + index, 0 at the end */
} ur__contribution;

/* A contribution that a rule gave to an operand. */
typedef struct ur__given {
    uint32_t operand, node;
} ur__given;
typedef struct ur__lesson ur__lesson;

/* The rows of a weight that the parts of a concat meet (split.c), and the product of a whole
 * sequence with a weight (mmerge.c), each the last one of a weight. */
enum { UR__PARTS = 8, UR__WEIGHTS = 64, UR__SEQUENCES = 256 };
typedef struct ur__cut {
    uint32_t weight, n, length[UR__PARTS], piece[UR__PARTS];    /* 1 + weight; 0 none */
    int64_t axis;
} ur__cut;
typedef struct ur__merged {
    uint32_t weight, all, product;                              /* 1 + weight; 0 none */
    int64_t transposed;
} ur__merged;

enum { UR__READ_LATER = 1, UR__ONES = 8, UR__GIVEN = 3 };

/* The making of one planned tape. */
typedef struct ur__expansion {
    ur_graph *g;
    ur__plan *p;
    const ur__tape *from;
    uint32_t *map;                      /* recorded node -> planned node */
    uint8_t *marks;                     /* by recorded node: UR__WANTED, UR__SLICED, and: */
    uint8_t *readers;                   /* by recorded node: 0, 1, or more for several */
    bool wanted;                        /* some node is UR__WANTED */
    uint32_t n_before;                  /* recorded nodes before the first request */
    uint32_t *table;                    /* 1 + nodes made by ur__once, open addressing */
    size_t cap, n_once;
    struct {
        int n;
        uint32_t node;
    } ones[UR__ONES];                   /* constants of rowsum.c, by n */
    ur__cut *cuts;                      /* by weight */
    ur__merged *merged;
    /* adjoint.c, of the request under way; by planned nodes before it */
    uint8_t *needs;                     /* depends on one of the xs */
    uint32_t *head;                     /* 1 + first contribution */
    uint32_t *grad;                     /* 1 + adjoint */
    size_t n;
    ur__contribution *list;             /* grows with the rules */
    size_t n_list, list_cap;
    uint32_t *terms;                    /* operands of one sum */
    size_t term_cap;
    const uint32_t *results;            /* of the last request */
    bool *owed;                         /* by slot: its store gets a gradient (owed.c) */
    /* repeat.c: what the rule under way gave; what rules made of operands of some sizes */
    ur__given given[UR__GIVEN];
    int n_given;
    ur__lesson **lessons;
} ur__expansion;

/* Copies a recorded node or puts a better form in its place; its operands are planned already. */
bool ur__take_node(ur__expansion *e, uint32_t id);
bool ur__expand_request(ur__expansion *e, uint32_t request);

/* Marks the stores that the loss of a backward request depends on. */
bool ur__find_owed(ur__expansion *e, uint32_t request);

void ur__contribute(ur__expansion *e, uint32_t to, uint32_t node);

/* Does what the rule of a node did before for one like it; false: it has to be asked. */
bool ur__repeat_rule(ur__expansion *e, uint32_t id, uint32_t adjoint);
/* Writes down what it did; before: how many nodes there were. */
void ur__learn_rule(ur__expansion *e, uint32_t id, uint32_t adjoint, size_t before);

/* A recorded product op(a) op(b), its operands on the planned tape; its shape, if that is known, or
 * UINT32_MAX. */
typedef struct ur__product {
    ur_node a, b;
    int64_t transposed[2];
    uint32_t shape;
} ur__product;

/* ur_record with the shape of a product, or of a part of one. */
ur_node ur__record_shaped(ur_graph *g, const ur_op *op, const ur_node in[], int n_in,
                          const int64_t attr[], int n_attr, uint32_t shape);

/* What op makes of these operands: recorded when it is first asked for, found later. Nil when an
 * error is set. */
ur_node ur__once(ur__expansion *e, const ur_op *op, const ur_node in[], int n_in,
                 const int64_t attr[], int n_attr);

/* Plans nodes of many small graphs together; *taken: how many recorded nodes are planned then. */
bool ur__batch_nodes(ur__expansion *e, uint32_t *taken);

/* The value of a product in a better form, or nil: it stays as it is (or an error is set). The
 * first asks the others. */
ur_node ur__rewrite_product(ur__expansion *e, const ur__product *p);
ur_node ur__split_concat(ur__expansion *e, const ur__product *p);
ur_node ur__swap_gather(ur__expansion *e, const ur__product *p);
ur_node ur__merge_rows(ur__expansion *e, const ur__product *p);

/* Records at once what a node that comes from parameters alone was recorded as before; false: it is
 * not such a node (or an error is set). */
bool ur__hoist(ur__expansion *e, uint32_t id);

/* The sum of two terms that nobody else reads, as one with all their products; or nil. */
ur_node ur__join_addends(ur__expansion *e, const ur_node in[2]);

/* The sum of x's rows, for the shape s [N], as a product [1,N]; or nil: a plain sum is right. */
ur_node ur__sum_rows(ur__expansion *e, ur_node x, const ur_shape *s);

static inline bool ur__bypassable(const ur_graph *g, ur_node x)
{
    return !(ur__at(g, x.id)->flags & UR__WANTED);
}
/* The size of its last axis, which it has. */
static inline int ur__width(ur_node x)
{
    const ur_shape *s = &ur__shape_of(x)->s;
    return s->dim[s->rank - 1];
}
static inline ur_node ur__operand_of(ur_graph *g, ur_node x, uint32_t k)
{
    return ur__node_of(g, g->into->operand[ur__at(g, x.id)->in + k]);
}

/* Ops that rewrites look for and make. */
extern const ur_op ur__op_concat, ur__op_matmul, ur__op_gather, ur__op_one_hot, ur__op_slice,
    ur__op_index;

#endif
