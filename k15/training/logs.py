"""Where a run's numbers go: JSON lines, viewers, the terminal, timers."""

import contextlib
import hashlib
import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tqdm

from k15 import files
from k15.config import resume
from k15.training import viewers

_SECONDS_BETWEEN_LINES = 10.0
_LINE = '{desc} {n_fmt}/{total_fmt}  {rate_fmt}  eta {remaining}{postfix}'


class Logger:
  """Writes scalars and trajectories of a run, and takes them back on resume.

  Files: `metrics.jsonl`, `trajectories.jsonl` and `groups.jsonl` in the working
  directory, which are the truth, and those of the viewers.  A viewer is made
  when there is something to tell it; one that fails is left out from then on,
  with one sentence, and the run goes on.

  Args:
    workdir: directory of the run; made if missing.
    enabled: False makes every method do nothing; in a run of several
      processes, only one of them writes.
    to: names of `viewers.VIEWERS`.
    project, name, config: see `viewers.Run`.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    enabled: bool = True,
    to: Sequence[str] = ('tensorboard',),
    project: str = 'k15',
    name: str = '',
    config: Mapping[str, Any] | None = None,
  ):
    self._dir = pathlib.Path(workdir)
    self._enabled = enabled
    self._run = viewers.Run(self._dir, project, name, config or {})
    # Of a stage, the last step that viewers were told before this start.
    self._told: dict[str, int] = {}
    # By name, made or not yet.
    self._viewers = {name: None for name in to if enabled}
    if enabled:
      self._dir.mkdir(parents=True, exist_ok=True)

  def truncate(self, stage: str, step: int) -> None:
    """Takes back what an interrupted run wrote at or after `step` of `stage`.

    Call it once where a stage starts or resumes, before the first record.
    Drops the first record of `stage` numbered `step` or higher and all records
    after it, which were written later.  Viewers are told to do the same; those
    that cannot are not told again what this stage told them before, as it comes
    out the same: not where it begins anew under another config.

    Args:
      stage: 'sft', 'rl', ...
      step: the first one that will be logged again, >= 0.
    """
    if not self._enabled:
      return
    self._remember_told(stage, step)
    _drop_from(self._dir / 'metrics.jsonl', stage, 'step', step)
    # Both count iterations, where metrics count steps.
    for name in ('trajectories.jsonl', 'groups.jsonl'):
      _drop_from(self._dir / name, stage, 'iteration', step)
    self._tell('truncate', stage, step)

  def scalars(self, stage: str, step: int, values: Mapping[str, Any]) -> None:
    """Writes one record, `{'stage', 'step', 'time', **values}`.

    Args:
      stage: 'sft', 'rl', ...
      step: number of the step or iteration the values describe.
      values: scalars (numpy and device scalars too) by `phase/name`.  NaN and
        infinities become null in the file.

    Raises:
      ValueError: a key is not `phase/name`.
    """
    if not self._enabled:
      return
    for key in values:
      # TensorBoard puts what shares the name before the slash side by side.
      if '/' not in key:
        raise ValueError(f'metric key {key!r} is not phase/name')
    values = {key: float(value) for key, value in values.items()}
    header = {'stage': stage, 'step': int(step), 'time': time.time()}
    files.append_jsonl(self._dir / 'metrics.jsonl', [header | values])
    finite = {key: v for key, v in values.items() if math.isfinite(v)}
    self._tell('scalars', stage, int(step), finite)

  def trajectories(
    self, stage: str, iteration: int, records: Iterable[Mapping[str, Any]]
  ) -> None:
    """Writes one line per record, `{'stage', 'iteration', **record}`.

    Viewers get a table of it, of the fields that are texts or numbers.
    """
    records = list(records)
    self._append('trajectories.jsonl', stage, iteration, records)
    if records:
      columns, rows = _table(records)
      self._tell('table', stage, int(iteration), columns, rows)

  def groups(
    self, stage: str, iteration: int, records: Iterable[Mapping[str, Any]]
  ) -> None:
    """Writes one such line per group that was trained on."""
    self._append('groups.jsonl', stage, iteration, records)

  def close(self) -> None:
    """Flushes the viewers; the JSON lines are on disk already."""
    for name in [n for n, viewer in self._viewers.items() if viewer]:
      self._try(name, 'close')

  def _append(self, name, stage, iteration, records):
    if self._enabled:
      header = {'stage': stage, 'iteration': int(iteration)}
      files.append_jsonl(self._dir / name, [dict(r) | header for r in records])

  def _tell(self, what, stage, step, *more):
    for name in list(self._viewers):
      is_known = what != 'truncate' and step <= self._told.get(stage, -1)
      if viewers.VIEWERS[name].takes_back or not is_known:
        self._try(name, what, stage, step, *more)

  def _try(self, name, what, *arguments):
    """Calls a viewer's method; a viewer that raises is there no longer."""
    try:
      if self._viewers[name] is None:
        self._viewers[name] = viewers.VIEWERS[name](self._run)
      getattr(self._viewers[name], what)(*arguments)
    # Whatever a library, its server or its disk may raise: a run of days does
    # not end for a picture of what is in metrics.jsonl.
    except Exception as error:
      del self._viewers[name]
      lines = str(error).splitlines() or [type(error).__name__]
      print(
        f'logging.to: {name!r} fails and is left out until the run is started'
        f' again; metrics.jsonl has all: {lines[0]}',
        file=sys.stderr,
        flush=True,
      )

  def _remember_told(self, stage, step):
    """Notes how far stages had come, before that is taken back.

    Of each stage the last step, and a digest of the config it began under.
    """
    if all(viewers.VIEWERS[name].takes_back for name in self._viewers):
      return
    text = json.dumps(self._run.config, sort_keys=True)
    now = hashlib.sha256(text.encode()).hexdigest()
    told = viewers.remembered(self._dir).get('told', {})
    for name, last in _last_steps(self._dir / 'metrics.jsonl').items():
      before, config = told.get(name, (-1, now))
      told[name] = max(before, last), config
    before, config = told.get(stage, (-1, now))
    if step == 0 and config != now:
      before = -1  # It begins anew, and comes out differently.
    told[stage] = before, now
    viewers.remember(self._dir, told=told)
    self._told[stage] = before


