/* Requests for gradients, as they are recorded. What becomes of them: plan/expand.c. */
#include "graph/internal.h"

static ur_node nil_of(ur_graph *g)
{
    return (ur_node){ g, 0, 0 };
}

ur_node ur_backward_at(ur_at at, ur_node loss)
{
    ur_graph *g = ur_graph_of(loss);
    if (!g || g->owner.failed)
        return nil_of(g);
    if (!ur__live(loss))
        return ur__fail_at(g, at, "backward", "%s", ur_called(loss, at, 0)), nil_of(g);
    if (ur_count(loss) != 1 || ur_type_of(loss) == UR_I32)
        return ur__fail_at(g, at, "backward", "%s, but a loss is one number: take its sum or mean",
                           ur_called(loss, at, 0)), nil_of(g);
    if (!(ur__at(g, loss.id)->flags & UR__GROWS))
        return ur__fail_at(g, at, "backward",
                           "the loss depends on no parameter that is trainable in this graph's "
                           "precision"), nil_of(g);
    int64_t attr[UR__A_COUNT] = { 1, 0, 0, 1 };
    ur_shape scalar = { .rank = 0 };
    ur__append(g, at, &ur__op_request, &loss.id, 1, attr, UR__A_COUNT, &scalar, (int)g->precision,
               0);
    return loss;
}

ur_node (ur_backward)(ur_node loss)
{
    return ur_backward_at(NULL, loss);
}

/* Brings parameters to the tape and checks the operands of a request. */
static bool gather_operands(ur_graph *g, ur_at at, const char *what, const ur_node from[], int n,
                            uint32_t id[])
{
    for (int i = 0; i < n; i++) {
        if (!ur__live(from[i]))
            return ur__fail_at(g, at, "grad", "%s %d %s", what, i, ur__gone(from[i]));
        ur_node x = ur_use_at(at, g, from[i]);
        if (!ur__live(x))
            return false;
        if (x.owner != g)
            return ur__fail_at(g, at, "grad", "%s %d belongs to another graph", what, i);
        id[i] = x.id;
    }
    return true;
}

bool ur_grad_at(ur_at at, const ur_node ys[], const ur_node seeds[], int n, const ur_node xs[],
                int m, ur_node out[])
{
    ur_graph *g = NULL;
    for (int i = 0; i < n && !g; i++)
        g = ur_graph_of(ys[i]);
    for (int j = 0; j < m; j++)
        out[j] = nil_of(g);
    if (!g || g->owner.failed)
        return false;
    int n_seeds = seeds ? n : 0;
    size_t count = (size_t)n + (size_t)n_seeds + (size_t)m;
    uint32_t *id = ur__realloc(NULL, 0, count * sizeof *id);
    if (!id)
        return ur__out_of_memory(&g->owner);
    bool ok = gather_operands(g, at, "y", ys, n, id) &&
              gather_operands(g, at, "seed", seeds, n_seeds, id + n) &&
              gather_operands(g, at, "x", xs, m, id + n + n_seeds);
    for (int i = 0; ok && i < n_seeds; i++)
        if (ur__at(g, id[n + i])->shape != ur__at(g, id[i])->shape)
            ok = ur__fail_at(g, at, "grad", "y %d is %s but its seed is %s", i,
                             ur_shape_text(ur_shape_of(ys[i])),
                             ur_shape_text(ur_shape_of(seeds[i])));
    int flags = 0;
    for (size_t i = 0; ok && i < count; i++)
        flags |= ur__at(g, id[i])->flags & UR__GROWS;
    int64_t attr[UR__A_COUNT] = { n, n_seeds, m, 0 };
    ur_shape scalar = { .rank = 0 };
    ur_node request = nil_of(g);
    if (ok)
        request = ur__append(g, at, &ur__op_request, id, count, attr, UR__A_COUNT, &scalar,
                             (int)g->precision, 0);
    ok = ok && ur__live(request);
    for (int64_t j = 0; ok && j < m; j++) {
        ur_shape s = g->shape[ur__at(g, id[n + n_seeds + j])->shape].s;
        out[j] = ur__append(g, at, &ur__op_grad, &request.id, 1, &j, 1, &s, (int)g->precision,
                            flags);
        ok = ur__live(out[j]);
    }
    ur__realloc(id, count * sizeof *id, 0);
    return ok;
}

bool (ur_grad)(const ur_node ys[], const ur_node seeds[], int n, const ur_node xs[], int m,
               ur_node out[])
{
    return ur_grad_at(NULL, ys, seeds, n, xs, m, out);
}

ur_node ur_detach_at(ur_at at, ur_node x)
{
    ur_graph *g = ur_graph_of(x);
    if (!g || g->owner.failed)
        return nil_of(g);
    return ur_record(at, &ur__op_cut, &x, 1, NULL, 0);
}

ur_node (ur_detach)(ur_node x)
{
    return ur_detach_at(NULL, x);
}
