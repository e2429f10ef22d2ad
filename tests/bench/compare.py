"""Runs workloads of the benchmark and their peers in turns, prints a table of the medians, and
writes it with a description of the machine to a file. Started by tests/bench/compare."""
import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
PEERS = ['torch', 'torch-cell', 'torch-gates', 'torch-compile', 'jax']

# Forms that are measured besides the textbook's, and the only workloads where compiling, which
# takes a minute, can be the fastest peer.
MORE_FORMS = {'char-lstm-256': ['merged'], 'gru-256': ['merged'], 'tiny-16': ['rerun'],
              'bilstm-tag': ['lengths'], 'tree-lstm': ['batched']}
SLOW = 0.7      # of the fastest in the first round: measured once
COMPILED = ['gru-textbook-256', 'peephole-256', 'seq2seq-attn', 'transformer-128']


def options():
    a = argparse.ArgumentParser(prog='sh tests/bench/compare', description=__doc__)
    a.add_argument('workload', nargs='*', metavar='WORKLOAD[:FORM]',
                   help='as bench --list has them; all, if none is named; rows of others stay')
    a.add_argument('--threads', default='2', metavar='N[,N]',
                   help='numbers of threads, a table for each (default 2)')
    a.add_argument('--rounds', type=int, default=3, metavar='N', help='default 3')
    a.add_argument('--seconds', type=float, default=4, metavar='S', help='a run (default 4)')
    a.add_argument('--peers', metavar='LIST', help=f'of {",".join(PEERS)}; default: those that '
                   'may be the fastest')
    a.add_argument('--out', default=str(HERE / 'RESULTS.md'), metavar='FILE',
                   help='default tests/bench/RESULTS.md')
    a.add_argument('--bench', required=True, help=argparse.SUPPRESS)
    o = a.parse_args()
    try:
        o.threads = [int(n) for n in o.threads.split(',')]
    except ValueError:
        a.error(f"--threads {o.threads}: numbers separated by commas are needed")
    if min(o.threads) < 1 or max(o.threads) > os.cpu_count() or o.rounds < 1:
        a.error(f'--threads must be 1 to {os.cpu_count()}, --rounds at least 1')
    o.peers = o.peers.split(',') if o.peers else None
    for p in o.peers or []:
        if p not in PEERS:
            a.error(f"--peers: there is no '{p}'; there are {', '.join(PEERS)}")
    return a, o


# ---- Runs ------------------------------------------------------------------------------------

