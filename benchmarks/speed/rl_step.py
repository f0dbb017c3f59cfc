"""One RL step on this machine's CPU, side by side: k15, TRL and Tunix.

  python -m benchmarks.speed.rl_step [--ops generate step ...] \\
      [--tokens 128 512] [--repeats 5] [--peers trl tunix] [--root DIR]

All three run the same Qwen3-shaped policy of 3.3 million random weights in
float32, on 4 prompts of 24 tokens with 4 responses each:

  first_step      first whole step of a fresh process, compilation included;
                  k15's second row leaves out its warm-up of unused shapes
  generate        responses of exactly N tokens
  step            generate, reward, advantages, one update; k15's with the
                  pull to the reference (tau = 0.1), the peers' with beta = 0.04
  step_plain      the same without the pull (tau = 0, beta = 0)
  step_updates    the same split in four updates, k15 alone
  logprob_diff    |log-prob of the rollout - that of the training forward|
  recompilations  XLA compilations after the first two of eight iterations
  long_tail       64 responses of 6 to 1024 tokens, batched each library's
                  best way: ways are tried once, the best is then measured

Measurements take turns between the libraries; the median of the repeats
counts.  One that other processes disturbed is taken again.  The table and the
last line, `RESULT {json}`, go to stdout, every single answer to stderr.  The
peers' environments are made at --root when they are missing.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import statistics
import sys
import types

from benchmarks import together
from benchmarks.peers import protocol
from benchmarks.peers import setup_peers
from launch.units import unit

REPO = pathlib.Path(__file__).resolve().parents[2]
OPS = (
  'first_step', 'generate', 'step', 'step_plain', 'step_updates',
  'logprob_diff', 'recompilations', 'long_tail',
)  # fmt: skip
BETA = 0.04
TITLES = {'k15': 'k15', 'trl': 'TRL', 'tunix': 'Tunix'}
# Nobody's programs come from an earlier run.
ENVIRONMENT = {'JAX_PLATFORMS': 'cpu', 'JAX_ENABLE_COMPILATION_CACHE': 'false'}
# Log-normal, in order of arrival: z = random.Random(0).gauss(0, 1) 64 times,
# moved and scaled so that the median is 64 and the longest 1024.
LONG_TAIL = (
  181, 16, 34, 100, 24, 63, 82, 29, 18, 83, 191, 35, 48, 376, 38, 40,
  826, 14, 156, 9, 37, 324, 242, 27, 43, 74, 18, 121, 688, 17, 9, 92,
  60, 443, 58, 65, 56, 24, 137, 17, 229, 69, 115, 38, 26, 441, 111, 239,
  83, 1024, 99, 23, 151, 106, 6, 60, 189, 157, 48, 19, 114, 21, 270, 50,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Row:
  """A line of the table: what k15 is asked, what its peers are (None:
  nothing), and the key of the ratio in the result."""

  name: str
  ours: dict
  theirs: dict | None = None
  key: str | None = None

  def commands(self, names):
    """{worker: command} of those that are asked something."""
    commands = {'k15': self.ours} | dict.fromkeys(names, self.theirs)
    return {name: c for name, c in commands.items() if c is not None}


def interleaved_rows(args):
  """What is measured warm, in one process per library."""
  rows = []
  for n in args.tokens:
    step = {'op': 'step', 'tokens': n}
    generate = {'op': 'generate', 'tokens': n}
    plain = {'loss.method': 'reinforce'}
    rows += [
      Row(f'generate {n}', generate, generate, f'generate_ratio_{n}'),
      Row(f'step {n}', step, step | {'beta': BETA}, f'step_ratio_{n}'),
      Row(f'step_plain {n}', step | {'settings': plain}, step | {'beta': 0.0}),
      Row(f'step_updates {n}', step | {'updates': 4}),
    ]
  return [row for row in rows if row.name.split()[0] in args.ops]


def start_k15(timeout, folder=REPO, environment=types.MappingProxyType({})):
  """A worker of the checkout in a folder, told this beside ENVIRONMENT."""
  command = [sys.executable, '-u', '-m', 'benchmarks.speed.k15_worker']
  env = {**ENVIRONMENT, **environment}
  return protocol.start_worker(command, timeout, env, folder)


def start(name, args):
  if name.startswith('k15'):
    return start_k15(args.timeout)
  options = {'env': ENVIRONMENT, 'timeout': args.timeout}
  return protocol.start_peer(args.root, name, **options)


@contextlib.contextmanager
def started(names, args, start=start):
  """{name: worker}, of start(name, args) each, ended on the way out."""
  workers = {}
  try:
    for name in names:
      workers[name] = start(name, args)
    yield workers
  finally:
    for worker in workers.values():
      protocol.stop(worker)


def ask(name, worker, row_name, command, args):
  reply = protocol.ask(worker, command, args.timeout)
  line = json.dumps({'worker': name, 'row': row_name, **reply})
  print(line, file=sys.stderr, flush=True)
  return reply


def preempted_per_second(take):
  return take['preempted'] / take['seconds']


def measure(workers, row_name, commands, args):
  """{worker: takes}, in turns; disturbed ones are taken again.

  Every worker is asked once before it counts.  Retakes get as many rounds as
  takes at most, for a machine that does not come to rest.
  """
  takes = {name: [] for name in commands}
  for turn in range(1 + args.repeats):
    for name, command in commands.items():
      reply = ask(name, workers[name], row_name, command, args)
      if turn:
        takes[name].append(reply)
  for _ in range(args.repeats):
    for name, command in commands.items():
      worst = max(takes[name], key=preempted_per_second)
      if preempted_per_second(worst) > args.max_preempted:
        takes[name].remove(worst)
        reply = ask(name, workers[name], row_name, command, args)
        takes[name].append(reply)
  return takes


def first_steps(row, args):
  """{worker: takes}, each in a process of its own."""
  commands = row.commands(args.peers)
  takes = {name: [] for name in commands}
  for _ in range(args.first_steps):
    for name, command in commands.items():
      with started([name], args) as workers:
        reply = ask(name, workers[name], row.name, command, args)
      takes[name].append(reply)
  return takes


def long_tail(args):
  """{worker: takes}, each by the way of batching that suits it best."""
  lengths = [min(n, args.longest) for n in LONG_TAIL]
  names = ['k15', *args.peers]
  ways = dict(pair.split('=') for pair in args.way)
  commands = batched('long_tail', lengths, names, ways, args)
  with started(names, args) as workers:
    return measure(workers, 'long_tail', commands, args)


def batched(row_name, lengths, names, ways, args):
  """{worker: command} for responses of these lengths, each with its way of
  batching: that of `ways`, or the fastest.

  Ways are tried in processes of their own, as one may slow down what follows
  it: TRL's continuous batching leaves a second team of threads behind.
  """
  command, ways = {'op': 'long_tail', 'lengths': lengths}, dict(ways)
  for name in names:
    if name not in ways:
      with started([name], args) as workers:
        reply = ask(name, workers[name], f'{row_name} trial', command, args)
      tried = sorted(reply['tried'].items(), key=lambda item: item[1])
      ways[name] = tried[0][0]
      shown = ', '.join(f'{way} {seconds:.2f} s' for way, seconds in tried)
      print(f'  {name} tried: {shown}', flush=True)
  return {name: command | {'strategy': ways[name]} for name in names}


def checks(worker, args):
  """Asks for what is counted rather than timed; part of the result."""
  result = {}
  if 'logprob_diff' in args.ops:
    command = {'op': 'logprob_diff', 'tokens': 96}
    reply = ask('k15', worker, 'logprob_diff', command, args)
    result['logprob_max_diff'] = reply['max_diff']
    print(
      f'  largest log-prob difference of {reply["tokens"]} tokens:'
      f' {reply["max_diff"]:.1e} nats; {reply["pads_sampled"]} ids that pad'
      f' and {reply["ends_sampled"]} that end were sampled'
    )
  if 'recompilations' in args.ops:
    command = {'op': 'recompilations', 'tokens': 64, 'iterations': 6}
    reply = ask('k15', worker, 'recompilations', command, args)
    result['recompilations'] = reply['recompilations']
    by_iteration = [entry['compilations'] for entry in reply['iterations']]
    print(f'  compilations by iteration: {by_iteration}', flush=True)
  return result


def header(args):
  """Prints date, machine, version of k15, and the columns' names."""
  cpu = platform.processor() or platform.machine()
  info = pathlib.Path('/proc/cpuinfo')
  if info.exists():
    models = [x for x in info.read_text().splitlines() if 'model name' in x]
    cpu = models[0].partition(':')[2].strip() if models else cpu
  now = datetime.datetime.now().astimezone().isoformat(timespec='minutes')
  load = os.getloadavg()[0]
  print(f'{now}, {platform.platform()}, k15 {unit.commit() or "without git"}')
  print(f'{os.cpu_count()} cores of {cpu}, load {load:.1f} before the start')
  if load > 0.5:
    print('the machine is busy: ratios below may mislead')
  print(
    f'median of {args.repeats} after a warm-up, seconds; * disturbed by other'
    ' processes'
  )
  print(
    f'\n{"":<20}' + ''.join(f'{TITLES[n]:>10}' for n in TITLES)
    + f'{"ratio":>9}   preempted/s'
  )  # fmt: skip


