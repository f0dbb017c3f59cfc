"""What an evaluation has got so far, on disk as it comes.

A response is a line as soon as it is sampled, its verdict another: whatever
ends the process, nothing that is finished is sampled again.  A response is
known by its question and by `asked`, a digest of what was really asked, chat
template and all; a verdict by `judge`, a digest of all that decides it.
"""

import os
from typing import Any

from k15 import files

Key = tuple[str, str, int]


class Journal:
  """Responses and verdicts by (set, problem_id, sample)."""

  def __init__(self, path: str | os.PathLike, writes: bool = True):
    """Reads what is there.

    Args:
      path: of JSON lines; need not exist.
      writes: of several processes, one.
    """
    self._path, self._writes = path, writes
    self._entries: dict[Key, dict[str, Any]] = {}
    for line in files.read_jsonl(path):
      self._take(line)

  def response(self, key: Key, asked: str) -> dict[str, Any] | None:
    """What was answered, with `response`, `length` and `stop`."""
    entry = self._entries.get(key, {})
    return entry if entry.get('asked') == asked else None

  def verdict(self, key: Key, asked: str, judge: str) -> dict[str, Any] | None:
    """`verdict`, `reason`, `reward` and `accuracy` of that by this judge."""
    entry = self.response(key, asked)
    return entry if entry and entry.get('judge') == judge else None

  def add_response(self, key: Key, **values: Any) -> None:
    """Takes in `asked`, `response`, `length` and `stop`; no verdict yet."""
    self._add(key, values | dict(judge=None))

  def add_verdict(self, key: Key, **values: Any) -> None:
    """Takes in `judge` and the verdict on the response that is there."""
    self._add(key, values)

  def _add(self, key, values):
    name, problem_id, sample = key
    line = dict(set=name, problem_id=problem_id, sample=sample) | values
    self._take(line)
    if self._writes:
      files.append_jsonl(self._path, [line])

  def _take(self, line):
    key = line['set'], line['problem_id'], line['sample']
    self._entries.setdefault(key, {}).update(line)
