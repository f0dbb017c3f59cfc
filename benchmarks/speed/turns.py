"""k15 beside itself: other checkouts, settings or flags, taking turns.

  python -m benchmarks.speed.turns generate [--tokens 128] [--rounds 12] \\
      [--side '../other' 'XLA_FLAGS=--xla_...' 'rollout.num_slots=8' ...]

The operation is one of `benchmarks.speed.rl_step`, on its random policy.  The
first side is this checkout as it is.  A side names what differs, words apart by
spaces: a folder with another checkout, config keys (those with a dot, values as
JSON; the weights stay what they are) and variables of the environment.

A round asks every side once, every other round the other way about.  The ratio
of seconds, and of seconds of processors, is the median of those of the rounds:
on a machine whose speed changes by a third within minutes, 12 rounds tell a
twentieth, 40 a few hundredths, and medians of seconds neither.  `first_step`
starts a process each time.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics

from benchmarks import together
from benchmarks.peers import protocol
from benchmarks.speed import rl_step

OPS = ('generate', 'step', 'first_step')


# Rounds before those that count, in processes that have compiled nothing yet.
WARM_UP = 2


@dataclasses.dataclass(frozen=True, eq=False)
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


def start(side, args):
  return rl_step.start_k15(args.timeout, side.folder, side.environment)


def ask(side, worker, args):
  """One answer: seconds, and those of processors."""
  command = {'op': args.op, 'tokens': args.tokens, 'settings': side.settings}
  return protocol.ask(worker, command, args.timeout)


def measure(sides, args):
  """{side: replies}, one a round."""
  takes = {side: [] for side in sides}
  there, back = sides, sides[::-1]
  if args.op == 'first_step':
    for number in range(args.rounds):
      for side in back if number % 2 else there:
        with rl_step.started([side], args, start) as workers:
          takes[side].append(ask(side, workers[side], args))
    return takes
  with rl_step.started(sides, args, start) as workers:
    for number in range(WARM_UP + args.rounds):
      for side in back if number % 2 else there:
        takes[side].append(ask(side, workers[side], args))
  return {side: replies[WARM_UP:] for side, replies in takes.items()}


def ratios(first, other, key):
  """Of every round, how many times as much the first side took."""
  return [a[key] / b[key] for a, b in zip(first, other, strict=True)]


def run(args):
  """Prints a line a side; returns {name: ratio of seconds}."""
  sides = [make_side(words) for words in ['', *args.side]]
  takes, result = measure(sides, args), {}
  first = takes[sides[0]]
  print(f'{"seconds":>8}{"ratio":>7}{"cpu":>7}  {args.op} {args.tokens}')
  for side, replies in takes.items():
    seconds = statistics.median(reply['seconds'] for reply in replies)
    ratio = statistics.median(ratios(first, replies, 'seconds'))
    cpu = statistics.median(ratios(first, replies, 'cpu_seconds'))
    print(f'{seconds:>8.3f}{ratio:>7.3f}{cpu:>7.3f}  {side.name}', flush=True)
    result[side.name] = ratio
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
