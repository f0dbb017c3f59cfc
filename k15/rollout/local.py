"""`LocalRollout`: responses made by the trainer's own process and thread."""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from k15.rollout import backend
from k15.rollout import recalled
from k15.rollout import requests as requests_lib
from k15.rollout import scheduler as scheduler_lib
from k15.rollout import slots as slots_lib
from k15.rollout.features import Pictures
from k15.rollout.journal import Phase
from k15.rollout.requests import Completion, Request, SlotEvent, Work


class LocalRollout:
  """A `Rollout` of a `SlotDecoder`; what its methods do stands there."""

  def __init__(
    self,
    slots: slots_lib.SlotDecoder,
    key: jax.Array,
    record: Callable[[SlotEvent], None] | None = None,
    pictures: Pictures | None = None,
  ):
    """Takes what decodes, and the key that, with ids, seeds every response.

    `record`, if given, is told what every slot does; `pictures` has pixels.
    """
    self._slots = slots
    self._pictures = pictures
    self._seed = seed_of(key)
    self._record = record
    self._params = None
    self._version = -1
    self._stats = collections.Counter()

  def set_params(self, params: Any, version: int) -> None:
    """As in `Rollout`."""
    self._params, self._version = params, version

  def close(self) -> None:
    """As in `Rollout`."""
    self._params = None

  def pop_stats(self) -> dict[str, int]:
    """As in `Rollout`."""
    stats, self._stats = dict(self._stats), collections.Counter()
    return stats

  def warm_up(self, longest_context: int | None = None) -> None:
    """As in `Rollout`."""
    backend.warm_up(self._slots, self._params, longest_context, self._pictures)

  def generate(
    self, requests: Sequence[Request], phase: Phase | None = None
  ) -> Iterator[Completion]:
    """As in `Rollout`."""
    if self._params is None:
      raise ValueError('generate before set_params: there are no weights')
    version = max(self._version, 0)
    seeded = [dataclasses.replace(r, seed=self._seed) for r in requests]
    # A scheduler of its own: what it decodes with, and the weights laid out for
    # that, live as long as this call.
    slots, record = backend.SlotBackend(self._slots, self._pictures), None
    if phase is None:
      record = self._record
    else:
      phase.open(seeded, repr(self._slots))
      slots = recalled.RecallingBackend(slots, phase, version)
      record = self._record and _unless(slots, self._record)
    scheduler = scheduler_lib.Scheduler(slots, record)
    scheduler.set_params(self._params, version)
    works, done = {}, []
    for request, asked in zip(seeded, requests, strict=True):
      work = Work(request, asked)
      if phase:
        work.chunks += phase.chunks_of(request)
      if work.is_done:
        done.append(work)
        continue
      rest = work.rest()
      scheduler.submit(rest)
      works[rest] = work
    yield from (work.completion() for work in done)
    seen = collections.Counter()
    while not scheduler.is_idle:
      chunks = scheduler.step()
      stats = scheduler.stats()
      self._stats.update({k: stats[k] - seen[k] for k in requests_lib.COUNTS})
      seen.update({k: stats[k] - seen[k] for k in requests_lib.COUNTS})
      for chunk in chunks:
        work = works[chunk.request]
        work.chunks.append(chunk)
        if work.is_done:
          yield works.pop(chunk.request).completion()


def _unless(slots, record):
  """`record`, but not of what a journal tells: nothing was done for it."""
  return lambda event: slots.is_recalling or record(event)


def seed_of(key: jax.Array) -> int:
  """The seed of requests under a key of the threefry kind."""
  words = np.asarray(jax.random.key_data(key)).reshape(-1)
  if len(words) != 2:
    raise ValueError(f'a key of {len(words)} words; threefry keys have 2')
  return int(words[0]) << 32 | int(words[1])
