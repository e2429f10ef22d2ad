/* Zoneout: at random, a unit of a state keeps its value for a step.
 *
 *     s', y = step(x, s)
 *     s'_k = m ? s_k : s'_k,    m = 1 with probability rate_k            in training
 *     s'_k = rate_k s_k + (1 - rate_k) s'_k                              at inference
 *
 * D. Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden activations", ICLR
 * 2017. The states of a step are computed from each other before any is held back: h' of an lstm is
 * o * tanh(f*c + i*g), as there.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct zoneout {
    ur_cell cell;
    const ur_cell *inner;
    double *rate;                   /* one a state */
} zoneout;

static ur_graph *graph_of(const ur_cell *cell, ur_node x, const ur_node s[])
{
    ur_graph *g = ur_graph_of(x);
    for (int k = 0; !g && k < cell->n_states; k++)
        g = ur_graph_of(s[k]);
    return g;
}

static ur_node held_back(ur_graph *g, ur_node old, ur_node new, double rate)
{
    const ur_shape shape = ur_shape_of(new);
    if (rate == 0 || shape.rank < 0)
        return new;
    if (ur_mode(g) == UR_INFER)
        return ur_add(ur_scale(old, rate), ur_scale(new, 1 - rate));
    return ur_where(ur_bernoulli_at(NULL, g, rate, shape.rank, shape.dim), old, new);
}

static bool same(ur_node a, ur_node b)
{
    return a.owner == b.owner && a.id == b.id && a.generation == b.generation;
}

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const zoneout *p = (const zoneout *)cell;
    ur_graph *g = graph_of(cell, x, s);
    ur_node *old = ur_graph_alloc(g, sizeof *old * (size_t)(cell->n_states + 1));
    if (!old)
        return UR_NIL;
    for (int k = 0; k < cell->n_states; k++)
        old[k] = s[k];
    ur_node y = p->inner->step(p->inner, x, s), shown = y;
    for (int k = 0; k < cell->n_states; k++) {
        const ur_node new = s[k];
        s[k] = held_back(g, old[k], new, p->rate[k]);
        if (same(y, new))
            shown = s[k];
    }
    return shown;
}

/* The first state whose rate is none, -1 without rates; n_states when all are in [0, 1]. */
static int wrong_rate(const ur_cell *cell, const double rates[])
{
    int k = rates ? 0 : -1;
    while (rates && k < cell->n_states && rates[k] >= 0 && rates[k] <= 1)
        k++;
    return k;
}

ur_cell *ur_zoneout(ur_cell *inner, const double rates[])
{
    if (!ur_cell_usable(inner))
        return inner;
    ur_params *ps = inner->params;
    const int n = inner->n_states, wrong = wrong_rate(inner, rates);
    if (!rates)
        ur_fail(ps, NULL, NULL, "zoneout of %s: the rates are NULL", inner->name);
    else if (wrong < n)
        ur_fail(ps, NULL, NULL, "zoneout of %s: the rate of state %d is %g, not in [0, 1]",
                inner->name, wrong, rates[wrong]);
    double *rate = ur_params_alloc(ps, sizeof *rate * (size_t)(n + 1));
    zoneout *p = ur_cell_new(ps, inner->name, sizeof *p, step, inner->inputs, inner->outputs, n,
                             inner->sizes);
    p->inner = inner;
    p->cell.top = inner->top;
    p->cell.keeps_rows = inner->keeps_rows;
    p->rate = rate;
    ur_set_zoneout(&p->cell, rates);
    return &p->cell;
}

bool ur_set_zoneout(ur_cell *cell, const double rates[])
{
    bool fits = cell && cell->step == step && wrong_rate(cell, rates) == cell->n_states;
    for (int k = 0; fits && k < cell->n_states; k++)
        ((zoneout *)cell)->rate[k] = rates[k];
    return fits;
}
