"""The training phase of an iteration: its updates, and what they refer to."""

import jax

from k15.data_types import Group
from k15.equations import advantages
from k15.equations import correctness
from k15.stages.rl import metrics
from k15.stages.rl import updates
from k15.stages.rl.stage import Stage
from k15.training import update


def train_on(
  stage: Stage, groups: list[Group], iteration: int
) -> dict[str, float]:
  """All updates of an iteration; pi_theta_i is the reference of each."""
  config, timer = stage.context.config, stage.timer
  replayed, age = [], config.rl.positive_replay
  if iteration >= config.rl.positive_replay_start:
    replayed = stage.buffer.remembered(iteration, age)
  if not groups and not replayed:
    return metrics.of_updates([])
  with timer('batch'):
    batches = updates.make_batches(
      stage.context, groups, iteration, stage.name, replayed
    )
  with timer('ref_logprobs'):
    batches = _with_ref_logprobs(stage, batches)
  o = config.optimizer
  if batches and o.reset_every_iteration and not o.offload:
    stage.reset_optimizer()
  results, steps_before = [], stage.steps()
  with timer('update'):
    for i, batch in enumerate(batches):
      is_first = i == 0
      stage.state, values = stage.step(stage.state, batch, is_first)
      values = {k: float(v) for k, v in jax.device_get(values).items()}
      update.refuse_non_finite(
        stage.context.workdir, stage.name, 'iteration', iteration, values, batch
      )
      results.append(values)
  _renew_reference(stage, steps_before)
  _remember(stage, groups, iteration)
  values = metrics.of_updates(results)
  if replayed:
    values['rl/groups_replayed'] = len(replayed)
  return values


def _remember(stage, groups, iteration):
  """Keeps what `rl.positive_replay` iterations may learn from once more."""
  age = stage.context.config.rl.positive_replay
  is_right = [any(map(correctness.is_right, g.trajectories)) for g in groups]
  right = [g for g, one in zip(groups, is_right, strict=True) if one]
  kept = with_differences(stage, right, iteration) if age else []
  stage.buffer.remember(kept, iteration, age)


def with_differences(
  stage: Stage, groups: list[Group], iteration: int
) -> list[Group]:
  """Groups whose rewards differ: the others have advantages of 0 only."""
  if not groups:
    return []
  rewards = updates.total_rewards(
    stage.context.config, groups, correctness.of_groups(groups), iteration
  )
  are_equal = advantages.are_equal(rewards)
  return [g for g, equal in zip(groups, are_equal, strict=True) if not equal]


def _renew_reference(stage, steps_before):
  """Takes the newest policy as GRPO's slow reference whenever it is due.

  That is where the optimizer's steps have passed a multiple of the interval.
  The log-probabilities of the reference are those of whole iterations, so it
  waits for the end of one.
  """
  every = stage.context.config.loss.grpo_reference_interval
  is_due = stage.steps() // every > steps_before // every
  if is_due and stage.kl_params is not None:
    stage.kl_params = jax.tree.map(lambda x: x.copy(), stage.state.params)


def _with_ref_logprobs(stage, batches):
  """log pi_theta_i of every target, before any update.

  The first batch is trained on by pi_theta_i itself and needs none; a later
  epoch packs its responses anew, into batches of its own.
  """
  filled = []
  for i, batch in enumerate(map(stage.context.layout.place_rows, batches)):
    if i > 0:
      logprobs = stage.logprobs(stage.joined(stage.state.params), batch)
      batch = batch.replace(ref_logprobs=logprobs)
    if stage.kl_params is not None:
      logprobs = stage.logprobs(stage.joined(stage.kl_params), batch)
      batch = batch.replace(kl_logprobs=logprobs)
    filled.append(batch)
  return jax.block_until_ready(filled)
