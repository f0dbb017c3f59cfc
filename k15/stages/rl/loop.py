"""Reinforcement learning, one iteration after the other: Kimi k1.5, 2.3, 2.6.

An iteration is a rollout phase and a training phase.  Its first policy,
pi_theta_i, samples the responses and is the reference of all its updates.  With
`rl.overlap` workers sample them while the iteration before is trained on, so
under pi_theta_(i-1), which `loss.rollout_correction` makes up for.
Everything that outlives an iteration is in `Stage` (stage.py) and in the
checkpoint.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from k15.checkpoints import state as state_lib
from k15.data_types import TrainState
from k15.rewards import scoring
from k15.runtime import context as context_lib
from k15.runtime.context import Context
from k15.stages.rl import chosen_groups
from k15.stages.rl import metrics
from k15.stages.rl import on_the_way
from k15.stages.rl import rounds
from k15.stages.rl import setup
from k15.stages.rl import training_phase
from k15.stages.rl.stage import Stage
from k15.training import logs


def train(
  context: Context, make_params: Callable[[], Any], name: str = 'rl'
) -> TrainState:
  """Runs the stage, or what is left of it; returns its last state.

  Args:
    make_params: the weights to start from, consumed; called by a first run,
      and by all where only adapters are trained.

  Raises:
    context_lib.Interrupted: asked to stop; its state is saved.
    scoring.Failed: nothing can be judged; the state before is saved.
  """
  config = context.config
  checkpoints = state_lib.Checkpoints(
    context.workdir / 'checkpoints' / name, config.saving.keep
  )
  start = checkpoints.latest_step() or 0
  if start:
    context.check_pictures(checkpoints.host(start)['buffer'])
    saved = checkpoints.restore(start, setup.device_layout(context))
    stage = setup.resume(context, start, *saved, make_params, name)
  else:
    stage = setup.begin(context, make_params(), name)
  stage.records.journal.forget(start)
  if start < config.rl.iterations:
    context.logger.truncate(name, start)
    with context.layout.use_mesh():
      try:
        _iterations(stage, start, checkpoints)
      except context_lib.Interrupted:
        if stage.ahead:  # It is asked to stop too: nothing writes after this.
          stage.ahead.wait()
        raise
  stage.rollout.close()
  stage.records.close()
  checkpoints.close()
  return stage.state


def _iterations(stage, start, checkpoints):
  context, config = stage.context, stage.context.config
  version = stage.version_under(start)
  stage.hand_over(version, label=version)
  stage.warm_up()
  stage.timer.pop()  # What compiling took is no part of an iteration.
  total = config.rl.iterations
  with logs.Progress(total, start, stage.name) as progress:
    for iteration in range(start, total):
      values = _run_or_save(stage, iteration, checkpoints)
      done, stopping = iteration + 1, context.is_stopping()
      every = config.evaluation.every
      if every and done % every == 0:
        values |= on_the_way.evaluate(stage, done)
      # Logged before it is saved: what is saved is never run, or logged, again.
      stage.context.logger.scalars(
        stage.name, iteration, values | stage.timer.pop()
      )
      due = done % config.saving.every_iterations == 0 or done == total
      if due or stopping:
        with stage.timer('checkpoint'):  # Shown with the next iteration.
          host = stage.buffer, stage.sampler.get_state()
          if stage.ahead:  # Begun once more by whoever goes on from here.
            host = stage.before
          state = setup.host_state(*host)
          checkpoints.save(done, stage.device_state(), state)
          stage.records.journal.forget(done)
      progress.update(
        reward=values.get('rl/reward', float('nan')),
        length=values['rl/length_mean'],
      )
      if stopping and done < total:
        raise context_lib.Interrupted(
          f'{stage.name}: saved after iteration {iteration}'
        )


def _run_or_save(stage, iteration, checkpoints):
  """The iteration's metrics; one that breaks off leaves the state before it."""
  try:
    values = run_iteration(stage, iteration)
    if values is None:
      raise context_lib.Interrupted(
        f'{stage.name}: saved before iteration {iteration}'
      )
    return values
  except (context_lib.Interrupted, scoring.Failed):  # Before any update.
    state = setup.host_state(*stage.before)
    checkpoints.save(iteration, stage.device_state(), state)
    raise


def run_iteration(stage: Stage, iteration: int) -> dict[str, float] | None:
  """One iteration; its metrics, or None if it was interrupted in its rollout.

  After an interruption the state is as before, but not the host's memory.

  Raises:
    scoring.Failed: nothing could be judged; the state is as before.
  """
  config, buffer = stage.context.config, stage.buffer
  growing = first = stage.ahead or rounds.start(stage, iteration)
  sampled, groups, chosen, wanted = [], [], [], 0
  for refill in range(1 + config.rl.refill_rounds):
    if refill:
      stage.rest_optimizer()
      growing = rounds.begin(stage, iteration, wanted, [], True)
    grown = rounds.finish(stage, growing)
    stage.ahead = None
    if grown is None:
      return None
    sampled += grown
    waits = config.rl.waits_for_group
    popped = buffer.pop_complete() if waits else buffer.pop_arrived()
    _record_success(stage, popped)
    groups += popped
    teaching = chosen_groups.teaching(stage, popped, iteration)
    chosen += teaching
    wanted = len(popped) - len(teaching)
    if not wanted:
      break
  stats, judged = rounds.count(stage, first)
  values = metrics.of_rollout(sampled, first.expired, stats)
  values |= metrics.of_verdicts(judged, stage.timer.seconds('reward'))
  values['replay/open_groups'] = len(buffer.groups)
  values |= stage.sampler.metrics()
  replayed = chosen_groups.replayed(stage, iteration)
  if groups:
    values |= metrics.of_groups(groups) | metrics.of_ages(groups, iteration)
    chosen_groups.remember(stage, chosen, iteration)
  if stage.is_overlapping:
    rounds.start_next(stage, iteration + 1)
  if groups:
    values |= training_phase.train_on(stage, chosen, replayed, iteration)
    metrics.log_groups(stage.context, stage.name, groups, iteration)
  return values | stage.handover.pop_metrics() | stage.shelf.pop_metrics()


def _record_success(stage, popped):
  """Success is accuracy, whatever else a response earned, of a whole draw."""
  k = stage.context.config.rl.group_size
  groups = [
    dataclasses.replace(group, trajectories=group.known)
    for group in popped
    if len(group.known) == k
  ]
  stage.sampler.record(
    [stage.problem_index[group.problem.id] for group in groups],
    [np.mean([t.accuracy for t in group.trajectories]) for group in groups],
  )
  chosen_groups.fix_budgets(stage, groups)
