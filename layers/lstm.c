/* Long short-term memory with a forget gate.
 *
 *     i = sigmoid([h,x] Wi + bi)      f = sigmoid([h,x] Wf + bf)
 *     g = tanh([h,x] Wg + bg)         o = sigmoid([h,x] Wo + bo)
 *     c' = f*c + i*g                  h' = o * tanh(c')
 *
 * S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997);
 * F. A. Gers, J. Schmidhuber and F. Cummins, "Learning to forget", Neural Computation 12 (2000).
 *
 * The four gates stay apart, word for word; that they share a left operand is for the planner to
 * see.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct lstm {
    ur_cell cell;
    ur_node Wi, bi, Wf, bf, Wg, bg, Wo, bo;
} lstm;

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const lstm *p = (const lstm *)cell;
    ur_node h = s[0], c = s[1], hx = ur_concat(h, x);
    ur_node i = ur_sigmoid(ur_affine(hx, p->Wi, p->bi));
    ur_node f = ur_sigmoid(ur_affine(hx, p->Wf, p->bf));
    ur_node g = ur_tanh(ur_affine(hx, p->Wg, p->bg));
    ur_node o = ur_sigmoid(ur_affine(hx, p->Wo, p->bo));
    s[1] = ur_add(ur_mul(f, c), ur_mul(i, g));
    return s[0] = ur_mul(o, ur_tanh(s[1]));
}

ur_cell *ur_lstm_with(ur_params *ps, const char *name, int I, int H,
                      const ur_cell_options *options)
{
    const ur_cell_options o = options ? *options : ur_cell_defaults(H);
    lstm *p = ur_cell_new(ps, name, sizeof *p, step, I, H, 2, (int[]){ H, H });
    if (!ur_cell_usable(&p->cell))
        return &p->cell;
    p->Wi = ur_param(ps, ur_namef(ps, "%s.Wi", name), o.W, H + I, H);
    p->Wf = ur_param(ps, ur_namef(ps, "%s.Wf", name), o.W, H + I, H);
    p->Wg = ur_param(ps, ur_namef(ps, "%s.Wg", name), o.W, H + I, H);
    p->Wo = ur_param(ps, ur_namef(ps, "%s.Wo", name), o.W, H + I, H);
    p->bi = ur_param(ps, ur_namef(ps, "%s.bi", name), o.b, H);
    p->bf = ur_param(ps, ur_namef(ps, "%s.bf", name), o.forget, H);
    p->bg = ur_param(ps, ur_namef(ps, "%s.bg", name), o.b, H);
    p->bo = ur_param(ps, ur_namef(ps, "%s.bo", name), o.b, H);
    return &p->cell;
}

ur_cell *ur_lstm(ur_params *ps, const char *name, int I, int H)
{
    return ur_lstm_with(ps, name, I, H, NULL);
}