def run(command, threads, given=''):
    """The JSON object that a command prints, or None, with its complaint."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    done = subprocess.run(command, input=given, capture_output=True, text=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, cores))
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f'status {done.returncode}']
        print(f'{" ".join(map(str, command))}: {lines[-1]}', file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def peers_of(name, o):
    if o.peers is not None:
        return list(o.peers)
    return [p for p in PEERS if p != 'torch-compile' or name in COMPILED]


def measure(o, listing, name, forms, threads):
    """All runs of a workload: {form or peer: [results]}, the rounds interleaved."""
    table = ''.join(json.dumps(w) + '\n' for w in listing.values())
    peers = peers_of(name, o)
    if not importlib.util.find_spec('jax'):
        peers = [p for p in peers if p != 'jax']
    results = {key: [] for key in forms + peers}
    common = ['--workload', name, '--threads', str(threads), '--seconds', str(o.seconds)]
    for turn in range(o.rounds):
        if turn == 1:
            peers = not_slow(peers, results)
        for form in forms:
            results[form].append(run([o.bench, '--json', '--form', form] + common, threads))
        for peer in list(peers):
            r = run([sys.executable, HERE / 'peers.py', '--peer', peer] + common, threads, table)
            if r is None or 'absent' in r:
                peers.remove(peer)
            else:
                results[peer].append(r)
    return {key: [r for r in rs if r] for key, rs in results.items() if any(rs)}


def not_slow(peers, results):
    """Those that may be the fastest: a second look at the others would take most of the time."""
    rate = {p: results[p][0]['tokens_per_s'] for p in peers}
    return [p for p in peers if rate[p] >= SLOW * max(rate.values())]


def median(results, key):
    values = sorted(r[key] for r in results)
    return values[len(values) // 2]


# ---- Tables ----------------------------------------------------------------------------------

HEAD = ['workload', 'form', 'tokens/s', 'GFLOP/s', 'of peak', 'best peer', 'its tokens/s', 'ratio',
        'MB', "peer's MB", 'step ms', 'first ms', 'loss', 'peer\'s loss']


def plural(n, noun):
    return f'{n} {noun}{"s" if n != 1 else ""}'


def rate(x):
    return (f'{x / 1e6:.3g} M' if x >= 999.5e3 else
            f'{x / 1e3:.3g} k' if x >= 999.5 else f'{x:.3g}')


def losses(results):
    """Of the first and of the last step; sampling has none."""
    if results[0]['loss'] is None:
        return ''
    return f'{median(results, "first_loss"):.2f} to {median(results, "loss"):.2f}'


def rows_of(name, forms, results):
    peers = [p for p in PEERS if p in results]
    best = max(peers, key=lambda p: median(results[p], 'tokens_per_s'), default=None)
    rows = []
    for form in (f for f in forms if f in results):
        r = results[form]
        ours = median(r, 'tokens_per_s')
        row = [name, form, rate(ours), f'{median(r, "gflops"):.3g}',
               f'{100 * median(r, "peak_fraction"):.1f} %']
        if best:
            theirs = median(results[best], 'tokens_per_s')
            row += [best, rate(theirs), f'{ours / theirs:.2f}']
        else:
            row += ['none', '', '']
        row += [f'{median(r, "rss_mb"):.0f}',
                f'{median(results[best], "rss_mb"):.0f}' if best else '',
                f'{median(r, "step_ms"):.4g}', f'{min(x["first_step_ms"] for x in r):.0f}',
                losses(r), losses(results[best]) if best else '']
        rows.append(row)
    return rows


def peer_row(name, results):
    return [name] + [rate(median(results[p], 'tokens_per_s')) if p in results else ''
                     for p in PEERS]


def text_table(head, rows):
    width = [max(len(row[k]) for row in [head] + rows) for k in range(len(head))]
    return '\n'.join('  '.join(cell.ljust(n) for cell, n in zip(row, width)).rstrip()
                     for row in [head] + rows)


def mark_table(head, rows):
    lines = [head, ['---'] * len(head)] + rows
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in lines) + '\n'


# ---- The machine -----------------------------------------------------------------------------

def read(path):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ''


def machine():
    info = dict(line.split(':', 1) for line in read('/proc/cpuinfo').splitlines() if ':' in line)
    info = {k.strip(): v.strip() for k, v in info.items()}
    flags = info.get('flags', info.get('Features', '')).split()
    isa = next((n for f, n in (('avx512f', 'AVX-512'), ('avx2', 'AVX2')) if f in flags),
               platform.machine())
    caches = []
    for k in range(8):
        folder = f'/sys/devices/system/cpu/cpu0/cache/index{k}'
        if read(f'{folder}/type') in ('Data', 'Unified'):
            caches.append(f"L{read(folder + '/level')} {read(folder + '/size')}")
    memory = read('/proc/meminfo').split()
    return [f"Processor: {info.get('model name', platform.machine())}, {os.cpu_count()} cores, "
            f"{isa}; caches {', '.join(caches) or 'unknown'}; "
            f"memory {int(memory[1]) // 1048576 if len(memory) > 1 else '?'} GB.",
            f'Peers: {versions()}.']


def versions():
    found = [f'Python {platform.python_version()}']
    for name, module in (('PyTorch', 'torch'), ('JAX', 'jax')):
        if importlib.util.find_spec(module):
            found.append(f'{name} {metadata.version(module).split("+")[0]}')
    return ', '.join(found)


def read_rows(path):
    """What a file has: {heading: {workload: ([rows], [rates of peers])}} and {heading: when}."""
    found, when, rows = {}, {}, None
    for line in read(path).splitlines():
        if line.startswith('## '):
            heading, rows = line, found.setdefault(line, {})
        if line.startswith('The last of them'):
            when[heading] = line
        cells = [cell.strip() for cell in line.strip('|').split(' | ')]
        if rows is None or not line.startswith('| ') or cells[0] in ('workload', '---'):
            continue
        row = rows.setdefault(cells[0], ([], []))
        if len(cells) == len(HEAD):
            row[0].append(cells)
        else:
            row[1][:] = cells
    return found, when


def section(when, rows):
    return [when, '', mark_table(HEAD, [r for forms, _ in rows.values() for r in forms]),
            'Tokens a second of all peers:', '',
            mark_table(['workload'] + PEERS, [peers for _, peers in rows.values()])]


def write_document(o, load, listing, threads, name, new, peers):
    """The file with the rows of a workload made new; those of others stay."""
    heading = f'## {plural(threads, "thread")}'
    kept, when = read_rows(o.out)
    when[heading] = (f'The last of them: medians of {plural(o.rounds, "round")} of {o.seconds:g} s,'
                     f' load of the machine at the start {load:.2f}, {time.strftime("%Y-%m-%d")}.')
    rows = kept.setdefault(heading, {})
    rows[name] = (new, peers)
    kept[heading] = {w: rows[w] for w in listing if w in rows}
    lines = ['# Results of the benchmark', '', *machine(),
             'Written by `sh tests/bench/compare`: ours and each peer in turns. A peer that has '
             f'less than {SLOW} of the rate of the fastest in the first round has one round.', '',
             'Rates are tokens and model flops a second; "of peak" is the share of a loop of '
             'multiply-adds in registers, measured in the same runs on as many threads; "loss" '
             'that of the first and of the last step. "First ms" is the time from the start of '
             'the program to the end of its first step, the least of the rounds: a virtual '
             'machine that was never asked for its memory before takes 2 ms to find one MB of '
             'it. The peers are described in [peers.py](peers.py).', '']
    for text in sorted(kept, reverse=True):
        lines += [text, '', *section(when.get(text, ''), kept[text])]
    aside = Path(o.out + '.new')
    aside.write_text('\n'.join(lines))
    aside.replace(o.out)


# ---- The program -----------------------------------------------------------------------------

def selection(parser, o, listing):
    """{workload: forms}, in the order of the list."""
    wanted = {}
    for item in o.workload or [n for n in listing]:
        name, _, form = item.partition(':')
        if name not in listing:
            parser.error(f"there is no workload '{name}'; build/tests/bench/bench --list has all")
        forms = wanted.setdefault(name, [])
        forms += [f for f in ([form] if form else ['textbook'] + MORE_FORMS.get(name, []))
                  if f not in forms]
    return wanted


def main():
    parser, o = options()
    load = os.getloadavg()[0]
    lines = subprocess.run([o.bench, '--list', '--json'], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    listing = {w['workload']: w for w in map(json.loads, lines)}
    wanted = selection(parser, o, listing)
    for threads in o.threads:
        rows, peers = [], []
        for name, forms in wanted.items():
            results = measure(o, listing, name, forms, threads)
            new = rows_of(name, forms, results)
            rows += new
            peers.append(peer_row(name, results))
            for row in new:                             # while one waits for the table
                print(*row[:8], sep='  ', file=sys.stderr)
            write_document(o, load, listing, threads, name, new, peers[-1])
        print(text_table(HEAD, rows), text_table(['workload'] + PEERS, peers), sep='\n\n')
    print(f'\n{o.out} has this table')


if __name__ == '__main__':
    main()
