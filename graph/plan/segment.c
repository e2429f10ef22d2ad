/* A budget of memory: segments of a long chain are computed again instead of being kept.
 *
 * The forward steps, in order, are divided into segments. What a segment makes is dropped at its
 * end, but for what later segments read, the states at the border. When the gradient's way back
 * comes to a segment whose values it needs, the segment's steps run once more. With n segments of a
 * chain of T steps about T/n steps' values are alive besides n borders: T. Chen et al., "Training
 * Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174), A. Gruslys et al., "Memory-Efficient
 * Backpropagation Through Time" (NIPS 2016), with segments of equal length.
 *
 * Since it is the same steps that run again on the same operands, no bit changes. The least number
 * of segments is taken that fits into the budget: 1 (only the order changes), 2, 3, 4, 6, 8, ... */
#include "graph/plan/segment.h"

/* ------------------------------------------------------------------------------------- segments */

/* Positions before which a segment may begin at little cost: where blocks of a sequence end. */
static bool *find_borders(const ur__segmenting *s)
{
    ur__bump *scratch = &s->w->g->scratch;
    bool *border = ur__bump_alloc(scratch, s->n + 1);
    uint8_t *use = ur__bump_alloc(scratch, s->n_objects + 1);
    enum { BY_STEP = 1, BY_ROWS = 2 };
    if (!border || !use)
        return NULL;
    for (uint32_t i = 0; i < s->n; i++)
        for (uint32_t k = s->spots[i]; k < s->spots[i + 1]; k++) {
            uint32_t x = s->object_of[s->spot[k].first];
            if (s->spot[k].how & UR__WRITES)
                use[x] |= !s->eager[i] && !s->tall[i] && s->forward[i] ? BY_STEP : 0;
            else
                use[x] |= s->tall[i] ? BY_ROWS : 0;
        }
    for (uint32_t x = 0; x < s->n_objects; x++) {
        if (use[x] != (BY_STEP | BY_ROWS) || !s->object[x].forward)
            continue;
        uint32_t pos = s->object[x].done + 1;
        while (pos < s->n && (s->eager[s->order[pos]] || s->tall[s->order[pos]]))
            pos++;
        border[pos] = true;
    }
    return border;
}

static bool counts(const ur__segmenting *s, uint32_t pos)
{
    const uint32_t i = s->order[pos];
    return s->forward[i] && !s->tall[i] && !s->eager[i] && i < s->n_steps;
}

/* Cuts the forward steps into about n segments. What follows the last of them belongs to it. */
static void divide(const ur__segmenting *s, ur__choice *c, const bool *border, uint32_t n)
{
    uint32_t all = 0, so_far = 0, own = 0;
    for (uint32_t pos = 0; pos < s->n; pos++)
        all += counts(s, pos);
    const double length = (double)all / n;
    c->n_segments = 1;
    c->begin[0] = 0;
    for (uint32_t pos = 0; pos < s->n; pos++) {
        bool here = border[pos] ? own >= 0.75 * length : own >= 1.5 * length;
        if (here && own && n > 1 && all - so_far >= 0.25 * length && counts(s, pos)) {
            c->begin[c->n_segments++] = pos;
            own = 0;
        }
        own += counts(s, pos);
        so_far += counts(s, pos);
        c->segment[pos] = c->n_segments - 1;
    }
    c->begin[c->n_segments] = (uint32_t)s->n;
}

/* ----------------------------------------------------------------------------- what is dropped */

static uint32_t segment_of(const ur__segmenting *s, const ur__choice *c, uint32_t object)
{
    return c->segment[s->object[object].made];
}

static bool inside(const ur__choice *c, uint32_t object, const ur__spot *spot)
{
    return c->low[object] != UR__NONE && spot->first >= c->low[object] &&
           spot->last <= c->high[object];
}

/* Values that one segment alone makes, by steps that can run again. */
static void drop_values(const ur__segmenting *s, ur__choice *c)
{
    for (uint32_t x = 0; x < s->n_objects; x++) {
        const ur__object *o = &s->object[x];
        c->low[x] = UR__NONE;
        c->dropped[x] = o->arena && o->forward && o->made != UR__NONE &&
                        c->segment[o->made] == c->segment[o->done] &&
                        c->segment[o->made] + 1 < c->n_segments;
    }
}

