/* The order of execution: by level, within a level by the tape. A counting sort, so linear.
 *
 * A unit is a cluster of elementwise nodes or a single node of another kind; it runs at the
 * position of its members' common level. Aliases and absorbed terms are no units. */
#include "graph/plan/plan.h"

static bool is_unit(const ur__work *w, uint32_t id)
{
    return (ur__computed(w, id) || w->role[id] == R_EFFECT) && w->unit[id] == id;
}

/* Members of a cluster as a list in order of the tape, headed by `head`. */
static bool link_members(ur__work *w, uint32_t *tail)
{
    for (uint32_t id = 0; id < w->n; id++) {
        if (!ur__elementwise(w, id))
            continue;
        uint32_t u = w->unit[id];
        if (tail[u])
            w->next[tail[u] - 1] = id;
        else
            w->user[u] = id;            /* a unit's own entry: its first member from here on */
        tail[u] = id + 1;
        w->next[id] = UINT32_MAX;
    }
    return true;
}

bool ur__pass_schedule(ur__work *w)
{
    uint32_t levels = 0;
    for (uint32_t id = 0; id < w->n; id++)
        if (w->role[id] > R_HAVE && w->level[id] + 1 > levels)
            levels = w->level[id] + 1;
    uint32_t *count = ur__bump_alloc(&w->g->scratch, (levels + 1) * sizeof *count);
    uint32_t *tail = ur__bump_alloc(&w->g->scratch, w->n * sizeof *tail);
    if (!count || !tail)
        return ur__out_of_memory(&w->g->owner);
    for (uint32_t id = 0; id < w->n; id++)
        if (is_unit(w, id)) {
            count[w->level[id] + 1]++;
            w->n_units++;
        }
    for (uint32_t l = 0; l < levels; l++)
        count[l + 1] += count[l];
    for (uint32_t id = 0; id < w->n; id++)
        if (is_unit(w, id)) {
            w->pos[id] = count[w->level[id]]++;
            w->order[w->pos[id]] = id;
        }
    for (uint32_t id = 0; id < w->n; id++)
        if (ur__computed(w, id) || w->role[id] == R_ABSORBED)
            w->pos[id] = w->pos[w->unit[id]];
    return link_members(w, tail);
}
