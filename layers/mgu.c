/* Minimal gated unit: one gate that both resets and updates.
 *
 *     f = sigmoid([h,x] Wf + bf)      n = tanh([f*h, x] Wn + bn)
 *     h' = (1-f)*h + f*n
 *
 * G.-B. Zhou, J. Wu, C.-L. Zhang and Z.-H. Zhou, "Minimal gated unit for recurrent neural
 * networks", International Journal of Automation and Computing 13 (2016).
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct mgu {
    ur_cell cell;
    ur_node Wf, bf, Wn, bn;
} mgu;

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const mgu *p = (const mgu *)cell;
    ur_node h = s[0];
    ur_node f = ur_sigmoid(ur_affine(ur_concat(h, x), p->Wf, p->bf));
    ur_node n = ur_tanh(ur_affine(ur_concat(ur_mul(f, h), x), p->Wn, p->bn));
    return s[0] = ur_add(ur_mul(ur_one_minus(f), h), ur_mul(f, n));
}

ur_cell *ur_mgu_with(ur_params *ps, const char *name, int I, int H, const ur_cell_options *options)
{
    const ur_cell_options o = options ? *options : ur_cell_defaults(H);
    mgu *p = ur_cell_new(ps, name, sizeof *p, step, I, H, 1, (int[]){ H });
    if (!ur_cell_usable(&p->cell))
        return &p->cell;
    p->Wf = ur_param(ps, ur_namef(ps, "%s.Wf", name), o.W, H + I, H);
    p->Wn = ur_param(ps, ur_namef(ps, "%s.Wn", name), o.W, H + I, H);
    p->bf = ur_param(ps, ur_namef(ps, "%s.bf", name), o.b, H);
    p->bn = ur_param(ps, ur_namef(ps, "%s.bn", name), o.b, H);
    return &p->cell;
}

ur_cell *ur_mgu(ur_params *ps, const char *name, int I, int H)
{
    return ur_mgu_with(ps, name, I, H, NULL);
}
