"""The battery of hostile programs against the sandbox.

  python -m benchmarks.stress.hostile [--workers 2] [--rung seccomp] \\
      [--seconds 1]

Each program runs beside honest neighbours.  It has to end within its limit
plus half a second, must not be found correct, and leaves no process, file or
mount; every neighbour has to be found correct.  Prints a line per program and
`RESULT {json}`; exits with 1 when anything did not hold.
"""

import argparse
import json
import math
import os
import pathlib
import sys
import threading
import time

from benchmarks.stress import hostile_programs
from k15.rewards.code import programs as programs_lib
from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.sandbox.inside import values
from k15.rewards.verdict import Verdict

SLACK_SECONDS = 0.5
_LOOKS = 100  # for what is left, ten a second
HONEST = 'def solve(x): return x * 7'
CALL = programs_lib.CallTest(
  pool_lib.Call('solve', values.encode([[6], {}])), values.encode(42)
)
STDIN = programs_lib.StdinTest('6\n', '42')
FOLDERS = ('/tmp', '/var/tmp', '/dev/shm', '/run/lock')


def programs():
  """(name, language, source, test) of every program."""
  for name, source in hostile_programs.HACKS.items():
    yield name, 'python', source, CALL
  for name, source in hostile_programs.PROGRAMS.items():
    yield name, 'python', source, STDIN
  for name, source in hostile_programs.CPP_PROGRAMS.items():
    yield name, 'cpp', source, STDIN


def residue(pool: pool_lib.Pool) -> dict[str, object]:
  """What runs would leave: processes, files of nobody, mounts.

  The server's own processes are there before and after.
  """
  parents, found = {}, set()
  for entry in os.scandir('/proc') if os.path.isdir('/proc') else ():
    if entry.name.isdecimal():
      try:
        fields = pathlib.Path(entry.path, 'stat').read_text()
        parents[int(entry.name)] = int(fields.rpartition(')')[2].split()[1])
      except OSError:
        continue
  mounts = {}
  for pid in parents:
    line, above = [pid], parents[pid]
    while above in parents:
      line.append(above)
      above = parents[above]
    if os.getpid() in line:
      found.add(pid)
      try:
        text = pathlib.Path(f'/proc/{pid}/mountinfo').read_text()
        mounts[pid] = len(text.splitlines())
      except OSError:
        continue
  files = set()
  for folder in FOLDERS:
    if os.path.isdir(folder):
      files |= {e.path for e in os.scandir(folder) if _is_nobodys(e)}
  return {'processes': found, 'files': files, 'mounts': mounts}


def _is_nobodys(entry):
  try:
    return entry.stat(follow_symlinks=False).st_uid in (
      65534,
      os.geteuid(),
    ) and (
      entry.name.startswith('k15_')
      or entry.stat(follow_symlinks=False).st_uid == 65534
    )
  except OSError:
    return False


class Neighbours:
  """Honest programs, one after the other, until told to stop."""

  def __init__(self, pool):
    self.count, self.hurt = 0, []
    self._pool, self._stop = pool, threading.Event()
    self._thread = threading.Thread(target=self._run)
    self._thread.start()

  def _run(self):
    while not self._stop.is_set():
      verdict = programs_lib.judge_program(self._pool, 'python', HONEST, [CALL])
      self.count += 1
      if verdict.kind != 'correct':
        self.hurt.append(f'{verdict.kind} {verdict.reason}')

  def stop(self):
    self._stop.set()
    self._thread.join()


def attack(
  pool: pool_lib.Pool,
  seconds: float,
  chosen=None,
  out=None,
  slack_seconds: float = math.inf,
) -> dict[str, object]:
  """Runs the battery, or the chosen names of it, each beside neighbours.

  Args:
    seconds: limit of each program.
    chosen: names; None is all.
    out: file for a line each.
    slack_seconds: past the limit, until a program counts as late.  A loaded
      machine keeps to none: for measuring, and not for tests.

  Returns:
    Counts, and under 'broken' what did not hold.
  """
  pool.map([pool_lib.Job('python', '1')] * 4 * pool.workers)
  before, neighbours = residue(pool), Neighbours(pool)
  broken, times = [], []
  for name, language, source, test in programs():
    if chosen is not None and name not in chosen:
      continue
    verdict, took = _judge(pool, seconds, language, source, test)
    times.append(took)
    late = took > seconds + slack_seconds
    said = f'{verdict.kind} {verdict.reason}'.encode('ascii', 'replace')
    said = ' '.join(said.decode().split())[:70]
    if late or verdict.kind == 'correct' or verdict.reason[:7] == 'sandbox':
      broken.append(f'{name}: {said} in {took:.2f} s')
    if out:
      print(f'{took:6.2f} s  {name:36} {said}', file=out, flush=True)
  neighbours.stop()
  after = _settled(pool, before)
  broken += [f'neighbour: {hurt}' for hurt in neighbours.hurt]
  broken += [
    f'{kind} left: {after[kind]} were {before[kind]}'
    for kind in before
    if after[kind] != before[kind]
  ]
  return {
    'rung': pool.rung,
    'hostile_programs': len(times),
    'slowest_seconds': round(max(times), 3),
    'limit_seconds': seconds,
    'neighbours': neighbours.count,
    'broken': broken,
  }


def _settled(pool, before):
  """What is left once it no longer becomes less.

  Other sandboxes of this machine have files of nobody while they run something.
  """
  for _ in range(_LOOKS):
    after = residue(pool)
    after['files'] |= before['files']  # Those of others may go.
    if after == before:
      break
    time.sleep(0.1)
  return after


def _judge(pool, seconds, language, source, test):
  """The verdict, and how long it took; compilers have a limit of their own."""
  limits = pool_lib.Limits(seconds=seconds, memory_bytes=256 << 20)
  job = pool_lib.Job(language, source, '6', limits=limits)
  if language != 'python':
    outcome = pool.run(job)
    if outcome.reason.startswith('compile'):
      return Verdict('error', outcome.reason, pool.rung), 0.0
  start = time.monotonic()
  verdict = programs_lib.judge_program(pool, language, source, [test], limits)
  return verdict, time.monotonic() - start


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workers', type=int, default=2)
  parser.add_argument('--rung', help='of the ladder; the best by default')
  parser.add_argument('--seconds', type=float, default=1.0)
  args = parser.parse_args()
  ends = dict(highest=args.rung, lowest=args.rung) if args.rung else {}
  with pool_lib.Pool(args.workers, **ends) as pool:
    result = attack(
      pool, args.seconds, out=sys.stdout, slack_seconds=SLACK_SECONDS
    )
  print('RESULT', json.dumps(result))
  sys.exit(bool(result['broken']))


if __name__ == '__main__':
  main()
