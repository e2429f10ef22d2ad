/* Steps over all rows of whole sequences, an output layer's say, cut into blocks of rows: a block
 * of [T, B, H] can then come and go with the time steps that it is of.
 *
 * Blocks begin where no other step reads or writes across the border, and where products that sum
 * over the rows keep their bits. */
#include "graph/plan/segment.h"

enum { SIZES = 8, FEW = 64, PLACES = 64, PART = 2 };

/* Memory that steps walk row by row. */
typedef struct walked {
    uint64_t begin, end;
    size_t row;
} walked;

typedef struct blocks {
    ur__segmenting *s;
    const ur__step *step;
    size_t n, rows;
    bool *across;                       /* by row: no block begins there */
    bool sums;
    walked place[PLACES];
    int n_places;
} blocks;

static bool by_rows(const ur_graph *g, ur__member *m, const ur__step *s, size_t rows)
{
    return ur__by_rows(g, m, s, &rows, true);
}

/* The size that makes most of all products' results of those that only few products have. */
static size_t find_rows(const ur__step *step, size_t n)
{
    struct { ptrdiff_t m; size_t count; double bytes; } size[SIZES] = { { 0 } };
    size_t products = 0;
    for (size_t i = 0; i < n; i++) {
        const ur__contraction *c = step[i].body;
        if (step[i].what != UR__CONTRACT || c->batch)
            continue;
        int k = 0;
        while (k < SIZES && size[k].m && size[k].m != c->m)
            k++;
        products++;
        if (k == SIZES)
            continue;
        size[k].m = c->m;
        size[k].count++;
        size[k].bytes += (double)c->m * (double)c->n;
    }
    int best = -1;
    for (int k = 0; k < SIZES && size[k].m; k++)
        if (size[k].count <= FEW && 2 * size[k].count <= products && size[k].m > 1 &&
            (best < 0 || size[k].bytes > size[best].bytes))
            best = k;
    return best < 0 ? 0 : (size_t)size[best].m;
}

static void add_place(blocks *b, const ur__touched *t)
{
    const uint64_t begin = t->at.offset, end = begin + t->bytes;
    for (int k = 0; k < b->n_places; k++)
        if (b->place[k].begin == begin && b->place[k].row == t->row)
            return;
    if (t->row && t->at.region == UR__ARENA && b->n_places < PLACES)
        b->place[b->n_places++] = (walked){ begin, end, t->row };
}

/* What another step touches is not torn apart, unless it is much of a sequence. */
static void keep_whole(blocks *b, const ur__touch *t)
{
    for (int k = 0; k < b->n_places; k++) {
        const walked *p = &b->place[k];
        if (t->begin >= p->end || t->end <= p->begin || t->begin < p->begin ||
            (t->end - t->begin) * PART > p->end - p->begin)
            continue;
        size_t last = (size_t)(t->end - p->begin - 1) / p->row;
        for (size_t r = (size_t)(t->begin - p->begin) / p->row + 1; r <= last && r < b->rows; r++)
            b->across[r] = true;
    }
}

static void mark_across(blocks *b)
{
    ur__segmenting *s = b->s;
    for (size_t i = 0; i < b->n; i++) {
        if (s->tall[i])
            continue;
        size_t n = ur__touches(s->w->g, &b->step[i], s->touch, s->touch_room);
        for (size_t k = 0; k < n; k++)
            if (s->touch[k].at->region == UR__ARENA)
                keep_whole(b, &s->touch[k]);
    }
    const size_t block = (size_t)ur__gemm_block((ptrdiff_t)b->rows);
    for (size_t r = 1; b->sums && r < b->rows; r++)
        b->across[r] |= r % block != 0;
}

static bool place_cuts(blocks *b)
{
    ur__segmenting *s = b->s;
    const size_t least = (size_t)ur__limit.block_rows;
    s->cut = ur__bump_alloc(&s->w->g->scratch, (b->rows + 1) * sizeof *s->cut);
    if (!s->cut)
        return ur__out_of_memory(&s->w->g->owner);
    size_t begin = 0;
    for (size_t r = 1; r < b->rows; r++)
        if (!b->across[r] && r - begin >= least) {
            s->cut[++s->n_cuts] = (uint32_t)r;
            begin = r;
        }
    s->cut[++s->n_cuts] = (uint32_t)b->rows;
    return true;
}

