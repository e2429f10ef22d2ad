/* Data sets cut into padded batches.
 *
 * An epoch is planned at its start: the items are shuffled, ordered by bucket (or by length) with
 * their random order kept among equals, cut into batches one after the other, and the batches are
 * shuffled. The order is a function of (seed, epoch) alone, so that a place in it is two numbers.
 *
 * Shuffling: R. Fisher and F. Yates, 1938, with the numbers of splitmix64 (G. Steele, D. Lea and
 * C. Flood, OOPSLA 2014). */
#include <limits.h>
#include <string.h>
#include "unroll/text.h"

typedef struct item {
    const int32_t *x, *y;
    int n, m;
    int32_t label;
} item;

struct ur_dataset {
    ur_params *ps;
    item *item;
    size_t n, room;
    int32_t *free;              /* the rest of the last block of ids */
    size_t n_free;
    int longest_x, longest_y;
};

struct ur_batches {
    const ur_dataset *data;
    ur_batch_options o;
    int *bucket;                /* the program's, copied */
    ur_batches_state state;
    int64_t planned;            /* the epoch that was planned, -1 none */
    uint64_t planned_seed;
    int *order, *sorted;        /* items */
    int *begin;                 /* batch k holds order[begin[k] .. end[k]) */
    int *end;
    int *tally;                 /* items by key */
    int n_batches, n_keys;
    int32_t *x, *y, *label;
    int *n_x, *n_y;
};

static int larger(int a, int b)
{
    return a > b ? a : b;
}

/* ----------------------------------------------------------------------------------- data sets */

ur_dataset *ur_dataset_new(ur_params *ps)
{
    ur_dataset *d = ps && !ur_error(ps) ? ur_params_alloc(ps, sizeof *d) : NULL;
    if (d)
        d->ps = ps;
    return d;
}

/* Ids are kept in blocks: one for each item would cost as much as a short item. */
static int32_t *copied(ur_dataset *d, const int32_t *ids, size_t n)
{
    enum { BLOCK = 16384 };
    if (n > d->n_free || !d->free) {
        const size_t room = n > BLOCK ? n : BLOCK;
        int32_t *block = ur_params_alloc(d->ps, room * sizeof *block);
        if (!block)
            return NULL;
        d->free = block;
        d->n_free = room;
    }
    int32_t *at = d->free;
    if (n)
        memcpy(at, ids, n * sizeof *at);
    d->free += n;
    d->n_free -= n;
    return at;
}

bool ur_dataset_add(ur_dataset *d, const int32_t *x, size_t n, const int32_t *y, size_t m,
                    int32_t label)
{
    if (!d || ur_error(d->ps))
        return false;
    if (n > INT_MAX || m > INT_MAX || d->n >= INT_MAX)
        return ur_fail(d->ps, NULL, "dataset_add", "item %zu has %zu and %zu ids: 2^31 - 1 are the "
                       "most of these and of items", d->n, n, m);
    if (d->n == d->room) {
        const size_t room = d->room ? 2 * d->room : 256;
        item *more = ur_params_alloc(d->ps, room * sizeof *more);
        if (!more)
            return false;
        if (d->n)
            memcpy(more, d->item, d->n * sizeof *more);
        d->item = more;
        d->room = room;
    }
    item i = { copied(d, x, n), NULL, (int)n, y ? (int)m : 0, label };
    i.y = i.x ? copied(d, y, (size_t)i.m) : NULL;
    if (!i.x || !i.y)
        return false;
    d->item[d->n++] = i;
    d->longest_x = larger(d->longest_x, i.n);
    d->longest_y = larger(d->longest_y, i.m);
    return true;
}

int ur_dataset_size(const ur_dataset *d)
{
    return d ? (int)d->n : 0;
}

/* ------------------------------------------------------------------------------------ planning */

