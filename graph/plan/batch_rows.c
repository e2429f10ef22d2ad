/* Where the rows of a batched operand come from: another group as it is, a part of one, or a pool
 * of results of one width, from which they are gathered. A pool is made of the results that are
 * gathered together, in the order of depth; each longer pool is the shorter one and what is new,
 * laid out in place, so it costs no copies, and neither does its adjoint. */
#include "graph/plan/batch.h"

ur_node ur__planned(ur__batching *b, uint32_t id)
{
    ur__expansion *e = b->e;
    if (e->map[id] == UINT32_MAX) {
        int64_t rows = ur__recorded_shape(b, id)->dim[0];
        ur_node all = ur__node_of(e->g, ur__grouped(b, id)->node - 1);
        ur_node y = ur_record(NULL, &ur__op_slice, &all, 1,
                              (int64_t[]){ 0, ur__index(b, id) * rows, rows }, 3);
        if (!ur__live(y))
            return UR_NIL;
        e->g->into->node[y.id].flags |= b->t->node[id].flags & UR__KEEP;
        e->map[id] = y.id;
    }
    return ur__node_of(e->g, e->map[id]);
}

/* The planned node that holds the rows of u, and the first of them. */
static uint32_t source(ur__batching *b, uint32_t u, uint32_t *row)
{
    const ur__group *x = ur__grouped(b, u);
    *row = x ? ur__index(b, u) * (uint32_t)ur__recorded_shape(b, u)->dim[0] : 0;
    return x ? x->node - 1 : ur__planned(b, u).id;
}

/* The pool in which a planned node lies now, *row its first row there; or NULL. */
static ur__pool *pool_of(const ur__batching *b, uint32_t node, uint32_t *row)
{
    if (node >= b->pooled_cap || !b->pooled[node].pool)
        return NULL;
    ur__pool *p = &b->pools[b->pooled[node].pool - 1];
    *row = b->pooled[node].row;
    while (&b->pools[p->into] != p) {
        *row += p->row;
        p = &b->pools[p->into];
    }
    return p;
}

/* The pool of the first of u that has one, or a new one. */
static ur__pool *pool_for(ur__batching *b, const uint32_t *u, uint32_t n)
{
    for (uint32_t k = 0, row; k < n; k++) {
        ur__pool *p = pool_of(b, source(b, u[k], &row), &row);
        if (p || b->e->g->owner.failed)
            return p;
    }
    if (!ur__bump_reserve(&b->e->g->scratch, &b->pools, &b->pool_cap, b->n_pools + 1,
                          sizeof *b->pools)) {
        ur__out_of_memory(&b->e->g->owner);
        return NULL;
    }
    b->pools[b->n_pools] = (ur__pool){ .into = (uint32_t)b->n_pools };
    return &b->pools[b->n_pools++];
}

static bool enter(ur__batching *b, uint32_t node, const ur__pool *p)
{
    const size_t before = b->pooled_cap;
    if (node >= before) {
        if (!ur__bump_reserve(&b->e->g->scratch, &b->pooled, &b->pooled_cap, node + 1,
                              sizeof *b->pooled))
            return ur__out_of_memory(&b->e->g->owner);
        memset(b->pooled + before, 0, (b->pooled_cap - before) * sizeof *b->pooled);
    }
    b->pooled[node] = (ur__pooled){ (uint32_t)(p - b->pools) + 1, p->rows };
    return true;
}

/* Lays what is not in the pool yet behind it, other pools as a whole. */
static bool extend(ur__batching *b, ur__pool *p, const uint32_t *u, uint32_t n)
{
    ur_graph *g = b->e->g;
    size_t count = p->rows > 0;
    ur_node *part = ur__bump_take(&g->scratch, (n + 1) * sizeof *part);
    if (!part)
        return ur__out_of_memory(&g->owner);
    if (count)
        part[0] = ur__node_of(g, p->node);
    for (uint32_t k = 0, row; k < n; k++) {
        uint32_t node = source(b, u[k], &row);
        if (g->owner.failed)
            return false;
        ur__pool *q = pool_of(b, node, &row);
        if (q == p)
            continue;
        if (q) {
            node = q->node;
            q->into = (uint32_t)(p - b->pools);
            q->row = p->rows;
        } else if (!enter(b, node, p)) {
            return false;
        }
        part[count++] = ur__node_of(g, node);
        p->rows += (uint32_t)ur_dim(part[count - 1], 0);
    }
    if (count > 1 || p->rows == 0)
        p->node = ur_record(NULL, &ur__op_concat, part, (int)count, (int64_t[]){ 0, 0 }, 2).id;
    else
        p->node = part[0].id;
    return !g->owner.failed;
}

