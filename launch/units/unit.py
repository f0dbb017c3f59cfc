"""One work unit on this machine: its process, its log, what became of it.

A unit's folder is the workdir of its run.  Beside what the run writes there,
`log.txt` has what its processes printed and `unit.json` its record:

    {"config": ..., "overrides": {...}, "command": [...], "state": "done",
     "exit_code": 0, "seconds": 62.1, "attempts": 1, "commits": ["1a2b3c4d5"],
     "pid": null, "settings": {every key of the config}}
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from k15.config import exit_codes
from k15.config import keys
from launch.units import sweep

_REPO = pathlib.Path(__file__).resolve().parents[2]
# What a unit that was asked to stop may leave with: before it listens to
# signals it dies of them.
_STOPPED_CODES = (exit_codes.INTERRUPTED, -signal.SIGTERM, -signal.SIGKILL)


@dataclasses.dataclass(eq=False)
class Stop:
  """Asks units to stop: `ask` once to save first, twice to end at once."""

  is_asked: bool = False
  _alive: set[Any] = dataclasses.field(default_factory=set)
  _lock: Any = dataclasses.field(default_factory=threading.RLock)

  def ask(self) -> None:
    number = signal.SIGKILL if self.is_asked else signal.SIGTERM
    self.is_asked = True
    with self._lock:
      for process in self._alive:
        process.send_signal(number)

  def start(self, *arguments: Any, **options: Any) -> subprocess.Popen | None:
    """A process that `ask` will reach; None if it was asked already."""
    # Asked and started under one lock: a process that begins while `ask` goes
    # through them would never hear of it.
    with self._lock:
      if self.is_asked:
        return None
      process = subprocess.Popen(*arguments, **options)
      self._alive.add(process)
      return process

  def reach(self, process: Any) -> None:
    """`ask` will reach this, too: anything with `send_signal`."""
    with self._lock:
      self._alive.add(process)

  def wait(self, process: subprocess.Popen) -> int:
    """The exit code of the process."""
    code = process.wait()
    with self._lock:
      self._alive.discard(process)
    return code


def command(config: str, unit: sweep.Unit, workdir: pathlib.Path) -> list[str]:
  """What runs the unit, and goes on with it where it stopped."""
  return [
    sys.executable, '-m', 'k15.main', f'--config={config}',
    f'--workdir={workdir}', *sweep.arguments(unit),
  ]  # fmt: skip


def environment() -> dict[str, str]:
  """This process's, with a cache of compilations that units share."""
  defaults = dict(
    JAX_COMPILATION_CACHE_DIR=str(_REPO / '.cache' / 'xla'),
    # By itself jax keeps nothing that compiles in less than a second, and small
    # policies are made of such programs.  Several processes may write at once:
    # what a program reads that is not whole it compiles itself, with a warning.
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0.2',
    PYTHONUNBUFFERED='1',
  )
  return defaults | os.environ


def commit() -> str:
  """Of the code that runs; '-dirty' if its files differ; empty without git."""
  try:
    head, changes = (
      subprocess.run(
        ['git', *words], cwd=_REPO, capture_output=True, text=True
      ).stdout.strip()
      for words in (
        ('rev-parse', '--short=9', 'HEAD'),
        # What decides a run's numbers: a changed page of docs makes no other
        # run.
        ('status', '--porcelain', 'k15', 'experiments'),
      )
    )
  except OSError:
    return ''
  return f'{head}-dirty' if head and changes else head


def read(workdir: pathlib.Path) -> dict[str, Any]:
  """The record of a unit; empty if it never began."""
  path = workdir / 'unit.json'
  return json.loads(path.read_text()) if path.exists() else {}


def check_unchanged(
  config: str, unit: sweep.Unit, workdir: pathlib.Path
) -> None:
  """Refuses a folder that belongs to another unit than this one.

  Of a unit that is done, the whole config has to be as it was, but for keys
  that did not exist then; of others k15.main knows what may change.

  Raises:
    SweepError: overrides, or the config of a unit that is done, changed.
  """
  old = read(workdir)
  if not old:
    return
  pairs = [('overrides', old['overrides'], _plain(unit.overrides))]
  if old['state'] == 'done':
    new = settings(config, unit)
    both = {key: v for key, v in old['settings'].items() if key in new}
    pairs.append(('config', both, {key: new[key] for key in both}))
  for what, before, now in pairs:
    changed = [
      f'{key}: {before.get(key, "(none)")} -> {now.get(key, "(none)")}'
      for key in sorted(before | now)
      if before.get(key) != now.get(key) or (key in before) != (key in now)
    ]
    if changed:
      raise sweep.SweepError(
        f'{workdir}: its {what} changed since it ran ({"; ".join(changed)}):'
        ' take this back, remove the folder or choose another root'
      )


