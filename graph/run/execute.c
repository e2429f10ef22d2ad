/* Executing a plan: bases, steps, checks, commits.
 *
 * Nothing that outlives the run is written before all steps have succeeded, but for the gradient
 * blocks, which count only when the stamp says so. */
#include "graph/run/run.h"

void ur_compute_fail(const ur_compute *c, const char *format, ...)
{
    ur__run *r = c->self;
    const ur__label *l = &r->p->label[r->step];
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    uint32_t scope = r->g->scope;
    r->g->scope = l->scope <= r->g->n_scopes ? l->scope : 0;
    ur__fail_at(r->g, l->at, l->op->name, "%s", text);
    r->g->scope = scope;
}

size_t ur__scratch_needed(const ur__plan *p)
{
    const ur__kernels *k = ur__kernels_get();
    size_t gemm = k->f32.gemm_scratch > k->f64.gemm_scratch ? k->f32.gemm_scratch
                                                            : k->f64.gemm_scratch;
    size_t most = 0;
    for (size_t i = 0; i < p->n_steps; i++) {
        size_t n = 0;
        const void *body = p->step[i].body;
        if (p->step[i].what == UR__PROGRAM)
            n = ur__program_scratch(((const ur__programmed *)body)->program);
        else if (p->step[i].what == UR__CONTRACT)
            n = ((const ur__contraction *)body)->n_terms * sizeof(ur__segment) + 64 + gemm;
        else if (p->step[i].what == UR__CALL)
            n = (size_t)((const ur__call *)body)->routine->n_in * sizeof(void *) + 64;
        most = n > most ? n : most;
    }
    return most;
}

/* Grows the blocks and finds where each region begins in this run. */
bool ur__set_bases(ur_graph *g, const ur__plan *p, ur__run *r)
{
    size_t arena = (p->arena_bytes + 63) / 64 * 64;
    size_t regions = UR__VALUES + 2 * g->n_slots, table = (regions * sizeof(char *) + 63) / 64 * 64;
    if (!ur__block_grow(&g->arena, arena + p->scratch_bytes + table + 64) ||
        !ur__block_grow(&g->data, p->data_end + 64))
        return ur__out_of_memory(&g->owner);
    r->base = (char **)(g->arena.p + arena);
    r->scratch = g->arena.p + arena + table;
    r->base[UR__NOWHERE] = NULL;
    r->base[UR__ARENA] = g->arena.p;
    r->base[UR__DATA] = g->data.p;
    r->base[UR__CONST] = p->consts.p;
    r->base[UR__PANELS] = g->panels.p;
    for (size_t i = 0; i < g->n_slots; i++) {
        r->base[UR__VALUES + 2 * i] = g->slot[i].store->values.p;
        r->base[UR__VALUES + 2 * i + 1] = g->slot[i].store->gradients.p;
    }
    return true;
}

/* Copies states and parameters of another precision to the tape's leaves. */
static void convert(const void *from, ur_type a, void *to, ur_type b, size_t n)
{
    if (a == b)
        memcpy(to, from, n * ur__type_size((int)a));
    else if (a == UR_F32)
        for (size_t i = 0; i < n; i++)
            ((double *)to)[i] = (double)((const float *)from)[i];
    else
        for (size_t i = 0; i < n; i++)
            ((float *)to)[i] = (float)((const double *)from)[i];
}

static void load_leaves(ur_graph *g, size_t from)
{
    for (size_t id = from; id < g->tape.n; id++) {
        const ur__node *x = &g->tape.node[id];
        if (x->op != &ur__op_state && x->op != &ur__op_import)
            continue;
        const int64_t *a = g->tape.attr + x->attr;
        const ur_params *ps = g->slot[a[0]].store;
        const ur__param *q = &ps->param[a[1]];
        convert(ps->values.p + q->offset * ur__type_size((int)ps->type), ps->type,
                g->data.p + a[2], g->precision, q->count);
    }
}

/* Gradients that this plan does not write must be zero when it overwrites. */
static void clear_others(ur_graph *g, const ur__plan *p)
{
    for (size_t s = 0; s < p->n_deposit_slots; s++) {
        ur_params *ps = g->slot[s].store;
        if (!p->deposits[s] || ps->ready)
            continue;
        for (size_t k = 0; k < ps->n; k++)
            if (ps->param[k].dirty && !p->deposits[s][k])
                ur__gradient_zero(ps, &ps->param[k]);
    }
}

