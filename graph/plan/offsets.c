/* Memory: an offset in the arena for every value that a step writes.
 *
 * A root (a value with memory of its own) lives from the first step that writes into it to the last
 * that reads it, forward and backward together. Walking the steps in order, memory is taken from
 * the free pieces of the same size class, or at the end; what dies is freed after its step. Linear
 * in the number of values; a recurrence finds the pieces of the step before.
 *
 * Goals lie in the tape's data block instead, where they outlive the arena; the gradient of a
 * parameter, made by one product or accumulation, lies in the store at once. */
#include "graph/plan/plan.h"

enum { ALIGN = 64, CLASSES = 64 * 4 };

static size_t round_up(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* Of roots: 1 + the position at which one is written first, or 0; and its end: the position at
 * which it is written or read last, above who reads it there: 1 + the last node, as long as all of
 * them are elementwise and walk it as their own index space, or OTHER; 0 nobody. The end is the
 * greatest of what is noted. */
typedef struct lives {
    uint32_t *first;
    uint64_t *end;
} lives;
static const uint32_t OTHER = UINT32_MAX;

static inline uint64_t end_of(uint32_t pos, uint32_t reader)
{
    return (uint64_t)pos << 32 | reader;
}

static inline void note(uint64_t *end, uint64_t seen)
{
    *end = seen > *end ? seen : *end;
}

/* What an elementwise node reads. Within its cluster that says nothing: whatever is stored of it
 * is read later, too. */
static void note_map(const ur__work *w, uint64_t *end, uint32_t id, uint32_t pos)
{
    const ur__node *const node = w->t->node, *const x = &node[id];
    const uint32_t *in = ur__in(w, id), *const last = in + x->n_in, *const unit = w->unit;
    const uint32_t own = unit[id];
    for (; in < last; in++) {
        if (unit[*in] == own)
            continue;
        const uint32_t u = ur__source(w, id, *in), r = w->base[u];
        const bool same = u == r && node[u].shape == x->shape && node[u].type == x->type;
        note(&end[r], end_of(pos, same ? id + 1 : OTHER));
    }
}

/* The lives of all roots; a list of those that are written, in order of the tape. */
static uint32_t measure_lives(const ur__work *w, lives l, uint32_t *roots)
{
    const ur__node *const node = w->t->node;
    const uint32_t *const operand = w->t->operand, *const base = w->base, *const unit = w->unit;
    const uint32_t *const pos = w->pos, n = w->n;
    const uint8_t *const role = w->role, *const stored = w->stored;
    uint32_t n_roots = 0;
    for (uint32_t id = 0; id < n; id++) {
        const uint8_t r = role[id];
        if (!((UR__COMPUTED | 1u << R_ABSORBED) >> r & 1))
            continue;
        const uint32_t at = pos[unit[id]], own = base[id];
        const bool map = ur__is_map(r);
        if (r != R_ABSORBED && (!map || stored[id])) {
            if (!l.first[own] || at < l.first[own] - 1)
                l.first[own] = at + 1;
            note(&l.end[own], end_of(at, 0));
            if (own == id)
                roots[n_roots++] = id;
        }
        if (map) {
            note_map(w, l.end, id, at);
            continue;
        }
        const uint32_t *in = operand + node[id].in, *const end = in + node[id].n_in;
        for (const uint64_t seen = end_of(at, OTHER); in < end; in++)
            note(&l.end[base[*in]], seen);
    }
    for (uint32_t k = 0; k < w->n_effects; k++) {
        const uint32_t id = w->effect[k];
        const uint32_t at = node[id].op == &ur__op_state_out ? w->n_units : pos[id];
        for (uint32_t i = 0; i < node[id].n_in && role[id] == R_EFFECT; i++)
            note(&l.end[base[ur__in(w, id)[i]]], end_of(at, 0));
    }
    return n_roots;
}

/* Where results outlive the run: goals with memory of their own go to the data block. */
static bool place_goals(ur__work *w, uint64_t *end)
{
    ur_graph *g = w->g;
    ur__plan *p = w->p;
    size_t n = 0, used = g->data_used;
    uint32_t *const goal = ur__bump_take(&g->scratch, g->tape.n * sizeof *goal);
    uint32_t *const at = ur__bump_take(&g->scratch, w->n * sizeof *at);
    for (size_t id = 0; goal && id < g->tape.n; id++) {
        const uint32_t x = w->map[id];
        if (x != UINT32_MAX && w->goal[x] && w->role[x] != R_EFFECT)
            goal[n++] = (uint32_t)id;
    }
    p->kept = ur__bump_take(&p->memory, (n + 1) * sizeof *p->kept);
    if (!p->kept || !goal || !at)
        return ur__out_of_memory(&g->owner);
    for (size_t k = 0; k < n; k++)
        at[w->map[goal[k]]] = UINT32_MAX;
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t x = w->map[goal[k]];
        if (at[x] != UINT32_MAX) {
            p->kept[k] = (ur__kept){ goal[k], p->kept[at[x]].loc };
            continue;
        }
        ur__loc l = { UR__DATA, used };
        used += round_up(ur__shape_at(w, x)->count * ur__type_size(w->t->node[x].type));
        if (w->root[x] == x && !ur__is_leaf(w->t->node[x].op))
            w->loc[x] = l;
        note(&end[w->base[x]], end_of(w->n_units, 0));
        p->kept[k] = (ur__kept){ goal[k], l };
        at[x] = k;
    }
    p->n_kept = n;
    p->data_end = used;
    return true;
}

