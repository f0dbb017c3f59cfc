"""Responses that grow: when they are asked for, or beside other work."""

import collections
import dataclasses
import threading
from collections.abc import Callable
from concurrent import futures

from k15.data_types import Trajectory
from k15.rewards.verdict import Verdict

# Those to come, by (group_id, sample_index).
Verdicts = dict[tuple[int, int], futures.Future[Verdict]]
# What grew, None if the run is to stop, and what is said of it.
Sampled = tuple[list[Trajectory] | None, Verdicts]


@dataclasses.dataclass(eq=False)
class Growing:
  """A round of a phase that has begun.

  Attributes:
    iteration: the phase's.
    expired: what was finished by its age before it.
    is_beside: it grows on a thread of its own; else `result` lets it grow.
    counted: of the rollout and of the scorer, what somebody else who asked
      them after it has put aside: of names `Rollout.pop_stats` and
      `Scorer.pop_numbers` have.
  """

  iteration: int
  expired: list[Trajectory]
  is_beside: bool
  counted: dict[str, collections.Counter] = dataclasses.field(
    default_factory=lambda: collections.defaultdict(collections.Counter)
  )

  def begin(self, work: Callable[[], Sampled]) -> None:
    """Takes what `result` is to return, and calls it if it grows beside."""
    self._work, self._future = work, futures.Future()
    if self.is_beside:
      # Whoever ends the run does not wait for what nobody reads any more.
      threading.Thread(target=self._run, name='rollout', daemon=True).start()

  def result(self) -> Sampled:
    """What `sample` returns, as soon as it does; raises what that raises."""
    if not self.is_beside:
      return self._work()
    return self._future.result()

  def wait(self) -> None:
    """Returns when all has grown and is judged, or has failed."""
    if self.is_beside and self._future.exception() is None:
      futures.wait(self._future.result()[1].values())

  def _run(self):
    try:
      self._future.set_result(self._work())
    except BaseException as error:
      self._future.set_exception(error)