/* All blocks of a step. A product that sums over the rows goes on by its own blocks. */
static bool cut_step(blocks *b, const ur__member *m)
{
    const ur__segmenting *s = b->s;
    for (uint32_t k = 0; k < s->n_cuts; k++) {
        const size_t end = s->cut[k + 1];
        const size_t block = m->sums ? (size_t)ur__gemm_block((ptrdiff_t)b->rows) : end;
        for (size_t r = s->cut[k], rows; r < end; r += rows) {
            rows = end - r < block ? end - r : block;
            if (!ur__cut_rows(s->w, m, b->rows, r, rows))
                return false;
        }
    }
    return true;
}

/* Room for the touches of any step, and for what is said of steps before they are cut. */
static bool prepare(blocks *b)
{
    ur__segmenting *s = b->s;
    ur__bump *scratch = &s->w->g->scratch;
    for (size_t i = 0; i < b->n; i++) {
        size_t n = ur__touches(s->w->g, &b->step[i], NULL, 0);
        s->touch_room = n > s->touch_room ? n : s->touch_room;
    }
    s->touch = ur__bump_alloc(scratch, (s->touch_room + 1) * sizeof *s->touch);
    s->tall = ur__bump_alloc(scratch, (b->n + 1) * sizeof *s->tall);
    b->across = ur__bump_alloc(scratch, b->rows + 1);
    return (s->touch && s->tall && b->across) || ur__out_of_memory(&s->w->g->owner);
}

static bool find_cuts(blocks *b)
{
    ur__segmenting *s = b->s;
    ur__member m;
    for (size_t i = 0; b->rows && i < b->n; i++) {
        if (!by_rows(s->w->g, &m, &b->step[i], b->rows))
            continue;
        s->tall[i] = 1;
        s->n_tall++;
        b->sums |= m.sums;
        for (int k = 0; k < m.n; k++)
            add_place(b, &m.value[k]);
    }
    if (b->rows)
        mark_across(b);
    if (b->rows && !place_cuts(b))
        return false;
    if (s->n_cuts < 2) {
        memset(s->tall, 0, b->n * sizeof *s->tall);
        s->n_tall = 0;
    }
    return true;
}

/* The steps as they are, or their blocks; those that pack come first, since they depend on
 * parameters alone. */
static bool append_all(blocks *b)
{
    ur__segmenting *s = b->s;
    ur__plan *p = s->w->p;
    const size_t block = (size_t)ur__gemm_block(b->rows ? (ptrdiff_t)b->rows : 1);
    const size_t room = b->n + p->n_commits + s->n_tall * (s->n_cuts + b->rows / block + 1);
    uint32_t *tall = ur__bump_alloc(&s->w->g->scratch, room * sizeof *tall), number = 0;
    ur__member m;
    if (!tall)
        return ur__out_of_memory(&s->w->g->owner);
    for (size_t i = 0; i < b->n; i++)
        if (b->step[i].what == UR__PACK && !ur__append_step(s->w, &b->step[i], NULL))
            return false;
    s->n_packs = p->n_steps;
    for (size_t i = 0; i < b->n; i++) {
        const size_t first = p->n_steps - s->n_packs;
        if (b->step[i].what == UR__PACK)
            continue;
        if (!s->tall[i] || !by_rows(s->w->g, &m, &b->step[i], b->rows)) {
            if (!ur__append_step(s->w, &b->step[i], b->step[i].body))
                return false;
            continue;
        }
        number++;
        if (!cut_step(b, &m))
            return false;
        for (size_t k = first; k < p->n_steps - s->n_packs; k++)
            tall[k] = number;
    }
    s->tall = tall;
    return true;
}

bool ur__cut_blocks(ur__segmenting *s)
{
    ur__plan *p = s->w->p;
    ur__step *step = p->step;
    blocks b = { .s = s, .step = step, .n = p->n_steps, .rows = find_rows(step, p->n_steps) };
    p->n_steps = s->w->step_cap = 0;
    return prepare(&b) && find_cuts(&b) && append_all(&b);
}
