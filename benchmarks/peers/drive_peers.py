"""Run the peers side by side, their measurements interleaved.

  python benchmarks/peers/drive_peers.py [--root DIR] [--peers trl tunix]
      [--tokens 32 128] [--beta 0.04 0] [--long-tail 256] [--repeats 3]

Prints every answer as a line of JSON, then the median warm seconds.
setup_peers.py must have built the environments at --root.
"""

import argparse
import json
import pathlib
import random
import statistics
import sys

import protocol

REPO = pathlib.Path(__file__).resolve().parents[2]


def long_tail_lengths(longest, count=64, seed=0):
  """Response lengths of a reasoning batch: most short, a few at the cap."""
  rng = random.Random(seed)
  draws = [int(longest / 6 * rng.lognormvariate(0, 0.9)) for _ in range(count)]
  lengths = [min(max(draw, 4), longest) for draw in draws]
  lengths[rng.randrange(count)] = longest
  return lengths


def warm_commands(args):
  """What is measured warm: each is asked once before it counts."""
  commands = [{'op': 'generate', 'tokens': n} for n in args.tokens]
  commands += [
    {'op': 'step', 'tokens': n, 'beta': beta}
    for n in args.tokens
    for beta in args.beta
  ]
  if args.long_tail:
    lengths = long_tail_lengths(args.long_tail)
    commands.append({'op': 'long_tail', 'lengths': lengths})
  return commands


def label(command):
  keys = ('op', 'tokens', 'beta')
  return ' '.join(str(command[key]) for key in keys if key in command)


def report(peer, command, reply):
  print(
    json.dumps({'peer': peer, 'asked': label(command), **reply}), flush=True
  )


def first_steps(args):
  """The first step of every peer, each in a process of its own."""
  for peer in args.peers:
    worker = protocol.start_peer(args.root, peer, nice=args.nice)
    try:
      command = {'op': 'first_step', 'tokens': args.tokens[-1]}
      report(peer, command, protocol.ask(worker, command, args.timeout))
    finally:
      protocol.stop(worker)


def interleaved(workers, args):
  """{(peer, label): warm seconds}, taking turns between the peers."""
  seconds = {}
  for command in warm_commands(args):
    for turn in range(args.repeats + 1):
      for peer, worker in workers.items():
        reply = protocol.ask(worker, command, args.timeout)
        report(peer, command, reply)
        if turn:
          seconds.setdefault((peer, label(command)), []).append(
            reply['seconds']
          )
  return seconds


def parse(argv):
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    '--root', type=pathlib.Path, default=REPO / '.bench' / 'venvs'
  )
  parser.add_argument('--peers', nargs='+', default=['trl', 'tunix'])
  parser.add_argument('--tokens', nargs='+', type=int, default=[128])
  parser.add_argument('--beta', nargs='+', type=float, default=[0.04])
  parser.add_argument('--long-tail', type=int, default=0, metavar='LONGEST')
  parser.add_argument('--first-step', action='store_true')
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--timeout', type=float, default=300)
  parser.add_argument('--nice', type=int, default=0)
  return parser.parse_args(argv)


def main(argv=None):
  args = parse(argv)
  if args.first_step:
    first_steps(args)
  workers = {}
  try:
    for peer in args.peers:
      workers[peer] = protocol.start_peer(args.root, peer, nice=args.nice)
      report(peer, {'op': 'start'}, workers[peer].ready)
    seconds = interleaved(workers, args)
  finally:
    for worker in workers.values():
      protocol.stop(worker)
  for (peer, what), values in seconds.items():
    print(
      '%-6s %-20s median %.3f s, %.3f to %.3f'
      % (peer, what, statistics.median(values), min(values), max(values))
    )


if __name__ == '__main__':
  sys.exit(main())