def check(config: Any) -> None:
  """Refuses what `config.logging` needs and is not installed: ValueError."""
  viewers.refuse_missing(config.logging.to)


def make(config: Any, workdir: pathlib.Path, enabled: bool) -> Logger:
  """The logger that `config.logging` describes."""
  to, settings = config.logging, resume.to_json(config)
  return Logger(workdir, enabled, to.to, to.project, to.name, settings)


def _table(records):
  """Columns and rows of the fields that are texts or numbers, or missing."""
  plain = (str, int, float, bool, type(None))
  columns = [
    key
    for key in dict.fromkeys(key for record in records for key in record)
    if all(isinstance(record.get(key), plain) for record in records)
  ]
  return columns, [[r.get(key) for key in columns] for r in records]


def _last_steps(path):
  """The last step that each stage has logged."""
  found = {}
  for record in files.read_jsonl(path):
    stage, step = record.get('stage'), record.get('step', -1)
    found[stage] = max(step, found.get(stage, -1))
  return found


def _drop_from(path, stage, counter, first):
  if not os.path.exists(path):
    return
  kept = []
  for line, record in files.intact_lines(path):
    if record.get('stage') == stage and record.get(counter, -1) >= first:
      break
    kept.append(line)
  content = b''.join(kept)
  # A run that was not killed has nothing to take back, and its file may be
  # large.
  if len(content) != os.path.getsize(path):
    files.replace_file(path, content)


class Timer:
  """Adds up seconds by phase: `with timer('rollout'): ...`.

  A device call returns before its work is done: wait for its result inside
  the block, or the next phase pays for it.
  """

  def __init__(self, clock: Callable[[], float] = time.perf_counter):
    self._clock = clock
    self._seconds: dict[str, float] = {}

  @contextlib.contextmanager
  def __call__(self, phase: str) -> Iterator[None]:
    start = self._clock()
    try:
      yield
    finally:
      spent = self._clock() - start
      self._seconds[phase] = self._seconds.get(phase, 0.0) + spent

  def seconds(self, phase: str) -> float:
    """What the phase has taken since the last `pop`."""
    return self._seconds.get(phase, 0.0)

  def pop(self) -> dict[str, float]:
    """Returns {'time/<phase>_seconds': seconds} and starts again at zero."""
    seconds, self._seconds = self._seconds, {}
    return {f'time/{phase}_seconds': s for phase, s in seconds.items()}


class Progress:
  """How far a loop is: `with Progress(60, label='rl') as progress: ...`.

  In a terminal a bar; elsewhere a line at the start, one at the end, and at
  most one in ten seconds between them:

    rl 12/60  3.10s/it  eta 02:29, reward=0.61, length=84

  Args:
    total: items in all.
    start: items done before this process started.
    label: first word of the line.
    stream: open text file to write to; standard error if None.
  """

  def __init__(
    self, total: int, start: int = 0, label: str = '', stream: Any = None
  ):
    stream = stream or sys.stderr
    options = dict(total=total, initial=start, desc=label)
    # A terminal of unknown width, as some containers have, gets lines too.
    if stream.isatty() and os.get_terminal_size(stream.fileno()).columns:
      options |= dict(file=stream, dynamic_ncols=True)
    else:
      # tqdm goes back to the beginning of a line, which in a file makes one
      # endless line.
      options |= dict(file=_Lines(stream), bar_format=_LINE)
      options |= dict(mininterval=_SECONDS_BETWEEN_LINES, miniters=1)
    self._bar = tqdm.tqdm(**options)

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *exception: object) -> None:
    self.close()

  def update(self, count: int = 1, **values: Any) -> None:
    """Advances by `count` items and shows `values`, scalars by short name."""
    values = {name: _short(float(value)) for name, value in values.items()}
    self._bar.set_postfix(values, refresh=False)
    self._bar.update(count)

  def close(self) -> None:
    """Shows the last state and ends the bar."""
    self._bar.close()


def _short(value):
  return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'


class _Lines:
  """A stream that takes the redrawings of a bar and gives plain lines."""

  def __init__(self, stream):
    self._stream = stream

  def write(self, text):
    if text.strip():
      self._stream.write(text.strip() + '\n')

  def flush(self):
    self._stream.flush()
