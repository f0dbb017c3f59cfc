"""A rollout on workers of other processes and hosts, and perhaps this one.

`RemoteRollout` differs from `LocalRollout` in nothing but speed: a token
depends on seed, ids and position, so it does not matter which worker samples
it, nor that a worker dies in the middle.  A `Run`, the requests of one
`generate`, gives each worker about as many as it has slots; the others wait
for whoever is free first.  A request is with one worker at a time.  If that
one is lost, the request waits again, before all others, and goes on from the
tokens that have arrived; what the lost worker may still say is not heard.
"""

import collections
import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
from absl import logging

from k15.model import precision
from k15.rollout import journal
from k15.rollout import local
from k15.rollout import requests as requests_lib
from k15.rollout.journal import Phase
from k15.rollout.requests import Chunk, Completion, Request, Stop, Work
from k15.serving import weights

_REPORT_SECONDS = 5.0  # between two warnings while no worker is there
# A worker that is lost is no failure of the request.  One that fails on every
# worker would go round for ever.
_MOST_FAILURES = 3  # of one request, before it is given up


class NoWorker(RuntimeError):
  """No worker has been there for as long as patience lasts."""


class RemoteRollout:
  """A `Rollout` on several workers."""

  def __init__(
    self,
    workers: Sequence['Worker'],
    key: jax.Array,
    check: Callable[[Request], None],
    patience_seconds: float = 600.0,
    live_requests: str = 'interrupt',
    dtype: str = '',
  ):
    """Connects in the background.

    Args:
      workers: of `k15.serving.workers`.
      key: with ids, it seeds every response.
      check: raises ValueError for a request that no worker can decode.
      patience_seconds: how long to wait when there is no worker at all.
      live_requests: what an update does to live samples: 'interrupt',
        'drain' or 'in_flight'.
      dtype: weights are sent in it; '': as they are.
    """
    self._workers, self._check = tuple(workers), check
    self._patience, self._live = patience_seconds, live_requests
    self._seed, self._dtype = local.seed_of(key), dtype
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
    # Settled is not ready: all of them may have failed at their first attempt.
    self._wait(lambda: any(w.is_ready for w in self._workers))

  def pop_stats(self) -> dict[str, int | float]:
    """As in `Rollout`: those of all workers, and of updates."""
    for worker in self._workers:
      self._count(worker.pop_stats())
    with self._lock:
      stats, self._stats = dict(self._stats), collections.Counter()
    return stats

  def generate(
    self, requests: Sequence[Request], phase: Phase | None = None
  ) -> Iterator[Completion]:
    """As in `Rollout`.

    Raises:
      ValueError: as there.
      NoWorker: there was none for as long as patience lasts.
      RuntimeError: a request failed wherever it was tried.
    """
    if self._snapshot is None:
      raise ValueError('generate before set_params: there are no weights')
    seeded = [dataclasses.replace(r, seed=self._seed) for r in requests]
    for request in seeded:
      self._check(request)
    if not requests:
      return
    if phase:
      # Which worker decodes what beside what does not come again.
      phase.open(seeded, '')
    self.warm_up()
    run = Run(requests, self._seed, self._labels, phase)
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
        # Not for ever: if all workers are gone nothing will come, and patience
        # is counted below.
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


class Worker(Protocol):
  """Who decodes; a thread of its own works on each run.

  Attributes:
    name: for messages; of a server, its address.
    state: what it does, for messages.
    slots: how many samples it decodes at once, once it is ready.
    is_ready: it has the newest weights.
    is_settled: it is ready, or the last attempt to make it so has failed.
  """

  name: str
  state: str
  slots: int
  is_ready: bool
  is_settled: bool

  def set_weights(self, snapshot: weights.Snapshot, params: Any) -> None:
    """From now on it is ready only when it has these; `params` are the same."""

  def serve(self, run: 'Run', share: 'Share | None') -> None:
    """Works on a run in the background; a share of None: once it is ready."""

  def leave(self, run: 'Run') -> None:
    """The run is over; samples that nobody waits for are cancelled."""

  def pop_stats(self) -> dict[str, float]:
    """Counts since the last call; without those of a worker that is gone."""

  def close(self) -> None:
    """Lets go of it."""


@dataclasses.dataclass(eq=False)
class Share:
  """What one worker has of a run; works of one context come together.

  Attributes:
    slots: of the worker.
    inbox: handed over and not fetched yet.
    works: all of them, fetched or not.
    is_over: nothing more will come, and nothing is listened to.
  """

  slots: int
  inbox: collections.deque = dataclasses.field(
    default_factory=collections.deque
  )
  works: set = dataclasses.field(default_factory=set)
  is_over: bool = False


