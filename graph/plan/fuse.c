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

static bool fusable(const ur__work *w, uint32_t u, uint32_t v)
{
    return ur__elementwise(w, u) && w->t->node[u].shape == w->t->node[v].shape &&
           w->t->node[u].type == w->t->node[v].type;
}

/* Levels are even for products, calls and moves, and odd for clusters. */
static uint32_t level_of(const ur__work *w, uint32_t id)
{
    const ur__node *x = &w->t->node[id];
    bool map = ur__elementwise(w, id), fuse = ur__on(w->g, UR__BIT_fuse);
    uint32_t level = map, anchor = w->t->origin[id].anchor;
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = ur__in(w, id)[i], at = w->level[u];
        if (w->role[u] == R_LEAF || w->role[u] == R_HAVE)
            continue;
        if (w->role[id] == R_ALIAS || (map && fuse && fusable(w, u, id)))
            ;
        else if (map)
            at = (at + 1) | 1;
        else
            at = (at | 1) + 1;
        level = at > level ? at : level;
    }
    if (anchor && w->role[anchor] > R_HAVE && w->role[id] != R_ALIAS) {
        uint32_t at = w->level[anchor];
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
    for (uint32_t id = 0; id < w->n; id++) {
        if (w->role[id] == R_DEAD)
            continue;
        far[id] |= w->goal[id];
        for (uint32_t i = 0; i < w->t->node[id].n_in; i++) {
            uint32_t u = ur__in(w, id)[i];
            if (w->level[id] > latest[u])
                latest[u] = w->level[id];
            far[u] |= !ur__elementwise(w, u) || (w->unit[u] != w->unit[id] &&
                                                 (!ur__elementwise(w, id) || !fusable(w, u, id)));
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

bool ur__pass_fuse(ur__work *w)
{
    bool fuse = ur__on(w->g, UR__BIT_fuse);
    uint32_t *parent = ur__bump_alloc(&w->g->scratch, w->n * sizeof *parent);
    uint32_t *reader = ur__bump_alloc(&w->g->scratch, w->n * sizeof *reader);
    if (!parent || !reader)
        return ur__out_of_memory(&w->g->owner);
    for (uint32_t id = 0; id < w->n; id++) {
        parent[id] = id;
        if (w->role[id] == R_DEAD || w->role[id] == R_LEAF || w->role[id] == R_HAVE)
            continue;
        w->level[id] = level_of(w, id);
        if (!ur__elementwise(w, id) || !fuse)
            continue;
        for (uint32_t i = 0; i < w->t->node[id].n_in; i++) {
            uint32_t u = ur__in(w, id)[i];
            if (fusable(w, u, id) && w->level[u] == w->level[id])
                parent[find(parent, u)] = find(parent, id);
            else
                join_reader(w, parent, &reader[u], u, id);
        }
    }
    sink_seeds(w);
    for (uint32_t id = 0; id < w->n; id++) {
        if (w->role[id] == R_ABSORBED)
            continue;
        w->unit[id] = ur__elementwise(w, id) ? find(parent, id) : id;
        if (w->unit[id] != id)
            w->p->merged[UR__BIT_fuse]++;
    }
    /* what others than the cluster want is stored; the rest lives in tiles only */
    for (uint32_t id = 0; id < w->n; id++) {
        if (w->role[id] == R_DEAD)
            continue;
        for (uint32_t i = 0; i < w->t->node[id].n_in; i++) {
            uint32_t u = ur__in(w, id)[i];
            if (ur__elementwise(w, u) && (!ur__elementwise(w, id) || w->unit[u] != w->unit[id]))
                w->stored[u] = UR__STORED;
        }
        if (w->goal[id] && ur__elementwise(w, id))
            w->stored[id] = UR__STORED;
    }
    if (fuse && ur__on(w->g, UR__BIT_recompute) && !mark_recomputed(w))
        return false;
    for (uint32_t id = 0; id < w->n; id++)
        if (ur__elementwise(w, id) && !w->stored[id] && !w->again[id])
            w->p->saved[UR__BIT_fuse] += (double)ur__shape_at(w, id)->count *
                                         (double)ur__type_size(w->t->node[id].type);
    return true;
}
