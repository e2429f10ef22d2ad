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
static uint32_t level_of(const ur__work *w, uint32_t id, bool fuse)
{
    const ur__node *const node = w->t->node, *x = &node[id];
    const uint32_t *in = w->t->operand + x->in;
    const uint8_t *const role = w->role;
    const uint32_t *const levels = w->level;
    bool map = ur__elementwise(w, id);
    uint32_t level = map, anchor = w->t->origin[id].anchor;
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = in[i], at = levels[u];
        if (role[u] == R_LEAF || role[u] == R_HAVE)
            continue;
        if (role[id] == R_ALIAS ||
            (map && fuse && (role[u] == R_MAP || role[u] == R_SUM_MAP) && alike(&node[u], x)))
            ;
        else if (map)
            at = (at + 1) | 1;
        else
            at = (at | 1) + 1;
        level = at > level ? at : level;
    }
    if (anchor && role[anchor] > R_HAVE && role[id] != R_ALIAS) {
        uint32_t at = levels[anchor];
        at = map ? at | 1 : at + (at & 1);
        level = at > level ? at : level;
    }
    return level;
}

enum { SOON = 8 };

/* The latest level at which each node is read, and in *far those that a node which cannot compute
 * them again reads outside their cluster. */
static void find_readers(const ur__work *w, uint32_t *latest, uint8_t *far)
{
    const ur__node *const node = w->t->node;
    const uint8_t *const role = w->role;
    const uint32_t *const level = w->level, *const unit = w->unit;
    for (uint32_t id = 0; id < w->n; id++) {
        if (role[id] == R_DEAD)
            continue;
        const ur__node *x = &node[id];
        const uint32_t *in = w->t->operand + x->in;
        const bool map = role[id] == R_MAP || role[id] == R_SUM_MAP;
        far[id] |= w->goal[id];
        for (uint32_t i = 0; i < x->n_in; i++) {
            uint32_t u = in[i];
            if (level[id] > latest[u])
                latest[u] = level[id];
            far[u] |= (role[u] != R_MAP && role[u] != R_SUM_MAP) ||
                      (unit[u] != unit[id] && (!map || !alike(&node[u], x)));
        }
    }
}

/* A map of one operand that is needed about as long anyway, as tanh(c) of a long short-term memory
 * is, is computed again by those who need it: cheaper than to write it to memory and read it. */
static bool mark_recomputed(ur__work *w)
{
    uint32_t *latest = ur__bump_alloc(&w->g->scratch, w->n * sizeof *latest);
    uint8_t *far = ur__bump_alloc(&w->g->scratch, w->n);
    if (!latest || !far)
        return ur__out_of_memory(&w->g->owner);
    find_readers(w, latest, far);
    for (uint32_t id = 0; id < w->n; id++) {
        const ur__node *x = &w->t->node[id];
        if (w->role[id] != R_MAP || !w->stored[id] || x->n_in != 1 || far[id] ||
            w->root[id] != id || w->t->origin[id].anchor)
            continue;
        uint32_t u = ur__in(w, id)[0];
        bool kept = ur__elementwise(w, u) ? w->stored[u] && !w->again[u] : w->role[u] == R_LEAF;
        if (!kept || w->t->node[u].shape != x->shape || w->t->node[u].type != x->type ||
            latest[u] + SOON < latest[id])
            continue;
        w->again[id] = 1;
        w->stored[id] = 0;
        w->p->merged[UR__BIT_recompute]++;
        w->p->saved[UR__BIT_recompute] += (double)ur__shape_at(w, id)->count *
                                          (double)ur__type_size(x->type);
    }
    return true;
}

/* Gathered rows to which products are added are gathered just before, not all at the beginning. */
static void sink_seeds(ur__work *w)
{
    for (uint32_t id = 0; id < w->n; id++)
        if (w->root[id] != id && w->role[id] == R_CALL && w->stored[w->root[id]] == UR__SEEDED)
            w->level[id] = w->level[w->root[id]] - 2;
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
    const uint8_t *const role = w->role;
    uint32_t *const level = w->level;
    for (uint32_t id = 0; id < w->n; id++) {
        parent[id] = id;
        level[id] = 0;
        if (role[id] <= R_HAVE)
            continue;
        level[id] = level_of(w, id, fuse);
        if (!ur__elementwise(w, id) || !fuse)
            continue;
        const uint32_t *in = w->t->operand + node[id].in;
        for (uint32_t i = 0; i < node[id].n_in; i++) {
            uint32_t u = in[i];
            if (level[u] == level[id] && fusable(w, u, id))
                parent[find(parent, u)] = find(parent, id);
            else
                join_reader(w, parent, &reader[u], u, id);
        }
    }
}

/* What others than the cluster want is stored; the rest lives in tiles only. */
static void mark_stored(ur__work *w)
{
    const ur__node *const node = w->t->node;
    const uint8_t *const role = w->role;
    const uint32_t *const unit = w->unit;
    uint8_t *const stored = w->stored;
    for (uint32_t id = 0; id < w->n; id++) {
        if (role[id] == R_DEAD)
            continue;
        const uint32_t *in = w->t->operand + node[id].in;
        const bool map = role[id] == R_MAP || role[id] == R_SUM_MAP;
        for (uint32_t i = 0; i < node[id].n_in; i++) {
            uint32_t u = in[i];
            if ((role[u] == R_MAP || role[u] == R_SUM_MAP) && (!map || unit[u] != unit[id]))
                stored[u] = UR__STORED;
        }
        if (map && w->goal[id])
            stored[id] = UR__STORED;
    }
}

bool ur__pass_fuse(ur__work *w)
{
    bool fuse = ur__on(w->g, UR__BIT_fuse);
    uint32_t *parent = ur__bump_take(&w->g->scratch, w->n * sizeof *parent);
    uint32_t *reader = ur__bump_alloc(&w->g->scratch, w->n * sizeof *reader);
    if (!parent || !reader)
        return ur__out_of_memory(&w->g->owner);
    form_clusters(w, parent, reader, fuse);
    sink_seeds(w);
    for (uint32_t id = 0; id < w->n; id++) {
        if (w->role[id] == R_ABSORBED)
            continue;
        w->unit[id] = ur__elementwise(w, id) ? find(parent, id) : id;
        if (w->unit[id] != id)
            w->p->merged[UR__BIT_fuse]++;
    }
    mark_stored(w);
    if (fuse && ur__on(w->g, UR__BIT_recompute) && !mark_recomputed(w))
        return false;
    for (uint32_t id = 0; id < w->n; id++)
        if (ur__elementwise(w, id) && !w->stored[id] && !w->again[id])
            w->p->saved[UR__BIT_fuse] += (double)ur__shape_at(w, id)->count *
                                         (double)ur__type_size(w->t->node[id].type);
    return true;
}
