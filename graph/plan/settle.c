/* The arena of a plan within a budget, and its steps as they run. */
#include "graph/plan/segment.h"

enum { ALIGN = 64 };

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

/* Free memory: holes as a treap by address, each with the largest size below it, so that the first
 * one that is large enough is found, and neighbours are joined, in a logarithm of their number. */
typedef struct hole {
    uint64_t at, size, most;
    uint32_t left, right, rank;         /* left, right: 1 + hole, or 0 */
} hole;

typedef struct holes {
    hole *hole;
    uint32_t root, n, unused;           /* unused: 1 + the first of a list by `left` */
    uint64_t end;                       /* of what was ever taken */
} holes;

static uint64_t most_of(const holes *h, uint32_t t)
{
    return t ? h->hole[t - 1].most : 0;
}

static uint32_t updated(holes *h, uint32_t t)
{
    hole *x = &h->hole[t - 1];
    uint64_t left = most_of(h, x->left), right = most_of(h, x->right);
    x->most = x->size;
    x->most = left > x->most ? left : x->most;
    x->most = right > x->most ? right : x->most;
    return t;
}

/* All of a lies before all of b. */
static uint32_t joined(holes *h, uint32_t a, uint32_t b)
{
    if (!a || !b)
        return a | b;
    if (h->hole[a - 1].rank > h->hole[b - 1].rank) {
        h->hole[a - 1].right = joined(h, h->hole[a - 1].right, b);
        return updated(h, a);
    }
    h->hole[b - 1].left = joined(h, a, h->hole[b - 1].left);
    return updated(h, b);
}

/* Into those before the address `at` and the others. */
static void split(holes *h, uint32_t t, uint64_t at, uint32_t *a, uint32_t *b)
{
    if (!t) {
        *a = *b = 0;
    } else if (h->hole[t - 1].at < at) {
        split(h, h->hole[t - 1].right, at, &h->hole[t - 1].right, b);
        *a = updated(h, t);
    } else {
        split(h, h->hole[t - 1].left, at, a, &h->hole[t - 1].left);
        *b = updated(h, t);
    }
}

static uint32_t new_hole(holes *h, uint64_t at, uint64_t size)
{
    uint32_t t = h->unused ? h->unused : ++h->n;
    if (h->unused)
        h->unused = h->hole[t - 1].left;
    const uint64_t mixed = (uint64_t)t * 0x9E3779B97F4A7C15u;
    h->hole[t - 1] = (hole){ .at = at, .size = size, .most = size,
                             .rank = (uint32_t)(mixed >> 32) };
    return t;
}

static void forget(holes *h, uint32_t t)
{
    h->hole[t - 1].left = h->unused;
    h->unused = t;
}

/* Takes `size` bytes from the first hole of t that has them; returns what is left of t. */
static uint32_t take_from(holes *h, uint32_t t, uint64_t size, uint64_t *at)
{
    hole *x = &h->hole[t - 1];
    if (most_of(h, x->left) >= size) {
        x->left = take_from(h, x->left, size, at);
    } else if (x->size >= size) {
        *at = x->at;
        x->at += size;
        x->size -= size;
        if (!x->size) {
            uint32_t rest = joined(h, x->left, x->right);
            forget(h, t);
            return rest;
        }
    } else {
        x->right = take_from(h, x->right, size, at);
    }
    return updated(h, t);
}

/* Takes the last hole off t if it ends, or the first if it begins, at `at`. */
static uint32_t absorb(holes *h, uint32_t t, bool last, uint64_t at, uint64_t *size)
{
    hole *x = &h->hole[t - 1];
    uint32_t next = last ? x->right : x->left;
    if (next) {
        next = absorb(h, next, last, at, size);
        *(last ? &x->right : &x->left) = next;
        return updated(h, t);
    }
    if (last ? x->at + x->size != at : x->at != at)
        return t;
    *size = x->size;
    next = last ? x->left : x->right;
    forget(h, t);
    return next;
}

static void give(holes *h, uint64_t at, uint64_t size)
{
    uint32_t a, b;
    uint64_t before = 0, after = 0;
    split(h, h->root, at, &a, &b);
    a = a ? absorb(h, a, true, at, &before) : 0;
    b = b ? absorb(h, b, false, at + size, &after) : 0;
    h->root = joined(h, joined(h, a, new_hole(h, at - before, before + size + after)), b);
}

