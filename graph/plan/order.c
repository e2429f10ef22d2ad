/* Objects, dependencies, and the order of steps that keeps least alive.
 *
 * Blocks of rows are done as soon as they can be: the block of logits when its h are there, and with
 * it all that follows from it, down to the gradient of those h. But blocks that time steps wait for,
 * as those of x W_x, are done when the first one asks for them. Everything else stays in order. */
#include "graph/plan/segment.h"

enum { NONE = UINT32_MAX };

/* ---------------------------------------------------------------------------------------- cells */

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
                .first = c, .made = NONE, .arena = s->edge[c] >> 48 == UR__ARENA, .forward = true };
        over = (uint32_t)((int32_t)over + joined[c]);
        s->object_of[c] = s->n_objects - 1;
        s->object[s->n_objects - 1].last = c;
    }
    return true;
}

/* --------------------------------------------------------------------------------- dependencies */

typedef struct reader {
    uint32_t step, next;                /* next: 1 + index */
} reader;

typedef struct ordering {
    ur__segmenting *s;
    uint32_t *writer;                   /* of cells: 1 + the last one so far */
    uint32_t *readers;                  /* since then: 1 + index of reader */
    reader *reader;
    uint32_t n_readers;
    uint32_t *seen;                     /* 1 + step for which a dependency was noted */
    uint32_t n_before;
    /* the order */
    bool *lazy;                         /* of steps cut into blocks */
    uint32_t *unmet;                    /* of blocks that are not lazy: steps they wait for */
    uint32_t *afters, *after;           /* such blocks that wait for step i */
    bool *done;
    uint32_t *ready, n_ready, taken;
    uint32_t *stack, *cursor;
    uint32_t n_order;
} ordering;

static void depend(ordering *o, uint32_t i, uint32_t on)
{
    if (on == i || o->seen[on] == i + 1)
        return;
    o->seen[on] = i + 1;
    o->s->before[o->n_before++] = on;
}

static void note_step(ordering *o, uint32_t i)
{
    ur__segmenting *s = o->s;
    s->befores[i] = o->n_before;
    for (uint32_t k = s->spots[i]; k < s->spots[i + 1]; k++)
        for (uint32_t c = s->spot[k].first; c <= s->spot[k].last; c++) {
            if (o->writer[c])
                depend(o, i, o->writer[c] - 1);
            for (uint32_t r = o->readers[c]; r && s->spot[k].how & UR__WRITES;
                 r = o->reader[r - 1].next)
                depend(o, i, o->reader[r - 1].step);
        }
    for (uint32_t k = s->spots[i]; k < s->spots[i + 1]; k++)
        for (uint32_t c = s->spot[k].first; c <= s->spot[k].last; c++) {
            if (s->spot[k].how & UR__WRITES) {
                o->writer[c] = i + 1;
                o->readers[c] = 0;
            } else {
                o->reader[o->n_readers] = (reader){ i, o->readers[c] };
                o->readers[c] = ++o->n_readers;
            }
        }
}

static bool find_dependencies(ordering *o)
{
    ur__segmenting *s = o->s;
    ur__bump *scratch = &s->w->g->scratch;
    size_t pairs = 0;
    for (uint32_t k = 0; k < s->spots[s->n]; k++)
        pairs += s->spot[k].last - s->spot[k].first + 1;
    o->writer = ur__bump_alloc(scratch, (s->n_cells + 1) * sizeof *o->writer);
    o->readers = ur__bump_alloc(scratch, (s->n_cells + 1) * sizeof *o->readers);
    o->reader = ur__bump_alloc(scratch, (pairs + 1) * sizeof *o->reader);
    o->seen = ur__bump_alloc(scratch, (s->n + 1) * sizeof *o->seen);
    s->befores = ur__bump_alloc(scratch, (s->n + 1) * sizeof *s->befores);
    s->before = ur__bump_alloc(scratch, (2 * pairs + 1) * sizeof *s->before);
    if (!o->writer || !o->readers || !o->reader || !o->seen || !s->befores || !s->before)
        return ur__out_of_memory(&s->w->g->owner);
    for (uint32_t i = 0; i < s->n; i++)
        note_step(o, i);
    s->befores[s->n] = o->n_before;
    return true;
}

/* ---------------------------------------------------------------------------------------- order */

/* Who reads the blocks of each step: time steps, a block each; forward steps over all rows; others
 * that read more than a block. */
typedef struct use {
    bool step, tall, whole;
} use;

/* A step over all rows waits for those who read it when they are time steps of the forward pass, or
 * when whoever reads it waits for such. */
