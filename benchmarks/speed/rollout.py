"""The rollout server against what it could be at best, side by side.

    python -m benchmarks.speed.rollout [--repeats 5] [--slots 32] [--tokens 256]

One policy of 3.3 million random weights in float32 (that of `make bench`), and
ids that end no response:

  bare loop    one jitted loop of decode steps, sampling included, over a full
               batch: no slots, no stops, no prefill; nothing can be faster
  in process   `LocalRollout` at as many slots: prompts, slots, host copies
  gRPC         `RemoteRollout` and one worker, a process of its own on this
               machine, over the loopback
  stock        JetStream's `orchestrator.Driver`, with the one fix it needs to
               run at all, over `PolicyEngine`
  driver       `JetStreamDriver` over the same engine, by the same calls

  wasted calls     generate calls of the driver beyond those the tokens need
  interrupt calls  generate calls that are still made after an interrupt
  long tail        64 new responses an iteration of 6 to 1,024 tokens (those of
                   `make bench`) in 16 slots, whole or by a token budget;
                   bound: max(longest growth, total growth / slots) steps
  weights          time and bytes of an update, in process and over gRPC

All but the last three take turns within one run; the median of the repeats
counts, after a first turn that compiles.  The last line is RESULT and a JSON
object.
"""

import argparse
import dataclasses
import json
import os
import statistics
import sys

import numpy as np

from benchmarks import together
from benchmarks.peers import worker_side as side
from benchmarks.speed import rl_step
from benchmarks.speed import rollout_sides as sides
from k15.devices import host_memory
from k15.serving import jetstream_driver


def take_turns(runs, repeats):
  """{name: [measurement of each repeat]}; one more comes first, uncounted."""
  takes = {name: [] for name in runs}
  for turn in range(1 + repeats):
    for name, run in runs.items():
      start = side.mark()
      facts = run()
      take = side.since(start) | facts
      print(f'  {name}: {json.dumps(take)}', file=sys.stderr, flush=True)
      if turn:
        takes[name].append(take)
  return takes


def speeds(takes):
  """{name: median tokens per second}, with a line each."""
  found = {}
  for name, each in takes.items():
    rates = sorted(take['tokens'] / take['seconds'] for take in each)
    found[name] = statistics.median(rates)
    preempted = statistics.median(
      take['preempted'] / take['seconds'] for take in each
    )
    calls = {take['calls'] for take in each if 'calls' in take}
    print(
      f'{name:<12}{found[name]:>9.0f} tokens/s   {rates[0]:>7.0f} to'
      f' {rates[-1]:>7.0f}   preempted {preempted:>4.0f}/s'
      + (f'   generate calls {sorted(calls)}' if calls else ''),
      flush=True,
    )
  return found


def throughput(session, args):
  """The three ways to sample a full batch; two ratios."""
  with sides.worker(session, args) as remote:
    local = session.local()
    found = speeds(
      take_turns(
        {
          'bare loop': sides.bare_loop(session, args.slots, args.tokens),
          'in process': sides.answer_all(local, args.slots, args.tokens),
          'gRPC': sides.answer_all(remote, args.slots, args.tokens),
        },
        args.repeats,
      )
    )
    weights(session, local, remote, args)
  return {
    'in_process_ratio': found['in process'] / found['bare loop'],
    'grpc_ratio': found['gRPC'] / found['in process'],
  }


