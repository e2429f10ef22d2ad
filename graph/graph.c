/* A graph's life: creation, clearing, runs, settings. */
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include "graph/internal.h"
#include "graph/plan/plan.h"

double ur__now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

ur_graph *ur_graph_new(ur_type precision, int mode)
{
    ur_graph *g = ur__realloc(NULL, 0, sizeof *g);
    if (!g)
        return NULL;
    memset(g, 0, sizeof *g);
    g->owner.what = UR__GRAPH;
    g->owner.generation = 1;
    g->precision = precision == UR_F64 ? UR_F64 : UR_F32;
    g->mode = mode;
    g->threads = 1;
    g->into = &g->tape;
    ur_plan_cache_limit(g, (size_t)256 << 20);
    ur__switch_off(g, getenv("UR_OFF"));
    return g;
}

static void free_tape(ur__tape *t)
{
    ur__realloc(t->node, t->cap * sizeof *t->node, 0);
    ur__realloc(t->origin, t->origin_cap * sizeof *t->origin, 0);
    ur__realloc(t->operand, t->operand_cap * sizeof *t->operand, 0);
    ur__realloc(t->attr, t->attr_cap * sizeof *t->attr, 0);
}

void ur_graph_free(ur_graph *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n_sections; i++)
        g->section[i]->pinned--;
    g->n_sections = 0;
    ur__cache_free(g);
    free_tape(&g->tape);
    for (size_t i = 0; i < g->n_slots; i++) {
        ur__slot *s = &g->slot[i];
        ur__realloc(s->import, s->import_cap * sizeof *s->import, 0);
        ur__realloc(s->stamp, s->stamp_cap * sizeof *s->stamp, 0);
        ur__params_unref(s->store);
    }
    ur__realloc(g->slot, g->slot_cap * sizeof *g->slot, 0);
    ur__realloc(g->shape, g->shape_cap * sizeof *g->shape, 0);
    ur__realloc(g->shape_index, g->shape_index_cap * sizeof *g->shape_index, 0);
    ur__realloc(g->scopes, g->scope_cap * sizeof *g->scopes, 0);
    ur__realloc(g->names, g->name_cap * sizeof *g->names, 0);
    ur__realloc(g->panel, g->panel_cap * sizeof *g->panel, 0);
    ur__realloc(g->kept, g->kept_cap * sizeof *g->kept, 0);
    ur__realloc(g->section, g->section_cap * sizeof *g->section, 0);
    ur__bump_free(&g->text);
    ur__bump_free(&g->scratch);
    ur__block_free(&g->data);
    ur__block_free(&g->consts);
    ur__block_free(&g->arena);
    ur__block_free(&g->panels);
    ur__realloc(g, sizeof *g, 0);
}

void ur_clear(ur_graph *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n_sections; i++)
        g->section[i]->pinned--;
    g->n_sections = 0;
    if (++g->owner.generation == 0)
        g->owner.generation = 1;
    g->tape.n = g->tape.n_operands = g->tape.n_attrs = 0;
    g->tape.hash = 0;
    g->data_used = 0;
    g->n_kept = g->n_names = g->n_scopes = 0;
    g->done = 0;
    g->scope = g->random_ops = 0;
    g->pending = g->changed = false;
    ur__bump_reset(&g->text);
    g->record_start = ur__now_ns();
}

void *ur_graph_alloc(ur_graph *g, size_t bytes)
{
    void *p = g ? ur__bump_alloc(&g->text, bytes ? bytes : 1) : NULL;
    if (!p && g)
        ur__out_of_memory(&g->owner);
    return p;
}

static void remember_versions(ur_graph *g)
{
    for (size_t i = 0; i < g->n_slots; i++)
        g->slot[i].version = g->slot[i].store->version;
}

bool ur_run(ur_graph *g)
{
    if (!g || g->owner.failed)
        return false;
    if (g->done == g->tape.n && !g->pending)
        return true;
    bool first = g->n_sections == 0;
    if (first) {
        g->record_ns = ur__now_ns() - g->record_start;
        g->tape_run = g->run_number++;
        g->changed = false;
    }
    ur__plan *p = ur__plan_for(g);
    if (!p)
        return false;
    if (first)
        remember_versions(g);
    if (!ur__reserve(&g->section, &g->section_cap, g->n_sections + 1, sizeof *g->section))
        return ur__out_of_memory(&g->owner);
    if (!ur__execute(g, p, first))
        return false;
    g->section[g->n_sections++] = p;
    p->pinned++;
    g->data_used = p->data_end;
    g->done = g->tape.n;
    g->pending = false;
    return true;
}

