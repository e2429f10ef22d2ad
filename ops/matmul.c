/* Products of matrices, and affine.
 *
 *     Y = A B     dA = g B^T     dB = A^T g
 *
 * a[..., M, K] b[..., K, N]: leading axes broadcast. When b has rank 2 and a is not transposed, all
 * leading axes of a are rows of one product, in the gradients too: flattened, so that the planner
 * sees plain products of two matrices.
 *
 * The kind UR_CONTRACTION is run by the planner; attributes: transpose_a, transpose_b. */
#include "ops/internal.h"

extern const ur_op ur__op_matmul;

static ur_node product(ur_at at, ur_node a, ur_node b, int64_t ta, int64_t tb)
{
    return ur_record(at, &ur__op_matmul, (ur_node[]){ a, b }, 2, (int64_t[]){ ta, tb }, 2);
}

static bool matmul_shape(ur_shaping *s)
{
    const ur_shape *a = &s->in[0], *b = &s->in[1];
    if (!ur__need_numbers(s, 0) || !ur__need_numbers(s, 1))
        return false;
    if (a->rank < 2 || b->rank < 2)
        return ur_refuse(s, "%0 and %1, but a matrix has at least rank 2");
    const bool ta = s->attr[0], tb = s->attr[1];
    const int *am = a->dim + a->rank - 2, *bm = b->dim + b->rank - 2;
    if (am[!ta] != bm[tb])
        return ur_refuse(s, ta && tb ? "%0 but %1, both transposed: inner sizes %d and %d differ"
                            : ta     ? "%0, transposed, but %1: inner sizes %d and %d differ"
                            : tb     ? "%0 but %1, transposed: inner sizes %d and %d differ"
                                     : "%0 but %1: inner sizes %d and %d differ",
                         am[!ta], bm[tb]);
    const int rank = a->rank > b->rank ? a->rank : b->rank;
    s->out.rank = rank;
    for (int i = 1; i <= rank - 2; i++) {       /* leading axes from the right */
        int p = i <= a->rank - 2 ? a->dim[a->rank - 2 - i] : 1;
        int q = i <= b->rank - 2 ? b->dim[b->rank - 2 - i] : 1;
        if (p != q && p != 1 && q != 1)
            return ur_refuse(s, "%0 but %1: leading sizes %d and %d differ", p, q);
        s->out.dim[rank - 2 - i] = p == 1 ? q : p;
    }
    s->out.dim[rank - 2] = am[ta];
    s->out.dim[rank - 1] = bm[!tb];
    return true;
}

/* x[..., N] as rows [., N]. */
static ur_node rows(ur_node x, const ur_shape *s)
{
    ur_shape flat = { .rank = 2 };
    flat.dim[0] = (int)ur__span(s, 0, s->rank - 1);
    flat.dim[1] = s->dim[s->rank - 1];
    return ur__reshape_to(NULL, x, &flat);
}

static void matmul_rule(ur_rule *r)
{
    const bool ta = r->attr[0], tb = r->attr[1];
    ur_node a = r->in[0], b = r->in[1], g = r->g;
    const ur_shape sa = ur_shape_of(a), sb = ur_shape_of(b), sg = ur_shape_of(g);
    if (ur_wants(r, 0)) {
        ur_node da = ta ? product(NULL, b, g, tb, 1) : product(NULL, g, b, 0, !tb);
        ur_give(r, 0, ur__sum_to(NULL, da, &sa));
    }
    if (ur_wants(r, 1)) {
        if (sb.rank == 2 && !ta) {
            a = rows(a, &sa);
            g = rows(g, &sg);
        }
        ur_node db = tb ? product(NULL, g, a, 1, ta) : product(NULL, a, g, !ta, 0);
        ur_give(r, 1, ur__sum_to(NULL, db, &sb));
    }
}

