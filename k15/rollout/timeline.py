"""What every slot did lately, on disk: the report draws it.

The scheduler tells of every call and slot; calls that carry on with the same
response under the same weights are one span here, so that a span is a prefill
or an uninterrupted stretch of decoding.  Memory and file are bounded: the last
versions only, and no more than so many spans.
"""

import collections
import contextlib
import math
import os
from typing import Any

from k15 import files


class Timeline:
  """Takes the scheduler's `SlotEvent`s; writes spans as JSON lines.

  Args:
    path: the file, replaced by `write`, and when the version changes and
      `every` seconds of decoding have gone by.
    versions: policy versions that are kept.
    most: spans that are kept.
    every: seconds.  Where iterations are shorter than that, a file at each one
      would take a seventh of their time.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    versions: int = 3,
    most: int = 4000,
    every: float = 10.0,
  ):
    self._path, self._versions = path, versions
    self._spans: collections.deque[dict[str, Any]] = collections.deque(
      maxlen=most
    )
    self._open: dict[int, dict[str, Any]] = {}  # By slot, may go on.
    self._newest = -1
    self._every, self._written = every, -math.inf

  def record(self, event: Any) -> None:
    """Adds a `SlotEvent`; call it from one thread."""
    if event.version > self._newest:
      if self._spans and event.start >= self._written + self._every:
        self.write()
        self._written = event.start
      self._newest = event.version
      while self._spans and (
        self._spans[0]['version'] <= event.version - self._versions
      ):
        self._spans.popleft()
    span = dict(
      slot=int(event.slot),
      kind=str(event.kind),
      start=float(event.start),
      end=float(event.end),
      group_id=int(event.group_id),
      sample_index=int(event.sample_index),
      version=int(event.version),
      tokens=int(event.tokens),
      stop=event.stop.name.lower(),
    )
    before = self._open.get(span['slot'])
    if before and _goes_on(before, span):
      before['stop'] = span['stop']
      if span['tokens']:  # None: the response was stopped from outside.
        before['end'] = span['end']
        before['tokens'] += span['tokens']
    else:
      self._spans.append(span)
      self._open[span['slot']] = span

  def write(self) -> None:
    """Replaces the file by the spans held, oldest first; if any are."""
    if not self._spans:
      return
    # A picture of the run is no reason to end it: the disk may be full.
    with contextlib.suppress(OSError):
      files.replace_jsonl(self._path, self._spans)


def _goes_on(before, span):
  """Whether a span continues the one before it in its slot."""
  same = ('kind', 'group_id', 'sample_index', 'version')
  return before['stop'] == 'running' and all(
    before[key] == span[key] for key in same
  )
