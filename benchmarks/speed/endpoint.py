"""The OpenAI-compatible endpoint beside its own engine, bare.

    python -m benchmarks.speed.endpoint [--clients 64] [--tokens 256]

A worker with as many slots as there are clients, of random weights:

  bare      all responses are asked of the driver at once, in its process
  whole     clients of another process ask one after the other, by HTTP
  streamed  the same, answered in pieces as tokens come

They take turns within one run, after a first turn that warms up; the median of
the repeats counts.  The clients are on this machine and take their share of its
cores.  Beside it stand the calls of the decode loop; each takes as long,
however many slots are in use.  The last line is RESULT and a JSON object with
both ratios to the bare engine's tokens per second.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from benchmarks import together
from benchmarks.speed import endpoint_side as side
from benchmarks.speed import http_clients


def measure(args, server, clients):
  """{side: [(tokens per second, decode calls) of each repeat]}."""
  rates = {'bare': [], 'whole': [], 'streamed': []}
  for turn in range(1 + args.repeats):
    for name, found in rates.items():
      before = calls_of(server)
      if name == 'bare':
        start = time.monotonic()
        tokens = side.run_bare(server, args.clients * args.rounds, args.tokens)
        took = dict(tokens=tokens, seconds=time.monotonic() - start)
      else:
        took = ask(clients, args, name == 'streamed')
      expected = args.clients * args.rounds * args.tokens
      if took['tokens'] != expected:
        raise RuntimeError(f'{name}: {took["tokens"]} tokens, not {expected}')
      print(f'  {name}: {json.dumps(took)}', file=sys.stderr, flush=True)
      if turn:
        rate = took['tokens'] / took['seconds']
        found.append((rate, calls_of(server) - before))
  return rates


def calls_of(server):
  """How often the driver's decode loop was called, so far."""
  stats = server.driver.command(lambda scheduler: scheduler.stats())
  return stats.result()['generate_calls']


def ask(clients, args, is_stream):
  """Lets all clients run once; what they say."""
  command = dict(
    count=args.clients, rounds=args.rounds, tokens=args.tokens,
    is_stream=is_stream,
  )  # fmt: skip
  clients.stdin.write(json.dumps(command) + '\n')
  clients.stdin.flush()
  line = clients.stdout.readline()
  if not line:
    raise RuntimeError(f'the clients ended: {clients.wait()}')
  return json.loads(line)


def main(argv=None):
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  add = parser.add_argument
  add('--clients', type=int, default=64)
  add('--tokens', type=int, default=256, help='of a response')
  add('--rounds', type=int, default=2, help='responses of each client')
  add('--repeats', type=int, default=3)
  add('--width', type=int, default=256)
  add('--layers', type=int, default=4)
  args = parser.parse_args(argv)
  columns = len(http_clients.PROMPT) + args.tokens
  server, front = side.make_server(
    side.shape(args.width, args.layers), args.clients, columns
  )
  clients = subprocess.Popen(
    [sys.executable, '-m', 'benchmarks.speed.http_clients', str(front.port)],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
  )  # fmt: skip
  print(
    f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {args.clients}'
    f' clients, {args.tokens} tokens a response'
  )
  try:
    rates = measure(args, server, clients)
  finally:
    clients.communicate('\n')
    server.stop()
  result = {}
  for name, repeats in rates.items():
    each, calls = zip(*repeats, strict=True)
    result[name] = statistics.median(each)
    print(
      f'{name:<10}{result[name]:>9.0f} tokens/s   {min(each):>7.0f} to'
      f' {max(each):>7.0f}   {result[name] / result["bare"]:.3f} of the bare'
      f' engine   {statistics.median(calls):g} calls'
    )
  together.print_result(
    {
      f'{name}_ratio': result[name] / result['bare']
      for name in ('whole', 'streamed')
    }
  )


if __name__ == '__main__':
  main()
