/* Dependencies, and the order of steps that keeps least alive.
 *
 * Blocks of rows are done as soon as they can be: the block of logits when its h are there, and
 * with it all that follows from it, down to the gradient of those h. But blocks that a chain of
 * time steps waits for, as those of x W_x, are done when the first one asks for them, and so is
 * what could be done long before it is used. Everything else stays in order. */
#include "graph/plan/segment.h"

enum { LONG = 64 };

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
    bool *lazy;                         /* done when it is asked for */
    bool *early;                        /* needs nothing but what can be done at any time */
    uint32_t *mark;
    uint32_t *unmet;                    /* of eager steps: steps they wait for */
    uint32_t *afters, *after;           /* such steps that wait for step i */
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

/* Of a step cut into blocks: where they are, and whether time steps read them, a block each. */
typedef struct blocks {
    uint32_t begin, end;
    bool stepwise;
} blocks;

/* Whether a time step that reads step b comes, by whatever way, after one that reads step a. */
static bool comes_after(ordering *o, uint32_t a, uint32_t b, uint32_t stamp)
{
    const ur__segmenting *s = o->s;
    for (uint32_t i = a + 1; i < s->n; i++) {
        const bool step = !s->tall[i] && s->forward[i];
        bool after = false, reads = false;
        for (uint32_t k = s->befores[i]; k < s->befores[i + 1]; k++) {
            after |= o->mark[s->before[k]] == stamp || (s->before[k] == a && step);
            reads |= s->before[k] == b && step;
        }
        if (after && reads)
            return true;
        o->mark[i] = after ? stamp : o->mark[i];
    }
    return false;
}

static bool find_blocks(ordering *o, blocks *x)
{
    const ur__segmenting *s = o->s;
    uint32_t *count = ur__bump_alloc(&s->w->g->scratch, (s->n_tall + 1) * sizeof *count);
    if (!count)
        return ur__out_of_memory(&s->w->g->owner);
    for (uint32_t i = 0; i < s->n; i++) {
        blocks *own = &x[s->tall[i]];
        own->begin = own->end ? own->begin : i;
        own->end = i + 1;
        for (uint32_t k = s->befores[i]; k < s->befores[i + 1]; k++)
            count[s->tall[s->before[k]]]++;
        for (uint32_t k = s->befores[i]; k < s->befores[i + 1]; k++) {
            const uint32_t of = s->tall[s->before[k]];
            x[of].stepwise |= count[of] == 1 && !s->tall[i] && s->forward[i];
            count[of] = 0;
        }
    }
    return true;
}

/* Blocks that a chain of time steps reads are lazy, and those that only lazy ones are made from. */
static void find_lazy_blocks(ordering *o, const blocks *x, bool *eager_reader, bool *lazy_reader)
{
    const ur__segmenting *s = o->s;
    for (uint32_t t = (uint32_t)s->n_tall; t > 0; t--) {
        if (!s->forward[x[t].begin])
            continue;
        bool lazy = x[t].stepwise ? comes_after(o, x[t].begin, x[t].end - 1, 2 * t) ||
                                    comes_after(o, x[t].end - 1, x[t].begin, 2 * t + 1)
                                  : lazy_reader[t] && !eager_reader[t];
        for (uint32_t i = x[t].begin; i < x[t].end; i++) {
            o->lazy[i] = lazy;
            for (uint32_t k = s->befores[i]; k < s->befores[i + 1]; k++)
                (lazy ? lazy_reader : eager_reader)[s->tall[s->before[k]]] = true;
        }
    }
}

/* Steps that would be done long before they are read are lazy, too: forward ones that could be done
 * at any time, and time steps of the way back that wait for nothing but their block. */
static bool find_lazy_steps(ordering *o)
{
    const ur__segmenting *s = o->s;
    uint32_t *reader = ur__bump_alloc(&s->w->g->scratch, (s->n + 1) * sizeof *reader);
    if (!reader)
        return ur__out_of_memory(&s->w->g->owner);
    for (uint32_t i = 0; i < s->n; i++)
        for (uint32_t k = s->befores[i]; k < s->befores[i + 1]; k++)
            reader[s->before[k]] = reader[s->before[k]] ? reader[s->before[k]] : i;
    for (uint32_t i = 0; i < s->n_steps; i++) {
        bool of_block = false;
        o->early[i] = s->forward[i] && !s->tall[i];
        for (uint32_t k = s->befores[i]; k < s->befores[i + 1]; k++) {
            const uint32_t on = s->before[k];
            o->early[i] &= o->early[on];
            of_block |= !s->forward[i] && s->tall[on] && !s->forward[on];
        }
        if (!s->tall[i])
            o->lazy[i] = (o->early[i] || of_block) && reader[i] > i + LONG;
    }
    return true;
}