def median_seconds(takes):
  return statistics.median(take['seconds'] for take in takes)


def print_row(name, takes, args):
  """One line; returns the ratio of the faster peer to k15, or None."""
  cells = ''
  for worker in TITLES:
    if worker not in takes:
      cells += f'{"-":>10}'
      continue
    rates = map(preempted_per_second, takes[worker])
    mark = '*' if max(rates) > args.max_preempted else ' '
    cells += f'{median_seconds(takes[worker]):>9.3f}{mark}'
  peers = [median_seconds(t) for n, t in takes.items() if n != 'k15']
  ratio = min(peers) / median_seconds(takes['k15']) if peers else None
  cells += f'{ratio:>8.2f}x' if peers else f'{"-":>9}'
  rates = ' '.join(
    f'{statistics.median(map(preempted_per_second, t)):.0f}'
    for t in takes.values()
  )
  print(f'{name:<20}{cells}   {rates}', flush=True)
  return ratio


def run(args):
  """Prints the table; returns the result."""
  result = {}
  n = args.tokens[0]
  if 'first_step' in args.ops:
    ours = {'op': 'first_step', 'tokens': n}
    for row in (
      Row(f'first_step {n}', ours, ours | {'beta': BETA}),
      Row('  no warm-up', ours | {'warm_up': False}),
    ):
      takes = first_steps(row, args)
      print_row(row.name, takes, args)
      if 'tunix' in takes:
        ratio = median_seconds(takes['tunix']) / median_seconds(takes['k15'])
        result['first_step_ratio'] = ratio
  with started(['k15', *args.peers], args) as workers:
    for row in interleaved_rows(args):
      takes = measure(workers, row.name, row.commands(args.peers), args)
      ratio = print_row(row.name, takes, args)
      if row.key and ratio:
        result[row.key] = ratio
    versions = {name: w.ready['versions'] for name, w in workers.items()}
    result |= checks(workers['k15'], args)
  if 'long_tail' in args.ops:
    ratio = print_row('long_tail', long_tail(args), args)
    if ratio:
      result['long_tail_ratio'] = ratio
  for name, packages in versions.items():
    shown = ', '.join(f'{key} {value}' for key, value in packages.items())
    print(f'{TITLES[name]}: {shown}')
  return result


def parse(argv):
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--ops', nargs='+', choices=OPS, default=OPS)
  add('--tokens', nargs='+', type=int, default=[128, 512])
  add('--repeats', type=int, default=5)
  add('--first-steps', type=int, default=3, help='processes each')
  add('--longest', type=int, default=1024, help='cuts long_tail')
  peers = ['trl', 'tunix']
  add('--peers', nargs='*', choices=peers, default=peers)
  add('--root', type=pathlib.Path, default=setup_peers.DEFAULT_ROOT)
  way = 'measure long_tail by this way of batching, try no others'
  add('--way', nargs='*', default=[], metavar='LIBRARY=WAY', help=way)
  disturbed = 'preemptions per second from which a take counts as disturbed'
  add('--max-preempted', type=float, default=50, metavar='N', help=disturbed)
  add('--timeout', type=float, default=900, help='seconds, of one answer')
  return parser.parse_args(argv)


def main(argv=None):
  args = parse(argv)
  args.root.mkdir(parents=True, exist_ok=True)
  for peer in args.peers:
    setup_peers.make_venv(args.root, peer)
  header(args)
  result = run(args)
  together.print_result(result)


if __name__ == '__main__':
  main()