bool ur_rerun(ur_graph *g)
{
    if (!g || g->owner.failed)
        return false;
    if (g->n_sections == 0)
        return ur_run(g);
    if (g->done < g->tape.n && !ur_run(g))
        return false;
    g->tape_run = g->run_number++;
    g->changed = false;
    remember_versions(g);
    for (size_t i = 0; i < g->n_sections; i++)
        if (!ur__execute(g, g->section[i], i == 0))
            return false;
    return true;
}

/* A graph that could not be made is NULL: setting it does nothing, running it fails. */
int ur_mode(const ur_graph *g) { return g ? g->mode : UR_INFER; }
ur_type ur_precision(const ur_graph *g) { return g ? g->precision : UR_F32; }
uint64_t ur_run_number(const ur_graph *g) { return g ? g->run_number : 0; }

void ur_seed(ur_graph *g, uint64_t seed)
{
    if (g)
        g->seed = seed;
}

void ur_set_run_number(ur_graph *g, uint64_t number)
{
    if (g)
        g->run_number = number;
}

void ur_set_threads(ur_graph *g, int n)
{
    if (g)
        g->threads = n < 1 ? INT_MAX : n;        /* the pool knows the cores */
}

void ur_watch(ur_graph *g, bool on)
{
    if (g)
        g->watch = on;
}

void ur_graph_budget(ur_graph *g, size_t bytes)
{
    if (g)
        g->budget = bytes;
}

void ur_plan_cache_limit(ur_graph *g, size_t bytes)
{
    enum { ONCE = 64 };
    if (!g)
        return;
    g->plan_limit = bytes;
    g->once_limit = bytes / ONCE;
    ur__cache_trim(g);
}

ur_graph_stats ur_stats(const ur_graph *g)
{
    if (!g)
        return (ur_graph_stats){ 0 };
    ur_graph_stats s = { .nodes = g->tape.n, .plans_made = g->plans_made,
                         .plans_cached = g->plans_cached, .record_ns = g->record_ns,
                         .plan_ns = g->plan_ns };
    if (g->last_plan) {
        s.planned_nodes = g->last_plan->n_nodes;
        s.steps = g->last_plan->n_steps;
        s.arena_bytes = g->last_plan->arena_bytes;
    }
    return s;
}

/* --------------------------------------------------------------------------------------- scopes */

void ur_scope_begin(ur_graph *g, const char *name, int t)
{
    if (!g || g->owner.failed)
        return;
    size_t length = strlen(name) + 1;
    char *copy = NULL;
    /* steps of one layer follow each other: they share the text */
    for (size_t back = g->n_scopes; !copy && back > 0 && back + 2 > g->n_scopes; back--)
        if (strcmp(g->scopes[back - 1].name, name) == 0)
            copy = (char *)g->scopes[back - 1].name;
    if (!copy && (copy = ur__bump_alloc(&g->text, length)))
        memcpy(copy, name, length);
    if (!copy || !ur__reserve(&g->scopes, &g->scope_cap, g->n_scopes + 1, sizeof *g->scopes)) {
        ur__out_of_memory(&g->owner);
        return;
    }
    g->scopes[g->n_scopes++] = (ur__scope){ copy, t, g->scope };
    g->scope = (uint32_t)g->n_scopes;       /* 1 + index */
}

void ur_scope_end(ur_graph *g)
{
    if (g && g->scope)
        g->scope = g->scopes[g->scope - 1].parent;
}

ur_node ur_named(ur_node x, const char *name)
{
    ur_graph *g = ur_graph_of(x);
    if (!g || g->owner.failed || !ur__live(x))
        return x;
    size_t length = strlen(name) + 1;
    char *copy = ur__bump_alloc(&g->text, length);
    if (!copy || !ur__reserve(&g->names, &g->name_cap, g->n_names + 1, sizeof *g->names)) {
        ur__out_of_memory(&g->owner);
        return x;
    }
    memcpy(copy, name, length);
    g->names[g->n_names].id = x.id;
    g->names[g->n_names++].text = copy;
    return x;
}