/* Rows of the pool in the order of u. */
static ur_node gather_rows(ur__batching *b, const uint32_t *u, uint32_t n)
{
    ur_graph *g = b->e->g;
    uint32_t rows = (uint32_t)ur__recorded_shape(b, u[0])->dim[0];
    ur__pool *p = pool_for(b, u, n);
    if (!p || !extend(b, p, u, n))
        return UR_NIL;
    ur_shape s = { .rank = 1, .dim = { (int)(n * rows) } };
    void *data;
    ur_node ids = ur__leaf(g, NULL, &s, UR_I32, &data);
    if (!ur__live(ids))
        return UR_NIL;
    int32_t *id = data;
    for (uint32_t k = 0, row, first = 0; k < n; k++) {
        pool_of(b, source(b, u[k], &row), &first);
        for (uint32_t i = 0; i < rows; i++)
            *id++ = (int32_t)(first + row + i);
    }
    return ur_record(NULL, &ur__op_gather, (ur_node[]){ ur__node_of(g, p->node), ids }, 2, NULL, 0);
}

/* Leaves at equal distances, as of ids given one by one, as rows of one leaf, which a single copy
 * brings together, or none; nil if they are not. */
static ur_node rows_of_leaves(ur__batching *b, const uint32_t *u, uint32_t n)
{
    ur_graph *g = b->e->g;
    const ur__node *const node = b->t->node, *f = &node[u[0]];
    ur_shape all = *ur__recorded_shape(b, u[0]);        /* of u_1 so far */
    const int64_t count = (int64_t)ur__elements(&all), size = (int64_t)ur__type_size(f->type);
    int64_t begin = 0, step = 0;
    for (uint32_t k = 0; k < n; k++) {
        if (node[u[k]].op != &ur__op_input)
            return UR_NIL;
        const int64_t at = b->t->attr[node[u[k]].attr];
        begin = k ? begin : at;
        step = k == 1 ? at - begin : step;
        if (at != begin + k * step)
            return UR_NIL;
    }
    if (step < count * size || step % size || begin + n * step > (int64_t)g->data_used)
        return UR_NIL;
    const ur_shape s = { .rank = 2, .dim = { (int)n, (int)(step / size) } };
    ur_node x = ur__append(g, NULL, &ur__op_input, NULL, 0, &begin, 1, &s, f->type, 0);
    if (ur__live(x) && count * size < step)
        x = ur_record(NULL, &ur__op_slice, &x, 1, (int64_t[]){ 1, 0, count }, 3);
    all.dim[0] *= (int)n;
    return ur__live(x) ? ur__reshape_to(NULL, x, &all) : UR_NIL;
}

ur_node ur__rows_from(ur__batching *b, uint32_t u, uint32_t n)
{
    const ur__group *x = ur__grouped(b, u);
    ur_node all = ur__node_of(b->e->g, x->node - 1);
    int64_t rows = ur__recorded_shape(b, u)->dim[0];
    return n == x->n ? all : ur_record(NULL, &ur__op_slice, &all, 1,
                                       (int64_t[]){ 0, ur__index(b, u) * rows, n * rows }, 3);
}

ur_node ur__rows_of(ur__batching *b, const uint32_t *u, uint32_t n)
{
    const ur__spot *const spot = b->spot;
    const uint64_t first = spot[u[0]].seat;
    bool any = first != 0, run = any;
    for (uint32_t k = 1; k < n && (run || !any); k++) {
        run = run && spot[u[k]].seat == first + k;
        any = any || spot[u[k]].seat;
    }
    if (run)
        return ur__rows_from(b, u[0], n);
    if (any)
        return gather_rows(b, u, n);
    ur_node leaves = rows_of_leaves(b, u, n);
    if (ur__live(leaves) || b->e->g->owner.failed)
        return leaves;
    ur_node *part = ur__bump_take(&b->e->g->scratch, n * sizeof *part);
    if (!part)
        return ur__out_of_memory(&b->e->g->owner), UR_NIL;
    for (uint32_t k = 0; k < n; k++)
        part[k] = ur__planned(b, u[k]);
    return ur_record(NULL, &ur__op_concat, part, (int)n, (int64_t[]){ 0, 0 }, 2);
}
