"""The language models and the transformer of the benchmark in JAX; see peers.py."""
import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from peers import BATCHES

GATES = {'lstm': 4, 'lstm_peephole': 4, 'gru': 3, 'gru_reset_after': 3, 'mgu': 2, 'elman': 1}


class Draw:
    """Random arrays, each from a key of its own."""

    def __init__(self):
        self.key = jax.random.PRNGKey(1)

    def next(self):
        self.key, key = jax.random.split(self.key)
        return key

    def weights(self, *shape):
        return jax.random.uniform(self.next(), shape, jnp.float32, -0.08, 0.08)

    def stream(self, V, rows, columns):
        """As in peers_torch.py."""
        ids = [jax.random.randint(self.next(), (BATCHES, columns), 0, V)]
        for _ in range(1, rows):
            noise = jax.random.randint(self.next(), (BATCHES, columns), 0, 4)
            ids.append((7 * ids[-1] + noise) % V)
        return jnp.stack(ids, 1)


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1).mean()


# ---- Language models -------------------------------------------------------------------------

def cell_step(kind, p, s, a):
    """a is x W + b."""
    h, c = s
    H = h.shape[1]
    if kind == 'gru':
        r, z = jnp.split(sigmoid(a[:, :2 * H] + h @ p['W'][:, :2 * H]), 2, 1)
        n = jnp.tanh(a[:, 2 * H:] + (r * h) @ p['W'][:, 2 * H:])
        h = (1 - z) * h + z * n
    elif kind == 'mgu':
        f = sigmoid(a[:, :H] + h @ p['W'][:, :H])
        h = (1 - f) * h + f * jnp.tanh(a[:, H:] + (f * h) @ p['W'][:, H:])
    elif kind == 'gru_reset_after':
        u = h @ p['W'] + p['d']
        r, z = jnp.split(sigmoid(a[:, :2 * H] + u[:, :2 * H]), 2, 1)
        h = (1 - z) * jnp.tanh(a[:, 2 * H:] + r * u[:, 2 * H:]) + z * h
    elif kind == 'elman':
        h = jnp.tanh(a + h @ p['W'])
    else:
        peep = p['peep'] if kind == 'lstm_peephole' else None
        i, f, g, o = jnp.split(a + h @ p['W'], 4, 1)
        if peep is not None:
            i, f = i + peep[0] * c, f + peep[1] * c
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o if peep is None else o + peep[2] * c) * jnp.tanh(c)
    return (h, c), h


def language(w):
    draw, kind = Draw(), w['cell']
    V, E, H, L, B = (w[k] for k in ('V', 'E', 'H', 'layers', 'B'))
    G = GATES[kind] * H
    params = {'embed': draw.weights(V, E), 'out': draw.weights(H, V), 'bias': draw.weights(V),
              'layers': [{'U': draw.weights(H if k else E, G), 'b': draw.weights(G),
                          'W': draw.weights(H, G), 'd': draw.weights(G),
                          'peep': draw.weights(3, H)} for k in range(L)]}

    def loss(params, ids, states):
        z, after = params['embed'][ids[:-1]], []
        for p, s in zip(params['layers'], states):
            s, z = jax.lax.scan(lambda s, a, p=p: cell_step(kind, p, s, a), s, z @ p['U'] + p['b'])
            after.append(s)
        mean = cross_entropy(z @ params['out'] + params['bias'], ids[1:])
        return mean * (w['T'] if w['sum_t'] else 1), (mean, after)

    states = [(jnp.zeros((B, H)), jnp.zeros((B, H))) for _ in range(L)]
    return params, loss, states, draw.stream(V, w['T'] + 1, B)


# ---- Transformer -----------------------------------------------------------------------------

def layer_norm(z, gain, bias):
    d = z - z.mean(-1, keepdims=True)
    return d * jax.lax.rsqrt((d ** 2).mean(-1, keepdims=True) + 1e-5) * gain + bias


def transformer(w):
    draw = Draw()
    V, D, B, T, heads = (w[k] for k in ('V', 'H', 'B', 'T', 'heads'))

    def linear(inputs, outputs):
        return draw.weights(inputs, outputs), draw.weights(outputs)

    params = {'embed': draw.weights(V, D), 'place': draw.weights(T, D), 'out': linear(D, V),
              'norm': (draw.weights(D), draw.weights(D)),
              'blocks': [{'norm1': (draw.weights(D), draw.weights(D)),
                          'norm2': (draw.weights(D), draw.weights(D)),
                          'qkv': linear(D, 3 * D), 'proj': linear(D, D),
                          'up': linear(D, 4 * D), 'down': linear(4 * D, D)}
                         for _ in range(w['layers'])]}
    mask = jnp.tril(jnp.ones((T, T), bool))

    def apply(layer, x):
        return x @ layer[0] + layer[1]

    def block(p, z):
        parts = apply(p['qkv'], layer_norm(z, *p['norm1'])).reshape(B, T, 3, heads, D // heads)
        q, k, v = parts.transpose(2, 0, 3, 1, 4)
        scores = q @ k.swapaxes(2, 3) / (D // heads) ** 0.5
        a = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf)) @ v
        z = z + apply(p['proj'], a.transpose(0, 2, 1, 3).reshape(B, T, D))
        up = jax.nn.gelu(apply(p['up'], layer_norm(z, *p['norm2'])), approximate=False)
        return z + apply(p['down'], up)

    def loss(params, ids, states):
        z = params['embed'][ids[:, :-1]] + params['place']
        for p in params['blocks']:
            z = block(p, z)
        mean = cross_entropy(apply(params['out'], layer_norm(z, *params['norm'])), ids[:, 1:])
        return mean, (mean, states)

    return params, loss, (), draw.stream(V, T + 1, B).transpose(0, 2, 1)


# ---- A step ----------------------------------------------------------------------------------

def step(w):
    if w['family'] not in ('lm', 'transformer'):
        return None
    params, loss, states, data = (language if w['family'] == 'lm' else transformer)(w)
    each = jax.tree_util.tree_map

    def train(params, m, v, t, states, ids):
        (_, (mean, states)), g = jax.value_and_grad(loss, has_aux=True)(params, ids, states)
        norm = jnp.sqrt(sum((x ** 2).sum() for x in jax.tree_util.tree_leaves(g)))
        g = each(lambda x: x * jnp.minimum(1, w['clip'] / (norm + 1e-6)), g)
        if not w['adam']:
            return each(lambda p, x: p - w['lr'] * x, params, g), m, v, t, states, mean
        t = t + 1
        m = each(lambda a, x: 0.9 * a + 0.1 * x, m, g)
        v = each(lambda a, x: 0.999 * a + 0.001 * x * x, v, g)
        params = each(lambda p, a, b: p - w['lr'] * a / (1 - 0.9 ** t) /
                      (jnp.sqrt(b / (1 - 0.999 ** t)) + 1e-8), params, m, v)
        return params, m, v, t, states, mean

    train = jax.jit(train)
    zeros = each(jnp.zeros_like, params)
    box = [params, zeros, each(jnp.zeros_like, params), jnp.zeros(()), states]
    batches, turn = [jnp.array(x) for x in data], [0]

    def one():
        *box[:], mean = train(*box, batches[turn[0] % BATCHES])
        turn[0] += 1
        return float(mean)
    return one
