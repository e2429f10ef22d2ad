/* Sparse gradients: which rows of an embedding's gradient may be non-zero.
 *
 * A table of V rows of which a step uses a few hundred is not zeroed, summed or walked as a whole:
 * its scattered gradient marks the rows that it adds to, and the list of them, in order, is what
 * the next step zeroes and what an optimiser may walk. Any other write to the gradient ends
 * that. */
#include "graph/internal.h"

bool ur__rows_prepare(ur_params *ps, ur__param *p)
{
    size_t rows = p->shape.rank ? (size_t)p->shape.dim[0] : 0;
    if (p->touched || !rows)
        return rows > 0;
    uint64_t *bits = ur__bump_alloc(&ps->memory, (rows + 63) / 64 * sizeof *bits);
    int32_t *list = ur__bump_alloc(&ps->memory, rows * sizeof *list);
    if (!bits || !list)
        return false;
    p->touched = bits;
    p->rows = list;
    p->n_rows = 0;
    return true;
}

void ur__gradient_zero(ur_params *ps, ur__param *p)
{
    size_t size = ur__type_size((int)ps->type);
    char *g = ps->gradients.p + p->offset * size;
    if (p->dirty && p->sparse) {
        size_t row = p->count / (size_t)p->shape.dim[0] * size;
        for (size_t i = 0; i < p->n_rows; i++)
            memset(g + (size_t)p->rows[i] * row, 0, row);
    } else if (p->dirty) {
        memset(g, 0, p->count * size);
    }
    if (p->touched)
        memset(p->touched, 0, ((size_t)p->shape.dim[0] + 63) / 64 * sizeof *p->touched);
    p->n_rows = 0;
    p->dirty = false;
    p->sparse = p->touched != NULL;
}

void ur__rows_list(ur__param *p)
{
    size_t rows = (size_t)p->shape.dim[0];
    p->n_rows = 0;
    for (size_t w = 0; w < (rows + 63) / 64; w++)
        for (uint64_t bits = p->touched[w]; bits; bits &= bits - 1) {
            int k = 0;
            while (!(bits >> k & 1))
                k++;
            p->rows[p->n_rows++] = (int32_t)(64 * w + (size_t)k);
        }
}

const int32_t *ur_param_rows(ur_node W, size_t *n)
{
    *n = 0;
    if (!ur__live(W) || ((ur__owner *)W.owner)->what != UR__STORE)
        return NULL;
    const ur__param *p = &((ur_params *)W.owner)->param[W.id];
    if (!p->sparse)
        return NULL;
    *n = p->n_rows;
    return p->rows;
}
