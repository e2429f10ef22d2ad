/* int32 as numbers of the graph's precision: y = x. Integers have no gradient. */
#include "ops/internal.h"

static bool cast_shape(ur_shaping *s)
{
    s->out = s->in[0];
    return ur__need_ints(s, 0);
}

static void cast_compute(const ur_compute *c)
{
    const int32_t *x = c->in[0];
    double *d = c->out;
    float *f = c->out;
    for (size_t i = c->begin; i < c->end; i++) {
        if (c->type == UR_F64)
            d[i] = x[i];
        else
            f[i] = (float)x[i];
    }
}

const ur_op ur__op_cast = {
    .name = "cast", .kind = UR_OPAQUE, .n_in = 1, .shape = cast_shape, .compute = cast_compute,
    .flags = UR_FLAT, .pieces = ur__each,
};

ur_node ur_cast_at(ur_at at, ur_node ids)
{
    return ur_record(at, &ur__op_cast, &ids, 1, NULL, 0);
}

ur_node (ur_cast)(ur_node ids)
{
    return ur_cast_at(NULL, ids);
}
