/* Into what pieces the nodes of most ops are cut for several threads; others say so themselves. */
#include "ops/internal.h"

size_t ur__rows(const ur_compute *c)
{
    return ur__span(&c->shape, 0, c->shape.rank - 1);
}

size_t ur__each(const ur_compute *c)
{
    return ur__elements(&c->shape);
}
