/* The planner's driver: from a tape to a list of kernel calls. */
#include "graph/plan/plan.h"

static const char *const rewrite_name[] = {
#define X(name) #name,
    UR__REWRITES(X)
#undef X
};

ur__limits ur__limit = { .thin = 16, .times = 2, .step_rows = 48, .chunk_rows = 256,
                         .band_rows = 1024, .block_rows = 256 };

static int rewrite_of(const char *name, size_t length)
{
    for (int i = 0; i < UR__N_REWRITES; i++)
        if (strlen(rewrite_name[i]) == length && memcmp(rewrite_name[i], name, length) == 0)
            return i;
    return -1;
}

void ur__switch_off(ur_graph *g, const char *list)
{
    while (list && *list) {
        size_t n = strcspn(list, ",");
        int k = rewrite_of(list, n);
        if (k >= 0)
            g->off |= 1u << k;
        else if (n > 0)
            ur__fail(&g->owner, "graph_new: UR_OFF in the environment: there is no rewrite "
                     "\"%.*s\"; names are those of ur_rewrite, commas between them",
                     n < 80 ? (int)n : 80, list);
        list += n + (list[n] == ',');
    }
}

bool ur_rewrite(ur_graph *g, const char *name, bool on)
{
    int k = rewrite_of(name, strlen(name));
    if (k < 0 || !g)
        return false;
    g->off = on ? g->off & ~(1u << k) : g->off | 1u << k;
    return true;
}

/* Room for everything that the passes say of a node: zeroed, unless some pass writes all of it. */
static bool prepare(ur__work *w)
{
    ur__bump *s = &w->g->scratch;
    size_t n = w->n + 1;
    w->role = ur__bump_alloc(s, n);
    w->goal = ur__bump_alloc(s, n);
    w->strict = ur__bump_alloc(s, n);
    w->stored = ur__bump_alloc(s, n);
    w->again = ur__bump_alloc(s, n);
    w->begun = ur__bump_alloc(s, n);
    w->mode = ur__bump_alloc(s, n);
    w->thick = ur__bump_alloc(s, n);
    w->uses = ur__bump_alloc(s, n * sizeof *w->uses);
    w->user = ur__bump_alloc(s, n * sizeof *w->user);
    w->stride = ur__bump_alloc(s, n * sizeof *w->stride);
    w->loc = ur__bump_alloc(s, n * sizeof *w->loc);
    w->shift = ur__bump_alloc(s, n * sizeof *w->shift);
    w->gang = ur__bump_take(s, n * sizeof *w->gang);
    w->number = ur__bump_alloc(s, n * sizeof *w->number);
    w->root = ur__bump_take(s, n * sizeof *w->root);
    w->base = ur__bump_take(s, n * sizeof *w->base);
    w->offset = ur__bump_take(s, n * sizeof *w->offset);
    w->level = ur__bump_take(s, n * sizeof *w->level);
    w->unit = ur__bump_take(s, n * sizeof *w->unit);
    w->pos = ur__bump_take(s, n * sizeof *w->pos);
    w->order = ur__bump_take(s, n * sizeof *w->order);
    w->next = ur__bump_take(s, n * sizeof *w->next);
    return w->role && w->goal && w->strict && w->stored && w->again && w->begun && w->mode &&
           w->thick && w->uses && w->user && w->stride && w->loc && w->gang && w->root &&
           w->base && w->shift && w->offset && w->level && w->unit && w->pos && w->order &&
           w->next && w->number;
}

/* The steps, and what texts say of them after the expanded tape is gone. */
static bool keep_steps(ur__work *w)
{
    ur__plan *p = w->p;
    ur__step *step = ur__bump_take(&p->memory, p->n_steps * sizeof *step);
    p->label = ur__bump_take(&p->memory, p->n_steps * sizeof *p->label);
    if (!step || !p->label)
        return ur__out_of_memory(&w->g->owner);
    for (size_t i = 0; i < p->n_steps; i++) {
        uint32_t id = p->step[i].node;
        const ur__origin *from = &w->t->origin[id];
        step[i] = p->step[i];
        p->label[i] = (ur__label){ .op = w->t->node[id].op, .at = from->at,
                                   .adjoint = from->anchor != 0,
                                   .shape = w->t->node[id].shape, .scope = from->scope };
    }
    p->step = step;
    return true;
}

static bool seal_stores(ur_graph *g)
{
    for (size_t i = 0; i < g->n_slots; i++)
        if (!ur__seal(g->slot[i].store))
            return ur__fail(&g->owner, "%s", g->slot[i].store->owner.error);
    return true;
}

