/* Fused elementwise programs: all instructions on one block of the innermost dimension, then the
 * next block, so that intermediate values never leave the first cache. */
#include "graph/run/run.h"

typedef struct frame {
    const ur__run *r;
    const ur__program *p;
    const ur__kernel_set *k;
    char **pointer;             /* inputs, outputs, tiles */
    char **row;                 /* inputs and outputs at the start of the row */
    char *tiles;
    size_t size, tile_bytes;
} frame;

static char *tile(const frame *f, int k)
{
    return f->tiles + (size_t)k * f->tile_bytes;
}

/* Elements of an operand whose innermost stride is not 1. */
static void bring(const frame *f, const ur__access *a, const char *from, size_t n)
{
    ptrdiff_t step = a->stride[f->p->rank - 1];
    char *to = tile(f, a->tile);
    if (f->size == 8) {
        const double *x = (const double *)from;
        for (size_t i = 0; i < n; i++)
            ((double *)to)[i] = x[(ptrdiff_t)i * step];
    } else {
        const float *x = (const float *)from;
        for (size_t i = 0; i < n; i++)
            ((float *)to)[i] = x[(ptrdiff_t)i * step];
    }
}

static void splat(const frame *f, const ur__access *a, const char *from, size_t n)
{
    f->k->fill(n, f->size == 8 ? *(const double *)from : (double)*(const float *)from,
               tile(f, a->tile));
}

/* Elements [from, to) of a row. */
static void run_row(const frame *f, size_t from, size_t to)
{
    const ur__program *p = f->p;
    for (size_t at = from; at < to; at += UR__TILE) {
        size_t n = to - at < UR__TILE ? to - at : UR__TILE;
        for (int i = 0; i < p->n_in; i++) {
            const ur__access *a = &p->in[i];
            ptrdiff_t step = a->stride[p->rank - 1];
            if (a->tile < 0)
                f->pointer[i] = f->row[i] + at * f->size;
            else if (step != 0)
                bring(f, a, f->row[i] + (ptrdiff_t)at * step * (ptrdiff_t)f->size, n);
            else if (at == from)
                splat(f, a, f->row[i], n);
        }
        for (int o = p->n_in; o < p->n_in + p->n_out; o++)
            f->pointer[o] = f->row[o] + at * f->size;
        for (int k = 0; k < p->n_instructions; k++) {
            const ur__instruction *x = &p->instruction[k];
            x->run(n, f->pointer[x->y], f->pointer[x->a], x->b < 0 ? NULL : f->pointer[x->b],
                   x->c < 0 ? NULL : f->pointer[x->c]);
        }
    }
}

static const ur__access *access_of(const ur__program *p, int k)
{
    return k < p->n_in ? &p->in[k] : &p->out[k - p->n_in];
}

static size_t pointers_of(const ur__program *p)
{
    return (size_t)(p->n_in + p->n_out + p->n_tiles);
}

/* No wider than the rows: a long chain over a few elements may need a million tiles. */
static size_t tile_bytes(const ur__program *p)
{
    size_t row = (size_t)p->dim[p->rank - 1], n = row < UR__TILE ? row : UR__TILE;
    return (n * ur__type_size(p->type) + 63) / 64 * 64;
}

size_t ur__program_scratch(const ur__program *p)
{
    return 2 * pointers_of(p) * sizeof(char *) + 64 + (size_t)p->n_tiles * tile_bytes(p);
}

/* Rows of a program, and tiles in a row: parts are cut between tiles, so that every kernel, even a
 * user's, sees the same blocks for any number of parts. */
static size_t rows_of(const ur__program *p)
{
    size_t n = 1;
    for (int d = 0; d + 1 < p->rank; d++)
        n *= (size_t)p->dim[d];
    return n;
}

static size_t tiles_of(const ur__program *p)
{
    return ((size_t)p->dim[p->rank - 1] + UR__TILE - 1) / UR__TILE;
}

/* Moves the row pointers to the next row. */
static void next_row(frame *f, ptrdiff_t *index)
{
    const ur__program *p = f->p;
    for (int d = p->rank - 2; d >= 0; d--) {
        ptrdiff_t wrap = ++index[d] == p->dim[d] ? p->dim[d] - 1 : -1;
        ptrdiff_t back = wrap < 0 ? 1 : -wrap;
        for (int k = 0; k < p->n_in + p->n_out; k++)
            f->row[k] += back * access_of(p, k)->stride[d] * (ptrdiff_t)f->size;
        if (wrap < 0)
            break;
        index[d] = 0;
    }
}

void ur__run_program(const ur__run *r, const ur__programmed *step, const ur__piece *q)
{
    const ur__program *p = step->program;
    frame f = { .r = r, .p = p, .k = ur__set(r, p->type), .size = ur__type_size(p->type) };
    size_t pointers = pointers_of(p);
    f.pointer = (char **)r->scratch;
    f.row = f.pointer + pointers;
    f.tile_bytes = tile_bytes(p);
    f.tiles = r->scratch + (2 * pointers * sizeof(char *) + 63) / 64 * 64;
    int external = p->n_in + p->n_out;
    for (int k = 0; k < external; k++)
        f.row[k] = ur__ptr(r, step->loc[k]);
    for (int k = 0; k < p->n_tiles; k++)
        f.pointer[external + k] = tile(&f, k);
    for (int k = 0; k < p->n_in; k++)
        if (p->in[k].tile >= 0)
            f.pointer[k] = tile(&f, p->in[k].tile);
    size_t tiles = tiles_of(p), width = (size_t)p->dim[p->rank - 1], begin, end;
    ur__units(rows_of(p) * tiles, q, &begin, &end);
    ptrdiff_t index[UR_MAX_RANK] = { 0 };
    size_t row = begin / tiles;
    for (int d = p->rank - 2; d >= 0; row /= (size_t)p->dim[d--]) {
        index[d] = (ptrdiff_t)(row % (size_t)p->dim[d]);
        for (int k = 0; k < external; k++)
            f.row[k] += index[d] * access_of(p, k)->stride[d] * (ptrdiff_t)f.size;
    }
    for (size_t unit = begin; unit < end;) {
        size_t from = unit % tiles, to = tiles - from > end - unit ? from + end - unit : tiles;
        run_row(&f, from * UR__TILE, to < tiles ? to * UR__TILE : width);
        unit += to - from;
        if (unit < end)
            next_row(&f, index);
    }
}
