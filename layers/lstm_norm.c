/* Long short-term memory with layer normalisation of each gate's sums and of the memory it shows.
 *
 *     i = sigmoid(N([h,x] Wi; ai, bi))      f = sigmoid(N([h,x] Wf; af, bf))
 *     g = tanh(N([h,x] Wg; ag, bg))         o = sigmoid(N([h,x] Wo; ao, bo))
 *     c' = f*c + i*g                        h' = o * tanh(N(c'; ac, bc))
 *
 *     N(z; a, b) = (z - m) / sqrt(v + eps) * a + b,   m, v: mean and variance of z over its units
 *
 * J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", arXiv 1607.06450 (2016). Their
 * LSTM normalises the shares of h and of x apart, each over the units of all four gates together;
 * here, as is usual since, each gate's sums are normalised by themselves. What is carried, c', is
 * not.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct lstm_norm {
    ur_cell cell;
    ur_node Wi, Wf, Wg, Wo;
    ur_layer_norm Ni, Nf, Ng, No, Nc;
} lstm_norm;

static ur_node step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const lstm_norm *p = (const lstm_norm *)cell;
    ur_node h = s[0], c = s[1], hx = ur_concat(h, x);
    ur_node i = ur_sigmoid(ur_normalise(p->Ni, ur_matmul(hx, p->Wi)));
    ur_node f = ur_sigmoid(ur_normalise(p->Nf, ur_matmul(hx, p->Wf)));
    ur_node g = ur_tanh(ur_normalise(p->Ng, ur_matmul(hx, p->Wg)));
    ur_node o = ur_sigmoid(ur_normalise(p->No, ur_matmul(hx, p->Wo)));
    s[1] = ur_add(ur_mul(f, c), ur_mul(i, g));
    return s[0] = ur_mul(o, ur_tanh(ur_normalise(p->Nc, s[1])));
}

/* With the names of this file's equations. */
static ur_layer_norm norm(ur_params *ps, const char *name, char gate, int H, ur_init gain,
                          ur_init bias)
{
    return (ur_layer_norm){ .gain = ur_param(ps, ur_namef(ps, "%s.a%c", name, gate), gain, H),
                            .bias = ur_param(ps, ur_namef(ps, "%s.b%c", name, gate), bias, H),
                            .eps = 1e-5 };
}

ur_cell *ur_lstm_norm_with(ur_params *ps, const char *name, int I, int H,
                           const ur_cell_options *options)
{
    const ur_cell_options o = options ? *options : ur_cell_defaults(H);
    lstm_norm *p = ur_cell_new(ps, name, sizeof *p, step, I, H, 2, (int[]){ H, H });
    if (!ur_cell_usable(&p->cell))
        return &p->cell;
    p->Wi = ur_param(ps, ur_namef(ps, "%s.Wi", name), o.W, H + I, H);
    p->Wf = ur_param(ps, ur_namef(ps, "%s.Wf", name), o.W, H + I, H);
    p->Wg = ur_param(ps, ur_namef(ps, "%s.Wg", name), o.W, H + I, H);
    p->Wo = ur_param(ps, ur_namef(ps, "%s.Wo", name), o.W, H + I, H);
    p->Ni = norm(ps, name, 'i', H, o.gain, o.b);
    p->Nf = norm(ps, name, 'f', H, o.gain, o.forget);
    p->Ng = norm(ps, name, 'g', H, o.gain, o.b);
    p->No = norm(ps, name, 'o', H, o.gain, o.b);
    p->Nc = norm(ps, name, 'c', H, o.gain, o.b);
    return &p->cell;
}

ur_cell *ur_lstm_norm(ur_params *ps, const char *name, int I, int H)
{
    return ur_lstm_norm_with(ps, name, I, H, NULL);
}
