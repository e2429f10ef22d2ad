/* Contractions: strides of the operands, batch loops, packed panels.
 *
 *     C[.., M, N] = op(A)[.., M, K] op(B)[.., K, N],   op: itself or the transpose of its last two
 *
 * A right operand without batch and an untransposed left one make a single tall product: all
 * leading axes of A are rows. A parameter on the right is packed once and kept until its values
 * change; unless that is in every run, and too few rows would profit. */
#include "graph/plan/plan.h"

typedef struct matrix {
    ur__loc at;
    ptrdiff_t row, col;                 /* strides in elements */
    ptrdiff_t rows, cols;
    int batch_rank;
    const ur_shape *s;
    ptrdiff_t stride[UR_MAX_RANK];
} matrix;

static matrix operand(const ur__work *w, uint32_t id, bool transposed)
{
    matrix x;
    x.at = ur__where(w, id);
    x.s = &ur__shape_at(w, id)->s;
    ur__strides(w, id, x.stride);
    const int r = x.s->rank - 2, row = transposed ? r + 1 : r, col = transposed ? r : r + 1;
    x.batch_rank = r;
    x.row = x.stride[row];
    x.col = x.stride[col];
    x.rows = x.s->dim[row];
    x.cols = x.s->dim[col];
    return x;
}

enum {
    FEW = 4,                            /* rows of a product for which nothing is worth a copy, */
    SOME = 64,                          /* and for which a copy is not worth keeping */
};

/* Rows of C; those of a batch apart. */
static size_t rows_of(const ur__work *w, uint32_t id)
{
    const ur__shape *s = ur__shape_at(w, id);
    const ptrdiff_t n = s->s.dim[s->s.rank - 1], m = s->s.dim[s->s.rank - 2];
    return n && ur__plain_product(w, id) ? s->count / (size_t)n : (size_t)m;
}

/* Bits of thick, for a right operand as it is and transposed: more than few rows read it; it is
 * worth panels that last, since those are more than SOME or it is read so several times. */
enum { ONCE = 1, LASTING = 4 };

void ur__find_thick(ur__work *w)
{
    for (uint32_t id = 0; id < w->n; id++) {
        if (w->t->node[id].op->kind != UR_CONTRACTION || w->role[id] == R_DEAD)
            continue;
        uint8_t *thick = &w->thick[ur__in(w, id)[1]];
        const int transposed = ur__attr(w, id)[1] != 0;
        const size_t rows = rows_of(w, id);
        if (rows > SOME || (rows > FEW && *thick & ONCE << transposed))
            *thick |= (uint8_t)(LASTING << transposed);
        if (rows > FEW)
            *thick |= (uint8_t)(ONCE << transposed);
    }
}

/* Whether the right operand is a parameter that the plan changes, so that its panels would serve
 * one run only, and is not worth them. */
static bool panels_pass(const ur__work *w, uint32_t product)
{
    const uint32_t right = ur__in(w, product)[1], root = ur__root(w, right);
    return w->t->node[root].op == &ur__op_param && w->p->deposits[ur__attr(w, root)[0]] &&
           !(w->thick[right] & LASTING << (ur__attr(w, product)[1] != 0));
}

/* Whether the right operand of a product of few rows is best read where it is: such a parameter, or
 * columns that would be packed every time. */
static bool in_place(const ur__work *w, uint32_t product, const matrix *a, const matrix *b)
{
    if (b->col != 1 && (b->row != 1 || a->col != 1))
        return false;
    if (b->batch_rank || w->t->node[ur__root(w, ur__in(w, product)[1])].op != &ur__op_param)
        return b->col != 1;
    return panels_pass(w, product);
}

static bool thin(const ur__work *w, const uint32_t *terms, size_t n_terms)
{
    for (size_t i = 0; i < n_terms; i++) {
        const uint32_t *in = ur__in(w, terms[i]);
        const int64_t *flag = ur__attr(w, terms[i]);
        matrix a = operand(w, in[0], flag[0]), b = operand(w, in[1], flag[1]);
        if (rows_of(w, terms[i]) > FEW || !in_place(w, terms[i], &a, &b))
            return false;
    }
    return true;
}

/* The panel of a parameter, or a part of it, as a right operand; UINT32_MAX when it is none or
 * packing is off. There is memory for a new one when the plan runs, for all of them at once. */
static uint32_t panel_of(ur__work *w, uint32_t id, const matrix *b)
{
    ur_graph *g = w->g;
    uint32_t root = ur__root(w, id);
    if (w->t->node[root].op != &ur__op_param || !ur__on(g, UR__BIT_pack) ||
        b->rows * b->cols == 0)
        return UINT32_MAX;
    const int64_t *a = ur__attr(w, root);
    for (size_t i = 0; i < g->n_panels; i++) {
        const ur__panel *p = &g->panel[i];
        if (p->slot == a[0] && p->from == b->at.offset && p->b_k == b->row && p->b_n == b->col &&
            p->k == b->rows && p->n == b->cols)
            return (uint32_t)i;
    }
    const ur__kernels *k = ur__kernels_get();
    const ur__kernel_set *set = g->precision == UR_F64 ? &k->f64 : &k->f32;
    size_t bytes = set->packed_size(b->rows, b->cols);
    if (!ur__reserve(&g->panel, &g->panel_cap, g->n_panels + 1, sizeof *g->panel)) {
        ur__out_of_memory(&g->owner);
        return UINT32_MAX;
    }
    g->panel[g->n_panels] = (ur__panel){ .slot = (uint32_t)a[0], .param = (uint32_t)a[1],
                                         .from = b->at.offset, .b_k = b->row, .b_n = b->col,
                                         .k = b->rows, .n = b->cols, .offset = g->panels_used };
    g->panels_used += (bytes + 63) / 64 * 64;
    return (uint32_t)g->n_panels++;
}