/* What forward steps of later segments read: the border. A small part of an object is saved, else
 * all of it is kept. */
static void find_border_values(const ur__segmenting *s, ur__choice *c)
{
    for (uint32_t pos = 0; pos < s->n; pos++) {
        uint32_t i = s->order[pos];
        for (uint32_t k = s->spots[i]; k < s->spots[i + 1] && s->forward[i]; k++) {
            const ur__spot *spot = &s->spot[k];
            uint32_t x = s->object_of[spot->first];
            if (!c->dropped[x] || c->segment[pos] == segment_of(s, c, x))
                continue;
            if (c->low[x] == UR__NONE)
                c->low[x] = spot->first, c->high[x] = spot->last;
            c->low[x] = spot->first < c->low[x] ? spot->first : c->low[x];
            c->high[x] = spot->last > c->high[x] ? spot->last : c->high[x];
        }
    }
    for (uint32_t x = 0; x < s->n_objects; x++) {
        const ur__object *o = &s->object[x];
        if (c->low[x] == UR__NONE)
            continue;
        uint64_t part = s->edge[c->high[x] + 1] - s->edge[c->low[x]];
        if (2 * part > s->edge[o->last + 1] - s->edge[o->first])
            c->dropped[x] = false, c->low[x] = UR__NONE;
    }
}

/* A step that adds to what is kept, or writes elsewhere than to the arena, runs once: what it makes
 * is kept. */
static void keep_what_runs_once(const ur__segmenting *s, ur__choice *c)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < s->n; i++) {
            bool once = false, drops = false;
            for (uint32_t k = s->spots[i]; k < s->spots[i + 1] && s->forward[i]; k++) {
                uint32_t x = s->object_of[s->spot[k].first];
                if (!(s->spot[k].how & UR__WRITES))
                    continue;
                once |= !s->object[x].arena || (s->spot[k].how & UR__READS && !c->dropped[x]);
                drops |= c->dropped[x];
            }
            for (uint32_t k = s->spots[i]; k < s->spots[i + 1] && once && drops; k++)
                if (s->spot[k].how & UR__WRITES) {
                    uint32_t x = s->object_of[s->spot[k].first];
                    changed |= c->dropped[x];
                    c->dropped[x] = false;
                    c->low[x] = UR__NONE;
                }
        }
    }
}

/* What is asked for after its segment, and the steps that make it once more. */
static void find_repeated(const ur__segmenting *s, ur__choice *c)
{
    memset(c->needed, 0, s->n_objects);
    memset(c->repeated, 0, s->n);
    for (uint32_t pos = (uint32_t)s->n; pos-- > 0;) {
        uint32_t i = s->order[pos];
        for (uint32_t k = s->spots[i]; k < s->spots[i + 1]; k++) {
            uint32_t x = s->object_of[s->spot[k].first];
            if (s->spot[k].how & UR__WRITES)
                c->repeated[i] |= c->dropped[x] && c->needed[x];
            else if (c->dropped[x] && c->segment[pos] != segment_of(s, c, x))
                c->needed[x] |= !inside(c, x, &s->spot[k]);
        }
        for (uint32_t k = s->spots[i]; k < s->spots[i + 1] && c->repeated[i]; k++) {
            uint32_t x = s->object_of[s->spot[k].first];
            if (c->dropped[x] && c->segment[pos] == segment_of(s, c, x))
                c->needed[x] = true;
        }
    }
}

/* -------------------------------------------------------------------------------------- entries */

enum { OFFSET_BITS = 48 };

static uint64_t offset_of(const ur__segmenting *s, uint32_t cell)
{
    return s->edge[cell] & (((uint64_t)1 << OFFSET_BITS) - 1);
}

static uint32_t new_instance(const ur__segmenting *s, ur__choice *c, uint32_t first, uint32_t last)
{
    c->instance[c->n_instances] = (ur__instance){
        .begin = offset_of(s, first), .end = offset_of(s, last + 1), .born = UR__NONE };
    return c->n_instances++;
}

/* The memory that a step means by a spot: the object's, what was saved of it, what is computed
 * again. What runs again writes nothing that is kept, but to a place of its own. */
