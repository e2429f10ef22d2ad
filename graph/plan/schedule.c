/* The order of execution: by level, within a level by the tape. A counting sort, so linear.
 *
 * A unit is a cluster of elementwise nodes or a single node of another kind; it runs at the
 * position of its members' common level. Aliases and absorbed terms are no units. */
#include "graph/plan/plan.h"

static inline bool is_unit(const ur__work *w, uint32_t id)
{
    return w->unit[id] == id && (ur__computed(w, id) || w->role[id] == R_EFFECT);
}

bool ur__pass_schedule(ur__work *w)
{
    const uint32_t *const level = w->level, *const unit = w->unit;
    uint32_t *const pos = w->pos, *const order = w->order, levels = 0;
    for (uint32_t id = 0; id < w->n; id++)
        if (w->role[id] > R_HAVE && level[id] >= levels)
            levels = level[id] + 1;
    uint32_t *const count = ur__bump_alloc(&w->g->scratch, (levels + 1) * sizeof *count);
    if (!count)
        return ur__out_of_memory(&w->g->owner);
    for (uint32_t id = 0; id < w->n; id++)
        if (is_unit(w, id)) {
            count[level[id] + 1]++;
            w->n_units++;
        }
    for (uint32_t l = 0; l < levels; l++)
        count[l + 1] += count[l];
    for (uint32_t id = 0; id < w->n; id++)
        if (is_unit(w, id)) {
            pos[id] = count[level[id]]++;
            order[pos[id]] = id;
        }
    for (uint32_t id = 0; id < w->n; id++)
        if (unit[id] != id && (ur__computed(w, id) || w->role[id] == R_ABSORBED))
            pos[id] = pos[unit[id]];
    return true;
}
