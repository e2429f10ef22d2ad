/* A cluster of elementwise nodes becomes one program over blocks that stay in the first cache.
 *
 * Values that only the cluster needs live in tiles; the others are written where they belong and
 * read from there by later instructions of the block. Dimensions that all operands walk alike are
 * collapsed, so most programs have one or two. */
#include "graph/plan/plan.h"

enum { OUTPUT = 1 << 24, TILE = 1 << 25 };      /* pointer numbers until their counts are known */

typedef struct building {
    ur__work *w;
    ur__program *program;
    uint32_t unit;
    ur__kernel_set const *kernels;
    ur__loc *in_loc, *out_loc;
    size_t in_cap, out_cap, in_loc_cap, out_loc_cap, instruction_cap;
    int *free_tile;
    int n_free;
    uint32_t *last_user;        /* by node, of the cluster's values */
} building;

/* A node's pointer number within the unit under way. */
static int *number(building *b, uint32_t id)
{
    if (b->w->numbered[id] != b->unit + 1) {
        b->w->numbered[id] = b->unit + 1;
        b->w->number[id] = -1;
    }
    return &b->w->number[id];
}

/* Strides of x over the index space s; 0 along axes that it lacks or repeats. */
static void spread(const ur__work *w, uint32_t x, const ur_shape *s, ptrdiff_t *step)
{
    const ur_shape *in = &ur__shape_at(w, x)->s;
    ptrdiff_t stride[UR_MAX_RANK];
    ur__strides(w, x, stride);
    for (int i = 0; i < s->rank; i++) {
        int k = in->rank - s->rank + i;
        step[i] = k < 0 || in->dim[k] == 1 ? 0 : stride[k];
    }
}

static bool add_access(building *b, bool out, uint32_t x)
{
    ur__work *w = b->w;
    ur__program *p = b->program;
    size_t n = (size_t)(out ? p->n_out : p->n_in);
    if (!ur__reserve(out ? &p->out : &p->in, out ? &b->out_cap : &b->in_cap, n + 1,
                     sizeof *p->in) ||
        !ur__reserve(out ? &b->out_loc : &b->in_loc, out ? &b->out_loc_cap : &b->in_loc_cap, n + 1,
                     sizeof *b->in_loc))
        return ur__out_of_memory(&w->g->owner);
    (out ? b->out_loc : b->in_loc)[n] = ur__where(w, x);
    ur__access *a = &(out ? p->out : p->in)[n];
    memset(a, 0, sizeof *a);
    a->tile = -1;
    spread(w, x, &ur__shape_at(w, b->unit)->s, a->stride);
    *(out ? &p->n_out : &p->n_in) += 1;
    return true;
}

static int compute_again(building *b, uint32_t x);

static int operand(building *b, uint32_t x)
{
    int *k = number(b, x);
    if (*k == -1 && ur__source(b->w, b->unit, x) != x)
        return compute_again(b, x);
    if (*k == -1) {
        *k = b->program->n_in;
        if (!add_access(b, false, x))
            return 0;
    }
    return *k;
}

static int new_tile(building *b)
{
    return b->n_free ? b->free_tile[--b->n_free] : b->program->n_tiles++;
}

static bool instruct(building *b, ur__map_kernel *run, int y, int a0, int a1, int a2)
{
    ur__program *p = b->program;
    if (!ur__reserve(&p->instruction, &b->instruction_cap, (size_t)p->n_instructions + 1,
                     sizeof *p->instruction))
        return ur__out_of_memory(&b->w->g->owner);
    p->instruction[p->n_instructions++] = (ur__instruction){ run, y, a0, a1, a2 };
    return true;
}

/* The kernel of an elementwise node. */
static ur__map_kernel *kernel_of(const building *b, const ur__node *x)
{
    return x->op->row ? b->kernels->map[x->op->row - 1] : x->type == UR_F64 ? x->op->f64
                                                                           : x->op->f32;
}

/* A value of another cluster that was not stored, computed from what it was computed from there. */
static int compute_again(building *b, uint32_t x)
{
    int from = operand(b, ur__in(b->w, x)[0]);
    int *k = number(b, x);
    *k = TILE + new_tile(b);
    instruct(b, kernel_of(b, &b->w->t->node[x]), *k, from, -1, -1);
    return *k;
}

static void free_operands(building *b, uint32_t id)
{
    for (uint32_t i = 0; i < b->w->t->node[id].n_in; i++) {
        uint32_t u = ur__in(b->w, id)[i];
        int k = *number(b, u);
        if (k >= TILE && b->last_user[u] == id) {
            b->free_tile[b->n_free++] = k - TILE;
            b->last_user[u] = UINT32_MAX;       /* an operand twice is freed once */
        }
    }
}

