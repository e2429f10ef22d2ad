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

/* When roots are written first and read or written last. `reader` is who reads a root last, as long
 * as all its last readers are elementwise and walk it as their own index space. */
static void measure_lives(ur__work *w)
{
    const ur__node *const node = w->t->node;
    const uint32_t *const operand = w->t->operand, *const base = w->base, *const pos = w->pos;
    const uint8_t *const role = w->role, *const stored = w->stored, *const goal = w->goal;
    uint32_t *const first = w->first, *const last = w->last, *const reader = w->reader;
    for (uint32_t id = 0; id < w->n; id++)
        first[id] = UINT32_MAX;
    for (uint32_t id = 0; id < w->n; id++) {
        const ur__node *x = &node[id];
        const uint32_t *in = operand + x->in, own = base[id];
        const bool map = ur__is_map(role[id]), computed = ur__computed(w, id);
        const bool effect = role[id] == R_EFFECT, state = x->op == &ur__op_state_out;
        const uint32_t wrote = goal[id] && !effect ? w->n_units : computed ? pos[id] : 0;
        if (computed && (!map || stored[id]) && pos[id] < first[own])
            first[own] = pos[id];
        if (wrote > last[own] && (goal[id] || !map || stored[id])) {
            last[own] = wrote;
            reader[own] = 0;
        }
        if (!computed && !effect && role[id] != R_ABSORBED)
            continue;
        const uint32_t at = state ? w->n_units : pos[id];
        for (uint32_t i = 0; i < x->n_in; i++) {
            uint32_t u = ur__source(w, id, in[i]), r = base[u];
            if (at < last[r])
                continue;
            if (at > last[r])
                reader[r] = 0;
            last[r] = at;
            if (effect)
                continue;
            if (u != r || !map || node[u].shape != x->shape || node[u].type != x->type)
                reader[r] = UINT32_MAX;
            else if (reader[r] < id + 1)
                reader[r] = id + 1;
        }
    }
}

/* Where results outlive the run: goals with memory of their own go to the data block. */
static bool place_goals(ur__work *w)
{
    ur_graph *g = w->g;
    ur__plan *p = w->p;
    size_t n = 0, used = g->data_used;
    for (size_t id = 0; id < g->tape.n; id++) {
        uint32_t x = w->map[id];
        n += x != UINT32_MAX && w->goal[x] && w->role[x] != R_EFFECT;
    }
    p->kept = ur__bump_alloc(&p->memory, (n + 1) * sizeof *p->kept);
    uint32_t *at = ur__bump_alloc(&g->scratch, w->n * sizeof *at);
    if (!p->kept || !at)
        return ur__out_of_memory(&g->owner);
    for (size_t id = 0; id < g->tape.n; id++) {
        uint32_t x = w->map[id];
        if (x == UINT32_MAX || !w->goal[x] || w->role[x] == R_EFFECT)
            continue;
        if (!at[x]) {
            ur__loc l = { UR__DATA, used };
            used += round_up(ur__shape_at(w, x)->count * ur__type_size(w->t->node[x].type));
            if (w->root[x] == x && !ur__is_leaf(w->t->node[x].op))
                w->loc[x] = l;
            p->kept[p->n_kept] = (ur__kept){ (uint32_t)id, l };
            at[x] = (uint32_t)++p->n_kept;
        } else {
            p->kept[p->n_kept++] = (ur__kept){ (uint32_t)id, p->kept[at[x] - 1].loc };
        }
    }
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
    size_t units = bytes / ALIGN ? bytes / ALIGN : 1;
    unsigned log = log_of(units), shift = log >= 2 ? log - 2 : 0;
    units = ((units - 1) >> shift) + 1;             /* of so many, up to 8 */
    *rounded = (units << shift) * ALIGN;
    log = log_of(units << shift);
    return 4 * log + (unsigned)((units << shift >> (log >= 2 ? log - 2 : 0)) & 3);
}

/* The size class of a root, and what a piece of it takes. */
static unsigned class_of_root(const ur__work *w, uint32_t r, size_t *bytes)
{
    return class_of(round_up(ur__shape_at(w, r)->count * ur__type_size(w->t->node[r].type)),
                    bytes);
}

typedef struct pieces {
    uint32_t *dying, *chain;            /* roots by last position, linked */
    uint32_t free_list[CLASSES];        /* 1 + root whose piece is free */
    uint32_t *free_next;
    size_t end;
} pieces;

enum { FEW = 12 };

/* An elementwise result can lie where an operand lies that nobody reads after it: a program's
 * blocks are read before they are written. So the gates of a cell become their own gradients. */
