"""Cells in PyTorch, written by a user: the textbook's form, and merged by hand; see peers.py."""
import torch
from torch import nn

GATES = {'lstm': 4, 'lstm_peephole': 4, 'gru': 3, 'gru_reset_after': 3, 'mgu': 2, 'elman': 1}


class Textbook(nn.Module):
    """A cell with its gates apart, each a product with [h, x]; a loop over the steps."""

    def __init__(self, kind, inputs, H):
        super().__init__()
        self.kind, self.H = kind, H
        self.gate = nn.ModuleList(nn.Linear(H + inputs, H) for _ in range(GATES[kind]))
        if kind == 'gru_reset_after':
            self.gate[2] = nn.Linear(inputs, H)
            self.inner = nn.Linear(H, H)
        if kind == 'lstm_peephole':
            self.peep = nn.ParameterList(nn.Parameter(torch.empty(H)) for _ in range(3))

    def step(self, x, h, c):
        hx, gate = torch.cat([h, x], 1), self.gate
        if self.kind == 'elman':
            return torch.tanh(gate[0](hx)), c
        if self.kind == 'mgu':
            f = torch.sigmoid(gate[0](hx))
            n = torch.tanh(gate[1](torch.cat([f * h, x], 1)))
            return (1 - f) * h + f * n, c
        if self.kind == 'gru':
            r, z = torch.sigmoid(gate[0](hx)), torch.sigmoid(gate[1](hx))
            n = torch.tanh(gate[2](torch.cat([r * h, x], 1)))
            return (1 - z) * h + z * n, c
        if self.kind == 'gru_reset_after':
            r, z = torch.sigmoid(gate[0](hx)), torch.sigmoid(gate[1](hx))
            n = torch.tanh(gate[2](x) + r * self.inner(h))
            return (1 - z) * n + z * h, c
        i, f, o = gate[0](hx), gate[1](hx), gate[3](hx)
        if self.kind == 'lstm_peephole':
            i, f = i + self.peep[0] * c, f + self.peep[1] * c
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(gate[2](hx))
        if self.kind == 'lstm_peephole':
            o = o + self.peep[2] * c
        return torch.sigmoid(o) * torch.tanh(c), c

    def forward(self, xs, h, c):
        outputs = []
        for x in xs.unbind(0):
            h, c = self.step(x, h, c)
            outputs.append(h)
        return torch.stack(outputs), h, c


class ByHand(Textbook):
    """The same with merged gates: x W for the whole sequence, then one product a step with h."""

    def __init__(self, kind, inputs, H):
        nn.Module.__init__(self)
        self.kind, self.H, n = kind, H, GATES[kind]
        self.input = nn.Linear(inputs, n * H)
        late = {'gru': 1, 'mgu': 1}.get(kind, 0)        # gates that need r*h or f*h
        self.state = nn.Linear(H, (n - late) * H)
        if late:
            self.late = nn.Linear(H, H)
        if kind == 'lstm_peephole':
            self.peep = nn.ParameterList(nn.Parameter(torch.empty(H)) for _ in range(3))

    def step(self, a, h, c):
        u, H = self.state(h), self.H
        if self.kind == 'elman':
            return torch.tanh(a + u), c
        if self.kind == 'mgu':
            f = torch.sigmoid(a[:, :H] + u)
            n = torch.tanh(a[:, H:] + self.late(f * h))
            return (1 - f) * h + f * n, c
        if self.kind == 'gru':
            r, z = torch.sigmoid(a[:, :2 * H] + u).chunk(2, 1)
            n = torch.tanh(a[:, 2 * H:] + self.late(r * h))
            return (1 - z) * h + z * n, c
        if self.kind == 'gru_reset_after':
            r, z = torch.sigmoid(a[:, :2 * H] + u[:, :2 * H]).chunk(2, 1)
            n = torch.tanh(a[:, 2 * H:] + r * u[:, 2 * H:])
            return (1 - z) * n + z * h, c
        i, f, g, o = (a + u).chunk(4, 1)
        if self.kind == 'lstm_peephole':
            i, f = i + self.peep[0] * c, f + self.peep[1] * c
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        if self.kind == 'lstm_peephole':
            o = o + self.peep[2] * c
        return torch.sigmoid(o) * torch.tanh(c), c

    def forward(self, xs, h, c):
        return super().forward(self.input(xs), h, c)
