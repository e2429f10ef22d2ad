/* A cluster of elementwise nodes becomes one program over blocks that stay in the first cache.
 *
 * It is first written down: what is read, and one instruction after the other, each with a result
 * of its own. The steps of a recurrence are alike, so mostly a program for the same words is there
 * already. Where it is not, it is made from them: results that only the cluster needs live in
 * tiles, freed after their last use; the others are written where they belong and read from there
 * by later instructions of the block. Dimensions that all operands walk alike are collapsed, so
 * most programs have one or two. */
#include "graph/plan/plan.h"

enum { NONE = -1, RESULT = 1 << 24 };           /* operands: inputs from 0, results from RESULT */
enum { FRESH, STORED, ADDED };          /* a result: new; in memory; where the one before is */

typedef struct instruction {
    ur__map_kernel *run;
    int32_t a, b, c, result;
} instruction;

enum { WORDS = sizeof(instruction) / sizeof(uint64_t), HEAD = 3 };

/* A cluster as it is written down. The key, of words without padding, is all that its program
 * depends on: sizes and counts, instructions, then shapes and strides of what is read. */
typedef struct description {
    ur__work *w;
    ur__kernel_set const *kernels;
    uint32_t unit, *in, *out;           /* nodes read, nodes written */
    int n_in, n_out, n;
    instruction *instruction;
    uint64_t *key, *access, *access_end;
    size_t n_key;
    uint64_t hash;
} description;

/* ---------------------------------------------------------------------------------- description */

/* Room for the longest description of a cluster with so many operands and members. */
static bool make_room(description *d, size_t operands, size_t members)
{
    ur__work *w = d->w;
    size_t most = operands + members, words = HEAD + most * WORDS + operands * (1 + UR_MAX_RANK);
    size_t bytes = (words + operands * (1 + UR_MAX_RANK)) * sizeof(uint64_t) +
                   most * sizeof(uint32_t);
    if (bytes > w->room_bytes) {
        w->room_bytes = 2 * bytes;
        if (!(w->room = ur__bump_take(&w->g->scratch, w->room_bytes)))
            return ur__out_of_memory(&w->g->owner);
    }
    d->key = w->room;
    d->instruction = (instruction *)(d->key + HEAD);
    d->access = d->access_end = d->key + words;
    d->in = (uint32_t *)(d->access + operands * (1 + UR_MAX_RANK));
    d->out = d->in + operands;
    return true;
}

/* A value that the cluster reads. */
static int add_input(description *d, uint32_t x)
{
    const ur__work *w = d->w;
    uint64_t *word = d->access_end;
    const ptrdiff_t *stride = w->stride[x];
    *word++ = (uint64_t)(stride != NULL) << 32 | w->t->node[x].shape;
    for (int i = 0; stride && i < UR_MAX_RANK; i++)
        *word++ = (uint64_t)stride[i];
    d->access_end = word;
    d->in[d->n_in] = x;
    return d->n_in++;
}

static int instruct(description *d, ur__map_kernel *run, int a, int b, int c, int result)
{
    d->instruction[d->n] = (instruction){ run, a, b, c, result };
    return RESULT + d->n++;
}

/* The kernel of an elementwise node. */
static ur__map_kernel *kernel_of(const description *d, const ur__node *x)
{
    return x->op->row ? d->kernels->map[x->op->row - 1] : x->type == UR_F64 ? x->op->f64
                                                                           : x->op->f32;
}

static int number(description *d, uint32_t x, int k)
{
    d->w->numbered[x] = d->unit + 1;
    return d->w->number[x] = k;
}

/* The number of an operand. A value of another cluster that was not stored is computed from what it
 * was computed from there. */
static int operand(description *d, uint32_t x)
{
    const ur__work *w = d->w;
    if (w->numbered[x] == d->unit + 1)
        return w->number[x];
    uint32_t u = ur__source(w, d->unit, x);
    if (u == x)
        return number(d, x, add_input(d, x));
    return number(d, x, instruct(d, kernel_of(d, &w->t->node[x]), operand(d, u), NONE, NONE,
                                 FRESH));
}