static uint32_t instance_of(const ur__segmenting *s, ur__choice *c, const ur__entry *e,
                            const ur__spot *spot)
{
    uint32_t x = s->object_of[spot->first];
    if (!s->object[x].arena)
        return UR__NONE;
    const bool own = c->dropped[x] && segment_of(s, c, x) == e->segment;
    const bool saved = c->dropped[x] && !own && inside(c, x, spot);
    if (saved)
        return c->saved[x] - 1;
    if (e->what == UR__ONCE ? !c->dropped[x] || own : !own && !(spot->how & UR__WRITES))
        return x;
    if (!c->again[x] || (e->what == UR__AGAIN && c->again_in[x] != e->segment)) {
        c->again[x] = new_instance(s, c, spot->first, spot->last) + 1;
        c->again_in[x] = e->segment;
    }
    ur__instance *n = &c->instance[c->again[x] - 1];
    const uint64_t begin = offset_of(s, spot->first), end = offset_of(s, spot->last + 1);
    n->begin = begin < n->begin ? begin : n->begin;
    n->end = end > n->end ? end : n->end;
    return c->again[x] - 1;
}

static void append(const ur__segmenting *s, ur__choice *c, ur__entry e)
{
    e.spots = c->n_places;
    for (uint32_t k = s->spots[e.index]; e.what != UR__SAVED && k < s->spots[e.index + 1]; k++)
        c->place[c->n_places++] = instance_of(s, c, &e, &s->spot[k]);
    c->entry[c->n_entries++] = e;
}

static void save_borders(const ur__segmenting *s, ur__choice *c, uint32_t segment)
{
    for (uint32_t pos = c->begin[segment]; pos < c->begin[segment + 1]; pos++) {
        uint32_t i = s->order[pos];
        for (uint32_t k = s->spots[i]; k < s->spots[i + 1]; k++) {
            uint32_t x = s->object_of[s->spot[k].first];
            if (!c->dropped[x] || c->low[x] == UR__NONE || c->saved[x] ||
                segment_of(s, c, x) != segment)
                continue;
            c->saved[x] = new_instance(s, c, c->low[x], c->high[x]) + 1;
            append(s, c, (ur__entry){ .what = UR__SAVED, .index = x, .segment = segment });
        }
    }
}

/* Runs again the segments whose values step i, at pos, asks for. */
static void repeat_for(const ur__segmenting *s, ur__choice *c, uint32_t i, uint32_t pos)
{
    for (uint32_t k = s->spots[i]; k < s->spots[i + 1]; k++) {
        uint32_t x = s->object_of[s->spot[k].first];
        if (!c->dropped[x] || c->segment[pos] == segment_of(s, c, x) ||
            inside(c, x, &s->spot[k]))
            continue;
        uint32_t segment = segment_of(s, c, x);
        if (c->ran_again[segment])
            continue;
        c->ran_again[segment] = true;
        for (uint32_t q = c->begin[segment]; q < c->begin[segment + 1]; q++)
            if (c->repeated[s->order[q]])
                append(s, c, (ur__entry){ .what = UR__AGAIN, .index = s->order[q],
                                          .segment = segment });
    }
}

static void list_entries(const ur__segmenting *s, ur__choice *c)
{
    memset(c->saved, 0, s->n_objects * sizeof *c->saved);
    memset(c->again, 0, s->n_objects * sizeof *c->again);
    memset(c->ran_again, 0, c->n_segments);
    c->n_entries = c->n_instances = c->n_places = 0;
    for (uint32_t x = 0; x < s->n_objects; x++)
        new_instance(s, c, s->object[x].first, s->object[x].last);
    for (uint32_t pos = 0; pos < s->n; pos++) {
        if (pos && c->segment[pos] != c->segment[pos - 1])
            save_borders(s, c, c->segment[pos - 1]);
        repeat_for(s, c, s->order[pos], pos);
        append(s, c, (ur__entry){ .what = UR__ONCE, .index = s->order[pos],
                                  .segment = c->segment[pos] });
    }
}

/* --------------------------------------------------------------------------------------- choice */

