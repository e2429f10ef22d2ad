/* The cache of plans: confirmed by comparing structure, bounded in bytes, least recently used out.
 *
 * The key is all that a plan depends on: the tape's three arrays, where the outstanding part
 * begins, which values are known from earlier runs and where they lie, and the rewrites that are
 * off.
 *
 * To keep a key is to copy the tape. After many new tapes in a row, as of trees, none is kept: of
 * such a plan only the hash remains, and if its tape comes again, the next plan has a key. */
#include "graph/plan/plan.h"

enum { MANY = 16 };

static uint64_t kept_hash(const ur_graph *g)
{
    uint64_t h = g->n_kept;
    for (size_t i = 0; i < g->n_kept; i++)
        h = ur__mix(ur__mix(h, g->kept[i].id), g->kept[i].loc.offset);
    return h;
}

static bool same(const ur_graph *g, const ur__plan *p, uint64_t kept)
{
    const ur__tape *t = &g->tape;
    return p->hash == t->hash && p->n_tape == t->n && p->done == g->done && p->off == g->off &&
           p->budget == g->budget && p->node &&
           p->kept_hash == kept && p->data_begin == g->data_used &&
           p->n_operands == t->n_operands && p->n_attrs == t->n_attrs &&
           memcmp(p->node, t->node, t->n * sizeof *t->node) == 0 &&
           (!t->n_operands ||
            memcmp(p->operand, t->operand, t->n_operands * sizeof *t->operand) == 0) &&
           (!t->n_attrs || memcmp(p->attr, t->attr, t->n_attrs * sizeof *t->attr) == 0);
}

static size_t bytes_of(const ur__plan *p)
{
    return p->memory.bytes + p->consts.bytes;
}

void ur__plan_free(ur_graph *g, ur__plan *p)
{
    enum { KEPT = 8 << 20 };
    const size_t spare = p->memory.bytes + g->spare.bytes;
    if (g->last_plan == p)
        g->last_plan = NULL;
    ur__block_free(&p->consts);
    ur__bump_reset(&p->memory);
    /* with new lengths in every step one plan is made and one dropped: the next one's memory */
    if (spare <= KEPT && spare <= g->plan_limit)
        ur__bump_give(&p->memory, &g->spare);
    ur__bump_free(&p->memory);
    ur__realloc(p, sizeof *p, 0);
}

static void drop(ur_graph *g, ur__plan **at)
{
    ur__plan *p = *at;
    g->dropped[g->n_dropped++ % (sizeof g->dropped / sizeof *g->dropped)] = p->hash;
    *at = p->next;
    ur__plan_free(g, p);
}

/* A tape whose plan was dropped before anybody asked for it comes again: the room was too small. */
static void widen(ur_graph *g)
{
    g->n_new++;
    const size_t n = sizeof g->dropped / sizeof *g->dropped;
    for (size_t i = 0; i < n; i++)
        if (g->dropped[i] == g->tape.hash) {
            g->dropped[i] = 0;
            g->n_new = 0;
            g->once_limit = 2 * g->once_limit < g->plan_limit ? 2 * g->once_limit : g->plan_limit;
            return;
        }
}

ur__plan *ur__cache_find(ur_graph *g)
{
    uint64_t kept = kept_hash(g);
    for (ur__plan **at = &g->plans; *at; at = &(*at)->next) {
        ur__plan *p = *at;
        if (!same(g, p, kept))
            continue;
        *at = p->next;
        p->next = g->plans;
        p->found = true;
        g->n_new = 0;
        return g->plans = p;
    }
    if (g->plans && !g->plans->node && !g->plans->pinned)
        drop(g, &g->plans);             /* so that the next one has its memory */
    widen(g);
    return NULL;
}

bool ur__cache_key(ur_graph *g, ur__plan *p)
{
    const ur__tape *t = &g->tape;
    p->hash = t->hash;
    p->n_tape = t->n;
    p->n_operands = t->n_operands;
    p->n_attrs = t->n_attrs;
    p->done = g->done;
    p->off = g->off;
    p->budget = g->budget;
    p->kept_hash = kept_hash(g);
    p->data_begin = g->data_used;
    if (g->n_new > MANY)
        return true;
    p->node = ur__bump_take(&p->memory, t->n * sizeof *t->node + 1);
    p->operand = ur__bump_take(&p->memory, t->n_operands * sizeof *t->operand + 1);
    p->attr = ur__bump_take(&p->memory, t->n_attrs * sizeof *t->attr + 1);
    if (!p->node || !p->operand || !p->attr)
        return ur__out_of_memory(&g->owner);
    memcpy(p->node, t->node, t->n * sizeof *t->node);
    if (t->n_operands)
        memcpy(p->operand, t->operand, t->n_operands * sizeof *t->operand);
    if (t->n_attrs)
        memcpy(p->attr, t->attr, t->n_attrs * sizeof *t->attr);
    return true;
}

/* Drops plans from the least recently used on; plans of the present tape stay. Those that nobody
 * asked for a second time, as of trees, get a room of their own, which is small until it shows that
 * they would have been wanted. */
void ur__cache_trim(ur_graph *g)
{
    size_t bytes = 0, once = 0;
    g->plans_cached = 0;
    for (ur__plan **at = &g->plans; *at;) {
        ur__plan *p = *at;
        once += p->found ? 0 : bytes_of(p);
        if (at != &g->plans && !p->pinned &&
            (!p->node || bytes + bytes_of(p) > g->plan_limit ||
             (!p->found && once > g->once_limit))) {
            once -= p->found ? 0 : bytes_of(p);
            drop(g, at);
            continue;
        }
        bytes += bytes_of(p);
        g->plans_cached++;
        at = &p->next;
    }
    g->plan_bytes = bytes;
}

void ur__cache_insert(ur_graph *g, ur__plan *p)
{
    p->next = g->plans;
    g->plans = p;
    ur__cache_trim(g);
}

void ur__cache_free(ur_graph *g)
{
    while (g->plans) {
        ur__plan *p = g->plans;
        g->plans = p->next;
        ur__plan_free(g, p);
    }
    ur__bump_free(&g->spare);
}
