/* The elementwise operations: everything that follows from the table ops/maps.h. Each row becomes a
 * descriptor, a gradient rule, samples for the gradient check, and public functions; its kernels
 * are compiled in ops/kernels/maps.c. The composites at the end make leaves of numbers. */
#include "ops/internal.h"

/* The row takes the slope as a node, the public function as a number. */
#define ur_leaky_relu_at ur__leaky_relu_at
#undef ur_leaky_relu
#define ur_leaky_relu ur__leaky_relu

/* ------------------------------------------------------------------------------- gradient rules */

/* An operand without gradient by intent: the nil node, which is not given. */
#define NONE UR_NIL

static void give(ur_rule *r, int operand, ur_node contribution)
{
    if (!ur_is_nil(contribution))
        ur_give(r, operand, contribution);
}

/* A rule's expression is evaluated only where it is wanted. */
#define GIVE(k, rule)                                                                              \
    if (ur_wants(r, k))                                                                            \
        give(r, k, rule);

#define RULE1(name, value, lo, hi, ra)                                                             \
    static void rule_##name(ur_rule *r)                                                            \
    {                                                                                              \
        const ur_node a = r->in[0], y = r->y, g = r->g;                                            \
        (void)a, (void)y, (void)g;                                                                 \
        GIVE(0, ra)                                                                                \
    }
#define RULE2(name, value, lo, hi, ra, rb)                                                         \
    static void rule_##name(ur_rule *r)                                                            \
    {                                                                                              \
        const ur_node a = r->in[0], b = r->in[1], y = r->y, g = r->g;                              \
        (void)a, (void)b, (void)y, (void)g;                                                        \
        GIVE(0, ra)                                                                                \
        GIVE(1, rb)                                                                                \
    }
#define RULE3(name, value, lo, hi, ra, rb, rc)                                                     \
    static void rule_##name(ur_rule *r)                                                            \
    {                                                                                              \
        const ur_node a = r->in[0], b = r->in[1], c = r->in[2], y = r->y, g = r->g;                \
        (void)a, (void)b, (void)c, (void)y, (void)g;                                               \
        GIVE(0, ra)                                                                                \
        GIVE(1, rb)                                                                                \
        GIVE(2, rc)                                                                                \
    }
#define NOTHING(...)
UR__MAPS(RULE1, RULE2, RULE3, NOTHING, NOTHING, NOTHING)

/* -------------------------------------------------------------------------------------- samples */

/* Shapes that broadcast in every way, the first operand's, the second's and the third's. */
static const ur_shape cases[][3] = {
    { UR__SHAPE(3, 4), UR__SHAPE(3, 4), UR__SHAPE(3, 4) },
    { UR__SHAPE(3, 4), { .rank = 0 }, { .rank = 0 } },
    { { .rank = 0 }, UR__SHAPE(3, 4), UR__SHAPE(3, 1) },
    { UR__SHAPE(3, 4), UR__SHAPE(1, 4), UR__SHAPE(3, 1) },
    { UR__SHAPE(1, 4), UR__SHAPE(3, 4), UR__SHAPE(4) },
    { UR__SHAPE(3, 4), UR__SHAPE(3, 1), UR__SHAPE(1, 4) },
    { UR__SHAPE(3, 1), UR__SHAPE(3, 4), UR__SHAPE(3, 4) },
    { UR__SHAPE(3, 1), UR__SHAPE(1, 4), UR__SHAPE(1, 1) },
    { UR__SHAPE(4), UR__SHAPE(2, 3, 4), UR__SHAPE(3, 4) },
    { UR__SHAPE(2, 3, 4), UR__SHAPE(4), { .rank = 0 } },
    { { .rank = 0 }, { .rank = 0 }, { .rank = 0 } },
    { UR__SHAPE(2, 1, 1, 3), UR__SHAPE(3, 1, 1), UR__SHAPE(1, 2, 1) },
    { UR__SHAPE(0, 3), UR__SHAPE(3), UR__SHAPE(1, 1) },
};

/* Operands without gradient come from integers, which the check does not perturb: a condition, the
 * first operand, as 0 or 1, a bound or an exponent anywhere in the range. */
static ur_node draw_fixed(ur_draw *d, int operand, double lo, double hi, const ur_shape *s)
{
    const int below = operand == 0 ? 2 : 1000;
    ur_node x = ur_cast(ur_draw_ints_(d, below, s->rank, s->dim));
    return operand == 0 ? x : ur_shift(ur_scale(x, (hi - lo) / below), lo);
}

static ur_node draw_map(ur_draw *d, int which, const ur_op *op, unsigned fixed)
{
    if (which < 0 || which >= (int)(sizeof cases / sizeof cases[0]))
        return UR_NIL;
    ur_node in[3];
    for (int k = 0; k < op->n_in; k++)
        in[k] = fixed >> k & 1 ? draw_fixed(d, k, op->lo, op->hi, &cases[which][k])
                               : ur_draw_apart_(d, op->lo, op->hi, cases[which][k].rank,
                                                cases[which][k].dim);
    return ur_record(NULL, op, in, op->n_in, NULL, 0);
}

