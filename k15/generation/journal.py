"""Responses and verdicts on disk, as they come: nothing is drawn twice.

A file of JSON lines that only grows.  A response is a line under its key, a
hash of all that decides it: the weights, the question as it is put to them,
the random ids, the sampling.  Its verdict is another line, under the reference
and the rewards that judged.  So whatever ends a process, what is finished
stays; a response of other weights or to another question is never taken for the
one that is wanted; and a mended reference is judged again, nothing drawn.

    {"key": "5e1b...", "sample": 0, "problem_id": "p1", "text": "#### 2",
     "length": 7, "stop": "eos"}
    {"key": "5e1b...", "sample": 0, "judge": "math_answers:9c...",
     "reward": 1.0, "accuracy": 1.0, "verdict": "correct", "reason": ""}
"""

import os
import pathlib
from typing import Any

import numpy as np

from k15 import files
from k15.data import conversations
from k15.data_types import StopReason
from k15.generation.asks import Ask
from k15.generation.asks import Written
from k15.rewards import scoring
from k15.rewards.verdict import Verdict

_VERDICT = 'reward', 'accuracy', 'verdict', 'reason'


class Journal:
  """All responses and verdicts of a file, and those to come."""

  def __init__(
    self,
    path: str | os.PathLike | None = None,
    writes: bool = True,
    keeps_tokens: bool = False,
  ):
    """Reads what is there; a torn line is left out.

    Args:
      path: of the file, which need not exist; None keeps all in memory.
      writes: False adds nothing to the file: of several processes, one writes.
      keeps_tokens: whether the tokens of responses are written beside their
        texts, for training on exactly these.

    Raises:
      DataError: lines of a k15 in which they had no keys.
    """
    self._path = None if path is None else pathlib.Path(path)
    self._writes = writes and self._path is not None
    self._keeps_tokens = keeps_tokens
    self._responses: dict[tuple[str, int], Written] = {}
    self._verdicts: dict[tuple[str, int, str], dict[str, Any]] = {}
    if self._path is None:
      return
    if self._writes:
      self._path.parent.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(files.read_jsonl(self._path), 1):
      if 'key' not in line:
        raise conversations.DataError(
          f'{self._path}: record {number} is of an earlier version and does not'
          ' say what decided it: move the file away, and what it holds is'
          ' drawn again'
        )
      self._take(line)

  def response(self, ask: Ask) -> Written | None:
    """The response that is wanted, if it is there."""
    return self._responses.get(ask.name)

  def verdict(self, ask: Ask) -> dict[str, Any] | None:
    """Its `reward`, `accuracy`, `verdict` and `reason`, if they are there."""
    return self._verdicts.get((*ask.name, ask.judge))

  def add_response(self, ask: Ask, written: Written) -> None:
    """Keeps a response; on disk when this returns."""
    line = dict(
      key=ask.key,
      sample=ask.sample,
      problem_id=ask.problem.id,
      text=written.text,
      length=written.length,
      stop=written.stop.value,
    )
    if self._keeps_tokens:
      line['tokens'] = written.tokens
    self._add(line)

  def add_verdict(self, ask: Ask, verdict: Verdict) -> None:
    """Keeps a verdict; on disk when this returns."""
    values = (
      scoring.reward_of(verdict),
      scoring.parts_of(verdict)['accuracy'],
      verdict.kind,
      verdict.reason,
    )
    line = dict(key=ask.key, sample=ask.sample, judge=ask.judge)
    self._add(line | dict(zip(_VERDICT, values, strict=True)))

  def _add(self, line):
    # To disk first: nobody is told of what a kill could still take back.
    if self._writes:
      files.append_jsonl(self._path, [line])
    self._take(line)

  def _take(self, line):
    """The first response counts, and the last verdict.

    Lines that do not say how a response stopped, or how right it is, are of
    an earlier version and count for nothing.
    """
    name = line['key'], line['sample']
    if 'text' in line and 'stop' in line:
      tokens = None
      if self._keeps_tokens:
        tokens = np.array(line['tokens'], np.int32)
      found = Written(
        line['text'], StopReason(line['stop']), line.get('length', -1), tokens
      )
      # The first, for the verdicts that stand in the file are of it.
      self._responses.setdefault(name, found)
    elif 'judge' in line and 'accuracy' in line:
      verdict = {key: line.get(key) for key in _VERDICT}
      self._verdicts[*name, line['judge']] = verdict
