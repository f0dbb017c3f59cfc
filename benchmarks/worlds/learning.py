"""A run of RL in a toy world, whole in one traced function.

Its equations are those of k15: rewards and advantages of `advantages`, losses
of `losses` and `grpo`, the optimizer's rule; problems are drawn by `drawing`.
Everything that arms differ in is a number in `Arm`, so that runs of many arms,
rates and seeds are one program.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.worlds import drawing
from benchmarks.worlds import policy
from benchmarks.worlds.facts import Nature
from benchmarks.worlds.facts import Problems
from benchmarks.worlds.facts import Setting
from benchmarks.worlds.facts import World
from k15.equations import advantages
from k15.equations import grpo
from k15.equations import losses
from k15.training import optimizer as optimizer_lib

# What a response weighs: k1.5's reward over the mean; ReST, the best of a group
# alone; RFT, all right ones alike; k1.5 without its negative ones; and GRPO's.
ADVANTAGES = ('mean', 'rest', 'rft', 'positive', 'normalized')
OPTIMIZERS = ('reset', 'kept', 'sgd')  # Adam whose moments are; or none of them
GRPO_CLIP = 0.2  # Of experiments/base.py, as are Adam's numbers below.
_GREEDY = 1e4  # times logits, what is nearly temperature 0
_CLIP_NORM, _BETA1, _BETA2, _EPS = 1.0, 0.9, 0.95, 1e-8


class Arm(NamedTuple):
  """How a run learns; names are places in the tuples above.

  Attributes:
    advantage: in `ADVANTAGES`.
    is_grpo: 1: the loss of GRPO, with a clip and without a KL term; 0: that of
      k1.5.
    tau: of the latter; 0: REINFORCE, or the imitation of what weighs.
    rate: learning rate.
    optimizer: in `OPTIMIZERS`.
    strategy: in `drawing.STRATEGIES`.
    switch: first iteration of a curriculum's hard problems.
    length_weight: of the length reward.
  """

  advantage: int = 0
  is_grpo: int = 0
  tau: float = 0.4
  rate: float = 5e-3
  optimizer: int = 0
  strategy: int = 0
  switch: int = 0
  length_weight: float = 0.0


class Curves(NamedTuple):
  """What a run leaves.

  Attributes:
    accuracy, easy, hard, symbols: float32 [1 + iterations / every], of held-out
      problems, exact: all of them, easy ones, others, and expected length.
    greedy: float32 [], accuracy of the last policy at temperature 0.
    log_ratio: float32 [iterations], nats, rms over responses at the last
      update.
  """

  accuracy: jax.Array
  easy: jax.Array
  hard: jax.Array
  symbols: jax.Array
  greedy: jax.Array
  log_ratio: jax.Array


def run(
  world: World,
  nature: Nature,
  arm: Arm,
  seed: jax.Array,
  setting: Setting,
  params: policy.Params,
) -> Curves:
  """One run of RL, from what `policy.prior` has made of the seed's facts."""
  adam, _ = _rules()
  held_out = setting.held_out

  def several(carry, keys):
    policies = carry[0]
    carry, log_ratios = jax.lax.scan(
      lambda c, key: _iterate(world, nature, setting, arm, c, key),
      carry,
      keys,
    )
    return carry, (policies, log_ratios)

  def evaluate(_, asked):
    params, sharpness = asked
    return None, policy.exact(
      world, nature, setting.facts, params, held_out, sharpness
    )

  every = world.iterations // world.every
  keys = jax.random.split(jax.random.key(seed), world.iterations)
  begun = params, adam.init(params), drawing.start(world.problems), 0
  (params, *_), (policies, log_ratio) = jax.lax.scan(
    several, begun, keys.reshape(every, world.every)
  )
  # All at once in the end, the last policy twice: a call of its own would be
  # compiled a second time.
  asked = jax.tree.map(
    lambda some, end: jnp.concatenate([some, end[None], end[None]]),
    policies,
    params,
  )
  sharpness = jnp.append(jnp.ones(every + 1), _GREEDY)
  _, found = jax.lax.scan(evaluate, None, (asked, sharpness))
  right, symbols = found.right[:-1], found.symbols[:-1]
  return Curves(
    accuracy=right.mean(-1),
    easy=_mean(right, held_out.is_easy),
    hard=_mean(right, ~held_out.is_easy),
    symbols=symbols.mean(-1),
    greedy=found.right[-1].mean(),
    log_ratio=log_ratio.reshape(-1),
  )