/* Whether the table has NONE for a rule: # gives the text before the macro is expanded. */
#define IS_NONE(text, k) ((unsigned)((text)[0] == 'N') << k)
#define SAMPLE(name, fixed)                                                                        \
    extern const ur_op ur__op_##name;                                                              \
    static ur_node sample_##name(ur_draw *d, int which)                                            \
    {                                                                                              \
        return draw_map(d, which, &ur__op_##name, fixed);                                          \
    }
#define SAMPLE1(name, value, lo, hi, ra) SAMPLE(name, IS_NONE(#ra, 0))
#define SAMPLE2(name, value, lo, hi, ra, rb) SAMPLE(name, IS_NONE(#ra, 0) | IS_NONE(#rb, 1))
#define SAMPLE3(name, value, lo, hi, ra, rb, rc)                                                   \
    SAMPLE(name, IS_NONE(#ra, 0) | IS_NONE(#rb, 1) | IS_NONE(#rc, 2))
UR__MAPS(SAMPLE1, SAMPLE2, SAMPLE3, NOTHING, NOTHING, NOTHING)

/* ---------------------------------------------------------------------------------- descriptors */

#define OP(name_, n, lo_, hi_)                                                                     \
    const ur_op ur__op_##name_ = { .name = #name_, .kind = UR_MAP, .n_in = n,                      \
        .row = 1 + UR__MAP_##name_, .rule = rule_##name_, .sample = sample_##name_, .lo = lo_,     \
        .hi = hi_ };
#define OP1(name, value, lo, hi, ...) OP(name, 1, lo, hi)
#define OP2(name, value, lo, hi, ...) OP(name, 2, lo, hi)
#define OP3(name, value, lo, hi, ...) OP(name, 3, lo, hi)
#define FLAT(name_, n, lo_, hi_)                                                                   \
    const ur_op ur__op_##name_ = { .name = #name_, .kind = UR_MAP, .n_in = n,                      \
        .row = 1 + UR__MAP_##name_, .lo = lo_, .hi = hi_, .flags = UR_FLAT };
#define FLAT1(name, value, lo, hi) FLAT(name, 1, lo, hi)
#define FLAT2(name, value, lo, hi) FLAT(name, 2, lo, hi)
#define FLAT3(name, value, lo, hi) FLAT(name, 3, lo, hi)
UR__MAPS(OP1, OP2, OP3, FLAT1, FLAT2, FLAT3)

/* ----------------------------------------------------------------------------- public functions */

#define PUBLIC1(name, ...)                                                                         \
    ur_node ur_##name##_at(ur_at at, ur_node x)                                                    \
    {                                                                                              \
        return ur_record(at, &ur__op_##name, &x, 1, NULL, 0);                                      \
    }                                                                                              \
    ur_node (ur_##name)(ur_node x)                                                                 \
    {                                                                                              \
        return ur_record(NULL, &ur__op_##name, &x, 1, NULL, 0);                                    \
    }
#define PUBLIC2(name, ...)                                                                         \
    ur_node ur_##name##_at(ur_at at, ur_node a, ur_node b)                                         \
    {                                                                                              \
        return ur_record(at, &ur__op_##name, (ur_node[]){ a, b }, 2, NULL, 0);                     \
    }                                                                                              \
    ur_node (ur_##name)(ur_node a, ur_node b)                                                      \
    {                                                                                              \
        return ur_record(NULL, &ur__op_##name, (ur_node[]){ a, b }, 2, NULL, 0);                   \
    }
#define PUBLIC3(name, ...)                                                                         \
    ur_node ur_##name##_at(ur_at at, ur_node a, ur_node b, ur_node c)                              \
    {                                                                                              \
        return ur_record(at, &ur__op_##name, (ur_node[]){ a, b, c }, 3, NULL, 0);                  \
    }                                                                                              \
    ur_node (ur_##name)(ur_node a, ur_node b, ur_node c)                                           \
    {                                                                                              \
        return ur_record(NULL, &ur__op_##name, (ur_node[]){ a, b, c }, 3, NULL, 0);                \
    }
UR__MAPS(PUBLIC1, PUBLIC2, PUBLIC3, PUBLIC1, PUBLIC2, PUBLIC3)

#undef ur_leaky_relu
#undef ur_leaky_relu_at

/* ----------------------------------------------------------------------------------- composites */

/* x op k. Where x is on no graph the record reports it, for which any second operand will do. */
static ur_node with_number(ur_at at, const ur_op *op, ur_node x, double k)
{
    ur_graph *g = ur_graph_of(x);
    ur_node in[] = { x, g ? ur_scalar_at(at, g, k) : x };
    return ur_record(at, op, in, 2, NULL, 0);
}

#define WITH_NUMBER(name, row)                                                                     \
    ur_node name##_at(ur_at at, ur_node x, double k)                                               \
    {                                                                                              \
        return with_number(at, &ur__op_##row, x, k);                                               \
    }                                                                                              \
    ur_node (name)(ur_node x, double k)                                                            \
    {                                                                                              \
        return with_number(NULL, &ur__op_##row, x, k);                                             \
    }
WITH_NUMBER(ur_scale, mul)
WITH_NUMBER(ur_shift, add)
WITH_NUMBER(ur_pow, power)
WITH_NUMBER(ur_leaky_relu, leaky_relu)

ur_node ur_clamp_at(ur_at at, ur_node x, double lo, double hi)
{
    ur_graph *g = ur_graph_of(x);
    ur_node in[] = { x, g ? ur_scalar_at(at, g, lo) : x, g ? ur_scalar_at(at, g, hi) : x };
    return ur_record(at, &ur__op_clip, in, 3, NULL, 0);
}

ur_node (ur_clamp)(ur_node x, double lo, double hi)
{
    return ur_clamp_at(NULL, x, lo, hi);
}
