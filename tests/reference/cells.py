#!/usr/bin/env python3
"""Writes tests/reference/cells.h: small recurrent modules of PyTorch's, what they compute, and the
gradients of that, in double.

    pip install torch==2.13.0
    python3 tests/reference/cells.py >tests/reference/cells.h

I = 3 inputs, H = 2 units, T = 4 steps, B = 2 rows, start h (and c) given; the loss is
sum((1 + 0.1 k) y_k) over the elements of the output in order, plus sum(h_T^2) (and sum(c_T^2)).
And nn.LayerNorm over N = 5 features of M = 3 rows, with the first of these losses.
"""
import torch

I, H, T, B = 3, 2, 4, 2
N, M = 5, 3
MODULES = {
    'lstm': lambda: torch.nn.LSTM(I, H),
    'lstm without biases': lambda: torch.nn.LSTM(I, H, bias=False),
    'gru': lambda: torch.nn.GRU(I, H),
    'gru without biases': lambda: torch.nn.GRU(I, H, bias=False),
    'rnn tanh': lambda: torch.nn.RNN(I, H),
    'rnn relu': lambda: torch.nn.RNN(I, H, nonlinearity='relu'),
}


def row(name, t):
    text, line = '', '     '
    for v in t.detach().flatten().tolist():
        word = f' {v!r},'
        if len(line + word) > 98:
            text, line = text + line + '\n', '     '
        line += word
    return f'      .{name} = {{\n{text}{line} }},\n'


def module(name, make):
    torch.manual_seed(len(name))
    m = make().double()
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    h = torch.randn(1, B, H, dtype=torch.float64, requires_grad=True)
    c = torch.randn(1, B, H, dtype=torch.float64, requires_grad=True)
    lstm = name.startswith('lstm')
    y, last = m(x, (h, c) if lstm else h)
    loss = (y.flatten() * (1 + 0.1 * torch.arange(y.numel(), dtype=torch.float64))).sum()
    loss = loss + sum((s ** 2).sum() for s in (last if lstm else [last]))
    loss.backward()
    out = f'    {{ "{name}", {m.weight_ih_l0.shape[0] // H}, {int(m.bias)},\n'
    for p in ['weight_ih', 'weight_hh'] + ['bias_ih', 'bias_hh'] * m.bias:
        w = getattr(m, p + '_l0')
        out += row(p, w) + row('d_' + p, w.grad)
    out += row('x', x) + row('h', h) + row('d_x', x.grad) + row('d_h', h.grad) + row('y', y)
    if lstm:
        out += row('c', c) + row('d_c', c.grad) + row('last_c', last[1])
    return out + '    },'


def layer_norm():
    torch.manual_seed(1)
    m = torch.nn.LayerNorm(N).double()
    torch.nn.init.normal_(m.weight)
    torch.nn.init.normal_(m.bias)
    x = (1 + 3 * torch.randn(M, N, dtype=torch.float64)).requires_grad_()
    y = m(x)
    (y.flatten() * (1 + 0.1 * torch.arange(y.numel(), dtype=torch.float64))).sum().backward()
    out = row('gain', m.weight) + row('d_gain', m.weight.grad)
    out += row('bias', m.bias) + row('d_bias', m.bias.grad)
    return out + row('x', x) + row('d_x', x.grad) + row('y', y)


print(f'''/* Made by tests/reference/cells.py with PyTorch {torch.__version__.split("+")[0]}:
 *     python3 tests/reference/cells.py >tests/reference/cells.h
 */
#ifndef TESTS_REFERENCE_CELLS_H
#define TESTS_REFERENCE_CELLS_H

enum {{ I = {I}, H = {H}, T = {T}, B = {B}, N = {N}, M = {M} }};

static const struct torch_cell {{
    const char *name;
    int gates, biased;
    double weight_ih[4 * H * I], weight_hh[4 * H * H], bias_ih[4 * H], bias_hh[4 * H];
    double d_weight_ih[4 * H * I], d_weight_hh[4 * H * H], d_bias_ih[4 * H], d_bias_hh[4 * H];
    double x[T * B * I], h[B * H], c[B * H], d_x[T * B * I], d_h[B * H], d_c[B * H];
    double y[T * B * H], last_c[B * H];
}} torch_cells[] = {{''')
for name, make in MODULES.items():
    print(module(name, make))
print(f'''}};

static const struct torch_layer_norm {{
    double gain[N], d_gain[N], bias[N], d_bias[N], x[M * N], d_x[M * N], y[M * N];
}} torch_layer_norm = {{
{layer_norm()}}};

#endif''')
