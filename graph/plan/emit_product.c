/* Contractions: strides of the operands, batch loops.
 *
 *     C[.., M, N] = op(A)[.., M, K] op(B)[.., K, N],   op: itself or the transpose of its last two
 *
 * A right operand without batch and an untransposed left one make a single tall product: all
 * leading axes of A are rows. */
#include "graph/plan/emit.h"

/* Where an operand lies, and the strides of its rows and columns in elements. */
static inline ur__loc operand(const ur__work *w, uint32_t id, bool transposed, ptrdiff_t *row,
                              ptrdiff_t *col)
{
    const ur_shape *s = &ur__shape_at(w, id)->s;
    const ptrdiff_t *stride = w->stride[id];
    const ptrdiff_t down = stride ? stride[s->rank - 2] : s->dim[s->rank - 1];
    const ptrdiff_t right = stride ? stride[s->rank - 1] : 1;
    *row = transposed ? right : down;
    *col = transposed ? down : right;
    return ur__where(w, id);
}

/* Whether the right operand of a product of few rows is best read where it is: such a parameter, or
 * columns that would be packed every time. */
static bool in_place(const ur__work *w, uint32_t product)
{
    const uint32_t *in = ur__in(w, product);
    const int64_t *flag = ur__attr(w, product);
    ptrdiff_t a_row, a_col, b_row, b_col;
    operand(w, in[0], flag[0], &a_row, &a_col);
    operand(w, in[1], flag[1], &b_row, &b_col);
    if (b_col != 1 && (b_row != 1 || a_col != 1))
        return false;
    if (ur__shape_at(w, in[1])->s.rank > 2 || w->t->node[ur__root(w, in[1])].op != &ur__op_param)
        return b_col != 1;
    return ur__panels_pass(w, product);
}

static bool thin(const ur__work *w, const uint32_t *terms, size_t n_terms)
{
    for (size_t i = 0; i < n_terms; i++)
        if (ur__product_rows(w, terms[i]) > UR__FEW_ROWS || !in_place(w, terms[i]))
            return false;
    return true;
}

static bool fill_term(ur__work *w, uint32_t product, bool thin, ur__term *t)
{
    const uint32_t *in = ur__in(w, product);
    const int64_t *flag = ur__attr(w, product);
    const int *end = ur__shape_at(w, in[1])->s.dim + ur__shape_at(w, in[1])->s.rank;
    t->a = operand(w, in[0], flag[0], &t->a_m, &t->a_k);
    t->k = flag[1] ? end[-1] : end[-2];
    if (!thin && ur__known_panel(w, in[1], flag[1], t))
        return true;
    t->b = operand(w, in[1], flag[1], &t->b_k, &t->b_n);
    return thin || ur__pack(w, product, t, flag[1] ? end[-2] : end[-1]);
}

/* Strides of an operand over the result's leading axes; 0 along axes it lacks or repeats. */
static void batch_steps(const ur__work *w, uint32_t id, int rank, ptrdiff_t *step)
{
    const ur_shape *s = &ur__shape_at(w, id)->s;
    ptrdiff_t stride[UR_MAX_RANK];
    ur__strides(w, id, stride);
    for (int i = 0; i < rank; i++) {
        int k = s->rank - 2 - rank + i;
        step[i] = k < 0 || s->dim[k] == 1 ? 0 : stride[k];
    }
}

/* The loops over the leading axes of the result. */
static const ur__batch *batch_of(ur__work *w, uint32_t id)
{
    const uint32_t *in = ur__in(w, id);
    const ur_shape *out = &ur__shape_at(w, id)->s;
    ur__batch *x = ur__bump_alloc(&w->p->memory, sizeof *x);
    if (!x) {
        ur__out_of_memory(&w->g->owner);
        return NULL;
    }
    x->rank = out->rank - 2;
    batch_steps(w, in[0], x->rank, x->a_step);
    batch_steps(w, in[1], x->rank, x->b_step);
    ur__natural_strides(out, x->c_step);
    for (int i = 0; i < x->rank; i++)
        x->dim[i] = out->dim[i];
    return x;
}

/* Hangs the step just emitted behind the head of its gang (nmerge.c), the part of it that has the
 * same left operands. */
