/* internal.h: what the files of ops/ share and users do not see. */
#ifndef UR_OPS_INTERNAL_H
#define UR_OPS_INTERNAL_H

#include "graph/internal.h"
#include "ops/ops.h"

/* The descriptors that rules and composites of other files record with. */
extern const ur_op ur__op_index, ur__op_unindex, ur__op_slice, ur__op_pad, ur__op_concat,
    ur__op_reshape, ur__op_permute, ur__op_broadcast, ur__op_gather, ur__op_scatter;

/* All built-in ops with a rule or a mark, NULL at the end. */
extern const ur_op *const ur__ops[];

/* x repeated along axes of size 1 and missing leading ones; x itself where it has that shape. */
ur_node ur__broadcast(ur_at at, ur_node x, const ur_shape *s);

/* -------------------------------------------------------------------------- in public functions */

/* A negative axis counts from the end; one that does not exist is left to the shape rule. */
static inline int ur__axis(ur_node x, int axis)
{
    if (axis >= 0)
        return axis;
    int rank = ur_shape_of(x).rank;
    return axis + rank >= 0 ? axis + rank : axis;
}

/* The graph that a or b is on; NULL when both are parameters or nil. */
static inline ur_graph *ur__graph_of_either(ur_node a, ur_node b)
{
    ur_graph *g = ur_graph_of(a);
    return g ? g : ur_graph_of(b);
}

/* ------------------------------------------------------------------------------- in shape rules */

/* Operand k is a number of the graph's precision (int32), or else the rule has refused. */
bool ur__need_numbers(ur_shaping *s, int k);
bool ur__need_ints(ur_shaping *s, int k);
/* 0 <= axis < rank of operand 0 (plus `more`). */
bool ur__need_axis(ur_shaping *s, int64_t axis, int more);
/* Size n of a result's axis is one that an int holds. */
bool ur__need_size(ur_shaping *s, int64_t n);

/* ------------------------------------------------------------------------- in compute functions */

static inline const ur__kernel_set *ur__kernels_of(ur_type precision)
{
    const ur__kernels *k = ur__kernels_get();
    return precision == UR_F64 ? &k->f64 : &k->f32;
}

/* A rank-0 operand. */
static inline double ur__number(const ur_compute *c, int k)
{
    return c->type_in[k] == UR_F64 ? *(const double *)c->in[k] : *(const float *)c->in[k];
}

/* Elements of the axes [from, to) of a shape. */
static inline size_t ur__span(const ur_shape *s, int from, int to)
{
    size_t n = 1;
    for (int i = from; i < to; i++)
        n *= (size_t)s->dim[i];
    return n;
}

/* Pieces: the rows of the result along its last axis; its elements. */
size_t ur__rows(const ur_compute *c);
size_t ur__each(const ur_compute *c);

/* ----------------------------------------------------------------------------------- in samples */

/* A leaf in [lo, hi] of the gradient check, of a shape given as one. */
static inline ur_node ur__draw(ur_draw *d, double lo, double hi, const ur_shape *s)
{
    return ur_draw_input_(d, lo, hi, s->rank, s->dim);
}

#define UR__SHAPE(...)                                                                             \
    { .rank = (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), .dim = { __VA_ARGS__ } }

#endif