static ur_node matmul_sample(ur_draw *d, int which)
{
    static const struct {
        ur_shape a, b;
    } cases[] = {
        { UR__SHAPE(2, 3), UR__SHAPE(3, 4) },
        { UR__SHAPE(2, 3, 4), UR__SHAPE(4, 2) },                /* leading axes are rows */
        { UR__SHAPE(2, 2, 1, 3), UR__SHAPE(3, 2) },
        { UR__SHAPE(2, 2, 3), UR__SHAPE(2, 3, 2) },             /* batches */
        { UR__SHAPE(2, 1, 2, 3), UR__SHAPE(3, 3, 1) },          /* which broadcast */
        { UR__SHAPE(2, 3), UR__SHAPE(2, 3, 2) },
        { UR__SHAPE(1, 2, 3), UR__SHAPE(2, 3, 2) },
        { UR__SHAPE(1, 1), UR__SHAPE(1, 1) },
        { UR__SHAPE(2, 0), UR__SHAPE(0, 2) },                   /* an empty sum */
        { UR__SHAPE(0, 2), UR__SHAPE(2, 3) },
    };
    const int n = (int)(sizeof cases / sizeof cases[0]);
    if (which < 0 || which >= 4 * n)
        return UR_NIL;
    const bool ta = which / n & 1, tb = which / n >> 1;
    ur_shape s[2] = { cases[which % n].a, cases[which % n].b };
    for (int k = 0; k < 2; k++) {
        int *m = s[k].dim + s[k].rank - 2, first = m[0];
        if (k == 0 ? ta : tb)
            m[0] = m[1], m[1] = first;
    }
    ur_node a = ur__draw(d, -1, 1, &s[0]), b = ur__draw(d, -1, 1, &s[1]);
    return ur_matmul_with(a, b, ta, tb);
}

const ur_op ur__op_matmul = {
    .name = "matmul", .kind = UR_CONTRACTION, .n_in = 2, .shape = matmul_shape,
    .rule = matmul_rule, .sample = matmul_sample,
};

ur_node ur_matmul_at(ur_at at, ur_node a, ur_node b)
{
    return product(at, a, b, 0, 0);
}

ur_node (ur_matmul)(ur_node a, ur_node b)
{
    return product(NULL, a, b, 0, 0);
}

ur_node ur_matmul_with_at(ur_at at, ur_node a, ur_node b, bool transpose_a, bool transpose_b)
{
    return product(at, a, b, transpose_a, transpose_b);
}

ur_node (ur_matmul_with)(ur_node a, ur_node b, bool transpose_a, bool transpose_b)
{
    return product(NULL, a, b, transpose_a, transpose_b);
}

/* The bias is looked at here, since the error of an addition could not name the operands: its first
 * one is the product, not x. */
static bool bias_fits(ur_at at, ur_node xW, ur_node W, ur_node b)
{
    ur_graph *g = ur_graph_of(xW);
    if (!g || !ur__live(xW) || !ur__live(b))
        return true;                            /* the operations on them say so */
    const ur_shape *s = ((ur__owner *)b.owner)->what == UR__STORE
                            ? &((ur_params *)b.owner)->param[b.id].shape : &ur__shape_of(b)->s;
    const ur_shape *all = &ur__shape_of(xW)->s;
    if (s->rank == 1 && all->rank > 0 && s->dim[0] == all->dim[all->rank - 1])
        return true;
    return ur__fail_at(g, at, "affine", "%s but %s: the bias needs the shape [%d]",
                       ur_called(W, at, 1), ur_called(b, at, 2), ur_dim(xW, -1));
}

ur_node ur_affine_at(ur_at at, ur_node x, ur_node W, ur_node b)
{
    ur_node xW = product(at, x, W, 0, 0);
    return bias_fits(at, xW, W, b) ? ur_add_at(at, xW, b) : UR_NIL;
}

ur_node (ur_affine)(ur_node x, ur_node W, ur_node b)
{
    return ur_affine_at(NULL, x, W, b);
}
