/* Rows of a table by ids, and back.
 *
 *     gather       y[.., :] = table[ids[..], :]                  dtable = scatter_add(g, ids)
 *     scatter_add  y[v, :] = sum of rows[.., :] where ids = v    drows = gather(g, ids)
 *     one_hot      y[.., v] = [v = ids[..]]                      constant
 *
 * one_hot(ids) W = gather(W, ids). Scatter is run by the planner (UR_SCATTER, attribute: the number
 * of rows), so that a gradient touches only the rows used. An id that no row has makes the run
 * fail. */
#include "ops/internal.h"

static void report(const ur_compute *c, size_t at, int32_t id, int n)
{
    ur_compute_fail(c, "id %d at position %zu, but ids are from 0 to %d here", (int)id, at, n - 1);
}

/* --------------------------------------------------------------------------------------- gather */

/* out = ids' axes, then the axes of x from `from` on. */
static bool join(ur_shaping *s, const ur_shape *ids, const ur_shape *x, int from)
{
    if (ids->rank + x->rank - from > UR_MAX_RANK)
        return ur_refuse(s, "%0 and %1, and the result would have rank %d, more than %d",
                         ids->rank + x->rank - from, UR_MAX_RANK);
    s->out = *ids;
    s->out.rank += x->rank - from;
    memcpy(s->out.dim + ids->rank, x->dim + from, sizeof(int) * (size_t)(x->rank - from));
    return true;
}

static bool gather_shape(ur_shaping *s)
{
    if (!ur__need_ints(s, 1))
        return false;
    if (s->in[0].rank < 1)
        return ur_refuse(s, "%0, but a table has rows: at least rank 1");
    s->type = s->type_in[0];
    return join(s, &s->in[1], &s->in[0], 1);
}

static size_t gather_pieces(const ur_compute *c)
{
    return ur__elements(&c->shape_in[1]);
}

static void gather_compute(const ur_compute *c)
{
    const ur_shape *table = &c->shape_in[0];
    const size_t row = ur__span(table, 1, table->rank) * ur__type_size((int)c->type);
    const int V = table->dim[0];
    const int32_t *id = c->in[1];
    const char *from = c->in[0];
    char *to = (char *)c->out + c->begin * row;
    bool bad = false;
    if (row == 0)
        return;
    for (size_t i = c->begin; i < c->end; i++, to += row) {
        if (id[i] >= 0 && id[i] < V) {
            memcpy(to, from + (size_t)id[i] * row, row);
            continue;
        }
        if (!bad)
            report(c, i, id[i], V);
        bad = true;
        memset(to, 0, row);
    }
}

static void gather_rule(ur_rule *r)
{
    if (ur_wants(r, 0))
        ur_give(r, 0, ur_scatter_add(r->g, r->in[1], ur_dim(r->in[0], 0)));
}

static ur_node gather_sample(ur_draw *d, int which)
{
    static const struct {
        ur_shape table, ids;
    } cases[] = {
        { UR__SHAPE(3, 2), UR__SHAPE(4) },              /* rows taken twice */
        { UR__SHAPE(4, 2), UR__SHAPE(2, 3) },
        { UR__SHAPE(5), UR__SHAPE(3) },                 /* a table of single numbers */
        { UR__SHAPE(3, 2, 2), UR__SHAPE(2) },
        { UR__SHAPE(3, 2), { .rank = 0 } },
        { UR__SHAPE(3, 2), UR__SHAPE(0) },
        { UR__SHAPE(1, 1), UR__SHAPE(2, 1, 2) },
    };
    if (which < 0 || which >= (int)(sizeof cases / sizeof cases[0]))
        return UR_NIL;
    const ur_shape *ids = &cases[which].ids, *table = &cases[which].table;
    ur_node x = ur__draw(d, -1, 1, table);
    return ur_gather(x, ur_draw_ints_(d, table->dim[0], ids->rank, ids->dim));
}

const ur_op ur__op_gather = {
    .name = "gather", .kind = UR_OPAQUE, .n_in = 2, .shape = gather_shape,
    .compute = gather_compute, .rule = gather_rule, .sample = gather_sample,
    .flags = UR_LOOKUP, .pieces = gather_pieces,
};

ur_node ur_gather_at(ur_at at, ur_node table, ur_node ids)
{
    return ur_record(at, &ur__op_gather, (ur_node[]){ table, ids }, 2, NULL, 0);
}

ur_node (ur_gather)(ur_node table, ur_node ids)
{
    return ur_gather_at(NULL, table, ids);
}

