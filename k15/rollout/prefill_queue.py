"""Requests in order, prefilled a batch of contexts at a time.

A context is prompt and response so far; all requests that wait with the same
one are prefilled once, and so are those that come while it is the latest.
"""

import collections
import dataclasses
from collections.abc import Iterable

import numpy as np

from k15.rollout import requests as requests_lib
from k15.rollout.backend import Backend
from k15.rollout.requests import Chunk, Request


@dataclasses.dataclass(eq=False)
class Work:
  """A request, what is still to be decoded of it, and its chunks so far."""

  request: Request
  rest: Request
  chunks: list[Chunk] = dataclasses.field(default_factory=list)

  @property
  def context(self) -> np.ndarray:
    """int32 [T], what is prefilled."""
    parts = [self.rest.prompt, self.rest.response]
    return requests_lib.join(parts, np.int32)

  def renew(self) -> None:
    """Resumes after all chunks so far."""
    made = [chunk.tokens for chunk in self.chunks]
    made = requests_lib.join(made, np.int32)
    response = requests_lib.join([self.request.response, made], np.int32)
    budget = self.request.budget - len(made)
    self.rest = dataclasses.replace(
      self.request, response=response, budget=budget
    )


class PrefillQueue:
  """Works that wait for a slot."""

  def __init__(self, backend: Backend):
    self._backend = backend
    self._waiting = {}  # context bytes -> (context, its works)
    self._ready = collections.deque()  # (row of self._prefix, work)
    self._prefix = None
    self._rows = {}  # context bytes -> row of self._prefix

  def __bool__(self) -> bool:
    return bool(self._ready or self._waiting)

  def push(self, work: Work) -> None:
    """Adds a work at the end, or to the latest prefill if it is in it."""
    context = work.context
    key = context.tobytes()
    if key in self._rows:
      self._ready.append((self._rows[key], work))
    else:
      self._waiting.setdefault(key, (context, []))[1].append(work)

  def push_front(self, works: Iterable[Work]) -> None:
    """Adds works in front of all that wait; what was prefilled is void."""
    waiting, self._waiting = self._waiting, {}
    ready = [work for _, work in self._ready]
    self._drop_prefix()
    for work in (*works, *ready):
      self.push(work)
    for key, (context, rest) in waiting.items():
      self._waiting.setdefault(key, (context, []))[1].extend(rest)

  def remove(self, works: Iterable[Work]) -> None:
    """Takes out works, wherever they are; others are ignored."""
    gone = set(map(id, works))
    ready = [(row, work) for row, work in self._ready if id(work) not in gone]
    self._ready = collections.deque(ready)
    for key, (context, rest) in list(self._waiting.items()):
      rest = [work for work in rest if id(work) not in gone]
      if rest:
        self._waiting[key] = (context, rest)
      else:
        del self._waiting[key]

  def forget_prefix(self) -> None:
    """What was prefilled is void; its works are the first to wait again."""
    self.push_front(())

  def take(self, most: int, counts: collections.Counter) -> tuple:
    """Up to `most` works of one prefilled batch: prefix, rows, works.

    Args:
      most: at least 1; there is a work.
      counts: to which `prefill_calls` and `prefill_tokens` are added.
    """
    if not self._ready:
      self._prefill(counts)
    most = min(most, self._backend.prefill_batch, len(self._ready))
    taken = [self._ready.popleft() for _ in range(most)]
    return self._prefix, [row for row, _ in taken], [work for _, work in taken]

  def _prefill(self, counts):
    """Prefills the first context, and those behind it of the same bucket."""
    bucket, batch = None, []
    for key, (context, _) in self._waiting.items():
      own = self._backend.bucket_of(len(context))
      bucket = own if bucket is None else bucket
      if own == bucket:
        batch.append(key)
      if len(batch) == self._backend.prefill_batch:
        break
    self._drop_prefix()
    contexts = []
    for row, key in enumerate(batch):
      context, works = self._waiting.pop(key)
      contexts.append(context)
      self._rows[key] = row
      self._ready.extend((row, work) for work in works)
    self._prefix = self._backend.prefill(contexts)
    counts['prefill_calls'] += 1
    counts['prefill_tokens'] += sum(map(len, contexts))

  def _drop_prefix(self):
    self._ready.clear()
    self._rows.clear()
    self._prefix = None
