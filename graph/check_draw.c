/* Drawing the operands of a gradient check: uniform numbers, numbers kept apart, int32, and the
 * samples of maps, which need no description but their range.
 *
 * Apart. The range is cut into M = 2^k slots, at least 64 and one for each element; element n takes
 * slot (start + n * step) mod M with an odd step, so that no slot is taken twice. Inside its
 * slot the element lies near one of four positions, which take turns with the drawings: elements of
 * one drawing are about a slot apart, those of four successive ones a tenth of it. No position is
 * near a slot's border, where 0 lies in a symmetric range. */
#include <math.h>
#include "graph/check_parts.h"

void ur__draw_begin(ur_draw *d, ur_graph *g, uint64_t seed)
{
    d->g = g;
    d->seed = seed;
    d->apart = 0;
    d->n = 0;
}

void ur__draw_end(ur_draw *d)
{
    ur__realloc(d->drawn, d->cap * sizeof *d->drawn, 0);
    *d = (ur_draw){ 0 };
}

ur_graph *ur_draw_graph(ur_draw *d)
{
    return d->g;
}

static ur_node remember(ur_draw *d, ur_node x)
{
    if (!ur__reserve(&d->drawn, &d->cap, d->n + 1, sizeof *d->drawn)) {
        ur__out_of_memory(&d->g->owner);
        return x;
    }
    d->drawn[d->n++] = (ur__drawn){ .x = x };
    return x;
}

/* A leaf to be filled, its count in *n; NULL on error. */
static void *leaf(ur_draw *d, int rank, const int *dim, ur_type type, size_t *n)
{
    ur_node x = type == UR_I32 ? ur_ints_at(NULL, d->g, NULL, rank, dim)
                               : ur_input_at(NULL, d->g, NULL, rank, dim);
    if (ur_is_nil(x))
        return NULL;
    remember(d, x);
    *n = ur_count(x);
    return ur__leaf_data(d->g, x);
}

static ur_node last(const ur_draw *d, const void *made)
{
    return made && !d->g->owner.failed ? d->drawn[d->n - 1].x : (ur_node){ d->g, 0, 0 };
}

static uint64_t key_of(const ur_draw *d)
{
    return ur__mix(ur__mix(0x64726177, d->seed), d->n);
}

ur_node ur_draw_input_(ur_draw *d, double lo, double hi, int rank, const int *dim)
{
    size_t n;
    double *x = leaf(d, rank, dim, UR_F64, &n);
    if (x) {
        ur__random_uniform(key_of(d), 0, n, UR_F64, x);
        for (size_t i = 0; i < n; i++)
            x[i] = lo + (hi - lo) * x[i];
    }
    return last(d, x);
}

ur_node ur_draw_apart_(ur_draw *d, double lo, double hi, int rank, const int *dim)
{
    size_t n, slots = 64;
    double *x = leaf(d, rank, dim, UR_F64, &n);
    if (!x)
        return last(d, NULL);
    while (slots < n)
        slots *= 2;
    ur__random_uniform(key_of(d), 0, n, UR_F64, x);
    uint64_t start = key_of(d), step = (uint64_t)(0.618 * (double)slots) | 1;
    double slot = (hi - lo) / (double)slots, position = 1 + d->apart++ % 4;
    for (size_t i = 0; i < n; i++) {
        double k = (double)((start + i * step) & (slots - 1));
        x[i] = lo + slot * (k + (position + 0.4 * (x[i] - 0.5)) / 5.5);
        if (fabs(x[i]) < slot / 10)
            x[i] = x[i] < 0 ? -slot / 10 : slot / 10;
    }
    return last(d, x);
}

ur_node ur_draw_ints_(ur_draw *d, int below, int rank, const int *dim)
{
    size_t n;
    int32_t *x = leaf(d, rank, dim, UR_I32, &n);
    uint64_t key = key_of(d);
    for (size_t i = 0; x && i < n; i++) {
        double u;
        ur__random_uniform(key, i, 1, UR_F64, &u);
        x[i] = (int32_t)(u * below);
    }
    return last(d, x);
}

ur_node ur__draw_described(ur_draw *d, const ur_check_input *in)
{
    int rank = in->shape.rank;
    const int *dim = in->shape.dim;
    size_t before = d->n;
    bool range = in->lo != 0 || in->hi != 0;
    double lo = range ? in->lo : -1, hi = range ? in->hi : 1;
    ur_node x;
    if (in->data && in->below > 0)
        x = remember(d, ur_ints_at(NULL, d->g, in->data, rank, dim));
    else if (in->data)
        x = remember(d, ur_input_at(NULL, d->g, in->data, rank, dim));
    else if (in->below > 0)
        x = ur_draw_ints_(d, in->below, rank, dim);
    else if (in->apart)
        x = ur_draw_apart_(d, lo, hi, rank, dim);
    else
        x = ur_draw_input_(d, lo, hi, rank, dim);
    if (d->n > before && !d->g->owner.failed) {
        d->drawn[d->n - 1].name = in->name;
        ur_named(x, in->name);
    }
    return x;
}

/* ----------------------------------------------------------------------------- samples of maps */

enum { FULL, SCALAR, ROW, COLUMN, VECTOR, CUBE };
static const ur_shape shapes[] = {
    [FULL] = { 2, { 3, 4 } }, [SCALAR] = { .rank = 0 }, [ROW] = { 2, { 1, 4 } },
    [COLUMN] = { 2, { 3, 1 } }, [VECTOR] = { 1, { 4 } }, [CUBE] = { 3, { 2, 3, 4 } },
};
static const uint8_t ones[][3] = { { FULL }, { SCALAR }, { CUBE } };
static const uint8_t twos[][3] = {
    { FULL, FULL }, { FULL, SCALAR }, { SCALAR, FULL }, { FULL, ROW }, { ROW, FULL },
    { FULL, COLUMN }, { COLUMN, FULL }, { FULL, VECTOR }, { VECTOR, FULL }, { COLUMN, ROW },
    { CUBE, FULL }, { FULL, CUBE }, { SCALAR, SCALAR },
};
static const uint8_t threes[][3] = {
    { FULL, FULL, FULL }, { FULL, SCALAR, SCALAR }, { SCALAR, FULL, FULL }, { FULL, ROW, COLUMN },
    { ROW, COLUMN, FULL }, { COLUMN, FULL, ROW }, { VECTOR, FULL, CUBE }, { CUBE, VECTOR, FULL },
    { FULL, CUBE, VECTOR },
};

static ur_node sample_of_map(ur_draw *d, const ur_op *op, int which)
{
    static const size_t n_rows[] = { sizeof ones / sizeof *ones, sizeof twos / sizeof *twos,
                                     sizeof threes / sizeof *threes };
    if ((size_t)which >= n_rows[op->n_in - 1])
        return (ur_node){ 0 };
    const uint8_t *row = op->n_in == 1 ? ones[which] : op->n_in == 2 ? twos[which] : threes[which];
    ur_node in[3];
    for (int k = 0; k < op->n_in; k++) {
        const ur_shape *s = &shapes[row[k]];
        in[k] = ur_draw_apart_(d, op->lo, op->hi, s->rank, s->dim);
    }
    return ur_record(NULL, op, in, op->n_in, NULL, 0);
}

ur_node ur__draw_sample(ur_draw *d, const ur_op *op, int which)
{
    if (op->sample)
        return op->sample(d, which);
    if (op->kind == UR_MAP && op->lo < op->hi && op->n_in >= 1 && op->n_in <= 3)
        return sample_of_map(d, op, which);
    return (ur_node){ 0 };
}
