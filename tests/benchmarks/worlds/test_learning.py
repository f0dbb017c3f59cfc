"""What a toy run learns by, against what a run of k15 learns by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.worlds import learning
from experiments import base
from k15.data_types import Batch
from k15.equations import advantages
from k15.equations import losses
from k15.stages.rl import methods
from k15.stages.rl import updates

P, K, T = 6, 4, 5
GROUPS = P, K


def responses():
  rng = np.random.default_rng(0)
  is_right = rng.random(GROUPS) < np.linspace(0, 1, P)[:, None]
  mask = np.arange(T) < rng.integers(1, T + 1, P * K)[:, None]
  logprobs, ref = rng.normal(-1, 0.4, (2, P * K, T)).astype(np.float32)
  return is_right, mask.astype(np.float32), logprobs, ref


def config_of(advantage, is_grpo):
  config = base.get_config()
  config.loss.tau, config.loss.grpo_beta = 0.4, 0.0
  config.loss.grpo_clip = learning.GRPO_CLIP
  config.loss.pg_norm = config.loss.reg_norm = 'seq_sum'
  if advantage == 'rest':
    config.loss.method = 'rest'
  if advantage == 'positive':
    config.loss.negative_gradients = 'drop'
  if is_grpo:
    config.loss.method = 'grpo'
  return config


@pytest.mark.parametrize(
  'advantage, tau, is_grpo',
  [('mean', 0.4, 0), ('rest', 0.0, 0), ('positive', 0.4, 0),
   ('normalized', 0.0, 1)],
)  # fmt: skip
def test_its_gradient_is_that_of_a_run_of_k15(advantage, tau, is_grpo):
  is_right, mask, logprobs, ref = responses()
  config = config_of(advantage, is_grpo)
  # k15: on the host, in float64; two responses in a row of a batch.
  rewards = is_right.astype(np.float64)
  values, keep = updates.group_advantages(config, rewards, is_right, None)
  weight = advantages.sequence_weights(
    mask.sum(1), 'seq_sum', 0, keep.reshape(-1)
  )

  def packed(x):
    return np.asarray(x, np.float32).reshape(P * K // 2, 2 * T)

  def pairs(x):
    return np.asarray(x, np.float32).reshape(P * K // 2, 2)

  zeros = np.zeros((P * K // 2, 2 * T), np.int32)
  rows = Batch(
    tokens=zeros, positions=zeros, loss_mask=packed(mask),
    segment_ids=np.where(packed(mask) > 0, zeros + np.repeat([1, 2], T), 0),
    behavior_logprobs=packed(ref), ref_logprobs=packed(ref),
    kl_logprobs=packed(ref), current_mask=packed(mask), num_rows=len(zeros),
    advantage=pairs(values), pg_weight=pairs(weight), reg_weight=pairs(weight),
  )  # fmt: skip
  k15_loss = methods.make_loss(config)
  expected, gradient = jax.value_and_grad(lambda x: k15_loss(x, rows)[0])(
    packed(logprobs)
  )
  # The toy: traced, in float32; a row a response.
  place = learning.ADVANTAGES.index(advantage)

  old, inside = jnp.asarray(ref), jnp.asarray(mask)

  @jax.jit
  def toy(x):
    found, kept = learning.weigh(
      jnp.asarray(rewards, jnp.float32), jnp.asarray(is_right), place
    )
    return learning.loss(
      x, old, inside, found.reshape(-1, 1), kept.reshape(-1, 1), tau, is_grpo
    )[0]

  np.testing.assert_allclose(toy(logprobs), expected, rtol=1e-5)
  ours = packed(jax.grad(toy)(logprobs))
  assert np.abs(gradient).max() > 0.01
  np.testing.assert_allclose(ours, gradient, atol=1e-6)


def test_rft_imitates_all_right_responses():
  is_right, mask, logprobs, ref = responses()
  values, keep = learning.weigh(
    jnp.asarray(is_right, jnp.float32), jnp.asarray(is_right),
    learning.ADVANTAGES.index('rft'),
  )  # fmt: skip
  toy, _ = learning.loss(
    logprobs, ref, mask, values.reshape(-1, 1), keep.reshape(-1, 1), 0.0, 0
  )
  weight = is_right.reshape(-1, 1) / (P * K)
  segments = np.ones((P * K, T), np.int32)
  expected, _ = losses.next_token(logprobs, segments, mask, weight)
  np.testing.assert_allclose(toy, expected, rtol=1e-5)


def test_length_rewards_can_be_traced():
  rng = np.random.default_rng(1)
  lengths = rng.integers(1, 9, (50, 8))
  is_right = rng.random((50, 8)) < 0.5
  inputs = is_right.astype(np.float64), is_right, lengths
  expected = advantages.total_rewards(*inputs, 0.3)
  traced = jax.jit(advantages.total_rewards)(*map(jnp.asarray, inputs), 0.3)
  np.testing.assert_allclose(traced, expected, atol=1e-6)
  for baseline in ('mean', 'leave_one_out', 'none'):
    np.testing.assert_allclose(
      advantages.over_baseline(traced, baseline, 0.0),
      advantages.over_baseline(expected, baseline, 0.0),
      atol=1e-6,
    )


def test_minibatches_are_of_whole_groups():
  world = learning.World(drawn=6, group=2, updates=3, epochs=2)
  draws = np.random.default_rng(0).random((2, 6), np.float32)
  rows = np.asarray(learning._minibatches(world, draws))
  assert rows.shape == (6, 4)
  for epoch in rows.reshape(2, 12):
    assert sorted(epoch) == list(range(12))
    np.testing.assert_array_equal(epoch[1::2], epoch[::2] + 1)