static bool take_over(ur__work *w, pieces *f, uint32_t r, uint32_t pos)
{
    if (!ur__elementwise(w, r))
        return false;
    uint32_t d = f->dying[pos];
    for (int tries = 0; d && tries < FEW; d = f->chain[d - 1], tries++) {
        uint32_t x = d - 1, reader = w->reader[x];
        if (reader == 0 || reader == UINT32_MAX || w->first[x] >= pos ||
            w->t->node[x].shape != w->t->node[r].shape ||
            w->t->node[x].type != w->t->node[r].type ||
            reader - 1 > r || (reader - 1 == r && w->role[r] == R_SUM_MAP))
            continue;
        w->loc[r] = w->loc[x];
        w->reader[x] = UINT32_MAX;
        w->first[x] = UINT32_MAX;       /* its piece is not its own any more */
        return true;
    }
    return false;
}

/* A call's result can lie over the operand that its op names. */
static bool call_over(ur__work *w, uint32_t r, uint32_t pos)
{
    const ur__node *x = &w->t->node[r];
    if (w->role[r] != R_CALL || !x->op->in_place)
        return false;
    uint32_t u = ur__in(w, r)[x->op->in_place - 1];
    if (w->root[u] != u || w->loc[u].region != UR__ARENA || w->first[u] >= pos ||
        w->last[u] != pos || w->t->node[u].shape != x->shape || w->t->node[u].type != x->type)
        return false;
    for (uint32_t i = 0, seen = 0; i < x->n_in; i++)
        if (ur__root(w, ur__in(w, r)[i]) == u && ++seen > 1)
            return false;
    w->loc[r] = w->loc[u];
    w->first[u] = UINT32_MAX;           /* its piece is not its own any more */
    return true;
}

static void take(ur__work *w, pieces *f, uint32_t r)
{
    size_t bytes;
    unsigned k = class_of_root(w, r, &bytes);
    uint64_t offset;
    if (f->free_list[k]) {
        uint32_t dead = f->free_list[k] - 1;
        f->free_list[k] = f->free_next[dead];
        offset = w->loc[dead].offset;
    } else {
        offset = f->end;
        f->end += bytes;
    }
    w->loc[r] = (ur__loc){ UR__ARENA, offset };
}

static void release(ur__work *w, pieces *f, uint32_t r)
{
    size_t bytes;
    unsigned k = class_of_root(w, r, &bytes);
    f->free_next[r] = f->free_list[k];
    f->free_list[k] = r + 1;
}

bool ur__pass_offsets(ur__work *w)
{
    ur_graph *g = w->g;
    const size_t n = w->n, units = w->n_units;
    pieces f = { .end = 0 };
    uint32_t *born = ur__bump_alloc(&g->scratch, (units + 1) * sizeof *born);
    uint32_t *born_next = ur__bump_take(&g->scratch, n * sizeof *born_next);
    f.dying = ur__bump_alloc(&g->scratch, (units + 1) * sizeof *f.dying);
    f.chain = ur__bump_take(&g->scratch, n * sizeof *f.chain);
    f.free_next = ur__bump_take(&g->scratch, n * sizeof *f.free_next);
    w->first = ur__bump_take(&g->scratch, n * sizeof *w->first);
    w->last = ur__bump_alloc(&g->scratch, n * sizeof *w->last);
    w->reader = ur__bump_alloc(&g->scratch, n * sizeof *w->reader);
    if (!born || !born_next || !f.dying || !f.chain || !f.free_next || !w->first || !w->last ||
        !w->reader)
        return ur__out_of_memory(&g->owner);
    measure_lives(w);
    if (!place_goals(w))
        return false;
    place_gradients(w);
    for (uint32_t id = 0; id < w->n; id++) {
        if (w->first[id] == UINT32_MAX || w->loc[id].region != UR__NOWHERE)
            continue;
        born_next[id] = born[w->first[id]];
        born[w->first[id]] = id + 1;
        f.chain[id] = f.dying[w->last[id]];
        f.dying[w->last[id]] = id + 1;
    }
    for (uint32_t pos = 0; pos < w->n_units; pos++) {
        for (uint32_t r = born[pos]; r; r = born_next[r - 1])
            if (w->usual || (!take_over(w, &f, r - 1, pos) && !call_over(w, r - 1, pos)))
                take(w, &f, r - 1);
        for (uint32_t r = f.dying[pos]; r; r = f.chain[r - 1])
            if (w->first[r - 1] != UINT32_MAX && !w->usual)
                release(w, &f, r - 1);
    }
    w->p->arena_bytes = f.end;
    return true;
}
