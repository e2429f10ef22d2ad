/* N-merge: products that share their left operands.
 *
 * The gradients of the gates' weights are sums over the same left operands, [h, x] of every step:
 *     dW_i = sum_t [h,x]_t^T dz_i,t      dW_f = sum_t [h,x]_t^T dz_f,t      ...
 * Done block of K by block of K in turn, those operands are read from memory once and not once a
 * gate. Such sums of one level form a gang that runs at the position of its first member; that is
 * decided here, before memory is laid out, since results and operands live accordingly. */
#include "graph/plan/plan.h"

enum { HEADS = 4 };

/* Term i of a sum or of a chunk of one; UINT32_MAX after the last. */
static uint32_t next_term(const ur__work *w, uint32_t id, uint32_t i, uint32_t before)
{
    if (w->role[id] == R_CHUNK)
        return i ? w->next[before] : id;
    return i < w->t->node[id].n_in ? ur__in(w, id)[i] : UINT32_MAX;
}

/* A sum of nothing but products that can be terms, with right operands that are not packed once. */
static bool candidate(const ur__work *w, uint32_t id)
{
    if (w->role[id] != R_CHUNK &&
        (w->role[id] != R_ACCUMULATE || w->stored[id] || w->t->node[id].n_in < 2))
        return false;
    for (uint32_t i = 0, u = 0; (u = next_term(w, id, i, u)) != UINT32_MAX; i++)
        if ((w->role[u] != R_ABSORBED && u != id) || !ur__plain_product(w, u) ||
            w->role[ur__root(w, ur__in(w, u)[1])] == R_LEAF)
            return false;
    return true;
}

static bool same_left(const ur__work *w, uint32_t x, uint32_t y)
{
    if (w->role[x] != w->role[y] || w->t->node[x].type != w->t->node[y].type)
        return false;
    uint32_t u = 0, v = 0;
    for (uint32_t i = 0;; i++) {
        u = next_term(w, x, i, u);
        v = next_term(w, y, i, v);
        if (u == UINT32_MAX || v == UINT32_MAX)
            return u == v;
        if (ur__in(w, u)[0] != ur__in(w, v)[0] || ur__attr(w, u)[0] != ur__attr(w, v)[0])
            return false;
    }
}

static void join(ur__work *w, uint32_t id, uint32_t head)
{
    w->gang[id] = head + 1;
    w->pos[id] = w->pos[head];
    w->p->merged[UR__BIT_nmerge]++;
}

/* Joining moves a sum before others: not when those may write the same gradient. */
static bool shares_destination(const ur__work *w, uint32_t id)
{
    uint32_t user = w->user[ur__root(w, id)];
    return w->t->node[user].op == &ur__op_deposit && ur__deposits(w, user) > 1;
}

bool ur__pass_nmerge(ur__work *w)
{
    uint32_t head[HEADS], n = 0, level = 0;
    if (!ur__on(w->g, UR__BIT_nmerge))
        return true;
    /* Of roots: 1 + the level at which a gang wrote there. Chunks of one sum can share even their
     * left operands, rows of ones: they must not take turns with each other. */
    uint32_t *const written = ur__bump_alloc(&w->g->scratch, w->n * sizeof *written);
    if (!written)
        return ur__out_of_memory(&w->g->owner);
    for (uint32_t pos = 0; pos < w->n_units; pos++) {
        uint32_t id = w->order[pos], k = 0, root = ur__root(w, id);
        if (!candidate(w, id) || shares_destination(w, id))
            continue;
        if (w->level[id] != level)
            n = 0;
        level = w->level[id];
        if (written[root] == level + 1)
            continue;
        written[root] = level + 1;
        while (k < n && k < HEADS && !same_left(w, id, head[k]))
            k++;
        if (k < n && k < HEADS)
            join(w, id, head[k]);
        else
            head[n++ % HEADS] = id;
    }
    return true;
}
