/* Moves: slices, concats and pads whose parts do not lie where they are wanted. */
#include "graph/plan/emit.h"

static bool emit_move(ur__work *w, uint32_t node, ur__loc x, const ptrdiff_t *x_step, ur__loc y,
                      const ptrdiff_t *y_step, const ur__shape *shape, int write, uint32_t slot)
{
    const ur_shape *s = &shape->s;
    if (shape->count == 0)
        return true;
    ur__move *m = ur__bump_take(&w->p->memory, sizeof *m);
    if (!ur__add_step(w, UR__MOVE, node, m))
        return false;
    int last = -1;
    m->x = x;
    m->y = y;
    m->type = w->t->node[node].type;
    m->write = write;
    m->slot = slot;
    for (int i = 0; i < s->rank; i++) {
        const ptrdiff_t d = s->dim[i];
        if (d == 1)
            continue;
        if (last >= 0 && m->x_step[last] == x_step[i] * d && m->y_step[last] == y_step[i] * d)
            m->dim[last] *= d;          /* one run with the dimension outside */
        else
            m->dim[++last] = d;
        m->x_step[last] = x_step[i];
        m->y_step[last] = y_step[i];
    }
    m->rank = last + 1;
    return true;
}

/* Where a padded operand lies inside the destination y. */
ur__loc ur__pad_place(const ur__work *w, uint32_t pad, ur__loc y)
{
    const int64_t *a = ur__attr(w, pad);
    const ur_shape *out = &ur__shape_at(w, pad)->s;
    ptrdiff_t stride = 1;
    for (int i = out->rank; --i > a[0];)
        stride *= out->dim[i];
    y.offset += (uint64_t)(a[1] * stride) * ur__type_size(w->t->node[pad].type);
    return y;
}

bool ur__emit_part(ur__work *w, uint32_t node, uint32_t x, ur__loc y, const ptrdiff_t *y_step,
                   int write, uint32_t slot)
{
    ptrdiff_t natural[UR_MAX_RANK];
    const ptrdiff_t *x_step = w->stride[x];
    if (!x_step)
        ur__natural_strides(&ur__shape_at(w, x)->s, natural);
    return emit_move(w, node, ur__where(w, x), x_step ? x_step : natural, y, y_step,
                     ur__shape_at(w, x), write, slot);
}

bool ur__emit_padded(ur__work *w, uint32_t node, uint32_t pad, ur__loc place, int write,
                     uint32_t slot)
{
    const uint32_t x = ur__in(w, pad)[0];
    const ur_shape *out = &ur__shape_at(w, pad)->s;
    const bool selects = ur__shape_at(w, x)->s.rank != out->rank;
    ptrdiff_t full[UR_MAX_RANK], step[UR_MAX_RANK];
    ur__natural_strides(out, full);
    for (int i = 0, k = 0; i < out->rank; i++)
        if (!selects || i != ur__attr(w, pad)[0])   /* a selected axis is not the operand's */
            step[k++] = full[i];
    return ur__emit_part(w, node, x, place, step, write, slot);
}

bool ur__emit_concat(ur__work *w, uint32_t id)
{
    const ur__node *x = &w->t->node[id];
    const int64_t *a = ur__attr(w, id);
    const ur_shape *out = &ur__shape_at(w, id)->s;
    ptrdiff_t full[UR_MAX_RANK], step[UR_MAX_RANK];
    ur__natural_strides(out, full);
    for (int k = 0, j = 0; j < out->rank; j++)
        if (!a[1] || j != a[0])
            step[k++] = full[j];
    ur__loc y = ur__where(w, id);
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = ur__in(w, id)[i];
        const ur_shape *s = &ur__shape_at(w, u)->s;
        if (!ur__lies_in(w, u, id, y) && !ur__emit_part(w, id, u, y, step, UR__OVER, 0))
            return false;
        y.offset += (uint64_t)(full[a[0]] * (a[1] ? 1 : s->dim[a[0]])) * ur__type_size(x->type);
    }
    return true;
}

bool ur__emit_slice(ur__work *w, uint32_t id)
{
    const uint32_t u = ur__in(w, id)[0];
    const int64_t *a = ur__attr(w, id);
    const ur__shape *s = ur__shape_at(w, id);
    ptrdiff_t step[UR_MAX_RANK], y_step[UR_MAX_RANK];
    ur__loc x = ur__where(w, u);
    ur__strides(w, u, step);
    x.offset += (uint64_t)(a[1] * step[a[0]]) * ur__type_size(w->t->node[id].type);
    ur__natural_strides(&s->s, y_step);
    if (s->s.rank < ur__shape_at(w, u)->s.rank)     /* the axis selected from is none any more */
        memmove(step + a[0], step + a[0] + 1, (size_t)(UR_MAX_RANK - 1 - a[0]) * sizeof *step);
    return emit_move(w, id, x, step, ur__where(w, id), y_step, s, UR__OVER, 0);
}
