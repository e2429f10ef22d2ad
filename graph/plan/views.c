/* Views: values that are part of another value's memory, so that nothing is copied.
 *
 *   reshape                    its operand under another shape
 *   slice                      a part of its operand; where it is not contiguous, only consumers
 *                              that take strides (elementwise, products, moves) see it so
 *   stack, concat in front     the operands are computed where they belong: [T, B, F] sequences
 *   sums of padded parts       likewise, where the parts tile the sum: the adjoint of the above */
#include "graph/plan/plan.h"

/* Puts id into the memory of another value, from which pass on it has no memory of its own. */
void ur__lie_in(ur__work *w, uint32_t id, uint32_t of, int64_t offset)
{
    w->root[id] = of;
    w->offset[id] = offset;
    w->placed[w->n_placed++] = id;
}

/* Follows the chains of roots of what was placed to their ends. */
bool ur__find_roots(ur__work *w)
{
    const uint32_t *const root = w->root;
    const int64_t *const offset = w->offset;
    for (uint32_t k = 0; k < w->n_placed; k++) {
        const uint32_t id = w->placed[k];
        uint32_t of = id;
        int64_t at = 0;
        for (; root[of] != of; of = root[of])
            at += offset[of];
        w->base[id] = of;
        w->shift[id] = at;
    }
    return true;
}

static bool leading(const ur_shape *s, int64_t axis)
{
    for (int64_t i = 0; i < axis; i++)
        if (s->dim[i] != 1)
            return false;
    return true;
}

/* Elements of one index along an axis. */
static int64_t inner(const ur_shape *s, int64_t axis)
{
    int64_t n = 1;
    for (int i = (int)axis + 1; i < s->rank; i++)
        n *= s->dim[i];
    return n;
}

static void alias(ur__work *w, uint32_t id, uint32_t of, int64_t offset)
{
    w->role[id] = R_ALIAS;
    ur__lie_in(w, id, of, offset);
}

static bool view_slice(ur__work *w, uint32_t id)
{
    uint32_t u = ur__in(w, id)[0];
    const int64_t *a = ur__attr(w, id);
    const ur_shape *s = &ur__shape_at(w, u)->s, *out = &ur__shape_at(w, id)->s;
    if (!w->stride[u] && leading(s, a[0])) {
        alias(w, id, u, a[1] * inner(s, a[0]));
    } else if (!w->strict[id] && !w->goal[id] && out->rank == s->rank) {
        w->stride[id] = ur__bump_alloc(&w->g->scratch, UR_MAX_RANK * sizeof **w->stride);
        if (!w->stride[id])
            return ur__out_of_memory(&w->g->owner);
        ur__strides(w, u, w->stride[id]);
        alias(w, id, u, a[1] * w->stride[id][a[0]]);
    } else {
        return true;
    }
    w->p->merged[UR__BIT_views]++;
    return true;
}

/* Lets u be computed inside `of`, if nothing speaks against it. */
static void place(ur__work *w, uint32_t u, uint32_t of, int64_t offset)
{
    if (!ur__computed(w, u) || w->root[u] != u || w->goal[u] ||
        w->t->node[u].type != w->t->node[of].type)
        return;
    ur__lie_in(w, u, of, offset);
    w->p->merged[UR__BIT_views]++;
}

static void place_parts(ur__work *w, uint32_t id)
{
    const ur__node *x = &w->t->node[id];
    if (!leading(&ur__shape_at(w, id)->s, ur__attr(w, id)[0]))
        return;
    int64_t offset = 0;
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = ur__in(w, id)[i];
        place(w, u, id, offset);
        offset += (int64_t)ur__shape_at(w, u)->count;
    }
}

/* The position of a padded part in front, in elements, or -1. */
static int64_t part_begin(const ur__work *w, uint32_t pad)
{
    const int64_t *a = ur__attr(w, pad);
    const ur_shape *s = &ur__shape_at(w, pad)->s;
    if (w->role[pad] != R_ABSORBED || w->t->node[pad].op->kind != UR_PAD || !leading(s, a[0]))
        return -1;
    return a[1] * inner(s, a[0]);
}

/* A sum of nothing but scattered rows adds them while they are in the cache. */
static bool place_rows(ur__work *w, uint32_t id)
{
    const ur__node *x = &w->t->node[id];
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = ur__in(w, id)[i];
        if (w->role[u] != R_ABSORBED || w->t->node[u].op->kind != UR_SCATTER)
            return false;
    }
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = ur__in(w, id)[i];
        w->role[u] = R_ROWS;
        w->unit[u] = u;
        ur__lie_in(w, u, id, 0);
    }
    w->stored[id] = UR__GATHERED;
    return true;
}

/* Of a value that is sliced, what slices have taken of it so far, in elements from `begin` to
 * `end`; `shared` when they overlap. */
typedef struct slices {
    int64_t begin, end;
    uint32_t n;
    bool shared;
} slices;

