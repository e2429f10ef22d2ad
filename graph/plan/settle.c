/* The arena of a plan within a budget, and its steps as they run. */
#include "graph/plan/segment.h"

enum { ALIGN = 64, SIZES = 4096 };

static uint64_t round_up(uint64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---------------------------------------------------------------------------------------- lives */

static void live(ur__choice *c, uint32_t instance, uint32_t entry)
{
    if (instance == UR__NONE)
        return;
    ur__instance *x = &c->instance[instance];
    x->born = x->born == UR__NONE ? entry : x->born;
    x->dies = entry;
}

static void measure_lives(const ur__segmenting *s, ur__choice *c)
{
    for (uint32_t k = 0; k < c->n_entries; k++) {
        const ur__entry *e = &c->entry[k];
        if (e->what == UR__SAVED) {
            live(c, e->index, k);
            live(c, c->saved[e->index] - 1, k);
            continue;
        }
        const bool last = e->index >= s->n_steps;       /* a state: copied after the run */
        const uint32_t n = s->spots[e->index + 1] - s->spots[e->index];
        for (uint32_t j = 0; j < n; j++)
            live(c, c->place[e->spots + j], last ? c->n_entries - 1 : k);
    }
}

/* ----------------------------------------------------------------------------------- the arena */

/* Free pieces by size; sizes recur. */
typedef struct pieces {
    struct { uint64_t size; uint32_t first; } bin[SIZES];       /* first: 1 + instance */
    uint32_t *next;
    uint64_t end;
} pieces;

static uint32_t *bin_of(pieces *f, uint64_t size)
{
    size_t k = (size_t)(size / ALIGN * 0x9E3779B97F4A7C15u >> 32) % SIZES;
    for (size_t tries = 0; tries < SIZES; tries++, k = (k + 1) % SIZES)
        if (!f->bin[k].size || f->bin[k].size == size) {
            f->bin[k].size = size;
            return &f->bin[k].first;
        }
    return NULL;
}

static void take(pieces *f, ur__choice *c, uint32_t x)
{
    const uint64_t size = round_up(c->instance[x].end - c->instance[x].begin);
    uint32_t *first = bin_of(f, size);
    if (first && *first) {
        uint32_t dead = *first - 1;
        *first = f->next[dead];
        c->instance[x].at = c->instance[dead].at;
    } else {
        c->instance[x].at = f->end;
        f->end += size;
    }
}

static void release(pieces *f, ur__choice *c, uint32_t x)
{
    uint32_t *first = bin_of(f, round_up(c->instance[x].end - c->instance[x].begin));
    if (first) {
        f->next[x] = *first;
        *first = x + 1;
    }
}

bool ur__lay_out(ur__segmenting *s, ur__choice *c)
{
    measure_lives(s, c);
    const size_t n = c->n_instances, all = c->n_entries + 1;
    uint32_t *list = ur__realloc(NULL, 0, (2 * all + 3 * n + 1) * sizeof *list);
    pieces *f = ur__realloc(NULL, 0, sizeof *f);
    if (list && f) {
        uint32_t *born = list, *dying = born + all, *born_next = dying + all;
        uint32_t *dying_next = born_next + n;
        memset(list, 0, (2 * all + 3 * n) * sizeof *list);
        memset(f, 0, sizeof *f);
        f->next = dying_next + n;
        for (uint32_t x = 0; x < n; x++) {
            const ur__instance *i = &c->instance[x];
            if (i->born == UR__NONE)
                continue;
            born_next[x] = born[i->born];
            born[i->born] = x + 1;
            dying_next[x] = dying[i->dies];
            dying[i->dies] = x + 1;
        }
        for (uint32_t k = 0; k < c->n_entries; k++) {
            for (uint32_t x = born[k]; x; x = born_next[x - 1])
                take(f, c, x - 1);
            for (uint32_t x = dying[k]; x; x = dying_next[x - 1])
                release(f, c, x - 1);
        }
        c->bytes = (size_t)f->end;
    }
    bool ok = list && f;
    ur__realloc(list, list ? (2 * all + 3 * n + 1) * sizeof *list : 0, 0);
    ur__realloc(f, f ? sizeof *f : 0, 0);
    return ok || ur__out_of_memory(&s->w->g->owner);
}

/* ---------------------------------------------------------------------------------------- steps */

static void *copy(ur__work *w, const void *body, size_t bytes)
{
    void *p = ur__bump_alloc(&w->p->memory, bytes);
    return p ? memcpy(p, body, bytes) : NULL;
}

static void *copy_contraction(ur__work *w, const ur__contraction *c)
{
    ur__contraction *first = NULL, **link = &first;
    for (; c; c = c->gang, link = &(*link)->gang) {
        if (!(*link = copy(w, c, sizeof *c)) ||
            !((*link)->term = copy(w, c->term, c->n_terms * sizeof *c->term)))
            return NULL;
        (*link)->gang = NULL;
    }
    return first;
}

/* A body whose locations can be changed. */
static void *copy_body(ur__work *w, const ur__step *s)
{
    switch (s->what) {
    case UR__PROGRAM: {
        const ur__programmed *x = s->body;
        size_t n = (size_t)(x->program->n_in + x->program->n_out);
        return copy(w, x, sizeof *x + n * sizeof *x->loc);
    }
    case UR__CONTRACT:
        return copy_contraction(w, s->body);
    case UR__MOVE:
        return copy(w, s->body, sizeof(ur__move));
    case UR__ZERO:
        return copy(w, s->body, sizeof(ur__zero));
    case UR__SCATTER:
        return copy(w, s->body, sizeof(ur__scatter));
    case UR__CALL: {
        const ur__call *c = s->body;
        return copy(w, c, sizeof *c + (size_t)c->routine->n_in * sizeof *c->in);
    }
    default:
        return s->body;
    }
}

/* Visits what a step touches in the arena, with the memory that it means. */
static size_t arena_touches(const ur__segmenting *s, ur__choice *c, const ur__entry *e,
                            ur__step *step, const ur__instance **place)
{
    const size_t n = ur__touches_of(s, step, e->index, s->touch, s->touch_room);
    size_t kept = 0;
    for (size_t i = 0, j = 0; i < n; i++) {
        if (!ur__tracked(s, &s->touch[i]))
            continue;
        const uint32_t x = c->place[e->spots + j++];
        if (x == UR__NONE)
            continue;
        s->touch[kept] = s->touch[i];
        place[kept++] = &c->instance[x];
    }
    return kept;
}

/* The first place that a block of rows is counted from may lie before the arena: so far. */
static uint64_t bias_of(const ur__segmenting *s, ur__choice *c, const ur__instance **place)
{
    uint64_t bias = 0;
    for (uint32_t k = 0; k < c->n_entries; k++) {
        const ur__entry *e = &c->entry[k];
        if (e->what == UR__SAVED)
            continue;
        const size_t n = arena_touches(s, c, e, &s->step[e->index], place);
        for (size_t i = 0; i < n; i++) {
            const uint64_t end = place[i]->at + s->touch[i].at->offset;
            bias = end + bias < place[i]->begin ? place[i]->begin - end : bias;
        }
    }
    return round_up(bias);
}

static bool append_saved(ur__segmenting *s, ur__choice *c, const ur__entry *e)
{
    ur__work *w = s->w;
    const ur__instance *to = &c->instance[c->saved[e->index] - 1], *from = &c->instance[e->index];
    ur__move *m = ur__bump_alloc(&w->p->memory, sizeof *m);
    if (!m)
        return ur__out_of_memory(&w->g->owner);
    *m = (ur__move){ .x = { UR__ARENA, w->p->arena_bias + from->at + (to->begin - from->begin) },
                     .y = { UR__ARENA, w->p->arena_bias + to->at }, .rank = 1, .type = UR_I32,
                     .write = UR__OVER, .dim = { (ptrdiff_t)((to->end - to->begin) / 4) },
                     .x_step = { 1 }, .y_step = { 1 } };
    ur__step like = { .what = UR__MOVE,
                      .node = s->step[s->order[s->object[e->index].done]].node };
    return ur__append_step(w, &like, m);
}

static bool append_entry(ur__segmenting *s, ur__choice *c, const ur__entry *e,
                         const ur__instance **place)
{
    ur__work *w = s->w;
    ur__step like = { .what = UR__PACK };
    if (e->index < s->n_steps) {
        like = s->step[e->index];
        if (!(like.body = copy_body(w, &like)))
            return ur__out_of_memory(&w->g->owner);
    }
    const size_t n = arena_touches(s, c, e, &like, place);
    for (size_t i = 0; i < n; i++) {
        const uint64_t offset = s->touch[i].at->offset;
        s->touch[i].at->offset = w->p->arena_bias + place[i]->at + offset - place[i]->begin;
    }
    return e->index >= s->n_steps || ur__append_step(w, &like, like.body);
}

bool ur__settle(ur__segmenting *s, ur__choice *c)
{
    ur__plan *p = s->w->p;
    ur__step *step = p->step;
    const size_t bytes = p->step_cap * sizeof *step;
    const ur__instance **place = ur__bump_alloc(&s->w->g->scratch,
                                                (s->touch_room + 1) * sizeof *place);
    if (!place)
        return ur__out_of_memory(&s->w->g->owner);
    p->arena_bias = bias_of(s, c, place);
    p->arena_bytes = c->bytes;
    p->step = NULL;
    p->n_steps = p->step_cap = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < s->n_packs; i++)
        ok = ur__append_step(s->w, &step[i], NULL);
    for (uint32_t k = 0; ok && k < c->n_entries; k++) {
        const ur__entry *e = &c->entry[k];
        p->merged[UR__BIT_segment] += e->what == UR__AGAIN;
        ok = e->what == UR__SAVED ? append_saved(s, c, e) : append_entry(s, c, e, place);
    }
    ur__realloc(step, bytes, 0);
    return ok;
}
