/* The plan printer: what runs, in which order, what each rewrite did and what that saves.
 *
 *     plan: 310 nodes (112 recorded), 41 steps in 30 phases, 44.1 Mflop, 9.1 MB moved, 2.2 MB
 *       fetched, arena 1.2 MB
 *       kmerge     8 products merged; saves 8 steps, 5 phases, 1.1 MB moved; costs 64 KB arena
 *       fuse       off; with it: 52 nodes merged; saves 40 steps, 21 phases, 3.0 MB moved
 *     ...
 *          7  product  [64,512] x [512,256]   matmul at lstm.c:21 (in lstm, t=0)
 *          8  program  [64,256] 14 instructions ...
 *
 * What a rewrite saves is the difference between two plans of this tape, made to tell: one without
 * it and one with it, all others as they are. cost.c says what is counted. So the line of a rewrite
 * that is off says what that of one which is on does. Plans within a budget have their steps in
 * another order and memory; what the other rewrites save is told of the plan that there would be
 * without a budget, and `segment` is what the budget makes of that one. */
#include "graph/plan/plan.h"

/* What is counted of a rewrite (plan->merged): so many of what it did what to. */
static const struct {
    const char *name, *one, *did;
} rewrite[UR__N_REWRITES] = {
#define R(x, one, did) [UR__BIT_##x] = { #x, one, did }
    R(batch, "node", "merged"), R(hoist, "node", "removed"), R(split, "product", "split"),
    R(swap, "product", "gathered"), R(mmerge, "product", "merged"), R(kmerge, "product", "merged"),
    R(nmerge, "sum", "merged"), R(fuse, "node", "merged"), R(recompute, "value", "computed again"),
    R(chunk, "chunk", "made"), R(band, "step", "cut"), R(views, "value", "not copied"),
    R(accumulate, "term", "added in place"), R(pack, "panel", "packed"),
    R(segment, "step", "run again"), R(schedule, "step", "merged"),
    R(memory, "value", "in the memory of others"),
#undef R
};

enum { COSTS = sizeof(ur__cost) / sizeof(double) };

/* "1.2 MB" or, in steps of a thousand, "44.1 Mflop". */
static void print_amount(FILE *to, double n, double step, const char *unit)
{
    const char *prefix[] = { "", "K", "M", "G" };
    int k = 0;
    for (; n >= step && k < 3; k++)
        n /= step;
    fprintf(to, k ? "%.1f %s%s" : "%.0f %s%s", n, prefix[k], unit);
}

static void print_bytes(FILE *to, double n)
{
    print_amount(to, n, 1024, "B");
}

static void print_dims(FILE *to, int rank, const ptrdiff_t *dim)
{
    fputc('[', to);
    for (int i = 0; i < rank; i++)
        fprintf(to, i ? ",%td" : "%td", dim[i]);
    fputc(']', to);
}

static const char *write_text(int write)
{
    return write == UR__ADD ? ", added" : write == UR__BY_STAMP ? ", into the gradient" : "";
}

static void print_product(FILE *to, const ur__contraction *c)
{
    ptrdiff_t k = 0;
    for (size_t i = 0; i < c->n_terms; i++)
        k += c->term[i].k;
    fprintf(to, "product  [%td,%td] x [%td,%td]", c->m, k, k, c->n);
    if (c->n_terms > 1)
        fprintf(to, ", %zu terms", c->n_terms);
    if (c->batch) {
        fputs(", for each of ", to);
        print_dims(to, c->batch->rank, c->batch->dim);
    }
    if (c->term[0].b.region == UR__PANELS)
        fputs(", packed", to);
    if (c->thin)
        fputs(", in place", to);
    fputs(write_text(c->write), to);
    size_t others = 0;
    for (const ur__contraction *x = c->gang; x; x = x->gang)
        others++;
    if (others)
        fprintf(to, ", and %zu with the same left operands", others);
}

static void print_step(const ur_graph *g, FILE *to, const ur__step *s, const ur__label *l)
{
    switch (s->what) {
    case UR__PROGRAM: {
        const ur__program *p = ((const ur__programmed *)s->body)->program;
        fputs("program  ", to);
        print_dims(to, p->rank, p->dim);
        fprintf(to, " %d instructions, %d in, %d out, %d tiles", p->n_instructions, p->n_in,
                p->n_out, p->n_tiles);
        break;
    }
    case UR__CONTRACT:
        print_product(to, s->body);
        break;
    case UR__MOVE: {
        const ur__move *m = s->body;
        fputs("move     ", to);
        print_dims(to, m->rank, m->dim);
        fputs(write_text(m->write), to);
        break;
    }
    case UR__ZERO:
        fputs("zero     ", to);
        print_bytes(to, (double)((const ur__zero *)s->body)->bytes);
        break;
    case UR__SCATTER: {
        const ur__scatter *x = s->body;
        fprintf(to, "scatter  [%zu,%zu] into %zu rows", x->n, x->width, x->rows);
        break;
    }
    case UR__CALL:
        fprintf(to, "call     %s", ur_shape_text(((const ur__call *)s->body)->routine->shape));
        break;
    case UR__PACK: {
        const ur__panel *p = &g->panel[s->panel];
        const ur_params *ps = g->slot[p->slot].store;
        const ur__param *q = &ps->param[p->param];
        fprintf(to, "pack     %s%s%s [%td,%td], when it has changed",
                (size_t)(p->k * p->n) < q->count ? "a part of " : "", q->name,
                p->b_n != 1 ? " transposed" : "", p->k, p->n);
        return;
    }
    }
    fprintf(to, "   %s%s", l->adjoint ? "gradient of " : "", l->op->name);
    const char *place = ur__place(l->at);
    if (*place)
        fprintf(to, " at %.*s", (int)strlen(place) - 2, place);
    const char *scope = l->scope <= g->n_scopes ? ur__scope_text(g, l->scope) : "";
    if (*scope)
        fprintf(to, " (in %s)", scope);
}

