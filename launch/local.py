"""Runs the work units of a config file on this machine, without XManager.

    python -m launch.local --config=FILE[:VARIANT] --sweep --parallel=2
        [--root=runs/NAME] [--config.key=value ...]

Each unit is a process of `k15.main` in ROOT/<unit>, several at a time, each
with its share of the cores.  The same command again runs only what is missing,
and goes on with what was cut off.  Ctrl-C and SIGTERM let the units save first
(exit code 75).  Without --sweep the config alone is run.
"""

import argparse
import contextlib
import json
import os
import pathlib
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from typing import Any

from k15.config import exit_codes
from launch.units import sweep
from launch.units import unit as unit_lib


def main(argv: Sequence[str] | None = None) -> int:
  parser = argparse.ArgumentParser(
    prog='python -m launch.local',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument('--config', required=True, metavar='FILE[:VARIANT]')
  parser.add_argument('--sweep', action='store_true')
  parser.add_argument('--root', type=pathlib.Path)
  parser.add_argument('--parallel', type=int, default=1, metavar='N')
  args, texts = parser.parse_known_args(argv)
  try:
    extra = sweep.parse(args.config, texts)
    find = sweep.units if args.sweep else sweep.single
    units = find(args.config, extra)
    root = args.root or default_root(args.config)
    return run(args.config, units, root, args.parallel)
  except sweep.SweepError as error:
    print(f'launch: {error}', file=sys.stderr)
    return 2


def default_root(config: str) -> pathlib.Path:
  """Where the units of 'FILE:VARIANT' go: runs/NAME_VARIANT."""
  path, _, variant = config.partition(':')
  name = pathlib.Path(path).stem
  return pathlib.Path('runs', f'{name}_{variant}' if variant else name)


def run(
  config: str,
  units: Sequence[sweep.Unit],
  root: pathlib.Path,
  parallel: int = 1,
  run_all: Callable[..., list[dict[str, Any]]] | None = None,
) -> int:
  """Runs what is missing of the units; prints a table at the end.

  Call it from the main thread: signals are its until it returns.

  Args:
    parallel: how many at a time, >= 1.
    run_all: (config, units, root, parallel, stop) -> their records; processes
      of this page unless given.

  Returns:
    The exit code: 0 when all are done, 1 when one failed, 75 when asked to
    stop.

  Raises:
    SweepError: another launcher works there; a unit's folder belongs to a
      unit with other overrides.
  """
  if parallel < 1:
    raise sweep.SweepError(f'--parallel={parallel}: at least 1 is needed')
  root.mkdir(parents=True, exist_ok=True)
  # The system lets go of the lock with this process, however it ends.
  with open(root / 'launch.lock', 'w') as file:
    if not unit_lib.try_lock(file):
      raise sweep.SweepError(f'{root}: another launcher works there')
    for unit in units:
      unit_lib.check_unchanged(config, unit, root / unit.name)
    stop = unit_lib.Stop()
    with _signals_ask(stop):
      run_all = run_all or _run_all
      records = run_all(config, units, root, parallel, stop)
  print(table((unit.name, root / unit.name) for unit in units))
  states = {record['state'] for record in records}
  if stop.is_asked and states != {'done'}:
    return exit_codes.INTERRUPTED
  return 1 if 'failed' in states else 0


def _run_all(config, units, root, parallel, stop):
  """Records of all units, in their order."""
  shares = shares_of_cores(parallel)
  progress = Progress(sys.stdout, len(units), parallel)

  def run_one(unit):
    workdir = root / unit.name
    if unit_lib.read(workdir).get('state') == 'done':
      progress.skip()
      return unit_lib.read(workdir)
    if stop.is_asked:
      return dict(state='stopped')
    share = shares.get()
    try:
      pin(share)
      progress.begin(unit.name)
      record = unit_lib.run_unit(config, unit, workdir, stop)
    finally:
      shares.put(share)
    progress.end(unit.name, record, last_line(workdir))
    return record

  with futures.ThreadPoolExecutor(parallel) as pool:
    waiting = [pool.submit(run_one, unit) for unit in units]
    while futures.wait(waiting, timeout=1.0).not_done:
      progress.show()
  progress.close()
  return [future.result() for future in waiting]


def shares_of_cores(parallel: int) -> queue.SimpleQueue:
  """Cores for each of the units that run at once; None where all may."""
  shares = queue.SimpleQueue()
  cores = []
  if hasattr(os, 'sched_getaffinity'):
    cores = sorted(os.sched_getaffinity(0))
  for i in range(parallel):
    if parallel > len(cores):
      # More units than cores: one each all the same, or XLA would start as many
      # threads in every unit as there are cores.
      shares.put([cores[i % len(cores)]] if cores else None)
    else:
      shares.put(cores[i::parallel])
  return shares


def pin(cores: Sequence[int] | None) -> None:
  """Of this thread alone; what it starts inherits it."""
  if cores is not None:
    os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def _signals_ask(stop):
  """SIGTERM and Ctrl-C ask the units to stop; a second Ctrl-C ends them."""

  def handle(number, frame):
    del frame
    if stop.is_asked and number == signal.SIGTERM:
      return
    print(
      '\nending at once' if stop.is_asked else '\nstopping: units save first',
      file=sys.stderr,
      flush=True,
    )
    stop.ask()

  numbers = signal.SIGINT, signal.SIGTERM
  before = {number: signal.signal(number, handle) for number in numbers}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


class Progress:
  """A line that is redrawn in a terminal; elsewhere a line per event."""

  def __init__(self, stream: Any, total: int, parallel: int):
    self._stream, self._total, self._parallel = stream, total, parallel
    self._is_terminal = stream.isatty()
    self._running: dict[str, float] = {}
    self._seconds: list[float] = []
    self._skipped = self._failed = 0
    self._lock = threading.Lock()

  def skip(self) -> None:
    with self._lock:
      self._skipped += 1

  def begin(self, name: str) -> None:
    with self._lock:
      self._running[name] = time.monotonic()
      self._say(f'started  {name}')

  def end(self, name: str, record: dict[str, Any], last: str) -> None:
    with self._lock:
      self._seconds.append(time.monotonic() - self._running.pop(name))
      text = f'{record["state"]:8} {name}'
      if record['state'] == 'failed':
        self._failed += 1
        text += f' (exit code {record["exit_code"]}): {last}'
      self._say(f'{text}  [{self._counts()}]')

  def show(self) -> None:
    """Redraws the line."""
    if self._is_terminal:
      with self._lock:
        self._stream.write(f'\r\x1b[K{self._counts()}')
        self._stream.flush()

  def close(self) -> None:
    if self._is_terminal:
      self._stream.write('\r\x1b[K')
      self._stream.flush()

  def _say(self, text):
    clear = '\r\x1b[K' if self._is_terminal else ''
    self._stream.write(f'{clear}{text}\n')
    self._stream.flush()

  def _counts(self):
    ended = len(self._seconds) + self._skipped
    text = f'{ended}/{self._total} ended'
    if self._failed:
      text += f', {self._failed} failed'
    if self._seconds and ended < self._total:
      mean = sum(self._seconds) / len(self._seconds)
      now = time.monotonic()
      # At most the mean each: a unit that takes longer must not take from the
      # time of those that wait.
      spent = sum(min(now - t, mean) for t in self._running.values())
      left = (mean * (self._total - ended) - spent) / self._parallel
      minutes, seconds = divmod(int(left), 60)
      text += f', eta {minutes // 60}:{minutes % 60:02}:{seconds:02}'
    return text


def last_line(workdir: pathlib.Path) -> str:
  """The last line of a unit's log that says anything."""
  path = workdir / 'log.txt'
  text = path.read_bytes()[-4096:] if path.exists() else b''
  lines = text.decode(errors='replace').split('\n')
  lines = [line.strip() for line in lines if line.strip()]
  return lines[-1] if lines else ''


def results(workdir: pathlib.Path) -> dict[str, float]:
  """`accuracy` and `tokens` after the last stage of the run, if any."""
  path = workdir / 'summary.json'
  summary = json.loads(path.read_text()) if path.exists() else {}
  found = last_scores(summary)
  labels = dict(accuracy='accuracy', mean_tokens='tokens')
  return {labels[name]: found[name] for name in labels if name in found}


def last_scores(summary: Mapping[str, Any]) -> dict[str, Any]:
  """Accuracy, mean_tokens and so on of a summary's last evaluation.

  `accuracy_PART` of each part, as evaluations on the way have it.
  """
  found = {}
  for key, value in summary.items():
    name, after, _ = key.partition('_after_')
    if name == 'parts':
      found |= {f'accuracy_{part}': value[part]['accuracy'] for part in value}
    elif after:
      found[name] = value
  return found


def table(rows: Iterable[tuple[str, pathlib.Path]]) -> str:
  """What became of units: a line for each."""
  lines = [('unit', 'state', 'exit', 'minutes', 'accuracy', 'tokens')]
  for name, workdir in rows:
    record, found = unit_lib.read(workdir), results(workdir)
    code, seconds = record.get('exit_code'), record.get('seconds')
    lines.append(
      (
        name,
        record.get('state', 'not begun'),
        '' if code is None else str(code),
        '' if seconds is None else f'{seconds / 60:.1f}',
        f'{found["accuracy"]:.3f}' if 'accuracy' in found else '',
        f'{found["tokens"]:.1f}' if 'tokens' in found else '',
      )
    )
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return '\n'.join(
    '  '.join(
      cell.ljust(width) if i < 2 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    ).rstrip()
    for line in lines
  )


if __name__ == '__main__':
  sys.exit(main())
