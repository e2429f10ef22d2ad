/* Long short-term memory whose gates look at the memory, each unit at its own.
 *
 *     i = sigmoid([h,x] Wi + pi*c + bi)      f = sigmoid([h,x] Wf + pf*c + bf)
 *     g = tanh([h,x] Wg + bg)                c' = f*c + i*g
 *     o = sigmoid([h,x] Wo + po*c' + bo)     h' = o * tanh(c')
 *
 * F. A. Gers and J. Schmidhuber, "Recurrent nets that time and count", IJCNN 2000.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct lstm_peephole {
    ur_cell cell;
    ur_node Wi, pi, bi, Wf, pf, bf, Wg, bg, Wo, po, bo;
} lstm_peephole;

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const lstm_peephole *p = (const lstm_peephole *)cell;
    ur_node h = s[0], c = s[1], hx = ur_concat(h, x);
    ur_node i = ur_sigmoid(ur_add(ur_affine(hx, p->Wi, p->bi), ur_mul(p->pi, c)));
    ur_node f = ur_sigmoid(ur_add(ur_affine(hx, p->Wf, p->bf), ur_mul(p->pf, c)));
    ur_node g = ur_tanh(ur_affine(hx, p->Wg, p->bg));
    s[1] = ur_add(ur_mul(f, c), ur_mul(i, g));
    ur_node o = ur_sigmoid(ur_add(ur_affine(hx, p->Wo, p->bo), ur_mul(p->po, s[1])));
    return s[0] = ur_mul(o, ur_tanh(s[1]));
}

ur_cell *ur_lstm_peephole_with(ur_params *ps, const char *name, int I, int H,
                               const ur_cell_options *options)
{
    const ur_cell_options o = options ? *options : ur_cell_defaults(H);
    lstm_peephole *p = ur_cell_new(ps, name, sizeof *p, step, I, H, 2, (int[]){ H, H });
    if (!ur_cell_usable(&p->cell))
        return &p->cell;
    p->Wi = ur_param(ps, ur_namef(ps, "%s.Wi", name), o.W, H + I, H);
    p->Wf = ur_param(ps, ur_namef(ps, "%s.Wf", name), o.W, H + I, H);
    p->Wg = ur_param(ps, ur_namef(ps, "%s.Wg", name), o.W, H + I, H);
    p->Wo = ur_param(ps, ur_namef(ps, "%s.Wo", name), o.W, H + I, H);
    p->pi = ur_param(ps, ur_namef(ps, "%s.pi", name), o.p, H);
    p->pf = ur_param(ps, ur_namef(ps, "%s.pf", name), o.p, H);
    p->po = ur_param(ps, ur_namef(ps, "%s.po", name), o.p, H);
    p->bi = ur_param(ps, ur_namef(ps, "%s.bi", name), o.b, H);
    p->bf = ur_param(ps, ur_namef(ps, "%s.bf", name), o.forget, H);
    p->bg = ur_param(ps, ur_namef(ps, "%s.bg", name), o.b, H);
    p->bo = ur_param(ps, ur_namef(ps, "%s.bo", name), o.b, H);
    return &p->cell;
}

ur_cell *ur_lstm_peephole(ur_params *ps, const char *name, int I, int H)
{
    return ur_lstm_peephole_with(ps, name, I, H, NULL);
}
