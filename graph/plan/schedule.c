/* The order of execution: by level, within a level by the tape. A counting sort, so linear.
 *
 * A unit is a cluster of elementwise nodes or a single node of another kind; it runs at the
 * position of its members' common level. Aliases and absorbed terms are no units. */
#include "graph/plan/plan.h"

/* The units in order of the tape; returns how many levels they have. */
static uint32_t list_units(ur__work *w, uint32_t *list)
{
    const uint32_t *const unit = w->unit, *const level = w->level, n = w->n;
    const uint8_t *const role = w->role;
    uint32_t n_units = 0, levels = 0;
    for (uint32_t id = 0; id < n; id++) {
        if (!((UR__COMPUTED | 1u << R_EFFECT) >> role[id] & 1) || unit[id] != id)
            continue;
        list[n_units++] = id;
        levels = level[id] >= levels ? level[id] + 1 : levels;
    }
    w->n_units = n_units;
    return levels;
}

bool ur__pass_schedule(ur__work *w)
{
    const uint32_t *const level = w->level;
    uint32_t *const pos = w->pos, *const order = w->order, *const gang = w->gang;
    uint32_t *const list = ur__bump_take(&w->g->scratch, w->n * sizeof *list);
    if (!list)
        return ur__out_of_memory(&w->g->owner);
    const uint32_t levels = list_units(w, list), n = w->n_units;
    uint32_t *const count = ur__bump_alloc(&w->g->scratch, (levels + 1) * sizeof *count);
    if (!count)
        return ur__out_of_memory(&w->g->owner);
    for (uint32_t k = 0; k < n; k++)
        count[level[list[k]] + 1]++;
    for (uint32_t l = 0; l < levels; l++)
        count[l + 1] += count[l];
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t id = list[k], at = count[level[id]]++;
        pos[id] = at;
        gang[id] = 0;
        order[at] = id;
    }
    return true;
}
