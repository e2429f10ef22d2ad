/* Executing a plan: bases, steps, checks, commits.
 *
 * Nothing that outlives the run is written before all steps have succeeded, but for the gradient
 * blocks, which count only when the stamp says so. */
#include <math.h>
#include "graph/run/run.h"

/* Called on any thread: the text is kept with the part. */
void ur_compute_fail(const ur_compute *c, const char *format, ...)
{
    ur__run *r = c->self;
    va_list args;
    if (r->fault[0])
        return;
    r->fault_step = r->step;
    va_start(args, format);
    vsnprintf(r->fault, sizeof r->fault, format, args);
    va_end(args);
}

/* The failure that comes first in the order of steps and elements: of the first step that has one
 * that of its first part. */
static void report(ur__run *r, int parts)
{
    const ur__run *first = r;
    for (int k = 1; k < parts; k++) {
        const ur__run *x = &r->lane[k];
        if (x->fault[0] && (!first->fault[0] || x->fault_step < first->fault_step))
            first = x;
    }
    if (!first->fault[0])
        return;
    const ur__label *l = &r->p->label[first->fault_step];
    uint32_t scope = r->g->scope;
    r->g->scope = l->scope <= r->g->n_scopes ? l->scope : 0;
    ur__fail_at(r->g, l->at, l->op->name, "%s", first->fault);
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

static size_t round_up(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Grows the blocks and finds where each region begins in this run. */
bool ur__set_bases(ur_graph *g, const ur__plan *p, ur__run *r)
{
    size_t arena = round_up(p->arena_bytes), scratch = round_up(p->scratch_bytes);
    size_t threads = (size_t)r->threads, lanes = round_up(threads * sizeof *r->lane);
    size_t regions = UR__VALUES + 2 * g->n_slots, table = round_up(regions * sizeof(char *));
    const size_t all = arena + table + lanes + threads * scratch;
    if (!ur__block_renew(&g->arena, all) ||
        !ur__block_grow(&g->data, p->data_end + 64) || !ur__block_grow(&g->panels, g->panels_used))
        return ur__out_of_memory(&g->owner);
    ur__block_settle(&g->arena, all, true);
    ur__block_settle(&g->panels, g->panels_used, true);
    r->base = (char **)(g->arena.p + arena);
    r->lane = (ur__run *)(g->arena.p + arena + table);
    r->scratch = g->arena.p + arena + table + lanes;
    r->base[UR__NOWHERE] = NULL;
    r->base[UR__ARENA] = (char *)((uintptr_t)g->arena.p - p->arena_bias);
    r->base[UR__DATA] = g->data.p;
    r->base[UR__CONST] = p->consts.p;
    r->base[UR__PANELS] = g->panels.p;
    for (size_t i = 0; i < g->n_slots; i++) {
        r->base[UR__VALUES + 2 * i] = g->slot[i].store->values.p;
        r->base[UR__VALUES + 2 * i + 1] = g->slot[i].store->gradients.p;
    }
    for (size_t k = 1; k < threads; k++) {
        r->lane[k] = *r;
        r->lane[k].scratch += k * scratch;
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

/* Whether a step zeroes y byte by byte, rather than rows of a table or nothing. */
static bool zeroes(const ur__run *r, const ur__zero *z)
{
    return !z->table && (z->write != UR__BY_STAMP || !ur__adds(r, z->write, z->slot));
}

static void run_zero(ur__run *r, const ur__zero *z, const ur__piece *q)
{
    enum { BLOCK = 4096 };
    size_t begin, end;
    if (zeroes(r, z)) {
        ur__units((z->bytes + BLOCK - 1) / BLOCK, q, &begin, &end);
        end = end * BLOCK < z->bytes ? end * BLOCK : z->bytes;
        if (end > begin * BLOCK)
            memset(ur__ptr(r, z->y) + begin * BLOCK, 0, end - begin * BLOCK);
    } else if (z->table) {
        ur_params *ps = r->g->slot[z->slot].store;
        if (!ps->ready)
            ur__gradient_zero(ps, &ps->param[z->table - 1]);
    }
}

static void run_piece(ur__run *r, const ur__step *s, const ur__piece *q)
{
    switch (s->what) {
    case UR__PROGRAM:
        ur__run_program(r, s->body, q);
        break;
    case UR__CONTRACT:
        if (s->ahead)
            ur__fetch_ahead(r, s[s->ahead].body, q);
        ur__run_contraction(r, s->body, s->turned, q);
        break;
    case UR__MOVE:
        ur__run_move(r, s->body, q);
        break;
    case UR__ZERO:
        run_zero(r, s->body, q);
        break;
    case UR__SCATTER:
        ur__run_scatter(r, s->body, q);
        break;
    case UR__CALL:
        ur__run_call(r, s->body, q);
        break;
    case UR__PACK:
        if (!ur__panel_fresh(r->g, &r->g->panel[s->panel]))
            ur__renew_panel(r->g, &r->g->panel[s->panel], q);
        break;
    }
}

double ur__part_work = 1000;

/* A phase: its steps laid end to end by the time they take, and cut evenly. So of four small
 * products two threads compute two each, and a large one is cut in two. */
typedef struct phase {
    ur__run *r;
    size_t begin, end;
    double work;
} phase;

static double bounded(double fraction)
{
    return fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
}

/* The step that is run when i of n have been. */
static inline size_t in_turn(const phase *f, size_t i, size_t n)
{
    return f->begin + (f->r->p->step[f->begin].turned ? n - 1 - i : i);
}

static void run_part(void *phase_, int part, int parts)
{
    const phase *f = phase_;
    ur__run *r = part ? &f->r->lane[part] : f->r;
    const double from = f->work * part / parts, to = f->work * (part + 1) / parts;
    const size_t n = f->end - f->begin;
    for (size_t i = 0; i < n; i++) {
        const size_t at = in_turn(f, i, n);
        const ur__step *s = &f->r->p->step[at];
        const double work = (double)s->work, before = (double)s->before;
        /* the parts in which the step begins and ends */
        const double first = floor(before * parts / f->work);
        const double last = ceil((before + work) * parts / f->work - 1e-6);
        ur__piece q = { bounded((from - before) / work), bounded((to - before) / work),
                        (int)(last - first) };
        if (part == parts - 1)
            q.to = 1;                   /* whatever was lost to rounding */
        r->step = at;
        if (q.from < q.to)
            run_piece(r, s, &q);
    }
}

static void run_whole(const phase *f)
{
    const size_t n = f->end - f->begin;
    for (size_t i = 0; i < n; i++) {
        f->r->step = in_turn(f, i, n);
        run_piece(f->r, &f->r->p->step[f->r->step], &(ur__piece){ 0, 1, 1 });
    }
}

/* Whether a phase is one step that is not cut, and stays on the caller's thread: a panel that is
 * fresh, rows of a table to be zeroed, an operation of a user. */
static bool whole(const ur__run *r, const ur__step *s)
{
    switch (s->what) {
    case UR__PACK:
        return ur__panel_fresh(r->g, &r->g->panel[s->panel]);
    case UR__ZERO:
        return ((const ur__zero *)s->body)->table;
    case UR__CALL:
        return !((const ur__call *)s->body)->routine->op->pieces;
    default:
        return false;
    }
}

static int parts_of(const ur__run *r, const phase *f)
{
    if (r->threads == 1 || whole(r, &r->p->step[f->begin]))
        return 1;
    double parts = f->work / ur__part_work;
    return parts < 2 ? 1 : parts < r->threads ? (int)parts : r->threads;
}

size_t ur__run_phase(ur__run *r)
{
    phase f = { .r = r, .begin = r->step, .end = r->step };
    const ur__step *s;
    bool may_fail = false;
    do {
        s = &r->p->step[f.end++];
        f.work += (double)s->work;
        may_fail |= s->what == UR__CALL || s->what == UR__SCATTER;
    } while (!s->ends);
    int parts = parts_of(r, &f);
    if (parts > 1)
        ur__pool_run(parts, run_part, &f, f.work / parts);
    else
        run_whole(&f);
    if (s->what == UR__PACK)
        r->g->panel[s->panel].version = r->g->slot[r->g->panel[s->panel].slot].store->version;
    if (may_fail)
        report(r, parts);
    return f.end;
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
        ps->threads = g->threads;
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

void ur__plan_ready(const ur_graph *g, ur__plan *p)
{
    if (p->scratch_bytes)
        return;
    p->scratch_bytes = ur__scratch_needed(p) + 64;
    p->merged[UR__BIT_schedule] = ur__find_phases(g, p, !(p->off >> UR__BIT_schedule & 1));
    ur__mark_turns(p);
    ur__mark_ahead(p);
}

static bool execute(ur_graph *g, ur__plan *p, bool first, int threads)
{
    ur__run r = { .g = g, .p = p, .threads = threads };
    const ur__kernels *k = ur__kernels_get();
    r.f32 = &k->f32;
    r.f64 = &k->f64;
    r.key = ur__mix(ur__mix(0x756e726f6c6cu, g->seed), g->tape_run);
    bool replay = p->ran_generation == g->owner.generation;
    ur__plan_ready(g, p);
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
    for (size_t next = 0; next < p->n_steps && !g->owner.failed;) {
        r.step = next;
        next = ur__run_phase(&r);
    }
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

bool ur__execute(ur_graph *g, ur__plan *p, bool first)
{
    int threads = ur__pool_take(g->threads);
    bool ok = execute(g, p, first, threads);
    ur__pool_give(threads);
    return ok;
}