/* What can be decided before there are steps. */
static bool decide(ur__work *w)
{
    if (!ur__expand(w))
        return false;
    w->n = (uint32_t)w->t->n;
    w->p->n_nodes = w->n;
    if (!prepare(w))
        return ur__out_of_memory(&w->g->owner);
    return ur__pass_live(w) && ur__pass_accumulate(w) && ur__pass_views(w) && ur__pass_fuse(w) &&
           ur__pass_chunk(w) && ur__find_roots(w) && ur__pass_schedule(w) && ur__pass_nmerge(w) &&
           ur__pass_offsets(w);
}

/* From the tape on. `usual`: 0, or the arena of a plan that was over the budget. */
static bool build(ur_graph *g, ur__plan *p, size_t usual)
{
    ur__bump_reset(&g->scratch);
    g->expanded = (ur__tape){ .memory = &g->scratch };
    g->consts_used = 0;
    ur__work w = { .g = g, .p = p, .t = &g->expanded, .usual = usual };
    w.map = ur__bump_take(&g->scratch, (g->tape.n + 1) * sizeof *w.map);
    if (!w.map)
        return ur__out_of_memory(&g->owner);
    if (!seal_stores(g) || !ur__cache_key(g, p))
        return false;
    bool ok = ur__plan_and_pack(&w, decide) && ur__pass_emit(&w) &&
              (usual ? ur__pass_segment(&w) : ur__pass_bands(&w)) && keep_steps(&w);
    p->consts = g->consts;              /* the leaves that rules made belong to the plan now */
    memset(&g->consts, 0, sizeof g->consts);
    return ok && !g->owner.failed;
}

static ur__plan *new_plan(ur_graph *g, size_t usual)
{
    ur__plan *p = ur__realloc(NULL, 0, sizeof *p);
    if (!p) {
        ur__out_of_memory(&g->owner);
        return NULL;
    }
    memset(p, 0, sizeof *p);
    ur__bump_give(&g->spare, &p->memory);
    const bool ok = build(g, p, usual);
    ur__bump_give(&p->memory, &g->spare);
    if (ok)
        return p;
    ur__plan_free(g, p);
    return NULL;
}

ur__plan *ur__plan_new(ur_graph *g)
{
    ur__plan *p = new_plan(g, 0);
    if (!p || !g->budget || p->arena_bytes <= g->budget)
        return p;
    const size_t usual = p->arena_bytes;
    ur__plan_free(g, p);
    if (!ur__on(g, UR__BIT_segment)) {
        ur__over_budget(g, usual);
        return NULL;
    }
    return new_plan(g, usual);
}

/* Planning works where the values of the run will lie: nothing is there between runs. Before the
 * first run it is not known how much they will take, but of long tapes it is more than this. */
static void lend_arena(ur_graph *g)
{
    enum { NODE = 2048 };
    if (!g->arena.p)
        ur__block_reserve(&g->arena, g->tape.n * NODE);
    ur__bump_lend(&g->scratch, &g->arena);
}

/* What planning a long tape took is as much as the plan itself, and is seldom needed again. */
static void give_back(ur_graph *g)
{
    enum { KEPT = 8 << 20 };
    if (g->scratch.bytes > KEPT)
        ur__bump_free(&g->scratch);
}

ur__plan *ur__plan_in_arena(ur_graph *g)
{
    lend_arena(g);
    ur__plan *p = ur__plan_new(g);
    ur__bump_return(&g->scratch, &g->arena);
    give_back(g);
    return p;
}

/* A value of an earlier run is computed again only if nothing that it came from has changed. */
static bool still_holds(ur_graph *g, const ur__plan *p)
{
    bool changed = g->changed;
    for (size_t i = 0; i < g->n_slots; i++)
        changed |= g->slot[i].version != g->slot[i].store->version;
    if (!p->revived || !changed)
        return true;
    const uint32_t id = p->revived - 1;
    return ur__fail_at(g, g->tape.origin[id].at, g->tape.node[id].op->name,
                       "the value was not kept and what it depends on has changed since: call "
                       "ur_keep before the run");
}

ur__plan *ur__plan_for(ur_graph *g)
{
    ur__plan *p = ur__cache_find(g);
    if (!p) {
        double start = ur__now_ns();
        if (!(p = ur__plan_in_arena(g)))
            return NULL;
        ur__cache_insert(g, p);
        g->plans_made++;
        g->plan_ns = ur__now_ns() - start;
    }
    g->last_plan = p;
    return still_holds(g, p) ? p : NULL;
}