/* The amounts among these that are above 0, behind `what`. */
static void print_costs(FILE *to, const char *what, const ur__cost *c)
{
    const double amount[] = { c->steps, c->phases, c->flops, c->moved, c->fetched, c->arena };
    static const char *const behind[] = { " step", " phase", "", " moved", " fetched", " arena" };
    for (int k = 0; k < COSTS; k++) {
        if (amount[k] <= 0)
            continue;
        fputs(what, to);
        what = ", ";
        if (k < 2)
            fprintf(to, "%.0f", amount[k]);
        else
            print_amount(to, amount[k], k == 2 ? 1000 : 1024, k == 2 ? "flop" : "B");
        fprintf(to, "%s%s", behind[k], k < 2 && amount[k] > 1 ? "s" : "");
    }
}

static ur__cost less(const ur__cost *a, const ur__cost *b)
{
    return (ur__cost){ a->steps - b->steps, a->phases - b->phases, a->flops - b->flops,
                       a->moved - b->moved, a->fetched - b->fetched, a->arena - b->arena };
}

static void print_rewrite(FILE *to, int r, size_t did, const ur__cost *without,
                          const ur__cost *with)
{
    const ur__cost saves = less(without, with), costs = less(with, without);
    fprintf(to, "%zu %s%s %s", did, rewrite[r].one, did == 1 ? "" : "s", rewrite[r].did);
    print_costs(to, "; saves ", &saves);
    print_costs(to, "; costs ", &costs);
}

/* What a plan would cost and its rewrites do with these off, and without a budget. Its panels are
 * forgotten again. */
static bool plan_again(ur_graph *g, uint32_t off, size_t merged[UR__N_REWRITES], ur__cost *cost)
{
    const uint32_t was_off = g->off;
    const size_t budget = g->budget, n_panels = g->n_panels, panels_used = g->panels_used;
    g->off = off;
    g->budget = 0;
    ur__plan *p = ur__plan_in_arena(g);
    const bool ok = p && ur__cost_of(g, p, cost);
    if (ok)
        memcpy(merged, p->merged, sizeof p->merged);
    if (p)
        ur__plan_free(g, p);
    g->off = was_off;
    g->budget = budget;
    g->n_panels = n_panels;
    g->panels_used = panels_used;
    return ok;
}

static bool print_rewrites(ur_graph *g, FILE *to, const ur__plan *p, const ur__cost *cost)
{
    size_t merged[UR__N_REWRITES], other_merged[UR__N_REWRITES];
    ur__cost usual, other;
    if (!plan_again(g, p->off, merged, &usual))
        return false;
    for (int r = 0; r < UR__N_REWRITES; r++) {
        const bool off = p->off >> r & 1;
        fprintf(to, "  %-11s%s", rewrite[r].name, off ? "off; with it: " : "");
        if (r == UR__BIT_segment)
            print_rewrite(to, r, p->merged[r], &usual, p->budget ? cost : &usual);
        else if (!plan_again(g, p->off ^ 1u << r, other_merged, &other))
            return false;
        else
            print_rewrite(to, r, (off ? other_merged : merged)[r], off ? &usual : &other,
                          off ? &other : &usual);
        fputc('\n', to);
    }
    return true;
}

/* The same at the moment when p was planned: the last section of a tape may have run since. */
static bool print_rewrites_of(ur_graph *g, FILE *to, const ur__plan *p, const ur__cost *cost)
{
    const size_t done = g->done, n_kept = g->n_kept, data_used = g->data_used;
    if (g->n_sections && g->section[g->n_sections - 1] == p) {
        g->n_kept -= p->n_kept;
        g->data_used = p->data_begin;
        g->done = p->done;
    }
    const bool ok = print_rewrites(g, to, p, cost);
    g->done = done;
    g->n_kept = n_kept;
    g->data_used = data_used;
    return ok;
}

bool ur_print_plan(ur_graph *g, FILE *to)
{
    ur__cost cost;
    if (!g || g->owner.failed)
        return false;
    ur__plan *p = g->done == g->tape.n && g->n_sections ? g->section[g->n_sections - 1]
                                                        : ur__plan_for(g);
    if (!p || !ur__cost_of(g, p, &cost))
        return false;
    fprintf(to, "plan: %zu nodes (%zu recorded), %zu steps in %.0f phases, ", p->n_nodes,
            p->n_tape, p->n_steps, cost.phases);
    print_amount(to, cost.flops, 1000, "flop, ");
    print_bytes(to, cost.moved);
    fputs(" moved, ", to);
    print_bytes(to, cost.fetched);
    fputs(" fetched, arena ", to);
    print_bytes(to, cost.arena);
    fputc('\n', to);
    if (!print_rewrites_of(g, to, p, &cost))
        return false;
    for (size_t i = 0; i < p->n_steps; i++) {
        fprintf(to, "%6zu  ", i);
        print_step(g, to, &p->step[i], &p->label[i]);
        fputc('\n', to);
    }
    return !ferror(to);
}