static bool prepare(ur__segmenting *s, ur__choice *c)
{
    ur__bump *b = &s->w->g->scratch;
    size_t objects = s->n_objects + 1, n = s->n + 1;
    c->segment = ur__bump_alloc(b, n * sizeof *c->segment);
    c->begin = ur__bump_alloc(b, (n + 1) * sizeof *c->begin);
    c->dropped = ur__bump_alloc(b, objects);
    c->needed = ur__bump_alloc(b, objects);
    c->low = ur__bump_alloc(b, objects * sizeof *c->low);
    c->high = ur__bump_alloc(b, objects * sizeof *c->high);
    c->saved = ur__bump_alloc(b, objects * sizeof *c->saved);
    c->again = ur__bump_alloc(b, objects * sizeof *c->again);
    c->again_in = ur__bump_alloc(b, objects * sizeof *c->again_in);
    c->repeated = ur__bump_alloc(b, n);
    c->ran_again = ur__bump_alloc(b, n);
    c->entry = ur__bump_alloc(b, (2 * n + objects) * sizeof *c->entry);
    c->instance = ur__bump_alloc(b, (2 * objects + s->spots[s->n]) * sizeof *c->instance);
    c->place = ur__bump_alloc(b, (2 * s->spots[s->n] + 1) * sizeof *c->place);
    return (c->place && c->segment && c->begin && c->dropped && c->needed && c->low && c->high &&
            c->saved && c->again && c->again_in && c->repeated && c->ran_again && c->entry &&
            c->instance) ||
           ur__out_of_memory(&s->w->g->owner);
}

static bool choose(ur__segmenting *s, ur__choice *c, const bool *border, uint32_t n)
{
    divide(s, c, border, n);
    drop_values(s, c);
    find_border_values(s, c);
    keep_what_runs_once(s, c);
    find_repeated(s, c);
    list_entries(s, c);
    return ur__lay_out(s, c);
}

bool ur__over_budget(ur_graph *g, size_t least)
{
    const double mb = 1024 * 1024;
    return ur__fail(&g->owner, "budget: the values of a run need at least %.4g MB (%zu bytes), but "
                    "%.4g MB (%zu bytes) are allowed", (double)least / mb, least,
                    (double)g->budget / mb, g->budget);
}

/* Which nodes belong to the gradient: what rules made, and what comes of it. */
static bool mark_forward(ur__segmenting *s)
{
    const ur__work *w = s->w;
    bool *backward = ur__bump_alloc(&w->g->scratch, w->n + 1);
    s->forward = ur__bump_alloc(&w->g->scratch, s->n + 1);
    if (!backward || !s->forward)
        return ur__out_of_memory(&w->g->owner);
    for (uint32_t id = 0; id < w->n; id++) {
        backward[id] = w->t->origin[id].anchor != 0;
        for (uint32_t i = 0; i < w->t->node[id].n_in; i++)
            backward[id] |= backward[ur__in(w, id)[i]];
    }
    for (size_t i = 0; i < s->n; i++)
        s->forward[i] = i >= s->n_steps || !backward[s->step[i].node];
    return true;
}

bool ur__pass_segment(ur__work *w)
{
    ur__segmenting s = { .w = w, .budget = w->g->budget };
    ur__choice c = { .n_segments = 0 };
    if (!ur__cut_blocks(&s))
        return false;
    s.step = w->p->step + s.n_packs;
    s.n_steps = w->p->n_steps - s.n_packs;
    s.n = s.n_steps + w->p->n_commits;
    const bool *border = NULL;
    if (!mark_forward(&s) || !ur__find_objects(&s) || !ur__find_order(&s) || !prepare(&s, &c))
        return false;
    if (!(border = find_borders(&s)))
        return ur__out_of_memory(&w->g->owner);
    size_t least = w->usual;
    for (uint32_t n = 1; n <= s.n; n = n & (n - 1) ? n / 3 * 4 : n + (n + 1) / 2) {
        if (!choose(&s, &c, border, n))
            return false;
        if (c.bytes <= s.budget)
            return ur__settle(&s, &c);
        if (2 * c.bytes > 3 * least)
            break;
        least = c.bytes < least ? c.bytes : least;
    }
    return ur__over_budget(w->g, least);
}