/* Blocks that are not lazy are eager, and with them the time steps of an output layer that is done
 * step by step; products into gradients, which let go of what they add up. */
static void find_eager(ordering *o, const blocks *x)
{
    ur__segmenting *s = o->s;
    for (uint32_t i = 0; i < s->n_steps; i++) {
        const ur__contraction *c = s->step[i].body;
        s->eager[i] = s->tall[i] ? !o->lazy[i]
                                 : s->step[i].what == UR__CONTRACT && !s->forward[i] &&
                                       c->c.region != UR__ARENA;
        for (uint32_t k = s->befores[i]; !s->tall[i] && !o->lazy[i] && k < s->befores[i + 1]; k++) {
            const uint32_t on = s->before[k], t = s->tall[on];
            s->eager[i] |= s->eager[on] && (!t || (s->forward[on] && x[t].stepwise));
        }
    }
}

static bool find_classes(ordering *o)
{
    ur__segmenting *s = o->s;
    ur__bump *scratch = &s->w->g->scratch;
    blocks *x = ur__bump_alloc(scratch, (s->n_tall + 1) * sizeof *x);
    bool *readers = ur__bump_alloc(scratch, 2 * (s->n_tall + 1));
    o->mark = ur__bump_alloc(scratch, (s->n + 1) * sizeof *o->mark);
    o->lazy = ur__bump_alloc(scratch, s->n + 1);
    o->early = ur__bump_alloc(scratch, s->n + 1);
    s->eager = ur__bump_alloc(scratch, s->n + 1);
    if (!x || !readers || !o->mark || !o->lazy || !o->early || !s->eager)
        return ur__out_of_memory(&s->w->g->owner);
    if (!find_blocks(o, x))
        return false;
    find_lazy_blocks(o, x, readers, readers + s->n_tall + 1);
    if (!find_lazy_steps(o))
        return false;
    find_eager(o, x);
    return true;
}

/* Whether eager steps wait for i, rather than ask for it. */
static bool awaited(const ordering *o, uint32_t i)
{
    return !o->lazy[i] || !o->early[i];
}

/* Of each step the eager ones that wait for it. */
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
        for (uint32_t k = s->befores[i]; s->eager[i] && k < s->befores[i + 1]; k++)
            o->afters[s->before[k] + 2] += awaited(o, s->before[k]);
    for (uint32_t i = 0; i < s->n; i++)
        o->afters[i + 2] += o->afters[i + 1];
    for (uint32_t i = 0; i < s->n; i++)
        for (uint32_t k = s->befores[i]; s->eager[i] && k < s->befores[i + 1]; k++) {
            if (!awaited(o, s->before[k]))
                continue;
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
    if (!find_dependencies(&o) || !find_classes(&o) || !find_waiting(&o))
        return false;
    s->order = ur__bump_alloc(scratch, (s->n + 1) * sizeof *s->order);
    o.done = ur__bump_alloc(scratch, s->n + 1);
    o.ready = ur__bump_alloc(scratch, (s->n + 1) * sizeof *o.ready);
    o.stack = ur__bump_alloc(scratch, (s->n + 1) * sizeof *o.stack);
    o.cursor = ur__bump_alloc(scratch, (s->n + 1) * sizeof *o.cursor);
    if (!s->order || !o.done || !o.ready || !o.stack || !o.cursor)
        return ur__out_of_memory(&s->w->g->owner);
    for (uint32_t i = 0; i < s->n; i++)
        if (s->eager[i] && !o.unmet[i])
            o.ready[o.n_ready++] = i;
    for (uint32_t i = 0; i < s->n; i++) {
        for (; o.taken < o.n_ready; o.taken++)
            demand(&o, o.ready[o.taken]);
        if (!s->eager[i] && !o.lazy[i])
            demand(&o, i);
    }
    for (uint32_t i = 0; i < s->n; i++)
        demand(&o, i);
    for (uint32_t pos = 0; pos < s->n; pos++)
        for (uint32_t k = s->spots[s->order[pos]]; k < s->spots[s->order[pos] + 1]; k++) {
            ur__object *x = &s->object[s->object_of[s->spot[k].first]];
            if (!(s->spot[k].how & UR__WRITES))
                continue;
            x->made = x->made == UR__NONE ? pos : x->made;
            x->done = pos;
            x->forward &= s->forward[s->order[pos]];
        }
    return true;
}
