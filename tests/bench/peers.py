#!/usr/bin/env python3
"""One workload of the benchmark in PyTorch or JAX: prints a JSON object with its figures.

    bench --list --json | peers.py --workload char-lstm-256 --peer torch [--threads 2] [--seconds 4]

Sizes come from the benchmark's own table on the standard input. A step is the whole of a training
loop's: other data in the same buffers, forward, loss, backward, clip, update. Parameters start from
U(-0.08, 0.08). Each peer is written as its own users write it:

    torch          modules of the library (nn.LSTM, nn.GRU, packed sequences; trees node by node)
    torch-cell     by hand: gates merged, x W for the whole sequence first; trees level by level;
                   the tagger without regard for padding; sampling with nn.LSTMCell
    torch-gates    the textbook: gates apart on [h, x]
    torch-compile  torch.compile of torch-cell, or of torch where there is no such form
    jax            jit of value_and_grad over a scan, x W for the whole sequence first

A workload that a peer does not have prints {"absent": true}. Compiling is not part of the figures.
"""
import argparse
import json
import os
import resource
import sys
import time

PEERS = ['torch', 'torch-cell', 'torch-gates', 'torch-compile', 'jax']
BATCHES = 8                                     # that take turns


def spread(w):
    """Lengths of the sentences, leaves of the trees: over lo .. hi."""
    n = w['hi'] - w['lo'] + 1
    return [w['lo'] + 7 * b * n // w['B'] % n for b in range(w['B'])]


def make_step(w, peer, threads):
    if peer == 'jax':
        import peers_jax
        return peers_jax.step(w)
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    import peers_torch
    return peers_torch.step(w, peer)


def measure(step, seconds):
    """The loss of every step and the time of those after the first three."""
    start = time.perf_counter()
    losses = [step()]
    first = time.perf_counter() - start
    times = []
    losses += [step(), step()]
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        losses.append(step())
        times.append(time.perf_counter() - start)
    return first, sorted(times)[len(times) // 2], losses


def main():
    a = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--workload', required=True)
    a.add_argument('--peer', choices=PEERS, default='torch')
    a.add_argument('--threads', type=int, default=2)
    a.add_argument('--seconds', type=float, default=4)
    o = a.parse_args()
    table = {w['workload']: w for w in map(json.loads, sys.stdin)}
    if o.workload not in table:
        sys.exit(f'peers.py: the list on the standard input has no workload {o.workload}')
    w = table[o.workload]
    # The only way to tell JAX; the others get the same cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:o.threads])
    os.environ['OMP_NUM_THREADS'] = os.environ['MKL_NUM_THREADS'] = str(o.threads)
    step = make_step(w, o.peer, o.threads)
    result = {'workload': o.workload, 'peer': o.peer, 'threads': o.threads}
    if step is None:
        print(json.dumps({**result, 'absent': True}))
        return
    first, seconds, losses = measure(step, o.seconds)
    print(json.dumps({**result, 'tokens_per_s': round(w['tokens'] / seconds, 1),
                      'step_ms': round(seconds * 1e3, 4),
                      'gflops': round(w['mflop'] / seconds * 1e-3, 2),
                      'rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                      'first_step_ms': round(first * 1e3, 1), 'first_loss': losses[0],
                      'loss': losses[-1], 'steps': len(losses)}))


if __name__ == '__main__':
    main()
