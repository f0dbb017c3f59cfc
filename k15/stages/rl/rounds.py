"""Rounds of the rollout phase: when they begin, and what is waited for.

`start` begins an iteration's phase and `begin` a further round of it, `finish`
ends either.  In between responses may grow beside other work: with `rl.overlap`
the next phase begins where an iteration has all its responses, and has not been
trained on.
"""

import functools

from k15.data_types import Trajectory
from k15.stages.rl import rollout_phase
from k15.stages.rl.growing import Growing
from k15.stages.rl.stage import Stage


def start(stage: Stage, iteration: int) -> Growing:
  """Begins an iteration's phase, under the weights that it samples under."""
  config = stage.context.config
  stage.rest_optimizer()
  # Groups never change: no token of theirs is copied for this.
  stage.before = stage.buffer.copy(), stage.sampler.get_state()
  _hand_over(stage, iteration)
  stage.records.journal.begin(iteration, stage.handover.params)
  expired = stage.buffer.expire(iteration, config.rl.max_group_age)
  stage.context.scorer.pop_numbers()  # Of an evaluation.
  wanted = config.rl.problems_per_iteration
  return begin(stage, iteration, wanted, expired, is_refill=False)


def start_next(stage: Stage, iteration: int) -> None:
  """Has workers sample the next iteration, while this one is trained on.

  Of the last iteration none follows; but should the run be told to go on, it is
  these weights that would have sampled it.
  """
  if iteration < stage.context.config.rl.iterations:
    stage.ahead = start(stage, iteration)
  else:
    _hand_over(stage, iteration)


def _hand_over(stage, iteration):
  version = stage.version_under(iteration)
  stage.hand_over(version, label=version)
  if stage.is_overlapping:
    stage.sampling = stage.handover.params


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
  if is_refill and stage.is_overlapping:
    # An evaluation may have come after those of the first round.
    version = stage.version_under(iteration)
    stage.rollout.set_params(stage.sampling, version=version)
  buffer = stage.buffer
  drawn = stage.sampler.draw(num_problems, iteration)
  problems = [stage.context.task.train[i] for i in drawn]
  buffer.open(problems, iteration, stage.context.config.rl.group_size)
  pending = buffer.pending()
  if is_refill:  # What the budget has cut has had it.
    expired, pending = [], [pair for pair in pending if pair[1].stop is None]
  by_group = {group.group_id: group.problem for group in buffer.groups}
  growing = Growing(
    iteration, expired, is_beside=stage.is_overlapping and not is_refill
  )
  growing.begin(
    functools.partial(
      rollout_phase.sample, stage, by_group, pending, expired, iteration
    )
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
    rollout_phase.score(stage, verdicts, growing.iteration)
  return sampled


def count(
  stage: Stage, growing: Growing
) -> tuple[dict[str, float], dict[str, float]]:
  """What the rollout and the scorer have counted of a phase since it began."""
  own = dict(
    rollout=stage.rollout.pop_stats(), scorer=stage.context.scorer.pop_numbers()
  )
  for name, numbers in own.items():
    growing.counted[name].update(numbers)
  return tuple(dict(growing.counted[name]) for name in own)
