"""Which worker gets which request of one `generate`, and what comes back.

A request is with one worker at a time.  If that worker is lost, the request
waits again, before all others, and goes on from the tokens that have arrived;
what the lost worker may still say is not listened to.
"""

import collections
import dataclasses
import queue
import threading
from collections.abc import Mapping, Sequence

import numpy as np

from k15.rollout import requests as requests_lib
from k15.rollout.requests import Chunk, Request, Stop

_MOST_FAILURES = 3  # of one request, before it is given up


@dataclasses.dataclass(eq=False)
class Work:
  """A request, as it was asked for and as it is seeded, and its chunks."""

  asked: Request
  request: Request
  chunks: list[Chunk] = dataclasses.field(default_factory=list)
  failures: int = 0

  def rest(self) -> Request:
    """What is still to be sampled."""
    if not self.chunks:
      return self.request
    made = requests_lib.join([c.tokens for c in self.chunks], np.int32)
    response = requests_lib.join([self.request.response, made], np.int32)
    budget = self.request.budget - len(made)
    return dataclasses.replace(self.request, response=response, budget=budget)


@dataclasses.dataclass(eq=False)
class Share:
  """What one worker has: works of the same context are handed over together.

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
    self, requests: Sequence[Request], seed: int, labels: Mapping[int, int]
  ):
    """Nobody has anything yet.

    Args:
      requests: to be answered once each.
      seed: takes the place of theirs.
      labels: versions as workers count them -> versions of the caller.
    """
    self.outcomes = queue.SimpleQueue()
    self.is_finished = False
    self.resubmitted = 0
    self._labels = labels
    self._condition = threading.Condition()
    self._shares = []
    self._waiting = collections.OrderedDict()  # context -> deque of works
    for request in requests:
      self._push(Work(request, dataclasses.replace(request, seed=seed)))

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
      if len(chunk.tokens):
        work.chunks.append(chunk)
      if chunk.stop is Stop.RUNNING:
        return
      share.works.remove(work)
      if chunk.stop in (Stop.FAILED, Stop.CANCELLED):
        self._try_again(work, chunk)
      else:
        self._complete(work, chunk.stop)
      self._hand_out()

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
    key = rest.prompt.tobytes() + b'|' + rest.response.tobytes()
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

  def _complete(self, work, stop):
    try:
      found = requests_lib.completion_of(work.asked, work.chunks, stop)
    except requests_lib.NotFinite as error:
      found = error
    self.outcomes.put(found)