static void add_member(description *d, uint32_t id)
{
    const ur__work *w = d->w;
    const ur__node *x = &w->t->node[id];
    const uint32_t *in = ur__in(w, id);
    int a[3] = { NONE, NONE, NONE }, result = w->stored[id] ? STORED : FRESH;
    if (w->stored[id])
        d->out[d->n_out++] = id;
    if (w->role[id] == R_SUM_MAP) {
        ur__map_kernel *add = d->kernels->map[UR__MAP_add];
        int sum = operand(d, in[0]);
        for (uint32_t i = 1; i < x->n_in; i++, result = ADDED)
            sum = instruct(d, add, sum, operand(d, in[i]), NONE, result);
        number(d, id, sum);
        return;
    }
    for (uint32_t i = 0; i < x->n_in; i++)
        a[i] = operand(d, in[i]);
    number(d, id, instruct(d, kernel_of(d, x), a[0], a[1], a[2], result));
}

static bool describe(description *d)
{
    const ur__work *w = d->w;
    size_t operands = 0, members = 0;
    for (uint32_t id = w->user[d->unit]; id != UINT32_MAX; id = w->next[id], members++)
        operands += w->t->node[id].n_in;
    if (!make_room(d, operands, members))
        return false;
    for (uint32_t id = w->user[d->unit]; id != UINT32_MAX; id = w->next[id])
        add_member(d, id);
    d->key[0] = (uint64_t)w->t->node[d->unit].shape << 32 | w->t->node[d->unit].type;
    d->key[1] = (uint64_t)d->n_in << 32 | (uint32_t)d->n_out;
    d->key[2] = (uint64_t)d->n;
    uint64_t *end = d->key + HEAD + (size_t)d->n * WORDS, h = 0;
    for (const uint64_t *k = d->access; k < d->access_end; k++)
        *end++ = *k;
    d->n_key = (size_t)(end - d->key);
    for (const uint64_t *k = d->key; k < end; k++)
        h = ur__fold(h, *k);
    d->hash = h;
    return true;
}

/* ------------------------------------------------------------------------------------ a program */

