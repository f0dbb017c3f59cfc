"""Where a run's numbers go: JSON lines, TensorBoard, the terminal, timers."""

import contextlib
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorboardX
import tqdm

from k15 import files

_SECONDS_BETWEEN_LINES = 10.0
_LINE = '{desc} {n_fmt}/{total_fmt}  {rate_fmt}  eta {remaining}{postfix}'


class TensorBoard:
  """Scalars as TensorBoard shows them, in `tensorboard/<stage>/`.

  Stages get a run each because their steps count different things.
  """

  def __init__(self, workdir: pathlib.Path):
    self._dir = workdir / 'tensorboard'
    self._writers: dict[str, tensorboardX.SummaryWriter] = {}

  def truncate(self, stage: str, step: int) -> None:
    if stage in self._writers:
      self._writers.pop(stage).close()
    self._open(stage, purge_step=step)

  def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
    if stage not in self._writers:
      self._open(stage)
    for key, value in values.items():
      if math.isfinite(value):  # TensorBoard warns of others.
        self._writers[stage].add_scalar(key, value, step)

  def close(self) -> None:
    while self._writers:
      self._writers.popitem()[1].close()

  def _open(self, stage, purge_step=None):
    self._writers[stage] = tensorboardX.SummaryWriter(
      str(self._dir / stage),
      purge_step=purge_step,
      flush_secs=10,
      # File names carry whole seconds: a quick restart must not overwrite.
      filename_suffix=f'.{time.time_ns()}',
    )


# Where scalars go besides `metrics.jsonl`, which is what a run is read from.
# A further place is a class with these three methods, made of the working
# directory, and a row here.
VIEWERS = (TensorBoard,)


class Logger:
  """Writes scalars and trajectories of a run, and takes them back on resume.

  Files: `metrics.jsonl`, `trajectories.jsonl` and `groups.jsonl` in the working
  directory, and those of the `VIEWERS`.

  Args:
    workdir: directory of the run; made if missing.
    enabled: False makes every method do nothing; in a run of several
      processes, only one of them writes.
  """

  def __init__(self, workdir: str | os.PathLike, enabled: bool = True):
    self._dir = pathlib.Path(workdir)
    self._enabled = enabled
    self._viewers = [make(self._dir) for make in VIEWERS if enabled]
    if enabled:
      self._dir.mkdir(parents=True, exist_ok=True)

  def truncate(self, stage: str, step: int) -> None:
    """Takes back what an interrupted run wrote at or after `step` of `stage`.

    Call it once where a stage starts or resumes, before the first record.
    Drops the first record of `stage` numbered `step` or higher and all records
    after it, which were written later; viewers are told to do the same.

    Args:
      stage: 'sft', 'rl', ...
      step: the first one that will be logged again, >= 0.
    """
    if not self._enabled:
      return
    _drop_from(self._dir / 'metrics.jsonl', stage, 'step', step)
    # Both count iterations, where metrics count steps.
    for name in ('trajectories.jsonl', 'groups.jsonl'):
      _drop_from(self._dir / name, stage, 'iteration', step)
    for viewer in self._viewers:
      viewer.truncate(stage, step)

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
    for viewer in self._viewers:
      viewer.scalars(stage, int(step), values)

  def trajectories(
    self, stage: str, iteration: int, records: Iterable[Mapping[str, Any]]
  ) -> None:
    """Writes one line per record, `{'stage', 'iteration', **record}`."""
    self._append('trajectories.jsonl', stage, iteration, records)

  def groups(
    self, stage: str, iteration: int, records: Iterable[Mapping[str, Any]]
  ) -> None:
    """Writes one such line per group that was trained on."""
    self._append('groups.jsonl', stage, iteration, records)

  def close(self) -> None:
    """Flushes the viewers; the JSON lines are on disk already."""
    for viewer in self._viewers:
      viewer.close()

  def _append(self, name, stage, iteration, records):
    if self._enabled:
      header = {'stage': stage, 'iteration': int(iteration)}
      files.append_jsonl(self._dir / name, [dict(r) | header for r in records])


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