static bool find_lazy(ordering *o)
{
    const ur__segmenting *s = o->s;
    ur__bump *scratch = &s->w->g->scratch;
    use *x = ur__bump_alloc(scratch, (s->n_tall + 1) * sizeof *x);
    uint32_t *count = ur__bump_alloc(scratch, (s->n_tall + 1) * sizeof *count);
    o->lazy = ur__bump_alloc(scratch, s->n_tall + 1);
    if (!x || !count || !o->lazy)
        return ur__out_of_memory(&s->w->g->owner);
    for (uint32_t i = (uint32_t)s->n; i-- > 0;) {
        const uint32_t self = s->tall[i];
        if (self && s->forward[i] && (i + 1 == s->n || s->tall[i + 1] != self))
            o->lazy[self] = x[self].step || (x[self].tall && !x[self].whole);
        for (uint32_t k = s->befores[i]; k < s->befores[i + 1]; k++)
            count[s->tall[s->before[k]]]++;
        for (uint32_t k = s->befores[i]; k < s->befores[i + 1]; k++) {
            use *u = &x[s->tall[s->before[k]]];
            if (!s->forward[i] || s->tall[s->before[k]] == self)
                continue;
            u->step |= !self && count[s->tall[s->before[k]]] == 1;
            u->tall |= self && o->lazy[self];
            u->whole |= self ? !o->lazy[self] : count[s->tall[s->before[k]]] > 1;
        }
        for (uint32_t k = s->befores[i]; k < s->befores[i + 1]; k++)
            count[s->tall[s->before[k]]] = 0;
    }
    return true;
}

static bool eager(const ordering *o, uint32_t i)
{
    return o->s->tall[i] && !o->lazy[o->s->tall[i]];
}

/* Of each step the eager blocks that wait for it. */
static bool find_waiting(ordering *o)
{
    const ur__segmenting *s = o->s;
    ur__bump *scratch = &s->w->g->scratch;
    o->afters = ur__bump_alloc(scratch, (s->n + 2) * sizeof *o->afters);
    o->after = ur__bump_alloc(scratch, (o->n_before + 1) * sizeof *o->after);
    o->unmet = ur__bump_alloc(scratch, (s->n + 1) * sizeof *o->unmet);
    if (!o->afters || !o->after || !o->unmet)
        return ur__out_of_memory(&s->w->g->owner);
    for (uint32_t i = 0; i < s->n; i++)
        for (uint32_t k = s->befores[i]; eager(o, i) && k < s->befores[i + 1]; k++)
            o->afters[s->before[k] + 2]++;
    for (uint32_t i = 0; i < s->n; i++)
        o->afters[i + 2] += o->afters[i + 1];
    for (uint32_t i = 0; i < s->n; i++)
        for (uint32_t k = s->befores[i]; eager(o, i) && k < s->befores[i + 1]; k++) {
            o->after[o->afters[s->before[k] + 1]++] = i;
            o->unmet[i]++;
        }
    return true;
}

static void append(ordering *o, uint32_t i)
{
    o->s->order[o->n_order++] = i;
    o->done[i] = true;
    for (uint32_t k = o->afters[i]; k < o->afters[i + 1]; k++)
        if (--o->unmet[o->after[k]] == 0)
            o->ready[o->n_ready++] = o->after[k];
}

/* Step i, after what it needs. */
static void demand(ordering *o, uint32_t i)
{
    const ur__segmenting *s = o->s;
    uint32_t n = 0;
    if (o->done[i])
        return;
    o->stack[n] = i;
    o->cursor[n++] = s->befores[i];
    while (n) {
        uint32_t x = o->stack[n - 1], *at = &o->cursor[n - 1];
        while (*at < s->befores[x + 1] && o->done[s->before[*at]])
            ++*at;
        if (*at < s->befores[x + 1]) {
            uint32_t next = s->before[*at];
            o->stack[n] = next;
            o->cursor[n++] = s->befores[next];
        } else {
            append(o, x);
            n--;
        }
    }
}

bool ur__find_order(ur__segmenting *s)
{
    ordering o = { .s = s };
    ur__bump *scratch = &s->w->g->scratch;
    if (!find_dependencies(&o) || !find_lazy(&o) || !find_waiting(&o))
        return false;
    s->order = ur__bump_alloc(scratch, (s->n + 1) * sizeof *s->order);
    o.done = ur__bump_alloc(scratch, s->n + 1);
    o.ready = ur__bump_alloc(scratch, (s->n + 1) * sizeof *o.ready);
    o.stack = ur__bump_alloc(scratch, (s->n + 1) * sizeof *o.stack);
    o.cursor = ur__bump_alloc(scratch, (s->n + 1) * sizeof *o.cursor);
    if (!s->order || !o.done || !o.ready || !o.stack || !o.cursor)
        return ur__out_of_memory(&s->w->g->owner);
    for (uint32_t i = 0; i < s->n; i++)
        if (eager(&o, i) && !o.unmet[i])
            o.ready[o.n_ready++] = i;
    for (uint32_t i = 0; i < s->n; i++) {
        for (; o.taken < o.n_ready; o.taken++)
            demand(&o, o.ready[o.taken]);
        if (!s->tall[i])
            demand(&o, i);
    }
    for (uint32_t i = 0; i < s->n; i++)
        demand(&o, i);
    for (uint32_t pos = 0; pos < s->n; pos++)
        for (uint32_t k = s->spots[s->order[pos]]; k < s->spots[s->order[pos] + 1]; k++) {
            ur__object *x = &s->object[s->object_of[s->spot[k].first]];
            if (!(s->spot[k].how & UR__WRITES))
                continue;
            x->made = x->made == NONE ? pos : x->made;
            x->done = pos;
            x->forward &= s->forward[s->order[pos]];
        }
    return true;
}
