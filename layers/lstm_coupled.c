/* Long short-term memory that takes in as much as it forgets: coupled input and forget gates.
 *
 *     f = sigmoid([h,x] Wf + bf)      i = 1 - f
 *     g = tanh([h,x] Wg + bg)         o = sigmoid([h,x] Wo + bo)
 *     c' = f*c + i*g                  h' = o * tanh(c')
 *
 * K. Greff, R. K. Srivastava, J. Koutnik, B. R. Steunebrink and J. Schmidhuber, "LSTM: a search
 * space odyssey", IEEE Transactions on Neural Networks and Learning Systems 28 (2017): CIFG.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct lstm_coupled {
    ur_cell cell;
    ur_node Wf, bf, Wg, bg, Wo, bo;
} lstm_coupled;

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const lstm_coupled *p = (const lstm_coupled *)cell;
    ur_node h = s[0], c = s[1], hx = ur_concat(h, x);
    ur_node f = ur_sigmoid(ur_affine(hx, p->Wf, p->bf)), i = ur_one_minus(f);
    ur_node g = ur_tanh(ur_affine(hx, p->Wg, p->bg));
    ur_node o = ur_sigmoid(ur_affine(hx, p->Wo, p->bo));
    s[1] = ur_add(ur_mul(f, c), ur_mul(i, g));
    return s[0] = ur_mul(o, ur_tanh(s[1]));
}

ur_cell *ur_lstm_coupled_with(ur_params *ps, const char *name, int I, int H,
                              const ur_cell_options *options)
{
    const ur_cell_options o = options ? *options : ur_cell_defaults(H);
    lstm_coupled *p = ur_cell_new(ps, name, sizeof *p, step, I, H, 2, (int[]){ H, H });
    if (!ur_cell_usable(&p->cell))
        return &p->cell;
    p->Wf = ur_param(ps, ur_namef(ps, "%s.Wf", name), o.W, H + I, H);
    p->Wg = ur_param(ps, ur_namef(ps, "%s.Wg", name), o.W, H + I, H);
    p->Wo = ur_param(ps, ur_namef(ps, "%s.Wo", name), o.W, H + I, H);
    p->bf = ur_param(ps, ur_namef(ps, "%s.bf", name), o.forget, H);
    p->bg = ur_param(ps, ur_namef(ps, "%s.bg", name), o.b, H);
    p->bo = ur_param(ps, ur_namef(ps, "%s.bo", name), o.b, H);
    return &p->cell;
}

ur_cell *ur_lstm_coupled(ur_params *ps, const char *name, int I, int H)
{
    return ur_lstm_coupled_with(ps, name, I, H, NULL);
}
