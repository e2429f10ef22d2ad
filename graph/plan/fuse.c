/* Map fusion: clusters of elementwise nodes become one tiled program.
 *
 * A level rises along every edge that cannot be fused, so two elementwise nodes of one level that
 * are joined by an edge can be computed together: a path between them through anything else would
 * have raised the level. Clusters are the components of such edges (union-find); level order is
 * then an order of execution, products and the like of a level before its clusters.
 *
 * Nodes of one level and shape that read the same value are joined as well: it is read once.
 *
 * A node that a gradient rule made is anchored: its level is at least that of the gradient that the
 * rule was given, or else 1 - y^2 would be computed in the forward pass and kept. */
#include "graph/plan/fuse.h"

enum { KNOWN = -1 };                    /* the level of what is known before the run */

static inline void raise(int32_t *level, int32_t to)
{
    *level = to > *level ? to : *level;
}

/* Levels are even for products, calls and moves, and odd for clusters. The level of an elementwise
 * node, or `least`. What it reads of another kin is stored. */
static inline int32_t level_of_map(const ur__fusion *f, const ur__seen *spots, const uint32_t *in,
                                   const uint32_t *end, uint32_t kin, int32_t least)
{
    uint8_t *const stored = f->w->stored;
    int32_t level = 1;
    raise(&level, least | 1);
    for (; in < end; in++) {
        const ur__seen *s = &spots[*in];
        if (s->kin == kin) {
            raise(&level, s->level);
            continue;
        }
        raise(&level, (s->level + 1) | 1);
        if (s->kin && s->kin != UR__LEAF_KIN)
            stored[*in] = UR__STORED | UR__FAR;
    }
    return level;
}

/* The level of another node, or `least`. What it reads is stored. */
static inline int32_t level_of_other(const ur__fusion *f, ur__seen *spots, const uint32_t *in,
                                     const uint32_t *end, int32_t least)
{
    uint8_t *const stored = f->w->stored;
    uint32_t *const read = f->read, n = 0;
    int32_t level = least + (least & 1);
    for (; in < end; in++) {
        const ur__seen *s = &spots[*in];
        raise(&level, (s->level | 1) + 1);
        if (!s->kin)
            continue;
        read[n++] = *in;
        if (s->kin != UR__LEAF_KIN)
            stored[*in] = UR__STORED | UR__FAR;
    }
    while (n > 0)
        raise(&spots[read[--n]].latest, level);
    return level;
}

/* A view of what is at that level, or a value known before the run, reads it as well. */
static void read_at(const ur__fusion *f, int32_t level, const uint32_t *in, const uint32_t *end)
{
    for (; in < end; in++) {
        ur__seen *s = &f->seen[*in];
        raise(&s->latest, level);
        if (s->kin && s->kin != UR__LEAF_KIN)
            f->w->stored[*in] = UR__STORED | UR__FAR;
    }
}

/* The levels of all nodes, and a list of the elementwise ones. */
static void find_levels(ur__fusion *f, bool fuse)
{
    ur__work *const w = f->w;
    const ur__node *const node = w->t->node;
    const ur__origin *const origin = w->t->origin;
    const uint32_t *const operand = w->t->operand, n = w->n;
    const uint8_t *const role = w->role;
    uint32_t *const levels = w->level;
    ur__seen *const spots = f->seen;
    for (uint32_t id = 0; id < n; id++) {
        const ur__node *x = &node[id];
        const uint32_t *const in = operand + x->in, *const end = in + x->n_in;
        const uint32_t anchor = origin[id].anchor;
        const uint8_t r = role[id];
        int32_t level = anchor ? spots[anchor].level : KNOWN;
        uint32_t kin = 0;
        if (ur__is_map(r)) {
            kin = 1 + (fuse ? x->shape << 2 | x->type : id);
            level = level_of_map(f, spots, in, end, kin, level);
            f->map[f->n_maps++] = id;
        } else if (r > R_ALIAS) {
            level = level_of_other(f, spots, in, end, level);
        } else {
            level = KNOWN;
            kin = r == R_LEAF ? UR__LEAF_KIN : 0;
            if (r == R_ALIAS)
                level = spots[*in].level > 0 ? spots[*in].level : 0;
            if (r >= R_HAVE)
                read_at(f, level, in, end);
        }
        spots[id] = (ur__seen){ .level = level, .kin = kin };
        levels[id] = level > 0 ? (uint32_t)level : 0;
    }
}

