"""The workloads of the benchmark in PyTorch; see peers.py. step(w, peer) gives a function that
makes one step and returns its loss, or None where there is nothing to compare."""
import random

import torch
import torch.nn.functional as F
from torch import nn

from peers import BATCHES, spread
from peers_cells import ByHand, Textbook

MODULES = {'lstm': nn.LSTM, 'gru_reset_after': nn.GRU, 'elman': nn.RNN}


def stream(V, rows, columns):
    """Batches of ids that take turns; down a column each follows from the one above it."""
    ids = torch.randint(V, (BATCHES, rows, columns))
    noise = torch.randint(4, ids.shape)
    for t in range(1, rows):
        ids[:, t] = (7 * ids[:, t - 1] + noise[:, t]) % V
    return ids


def trainer(w, model):
    """update(loss): backward, clip, update."""
    for p in model.parameters():
        nn.init.uniform_(p, -0.08, 0.08)
    method = torch.optim.Adam if w['adam'] else torch.optim.SGD
    optim = method(model.parameters(), lr=w['lr'])

    def update(loss):
        optim.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), w['clip'])
        optim.step()
    return update


# ---- Language models -------------------------------------------------------------------------

class Language(nn.Module):
    def __init__(self, w, peer):
        super().__init__()
        V, E, H, L = w['V'], w['E'], w['H'], w['layers']
        self.lstm = w['cell'] == 'lstm'
        self.embed, self.out = nn.Embedding(V, E), nn.Linear(H, V)
        if peer == 'torch':
            self.rnn, self.cells = MODULES[w['cell']](E, H, L), None
        else:
            cell = Textbook if peer == 'torch-gates' else ByHand
            self.cells = nn.ModuleList(cell(w['cell'], E if k == 0 else H, H) for k in range(L))

    def forward(self, x, y, h, c):
        """h and c are [layers, B, H]."""
        z = self.embed(x)
        if self.cells is None:
            z, s = self.rnn(z, (h, c) if self.lstm else h)
            h, c = s if self.lstm else (s, c)
        else:
            hs, cs = list(h), list(c)
            for k, cell in enumerate(self.cells):
                z, hs[k], cs[k] = cell(z, hs[k], cs[k])
            h, c = torch.stack(hs), torch.stack(cs)
        return F.cross_entropy(self.out(z).flatten(0, 1), y.flatten()), h, c


def lm(w, peer):
    if peer == 'torch' and w['cell'] not in MODULES:
        return None
    model = Language(w, peer)
    update = trainer(w, model)
    run = torch.compile(model) if peer == 'torch-compile' else model
    data = stream(w['V'], w['T'] + 1, w['B'])
    ids = torch.empty_like(data[0])
    state = [torch.zeros(w['layers'], w['B'], w['H']) for _ in range(2)]
    turn = [0]

    def step():
        ids.copy_(data[turn[0] % BATCHES])
        turn[0] += 1
        loss, h, c = run(ids[:-1], ids[1:], *state)
        state[:] = h.detach(), c.detach()
        update(loss * w['T'] if w['sum_t'] else loss)
        return loss.item()
    return step


# ---- Tagger ----------------------------------------------------------------------------------

class Tagger(nn.Module):
    def __init__(self, w, lengths):
        super().__init__()
        self.lengths = lengths                          # None: no regard for padding
        self.embed = nn.Embedding(w['V'], w['E'])
        self.rnn = nn.LSTM(w['E'], w['H'], bidirectional=True)
        self.out = nn.Linear(2 * w['H'], w['classes'])

    def forward(self, x):
        z = self.embed(x)
        if self.lengths is None:
            return self.out(self.rnn(z)[0])
        z = nn.utils.rnn.pack_padded_sequence(z, self.lengths)
        return self.out(nn.utils.rnn.pad_packed_sequence(self.rnn(z)[0])[0])


def tag(w, peer):
    if peer not in ('torch', 'torch-cell'):
        return None
    lengths = torch.tensor(sorted(spread(w), reverse=True))
    model = Tagger(w, lengths if peer == 'torch' else None)
    update = trainer(w, model)
    T = int(lengths.max())
    data = torch.randint(w['V'], (BATCHES, T, w['B']))
    labels = data % w['classes']
    labels[:, torch.arange(T)[:, None] >= lengths[None, :]] = -100
    x, y, turn = torch.empty_like(data[0]), torch.empty_like(data[0]), [0]

    def step():
        x.copy_(data[turn[0] % BATCHES])
        y.copy_(labels[turn[0] % BATCHES])
        turn[0] += 1
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=-100)
        update(loss)
        return loss.item()
    return step