def _iterate(world, nature, setting, arm, carry, key):
  """One iteration: problems, responses, advantages, updates."""
  params, moments, sampler, iteration = carry
  train = setting.train
  of_problems, of_chains, of_updates = policy.uniforms(
    key,
    (1 + world.problems,),
    policy.draws_of_chains(world, world.drawn * world.group),
    (world.epochs, world.drawn),
  )
  drawn = drawing.draw(
    sampler,
    arm.strategy,
    iteration >= arm.switch,
    ~train.is_easy,
    jnp.arange(world.problems) < nature.pool * world.problems,
    world.drawn,
    of_problems,
  )
  rows = jnp.repeat(drawn, world.group)
  asked = Problems(*(field[rows] for field in train))
  chains = policy.sample(world, nature, setting.facts, params, asked, of_chains)
  groups = world.drawn, world.group
  is_right = chains.is_right.reshape(groups)
  rewards = advantages.total_rewards(
    is_right.astype(jnp.float32),
    is_right,
    chains.mask.sum(-1).reshape(groups),
    arm.length_weight,
  )
  values, keep = weigh(rewards, is_right, arm.advantage)
  batch = dict(
    chains=chains,
    advantage=values.reshape(-1, 1),
    keep=keep.reshape(-1, 1),
    ref_logprobs=policy.logprobs(world, params, chains),
  )
  adam, _ = _rules()
  is_reset = arm.optimizer == OPTIMIZERS.index('reset')
  moments = jax.tree.map(
    lambda new, old: jnp.where(is_reset, new, old), adam.init(params), moments
  )
  (params, moments), ratios = jax.lax.scan(
    lambda c, picks: _update(world, arm, batch, c, picks),
    (params, moments),
    _minibatches(world, of_updates),
  )
  sampler = drawing.record(sampler, drawn, is_right.mean(-1))
  return (params, moments, sampler, iteration + 1), ratios[-1]


def weigh(
  rewards: jax.Array, is_right: jax.Array, advantage: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Advantages [P, K] and which responses enter the loss, by k15's functions.

  Args:
    rewards: float32 [P, K]; total ones.
    is_right: bool [P, K].
    advantage: its place in `ADVANTAGES`.
  """
  right_alone = jnp.where(is_right, rewards, 0.0)
  mean = advantages.over_baseline(rewards, 'mean', 0.0)
  positive, is_kept = advantages.apply_negative_gradients(mean, 'drop', 0, None)
  values = jnp.stack(
    [
      mean,
      advantages.rest_advantages(right_alone),
      advantages.over_baseline(right_alone, 'none', 0.0),
      positive,
      advantages.group_normalized(rewards),
    ]
  )[advantage]
  drops = advantage == ADVANTAGES.index('positive')
  return values, is_kept | ~drops


def loss(
  logprobs: jax.Array,
  ref_logprobs: jax.Array,
  mask: jax.Array,
  advantage: jax.Array,
  keep: jax.Array,
  tau: jax.Array,
  is_grpo: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """k15's loss of n responses, a row each, and the rms of their log-ratios.

  Args:
    logprobs, ref_logprobs, mask: float32 [n, T].
    advantage, keep: float32 and bool [n, 1].
  """
  segments = jnp.ones(mask.shape, jnp.int32)
  weight = advantages.sequence_weights(mask.sum(-1), 'seq_sum', 0, keep[:, 0])[
    :, None
  ]
  mirror, metrics = losses.policy_mirror_descent(
    logprobs, ref_logprobs, segments, mask, advantage, weight, weight, tau
  )
  clipped, _ = grpo.loss(
    logprobs, ref_logprobs, ref_logprobs, segments, mask, advantage, weight,
    weight, GRPO_CLIP, 0.0,
  )  # fmt: skip
  rms = jnp.sqrt(metrics['log_ratio_sq_sum'] / metrics['sequences'])
  return jnp.where(is_grpo > 0, clipped, mirror), rms


def _update(world, arm, batch, carry, picks):
  """A step on the rows of some groups."""
  params, moments = carry
  part = jax.tree.map(lambda field: field[picks], batch)

  def value(params):
    return loss(
      policy.logprobs(world, params, part['chains']),
      part['ref_logprobs'],
      part['chains'].mask,
      part['advantage'],
      part['keep'],
      arm.tau,
      arm.is_grpo,
    )

  gradient, rms = jax.grad(value, has_aux=True)(params)
  adam, sgd = _rules()
  direction, moments = adam.update(gradient, moments)
  plain, _ = sgd.update(gradient, sgd.init(params))
  is_sgd = arm.optimizer == OPTIMIZERS.index('sgd')
  params = jax.tree.map(
    lambda p, d, s: p - arm.rate * jnp.where(is_sgd, s, d),
    params, direction, plain,
  )  # fmt: skip
  return (params, moments), rms


def _rules() -> tuple[optax.GradientTransformation, ...]:
  """Adam and SGD as k15 makes them, gradients clipped."""
  return tuple(
    optimizer_lib.make(name, _BETA1, _BETA2, _EPS, 0.0, _CLIP_NORM, axes=None)
    for name in ('adam', 'sgd')
  )


def _minibatches(world, draws):
  """Rows of whole groups, shuffled anew each epoch: int32 [updates, rows]."""
  order = jnp.argsort(draws)
  rows = order[..., None] * world.group + jnp.arange(world.group)
  return rows.reshape(world.epochs * world.updates, -1)


def _mean(values, mask):
  return jnp.sum(values * mask, -1) / jnp.maximum(jnp.sum(mask), 1)