def drivers(session, args):
  """Stock driver and ours, and what ours wastes."""
  count = args.batches * args.slots
  stock = sides.Stock(args)
  ours = sides.Drive(session, jetstream_driver.JetStreamDriver)
  try:
    takes = take_turns(
      {
        'stock': lambda: stock.run(count, args.tokens),
        'driver': lambda: ours.run(count, args.tokens),
      },
      args.repeats,
    )
    interrupt_calls = max(
      ours.interrupt_calls(args.slots, args.tokens) for _ in range(args.repeats)
    )
  finally:
    stock.close()
    ours.close()
  found = speeds(takes)
  # All responses have one length, so the slots of a batch stop together.
  calls = args.batches * -(-args.tokens // session.tokens_per_call)
  wasted = max(take['calls'] for take in takes['driver']) - calls
  print(
    f'needed {calls} generate calls; wasted {wasted}, after an interrupt at'
    f' most {interrupt_calls}'
  )
  return {
    'stock_driver_ratio': found['stock'] / found['driver'],
    'wasted_calls': wasted,
    'interrupt_calls': interrupt_calls,
  }


@dataclasses.dataclass
class Growing:
  """A response of the long tail: its request, tokens wanted, iteration."""

  request: object
  wanted: int
  opened: int


def long_tail(session, args):
  """Iterations with a token budget and without; the ratio to the bound."""
  lengths = [min(n, args.longest) for n in rl_step.LONG_TAIL]
  rollout = session.local(**sides.tail_settings(args, max(lengths)))
  rollout.warm_up()
  result = {}
  for name, budget, skip, count in (
    ('whole', max(lengths), 0, args.whole),
    # In the first iterations there is little to resume yet: so many are left
    # out as the longest response takes.
    ('partial', args.budget, -(-max(lengths) // args.budget), args.partial),
  ):
    waiting, records = [], []
    for iteration in range(skip + count):
      waiting += [
        Growing(request, n, iteration)
        for request, n in zip(sides.requests(lengths), lengths, strict=True)
      ]
      waiting.sort(key=lambda g: (g.opened, -len(g.request.response)))
      waiting, record = one_phase(rollout, waiting, budget, args.tail_slots)
      records.append(record)
    records = records[skip:]
    seconds = statistics.median(r['seconds'] for r in records)
    tokens = sum(r['trained'] for r in records)
    rate = tokens / sum(r['seconds'] for r in records)
    ratio = np.mean([r['bound'] / r['steps'] for r in records])
    steps = np.mean([r['steps'] for r in records])
    print(
      f'{name:<12}{seconds:>9.2f} s an iteration   {steps:>6.0f} steps'
      f'   {ratio:.3f} of the bound   {rate:>6.0f} useful tokens/s',
      flush=True,
    )
    result |= {f'{name}_bound_ratio': ratio, f'{name}_seconds': seconds}
  return result


def one_phase(rollout, waiting, budget, slots):
  """Grows responses; those still waiting, and a record."""
  asked = {
    (g.request.group_id, g.request.sample_index): (
      g,
      dataclasses.replace(
        g.request, budget=min(budget, g.wanted - len(g.request.response))
      ),
    )
    for g in waiting
  }
  rollout.pop_stats()
  start, trained = side.mark(), 0
  for done in rollout.generate([request for _, request in asked.values()]):
    name = (done.request.group_id, done.request.sample_index)
    growing, request = asked[name]
    response = np.concatenate([request.response, done.tokens])
    growing.request = dataclasses.replace(request, response=response)
    if len(response) == growing.wanted:
      trained += len(response)
  record = side.since(start) | dict(trained=trained)
  record['steps'] = rollout.pop_stats()['decode_steps']
  budgets = [request.budget for _, request in asked.values()]
  record['bound'] = max(max(budgets), sum(budgets) / slots)
  left = [g for g in waiting if len(g.request.response) < g.wanted]
  return left, record


def weights(session, local, remote, args):
  """Prints time and bytes of weight updates."""
  for name, rollout in (('in process', local), ('gRPC', remote)):
    seconds, size = [], 0
    for _ in range(1 + args.repeats):
      params = session.next_params()
      rollout.pop_stats()
      start = side.mark()
      with session.context.layout.use_mesh():
        rollout.set_params(params, session.version)
      # Weights are sent in the background: this waits until the worker has all
      # of them.
      rollout.warm_up() if rollout is remote else None
      seconds.append(side.since(start)['seconds'])
      size = rollout.pop_stats().get('update_bytes', 0)
    print(
      f'weights, {name}: {1e3 * statistics.median(seconds[1:]):.1f} ms,'
      f' {size / 1e6:.1f} MB moved of {session.bytes / 1e6:.1f} MB',
      flush=True,
    )


def parse(argv):
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  add = parser.add_argument
  add('--repeats', type=int, default=5)
  add('--slots', type=int, default=32)
  add('--tokens', type=int, default=256, help='of a response')
  add('--batches', type=int, default=2, help='of slots, for the drivers')
  add('--tail_slots', type=int, default=16, help='for the long tail')
  add('--longest', type=int, default=1024, help='cuts the long tail')
  add('--budget', type=int, default=64, help='tokens, of partial rollouts')
  add('--whole', type=int, default=3, help='iterations without a budget')
  add('--partial', type=int, default=5, help='with, after the transient')
  parts = ('throughput', 'drivers', 'long_tail')
  add('--parts', nargs='+', choices=parts, default=parts)
  add('--serve', type=int, help='be the worker, at this port')
  add('--stock', action='store_true', help='be the stock driver')
  return parser.parse_args(argv)


def main(argv=None):
  args = parse(argv)
  host_memory.keep_freed(threads_compute=True)
  session = sides.Session(args)
  if args.serve is not None:
    sides.serve(session, args.serve)
    return
  if args.stock:
    sides.serve_stock(session)
    return
  print(
    f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {args.slots}'
    f' slots, {args.tokens} tokens, {session.tokens_per_call} per call'
  )
  result = {}
  if 'throughput' in args.parts:
    result |= throughput(session, args)
  if 'drivers' in args.parts:
    result |= drivers(session, args)
  if 'long_tail' in args.parts:
    result |= long_tail(session, args)
  together.print_result(result)


if __name__ == '__main__':
  main()
