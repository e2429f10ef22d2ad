/* A cluster of elementwise nodes becomes one program over blocks that stay in the first cache.
 *
 * It is first written down: one instruction after the other, each with a result of its own, and the
 * shapes of what is read. The steps of a recurrence are alike, so mostly there is a program already
 * that was made from the same, or at least a form, from the same instructions. Where there is not,
 * it is made: results that only the cluster needs live in tiles, freed after their last use; the
 * others are written where they belong and read from there by later instructions of the block.
 * Dimensions that all operands walk alike are collapsed, so most programs have one or two. */
#include "graph/plan/emit.h"

enum { NONE = -1, RESULT = 1 << 24 };           /* operands: inputs from 0, results from RESULT */
enum { FRESH, STORED, ADDED };          /* a result: new; in memory; where the one before is */
enum { ACCESS = 1 + UR_MAX_RANK };      /* words of an input at most */

typedef struct instruction {            /* without padding, since forms compare as bytes */
    ur__map_kernel *run;
    int32_t a, b, c, result;
} instruction;

/* A cluster as it is written down. Its form depends on the instructions; its program also on the
 * key: the shape of all, then shapes and strides of what is read. */
typedef struct description {
    ur__work *w;
    ur__map_kernel *const *map;         /* kernels of the cluster's type */
    const ur__node *node;               /* what members are looked up in, at hand */
    const uint32_t *operand;
    uint64_t *number, stamp;            /* stamp: of those of this cluster */
    uint32_t unit, *in, *out;           /* nodes read, nodes written */
    int n_in, n_out, n;
    instruction *instruction;
    uint64_t *key, *key_end;
    uint64_t hash;                      /* of the instructions */
} description;

/* ---------------------------------------------------------------------------------- description */

/* Room for the longest description of a cluster with so many operands and members. */
static bool make_room(description *d, size_t operands, size_t members)
{
    ur__work *w = d->w;
    const size_t most = operands + members, words = 1 + operands * ACCESS;
    const size_t bytes = most * (sizeof *d->instruction + sizeof *d->in) +
                         words * sizeof *d->key;
    if (bytes > w->room_bytes) {
        w->room_bytes = 2 * bytes;
        if (!(w->room = ur__bump_take(&w->g->scratch, w->room_bytes)))
            return ur__out_of_memory(&w->g->owner);
    }
    d->instruction = w->room;
    d->key = (uint64_t *)(d->instruction + most);
    d->in = (uint32_t *)(d->key + words);
    d->out = d->in + operands;
    return true;
}

/* A value that the cluster reads. */
static int add_input(description *d, uint32_t x)
{
    const ptrdiff_t *stride = d->w->stride[x];
    const uint64_t shape = d->node[x].shape;
    uint64_t *word = d->key_end;
    *word++ = (uint64_t)(stride != NULL) << 32 | shape;
    for (int i = 0; stride && i < UR_MAX_RANK; i++)
        *word++ = (uint64_t)stride[i];
    d->key_end = word;
    d->in[d->n_in] = x;
    return d->n_in++;
}

static inline int instruct(description *d, ur__map_kernel *run, int a, int b, int c, int result)
{
    d->instruction[d->n] = (instruction){ run, a, b, c, result };
    d->hash = ur__fold(d->hash, (uint64_t)(uintptr_t)run + ((uint64_t)(uint32_t)a << 32) +
                                    ((uint64_t)(uint32_t)b << 16) + (uint64_t)result);
    return RESULT + d->n++;
}

/* The kernel of an elementwise node. */
static inline ur__map_kernel *kernel_of(const description *d, const ur__node *x)
{
    const ur_op *op = x->op;
    return op->row ? d->map[op->row - 1] : x->type == UR_F64 ? op->f64 : op->f32;
}

static inline int number(description *d, uint32_t x, int k)
{
    d->number[x] = d->stamp | (uint32_t)k;
    return k;
}

static int new_operand(description *d, uint32_t x);

static inline int operand(description *d, uint32_t x)
{
    const uint64_t k = d->number[x] ^ d->stamp;
    return k >> 32 ? new_operand(d, x) : (int)(uint32_t)k;
}

/* An operand met for the first time. A value of another cluster that was not stored is computed
 * from what it was computed from there. */
static int new_operand(description *d, uint32_t x)
{
    uint32_t u = ur__source(d->w, d->unit, x);
    if (u == x)
        return number(d, x, add_input(d, x));
    return number(d, x, instruct(d, kernel_of(d, &d->node[x]), operand(d, u), NONE, NONE, FRESH));
}

static int add_sum(description *d, const uint32_t *in, uint32_t n, int result)
{
    int sum = operand(d, in[0]);
    for (uint32_t i = 1; i < n; i++, result = ADDED)
        sum = instruct(d, d->map[UR__MAP_add], sum, operand(d, in[i]), NONE, result);
    return sum;
}