static void renew_panel(ur__run *r, uint32_t index)
{
    ur_graph *g = r->g;
    ur__panel *p = &g->panel[index];
    const ur_params *ps = g->slot[p->slot].store;
    if (p->version == ps->version)
        return;
    ur__set(r, (int)g->precision)->pack(p->k, p->n, ps->values.p + p->from, p->b_k, p->b_n,
                                        g->panels.p + p->offset);
    p->version = ps->version;
}

void ur__run_step(ur__run *r, const ur__step *s)
{
    switch (s->what) {
    case UR__PROGRAM:
        ur__run_program(r, s->body);
        break;
    case UR__CONTRACT:
        ur__run_contraction(r, s->body);
        break;
    case UR__MOVE:
        ur__run_move(r, s->body);
        break;
    case UR__ZERO: {
        const ur__zero *z = s->body;
        if (z->table) {
            ur_params *ps = r->g->slot[z->slot].store;
            if (!ps->ready)
                ur__gradient_zero(ps, &ps->param[z->table - 1]);
        } else if (z->write != UR__BY_STAMP || !ur__adds(r, z->write, z->slot))
            memset(ur__ptr(r, z->y), 0, z->bytes);
        break;
    }
    case UR__SCATTER:
        ur__run_scatter(r, s->body);
        break;
    case UR__CALL:
        ur__run_call(r, s->body);
        break;
    case UR__PACK:
        renew_panel(r, s->panel);
        break;
    }
}

static void commit(ur__run *r)
{
    ur_graph *g = r->g;
    const ur__plan *p = r->p;
    for (size_t i = 0; i < p->n_commits; i++) {
        ur_params *ps = g->slot[p->commit[i].slot].store;
        const ur__param *q = &ps->param[p->commit[i].param];
        size_t size = ur__type_size((int)ps->type);
        memmove(ps->values.p + q->offset * size, ur__ptr(r, p->commit[i].x), q->count * size);
    }
    for (size_t s = 0; s < p->n_deposit_slots; s++) {
        ur_params *ps = g->slot[s].store;
        if (!p->deposits[s])
            continue;
        for (size_t k = 0; k < ps->n; k++) {
            ur__param *q = &ps->param[k];
            if (!p->deposits[s][k])
                continue;
            q->dirty = true;
            q->sparse &= p->deposits[s][k] == UR__BY_ROWS;
            if (q->sparse)
                ur__rows_list(q);
        }
        ps->ready = true;
    }
}

/* After a failure a gradient block may hold anything: nothing in it counts. */
static void spoil_gradients(ur_graph *g, const ur__plan *p)
{
    for (size_t s = 0; s < p->n_deposit_slots; s++)
        if (p->deposits[s]) {
            ur_gradients_changed(g->slot[s].store);
            ur_gradient_used(g->slot[s].store);
        }
}

/* Kept values are found by their tape's ids from now on; there is room for them. */
static void publish(ur_graph *g, const ur__plan *p)
{
    for (size_t i = 0; i < p->n_kept; i++)
        g->kept[g->n_kept++] = p->kept[i];
}

bool ur__execute(ur_graph *g, ur__plan *p, bool first)
{
    ur__run r = { .g = g, .p = p };
    const ur__kernels *k = ur__kernels_get();
    r.f32 = &k->f32;
    r.f64 = &k->f64;
    r.key = ur__mix(ur__mix(0x756e726f6c6cu, g->seed), g->tape_run);
    bool replay = p->ran_generation == g->owner.generation;
    if (!p->scratch_bytes)
        p->scratch_bytes = ur__scratch_needed(p) + 64;
    if (!ur__set_bases(g, p, &r))
        return false;
    if (!replay && !ur__reserve(&g->kept, &g->kept_cap, g->n_kept + p->n_kept, sizeof *g->kept))
        return ur__out_of_memory(&g->owner);
    /* the checker writes its own copies of parameters: they are loaded once */
    if (first && !(g->copies && replay))
        load_leaves(g, 0);
    else if (!first && !replay)
        load_leaves(g, p->done);
    clear_others(g, p);
    for (r.step = 0; r.step < p->n_steps && !g->owner.failed; r.step++)
        ur__run_step(&r, &p->step[r.step]);
    if (g->owner.failed || (g->watch && !ur__check_finite(&r))) {
        spoil_gradients(g, p);
        return false;
    }
    commit(&r);
    if (!replay)
        publish(g, p);
    p->ran_generation = g->owner.generation;
    return true;
}