/* Where the result goes: its own memory if others want it, else a tile. */
static bool place_result(building *b, uint32_t id, int *y)
{
    if (b->w->stored[id]) {
        *y = OUTPUT + b->program->n_out;
        if (!add_access(b, true, id))
            return false;
    } else {
        *y = TILE + new_tile(b);
    }
    *number(b, id) = *y;
    return true;
}

static bool add_member(building *b, uint32_t id)
{
    const ur__node *x = &b->w->t->node[id];
    const uint32_t *in = ur__in(b->w, id);
    int y;
    if (b->w->role[id] == R_SUM_MAP) {
        ur__map_kernel *add = b->kernels->map[UR__MAP_add];
        int sum = operand(b, in[0]);
        if (!place_result(b, id, &y))
            return false;
        for (uint32_t i = 1; i < x->n_in; i++) {
            if (!instruct(b, add, y, sum, operand(b, in[i]), -1))
                return false;
            sum = y;
        }
        free_operands(b, id);           /* after: y must not be a later term's tile */
        return true;
    }
    int a[3] = { -1, -1, -1 };
    for (uint32_t i = 0; i < x->n_in; i++)
        a[i] = operand(b, in[i]);
    free_operands(b, id);
    return place_result(b, id, &y) && instruct(b, kernel_of(b, x), y, a[0], a[1], a[2]);
}

/* Joins dimensions i-1 and i where every access walks them as one. */
static void collapse(building *b, const ur_shape *s)
{
    ur__program *p = b->program;
    p->rank = 0;
    for (int i = 0; i < s->rank; i++) {
        if (s->dim[i] == 1)
            continue;
        bool joined = p->rank > 0;
        for (int k = 0; joined && k < p->n_in + p->n_out; k++) {
            const ur__access *a = k < p->n_in ? &p->in[k] : &p->out[k - p->n_in];
            joined = a->stride[p->rank - 1] == a->stride[i] * s->dim[i];
        }
        int r = joined ? p->rank - 1 : p->rank;
        p->dim[r] = joined ? p->dim[r] * s->dim[i] : s->dim[i];
        for (int k = 0; k < p->n_in + p->n_out; k++) {
            ur__access *a = k < p->n_in ? &p->in[k] : &p->out[k - p->n_in];
            a->stride[r] = a->stride[i];
        }
        p->rank = r + 1;
    }
    if (p->rank == 0) {
        p->dim[0] = 1;
        p->rank = 1;
        for (int k = 0; k < p->n_in + p->n_out; k++)
            (k < p->n_in ? &p->in[k] : &p->out[k - p->n_in])->stride[0] = 1;
    }
}

static int final_number(const ur__program *p, int k)
{
    if (k >= TILE)
        return p->n_in + p->n_out + k - TILE;
    return k >= OUTPUT ? p->n_in + k - OUTPUT : k;
}

/* Operands that the innermost loop does not walk with stride 1 are brought into tiles. */
static void finish(building *b, const ur_shape *s)
{
    ur__program *p = b->program;
    collapse(b, s);
    for (int i = 0; i < p->n_instructions; i++) {
        ur__instruction *x = &p->instruction[i];
        x->y = final_number(p, x->y);
        x->a = final_number(p, x->a);
        x->b = final_number(p, x->b);
        x->c = final_number(p, x->c);
    }
    for (int i = 0; i < p->n_in; i++)
        if (p->in[i].stride[p->rank - 1] != 1)
            p->in[i].tile = p->n_tiles++;
    /* what lies behind the collapsed dimensions must not tell equal programs apart */
    for (int k = 0; k < p->n_in + p->n_out; k++)
        for (int d = p->rank; d < UR_MAX_RANK; d++)
            (k < p->n_in ? &p->in[k] : &p->out[k - p->n_in])->stride[d] = 0;
    for (int d = p->rank; d < UR_MAX_RANK; d++)
        p->dim[d] = 0;
}

/* Hashes words of structure: none of the three has padding. */
static uint64_t hash_words(uint64_t h, const void *p, size_t bytes)
{
    const uint64_t *word = p;
    for (size_t i = 0; i < bytes / sizeof *word; i++) {
        h = (h ^ word[i]) * 0x9E3779B97F4A7C15u;
        h ^= h >> 32;
    }
    return h;
}

typedef struct sizes {
    size_t in, out, instructions;
} sizes;

