#!/usr/bin/env python3
"""Writes tests/reference/attention.h: attention and transformer layers of PyTorch's, what they
compute, and the gradients of that, in double.

    pip install torch==2.13.0
    python3 tests/reference/attention.py >tests/reference/attention.h

D = 4 features, 2 heads, F = 6 inside, T = 3 steps, S = 4 steps of the memory, B = 2 rows, lengths
as below; the loss is sum((1 + 0.1 k) y_k) over the elements k of y that lie within the lengths.
Each list holds, one after the other: parameters (attention to itself: in_proj weight and bias,
out_proj; attention to the memory so; linear1, linear2, the normalisations in order), x, memory, y
with zeros beyond the lengths, d x, d memory, d in_proj weight of the attention to itself.
"""
import torch
from torch import nn

D, HEADS, F, T, S, B = 4, 2, 6, 3, 4, 2
LENGTHS, MEMORY_LENGTHS = [3, 2], [1, 4]
torch.set_default_dtype(torch.float64)


def padding(lengths, n):
    return torch.arange(n)[None, :] >= torch.tensor(lengths)[:, None]       # [B,n]


def causal():
    return torch.triu(torch.ones(T, T, dtype=torch.bool), 1)


def numbers(name, tensors):
    text, line = '', '   '
    for v in torch.cat([t.detach().flatten() for t in tensors]).tolist():
        word = f' {v!r},'
        if len(line + word) > 98:
            text, line = text + line + '\n', '   '
        line += word
    print(f'static const double torch_{name}[] = {{\n{text}{line}\n}};\n')


def of_attention(m):
    return [m.in_proj_weight, m.in_proj_bias, m.out_proj.weight, m.out_proj.bias]


def emit(name, module, call, attentions, rest):
    torch.manual_seed(len(name))
    for p in module.parameters():
        nn.init.uniform_(p, -0.7, 0.7)
    x = torch.randn(T, B, D, requires_grad=True)
    memory = torch.randn(S, B, D, requires_grad=True)
    keep = ~padding(LENGTHS, T).T[:, :, None]                               # [T,B,1]
    y = torch.where(keep, call(x, memory), torch.zeros(()))
    weight = 1 + 0.1 * torch.arange(y.numel()).reshape(y.shape)
    (y * weight).sum().backward()
    grad = memory.grad if memory.grad is not None else torch.zeros_like(memory)
    parameters = [p for a in attentions for p in of_attention(a)]
    parameters += [p for m in rest for p in (m.weight, m.bias)]
    numbers(name, parameters + [x, memory, y, x.grad, grad, attentions[0].in_proj_weight.grad])


print(f'''/* Made by tests/reference/attention.py with PyTorch {torch.__version__.split("+")[0]}:
 *     python3 tests/reference/attention.py >tests/reference/attention.h
 */
#ifndef TESTS_REFERENCE_ATTENTION_H
#define TESTS_REFERENCE_ATTENTION_H

enum {{ D = {D}, HEADS = {HEADS}, F = {F}, T = {T}, S = {S}, B = {B} }};
static const int lengths[B] = {{ {", ".join(map(str, LENGTHS))} }};
static const int memory_lengths[B] = {{ {", ".join(map(str, MEMORY_LENGTHS))} }};
''')

m = nn.MultiheadAttention(D, HEADS)
emit('self', m, lambda x, _: m(x, x, x, key_padding_mask=padding(LENGTHS, T))[0], [m], [])
m = nn.MultiheadAttention(D, HEADS)
emit('causal', m, lambda x, _: m(x, x, x, attn_mask=causal())[0], [m], [])
m = nn.MultiheadAttention(D, HEADS)
emit('cross', m, lambda x, y: m(x, y, y, key_padding_mask=padding(MEMORY_LENGTHS, S))[0], [m], [])
for first in (True, False):
    when = 'pre' if first else 'post'
    e = nn.TransformerEncoderLayer(D, HEADS, F, 0, 'gelu' if first else 'relu', norm_first=first)
    emit(f'encoder_{when}', e,
         lambda x, _: e(x, src_key_padding_mask=padding(LENGTHS, T)),
         [e.self_attn], [e.linear1, e.linear2, e.norm1, e.norm2])
    d = nn.TransformerDecoderLayer(D, HEADS, F, 0, 'relu' if first else 'gelu', norm_first=first)
    emit(f'decoder_{when}', d,
         lambda x, y: d(x, y, tgt_mask=causal(), tgt_key_padding_mask=padding(LENGTHS, T),
                        memory_key_padding_mask=padding(MEMORY_LENGTHS, S)),
         [d.self_attn, d.multihead_attn], [d.linear1, d.linear2, d.norm1, d.norm2, d.norm3])
print('#endif')
