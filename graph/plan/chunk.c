/* Chunks: the gradient of a recurrent weight is a sum of products over all steps,
 *
 *     dW = sum_t h_(t-1)^T dz_t,
 *
 * which K-merge makes one contraction. Run at the end it would read every h and dz from memory once
 * more. Cut into chunks of some hundreds of rows, each run as soon as its last dz is known, it
 * reads them from the cache. The chunks add to one destination in a fixed order. */
#include "graph/plan/plan.h"

static uint32_t term(const ur__work *w, uint32_t id, uint32_t i)
{
    return ur__in(w, id)[i];
}

static int64_t inner(const ur__work *w, uint32_t product)
{
    const ur_shape *a = &ur__shape_at(w, ur__in(w, product)[0])->s;
    return a->dim[a->rank - (ur__attr(w, product)[0] ? 2 : 1)];
}

/* A merged sum of products alone whose terms become known one after another, first to last or
 * (`falling`) last to first. */
static bool progressive(const ur__work *w, uint32_t id, bool *falling)
{
    uint32_t n = w->t->node[id].n_in;
    int64_t rows = 0;
    if (w->stored[id])
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (w->role[term(w, id, i)] != R_ABSORBED || !ur__plain_product(w, term(w, id, i)))
            return false;
        rows += inner(w, term(w, id, i));
    }
    uint32_t first = w->level[term(w, id, 0)], last = w->level[term(w, id, n - 1)];
    *falling = first > last;
    return first != last && rows >= 2 * ur__limit.chunk_rows;
}

/* The terms from begin to end of the walk become a unit that runs with the last one known. */
static void make_chunk(ur__work *w, uint32_t id, bool falling, uint32_t begin, uint32_t end)
{
    uint32_t n = w->t->node[id].n_in, leader = UINT32_MAX, next = UINT32_MAX;
    for (uint32_t k = begin; k < end; k++) {
        uint32_t u = term(w, id, falling ? n - 1 - k : k);
        if (leader == UINT32_MAX || w->level[u] > w->level[leader])
            leader = u;
    }
    for (uint32_t k = begin; k < end; k++) {
        uint32_t u = term(w, id, falling ? n - 1 - k : k);
        w->unit[u] = leader;
        if (u == leader)
            continue;
        w->next[u] = next;
        next = u;
    }
    w->next[leader] = next;
    w->role[leader] = R_CHUNK;
    ur__lie_in(w, leader, id, 0);
}

bool ur__pass_chunk(ur__work *w)
{
    bool falling;
    const uint32_t n_sites = ur__on(w->g, UR__BIT_chunk) ? w->n_sites : 0;
    for (uint32_t s = 0; s < n_sites; s++) {
        const uint32_t id = w->site[s];
        if (w->role[id] != R_ACCUMULATE || !progressive(w, id, &falling))
            continue;
        uint32_t n = w->t->node[id].n_in, begin = 0;
        int64_t rows = 0;
        for (uint32_t k = 0; k < n; k++) {
            uint32_t u = term(w, id, falling ? n - 1 - k : k);
            uint32_t v = k + 1 < n ? term(w, id, falling ? n - 2 - k : k + 1) : u;
            rows += inner(w, u);
            if (k + 1 < n && (rows < ur__limit.chunk_rows || w->level[v] == w->level[u]))
                continue;
            make_chunk(w, id, falling, begin, k + 1);
            w->p->merged[UR__BIT_chunk]++;
            begin = k + 1;
            rows = 0;
        }
        w->stored[id] = UR__CHUNKED;
    }
    return true;
}
