"""From scored groups to updates: advantages, batches, the step."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import optax

from k15 import streams
from k15.data_types import Batch, Group
from k15.equations import advantages
from k15.equations import correctness
from k15.runtime.context import Context
from k15.runtime.context import Layout
from k15.stages.rl import methods
from k15.stages.rl import minibatches
from k15.stages.rl import rewards as rewards_lib
from k15.training import batching
from k15.training import optimizer as optimizer_lib
from k15.training import update


def group_advantages(
  config: Any,
  rewards_P_K: np.ndarray,
  is_correct_P_K: np.ndarray,
  rng: np.random.Generator,
):
  """Advantages of the configured method, and which responses enter the loss."""
  c = config.loss
  if c.method == 'rest':  # It imitates no wrong one, however well formed.
    values = advantages.rest_advantages(
      np.where(is_correct_P_K, rewards_P_K, 0)
    )
  elif c.method == 'grpo' and c.grpo_divides_by_std:
    values = advantages.group_normalized(rewards_P_K)
  else:
    values = advantages.over_baseline(rewards_P_K, c.baseline, c.tau)
  values, keep = advantages.apply_negative_gradients(
    values, c.negative_gradients, c.negative_discard_rate, rng
  )
  if not c.keep_zero_variance_groups:
    keep &= ~advantages.are_equal(rewards_P_K)[:, None]
  return values, keep


def decayed_temperature(config: Any, iteration: int) -> float | None:
  """What an iteration samples at, if that falls; None: it is constant.

  Kimi K2 (arXiv 2507.20534) lets it decay, and publishes neither how nor from
  where to where: here it goes linearly from `rollout.temperature` to
  `end_temperature`, and stays there.
  """
  r = config.rollout
  if not r.decay_iterations:
    return None
  done = min(1.0, iteration / r.decay_iterations)
  return r.temperature + done * (r.end_temperature - r.temperature)


def updates_of(config: Any, num_picks: int) -> int:
  """Optimizer steps of an epoch over what an iteration completed.

  As many as the config says when all that it opened is complete, and in
  proportion, rounded up, when that is less or more: minibatches, and with them
  the noise of a gradient, stay as large as they are.

  Args:
    num_picks: groups, or responses where these are trained on as they arrive.
  """
  r = config.rl
  opened = r.problems_per_iteration
  opened *= 1 if r.waits_for_group else r.group_size
  return -(-num_picks * r.updates_per_iteration // opened)


def make_batches(
  context: Context,
  groups: list[Group],
  iteration: int,
  stage: str = 'rl',
  replayed: Sequence[Group] = (),
  budgets_P: np.ndarray | None = None,
) -> list[Batch]:
  """Packs what an iteration trains on, a batch per update, all of one shape.

  Minibatches are of whole groups or, where responses are trained on as they
  arrive, of responses.

  Of `replayed` groups, of earlier iterations, only right responses that are
  better than their group enter the loss, with the weights they would have
  beside the others.  They add updates in proportion.  Toggle has budgets of all
  these groups.

  Groups none of whose responses can move the policy make no batch: an update
  by nothing would still follow old moments and decay weights.
  """
  config, picks = context.config, []
  rng = streams.rng(config.seed, 'updates', stage, iteration)
  for place, group in enumerate([*groups, *replayed]):
    budget_1 = None if budgets_P is None else budgets_P[place : place + 1]
    values, keep = _entering(config, group, iteration, budget_1, rng)
    if place >= len(groups):
      keep &= correctness.of_groups([group])[0] & (values > 0)
    picks += _picks(config, group, values, keep)
  examples = streams.rng(config.seed, 'kept examples', stage, iteration)
  batches = []
  for _ in range(config.rl.epochs):
    order = list(rng.permutation(len(picks)))
    num_updates = updates_of(config, len(picks))
    for part in batching.split_minibatches(order, num_updates):
      picked = [picks[i] for i in part]
      if any(_moves(config, values, keep) for _, values, keep in picked):
        kept = minibatches.kept_examples(context, examples)
        batches.append(minibatches.pack(context, picked, iteration, kept))
  return batches


def _entering(config, group, iteration, budget_1, rng):
  """Advantages of a group's responses, and which enter the loss: [K] each.

  They are compared with all that is known of the group.  So of responses that
  are trained on as they arrive the baseline is the running mean of the rewards
  so far, their own among them; of k1.5's whole groups it is equation 3's.  The
  first to arrive alone is its own mean, and has the advantage 0.
  """
  known = [dataclasses.replace(group, trajectories=group.known)]
  is_correct = correctness.of_groups(known)
  rewards = rewards_lib.total_rewards(
    config, known, is_correct, iteration, budget_1
  )
  values, keep = group_advantages(config, rewards, is_correct, rng)
  keep &= _are_well_formed(config, known)
  new = slice(len(group.earlier), None)
  return values[0, new], keep[0, new]


def _picks(config, group, values, keep):
  """What a minibatch takes or leaves whole: the group, or each response."""
  if config.rl.waits_for_group:
    return [(group, values, keep)]
  return [
    (
      dataclasses.replace(group, trajectories=(trajectory,)),
      values[i : i + 1],
      keep[i : i + 1],
    )
    for i, trajectory in enumerate(group.trajectories)
  ]


def _are_well_formed(config, groups):
  """bool [P, K]: whose form earned enough to enter the loss.

  Kimina-Prover filters by what a proof's form has to be against a collapse that
  negative gradients bring about; here the form is that of `r1_format`.
  """
  least = config.loss.least_format
  return np.array(
    [[t.parts.get('format', 1.0) >= least for t in g.trajectories]
     for g in groups]
  )  # fmt: skip


def _moves(config, advantages_P_K, keep_P_K):
  """Whether the loss of these responses has a gradient at all."""
  c = config.loss
  is_pulled = c.method in ('mirror_descent', 'token_clip')
  is_pulled |= methods.uses_slow_reference(config)
  return bool((keep_P_K & ((advantages_P_K != 0) | is_pulled)).any())


def make_updates(
  config: Any,
  layout: Layout,
  optimizer: optax.GradientTransformation,
  state_shardings: Any,
) -> tuple[Any, Any]:
  """The jitted step and reference log-probabilities, see `training.update`."""
  shape, o = layout.shape, config.optimizer
  temperature = config.rollout.temperature
  # As all batches are: another layout would compile the step again.
  rows = layout.row_sharding((o.micro_batch_rows, 1))
  step = update.make_step(
    shape,
    methods.make_loss(config),
    optimizer,
    optimizer_lib.constant_schedule(o.learning_rate, o.warmup_updates),
    o.micro_batch_rows,
    temperature,
    state_shardings,
  )
  logprobs = update.make_logprobs(shape, o.micro_batch_rows, temperature, rows)
  return step, logprobs