class Run:
  """The requests of one `generate`; any thread may call its methods.

  Attributes:
    outcomes: queue of completions, or of the exception that ends the run.
    is_finished: nobody waits for an answer any more.
    resubmitted: how often a request was taken from a lost worker.
  """

  def __init__(
    self,
    requests: Sequence[Request],
    seed: int,
    labels: Mapping[int, int],
    phase: Phase | None = None,
  ):
    """Nobody has anything yet.

    Args:
      requests: of one `generate`.
      seed: takes the place of theirs.
      labels: versions as workers count them -> versions of the caller.
      phase: what is known of them, and where the rest is kept.
    """
    self.outcomes = queue.SimpleQueue()
    self.is_finished = False
    self.resubmitted = 0
    self._labels, self._phase = labels, phase
    self._condition = threading.Condition()
    self._shares = []
    self._waiting = collections.OrderedDict()  # context -> deque of works
    for request in requests:
      work = Work(dataclasses.replace(request, seed=seed), request)
      if phase:
        work.chunks += phase.chunks_of(work.request)
      if work.is_done:
        self._complete(work)
      else:
        self._push(work)

  def join(self, slots: Sequence[int]) -> list[Share]:
    """Shares for workers of so many slots, all at once, so that all is even."""
    shares = [Share(n) for n in slots]
    with self._condition:
      self._shares += shares
      self._hand_out()
    return shares

  def take(self, share: Share) -> list[list[Work]]:
    """New works of a share, by contexts; waits for them; none: it is over."""
    with self._condition:
      self._condition.wait_for(lambda: share.inbox or share.is_over)
      taken = [] if share.is_over else list(share.inbox)
      share.inbox.clear()
      return taken

  def accept(self, share: Share, work: Work, chunk: Chunk) -> None:
    """Takes in what a worker has made of a work that it still has."""
    with self._condition:
      if share.is_over or work not in share.works:
        return  # Too late, or twice.
      version = self._labels.get(chunk.policy_version, chunk.policy_version)
      chunk = dataclasses.replace(chunk, policy_version=version)
      has_failed = chunk.stop in (Stop.FAILED, Stop.CANCELLED)
      kept = dataclasses.replace(chunk, stop=Stop.RUNNING)
      kept = kept if has_failed else chunk
      if len(chunk.tokens) or kept.stop is not Stop.RUNNING:
        work.chunks.append(kept)
        if self._phase:
          self._phase.write(journal.Call(0, (journal.piece_of(kept),)))
      if chunk.stop is Stop.RUNNING:
        return
      share.works.remove(work)
      if has_failed:
        self._try_again(work, chunk)
      else:
        self._complete(work)
      self._hand_out()

  def sync(self) -> None:
    """Has what was accepted brought to the disk, where it is kept."""
    if self._phase:
      self._phase.sync()

  def leave(self, share: Share) -> None:
    """A worker is lost: what it has not finished waits again, in front."""
    with self._condition:
      if share.is_over:
        return
      share.is_over = True
      self._shares.remove(share)
      self.resubmitted += len(share.works)
      for work in share.works:
        self._push(work, in_front=True)
      share.works.clear()
      self._hand_out()

  def fail(self, error: Exception) -> None:
    """Ends the run with an exception."""
    self.outcomes.put(error)

  def finish(self) -> None:
    """Nobody waits any more."""
    with self._condition:
      self.is_finished = True
      for share in self._shares:
        share.is_over = True
      self._waiting.clear()
      self._condition.notify_all()

  def _push(self, work, in_front=False):
    rest = work.rest()
    # Works of one context stay together, so that whoever gets them prefills
    # once.
    digests = tuple(image.digest for image in rest.images)
    key = rest.prompt.tobytes(), rest.response.tobytes(), digests
    works = self._waiting.setdefault(key, collections.deque())
    works.append(work)
    if in_front:
      self._waiting.move_to_end(key, last=False)

  def _hand_out(self):
    """Gives contexts to whoever has least to do, for its size.

    Beyond its slots a worker gets a few more, to have them at hand, but only
    when no other has a free slot.
    """
    while self._waiting and self._shares:
      share = min(self._shares, key=lambda s: len(s.works) / s.slots)
      if len(share.works) >= share.slots + -(-share.slots // 4):
        break
      key, works = next(iter(self._waiting.items()))
      taken = [works.popleft() for _ in range(min(share.slots, len(works)))]
      if not works:
        del self._waiting[key]
      share.works.update(taken)
      share.inbox.append(taken)
    self._condition.notify_all()

  def _try_again(self, work, chunk):
    work.failures += 1
    if work.failures < _MOST_FAILURES:
      self.resubmitted += 1
      self._push(work, in_front=True)
      return
    name = requests_lib.name_of(work.asked)
    reason = chunk.error or chunk.stop.name.lower()
    self.fail(
      RuntimeError(f'{name} failed {work.failures} times, at last: {reason}')
    )

  def _complete(self, work):
    try:
      found = work.completion()
    except requests_lib.NotFinite as error:
      found = error
    self.outcomes.put(found)
