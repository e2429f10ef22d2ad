/* The hunt for the first NaN, when a watched graph finds that a loss, a gradient or a carried state
 * is not finite. The tape is planned again with all rewrites off, so that every step is one node,
 * and run; the first result that is not finite is named: operation, source line, layer, time
 * step. */
#include <math.h>
#include "graph/run/run.h"

static bool finite_block(const char *p, int type, size_t n)
{
    for (size_t i = 0; type == UR_F64 && i < n; i++)
        if (!isfinite(((const double *)p)[i]))
            return false;
    for (size_t i = 0; type == UR_F32 && i < n; i++)
        if (!isfinite(((const float *)p)[i]))
            return false;
    return true;
}

static bool results_finite(const ur__run *r)
{
    ur_graph *g = r->g;
    const ur__plan *p = r->p;
    for (size_t i = 0; i < p->n_kept; i++) {
        const ur__node *x = &g->tape.node[p->kept[i].id];
        if (!finite_block(ur__ptr(r, p->kept[i].loc), x->type, g->shape[x->shape].count))
            return false;
    }
    for (size_t i = 0; i < p->n_commits; i++) {
        const ur_params *ps = g->slot[p->commit[i].slot].store;
        if (!finite_block(ur__ptr(r, p->commit[i].x), (int)ps->type,
                          ps->param[p->commit[i].param].count))
            return false;
    }
    for (size_t s = 0; s < p->n_deposit_slots; s++) {
        const ur_params *ps = g->slot[s].store;
        for (size_t k = 0; p->deposits[s] && k < ps->n; k++)
            if (p->deposits[s][k] &&
                !finite_block(ps->gradients.p + ps->param[k].offset * ur__type_size((int)ps->type),
                              (int)ps->type, ps->param[k].count))
                return false;
    }
    return true;
}

static size_t elements(int rank, const ptrdiff_t *dim)
{
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= (size_t)dim[i];
    return n;
}

/* Whether what a step wrote is finite; of a move into a part, the part's first run. */
static bool step_finite(const ur__run *r, const ur__step *s)
{
    switch (s->what) {
    case UR__PROGRAM: {
        const ur__programmed *x = s->body;
        const ur__program *p = x->program;
        for (int i = 0; i < p->n_out; i++)
            if (!finite_block(ur__ptr(r, x->loc[p->n_in + i]), p->type, elements(p->rank, p->dim)))
                return false;
        return true;
    }
    case UR__CONTRACT: {
        const ur__contraction *c = s->body;
        return finite_block(ur__ptr(r, c->c), c->type,
                            (c->batch ? elements(c->batch->rank, c->batch->dim) : 1) *
                                (size_t)(c->m * c->n));
    }
    case UR__CALL: {
        const ur__call *c = s->body;
        return finite_block(ur__ptr(r, c->out), c->routine->type,
                            ur__elements(&c->routine->shape));
    }
    case UR__MOVE: {
        const ur__move *m = s->body;
        size_t n = m->rank ? (size_t)m->dim[m->rank - 1] : 1;
        return m->rank && m->y_step[m->rank - 1] != 1
                   ? true : finite_block(ur__ptr(r, m->y), m->type, n);
    }
    default:
        return true;
    }
}

static bool name_culprit(ur__run *r)
{
    ur_graph *g = r->g;
    for (size_t i = 0; i < r->p->n_steps; i++) {
        const ur__step *s = &r->p->step[i];
        r->step = i;
        ur__run_phase(r);
        if (g->owner.failed)
            return false;
        if (!step_finite(r, s)) {
            const ur__label *l = &r->p->label[i];
            uint32_t scope = g->scope;
            g->scope = l->scope <= g->n_scopes ? l->scope : 0;
            ur__fail_at(g, l->at, l->op->name, "%s is not finite: the first such value of the run",
                        l->adjoint ? "a value of its gradient" : "the result");
            g->scope = scope;
            return false;
        }
    }
    return false;
}

bool ur__check_finite(ur__run *r)
{
    ur_graph *g = r->g;
    if (results_finite(r))
        return true;
    uint32_t off = g->off;
    size_t budget = g->budget;
    g->off = UINT32_MAX;                /* node by node */
    g->budget = 0;
    ur__plan *p = ur__plan_new(g);
    ur__run again = *r;
    again.p = p;
    if (p) {
        p->scratch_bytes = ur__scratch_needed(p) + 64;
        ur__find_phases(g, p, false);
        if (ur__set_bases(g, p, &again))
            name_culprit(&again);
        ur__plan_free(g, p);
    }
    g->off = off;
    g->budget = budget;
    return g->owner.failed ? false
                           : ur__fail(&g->owner, "a loss, a gradient or a carried state is not "
                                      "finite");
}
