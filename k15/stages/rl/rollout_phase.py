"""The rollout phase of an iteration: responses grow, and are judged meanwhile.

`begin` and `finish` are the phase, or a further round of it; between the two
responses may grow beside other work, see `Growing`.  `sample` asks for a
verdict as soon as a response is finished, `score` waits for those that are not
there yet when the last one is, and puts what each response has earned into the
buffer.
"""

import collections
import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any

import numpy as np

from k15.config import routes
from k15.data_types import Problem, Trajectory
from k15.devices import hosts
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.rollout import partial
from k15.stages.rl import updates
from k15.stages.rl.stage import Stage

# Those to come, by (group_id, sample_index).
Verdicts = dict[tuple[int, int], futures.Future[Verdict]]


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

  def begin(self, work: Callable[[], tuple[Any, Verdicts]]) -> None:
    """Takes what `result` is to return, and calls it if it grows beside."""
    self._work, self._future = work, futures.Future()
    if self.is_beside:
      # Whoever ends the run does not wait for what nobody reads any more.
      threading.Thread(target=self._run, name='rollout', daemon=True).start()

  def result(self) -> tuple[list[Trajectory] | None, Verdicts]:
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


def begin(
  stage: Stage,
  iteration: int,
  num_problems: int,
  expired: list[Trajectory],
  is_refill: bool,
) -> Growing:
  """Opens groups and lets what is pending grow.

  Args as in `sample`; a refill is a further round of the same iteration.
  """
  buffer = stage.buffer
  drawn = stage.sampler.draw(num_problems, iteration)
  problems = [stage.context.task.train[i] for i in drawn]
  buffer.open(problems, iteration, stage.context.config.rl.group_size)
  pending = buffer.pending()
  if is_refill:  # What the budget has cut has had it.
    expired, pending = [], [pair for pair in pending if pair[1].stop is None]
  growing = Growing(iteration, expired, stage.is_overlapping and not is_refill)
  by_group = {group.group_id: group.problem for group in buffer.groups}
  growing.begin(
    functools.partial(sample, stage, by_group, pending, expired, iteration)
  )
  return growing


def finish(stage: Stage, growing: Growing) -> list[Trajectory] | None:
  """Waits for what grows, and scores what is finished.

  Returns what grew, or None if the run is to stop.  Raises `scoring.Failed`.
  """
  with stage.timer('rollout'):
    sampled, verdicts = growing.result()
  stage.wake_optimizer()
  if sampled is None:
    return None
  stage.buffer.update(sampled)
  with stage.timer('reward'):
    score(stage, verdicts, growing.iteration)
  return sampled


def sample(
  stage: Stage,
  problems: Mapping[int, Problem],
  pending: Sequence[tuple[Problem, Trajectory]],
  expired: Sequence[Trajectory],
  iteration: int,
) -> tuple[list[Trajectory] | None, Verdicts]:
  """Grows pending responses and has judged, meanwhile, what is finished.

  Of the stage it changes nothing: others may, while it runs on a thread.

  Args:
    problems: by group id, of all these responses.
    pending: responses to start or continue, in this order.
    expired: trajectories that are finished by their age.
    iteration: the current one, by which the temperature may fall.

  Returns:
    The trajectories, None if the run is to stop, and the verdicts to come, by
    (group_id, sample_index).
  """
  context = stage.context
  config, tokenizer = context.config.rollout, context.task.tokenizer
  journal = stage.records.journal
  temperature = updates.decayed_temperature(context.config, iteration)
  sampled, verdicts = [], {}

  def judge(trajectory):
    key = trajectory.group_id, trajectory.sample_index
    text = tokenizer.decode(trajectory.tokens)
    known = journal.verdict(key, text)
    if known is not None:
      verdicts[key] = context.scorer.known(known)
      return
    judged = context.submit(problems[key[0]], text, trajectory.stop)
    judged.add_done_callback(functools.partial(_keep, journal, key, text))
    verdicts[key] = judged

  for trajectory in expired:
    judge(trajectory)
  is_stopping = context.stop_poll()
  with context.rollout_layout.use_mesh():
    for trajectory in partial.run(
      stage.rollout,
      pending,
      context.task.encode_prompt,
      config.token_budget,
      config.max_length,
      config.temperature if temperature is None else temperature,
      routes.lengths_of(config.domain_max_lengths),
      journal.phase(),
    ):
      sampled.append(trajectory)
      if is_stopping():
        return None, {}
      if trajectory.is_finished:
        judge(trajectory)
  return sampled, verdicts


def _keep(journal, key, text, judged):
  """Writes down a verdict, if there is one."""
  if not judged.cancelled() and judged.exception() is None:
    journal.keep_verdict(key, text, judged.result())


def score(stage: Stage, verdicts: Verdicts, iteration: int) -> None:
  """Waits for verdicts; the buffer gets raw rewards and their parts.

  Raises:
    scoring.Failed: in all processes, if the first one could not judge.
  """
  finished = [t for _, t in stage.buffer.unscored()]
  where, failure = f'{stage.name}: iteration {iteration}', ''
  try:
    found = [verdicts[t.group_id, t.sample_index].result() for t in finished]
    scoring.refuse_errors(found, where)
  except scoring.Failed as error:
    failure = str(error)
  if hosts.any_of(bool(failure)):
    raise scoring.Failed(failure or f'{where}: the first process cannot judge')
  stage.buffer.set_rewards(finished, *_earned(found))


def _earned(verdicts):
  """Rewards and their parts, those of the first process in all of them."""
  table = np.full((len(verdicts), 1 + len(routes.PARTS)), np.nan)
  for row, verdict in zip(table, verdicts, strict=True):
    own = scoring.parts_of(verdict)
    row[0] = scoring.reward_of(verdict)
    # A part that the reward does not have is no number.
    row[1:] = [own.get(name, np.nan) for name in routes.PARTS]
  if verdicts:
    table = hosts.of_first(table)
  parts = [
    {
      name: float(value)
      for name, value in zip(routes.PARTS, row[1:], strict=True)
      if not np.isnan(value)
    }
    for row in table
  ]
  return table[:, 0].tolist(), parts