static inline int add_map(description *d, const ur__node *x, const uint32_t *in, int result)
{
    const int a = x->n_in > 0 ? operand(d, in[0]) : NONE;
    const int b = x->n_in > 1 ? operand(d, in[1]) : NONE;
    const int c = x->n_in > 2 ? operand(d, in[2]) : NONE;
    return instruct(d, kernel_of(d, x), a, b, c, result);
}

static bool describe(description *d)
{
    const ur__work *w = d->w;
    const uint32_t first = w->user[d->unit], *next = w->next;
    size_t operands = 0, members = 0;
    for (uint32_t id = first; id != UINT32_MAX; id = next[id], members++)
        operands += d->node[id].n_in;
    if (!make_room(d, operands, members))
        return false;
    d->key_end = d->key;
    *d->key_end++ = d->node[d->unit].shape;
    for (uint32_t id = first; id != UINT32_MAX; id = next[id]) {
        const ur__node *x = &d->node[id];
        const uint32_t *in = d->operand + x->in;
        const bool stored = w->stored[id];
        if (stored)
            d->out[d->n_out++] = id;
        number(d, id, w->role[id] == R_SUM_MAP ? add_sum(d, in, x->n_in, stored ? STORED : FRESH)
                                               : add_map(d, x, in, stored ? STORED : FRESH));
    }
    return true;
}

/* --------------------------------------------------------------------------------------- a form */

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
static void release(const ur__form *f, tiles *t, int k, int i)
{
    if (k < RESULT || t->last[k - RESULT] != i || t->place[k - RESULT] < f->n_in + f->n_out)
        return;
    t->last[k - RESULT] = NONE;
    t->free[t->n_free++] = t->place[k - RESULT];
}

static void place_results(const description *d, ur__form *f, tiles *t)
{
    for (int i = 0, n_out = 0; i < d->n; i++) {
        const instruction *x = &d->instruction[i];
        int a = pointer(t, x->a), b = pointer(t, x->b), c = pointer(t, x->c);
        if (x->result != ADDED)
            release(f, t, x->a, i);
        release(f, t, x->b, i);
        release(f, t, x->c, i);
        if (x->result == ADDED)
            t->place[i] = a;
        else if (x->result == STORED)
            t->place[i] = f->n_in + n_out++;
        else
            t->place[i] = t->n_free ? t->free[--t->n_free] : f->n_in + f->n_out + f->n_tiles++;
        f->instruction[i] = (ur__instruction){ x->run, t->place[i], a, b, c };
    }
}

static bool find_tiles(const description *d, ur__form *f)
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
    place_results(d, f, &t);
    return true;
}

static ur__form *make_form(const description *d)
{
    ur__bump *memory = &d->w->p->memory;
    const size_t n = (size_t)d->n;
    ur__form *f = ur__bump_take(memory, sizeof *f);
    instruction *key = ur__bump_take(memory, n * sizeof *key);
    if (!f || !key)
        return NULL;
    memcpy(key, d->instruction, n * sizeof *key);
    *f = (ur__form){ .type = d->node[d->unit].type, .n_in = d->n_in, .n_out = d->n_out,
                     .n_instructions = d->n, .hash = d->hash, .key = key };
    f->instruction = ur__bump_take(memory, n * sizeof *f->instruction);
    return f->instruction && find_tiles(d, f) ? f : NULL;
}

/* The plan's one form for a cluster as described. */
static ur__form *form_of(const description *d)
{
    ur__form **first = &d->w->p->forms[d->hash >> 58], *f;
    for (f = *first; f; f = f->next)
        if (f->hash == d->hash && f->n_instructions == d->n && f->n_in == d->n_in &&
            f->type == d->node[d->unit].type &&
            memcmp(f->key, d->instruction, (size_t)d->n * sizeof *d->instruction) == 0)
            return f;
    if (!(f = make_form(d)))
        return NULL;
    f->next = *first;
    return *first = f;
}

/* ------------------------------------------------------------------------------------ a program */

/* Whether x has the shape of all, without gaps. */
static bool even(const description *d, uint32_t x)
{
    return d->node[x].shape == d->key[0] && !d->w->stride[x];
}

/* Strides of x over the index space s; 0 along axes that it lacks or repeats. */
static void spread(const ur__work *w, uint32_t x, const ur_shape *s, ptrdiff_t *step)
{
    const ur_shape *in = &ur__shape_at(w, x)->s;
    const ptrdiff_t *stride = w->stride[x];
    ptrdiff_t natural = 1;
    for (int i = s->rank - 1, k = in->rank - 1; i >= 0; i--, k--) {
        if (k < 0 || in->dim[k] == 1) {
            step[i] = 0;
            continue;
        }
        step[i] = stride ? stride[k] : natural;
        natural *= in->dim[k];
    }
}

