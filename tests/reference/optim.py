#!/usr/bin/env python3
"""Writes tests/reference/optim.h: what PyTorch's optimisers and schedulers do on a small problem.

    pip install torch==2.13.0
    python3 tests/reference/optim.py >tests/reference/optim.h

Two parameters, a [19] and b [3, 5], in double. Element i of both together starts at
((5 i) mod 11 - 5) / 4; its gradient at step t = 1, 2, .. is ((7 i + 13 t) mod 17 - 8) / 8, so
that the C test can form both exactly. tests/optim.c has the same table of settings.
"""
import math
import torch
from torch.optim import SGD, Adagrad, Adadelta, RMSprop, Adam, AdamW
from torch.optim import lr_scheduler as schedulers

STEPS = 12
SIZES = [(19,), (3, 5)]
N = sum(math.prod(s) for s in SIZES)


def parts(values):
    values = torch.tensor(values, dtype=torch.float64)
    return [values[:19].clone(), values[19:].clone().reshape(3, 5)]


def gradient(t):
    return [((7 * i + 13 * t) % 17 - 8) / 8 for i in range(N)]


def run(make, clip_norm=0, clip_value=0, average=1):
    params = [p.requires_grad_() for p in parts([((5 * i) % 11 - 5) / 4 for i in range(N)])]
    opt, first, norm = make(params), None, 0.0
    for t in range(1, STEPS + 1):
        runs = [parts(gradient(t * average - k)) for k in range(average)]
        for j, p in enumerate(params):
            p.grad = sum(r[j] for r in runs) / average
        norm = torch.sqrt(sum((p.grad ** 2).sum() for p in params)).item()
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(params, clip_norm)
        if clip_value:
            torch.nn.utils.clip_grad_value_(params, clip_value)
        opt.step()
        if t == 1:
            first = [v for p in params for v in p.detach().flatten().tolist()]
    return norm, first, [v for p in params for v in p.detach().flatten().tolist()]


def groups(p):
    return AdamW([dict(params=p[:1]), dict(params=p[1:], lr=0.02, weight_decay=0.5)], lr=0.1,
                 weight_decay=0.1, foreach=False)


def of(method, **settings):
    return lambda p: method(p, foreach=False, **settings)


RUNS = {
    'sgd': dict(make=of(SGD, lr=0.1)),
    'sgd decay': dict(make=of(SGD, lr=0.1, weight_decay=0.3)),
    'momentum': dict(make=of(SGD, lr=0.1, momentum=0.9)),
    'momentum dampening': dict(make=of(SGD, lr=0.1, momentum=0.8, dampening=0.4, weight_decay=0.2)),
    'nesterov': dict(make=of(SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1)),
    'adagrad': dict(make=of(Adagrad, lr=0.3)),
    'adagrad all': dict(make=of(Adagrad, lr=0.3, lr_decay=0.1, weight_decay=0.2,
                                initial_accumulator_value=0.5, eps=1e-3)),
    'adadelta': dict(make=of(Adadelta)),
    'adadelta all': dict(make=of(Adadelta, lr=3.0, rho=0.7, eps=1e-3, weight_decay=0.2)),
    'rmsprop': dict(make=of(RMSprop, lr=0.02)),
    'rmsprop centred': dict(make=of(RMSprop, lr=0.02, alpha=0.9, centered=True)),
    'rmsprop momentum': dict(make=of(RMSprop, lr=0.02, momentum=0.9)),
    'rmsprop all': dict(make=of(RMSprop, lr=0.02, alpha=0.8, eps=1e-2, momentum=0.7, centered=True,
                                weight_decay=0.3)),
    'adam': dict(make=of(Adam, lr=0.05)),
    'adam all': dict(make=of(Adam, lr=0.05, betas=(0.7, 0.9), eps=1e-2, weight_decay=0.3)),
    'adamw': dict(make=of(AdamW, lr=0.05)),
    'adamw all': dict(make=of(AdamW, lr=0.05, betas=(0.7, 0.9), eps=1e-2, weight_decay=0.3)),
    'clip norm': dict(make=of(Adam, lr=0.05, eps=1e-1), clip_norm=0.5),
    'clip value': dict(make=of(SGD, lr=0.1), clip_value=0.25),
    'groups': dict(make=groups),
    'average': dict(make=of(SGD, lr=0.1, momentum=0.5), average=3),
}


def rates(make, losses=None):
    opt = SGD([torch.zeros(1, requires_grad=True)], lr=0.8)
    s, out = make(opt), []
    for t in range(40):
        out.append(opt.param_groups[0]['lr'])
        opt.step()
        s.step(losses[t]) if losses else s.step()
    return out


def cosine(opt):
    warm = schedulers.LinearLR(opt, start_factor=1 / 8, end_factor=1, total_iters=7)
    rest = schedulers.CosineAnnealingLR(opt, T_max=22, eta_min=0.08)
    return schedulers.SequentialLR(opt, [warm, rest], milestones=[8])


LOSSES = [5, 4, 3.9999, 4.2, 4.1, 3, 3, 3, 3, 3, 2.9, 2.9999, 2.91, 2.9, 3, 3, 3, 3, 3, 3] * 2
SCHEDULES = {
    'constant': rates(lambda o: schedulers.ConstantLR(o, factor=1, total_iters=1)),
    'step': rates(lambda o: schedulers.StepLR(o, step_size=7, gamma=0.5)),
    'step later': rates(lambda o: schedulers.LambdaLR(o, lambda t: 0.5 ** max(0, t - 9))),
    'exponential': rates(lambda o: schedulers.ExponentialLR(o, gamma=0.9)),
    'cosine': rates(cosine)[:30],
    'inverse sqrt': rates(lambda o: schedulers.LambdaLR(
        o, lambda t: math.sqrt(6) * min((t + 1) ** -0.5, (t + 1) * 6 ** -1.5))),
    'plateau': rates(lambda o: schedulers.ReduceLROnPlateau(
        o, factor=0.5, patience=2, threshold=1e-3, cooldown=3, min_lr=0.1), LOSSES),
}


def row(values):
    text, line = '', '     '
    for v in values:
        word = ' ' + repr(float(v)) + ','
        if len(line + word) > 98:
            text, line = text + line + '\n', '     '
        line += word
    return '    {\n' + text + line + '\n    },\n'


print(f'''/* Made by tests/reference/optim.py with PyTorch {torch.__version__.split("+")[0]}:
 *     python3 tests/reference/optim.py >tests/reference/optim.h
 */
#ifndef TESTS_REFERENCE_OPTIM_H
#define TESTS_REFERENCE_OPTIM_H

enum {{ OPTIM_STEPS = {STEPS}, OPTIM_N = {N}, SCHEDULE_N = 40 }};

/* The gradient's norm at the last step before clipping, the parameters after 1 step and all. */
static const struct {{
    const char *name;
    double norm, first[OPTIM_N], last[OPTIM_N];
}} optim_runs[] = {{''')
for name, how in RUNS.items():
    norm, first, last = run(**how)
    print(f'    {{ "{name}", {norm!r},\n{row(first)}{row(last)}    }},')
print('''};

/* Rates before update 0, 1, .. of a base rate of 0.8. */
static const struct {
    const char *name;
    int n;
    double rate[SCHEDULE_N];
} schedule_runs[] = {''')
for name, r in SCHEDULES.items():
    print(f'    {{ "{name}", {len(r)},\n{row(r)}    }},')
print('};\n\n#endif')
