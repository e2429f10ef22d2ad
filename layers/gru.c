/* Gated recurrent unit, the reset gate applied to the state before the product.
 *
 *     r = sigmoid([h,x] Wr + br)      z = sigmoid([h,x] Wz + bz)
 *     n = tanh([r*h, x] Wn + bn)      h' = (1-z)*h + z*n
 *
 * K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
 * translation", EMNLP 2014. There z is the share of the old state; here, as in lectures and in
 * J. Chung et al., arXiv 1412.3555 (2014), that of the new one.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct gru {
    ur_cell cell;
    ur_node Wr, br, Wz, bz, Wn, bn;
} gru;

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const gru *p = (const gru *)cell;
    ur_node h = s[0], hx = ur_concat(h, x);
    ur_node r = ur_sigmoid(ur_affine(hx, p->Wr, p->br));
    ur_node z = ur_sigmoid(ur_affine(hx, p->Wz, p->bz));
    ur_node n = ur_tanh(ur_affine(ur_concat(ur_mul(r, h), x), p->Wn, p->bn));
    return s[0] = ur_add(ur_mul(ur_one_minus(z), h), ur_mul(z, n));
}

ur_cell *ur_gru_with(ur_params *ps, const char *name, int I, int H, const ur_cell_options *options)
{
    const ur_cell_options o = options ? *options : ur_cell_defaults(H);
    gru *p = ur_cell_new(ps, name, sizeof *p, step, I, H, 1, (int[]){ H });
    if (!ur_cell_usable(&p->cell))
        return &p->cell;
    p->Wr = ur_param(ps, ur_namef(ps, "%s.Wr", name), o.W, H + I, H);
    p->Wz = ur_param(ps, ur_namef(ps, "%s.Wz", name), o.W, H + I, H);
    p->Wn = ur_param(ps, ur_namef(ps, "%s.Wn", name), o.W, H + I, H);
    p->br = ur_param(ps, ur_namef(ps, "%s.br", name), o.b, H);
    p->bz = ur_param(ps, ur_namef(ps, "%s.bz", name), o.b, H);
    p->bn = ur_param(ps, ur_namef(ps, "%s.bn", name), o.b, H);
    return &p->cell;
}

ur_cell *ur_gru(ur_params *ps, const char *name, int I, int H)
{
    return ur_gru_with(ps, name, I, H, NULL);
}
