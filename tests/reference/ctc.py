#!/usr/bin/env python3
"""Writes tests/reference/ctc.h: losses and gradients of PyTorch's ctc_loss, in double.

    pip install torch==2.13.0
    python3 tests/reference/ctc.py >tests/reference/ctc.h

T = 12 steps, B = 4 rows, V = 5 symbols; the gradient is that of the sum of all losses.
"""
import torch

T, B, V = 12, 4, 5


def row(name, t):
    text, line = '', '     '
    for v in t.detach().flatten().tolist():
        word = f' {v!r},'
        if len(line + word) > 98:
            text, line = text + line + '\n', '     '
        line += word
    return f'      .{name} = {{\n{text}{line} }},\n'


def case(blank, rows, lengths):
    torch.manual_seed(1 + blank)
    x = (2 * torch.randn(T, B, V, dtype=torch.float64)).requires_grad_()
    flat = torch.tensor(sum(rows, []))
    sizes = torch.tensor([len(r) for r in rows])
    loss = torch.nn.functional.ctc_loss(x.log_softmax(2), flat, torch.tensor(lengths), sizes,
                                        blank=blank, reduction='none')
    loss.sum().backward()
    return (f'    {{ {blank},\n' + row('labels', flat) + row('n_labels', sizes) +
            row('lengths', torch.tensor(lengths)) + row('x', x) + row('d_x', x.grad) +
            row('loss', loss) + '    },')


print(f'''/* Made by tests/reference/ctc.py with PyTorch {torch.__version__.split("+")[0]}:
 *     python3 tests/reference/ctc.py >tests/reference/ctc.h
 */
#ifndef TESTS_REFERENCE_CTC_H
#define TESTS_REFERENCE_CTC_H

enum {{ TORCH_T = {T}, TORCH_B = {B}, TORCH_V = {V} }};

static const struct torch_ctc {{
    int blank, labels[40], n_labels[TORCH_B], lengths[TORCH_B];
    double x[TORCH_T * TORCH_B * TORCH_V], d_x[TORCH_T * TORCH_B * TORCH_V], loss[TORCH_B];
}} torch_ctc[] = {{''')
print(case(0, [[1, 2, 2, 3], [4], [1, 1, 1, 1, 1, 1], [3, 4, 3, 4, 3, 4, 3, 4, 3]],
           [12, 7, 11, 10]))
print(case(4, [[0, 1, 2], [3, 3], [], [2, 1, 0, 0, 1, 2, 3]], [12, 3, 5, 9]))
print('};\n\n#endif')