/* Whether steps that can add make all parts of a tiled sum. */
static bool tiles_can_add(const ur__work *w, uint32_t id)
{
    for (uint32_t i = 0; i < w->t->node[id].n_in; i++) {
        uint32_t pad = ur__in(w, id)[i], part = ur__in(w, pad)[0];
        bool adds = w->role[part] == R_ACCUMULATE
                  ? !w->stored[part] || w->stored[part] == UR__CHUNKED
                  : w->role[part] == R_CONTRACTION && ur__plain_product(w, part);
        if (w->role[pad] != R_PART && (!adds || w->uses[part] != 1))
            return false;
    }
    return true;
}

static bool can_add(const ur__work *w, uint32_t id)
{
    switch (w->role[id]) {
    case R_CONTRACTION: return ur__plain_product(w, id);
    case R_SCATTER: return true;
    case R_ACCUMULATE:
        return !w->stored[id] || w->stored[id] == UR__GATHERED || w->stored[id] == UR__CHUNKED ||
               (w->stored[id] == UR__TILED && tiles_can_add(w, id));
    default: return false;
    }
}

/* A gradient that one step makes and nobody else reads is made in the store. */
static void place_gradients(ur__work *w)
{
    for (uint32_t k = 0; k < w->n_effects; k++) {
        uint32_t id = w->effect[k];
        if (w->t->node[id].op != &ur__op_deposit || w->role[id] != R_EFFECT)
            continue;
        uint32_t d = ur__in(w, id)[0];
        const int64_t *a = ur__attr(w, id);
        if (w->stored[d] == UR__TILED && ur__deposits(w, id) > 1)
            continue;                   /* parts of two gradients are made in any order */
        if (can_add(w, d) && w->uses[d] == 1 && !w->goal[d] && w->root[d] == d &&
            w->loc[d].region == UR__NOWHERE) {
            const ur_params *ps = w->g->slot[a[0]].store;
            w->loc[d] = (ur__loc){ UR__VALUES + 2 * (uint32_t)a[0] + 1,
                                   ps->param[a[1]].offset * ur__type_size((int)ps->type) };
        }
    }
}

static unsigned log_of(size_t n)
{
#if defined(__GNUC__)
    return 63u - (unsigned)__builtin_clzll(n);
#else
    unsigned log = 0;
    while (n >> (log + 1))
        log++;
    return log;
#endif
}

/* Size classes: four to every power of two, so at most a quarter is lost. */
static unsigned class_of(size_t bytes, size_t *rounded)
{
    size_t units = bytes > ALIGN ? (bytes + ALIGN - 1) / ALIGN : 1;
    unsigned log = log_of(units), shift = log >= 2 ? log - 2 : 0;
    units = ((units - 1) >> shift) + 1;             /* of so many: 4 to 8, or fewer */
    *rounded = (units << shift) * ALIGN;
    return 4 * shift + (unsigned)units;
}

typedef struct pieces {
    lives l;
    uint32_t *dying, *chain;            /* roots by last position, linked */
    uint8_t *class;                     /* of the piece that a root took */
    uint32_t free_list[CLASSES];        /* 1 + root whose piece is free */
    uint32_t *free_next;
    size_t end, shared;                 /* shared: values with the memory of others */
} pieces;

enum { FEW = 12 };

/* The piece of x is that of r from now on. */
static void hand_over(ur__work *w, pieces *f, uint32_t x, uint32_t r)
{
    w->loc[r] = w->loc[x];
    f->class[r] = f->class[x];
    f->l.first[x] = 0;
    f->shared++;
}

/* An elementwise result can lie where an operand lies that nobody reads after it: a program's
 * blocks are read before they are written. So the gates of a cell become their own gradients. */
