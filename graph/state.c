/* Carried states: a store whose parameters only runs read and write. Reading and writing them is
 * part of a tape (run/); here is what happens between runs. */
#include "graph/internal.h"

/* Whether every state has a row b. */
static bool have_row(ur_params *ps, int b)
{
    if (b < -1)
        return ur__fail(&ps->owner, "state_reset: row %d: rows count from 0, and -1 means all", b);
    for (size_t i = 0; b >= 0 && i < ps->n; i++) {
        const ur__param *p = &ps->param[i];
        if (p->shape.rank == 0 || b >= p->shape.dim[0])
            return ur__fail(&ps->owner, "state_reset: there is no row %d: %.200s is %s", b, p->name,
                            p->shape.rank ? ur_shape_text(p->shape) : "a scalar");
    }
    return true;
}

bool ur_state_reset(ur_params *ps, int b)
{
    if (!ps || ps->owner.failed || !have_row(ps, b) || !ur__seal(ps))
        return false;
    for (size_t i = 0; i < ps->n; i++) {
        const ur__param *p = &ps->param[i];
        size_t size = ur__type_size((int)ps->type), bytes = p->count * size;
        size_t begin = p->offset * size;
        if (b >= 0) {
            bytes /= (size_t)p->shape.dim[0];
            begin += (size_t)b * bytes;
        }
        memset(ps->values.p + begin, 0, bytes);
    }
    ur_params_changed(ps);
    return true;
}