/* Joins dimensions i-1 and i where every access walks them as one. */
static void collapse(ur__program *p, const ur_shape *s)
{
    const ur__access *end = p->out + p->n_out;
    p->rank = 0;
    for (int i = 0; i < s->rank; i++) {
        const ptrdiff_t dim = s->dim[i];
        if (dim == 1)
            continue;
        bool joined = p->rank > 0;
        for (const ur__access *a = p->in; joined && a < end; a++)
            joined = a->stride[p->rank - 1] == a->stride[i] * dim;
        const int r = joined ? p->rank - 1 : p->rank;
        p->dim[r] = joined ? p->dim[r] * dim : dim;
        for (ur__access *a = p->in; a < end; a++)
            a->stride[r] = a->stride[i];
        p->rank = r + 1;
    }
    if (p->rank == 0) {
        p->dim[0] = 1;
        p->rank = 1;
        for (ur__access *a = p->in; a < end; a++)
            a->stride[0] = 1;
    }
}

/* Operands that the innermost loop does not walk with stride 1 are brought into tiles. */
static void find_accesses(const description *d, ur__program *p)
{
    const ur__shape *s = ur__shape_at(d->w, d->unit);
    ptrdiff_t natural[UR_MAX_RANK] = { 0 };
    ur__natural_strides(&s->s, natural);
    for (int k = 0; k < p->n_in + p->n_out; k++) {
        const uint32_t x = k < p->n_in ? d->in[k] : d->out[k - p->n_in];
        p->in[k].tile = -1;
        if (even(d, x))
            memcpy(p->in[k].stride, natural, sizeof natural);
        else
            spread(d->w, x, &s->s, p->in[k].stride);
    }
    collapse(p, &s->s);
    for (int k = 0; k < p->n_in; k++)
        if (p->in[k].stride[p->rank - 1] != 1)
            p->in[k].tile = p->n_tiles++;
}

/* The same where all that is read has the shape of all: one dimension. */
static void access_evenly(const description *d, ur__program *p)
{
    p->rank = 1;
    p->dim[0] = (ptrdiff_t)ur__shape_at(d->w, d->unit)->count;
    for (int k = 0; k < p->n_in + p->n_out; k++)
        p->in[k] = (ur__access){ .stride = { 1 }, .tile = -1 };
}

static ur__program *make_program(const description *d, const ur__form *f, uint64_t hash,
                                 bool evenly)
{
    ur__bump *memory = &d->w->p->memory;
    const size_t n_key = (size_t)(d->key_end - d->key), n = (size_t)(d->n_in + d->n_out);
    ur__program *p = ur__bump_take(memory, sizeof *p);
    ur__access *access = ur__bump_take(memory, n * sizeof *access);
    uint64_t *key = ur__bump_take(memory, n_key * sizeof *key);
    if (!p || !access || !key)
        return NULL;
    memcpy(key, d->key, n_key * sizeof *key);
    *p = (ur__program){ .type = f->type, .n_in = f->n_in, .n_out = f->n_out,
                        .n_instructions = f->n_instructions, .n_tiles = f->n_tiles,
                        .in = access, .out = access + f->n_in, .instruction = f->instruction,
                        .hash = hash, .key = key, .n_key = n_key };
    if (evenly)
        access_evenly(d, p);
    else
        find_accesses(d, p);
    return p;
}

/* The form's one program for a cluster as described. Neighbours in a sequence have mostly as many
 * rows: what was found last is looked at first. */
static const ur__program *program_of(const description *d, ur__form *f)
{
    const size_t n = (size_t)(d->key_end - d->key);
    uint64_t hash = 0, others = 0;
    for (const uint64_t *k = d->key; k < d->key_end; k++) {
        hash = ur__fold(hash, *k);
        others |= *k ^ d->key[0];
    }
    ur__program **at = &f->programs, *p;
    while ((p = *at) && (p->hash != hash || p->n_key != n ||
                         memcmp(p->key, d->key, n * sizeof *p->key) != 0))
        at = &p->next;
    if (p)
        *at = p->next;
    else if (!(p = make_program(d, f, hash, !others)))
        return NULL;
    p->next = f->programs;
    return f->programs = p;
}

bool ur__emit_program(ur__work *w, uint32_t unit)
{
    const ur__kernels *k = ur__kernels_get();
    description d = { .w = w, .unit = unit, .node = w->t->node,
                      .operand = w->t->operand, .number = w->number,
                      .stamp = (uint64_t)(unit + 1) << 32,
                      .map = w->t->node[unit].type == UR_F64 ? k->f64.map : k->f32.map };
    if (ur__shape_at(w, unit)->count == 0)
        return true;
    if (!describe(&d))
        return false;
    if (!d.n_out)       /* all values are computed again by their readers */
        return true;
    ur__form *f = form_of(&d);
    const ur__program *p = f ? program_of(&d, f) : NULL;
    if (!p)
        return ur__out_of_memory(&w->g->owner);
    const size_t n = (size_t)(d.n_in + d.n_out);
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
