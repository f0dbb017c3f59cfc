"""The sandbox side by side with bubblewrap started fresh, in one run.

  python -m benchmarks.speed.sandbox [--workers 2] [--rounds 5] [--runs 100]

Every round measures each way in turn, so that what else the machine does
befalls all of them alike; the medians over rounds are compared.  The job is
the smallest there is: a Python program that prints a number.

  pool            a rung of ours, the whole of `pool.Pool.run`
  bwrap fresh     bubblewrap with the view and the namespaces of our rungs
                  around `python -I -S -c ...`: no limits, no seccomp, no
                  control group, no verdict
  fresh           the same Python without any walls

Prints a table, how it stands to the paper's figures, and `RESULT {json}`.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import statistics
import subprocess
import time

from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.sandbox import walls

SOURCE = 'print(41 + 1)'
_AS_NOBODY = dict(user=65534, group=65534, extra_groups=[])
_PAPER = """
Beside Kimi k1.5, section 2.6.4 (sandbox on 16 cores, against Docker):
                                    seconds    per second
  paper: a container of Docker         0.12        27
  paper: a container of theirs         0.04       120
  here:  {rung:28} {cost:6.4f}  {rate:8.0f}   a whole run, on {cores} cores
Not the same thing: theirs starts a container (crun, overlay of an image, a
service before it), ours forks a warm Python in bare namespaces on the system's
own read-only files, and the program here is the smallest there is.  Only
ratios within one machine say anything: theirs to Docker {theirs:.1f}, ours to
bubblewrap started fresh {ours:.1f}."""


def fresh_commands() -> dict[str, list[str]]:
  """Commands by name; bubblewrap only where it is installed."""
  interpreter, _ = walls.find_interpreter()
  program = [interpreter, '-I', '-S', '-c', SOURCE]
  commands = {'fresh': program}
  with contextlib.suppress(walls.SandboxError):
    _, config = walls.make_config('bwrap', {}, ())
    commands['bwrap fresh'] = [*config['bwrap'], *program]
  return commands


def _start(command):
  """Starts a command, as nobody, and waits for what it prints."""
  done = subprocess.run(
    command,
    env={},
    cwd='/',
    capture_output=True,
    check=True,
    **(_AS_NOBODY if os.geteuid() == 0 else {}),
  )
  assert done.stdout == b'42\n', done


def measure(run, runs: int, workers: int) -> tuple[float, float]:
  """(runs per second of all workers, median seconds of one run)."""
  times = []

  def one(_):
    start = time.perf_counter()
    run()
    times.append(time.perf_counter() - start)

  with concurrent.futures.ThreadPoolExecutor(workers) as threads:
    start = time.perf_counter()
    list(threads.map(one, range(runs)))
  return runs / (time.perf_counter() - start), statistics.median(times)


def _runner(pool, rung):
  job = pool_lib.Job('python', SOURCE)

  def run():
    outcome = pool.run(job)
    assert outcome.stdout == '42\n', (rung, outcome)

  return run


def ways(workers: int, stack: contextlib.ExitStack) -> dict:
  """What is measured: a function by name, each rung that holds among them."""
  found = {}
  for rung in walls.LADDER:
    try:
      pool = pool_lib.Pool(workers, lowest=rung, highest=rung)
    except walls.SandboxError as error:
      print(f'{rung}: {error}')
      continue
    stack.enter_context(pool)
    found[f'pool {pool.rung}'] = _runner(pool, rung)
  for name, command in fresh_commands().items():
    found[name] = lambda command=command: _start(command)
  return found


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workers', type=int, default=2)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--runs', type=int, default=100)
  args = parser.parse_args()
  rates, costs = {}, {}
  with contextlib.ExitStack() as stack:
    found = ways(args.workers, stack)
    # Uncounted: the first runs of each worker find cold pages and caches.
    for run in found.values():
      measure(run, 2 * args.workers, args.workers)
    for _ in range(args.rounds):
      for name, run in found.items():
        rate, cost = measure(run, args.runs, args.workers)
        rates.setdefault(name, []).append(rate)
        costs.setdefault(name, []).append(cost)
  report(rates, costs)


def report(rates: dict[str, list[float]], costs: dict[str, list[float]]):
  """Prints the table, the paper's figures and the result."""
  cores = len(os.sched_getaffinity(0))
  print(f'{"":28} runs/s on {cores} cores    least    most   ms per run')
  rate = {name: statistics.median(found) for name, found in rates.items()}
  cost = {name: statistics.median(found) for name, found in costs.items()}
  for name, found in rates.items():
    print(
      f'{name:28} {rate[name]:17.0f} {min(found):8.0f} {max(found):7.0f}'
      f' {1000 * cost[name]:12.2f}'
    )
  best = next(name for name in rates if name.startswith('pool'))
  ratio = None
  if 'bwrap fresh' in rates:
    pairs = zip(rates[best], rates['bwrap fresh'], strict=True)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(
      _PAPER.format(
        rung=best, cost=cost[best], rate=rate[best], cores=cores,
        theirs=120 / 27, ours=ratio,
      )
    )  # fmt: skip
  else:
    print('bubblewrap is not installed: no ratio')
  result = {
    'rung': best.removeprefix('pool '),
    'runs_per_second': round(rate[best], 1),
    'ratio_to_bwrap': ratio and round(ratio, 2),
    'seconds_per_run_by_rung': {n: round(c, 5) for n, c in cost.items()},
    'cores': cores,
  }
  print('RESULT', json.dumps(result))


if __name__ == '__main__':
  main()
