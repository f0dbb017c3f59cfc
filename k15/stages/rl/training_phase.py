"""The training phase of an iteration: its updates, and what they refer to."""

import jax
import numpy as np

from k15.data_types import Group
from k15.stages.rl import chosen_groups
from k15.stages.rl import features
from k15.stages.rl import metrics
from k15.stages.rl import updates
from k15.stages.rl.stage import Stage
from k15.training import update


def train_on(
  stage: Stage, groups: list[Group], replayed: list[Group], iteration: int
) -> dict[str, float]:
  """All updates of an iteration; pi_theta_i is the reference of each.

  Args:
    stage: of which the weights change.
    groups: of the iteration.
    replayed: of iterations before.
    iteration: the current one.
  """
  config, timer = stage.context.config, stage.timer
  if not groups and not replayed:
    return metrics.of_updates([])
  with timer('batch'):
    batches = updates.make_batches(
      stage.context,
      groups,
      iteration,
      stage.name,
      replayed,
      chosen_groups.budgets(stage, [*groups, *replayed]),
    )
    batches = features.put(stage, batches)
  # Of a policy whose temperature falls; else the programs know it.
  temperature = updates.decayed_temperature(config, iteration)
  at = () if temperature is None else (np.float32(temperature),)
  with timer('ref_logprobs'):
    batches = _with_ref_logprobs(stage, batches, at)
  o = config.optimizer
  if batches and o.reset_every_iteration and not o.offload:
    stage.reset_optimizer()
  results, steps_before = [], stage.steps()
  with timer('update'):
    for i, batch in enumerate(batches):
      is_first = i == 0
      stage.state, values = stage.step(stage.state, batch, is_first, *at)
      values = {k: float(v) for k, v in jax.device_get(values).items()}
      update.refuse_non_finite(
        stage.context.workdir, stage.name, 'iteration', iteration, values, batch
      )
      results.append(values)
  _renew_reference(stage, steps_before)
  values = metrics.of_updates(results)
  if replayed:
    values['rl/groups_replayed'] = len(replayed)
  return values


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


def _with_ref_logprobs(stage, batches, at):
  """log pi_theta_i of every target, before any update.

  The first batch is trained on by pi_theta_i itself and needs none; a later
  epoch packs its responses anew, into batches of its own.
  """
  filled = []
  for i, batch in enumerate(map(stage.context.layout.place_rows, batches)):
    if i > 0:
      logprobs = stage.logprobs(stage.joined(stage.state.params), batch, *at)
      batch = batch.replace(ref_logprobs=logprobs)
    if stage.kl_params is not None:
      logprobs = stage.logprobs(stage.joined(stage.kl_params), batch, *at)
      batch = batch.replace(kl_logprobs=logprobs)
    filled.append(batch)
  return jax.block_until_ready(filled)
