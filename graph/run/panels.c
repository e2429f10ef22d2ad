/* Panels: parameters packed as right operands, once for each version of their values.
 *
 * A training loop with a new tape in every step changes the values, and plans. While this thread
 * plans, up to the point where steps are made, another one packs the panels that the last plan
 * used: the next one will mostly want them, and finds them fresh. While a long first tape is
 * planned it gets memory for the values of its run instead. */
#include <stdatomic.h>
#include "graph/run/run.h"

bool ur__panel_fresh(const ur_graph *g, const ur__panel *p)
{
    return p->version == g->slot[p->slot].store->version;
}

/* Panels are cut between each other; the version is set when all are there. */
void ur__renew_panel(ur_graph *g, const ur__panel *p, const ur__piece *piece)
{
    const ur_params *ps = g->slot[p->slot].store;
    const ur__kernels *kernels = ur__kernels_get();
    const ur__kernel_set *k = g->precision == UR_F64 ? &kernels->f64 : &kernels->f32;
    const size_t size = ur__type_size((int)ps->type), width = k->packed_size(1, 1) / size;
    size_t begin, end;
    ur__units(((size_t)p->n + width - 1) / width, piece, &begin, &end);
    const ptrdiff_t column = (ptrdiff_t)(begin * width), last = (ptrdiff_t)(end * width);
    if (end > begin)
        k->pack(p->k, (last < p->n ? last : p->n) - column,
                ps->values.p + p->from + (size_t)(column * p->b_n) * size, p->b_k, p->b_n,
                g->panels.p + p->offset + k->packed_size(p->k, column));
}

enum { MOST = 64, CHUNK = 2 << 20 };
static const double node_ns = 100, pack_ns = 0.4, chunk_ns = 1e7;

typedef struct beside {
    ur_graph *g;
    ur__work *w;
    bool (*plan)(ur__work *w);
    bool ok;
    atomic_bool planned;
    size_t ahead;               /* bytes of the arena to get */
    int n;
    ur__panel *panel[MOST];
} beside;

static void run_part(void *at, int part, int parts)
{
    beside *b = at;
    (void)parts;
    if (part == 0) {
        b->ok = b->plan(b->w);
        atomic_store(&b->planned, true);
    }
    for (size_t at = 0; part > 0 && at < b->ahead && !atomic_load(&b->planned); at += CHUNK) {
        ur__block_settle(&b->g->arena, at + CHUNK, true);
        ur__ahead(b->g->arena.p + at, CHUNK);
    }
    for (int i = 0; part > 0 && i < b->n; i++)
        ur__renew_panel(b->g, b->panel[i], &(ur__piece){ 0, 1, 1 });
}

/* As many of the panels that the last plan used as can be packed while the tape is planned; returns
 * about how long that takes. */
static double choose(beside *b)
{
    ur_graph *g = b->g;
    const double most = (double)g->tape.n * node_ns;
    double ns = 0;
    for (size_t i = 0; i < g->n_panels && b->n < MOST; i++) {
        ur__panel *p = &g->panel[i];
        const double more = (double)(p->k * p->n) * pack_ns;
        if (!p->version || p->planned != g->plannings || ur__panel_fresh(g, p) || ns + more > most)
            continue;
        b->panel[b->n++] = p;
        ns += more;
    }
    return ns;
}

/* Bytes of the arena to get while a first tape is planned, if that is long enough to be worth it:
 * training keeps more than a quarter of all that the forward part computes. */
static size_t to_get(const ur_graph *g)
{
    enum { LONG = 20000 };
    const ur__tape *t = &g->tape;
    size_t bytes = 0;
    bool trains = false;
    for (size_t i = 0; !g->plans_made && t->n > LONG && i < t->n; i++) {
        const ur__node *x = &t->node[i];
        trains |= x->op == &ur__op_request;
        if (x->n_in > 0 && x->flags & UR__GROWS)
            bytes += g->shape[x->shape].count * ur__type_size(x->type);
    }
    if (g->budget && bytes / 4 > g->budget)
        return 0;
    bytes = bytes / 4 / CHUNK * CHUNK;
    return trains && bytes <= g->arena.bytes ? bytes : 0;
}

bool ur__plan_and_pack(ur__work *w, bool (*plan)(ur__work *w))
{
    ur_graph *g = w->g;
    beside b = { .g = g, .w = w, .plan = plan };
    atomic_init(&b.planned, false);
    b.ahead = to_get(g);
    const double ns = choose(&b) + (b.ahead ? chunk_ns : 0);
    const int threads = b.n || b.ahead ? ur__pool_take(g->threads) : 1;
    if (threads < 2)
        return plan(w);
    ur__pool_run(2, run_part, &b, ns);
    ur__pool_give(threads);
    for (int i = 0; i < b.n; i++)
        b.panel[i]->version = g->slot[b.panel[i]->slot].store->version;
    return b.ok;
}
