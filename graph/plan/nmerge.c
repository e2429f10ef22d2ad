/* N-merge: products that share their left operands.
 *
 * The gradients of the gates' weights are sums over the same left operands, [h, x] of every step:
 *     dW_i = sum_t [h,x]_t^T dz_i,t      dW_f = sum_t [h,x]_t^T dz_f,t      ...
 * Done block of K by block of K in turn, those operands are read from memory once and not once a
 * gate. Such sums of one level form a gang that runs at the position of its first member; that is
 * decided here, before memory is laid out, since results and operands live accordingly. */
#include "graph/plan/plan.h"

enum { HEADS = 4 };

/* A sum of nothing but products that can be terms, with right operands that are not packed once. */
static bool candidate(const ur__work *w, uint32_t id)
{
    const ur__node *x = &w->t->node[id];
    if (w->role[id] != R_ACCUMULATE || x->n_in < 2)
        return false;
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = ur__in(w, id)[i];
        if (w->role[u] != R_ABSORBED || !ur__plain_product(w, u) ||
            w->role[ur__root(w, ur__in(w, u)[1], NULL)] == R_LEAF)
            return false;
    }
    return true;
}

static bool same_left(const ur__work *w, uint32_t x, uint32_t y)
{
    const ur__node *a = &w->t->node[x], *b = &w->t->node[y];
    if (a->n_in != b->n_in || a->type != b->type)
        return false;
    for (uint32_t i = 0; i < a->n_in; i++) {
        uint32_t u = ur__in(w, x)[i], v = ur__in(w, y)[i];
        if (ur__in(w, u)[0] != ur__in(w, v)[0] || ur__attr(w, u)[0] != ur__attr(w, v)[0])
            return false;
    }
    return true;
}

static void join(ur__work *w, uint32_t id, uint32_t head)
{
    const ur__node *x = &w->t->node[id];
    w->gang[id] = head + 1;
    w->pos[id] = w->pos[head];
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = ur__in(w, id)[i];
        w->pos[u] = w->pos[head];
        w->p->saved[UR__BIT_nmerge] += (double)ur__shape_at(w, ur__in(w, u)[0])->count *
                                       (double)ur__type_size(x->type);
    }
    w->p->merged[UR__BIT_nmerge]++;
}

bool ur__pass_nmerge(ur__work *w)
{
    uint32_t head[HEADS], n = 0, level = 0;
    for (uint32_t pos = 0; ur__on(w->g, UR__BIT_nmerge) && pos < w->n_units; pos++) {
        uint32_t id = w->order[pos], k = 0;
        if (!candidate(w, id))
            continue;
        if (w->level[id] != level)
            n = 0;
        level = w->level[id];
        while (k < n && k < HEADS && !same_left(w, id, head[k]))
            k++;
        if (k < n && k < HEADS)
            join(w, id, head[k]);
        else
            head[n++ % HEADS] = id;
    }
    return true;
}
