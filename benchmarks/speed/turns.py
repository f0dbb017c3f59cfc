"""k15 beside itself: other checkouts, settings or flags, taking turns.

  python -m benchmarks.speed.turns generate [--tokens 128] [--rounds 12] \\
      [--side '../other' 'XLA_FLAGS=--xla_...' 'rollout.num_slots=8' ...]

The operation is one of `benchmarks.speed.rl_step`, on its random policy.  The
first side is this checkout as it is.  A side names what differs, words apart by
spaces: a folder with another checkout, config keys (those with a dot, values as
JSON; the weights stay what they are) and variables of the environment.

A round asks every side once, every other round the other way about.  The ratio
of seconds, and of seconds of processors, is the median of those of the rounds:
on a machine whose speed changes by a third within minutes, it tells a few
hundredths where medians of seconds do not.  `first_step` starts a process each
time.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import sys

from benchmarks import together
from benchmarks.peers import protocol
from benchmarks.speed import rl_step

OPS = ('generate', 'step', 'first_step')


@dataclasses.dataclass(frozen=True)
class Side:
  """A checkout, what it is told by the environment, and config keys."""

  name: str
  folder: pathlib.Path
  environment: dict[str, str]
  settings: dict[str, object]


def make_side(words):
  """A side of its words; none are this checkout as it is."""
  folder, environment, settings = rl_step.REPO, {}, {}
  for word in words.split():
    key, is_pair, value = word.partition('=')
    if not is_pair:
      folder = pathlib.Path(word).resolve()
    elif '.' in key:
      settings[key] = json.loads(value)
    else:
      environment[key] = value
  return Side(words or 'as it is', folder, environment, settings)


def start(side, timeout):
  return protocol.start_worker(
    [sys.executable, '-u', '-m', 'benchmarks.speed.k15_worker'],
    cwd=side.folder,
    env={**rl_step.ENVIRONMENT, **side.environment},
    timeout=timeout,
  )


def take(side, worker, args):
  """One answer: seconds, and those of processors."""
  command = {'op': args.op, 'tokens': args.tokens, 'settings': side.settings}
  own = worker or start(side, args.timeout)
  reply = protocol.ask(own, command, args.timeout)
  if not worker:
    protocol.stop(own)
  return reply


def measure(sides, args):
  """{name: replies}, one a round; two before them do not count."""
  is_first = args.op == 'first_step'
  workers = [None if is_first else start(s, args.timeout) for s in sides]
  takes = {side.name: [] for side in sides}
  pairs = list(zip(sides, workers, strict=True))
  try:
    for number in range(args.rounds if is_first else 2 + args.rounds):
      for side, worker in pairs if number % 2 else reversed(pairs):
        reply = take(side, worker, args)
        if is_first or number >= 2:
          takes[side.name].append(reply)
  finally:
    for worker in filter(None, workers):
      protocol.stop(worker)
  return takes


def ratios(first, other, key):
  """Of every round, how many times as much the first side took."""
  return [a[key] / b[key] for a, b in zip(first, other, strict=True)]


def run(args):
  """Prints a line a side; returns {name: ratio of seconds}."""
  sides = [make_side(words) for words in ['', *args.side]]
  takes, result = measure(sides, args), {}
  first = takes[sides[0].name]
  print(f'{"seconds":>8}{"ratio":>7}{"cpu":>7}  {args.op} {args.tokens}')
  for name, replies in takes.items():
    seconds = statistics.median(reply['seconds'] for reply in replies)
    result[name] = statistics.median(ratios(first, replies, 'seconds'))
    cpu = statistics.median(ratios(first, replies, 'cpu_seconds'))
    print(f'{seconds:>8.3f}{result[name]:>7.3f}{cpu:>7.3f}  {name}', flush=True)
  return result


def parse(argv):
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('op', choices=OPS)
  parser.add_argument('--tokens', type=int, default=128)
  parser.add_argument('--rounds', type=int, default=12)
  parser.add_argument('--side', nargs='+', default=[], metavar='WORDS')
  parser.add_argument('--timeout', type=float, default=900)
  return parser.parse_args(argv)


def main(argv=None):
  together.print_result(run(parse(argv)))


if __name__ == '__main__':
  main()