static sizes sizes_of(const ur__program *p)
{
    return (sizes){ (size_t)p->n_in * sizeof *p->in, (size_t)p->n_out * sizeof *p->out,
                    (size_t)p->n_instructions * sizeof *p->instruction };
}

static bool same_program(const ur__program *p, const ur__program *q)
{
    sizes n = sizes_of(p);
    return p->hash == q->hash && p->rank == q->rank && p->type == q->type && p->n_in == q->n_in &&
           p->n_out == q->n_out && p->n_instructions == q->n_instructions &&
           p->n_tiles == q->n_tiles && memcmp(p->dim, q->dim, sizeof p->dim) == 0 &&
           (!n.in || memcmp(p->in, q->in, n.in) == 0) && memcmp(p->out, q->out, n.out) == 0 &&
           memcmp(p->instruction, q->instruction, n.instructions) == 0;
}

/* The plan's one copy of a program. */
static const ur__program *intern_program(ur__work *w, ur__program *p)
{
    sizes n = sizes_of(p);
    p->hash = hash_words((uint64_t)p->rank, p->dim, sizeof p->dim);
    p->hash = hash_words(p->hash, p->in, n.in);
    p->hash = hash_words(p->hash, p->instruction, n.instructions);
    ur__program **at = &w->p->programs[p->hash >> 58];
    for (ur__program *q = *at; q; q = q->next)
        if (same_program(p, q))
            return q;
    ur__program *q = ur__bump_alloc(&w->p->memory, sizeof *q);
    char *lists = ur__bump_alloc(&w->p->memory, n.in + n.out + n.instructions);
    if (!q || !lists) {
        ur__out_of_memory(&w->g->owner);
        return NULL;
    }
    *q = *p;
    q->in = (ur__access *)lists;
    q->out = (ur__access *)(lists + n.in);
    q->instruction = (ur__instruction *)(lists + n.in + n.out);
    if (n.in)
        memcpy(q->in, p->in, n.in);
    memcpy(q->out, p->out, n.out);
    memcpy(q->instruction, p->instruction, n.instructions);
    q->next = *at;
    return *at = q;
}

static bool add_program_step(building *b)
{
    const ur__program *p = intern_program(b->w, b->program);
    if (!p)
        return false;
    size_t n = (size_t)p->n_in * sizeof *b->in_loc, m = (size_t)p->n_out * sizeof *b->in_loc;
    ur__programmed *body = ur__add_step(b->w, UR__PROGRAM, b->unit, sizeof *body + n + m);
    if (!body)
        return false;
    body->program = p;
    if (n)
        memcpy(body->loc, b->in_loc, n);
    memcpy(body->loc + p->n_in, b->out_loc, m);
    return true;
}

bool ur__emit_program(ur__work *w, uint32_t unit)
{
    if (ur__shape_at(w, unit)->count == 0)
        return true;
    const ur__kernels *k = ur__kernels_get();
    int type = w->t->node[unit].type;
    ur__program program = { .type = type };
    building b = { .w = w, .program = &program, .unit = unit, .last_user = w->pos,
                   .kernels = type == UR_F64 ? &k->f64 : &k->f32 };
    size_t members = 0;
    for (uint32_t id = w->user[unit]; id != UINT32_MAX; id = w->next[id], members++)
        for (uint32_t i = 0; i < w->t->node[id].n_in; i++) {
            uint32_t u = ur__in(w, id)[i];
            if (ur__elementwise(w, u) && (w->unit[u] == unit || w->again[u]))
                b.last_user[u] = id;
        }
    b.free_tile = ur__bump_alloc(&w->g->scratch, (members + 1) * sizeof *b.free_tile);
    bool ok = b.free_tile || ur__out_of_memory(&w->g->owner);
    for (uint32_t id = w->user[unit]; ok && id != UINT32_MAX; id = w->next[id])
        ok = add_member(&b, id);
    if (ok && !w->g->owner.failed)
        finish(&b, &ur__shape_at(w, unit)->s);
    /* nothing is written where all values are computed again by their readers */
    ok = ok && !w->g->owner.failed && (!program.n_out || add_program_step(&b));
    ur__realloc(program.in, b.in_cap * sizeof *program.in, 0);
    ur__realloc(program.out, b.out_cap * sizeof *program.out, 0);
    ur__realloc(program.instruction, b.instruction_cap * sizeof *program.instruction, 0);
    ur__realloc(b.in_loc, b.in_loc_cap * sizeof *b.in_loc, 0);
    ur__realloc(b.out_loc, b.out_loc_cap * sizeof *b.out_loc, 0);
    return ok;
}