/* Puts the cluster of x into that of id, the last node so far: `unit` points from each node of a
 * cluster to a later one, and from the last one to itself. */
static inline void unite(uint32_t *unit, uint32_t x, uint32_t id)
{
    while (unit[x] != x) {
        uint32_t next = unit[x];
        unit[x] = id;
        x = next;
    }
    unit[x] = id;
}

/* Joins elementwise nodes with what they read in their level, and with the elementwise node of
 * their level that read the same before them. What they read of other levels is stored. */
static void form_clusters(const ur__fusion *f)
{
    const ur__work *const w = f->w;
    const ur__node *const node = w->t->node;
    uint32_t *const unit = w->unit;
    uint8_t *const stored = w->stored;
    ur__seen *const spots = f->seen;
    for (uint32_t k = 0; k < f->n_maps; k++) {
        const uint32_t id = f->map[k], *in = ur__in(w, id), *const end = in + node[id].n_in;
        const int32_t level = spots[id].level;
        const uint32_t kin = spots[id].kin;
        if (w->goal[id])
            stored[id] = UR__STORED | UR__FAR;
        for (; in < end; in++) {
            const uint32_t u = *in;
            ur__seen *const s = &spots[u];
            raise(&s->latest, level);
            if (s->kin == kin && s->level == level) {
                unite(unit, u, id);
                continue;
            }
            if (s->kin != UR__LEAF_KIN) {
                const uint32_t v = s->reader - 1;
                if (s->reader && spots[v].kin == kin && spots[v].level == level &&
                    node[u].shape == node[id].shape)
                    unite(unit, v, id);
                if (s->kin == kin)
                    stored[u] |= UR__STORED;
                s->reader = id + 1;
            }
        }
    }
}

/* Gathered rows to which products are added are gathered just before, not all at the beginning. */
static void sink_seeds(const ur__fusion *f)
{
    ur__work *const w = f->w;
    for (uint32_t k = 0; k < w->n_placed; k++) {
        const uint32_t id = w->placed[k], root = w->root[id];
        if (w->role[id] != R_CALL || w->stored[root] != UR__SEEDED)
            continue;
        const int32_t level = f->seen[root].level - 2;
        w->level[id] = (uint32_t)level;
        for (uint32_t i = 0; i < w->t->node[id].n_in; i++) {
            ur__seen *s = &f->seen[ur__in(w, id)[i]];
            s->latest = level > s->latest ? level : s->latest;
        }
    }
}

/* From the last elementwise node to the first: the last one of its cluster, which stands for it,
 * and the cluster's members as a list in order of the tape, which that one's `user` begins. */
static void link_members(const ur__fusion *f)
{
    ur__work *const w = f->w;
    uint32_t *const unit = w->unit, *const next = w->next, *const user = w->user;
    size_t clusters = 0;
    for (uint32_t k = f->n_maps; k-- > 0;) {
        const uint32_t id = f->map[k], u = unit[unit[id]];
        unit[id] = u;
        next[id] = u == id ? UINT32_MAX : user[u];
        user[u] = id;
        clusters += u == id;
    }
    w->p->merged[UR__BIT_fuse] += f->n_maps - clusters;
}

bool ur__pass_fuse(ur__work *w)
{
    const bool fuse = ur__on(w->g, UR__BIT_fuse);
    ur__bump *const s = &w->g->scratch;
    ur__fusion f = { .w = w };
    f.seen = ur__bump_take(s, w->n * sizeof *f.seen);
    f.map = ur__bump_take(s, w->n * sizeof *f.map);
    f.read = ur__bump_take(s, w->t->n_operands * sizeof *f.read);
    if (!f.seen || !f.map || !f.read)
        return ur__out_of_memory(&w->g->owner);
    find_levels(&f, fuse);
    form_clusters(&f);
    sink_seeds(&f);
    if (fuse)
        ur__recompute(&f);
    link_members(&f);
    return true;
}
