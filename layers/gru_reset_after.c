/* Gated recurrent unit, the reset gate applied to the product: the form of PyTorch and cuDNN.
 *
 *     r = sigmoid([h,x] Wr + br)      z = sigmoid([h,x] Wz + bz)
 *     n = tanh(x Un + bn + r*(h Wn + dn))
 *     h' = (1-z)*n + z*h
 *
 * K. Cho et al., arXiv 1406.1078 version 1 (2014), has the reset gate there. It differs from gru in
 * two ways: r multiplies h Wn + dn in place of h, and z is the share of the old state.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct gru_reset_after {
    ur_cell cell;
    ur_node Wr, br, Wz, bz, Un, bn, Wn, dn;
} gru_reset_after;

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const gru_reset_after *p = (const gru_reset_after *)cell;
    ur_node h = s[0], hx = ur_concat(h, x);
    ur_node r = ur_sigmoid(ur_affine(hx, p->Wr, p->br));
    ur_node z = ur_sigmoid(ur_affine(hx, p->Wz, p->bz));
    ur_node n = ur_tanh(ur_add(ur_affine(x, p->Un, p->bn), ur_mul(r, ur_affine(h, p->Wn, p->dn))));
    return s[0] = ur_add(ur_mul(ur_one_minus(z), n), ur_mul(z, h));
}

ur_cell *ur_gru_reset_after_with(ur_params *ps, const char *name, int I, int H,
                                 const ur_cell_options *options)
{
    const ur_cell_options o = options ? *options : ur_cell_defaults(H);
    gru_reset_after *p = ur_cell_new(ps, name, sizeof *p, step, I, H, 1, (int[]){ H });
    if (!ur_cell_usable(&p->cell))
        return &p->cell;
    p->Wr = ur_param(ps, ur_namef(ps, "%s.Wr", name), o.W, H + I, H);
    p->Wz = ur_param(ps, ur_namef(ps, "%s.Wz", name), o.W, H + I, H);
    p->Un = ur_param(ps, ur_namef(ps, "%s.Un", name), o.U, I, H);
    p->Wn = ur_param(ps, ur_namef(ps, "%s.Wn", name), o.W, H, H);
    p->br = ur_param(ps, ur_namef(ps, "%s.br", name), o.b, H);
    p->bz = ur_param(ps, ur_namef(ps, "%s.bz", name), o.b, H);
    p->bn = ur_param(ps, ur_namef(ps, "%s.bn", name), o.d, H);
    p->dn = ur_param(ps, ur_namef(ps, "%s.dn", name), o.d, H);
    return &p->cell;
}

ur_cell *ur_gru_reset_after(ur_params *ps, const char *name, int I, int H)
{
    return ur_gru_reset_after_with(ps, name, I, H, NULL);
}
