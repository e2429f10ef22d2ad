/* Cells and objects: the memory of a plan, divided by what steps touch.
 *
 * The places that steps touch begin and end at edges; a cell lies between two of them. Cells that
 * some step touches together are one object, which comes and goes as a whole. */
#include "graph/plan/segment.h"

/* Sorts n keys by their lower 56 bits, with as many more to work in. */
static void sort(uint64_t *key, uint64_t *other, size_t n)
{
    enum { BITS = 11, DIGITS = 1 << BITS };
    size_t count[DIGITS];
    uint64_t all = 0;
    for (size_t i = 0; i < n; i++)
        all |= key[i];
    uint64_t *from = key, *to = other;
    for (int shift = 0; shift < 64 && all >> shift; shift += BITS) {
        memset(count, 0, sizeof count);
        for (size_t i = 0; i < n; i++)
            count[from[i] >> shift & (DIGITS - 1)]++;
        for (size_t d = 0, sum = 0; d < DIGITS; d++) {
            size_t c = count[d];
            count[d] = sum;
            sum += c;
        }
        for (size_t i = 0; i < n; i++)
            to[count[from[i] >> shift & (DIGITS - 1)]++] = from[i];
        uint64_t *t = from;
        from = to;
        to = t;
    }
    if (from != key)
        memcpy(key, from, n * sizeof *key);
}

/* Places that matter: values of the arena, results and gradients. What no step writes does not. */
bool ur__tracked(const ur__segmenting *s, const ur__touch *t)
{
    const unsigned region = t->at->region;
    if (region == UR__DATA)
        return t->begin >= s->w->g->data_used;
    return region == UR__ARENA || (region >= UR__VALUES && (region - UR__VALUES) % 2 == 1);
}

static uint32_t cell_at(const ur__segmenting *s, uint64_t edge)
{
    uint32_t low = 0, high = s->n_cells;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (s->edge[mid] < edge)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The edges of all places, sorted, each once; cell k is between edge k and the next. */
static bool find_cells(ur__segmenting *s)
{
    ur__bump *scratch = &s->w->g->scratch;
    size_t spots = 0, n = 0, cells = 0;
    for (size_t i = 0; i < s->n; i++)
        spots += ur__touches_of(s, &s->step[i], i, s->touch, s->touch_room);
    s->spots = ur__bump_alloc(scratch, (s->n + 1) * sizeof *s->spots);
    s->spot = ur__bump_alloc(scratch, (spots + 1) * sizeof *s->spot);
    s->edge = ur__bump_alloc(scratch, (2 * spots + 1) * sizeof *s->edge);
    uint64_t *other = ur__bump_alloc(scratch, (2 * spots + 1) * sizeof *other);
    if (!s->spots || !s->spot || !s->edge || !other)
        return ur__out_of_memory(&s->w->g->owner);
    for (size_t i = 0; i < s->n; i++) {
        size_t count = ur__touches_of(s, &s->step[i], i, s->touch, s->touch_room);
        for (size_t k = 0; k < count; k++)
            if (ur__tracked(s, &s->touch[k])) {
                s->edge[n++] = ur__edge(s->touch[k].at->region, s->touch[k].begin);
                s->edge[n++] = ur__edge(s->touch[k].at->region, s->touch[k].end);
            }
    }
    sort(s->edge, other, n);
    for (size_t k = 0; k < n; k++)
        if (!k || s->edge[k] != s->edge[k - 1])
            s->edge[cells++] = s->edge[k];
    s->n_cells = (uint32_t)cells;
    uint32_t at = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t count = ur__touches_of(s, &s->step[i], i, s->touch, s->touch_room);
        s->spots[i] = at;
        for (size_t k = 0; k < count; k++) {
            const ur__touch *t = &s->touch[k];
            if (ur__tracked(s, t))
                s->spot[at++] = (ur__spot){ cell_at(s, ur__edge(t->at->region, t->begin)),
                                            cell_at(s, ur__edge(t->at->region, t->end)) - 1,
                                            t->how };
        }
    }
    s->spots[s->n] = at;
    return true;
}

bool ur__find_objects(ur__segmenting *s)
{
    if (!find_cells(s))
        return false;
    ur__bump *scratch = &s->w->g->scratch;
    int32_t *joined = ur__bump_alloc(scratch, (s->n_cells + 1) * sizeof *joined);
    s->object_of = ur__bump_alloc(scratch, (s->n_cells + 1) * sizeof *s->object_of);
    s->object = ur__bump_alloc(scratch, (s->n_cells + 1) * sizeof *s->object);
    if (!joined || !s->object_of || !s->object)
        return ur__out_of_memory(&s->w->g->owner);
    for (uint32_t k = 0; k < s->spots[s->n]; k++) {
        joined[s->spot[k].first]++;
        joined[s->spot[k].last]--;
    }
    for (uint32_t c = 0, over = 0; c < s->n_cells; c++) {
        if (!over)
            s->object[s->n_objects++] = (ur__object){
                .first = c, .made = UR__NONE, .arena = s->edge[c] >> 48 == UR__ARENA,
                .forward = true };
        over = (uint32_t)((int32_t)over + joined[c]);
        s->object_of[c] = s->n_objects - 1;
        s->object[s->n_objects - 1].last = c;
    }
    return true;
}
