/* Sums over rows as products. The gradient of a bias is the sum of all rows of all steps,
 *
 *     db = sum_t 1^T dz_t,
 *
 * which, written like that, K-merge makes one contraction as it does with the weights'
 * gradients. The products are [1,N] where the sum is [N]: it takes them as they are. */
#include "graph/plan/rewrite.h"

/* A row of n ones. */
static ur_node ones(ur__expansion *e, int n)
{
    ur_graph *g = e->g;
    size_t k = (size_t)n % UR__ONES;
    if (e->ones[k].n == n)
        return ur__node_of(g, e->ones[k].node);
    ur_shape s = { .rank = 2, .dim = { 1, n } };
    void *data;
    ur_node x = ur__leaf(g, NULL, &s, g->precision, &data);
    if (!ur__live(x))
        return UR_NIL;
    const ur__kernels *kernels = ur__kernels_get();
    (g->precision == UR_F64 ? &kernels->f64 : &kernels->f32)->fill((size_t)n, 1, data);
    e->ones[k].n = n;
    e->ones[k].node = x.id;
    return x;
}

/* x[.., N] summed over all axes but the last, as [1,N], if s is [N]; nil where a plain sum is
 * right. */
ur_node ur__sum_rows(ur__expansion *e, ur_node x, const ur_shape *s)
{
    const ur_shape *now = &ur__shape_of(x)->s;
    const size_t count = ur__shape_of(x)->count;
    if (!ur__on(e->g, UR__BIT_kmerge) || s->rank != 1 || now->rank < 2 || count == 0 ||
        now->dim[now->rank - 1] != s->dim[0] || count / (size_t)s->dim[0] > INT32_MAX)
        return UR_NIL;
    ur_shape flat = { .rank = 2, .dim = { (int)(count / (size_t)s->dim[0]), s->dim[0] } };
    if (now->rank > 2)
        x = ur__reshape_to(NULL, x, &flat);
    ur_node one = ones(e, flat.dim[0]);
    if (!ur__live(one))
        return UR_NIL;
    return ur_record(NULL, &ur__op_matmul, (ur_node[]){ one, x }, 2, (int64_t[]){ 0, 0 }, 2);
}
