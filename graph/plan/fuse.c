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
#include "graph/plan/plan.h"

static uint32_t find(uint32_t *parent, uint32_t x)
{
    while (parent[x] != x) {
        parent[x] = parent[parent[x]];
        x = parent[x];
    }
    return x;
}

static inline bool alike(const ur__node *x, const ur__node *y)
{
    return x->shape == y->shape && x->type == y->type;
}

static bool fusable(const ur__work *w, uint32_t u, uint32_t v)
{
    return ur__elementwise(w, u) && alike(&w->t->node[u], &w->t->node[v]);
}

/* Levels are even for products, calls and moves, and odd for clusters. */
static inline uint32_t level_of(const ur__work *w, uint32_t id, bool map, bool fuse)
{
    const ur__node *const node = w->t->node, *x = &node[id];
    const uint32_t *in = w->t->operand + x->in;
    const uint8_t *const role = w->role;
    const uint32_t *const levels = w->level;
    const bool alias = role[id] == R_ALIAS;
    uint32_t level = map, anchor = w->t->origin[id].anchor;
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = in[i], at = levels[u];         /* 0 of what is known before the run */
        if (role[u] <= R_HAVE)
            continue;
        if (!alias && !(map && fuse && ur__is_map(role[u]) && alike(&node[u], x)))
            at = map ? (at + 1) | 1 : (at | 1) + 1;
        level = at > level ? at : level;
    }
    if (anchor && role[anchor] > R_HAVE && !alias) {
        uint32_t at = levels[anchor];
        at = map ? at | 1 : at + (at & 1);
        level = at > level ? at : level;
    }
    return level;
}

/* Joins id with the elementwise node of its level that read u before it, if it can be. */
static void join_reader(const ur__work *w, uint32_t *parent, uint32_t *last, uint32_t u,
                        uint32_t id)
{
    uint32_t v = *last - 1;
    if (*last && w->level[v] == w->level[id] && fusable(w, v, id) && w->role[u] != R_LEAF &&
        w->t->node[u].shape == w->t->node[id].shape)
        parent[find(parent, v)] = find(parent, id);
    *last = id + 1;
}

/* Levels, and clusters as trees of `parent`. */
static void form_clusters(ur__work *w, uint32_t *parent, uint32_t *reader, bool fuse)
{
    const ur__node *const node = w->t->node;
    const uint32_t *const operand = w->t->operand;
    const uint8_t *const role = w->role;
    uint32_t *const level = w->level;
    for (uint32_t id = 0; id < w->n; id++) {
        const bool map = ur__is_map(role[id]);
        parent[id] = id;
        level[id] = role[id] > R_HAVE ? level_of(w, id, map, fuse) : 0;
        if (!map || !fuse)
            continue;
        const uint32_t *in = operand + node[id].in;
        for (uint32_t i = 0; i < node[id].n_in; i++) {
            uint32_t u = in[i];
            if (level[u] == level[id] && fusable(w, u, id))
                parent[find(parent, u)] = find(parent, id);
            else
                join_reader(w, parent, &reader[u], u, id);
        }
    }
}

/* Gathered rows to which products are added are gathered just before, not all at the beginning. */
static void sink_seed(ur__work *w, uint32_t id)
{
    uint32_t root = w->root[id];
    if (root != id && w->role[id] == R_CALL && w->stored[root] == UR__SEEDED)
        w->level[id] = w->level[root] - 2;
}

/* What others than the cluster want is stored; the rest lives in tiles only. Of each node, the
 * latest level at which it is read, and in *far those that a node which cannot compute them again
 * reads outside their cluster. */
static void find_readers(ur__work *w, uint32_t *latest, uint8_t *far)
{
    const ur__node *const node = w->t->node;
    const uint32_t *const operand = w->t->operand, *const unit = w->unit, *const level = w->level;
    const uint8_t *const role = w->role, *const goal = w->goal;
    uint8_t *const stored = w->stored;
    for (uint32_t id = 0; id < w->n; id++) {
        if (role[id] == R_DEAD)
            continue;
        const ur__node *x = &node[id];
        const uint32_t *in = operand + x->in, at = level[id], own = unit[id];
        const bool map = ur__is_map(role[id]);
        for (uint32_t i = 0; i < x->n_in; i++) {
            uint32_t u = in[i];
            latest[u] = at > latest[u] ? at : latest[u];
            if (!ur__is_map(role[u]) || (map && unit[u] == own))
                continue;
            stored[u] = UR__STORED;
            far[u] |= unit[u] != own && (!map || !alike(&node[u], x));
        }
        if (goal[id]) {
            far[id] = 1;
            if (map)
                stored[id] = UR__STORED;
        }
    }
}

enum { SOON = 8 };

/* A map of one operand that is needed about as long anyway, as tanh(c) of a long short-term memory
 * is, is computed again by those who need it: cheaper than to write it to memory and read it. */
static bool recomputed(const ur__work *w, const uint32_t *latest, uint32_t id)
{
    const ur__node *x = &w->t->node[id];
    if (w->role[id] != R_MAP || x->n_in != 1 || w->root[id] != id || w->t->origin[id].anchor)
        return false;
    uint32_t u = ur__in(w, id)[0];
    bool kept = ur__elementwise(w, u) ? w->stored[u] && !w->again[u] : w->role[u] == R_LEAF;
    return kept && alike(&w->t->node[u], x) && latest[u] + SOON >= latest[id];
}

/* What elementwise nodes need not write to memory. */
static void count_saved(ur__work *w, const uint32_t *latest, const uint8_t *far, bool recompute)
{
    for (uint32_t id = 0; id < w->n; id++) {
        if (!ur__elementwise(w, id))
            continue;
        double *saved = w->stored[id] ? NULL : &w->p->saved[UR__BIT_fuse];
        if (recompute && w->stored[id] && !far[id] && recomputed(w, latest, id)) {
            w->again[id] = 1;
            w->stored[id] = 0;
            w->p->merged[UR__BIT_recompute]++;
            saved = &w->p->saved[UR__BIT_recompute];
        }
        if (saved)
            *saved += (double)ur__shape_at(w, id)->count *
                      (double)ur__type_size(w->t->node[id].type);
    }
}

bool ur__pass_fuse(ur__work *w)
{
    const bool fuse = ur__on(w->g, UR__BIT_fuse);
    uint32_t *parent = ur__bump_take(&w->g->scratch, w->n * sizeof *parent);
    uint32_t *reader = ur__bump_alloc(&w->g->scratch, w->n * sizeof *reader);
    uint32_t *latest = ur__bump_alloc(&w->g->scratch, w->n * sizeof *latest);
    uint8_t *far = ur__bump_alloc(&w->g->scratch, w->n);
    if (!parent || !reader || !latest || !far)
        return ur__out_of_memory(&w->g->owner);
    form_clusters(w, parent, reader, fuse);
    for (uint32_t id = 0; id < w->n; id++) {
        if (w->role[id] == R_ABSORBED)
            continue;
        sink_seed(w, id);
        w->unit[id] = ur__elementwise(w, id) ? find(parent, id) : id;
        w->p->merged[UR__BIT_fuse] += w->unit[id] != id;
    }
    find_readers(w, latest, far);
    count_saved(w, latest, far, fuse && ur__on(w->g, UR__BIT_recompute));
    return true;
}
