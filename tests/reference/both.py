#!/usr/bin/env python3
"""Writes tests/reference/both.h: PyTorch's recurrent modules in both directions over packed rows of
different lengths, what they compute, and the gradients of that, in double.

    pip install torch==2.13.0
    python3 tests/reference/both.py >tests/reference/both.h

I = 3 inputs, H = 2 units a direction, T = 4 steps, B = 3 rows of 2, 4 and 1 steps, start h (and c)
given, as [direction, B, H]; the loss is sum((1 + 0.1 k) y_k) over the elements of the padded output
in order, plus sum(h_n^2) (and sum(c_n^2)). Index 0 is forwards, 1 backwards.
"""
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

I, H, T, B = 3, 2, 4, 3
LENGTHS = [2, 4, 1]
MODULES = {
    'lstm': lambda: torch.nn.LSTM(I, H, bidirectional=True),
    'gru': lambda: torch.nn.GRU(I, H, bidirectional=True),
}


def row(name, t):
    text, line = '', '     '
    for v in t.detach().flatten().tolist():
        word = f' {v!r},'
        if len(line + word) > 98:
            text, line = text + line + '\n', '     '
        line += word
    return f'      {name} = {{\n{text}{line} }},\n'


def module(name, make):
    torch.manual_seed(len(name))
    m = make().double()
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    h = torch.randn(2, B, H, dtype=torch.float64, requires_grad=True)
    c = torch.randn(2, B, H, dtype=torch.float64, requires_grad=True)
    lstm = name == 'lstm'
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False)
    packed_y, last = m(packed, (h, c) if lstm else h)
    y, _ = pad_packed_sequence(packed_y)
    loss = (y.flatten() * (1 + 0.1 * torch.arange(y.numel(), dtype=torch.float64))).sum()
    loss = loss + sum((s ** 2).sum() for s in (last if lstm else [last]))
    loss.backward()
    out = f'    {{ "{name}", {m.weight_ih_l0.shape[0] // H},\n'
    for p in ['weight_ih', 'weight_hh', 'bias_ih', 'bias_hh']:
        for k, end in enumerate(['_l0', '_l0_reverse']):
            out += row(f'.{p}[{k}]', getattr(m, p + end))
    out += row('.x', x) + row('.h', h) + row('.d_x', x.grad) + row('.d_h', h.grad)
    out += row('.y', y) + row('.last_h', last[0] if lstm else last)
    if lstm:
        out += row('.c', c) + row('.d_c', c.grad) + row('.last_c', last[1])
    return out + '    },'


print(f'''/* Made by tests/reference/both.py with PyTorch {torch.__version__.split("+")[0]}:
 *     python3 tests/reference/both.py >tests/reference/both.h
 */
#ifndef TESTS_REFERENCE_BOTH_H
#define TESTS_REFERENCE_BOTH_H

enum {{ BOTH_B = {B} }};
static const int both_lengths[BOTH_B] = {{ {", ".join(map(str, LENGTHS))} }};

static const struct torch_both {{
    const char *name;
    int gates;
    double weight_ih[2][4 * H * I], weight_hh[2][4 * H * H], bias_ih[2][4 * H], bias_hh[2][4 * H];
    double x[T * BOTH_B * I], h[2 * BOTH_B * H], c[2 * BOTH_B * H];
    double d_x[T * BOTH_B * I], d_h[2 * BOTH_B * H], d_c[2 * BOTH_B * H];
    double y[T * BOTH_B * 2 * H], last_h[2 * BOTH_B * H], last_c[2 * BOTH_B * H];
}} torch_both[] = {{''')
for name, make in MODULES.items():
    print(module(name, make))
print('''};

#endif''')