static void join_gang(ur__work *w, uint32_t node, ur__contraction *c)
{
    ur__plan *p = w->p;
    if (!w->gang[node])
        return;
    for (size_t i = p->n_steps - 1; i-- > w->level_begin;) {
        if (p->step[i].what != UR__CONTRACT || p->step[i].node != w->gang[node] - 1)
            continue;
        ur__contraction *head = p->step[i].body;
        if (head->term[0].a.offset != c->term[0].a.offset)
            continue;
        c->gang = head->gang;
        head->gang = c;
        p->n_steps--;
        return;
    }
}

static bool append_product(ur__work *w, uint32_t node, ur__contraction *c)
{
    if (!ur__add_step(w, UR__CONTRACT, node, c))
        return false;
    join_gang(w, node, c);
    return true;
}

/* With its terms behind it. */
static ur__contraction *new_contraction(ur__work *w, size_t n_terms)
{
    ur__contraction *c = ur__bump_take(&w->p->memory, sizeof *c + n_terms * sizeof *c->term);
    if (!c)
        ur__out_of_memory(&w->g->owner);
    return c;
}

/* Whether rows of a sequence, put together from its steps, become known from the last on. */
static bool known_from_the_end(const ur__work *w, uint32_t id)
{
    id = ur__root(w, id);
    if (w->role[id] != R_ACCUMULATE || w->stored[id] != UR__TILED || w->t->node[id].n_in < 2)
        return false;
    uint32_t first = ur__in(w, id)[0], last = ur__in(w, id)[w->t->node[id].n_in - 1];
    const bool rises = ur__attr(w, first)[1] < ur__attr(w, last)[1];
    const uint32_t begin = ur__in(w, rises ? first : last)[0];
    const uint32_t end = ur__in(w, rises ? last : first)[0];
    return w->level[begin] > w->level[end];
}

/* A product that sums over the rows of such a sequence does so from its end: each part could be
 * done as soon as its rows are there. */
static bool append_from_the_end(ur__work *w, uint32_t node, const ur__contraction *c)
{
    const ptrdiff_t size = (ptrdiff_t)ur__type_size(c->type);
    const ptrdiff_t k = c->term[0].k, most = 2 * ur__gemm_block(k);
    for (ptrdiff_t row = (k - 1) / most * most, end = k; row >= 0; end = row, row -= most) {
        ur__contraction *part = new_contraction(w, 1);
        if (!part)
            return false;
        *part = *c;
        part->term = (ur__term *)(part + 1);
        *part->term = *c->term;
        part->term->k = end - row;
        part->term->a.offset += (uint64_t)(row * c->term[0].a_k * size);
        part->term->b.offset += (uint64_t)(row * c->term[0].b_k * size);
        part->write = end == k ? c->write : UR__ADD;
        if (!append_product(w, node, part))
            return false;
    }
    return true;
}

/* Whether product id sums over the rows of two whole sequences: A^T B. */
static bool sums_over_rows(const ur__work *w, uint32_t id, const ur__contraction *c)
{
    return c->n_terms == 1 && !c->batch && c->term[0].k > 2 * UR__GEMM_BLOCK &&
           ur__attr(w, id)[0] && !ur__attr(w, id)[1];
}

bool ur__emit_contraction(ur__work *w, uint32_t node, const uint32_t *terms, size_t n_terms,
                          int write, uint32_t slot)
{
    const uint32_t first = terms[0];
    const ur__shape *out = ur__shape_at(w, first);
    const int rank = out->s.rank;
    const ptrdiff_t n = out->s.dim[rank - 1];
    if (out->count == 0)
        return true;
    ur__contraction *c = new_contraction(w, n_terms);
    if (!c)
        return false;
    *c = (ur__contraction){ .m = out->s.dim[rank - 2], .n = n, .ldc = n, .n_terms = n_terms,
                            .term = (ur__term *)(c + 1), .c = ur__where(w, node),
                            .type = w->t->node[node].type, .write = write, .slot = slot };
    if (!ur__plain_product(w, first)) {
        if (!(c->batch = batch_of(w, first)))
            return false;
    } else if (rank > 2) {
        c->m = (ptrdiff_t)(out->count / (size_t)n);
    }
    c->thin = thin(w, terms, n_terms);
    for (size_t i = 0; i < n_terms; i++)
        if (!fill_term(w, terms[i], c->thin, &c->term[i]))
            return false;
    if (sums_over_rows(w, first, c) && known_from_the_end(w, ur__in(w, first)[1]))
        return append_from_the_end(w, node, c);
    return append_product(w, node, c);
}