static uint64_t bytes_of(const ur__instance *x)
{
    return round_up(x->end - x->begin);
}

static void take(holes *h, ur__instance *x)
{
    h->root = take_from(h, h->root, bytes_of(x), &x->at);
    h->end = x->at + bytes_of(x) > h->end ? x->at + bytes_of(x) : h->end;
}

bool ur__lay_out(ur__segmenting *s, ur__choice *c)
{
    measure_lives(s, c);
    const size_t n = c->n_instances, all = c->n_entries + 1;
    uint32_t *list = ur__realloc(NULL, 0, (2 * all + 2 * n + 1) * sizeof *list);
    holes h = { .hole = ur__realloc(NULL, 0, (n + 2) * sizeof *h.hole) };
    if (list && h.hole) {
        uint32_t *born = list, *dying = born + all, *born_next = dying + all;
        uint32_t *dying_next = born_next + n;
        memset(list, 0, (2 * all + 2 * n) * sizeof *list);
        h.root = new_hole(&h, 0, UINT64_MAX / 2);
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
                take(&h, &c->instance[x - 1]);
            for (uint32_t x = dying[k]; x; x = dying_next[x - 1])
                give(&h, c->instance[x - 1].at, bytes_of(&c->instance[x - 1]));
        }
        c->bytes = (size_t)h.end;
    }
    bool ok = list && h.hole;
    ur__realloc(list, list ? (2 * all + 2 * n + 1) * sizeof *list : 0, 0);
    ur__realloc(h.hole, h.hole ? (n + 2) * sizeof *h.hole : 0, 0);
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

/* Moves what a step means to the memory that it has. */
static void relocate(ur__segmenting *s, ur__choice *c, const ur__entry *e, ur__step *step,
                     const ur__instance **place)
{
    const size_t n = arena_touches(s, c, e, step, place);
    for (size_t i = 0; i < n; i++) {
        const uint64_t offset = s->touch[i].at->offset;
        s->touch[i].at->offset = s->w->p->arena_bias + place[i]->at + offset - place[i]->begin;
    }
}

/* The bodies of what runs again, copied while those of the steps are as they were. */
static void **copy_bodies(ur__segmenting *s, ur__choice *c, const ur__instance **place)
{
    ur__work *w = s->w;
    void **body = ur__bump_alloc(&w->g->scratch, (c->n_entries + 1) * sizeof *body);
    for (uint32_t k = 0; body && k < c->n_entries; k++) {
        const ur__entry *e = &c->entry[k];
        ur__step step;
        if (e->what != UR__AGAIN)
            continue;
        step = s->step[e->index];
        if (!(body[k] = step.body = copy_body(w, &step)))
            return NULL;
        relocate(s, c, e, &step, place);
    }
    return body;
}

static bool append_entry(ur__segmenting *s, ur__choice *c, const ur__entry *e, void *again,
                         const ur__instance **place)
{
    if (e->what == UR__SAVED)
        return append_saved(s, c, e);
    if (e->what == UR__AGAIN)
        return ur__append_step(s->w, &s->step[e->index], again);
    relocate(s, c, e, &s->step[e->index], place);
    return e->index >= s->n_steps ||
           ur__append_step(s->w, &s->step[e->index], s->step[e->index].body);
}

bool ur__settle(ur__segmenting *s, ur__choice *c)
{
    ur__plan *p = s->w->p;
    ur__step *step = p->step;
    const ur__instance **place = ur__bump_alloc(&s->w->g->scratch,
                                                (s->touch_room + 1) * sizeof *place);
    if (!place)
        return ur__out_of_memory(&s->w->g->owner);
    p->arena_bias = bias_of(s, c, place);
    void **again = copy_bodies(s, c, place);
    if (!again)
        return ur__out_of_memory(&s->w->g->owner);
    p->arena_bytes = c->bytes;
    p->n_steps = s->w->step_cap = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < s->n_packs; i++)
        ok = ur__append_step(s->w, &step[i], NULL);
    for (uint32_t k = 0; ok && k < c->n_entries; k++) {
        const ur__entry *e = &c->entry[k];
        p->merged[UR__BIT_segment] += e->what == UR__AGAIN;
        ok = append_entry(s, c, e, again[k], place);
    }
    return ok;
}
