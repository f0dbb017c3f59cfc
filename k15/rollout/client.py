"""Where the trainer asks for responses: `LocalRollout`, in its own process.

A rollout has five methods: `set_params` hands it new weights, `warm_up`
compiles, `generate` turns requests into completions as they finish, `pop_stats`
counts what that took, `close` ends it.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from k15.rollout import backend
from k15.rollout import requests as requests_lib
from k15.rollout import scheduler as scheduler_lib
from k15.rollout import slots as slots_lib
from k15.rollout.requests import Completion, Request, SlotEvent

COUNTS = (
  'tokens', 'decode_steps', 'generate_calls', 'prefill_calls',
  'prefill_tokens',
)  # fmt: skip


class LocalRollout:
  """Runs a `SlotDecoder` in this process and thread."""

  def __init__(
    self,
    slots: slots_lib.SlotDecoder,
    key: jax.Array,
    record: Callable[[SlotEvent], None] | None = None,
  ):
    """Takes what decodes, and the key that, with ids, seeds every response.

    `record`, if given, is told what every slot does.
    """
    self._slots = slots
    self._seed = seed_of(key)
    self._record = record
    self._params = None
    self._version = -1
    self._stats = collections.Counter()

  def set_params(self, params: Any, version: int) -> None:
    """Samples from these weights from the next `generate` on."""
    self._params, self._version = params, version

  def close(self) -> None:
    """Lets go of the weights."""
    self._params = None

  def pop_stats(self) -> dict[str, int]:
    """Counts since the last call: tokens, decode steps, calls, prefills."""
    stats, self._stats = dict(self._stats), collections.Counter()
    return stats

  def warm_up(self, longest_context: int | None = None) -> None:
    """Compiles every shape, so that nothing compiles later.

    Args:
      longest_context: tokens of the longest prompt and response that will be
        asked to go on; None: whatever fits.
    """
    slots = backend.SlotBackend(self._slots)
    slots.set_params(self._params)
    slots.warm_up(longest_context)

  def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
    """Answers every request once, in the order in which they finish.

    Their seeds are of no account: the key of the rollout takes their place.

    Raises:
      ValueError: no weights were set, or a request does not fit.
    """
    if self._params is None:
      raise ValueError('generate before set_params: there are no weights')
    # A scheduler of its own: the decode state lives as long as this call.
    slots = backend.SlotBackend(self._slots)
    scheduler = scheduler_lib.Scheduler(slots, self._record)
    scheduler.set_params(self._params, max(self._version, 0))
    asked = {}
    for request in requests:
      seeded = dataclasses.replace(request, seed=self._seed)
      scheduler.submit(seeded)
      asked[seeded] = request
    gatherer, seen = requests_lib.Gatherer(), collections.Counter()
    while not scheduler.is_idle:
      chunks = scheduler.step()
      stats = scheduler.stats()
      self._stats.update({k: stats[k] - seen[k] for k in COUNTS})
      seen.update({k: stats[k] - seen[k] for k in COUNTS})
      for chunk in chunks:
        completion = gatherer.add(chunk)
        if completion:
          yield dataclasses.replace(
            completion, request=asked[completion.request]
          )


def seed_of(key: jax.Array) -> int:
  """The seed of requests under a key of the threefry kind."""
  words = np.asarray(jax.random.key_data(key)).reshape(-1)
  if len(words) != 2:
    raise ValueError(f'a key of {len(words)} words; threefry keys have 2')
  return int(words[0]) << 32 | int(words[1])
