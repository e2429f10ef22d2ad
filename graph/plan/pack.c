/* Pack once: a parameter on the right of products is packed into panels that are kept until its
 * values change; unless that is in every run, and too few rows would profit.
 *
 * Whether the panels hold the present values is seen by each run (run/panels.c), by a step before
 * the first use; here it is decided what has panels, and that step is made. */
#include "graph/plan/emit.h"

enum { SOME = 64 };                     /* rows for which a copy is not worth keeping */

size_t ur__product_rows(const ur__work *w, uint32_t id)
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
    for (uint32_t k = 0; k < w->n_products; k++) {
        const uint32_t id = w->product[k];
        uint8_t *thick = &w->thick[ur__in(w, id)[1]];
        const int transposed = ur__attr(w, id)[1] != 0;
        const size_t rows = ur__product_rows(w, id);
        if (rows > SOME || (rows > UR__FEW_ROWS && *thick & ONCE << transposed))
            *thick |= (uint8_t)(LASTING << transposed);
        if (rows > UR__FEW_ROWS)
            *thick |= (uint8_t)(ONCE << transposed);
    }
}

bool ur__panels_pass(const ur__work *w, uint32_t product)
{
    const uint32_t right = ur__in(w, product)[1], root = ur__root(w, right);
    return w->t->node[root].op == &ur__op_param && w->p->deposits[ur__attr(w, root)[0]] &&
           !(w->thick[right] & LASTING << (ur__attr(w, product)[1] != 0));
}

/* The panel of the right operand of t, with n columns, a part of a parameter; UINT32_MAX without
 * memory for what is said of it. What it holds gets memory when the plan runs, all at once. */
static uint32_t panel_of(ur_graph *g, const int64_t *param, const ur__term *t, ptrdiff_t n)
{
    for (size_t i = 0; i < g->n_panels; i++) {
        const ur__panel *p = &g->panel[i];
        if (p->slot == param[0] && p->from == t->b.offset && p->b_k == t->b_k &&
            p->b_n == t->b_n && p->k == t->k && p->n == n)
            return (uint32_t)i;
    }
    const ur__kernels *k = ur__kernels_get();
    const ur__kernel_set *set = g->precision == UR_F64 ? &k->f64 : &k->f32;
    size_t bytes = set->packed_size(t->k, n);
    if (!ur__reserve(&g->panel, &g->panel_cap, g->n_panels + 1, sizeof *g->panel)) {
        ur__out_of_memory(&g->owner);
        return UINT32_MAX;
    }
    g->panel[g->n_panels] = (ur__panel){ .slot = (uint32_t)param[0], .param = (uint32_t)param[1],
                                         .from = t->b.offset, .b_k = t->b_k, .b_n = t->b_n,
                                         .k = t->k, .n = n, .offset = g->panels_used };
    g->panels_used += (bytes + 63) / 64 * 64;
    return (uint32_t)g->n_panels++;
}

/* Every plan renews the panels it uses, once, before the first use. */
static bool renew_once(ur__work *w, uint32_t panel, uint32_t node)
{
    ur__panel *p = &w->g->panel[panel];
    if (p->planned == w->g->plannings)
        return true;
    ur__step *s = ur__add_step(w, UR__PACK, node, NULL);
    if (!s)
        return false;
    s->panel = panel;
    p->planned = w->g->plannings;
    w->p->merged[UR__BIT_pack]++;
    return true;
}

/* Whether the right operand of t is a parameter, or a part of it, to be packed. */
static bool packs(const ur__work *w, uint32_t id, const ur__term *t, ptrdiff_t n)
{
    return w->t->node[ur__root(w, id)].op == &ur__op_param && ur__on(w->g, UR__BIT_pack) &&
           ur__shape_at(w, id)->s.rank == 2 && t->k * n > 0;
}

bool ur__pack(ur__work *w, uint32_t product, ur__term *t, ptrdiff_t n)
{
    const uint32_t right = ur__in(w, product)[1];
    const bool transposed = ur__attr(w, product)[1];
    if (!packs(w, right, t, n) ||
        (ur__product_rows(w, product) > UR__FEW_ROWS && ur__panels_pass(w, product)))
        return true;
    const uint32_t panel = panel_of(w->g, ur__attr(w, ur__root(w, right)), t, n);
    if (panel == UINT32_MAX || !renew_once(w, panel, right))
        return false;
    w->number[right] = ur__panel_stamp(transposed) | panel;
    return ur__known_panel(w, right, transposed, t);
}