static void note_slice(const ur__work *w, slices *s, uint32_t id)
{
    const int64_t *a = ur__attr(w, id);
    uint32_t u = ur__in(w, id)[0];
    const ur_shape *from = &ur__shape_at(w, u)->s;
    const int64_t begin = a[1] * inner(from, a[0]);
    const int64_t end = begin + (int64_t)ur__shape_at(w, id)->count;
    s->shared |= !leading(from, a[0]) || (s->n && begin < s->end && end > s->begin);
    s->begin = !s->n || begin < s->begin ? begin : s->begin;
    s->end = !s->n || end > s->end ? end : s->end;
    s->n++;
}

/* Entries for the values that are sliced; the others are not written. */
static slices *find_slices(const ur__work *w)
{
    slices *s = ur__bump_take(&w->g->scratch, w->n * sizeof *s);
    const uint32_t *const site = w->site, n = s ? w->n_sites : 0;
    const uint8_t *const role = w->role;
    for (uint32_t k = 0; k < n; k++)
        if (role[site[k]] == R_SLICE)
            s[ur__in(w, site[k])[0]] = (slices){ .n = 0 };
    for (uint32_t k = 0; k < n; k++)
        if (role[site[k]] == R_SLICE)
            note_slice(w, &s[ur__in(w, site[k])[0]], site[k]);
    return s;
}

/* Whether u is a slice of a computed value that only such slices read, and only the sum reads u. */
static bool own_slice(const ur__work *w, const slices *s, uint32_t u)
{
    uint32_t of = w->root[u];
    return w->role[u] == R_ALIAS && w->t->node[u].op->kind == UR_SLICE && w->uses[u] == 1 &&
           !w->stride[u] && of == ur__in(w, u)[0] && w->root[of] == of && ur__computed(w, of) &&
           !w->goal[of] && !s[of].shared && s[of].n == w->uses[of];
}

/* Lets one term to which products are added lie where the sum will be: rows gathered there, or the
 * slice of a sequence in which the sum is then computed. */
static void place_seed(ur__work *w, const slices *s, uint32_t id)
{
    bool products = false;
    uint32_t seed = id;
    for (uint32_t i = 0; i < w->t->node[id].n_in; i++) {
        uint32_t u = ur__in(w, id)[i];
        products |= w->role[u] == R_ABSORBED && w->t->node[u].op->kind == UR_CONTRACTION;
        if (seed == id && ((w->role[u] == R_CALL && w->uses[u] == 1) || own_slice(w, s, u)))
            seed = u;
    }
    if (!products || seed == id || w->t->node[w->user[id]].op == &ur__op_deposit || w->goal[id])
        return;
    if (w->role[seed] == R_CALL) {
        place(w, seed, id, 0);
        if (w->root[seed] != id)
            return;
    } else {
        ur__lie_in(w, id, w->root[seed], w->offset[seed]);
    }
    w->stored[id] = UR__SEEDED;
}

/* A sum of parts in front that tile it, in either order, needs no zeros and no additions. */
static void place_sum(ur__work *w, uint32_t id)
{
    const ur__node *x = &w->t->node[id];
    const uint32_t *in = ur__in(w, id);
    int64_t total = (int64_t)ur__shape_at(w, id)->count, up = 0, down = total;
    bool rising = true, falling = true;
    for (uint32_t i = 0; i < x->n_in; i++) {
        int64_t at = part_begin(w, in[i]);
        if (at < 0)
            return;
        w->offset[in[i]] = at;
        int64_t n = (int64_t)ur__shape_at(w, ur__in(w, in[i])[0])->count;
        rising = rising && at == up;
        falling = falling && at + n == down;
        up = at + n;
        down = at;
    }
    if (!(rising && up == total) && !(falling && down == 0))
        return;
    w->stored[id] = UR__TILED;
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t part = ur__in(w, in[i])[0];
        const int64_t at = w->offset[in[i]];
        place(w, part, id, at);
        if (w->root[part] != id || w->offset[part] != at || w->role[part] == R_ALIAS) {
            w->role[in[i]] = R_PART;
            w->unit[in[i]] = in[i];
            ur__lie_in(w, in[i], id, at);
        }
    }
}

bool ur__pass_views(ur__work *w)
{
    bool on = ur__on(w->g, UR__BIT_views);
    const slices *s = find_slices(w);
    w->placed = ur__bump_take(&w->g->scratch, w->n * sizeof *w->placed);
    if (!s || !w->placed)
        return ur__out_of_memory(&w->g->owner);
    for (uint32_t k = 0; k < w->n_sites; k++) {
        const uint32_t id = w->site[k];
        switch (w->role[id]) {
        case R_ALIAS:
            alias(w, id, ur__in(w, id)[0], 0);
            break;
        case R_SLICE:
            if (on && !view_slice(w, id))
                return false;
            break;
        case R_CONCAT:
            if (on)
                place_parts(w, id);
            break;
        case R_ACCUMULATE:
            if (on)
                place_sum(w, id);
            if (on && !w->stored[id] && !place_rows(w, id))
                place_seed(w, s, id);
            break;
        default:
            break;
        }
    }
    return true;
}