static ur__access *access_of(const ur__program *p, int k)
{
    return k < p->n_in ? &p->in[k] : &p->out[k - p->n_in];
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

/* Joins dimensions i-1 and i where every access walks them as one. */
static void collapse(ur__program *p, const ur_shape *s)
{
    p->rank = 0;
    for (int i = 0; i < s->rank; i++) {
        if (s->dim[i] == 1)
            continue;
        bool joined = p->rank > 0;
        for (int k = 0; joined && k < p->n_in + p->n_out; k++) {
            const ur__access *a = access_of(p, k);
            joined = a->stride[p->rank - 1] == a->stride[i] * s->dim[i];
        }
        int r = joined ? p->rank - 1 : p->rank;
        p->dim[r] = joined ? p->dim[r] * s->dim[i] : s->dim[i];
        for (int k = 0; k < p->n_in + p->n_out; k++) {
            ur__access *a = access_of(p, k);
            a->stride[r] = a->stride[i];
        }
        p->rank = r + 1;
    }
    if (p->rank == 0) {
        p->dim[0] = 1;
        p->rank = 1;
        for (int k = 0; k < p->n_in + p->n_out; k++)
            access_of(p, k)->stride[0] = 1;
    }
}

/* Operands that the innermost loop does not walk with stride 1 are brought into tiles. */
static void find_accesses(const description *d, ur__program *p)
{
    const ur_shape *s = &ur__shape_at(d->w, d->unit)->s;
    for (int k = 0; k < p->n_in + p->n_out; k++) {
        access_of(p, k)->tile = -1;
        spread(d->w, k < p->n_in ? d->in[k] : d->out[k - p->n_in], s, access_of(p, k)->stride);
    }
    collapse(p, s);
    for (int k = 0; k < p->n_in; k++)
        if (p->in[k].stride[p->rank - 1] != 1)
            p->in[k].tile = p->n_tiles++;
}

typedef struct tiles {
    int *place;                         /* of results: pointer numbers */
    int *last;                          /* the instruction that reads a result last */
    int *free, n_free;
} tiles;

static int pointer(const tiles *t, int k)
{
    return k >= RESULT ? t->place[k - RESULT] : k;
}

/* Frees the tile of operand k, if instruction i reads it last; an operand twice once. */
static void release(const ur__program *p, tiles *t, int k, int i)
{
    if (k < RESULT || t->last[k - RESULT] != i || t->place[k - RESULT] < p->n_in + p->n_out)
        return;
    t->last[k - RESULT] = NONE;
    t->free[t->n_free++] = t->place[k - RESULT];
}

static void place_results(const description *d, ur__program *p, tiles *t)
{
    for (int i = 0, n_out = 0; i < d->n; i++) {
        const instruction *x = &d->instruction[i];
        int a = pointer(t, x->a), b = pointer(t, x->b), c = pointer(t, x->c);
        if (x->result != ADDED)
            release(p, t, x->a, i);
        release(p, t, x->b, i);
        release(p, t, x->c, i);
        if (x->result == ADDED)
            t->place[i] = a;
        else if (x->result == STORED)
            t->place[i] = p->n_in + n_out++;
        else
            t->place[i] = t->n_free ? t->free[--t->n_free] : p->n_in + p->n_out + p->n_tiles++;
        p->instruction[i] = (ur__instruction){ x->run, t->place[i], a, b, c };
    }
}

static bool find_tiles(const description *d, ur__program *p)
{
    const size_t n = (size_t)d->n;
    tiles t = { .place = ur__bump_take(&d->w->g->scratch, 3 * n * sizeof *t.place) };
    if (!t.place)
        return false;
    t.last = t.place + n;
    t.free = t.last + n;
    for (int i = 0; i < d->n; i++) {
        const int32_t operands[3] = { d->instruction[i].a, d->instruction[i].b,
                                      d->instruction[i].c };
        t.last[i] = NONE;
        for (int k = 0; k < 3; k++)
            if (operands[k] >= RESULT)
                t.last[operands[k] - RESULT] = i;
    }
    place_results(d, p, &t);
    return true;
}

static ur__program *make_program(const description *d)
{
    ur__bump *memory = &d->w->p->memory;
    const size_t n_in = (size_t)d->n_in, n_out = (size_t)d->n_out, n = (size_t)d->n;
    ur__program *p = ur__bump_alloc(memory, sizeof *p);
    if (!p || !(p->in = ur__bump_alloc(memory, n_in * sizeof *p->in)) ||
        !(p->out = ur__bump_alloc(memory, n_out * sizeof *p->out)) ||
        !(p->instruction = ur__bump_alloc(memory, n * sizeof *p->instruction)) ||
        !(p->key = ur__bump_take(memory, d->n_key * sizeof *p->key)))
        return NULL;
    memcpy(p->key, d->key, d->n_key * sizeof *p->key);
    p->n_key = d->n_key;
    p->hash = d->hash;
    p->type = d->w->t->node[d->unit].type;
    p->n_in = d->n_in;
    p->n_out = d->n_out;
    p->n_instructions = d->n;
    if (!find_tiles(d, p))
        return NULL;
    find_accesses(d, p);
    return p;
}

/* The plan's one program for a cluster as described. */
static const ur__program *program_of(const description *d)
{
    ur__program **first = &d->w->p->programs[d->hash >> 58], *p;
    for (p = *first; p; p = p->next)
        if (p->hash == d->hash && p->n_key == d->n_key &&
            memcmp(p->key, d->key, d->n_key * sizeof *p->key) == 0)
            return p;
    if (!(p = make_program(d))) {
        ur__out_of_memory(&d->w->g->owner);
        return NULL;
    }
    p->next = *first;
    return *first = p;
}

bool ur__emit_program(ur__work *w, uint32_t unit)
{
    const ur__kernels *k = ur__kernels_get();
    description d = { .w = w, .unit = unit,
                      .kernels = w->t->node[unit].type == UR_F64 ? &k->f64 : &k->f32 };
    if (ur__shape_at(w, unit)->count == 0)
        return true;
    if (!describe(&d))
        return false;
    if (!d.n_out)       /* all values are computed again by their readers */
        return true;
    const ur__program *p = program_of(&d);
    const size_t n = (size_t)(d.n_in + d.n_out);
    if (!p)
        return false;
    ur__programmed *body = ur__bump_take(&w->p->memory, sizeof *body + n * sizeof *body->loc);
    if (!ur__add_step(w, UR__PROGRAM, unit, body))
        return false;
    body->program = p;
    for (int i = 0; i < d.n_in; i++)
        body->loc[i] = ur__where(w, d.in[i]);
    for (int i = 0; i < d.n_out; i++)
        body->loc[d.n_in + i] = ur__where(w, d.out[i]);
    return true;
}
