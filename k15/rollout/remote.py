"""A rollout on workers of other processes and hosts, and perhaps this one.

`RemoteRollout` has the methods of `LocalRollout` and differs in nothing but
speed: a token depends on seed, ids and position, so it does not matter which
worker samples it, nor that a worker dies in the middle.  Each worker has about
as many samples as slots; the others wait here, for whoever is free first.
"""

import collections
import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from absl import logging

from k15 import precision
from k15.rollout import client
from k15.rollout import dispatch
from k15.rollout import weights
from k15.rollout.requests import Completion, Request

_REPORT_SECONDS = 5.0


class NoWorker(RuntimeError):
  """No worker has been there for as long as patience lasts."""


class RemoteRollout:
  """Spreads requests over workers; see `LocalRollout` for the methods."""

  def __init__(
    self,
    workers: Sequence[Any],
    key: jax.Array,
    check: Callable[[Request], None],
    patience_seconds: float = 600.0,
    live_requests: str = 'interrupt',
    dtype: str = '',
  ):
    """Connects in the background.

    Args:
      workers: of `k15.rollout.workers`.
      key: with ids, it seeds every response.
      check: raises ValueError for a request that no worker can decode.
      patience_seconds: how long to wait when there is no worker at all.
      live_requests: what an update does to live samples: 'interrupt',
        'drain' or 'in_flight'.
      dtype: weights are sent in it; '': as they are.
    """
    self._workers, self._check = tuple(workers), check
    self._patience, self._live = patience_seconds, live_requests
    self._seed, self._dtype = client.seed_of(key), dtype
    # Of two trainers, workers obey the one that was started later.
    self._trainer = time.time_ns()
    self._snapshot, self._labels = None, {}
    self._stats, self._lock = collections.Counter(), threading.Lock()

  def set_params(self, params: Any, version: int) -> None:
    """Sends weights to all workers; returns when they are copied.

    No worker samples anything more for `generate` before it has them.
    """
    if self._dtype:
      params = precision.cast(params, self._dtype)
    before = self._snapshot and self._snapshot.header
    # Versions of the wire only grow; those of the caller may come back.
    number = max(version, before.version + 1 if before else 0)
    taken = weights.snapshot(params, self._trainer, number, self._live)
    if (
      before
      and before.sha256 == taken.header.sha256
      and self._labels[before.version] == version
    ):
      return
    self._snapshot, self._labels[number] = taken, version
    for worker in self._workers:
      worker.set_weights(taken, params)

  def close(self) -> None:
    """Lets go of the weights and the workers, which go on living."""
    self._snapshot = None
    for worker in self._workers:
      worker.close()

  def warm_up(self, longest_context: int | None = None) -> None:
    """Waits for the workers; they compile everything by themselves.

    Raises:
      NoWorker: there was none for as long as patience lasts.
    """
    del longest_context
    # Those that can be reached share the work from the start.
    self._wait(lambda: all(w.is_settled for w in self._workers))
    self._wait(lambda: any(w.is_ready for w in self._workers))

  def pop_stats(self) -> dict[str, int | float]:
    """Counts since the last call: those of all workers, and of updates."""
    for worker in self._workers:
      self._count(worker.pop_stats())
    with self._lock:
      stats, self._stats = dict(self._stats), collections.Counter()
    return stats

  def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
    """Answers every request once, in the order in which they finish.

    Their seeds are of no account: the key of the rollout takes their place.

    Raises:
      ValueError: no weights were set, or a request does not fit.
      NoWorker: there was none for as long as patience lasts.
      RuntimeError: a request failed wherever it was tried.
    """
    if self._snapshot is None:
      raise ValueError('generate before set_params: there are no weights')
    for request in requests:
      self._check(dataclasses.replace(request, seed=self._seed))
    if not requests:
      return
    self.warm_up()
    run = dispatch.Run(requests, self._seed, self._labels)
    ready = [worker for worker in self._workers if worker.is_ready]
    shares = run.join([worker.slots for worker in ready])
    by_worker = dict(zip(ready, shares, strict=True))
    for worker in self._workers:
      worker.serve(run, by_worker.get(worker))
    try:
      for _ in requests:
        yield self._next(run)
    finally:
      run.finish()
      for worker in self._workers:
        worker.leave(run)
      self._count(dict(resubmitted=run.resubmitted))

  def _next(self, run):
    """The next completion."""
    while True:
      with contextlib.suppress(queue.Empty):
        outcome = run.outcomes.get(timeout=1.0)
        if isinstance(outcome, Exception):
          raise outcome
        return outcome
      self._wait(
        lambda: (
          any(w.is_ready for w in self._workers) or not run.outcomes.empty()
        )
      )

  def _wait(self, is_enough):
    """Waits with a line every few seconds; time asleep does not count."""
    waited, said = 0.0, 0.0
    while not is_enough():
      time.sleep(0.02)
      waited += 0.02
      states = '; '.join(f'{w.name}: {w.state}' for w in self._workers)
      if waited >= self._patience:
        raise NoWorker(
          f'no rollout worker for {self._patience:g} seconds: {states}'
        )
      if waited - said >= _REPORT_SECONDS:
        said = waited
        logging.warning('waited %.0f s for rollout workers: %s', waited, states)

  def _count(self, values):
    with self._lock:
      self._stats.update(values)