static uint64_t mixed(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* A number below n; biased by less than n / 2^32. */
static int below(uint64_t *state, int n)
{
    *state += 0x9e3779b97f4a7c15u;
    return (int)(((mixed(*state) >> 32) * (uint64_t)n) >> 32);
}

static void swap(int *a, int *b)
{
    int c = *a;
    *a = *b;
    *b = c;
}

static int length_of(const item *i)
{
    return larger(i->n, i->m);
}

/* What items of a batch are ordered by: the bucket, or the length, or nothing. */
static int key_of(const ur_batches *all, int length)
{
    int k = 0;
    if (!all->o.n_buckets)
        return all->o.tokens ? length : 0;
    while (k < all->o.n_buckets && all->bucket[k] < length)
        k++;
    return k;
}

/* Steps of a batch whose longest item has this length. */
static int steps_of(const ur_batches *all, int length)
{
    int k = all->o.full ? key_of(all, length) : INT_MAX;
    return all->o.full && k < all->o.n_buckets ? all->bucket[k] : length;
}

/* Orders by key, equal ones as they are: a counting sort. */
static void sort(ur_batches *all)
{
    const int n = (int)all->data->n;
    memset(all->tally, 0, ((size_t)all->n_keys + 1) * sizeof *all->tally);
    for (int i = 0; i < n; i++)
        all->tally[1 + key_of(all, length_of(&all->data->item[i]))]++;
    for (int k = 0; k < all->n_keys; k++)
        all->tally[k + 1] += all->tally[k];
    for (int i = 0; i < n; i++) {
        const int which = all->order[i];
        all->sorted[all->tally[key_of(all, length_of(&all->data->item[which]))]++] = which;
    }
    memcpy(all->order, all->sorted, (size_t)n * sizeof *all->order);
}

static bool fits(const ur_batches *all, int rows, int longest)
{
    return (!all->o.rows || rows <= all->o.rows) &&
           (!all->o.tokens || (int64_t)rows * steps_of(all, longest) <= all->o.tokens);
}

static void cut(ur_batches *all)
{
    const item *items = all->data->item;
    all->n_batches = 0;
    for (int i = 0, n = (int)all->data->n; i < n;) {
        const int begin = i, key = key_of(all, length_of(&items[all->order[i]]));
        int longest = length_of(&items[all->order[i++]]);
        for (; i < n; i++) {
            const int length = length_of(&items[all->order[i]]);
            if (!fits(all, i - begin + 1, larger(longest, length)) ||
                (all->o.n_buckets && key_of(all, length) != key))
                break;
            longest = larger(longest, length);
        }
        all->begin[all->n_batches] = begin;
        all->end[all->n_batches++] = i;
    }
}

static void plan(ur_batches *all)
{
    const int n = (int)all->data->n;
    if (all->planned == all->state.epoch && all->planned_seed == all->state.seed)
        return;
    uint64_t random = mixed(mixed(all->state.seed + 1) + (uint64_t)all->state.epoch);
    for (int i = 0; i < n; i++)
        all->order[i] = i;
    for (int i = n; !all->o.in_order && i > 1; i--)
        swap(&all->order[i - 1], &all->order[below(&random, i)]);
    sort(all);
    cut(all);
    for (int i = all->n_batches; !all->o.in_order && i > 1; i--) {
        const int k = below(&random, i);
        swap(&all->begin[i - 1], &all->begin[k]);
        swap(&all->end[i - 1], &all->end[k]);
    }
    all->planned = all->state.epoch;
    all->planned_seed = all->state.seed;
}

/* -------------------------------------------------------------------------------------- making */

static bool options_make_sense(const ur_dataset *d, const ur_batch_options *o)
{
    if (o->rows < 0 || o->tokens < 0 || (!o->rows && !o->tokens))
        return ur_fail(d->ps, NULL, "batches", "rows %d, tokens %d: one must be above 0, none "
                       "below", o->rows, o->tokens);
    for (int k = 0; k < o->n_buckets; k++)
        if (o->buckets[k] < (k ? o->buckets[k - 1] + 1 : 0))
            return ur_fail(d->ps, NULL, "batches", "bucket %d has length %d: lengths ascend, "
                           "from 0", k, o->buckets[k]);
    if (o->n_buckets < 0 || (o->full && !o->n_buckets))
        return ur_fail(d->ps, NULL, "batches", "`full` needs buckets, of which there are %d",
                       o->n_buckets);
    return true;
}

/* Rows of the largest batch, and the elements of x or y with that many steps at most. */
static size_t most_rows(const ur_batches *all)
{
    const size_t n = all->data->n, rows = (size_t)all->o.rows;
    return all->o.rows && rows < n ? rows : n;
}

static size_t most_elements(const ur_batches *all, int longest)
{
    const size_t all_rows = most_rows(all) * (size_t)longest, tokens = (size_t)all->o.tokens;
    return !all->o.tokens || all_rows < tokens ? all_rows
           : tokens > (size_t)longest ? tokens : (size_t)longest;
}

static bool take_memory(ur_batches *all)
{
    ur_params *ps = all->data->ps;
    const size_t n = all->data->n, rows = most_rows(all);
    const int longest = larger(all->data->longest_x, all->data->longest_y);
    const int last = all->o.n_buckets ? all->bucket[all->o.n_buckets - 1] : 0;
    const int x_steps = all->o.full ? larger(longest, last) : all->data->longest_x;
    const int y_steps = all->o.full ? larger(longest, last) : all->data->longest_y;
    all->n_keys = all->o.n_buckets ? all->o.n_buckets + 1 : all->o.tokens ? longest + 1 : 1;
    all->order = ur_params_alloc(ps, n * sizeof *all->order);
    all->sorted = ur_params_alloc(ps, n * sizeof *all->sorted);
    all->begin = ur_params_alloc(ps, n * sizeof *all->begin);
    all->end = ur_params_alloc(ps, n * sizeof *all->end);
    all->tally = ur_params_alloc(ps, ((size_t)all->n_keys + 1) * sizeof *all->tally);
    all->x = ur_params_alloc(ps, most_elements(all, x_steps) * sizeof *all->x);
    all->y = ur_params_alloc(ps, most_elements(all, y_steps) * sizeof *all->y);
    all->label = ur_params_alloc(ps, rows * sizeof *all->label);
    all->n_x = ur_params_alloc(ps, rows * sizeof *all->n_x);
    all->n_y = ur_params_alloc(ps, rows * sizeof *all->n_y);
    return !ur_error(ps);
}

ur_batches *ur_batches_new(ur_dataset *d, const ur_batch_options *o)
{
    if (!d || ur_error(d->ps) || !options_make_sense(d, o))
        return NULL;
    ur_batches *all = ur_params_alloc(d->ps, sizeof *all);
    int *bucket = ur_params_alloc(d->ps, (size_t)o->n_buckets * sizeof *bucket);
    if (!all || !bucket)
        return NULL;
    for (int k = 0; k < o->n_buckets; k++)
        bucket[k] = o->buckets[k];
    *all = (ur_batches){ .data = d, .o = *o, .bucket = bucket, .state.seed = o->seed,
                         .planned = -1 };
    all->o.buckets = NULL;
    if (!take_memory(all))
        return NULL;
    plan(all);
    return all;
}

/* ------------------------------------------------------------------------------------- walking */

/* One item into column b of a block [steps, B]. */
static void column(int32_t *to, int steps, int B, int b, const int32_t *ids, int n, int32_t pad)
{
    for (int t = 0; t < steps; t++)
        to[(size_t)t * (size_t)B + (size_t)b] = t < n ? ids[t] : pad;
}

bool ur_next_batch(ur_batches *all, ur_batch *out)
{
    if (!all)
        return false;
    plan(all);
    if (all->state.position == all->n_batches) {
        all->state.epoch++;
        all->state.position = 0;
        return false;
    }
    const int *which = all->order + all->begin[all->state.position];
    const int B = all->end[all->state.position] - all->begin[all->state.position];
    int T = 0, U = 0;
    for (int b = 0; b < B; b++) {
        const item *i = &all->data->item[which[b]];
        T = larger(T, i->n);
        U = larger(U, i->m);
    }
    if (all->o.full) {
        const int steps = steps_of(all, larger(T, U));
        T = steps;
        U = all->data->longest_y ? steps : 0;
    }
    for (int b = 0; b < B; b++) {
        const item *i = &all->data->item[which[b]];
        column(all->x, T, B, b, i->x, i->n, all->o.pad_x);
        column(all->y, U, B, b, i->y, i->m, all->o.pad_y);
        all->n_x[b] = i->n;
        all->n_y[b] = i->m;
        all->label[b] = i->label;
    }
    all->state.position++;
    *out = (ur_batch){ B, T, U, all->x, all->y, all->n_x, all->n_y, all->label, which };
    return true;
}

int64_t ur_batches_count(const ur_batches *all)
{
    if (!all)
        return 0;
    plan((ur_batches *)all);    /* at an epoch's end the next one is the present one */
    return all->n_batches;
}

ur_batches_state ur_batches_tell(const ur_batches *all)
{
    return all ? all->state : (ur_batches_state){ 0, 0, 0 };
}

bool ur_batches_seek(ur_batches *all, ur_batches_state state)
{
    if (!all || state.epoch < 0)
        return false;
    const ur_batches_state before = all->state;
    all->state = state;
    plan(all);
    if (state.position >= 0 && state.position <= all->n_batches)
        return true;
    all->state = before;
    return false;
}