/* Every plan renews the panels it uses, once, before the first use. */
static bool pack_once(ur__work *w, uint32_t panel, uint32_t node)
{
    for (size_t i = 0; i < w->p->n_packed; i++)
        if (w->p->packed[i] == panel)
            return true;
    if (!ur__reserve(&w->p->packed, &w->p->packed_cap, w->p->n_packed + 1, sizeof panel))
        return ur__out_of_memory(&w->g->owner);
    w->p->packed[w->p->n_packed++] = panel;
    if (!ur__add_step(w, UR__PACK, node, 0))
        return false;
    w->p->step[w->p->n_steps - 1].panel = panel;
    w->p->merged[UR__BIT_pack]++;
    return true;
}

static bool fill_term(ur__work *w, uint32_t product, bool thin, ur__term *t)
{
    const uint32_t *in = ur__in(w, product);
    const int64_t *flag = ur__attr(w, product);
    matrix a = operand(w, in[0], flag[0]), b = operand(w, in[1], flag[1]);
    *t = (ur__term){ .a = a.at, .b = b.at, .a_m = a.row, .a_k = a.col, .b_k = b.row,
                     .b_n = b.col, .k = b.rows };
    if (thin || b.batch_rank || (rows_of(w, product) > FEW && panels_pass(w, product)))
        return true;
    uint32_t panel = panel_of(w, in[1], &b);
    if (panel == UINT32_MAX)
        return !w->g->owner.failed;
    t->b = (ur__loc){ UR__PANELS, w->g->panel[panel].offset };
    t->b_k = t->b_n = 0;
    return pack_once(w, panel, in[1]);
}

/* Strides of an operand over the result's leading axes; 0 along axes it lacks or repeats. */
static void batch_steps(const matrix *x, int rank, ptrdiff_t *step)
{
    for (int i = 0; i < rank; i++) {
        int k = x->batch_rank - rank + i;
        step[i] = k < 0 || x->s->dim[k] == 1 ? 0 : x->stride[k];
    }
}

/* The loops over the leading axes of the result. */
static const ur__batch *batch_of(ur__work *w, uint32_t id)
{
    const uint32_t *in = ur__in(w, id);
    const int64_t *flag = ur__attr(w, id);
    const ur_shape *out = &ur__shape_at(w, id)->s;
    matrix a = operand(w, in[0], flag[0]), b = operand(w, in[1], flag[1]);
    ur__batch *x = ur__bump_alloc(&w->p->memory, sizeof *x);
    if (!x) {
        ur__out_of_memory(&w->g->owner);
        return NULL;
    }
    x->rank = out->rank - 2;
    batch_steps(&a, x->rank, x->a_step);
    batch_steps(&b, x->rank, x->b_step);
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

static bool append_product(ur__work *w, uint32_t node, const ur__contraction *c)
{
    ur__contraction *body = ur__add_step(w, UR__CONTRACT, node, sizeof *body);
    if (!body)
        return false;
    *body = *c;
    join_gang(w, node, body);
    return true;
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
        ur__contraction part = *c;
        if (!(part.term = ur__bump_alloc(&w->p->memory, sizeof *part.term)))
            return ur__out_of_memory(&w->g->owner);
        *part.term = *c->term;
        part.term->k = end - row;
        part.term->a.offset += (uint64_t)(row * c->term[0].a_k * size);
        part.term->b.offset += (uint64_t)(row * c->term[0].b_k * size);
        part.write = end == k ? c->write : UR__ADD;
        if (!append_product(w, node, &part))
            return false;
    }
    return true;
}

bool ur__emit_contraction(ur__work *w, uint32_t node, const uint32_t *terms, size_t n_terms,
                          int write, uint32_t slot)
{
    uint32_t first = terms[0];
    const ur__shape *out = ur__shape_at(w, first);
    int rank = out->s.rank;
    ur__contraction c = { .n = out->s.dim[rank - 1], .m = out->s.dim[rank - 2],
                          .n_terms = n_terms, .type = w->t->node[node].type, .write = write,
                          .slot = slot };
    c.ldc = c.n;
    c.c = ur__where(w, node);
    if (out->count == 0)
        return true;
    if (ur__plain_product(w, first)) {
        c.m = (ptrdiff_t)(out->count / (size_t)c.n);
    } else {
        if (!(c.batch = batch_of(w, first)))
            return false;
    }
    c.term = ur__bump_alloc(&w->p->memory, n_terms * sizeof *c.term);
    if (!c.term)
        return ur__out_of_memory(&w->g->owner);
    c.thin = thin(w, terms, n_terms);
    for (size_t i = 0; i < n_terms; i++) {
        if (!fill_term(w, terms[i], c.thin, &c.term[i]))
            return false;
        w->p->flops += 2.0 * (double)out->count * (double)c.term[i].k;
    }
    const uint32_t *in = ur__in(w, first);
    if (n_terms == 1 && !c.batch && c.term[0].k > 2 * UR__GEMM_BLOCK && ur__attr(w, first)[0] &&
        !ur__attr(w, first)[1] && known_from_the_end(w, in[1]))
        return append_from_the_end(w, node, &c);
    return append_product(w, node, &c);
}
