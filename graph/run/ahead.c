/* Fetching ahead. A long recurrence leaves more behind than the caches hold, in pieces too short
 * for the machine to foresee where the next one begins. While a product computes, the operands of
 * the elementwise program that follows are asked for. */
#include "graph/run/run.h"

enum { CACHED = 4 << 20, LONGEST = 16 << 10, NEAR = 8, LINE = 64 };

void ur__mark_ahead(ur__plan *p)
{
    size_t product = SIZE_MAX;
    for (size_t i = 0; p->arena_bytes > CACHED && i < p->n_steps; i++) {
        if (p->step[i].what == UR__CONTRACT && product == SIZE_MAX)
            product = i;
        if (p->step[i].what != UR__PROGRAM)
            continue;
        if (product != SIZE_MAX && i - product <= NEAR)
            p->step[product].ahead = (uint8_t)(i - product);
        product = SIZE_MAX;
    }
}

static size_t bytes_of(const ur__program *p, const ur__access *a)
{
    ptrdiff_t n = 1;
    for (int d = 0; d < p->rank; d++)
        n += (p->dim[d] - 1) * a->stride[d];
    return n > 0 ? (size_t)n * ur__type_size(p->type) : 0;
}

void ur__fetch_ahead(const ur__run *r, const ur__programmed *next, const ur__piece *q)
{
#if defined(__GNUC__)
    const ur__program *p = next->program;
    for (int k = 0; k < p->n_in + p->n_out; k++) {
        size_t n = bytes_of(p, k < p->n_in ? &p->in[k] : &p->out[k - p->n_in]), begin, end;
        if (next->loc[k].region != UR__ARENA || n > LONGEST)
            continue;
        const char *at = ur__ptr(r, next->loc[k]);
        ur__units((n + LINE - 1) / LINE, q, &begin, &end);
        for (size_t i = begin; i < end; i++)
            __builtin_prefetch(at + i * LINE, 0, 2);
    }
#else
    (void)r, (void)next, (void)q;
#endif
}
