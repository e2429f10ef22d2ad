/* Calls of compute functions. The steps of a recurrence share one routine and differ in locations
 * only. */
#include "graph/plan/emit.h"

/* Whether a routine is what node id calls. */
static bool calls(const ur__work *w, uint32_t id, const ur__routine *r)
{
    const ur__node *x = &w->t->node[id];
    if (r->op != x->op || r->n_in != (int)x->n_in || r->n_attr != x->n_attr ||
        r->type != x->type || memcmp(&r->shape, &ur__shape_at(w, id)->s, sizeof r->shape) != 0 ||
        (x->n_attr && memcmp(r->attr, ur__attr(w, id), x->n_attr * sizeof *r->attr) != 0))
        return false;
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = ur__in(w, id)[i];
        if (r->type_in[i] != (ur_type)w->t->node[u].type ||
            memcmp(&r->shape_in[i], &ur__shape_at(w, u)->s, sizeof r->shape) != 0)
            return false;
    }
    return true;
}

/* The plan's one copy of what node id calls. */
static const ur__routine *intern_routine(ur__work *w, uint32_t id)
{
    enum { TRIES = 8 };
    const ur__node *x = &w->t->node[id];
    ur__bump *memory = &w->p->memory;
    ur__routine **at = &w->p->routines[((uintptr_t)x->op / 16 + x->shape) % 64], *r = *at;
    for (int tries = 0; r && tries < TRIES; r = r->next, tries++)
        if (calls(w, id, r))
            return r;
    if (!(r = ur__bump_alloc(memory, sizeof *r)) ||
        !(r->shape_in = ur__bump_alloc(memory, (x->n_in + 1) * sizeof *r->shape_in)) ||
        !(r->type_in = ur__bump_alloc(memory, (x->n_in + 1) * sizeof *r->type_in)) ||
        !(r->attr = ur__bump_alloc(memory, (x->n_attr + 1u) * sizeof *r->attr))) {
        ur__out_of_memory(&w->g->owner);
        return NULL;
    }
    r->op = x->op;
    r->n_in = (int)x->n_in;
    r->n_attr = x->n_attr;
    r->type = x->type;
    r->shape = ur__shape_at(w, id)->s;
    for (uint32_t i = 0; i < x->n_in; i++) {
        uint32_t u = ur__in(w, id)[i];
        r->shape_in[i] = ur__shape_at(w, u)->s;
        r->type_in[i] = (ur_type)w->t->node[u].type;
    }
    if (x->n_attr)
        memcpy(r->attr, ur__attr(w, id), x->n_attr * sizeof *r->attr);
    r->next = *at;
    return *at = r;
}

bool ur__emit_call(ur__work *w, uint32_t id)
{
    const ur__node *x = &w->t->node[id];
    const ur__routine *r = intern_routine(w, id);
    if (!r)
        return false;
    ur__call *c = ur__bump_take(&w->p->memory, sizeof *c + x->n_in * sizeof *c->in);
    if (!ur__add_step(w, UR__CALL, id, c))
        return false;
    c->routine = r;
    c->begin = c->end = 0;
    c->out = ur__where(w, id);
    for (uint32_t i = 0; i < x->n_in; i++)
        c->in[i] = ur__where(w, ur__in(w, id)[i]);
    return true;
}
