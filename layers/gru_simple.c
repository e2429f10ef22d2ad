/* Gated recurrent unit with the update gate alone, as lectures introduce it.
 *
 *     z = sigmoid([h,x] Wz + bz)      n = tanh([h,x] Wn + bn)
 *     h' = (1-z)*h + z*n
 *
 * The lectures write C for h, Gamma_u for z and C~ for n; the relevance gate Gamma_r that they add
 * then makes it a gru. It is the simplified GRU of A. Ng, "Sequence models" (2018), after K. Cho et
 * al., EMNLP 2014.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct gru_simple {
    ur_cell cell;
    ur_node Wz, bz, Wn, bn;
} gru_simple;

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const gru_simple *p = (const gru_simple *)cell;
    ur_node h = s[0], hx = ur_concat(h, x);
    ur_node z = ur_sigmoid(ur_affine(hx, p->Wz, p->bz));
    ur_node n = ur_tanh(ur_affine(hx, p->Wn, p->bn));
    return s[0] = ur_add(ur_mul(ur_one_minus(z), h), ur_mul(z, n));
}

ur_cell *ur_gru_simple_with(ur_params *ps, const char *name, int I, int H,
                            const ur_cell_options *options)
{
    const ur_cell_options o = options ? *options : ur_cell_defaults(H);
    gru_simple *p = ur_cell_new(ps, name, sizeof *p, step, I, H, 1, (int[]){ H });
    if (!ur_cell_usable(&p->cell))
        return &p->cell;
    p->Wz = ur_param(ps, ur_namef(ps, "%s.Wz", name), o.W, H + I, H);
    p->Wn = ur_param(ps, ur_namef(ps, "%s.Wn", name), o.W, H + I, H);
    p->bz = ur_param(ps, ur_namef(ps, "%s.bz", name), o.b, H);
    p->bn = ur_param(ps, ur_namef(ps, "%s.bn", name), o.b, H);
    return &p->cell;
}

ur_cell *ur_gru_simple(ur_params *ps, const char *name, int I, int H)
{
    return ur_gru_simple_with(ps, name, I, H, NULL);
}