# ---- Encoder-decoder with attention ----------------------------------------------------------

class Translator(nn.Module):
    """a = softmax_s(v tanh(K m_s + Q h)), c = sum_s a_s m_s, h = gru([y, c], h), out [h, c]."""

    def __init__(self, w):
        super().__init__()
        V, E, H = w['V'], w['E'], w['H']
        self.source, self.target = nn.Embedding(V, E), nn.Embedding(V, E)
        self.encoder, self.decoder = nn.GRU(E, H), nn.GRUCell(E + H, H)
        self.K, self.Q = nn.Linear(H, H), nn.Linear(H, H, bias=False)
        self.v, self.out = nn.Linear(H, 1, bias=False), nn.Linear(2 * H, V)

    def forward(self, source, target):
        memory, h = self.encoder(self.source(source))
        h, keys, outputs = h[0], self.K(memory), []
        for y in self.target(target[:-1]).unbind(0):
            a = torch.softmax(self.v(torch.tanh(keys + self.Q(h))), 0)
            context = (a * memory).sum(0)
            h = self.decoder(torch.cat([y, context], 1), h)
            outputs.append(torch.cat([h, context], 1))
        logits = self.out(torch.stack(outputs))
        return F.cross_entropy(logits.flatten(0, 1), target[1:].flatten())


def seq2seq(w, peer):
    if peer not in ('torch', 'torch-compile'):
        return None
    model = Translator(w)
    update = trainer(w, model)
    run = torch.compile(model) if peer == 'torch-compile' else model
    source, target = stream(w['V'], w['S'], w['B']), stream(w['V'], w['T'] + 1, w['B'])
    x, y, turn = torch.empty_like(source[0]), torch.empty_like(target[0]), [0]

    def step():
        x.copy_(source[turn[0] % BATCHES])
        y.copy_(target[turn[0] % BATCHES])
        turn[0] += 1
        loss = run(x, y)
        update(loss)
        return loss.item()
    return step


# ---- Transformer -----------------------------------------------------------------------------

