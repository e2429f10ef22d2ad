/* The plan printer: what runs, in which order, what was merged, bytes and flops.
 *
 *     plan: 310 nodes (112 recorded), 41 steps, arena 1.2 MB, 44.1 Mflop in products
 *     step what      size                          from
 *        7 product   [64,512] x [512,256]          lstm.c:21: matmul (in lstm, t=0)
 *        8 program   [64,256] 14 instructions ...  */
#include "graph/plan/plan.h"

static void print_bytes(FILE *to, double n)
{
    const char *unit[] = { "B", "KB", "MB", "GB" };
    int k = 0;
    for (; n >= 1024 && k < 3; k++)
        n /= 1024;
    fprintf(to, k ? "%.1f %s" : "%.0f %s", n, unit[k]);
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

static void print_merged(FILE *to, const ur__plan *p, int rewrite)
{
    fprintf(to, "%zu merged", p->merged[rewrite]);
    if (p->saved[rewrite] > 0) {
        fputs(", saves ", to);
        print_bytes(to, p->saved[rewrite]);
    }
}

/* What a rewrite that is off would have done: a plan of the same tape with it is made to tell. */
static void print_missed(ur_graph *g, FILE *to, const ur__plan *p, int rewrite)
{
    const uint32_t off = g->off;
    const size_t done = g->done, n_kept = g->n_kept, budget = g->budget;
    fputs("off", to);
    if (p->done > 0)                    /* of a section, whose beginning is run */
        return;
    g->off = p->off & ~(1u << rewrite);
    g->done = g->n_kept = g->budget = 0;
    ur__plan *with = ur__plan_new(g);
    g->off = off;
    g->done = done;
    g->n_kept = n_kept;
    g->budget = budget;
    if (!with)
        return;
    ur__plan_ready(g, with);
    fputs("; with it: ", to);
    print_merged(to, with, rewrite);
    fprintf(to, "; %zu steps, arena ", with->n_steps);
    print_bytes(to, (double)with->arena_bytes);
    fprintf(to, ", %.4g Mflop", with->flops / 1e6);
    ur__plan_free(g, with);
}

bool ur_print_plan(ur_graph *g, FILE *to)
{
    if (!g || g->owner.failed)
        return false;
    ur__plan *p = g->done == g->tape.n && g->n_sections ? g->section[g->n_sections - 1]
                                                        : ur__plan_for(g);
    if (!p)
        return false;
    ur__plan_ready(g, p);
    static const char *const name[] = {
#define X(rewrite) #rewrite,
        UR__REWRITES(X)
#undef X
    };
    fprintf(to, "plan: %zu nodes (%zu recorded), %zu steps, arena ", p->n_nodes, p->n_tape,
            p->n_steps);
    print_bytes(to, (double)p->arena_bytes);
    fprintf(to, ", %.4g Mflop in products\n", p->flops / 1e6);
    for (int i = 0; i < UR__N_REWRITES; i++) {
        fprintf(to, "  %-11s", name[i]);
        if (p->off >> i & 1)
            print_missed(g, to, p, i);
        else
            print_merged(to, p, i);
        fputc('\n', to);
    }
    for (size_t i = 0; i < p->n_steps; i++) {
        fprintf(to, "%6zu  ", i);
        print_step(g, to, &p->step[i], &p->label[i]);
        fputc('\n', to);
    }
    return !ferror(to);
}