def run_unit(
  config: str, unit: sweep.Unit, workdir: pathlib.Path, stop: Stop
) -> dict[str, Any]:
  """Runs a unit to its end, whatever that is; returns its record.

  A unit that is done is left as it is.  One that saved and left because its
  machine was wanted (exit 75) is started again, unless this process was asked
  to stop, too.

  Args:
    unit: of that file.
    workdir: of the run; made if missing.
    stop: asked to stop, it passes that on to the unit.
  """
  record = read(workdir)
  if record.get('state') == 'done':
    return record
  workdir.mkdir(parents=True, exist_ok=True)
  record = dict(
    name=unit.name,
    config=config,
    overrides=unit.overrides,
    command=command(config, unit, workdir),
    state='waiting',
    exit_code=None,
    seconds=record.get('seconds', 0.0),
    attempts=record.get('attempts', 0),
    pid=record.get('pid'),  # Of a process that outlived its launcher.
    commits=record.get('commits', []),
    settings=settings(config, unit),
  )
  record['commits'] = [*dict.fromkeys([*record['commits'], commit()])]
  with _own(workdir, record['pid'], stop) as lock:
    while record['state'] in ('waiting', 'preempted'):
      _attempt(record, workdir, stop, lock)
  return record


def _attempt(record, workdir, stop, lock):
  """One process of the unit; writes the record before and after it."""
  seconds, start = record['seconds'], time.time()
  with open(workdir / 'log.txt', 'ab') as log:
    record['attempts'] += 1
    head = f'-- attempt {record["attempts"]}, {time.strftime("%F %T")}\n'
    log.write(head.encode())
    log.flush()
    process = stop.start(
      record['command'],
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=subprocess.STDOUT,
      env=environment(),
      pass_fds=[lock],
      start_new_session=True,  # Ctrl-C is this process's to pass on.
    )
  if process is None:
    record |= dict(state='stopped', attempts=record['attempts'] - 1)
    _write(workdir, record)
    return
  record |= dict(state='running', pid=process.pid)
  _write(workdir, record)
  code = stop.wait(process)
  record |= dict(
    state=_state(code, stop.is_asked),
    exit_code=code,
    seconds=round(seconds + time.time() - start, 1),
    pid=None,
  )
  _write(workdir, record)


def _state(code, is_stopping):
  if code == 0:
    return 'done'
  if is_stopping and code in _STOPPED_CODES:
    return 'stopped'
  return 'preempted' if code == exit_codes.INTERRUPTED else 'failed'


@contextlib.contextmanager
def _own(workdir, pid, stop) -> Iterator[int]:
  """Holds the folder's lock, which the unit's processes inherit.

  So a unit that outlived a launcher that was killed still has it: it is asked
  to save and leave first.
  """
  number = signal.SIGTERM
  with open(workdir / 'unit.lock', 'w') as file:
    while not try_lock(file) and pid and not stop.is_asked:
      try:
        os.kill(pid, number)
      except ProcessLookupError:  # Only children that it left behind.
        break
      # It was told; from now on it is only asked whether it still is there.
      number = 0
      time.sleep(0.2)
    yield file.fileno()


def try_lock(file: Any) -> bool:
  """Whether this process now holds the lock of an open file."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  return True


def settings(config: str, unit: sweep.Unit) -> dict[str, Any]:
  """The unit's whole config by dotted key, as JSON has it."""
  made = sweep.load_config(config, unit.overrides)
  return _plain(keys.leaves(made))


def _plain(values: Mapping[str, Any]):
  """As JSON gives it back: tuples are lists."""
  return json.loads(json.dumps(dict(values)))


def _write(workdir, record):
  """Replaces the record; a reader sees the old one or the new."""
  path = workdir / 'unit.json'
  # A name of its own, for two that write the same one would rename half a
  # record.
  temporary = path.with_suffix(f'.{os.getpid()}.{threading.get_ident()}.tmp')
  temporary.write_text(json.dumps(record, indent=1) + '\n')
  os.replace(temporary, path)
