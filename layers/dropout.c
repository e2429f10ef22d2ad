/* Dropout on the output of a cell; what it carries from step to step stays whole.
 *
 *     y = m * step(x, s) / (1 - rate),    m = 0 with probability rate, else 1
 *
 * N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR
 * 15 (2014); W. Zaremba, I. Sutskever and O. Vinyals, arXiv 1409.2329 (2014), for non-recurrent
 * connections alone; one m for all steps: Y. Gal and Z. Ghahramani, "A theoretically grounded
 * application of dropout in recurrent neural networks", NIPS 2016.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct dropout {
    ur_cell cell;
    const ur_cell *inner;
    double rate;
    int64_t tag;
} dropout;

static ur_node each_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const dropout *p = (const dropout *)cell;
    return ur_dropout(p->inner->step(p->inner, x, s), p->rate);
}

static ur_node one_mask(const ur_cell *cell, ur_node x, ur_node s[])
{
    const dropout *p = (const dropout *)cell;
    return ur_dropout_tagged(p->inner->step(p->inner, x, s), p->rate, p->tag);
}

/* A tag that depends on the name alone (the FNV-1a hash), so that the numbers of one layer do not
 * depend on the others. */
static int64_t tag_of(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return (int64_t)(h >> 1);
}

static ur_cell *wrap(ur_cell *inner, double rate, ur_cell_step *step)
{
    if (!ur_cell_usable(inner))
        return inner;
    dropout *p = ur_cell_new(inner->params, inner->name, sizeof *p, step, inner->inputs,
                             inner->outputs, inner->n_states, inner->sizes);
    p->inner = inner;
    p->cell.top = inner->top;
    p->cell.keeps_rows = inner->keeps_rows;
    p->rate = rate;
    p->tag = tag_of(inner->name);
    return &p->cell;
}

ur_cell *ur_dropout_cell(ur_cell *cell, double rate)
{
    return wrap(cell, rate, each_step);
}

ur_cell *ur_dropout_cell_sequence(ur_cell *cell, double rate)
{
    return wrap(cell, rate, one_mask);
}

bool ur_set_dropout(ur_cell *cell, double rate)
{
    bool fits = cell && (cell->step == each_step || cell->step == one_mask) && rate >= 0 &&
                rate <= 1;
    if (fits)
        ((dropout *)cell)->rate = rate;
    return fits;
}
