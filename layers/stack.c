/* Cells on top of each other, which together are a cell.
 *
 *     y = x;   for each cell from the bottom up:  y = step(y, its states)
 *
 * S. El Hihi and Y. Bengio, "Hierarchical recurrent neural networks for long-term dependencies",
 * NIPS 1995; A. Graves, A. Mohamed and G. Hinton, ICASSP 2013, for many layers.
 */
#include "unroll/layers.h"

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    ur_node y = x;
    for (int l = 0; l < cell->n_parts; l++) {
        y = ur_cell_apply(cell->parts[l], -1, y, s);
        s += cell->parts[l]->n_states;
    }
    return y;
}

/* Whether each one fits on the one below. */
static bool fits(ur_params *ps, const char *name, ur_cell *const cells[], int n)
{
    for (int l = 0; l < n; l++) {
        if (!ur_cell_usable(cells[l]))
            return ur_fail(ps, NULL, NULL, "stacked %s: cell %d of %d was not made", name, l + 1,
                           n);
        if (l > 0 && cells[l]->inputs != cells[l - 1]->outputs)
            return ur_fail(ps, NULL, NULL, "stacked %s: cell %d, %s, takes %d inputs, but %s below "
                           "it has %d outputs", name, l + 1, cells[l]->name, cells[l]->inputs,
                           cells[l - 1]->name, cells[l - 1]->outputs);
    }
    return n > 0 || ur_fail(ps, NULL, NULL, "stacked %s: %d cells, at least 1 is needed", name, n);
}

ur_cell *ur_stacked(const char *name, ur_cell *const cells[], int n, double dropout)
{
    ur_params *ps = n > 0 && cells && cells[0] ? cells[0]->params : NULL;
    if (!ps || !fits(ps, name, cells, n))
        return ur_cell_new(NULL, name, sizeof(ur_cell), step, 1, 1, 0, NULL);
    int states = 0;
    for (int l = 0; l < n; l++)
        states += cells[l]->n_states;
    const ur_cell **layer = ur_params_alloc(ps, sizeof *layer * (size_t)n);
    int *sizes = ur_params_alloc(ps, sizeof *sizes * (size_t)(states + 1));
    for (int l = 0, k = 0; layer && sizes && l < n; l++) {
        layer[l] = l + 1 < n && dropout > 0 ? ur_dropout_cell(cells[l], dropout) : cells[l];
        for (int i = 0; i < cells[l]->n_states; i++)
            sizes[k++] = cells[l]->sizes[i];
    }
    ur_cell *cell = ur_cell_new(ps, name, sizeof *cell, step, cells[0]->inputs,
                                cells[n - 1]->outputs, states, sizes);
    cell->parts = layer;
    cell->n_parts = n;
    cell->top = states - cells[n - 1]->n_states + cells[n - 1]->top;
    for (int l = 0; l < n; l++)
        cell->keeps_rows |= cells[l]->keeps_rows;
    return cell;
}