static bool take_over(ur__work *w, pieces *f, uint32_t r, uint32_t pos)
{
    const ur__node *const node = w->t->node;
    if (!ur__elementwise(w, r))
        return false;
    uint32_t d = f->dying[pos];
    for (int tries = 0; d && tries < FEW; d = f->chain[d - 1], tries++) {
        const uint32_t x = d - 1, reader = (uint32_t)f->l.end[x];
        if (reader == 0 || reader == OTHER || f->l.first[x] - 1 >= pos ||
            node[x].shape != node[r].shape || node[x].type != node[r].type ||
            reader - 1 > r || (reader - 1 == r && w->role[r] == R_SUM_MAP))
            continue;
        hand_over(w, f, x, r);
        return true;
    }
    return false;
}

/* A call's result can lie over the operand that its op names. */
static bool call_over(ur__work *w, pieces *f, uint32_t r, uint32_t pos)
{
    const ur__node *x = &w->t->node[r];
    if (w->role[r] != R_CALL || !x->op->in_place)
        return false;
    uint32_t u = ur__in(w, r)[x->op->in_place - 1];
    if (w->root[u] != u || w->loc[u].region != UR__ARENA || f->l.first[u] - 1 >= pos ||
        f->l.end[u] >> 32 != pos || w->t->node[u].shape != x->shape ||
        w->t->node[u].type != x->type)
        return false;
    for (uint32_t i = 0, seen = 0; i < x->n_in; i++)
        if (ur__root(w, ur__in(w, r)[i]) == u && ++seen > 1)
            return false;
    hand_over(w, f, u, r);
    return true;
}

static void take(ur__work *w, pieces *f, uint32_t r)
{
    const ur__node *x = &w->t->node[r];
    size_t bytes;
    const unsigned k = class_of(w->g->shape[x->shape].count * ur__type_size(x->type), &bytes);
    uint64_t offset = f->end;
    if (f->free_list[k]) {
        uint32_t dead = f->free_list[k] - 1;
        f->free_list[k] = f->free_next[dead];
        offset = w->loc[dead].offset;
        f->shared++;
    } else {
        f->end += bytes;
    }
    f->class[r] = (uint8_t)k;
    w->loc[r] = (ur__loc){ UR__ARENA, offset };
}

static void release(pieces *f, uint32_t r)
{
    const unsigned k = f->class[r];
    f->free_next[r] = f->free_list[k];
    f->free_list[k] = r + 1;
}

/* Hands out memory in order of execution. */
static void walk(ur__work *w, pieces *f, const uint32_t *roots, uint32_t n_roots, uint32_t *born,
                 uint32_t *born_next)
{
    for (uint32_t k = 0; k < n_roots; k++) {
        const uint32_t id = roots[k], first = f->l.first[id] - 1, last = f->l.end[id] >> 32;
        if (w->loc[id].region != UR__NOWHERE)
            continue;
        born_next[id] = born[first];
        born[first] = id + 1;
        f->chain[id] = f->dying[last];
        f->dying[last] = id + 1;
    }
    /* apart: for a budget (segment.c), or to find faults */
    const bool apart = w->usual || !ur__on(w->g, UR__BIT_memory);
    for (uint32_t pos = 0; pos < w->n_units; pos++) {
        for (uint32_t r = born[pos]; r; r = born_next[r - 1])
            if (apart || (!take_over(w, f, r - 1, pos) && !call_over(w, f, r - 1, pos)))
                take(w, f, r - 1);
        for (uint32_t r = f->dying[pos]; r; r = f->chain[r - 1])
            if (f->l.first[r - 1] && !apart)
                release(f, r - 1);
    }
    w->p->arena_bytes = f->end;
    w->p->merged[UR__BIT_memory] = f->shared;
}

bool ur__pass_offsets(ur__work *w)
{
    ur__bump *const s = &w->g->scratch;
    const size_t n = w->n, units = w->n_units;
    pieces f = { .end = 0 };
    uint32_t *born = ur__bump_alloc(s, (units + 1) * sizeof *born);
    uint32_t *born_next = ur__bump_take(s, n * sizeof *born_next);
    uint32_t *roots = ur__bump_take(s, n * sizeof *roots);
    f.dying = ur__bump_alloc(s, (units + 1) * sizeof *f.dying);
    f.chain = ur__bump_take(s, n * sizeof *f.chain);
    f.free_next = ur__bump_take(s, n * sizeof *f.free_next);
    f.class = ur__bump_take(s, n);
    f.l.first = ur__bump_alloc(s, n * sizeof *f.l.first);
    f.l.end = ur__bump_alloc(s, n * sizeof *f.l.end);
    if (!born || !born_next || !roots || !f.dying || !f.chain || !f.free_next || !f.class ||
        !f.l.first || !f.l.end)
        return ur__out_of_memory(&w->g->owner);
    const uint32_t n_roots = measure_lives(w, f.l, roots);
    if (!place_goals(w, f.l.end))
        return false;
    place_gradients(w);
    walk(w, &f, roots, n_roots, born, born_next);
    return true;
}