/* ---------------------------------------------------------------------------------- scatter_add */

static bool scatter_shape(ur_shaping *s)
{
    const ur_shape *rows = &s->in[0], *ids = &s->in[1];
    if (!ur__need_numbers(s, 0) || !ur__need_ints(s, 1) || !ur__need_size(s, s->attr[0]))
        return false;
    bool fit = rows->rank >= ids->rank;
    for (int i = 0; fit && i < ids->rank; i++)
        fit = rows->dim[i] == ids->dim[i];
    if (!fit)
        return ur_refuse(s, "%0 but %1: each id needs a row");
    ur_shape table = { .rank = 1, .dim = { (int)s->attr[0] } };
    return join(s, &table, rows, ids->rank);
}

static void scatter_rule(ur_rule *r)
{
    if (ur_wants(r, 0))
        ur_give(r, 0, ur_gather(r->g, r->in[1]));
}

static ur_node scatter_sample(ur_draw *d, int which)
{
    static const struct {
        ur_shape rows, ids;
        int n;
    } cases[] = {
        { UR__SHAPE(4, 2), UR__SHAPE(4), 3 },
        { UR__SHAPE(2, 3, 2), UR__SHAPE(2, 3), 4 },
        { UR__SHAPE(3), UR__SHAPE(3), 2 },
        { UR__SHAPE(2, 2, 2), UR__SHAPE(2), 5 },
        { UR__SHAPE(2), { .rank = 0 }, 3 },
        { UR__SHAPE(0, 2), UR__SHAPE(0), 2 },
        { UR__SHAPE(1, 3), UR__SHAPE(1), 1 },
    };
    if (which < 0 || which >= (int)(sizeof cases / sizeof cases[0]))
        return UR_NIL;
    const ur_shape *ids = &cases[which].ids;
    ur_node x = ur__draw(d, -1, 1, &cases[which].rows);
    return ur_scatter_add(x, ur_draw_ints_(d, cases[which].n, ids->rank, ids->dim),
                          cases[which].n);
}

const ur_op ur__op_scatter = {
    .name = "scatter_add", .kind = UR_SCATTER, .n_in = 2, .shape = scatter_shape,
    .rule = scatter_rule, .sample = scatter_sample,
};

ur_node ur_scatter_add_at(ur_at at, ur_node rows, ur_node ids, int n)
{
    return ur_record(at, &ur__op_scatter, (ur_node[]){ rows, ids }, 2, (int64_t[]){ n }, 1);
}

ur_node (ur_scatter_add)(ur_node rows, ur_node ids, int n)
{
    return ur_scatter_add_at(NULL, rows, ids, n);
}

/* -------------------------------------------------------------------------------------- one_hot */

static bool one_hot_shape(ur_shaping *s)
{
    ur_shape row = { .rank = 1, .dim = { (int)s->attr[0] } };
    return ur__need_ints(s, 0) && ur__need_size(s, s->attr[0]) &&
           (s->in[0].rank < UR_MAX_RANK || ur_refuse(s, "%0, and ranks end at %d", UR_MAX_RANK)) &&
           join(s, &s->in[0], &row, 0);
}

static size_t one_hot_pieces(const ur_compute *c)
{
    return ur__elements(&c->shape_in[0]);
}

static void one_hot_compute(const ur_compute *c)
{
    const size_t V = (size_t)c->attr[0], row = V * ur__type_size((int)c->type);
    const int32_t *id = c->in[0];
    bool bad = false;
    if (V)
        memset((char *)c->out + c->begin * row, 0, (c->end - c->begin) * row);
    for (size_t i = c->begin; i < c->end && !bad; i++) {
        bad = id[i] < 0 || (size_t)id[i] >= V;
        if (bad)
            report(c, i, id[i], (int)V);
        else if (c->type == UR_F64)
            ((double *)c->out)[i * V + (size_t)id[i]] = 1;
        else
            ((float *)c->out)[i * V + (size_t)id[i]] = 1;
    }
}

const ur_op ur__op_one_hot = {
    .name = "one_hot", .kind = UR_OPAQUE, .n_in = 1, .shape = one_hot_shape,
    .compute = one_hot_compute, .flags = UR_FLAT, .pieces = one_hot_pieces,
};

ur_node ur_one_hot_at(ur_at at, ur_node ids, int n)
{
    return ur_record(at, &ur__op_one_hot, &ids, 1, (int64_t[]){ n }, 1);
}

ur_node (ur_one_hot)(ur_node ids, int n)
{
    return ur_one_hot_at(NULL, ids, n);
}