class Block(nn.Module):
    def __init__(self, D, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.proj = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

    def forward(self, z):
        B, T, D = z.shape
        parts = self.qkv(self.norm1(z)).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(*parts, is_causal=True)
        z = z + self.proj(a.transpose(1, 2).reshape(B, T, D))
        return z + self.down(F.gelu(self.up(self.norm2(z))))


class Transformer(nn.Module):
    def __init__(self, w):
        super().__init__()
        D, V = w['H'], w['V']
        self.embed, self.place = nn.Embedding(V, D), nn.Embedding(w['T'], D)
        self.blocks = nn.Sequential(*(Block(D, w['heads']) for _ in range(w['layers'])))
        self.norm, self.out = nn.LayerNorm(D), nn.Linear(D, V)

    def forward(self, ids):
        z = self.blocks(self.embed(ids[:, :-1]) + self.place.weight)
        return F.cross_entropy(self.out(self.norm(z)).flatten(0, 1), ids[:, 1:].flatten())


def transformer(w, peer):
    if peer not in ('torch', 'torch-compile'):
        return None
    model = Transformer(w)
    update = trainer(w, model)
    run = torch.compile(model) if peer == 'torch-compile' else model
    data = stream(w['V'], w['T'] + 1, w['B']).transpose(1, 2).contiguous()
    ids, turn = torch.empty_like(data[0]), [0]

    def step():
        ids.copy_(data[turn[0] % BATCHES])
        turn[0] += 1
        loss = run(ids)
        update(loss)
        return loss.item()
    return step


# ---- Trees -----------------------------------------------------------------------------------

def random_trees(w):
    """Each a list of nodes: a leaf is an id, an inner node a pair of earlier positions."""
    trees = []
    for n in spread(w):
        tree, roots = [random.randrange(w['V']) for _ in range(n)], list(range(n))
        while len(roots) > 1:
            k = random.randrange(len(roots) - 1)
            tree.append((roots[k], roots[k + 1]))
            roots[k:k + 2] = [len(tree) - 1]
        trees.append(tree)
    return trees


class Tree(nn.Module):
    """Binary Tree-LSTM (Tai, Socher and Manning, ACL 2015), a label at every node."""

    def __init__(self, w):
        super().__init__()
        E, H = w['E'], w['H']
        self.embed, self.leaf = nn.Embedding(w['V'], E), nn.Linear(E, 3 * H)
        self.inner, self.out = nn.Linear(2 * H, 5 * H), nn.Linear(H, w['classes'])

    def leaves(self, ids):
        i, o, u = self.leaf(self.embed(ids)).chunk(3, 1)
        c = torch.sigmoid(i) * torch.tanh(u)
        return torch.sigmoid(o) * torch.tanh(c), c

    def join(self, h1, c1, h2, c2):
        i, f1, f2, o, u = self.inner(torch.cat([h1, h2], 1)).chunk(5, 1)
        c = (torch.sigmoid(i) * torch.tanh(u) + torch.sigmoid(f1) * c1 + torch.sigmoid(f2) * c2)
        return torch.sigmoid(o) * torch.tanh(c), c

    def each_node(self, trees):
        hs = []
        for tree in trees:
            done = []
            for node in tree:
                done.append(self.leaves(torch.tensor([node])) if isinstance(node, int)
                            else self.join(*done[node[0]], *done[node[1]]))
            hs += [h for h, _ in done]
        return self.out(torch.cat(hs)), [k for tree in trees for k in range(len(tree))]

    def each_level(self, trees):
        levels = []                                     # of (tree, position)
        for b, tree in enumerate(trees):
            height = []
            for k, node in enumerate(tree):
                height.append(0 if isinstance(node, int)
                              else 1 + max(height[node[0]], height[node[1]]))
                if height[k] == len(levels):
                    levels.append([])
                levels[height[k]].append((b, k))
        order = [key for level in levels for key in level]
        row = {key: n for n, key in enumerate(order)}
        h, c = self.leaves(torch.tensor([trees[b][k] for b, k in levels[0]]))
        for level in levels[1:]:
            left = torch.tensor([row[b, trees[b][k][0]] for b, k in level])
            right = torch.tensor([row[b, trees[b][k][1]] for b, k in level])
            new_h, new_c = self.join(h[left], c[left], h[right], c[right])
            h, c = torch.cat([h, new_h]), torch.cat([c, new_c])
        return self.out(h), [k for _, k in order]


def tree(w, peer):
    if peer not in ('torch', 'torch-cell'):
        return None
    random.seed(1)
    model = Tree(w)
    update = trainer(w, model)
    forward = model.each_node if peer == 'torch' else model.each_level
    data, turn = [random_trees(w) for _ in range(256)], [0]

    def step():
        logits, places = forward(data[turn[0] % len(data)])
        turn[0] += 1
        loss = F.cross_entropy(logits, torch.tensor([(3 * k + 1) % w['classes'] for k in places]))
        update(loss)
        return loss.item()
    return step


# ---- Sampling --------------------------------------------------------------------------------

def sample(w, peer):
    if peer not in ('torch', 'torch-cell'):
        return None
    V, E, H, L = w['V'], w['E'], w['H'], w['layers']
    parts = nn.ModuleDict({'embed': nn.Embedding(V, E), 'out': nn.Linear(H, V)})
    if peer == 'torch':
        parts['rnn'] = nn.LSTM(E, H, L)
    else:
        parts['rnn'] = nn.ModuleList(nn.LSTMCell(E if k == 0 else H, H) for k in range(L))
    for p in parts.parameters():
        nn.init.uniform_(p, -0.08, 0.08)
    embed, rnn, out = parts['embed'], parts['rnn'], parts['out']

    @torch.inference_mode()
    def step():
        x, s = torch.zeros(1, dtype=torch.long), None if peer == 'torch' else [None] * L
        for _ in range(w['T']):
            z = embed(x)
            if peer == 'torch':
                z, s = rnn(z, s)
            else:
                for k, cell in enumerate(rnn):
                    s[k] = cell(z, s[k])
                    z = s[k][0]
            x = torch.multinomial(torch.softmax(out(z)[0], 0), 1)
        return None                                     # there is no loss
    return step


def step(w, peer):
    return globals()[w['family']](w, peer)
