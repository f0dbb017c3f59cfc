"""Products in bfloat16 beside sums in float32: `policy.product_dtype`."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_run
import thorough

from benchmarks.quality import precision as apart_lib
from k15 import files
from k15.model import layers
from k15.model import policy
from k15.model import precision
from k15.runtime import weights
from k15.stages.rl import loop

SHAPE = policy.PolicyConfig(
  vocab_size=64, num_layers=2, d_model=32, num_heads=4, num_kv_heads=2,
  head_dim=24, d_ff=64, qk_norm=True, product_dtype='bfloat16',
)  # fmt: skip


@pytest.fixture(scope='module')
def params():
  return nn.unbox(policy.init(SHAPE, jax.random.key(0)))


def _tokens(rows=3, length=20):
  return jax.random.randint(jax.random.key(1), (rows, length), 0, 64)


def test_a_product_by_hand():
  """1 + 2^-9 lies between two numbers of bfloat16, which have 8 bits.

  As a sum of 1 and 2^-9 it is kept, and the kernel's 1 + 2^-9 rounds to 1, the
  even neighbour; 1 + 2^-20 has more bits than both parts hold, and rounds to 1.
  """
  x = jnp.array([[1 + 2**-9, 1 + 2**-20]], jnp.float32)
  for kernel, expected in (
    ([[1.0], [0.0]], 1 + 2**-9),
    ([[1 + 2**-9], [0.0]], 1 + 2**-9),
    ([[0.0], [1.0]], 1 + 2**-20),
  ):
    found = layers.matmul_of(x, jnp.array(kernel), 'bfloat16')
    assert found.dtype == jnp.float32 and found.item() == expected


def test_a_rounding_is_not_left_out():
  """XLA may drop conversions there and back, and 1 + 2^-9 would stay."""
  x = jnp.full(4, 1 + 2**-9, jnp.float32)
  found = jax.jit(lambda x: layers.rounded(x, 'bfloat16') - 1)(x)
  np.testing.assert_array_equal(found, 0)
  assert precision.rounded(x, 'bfloat16').dtype == jnp.bfloat16
  assert precision.rounded(x, 'float32') is x


@pytest.mark.parametrize('scan_layers', thorough.after([False, True]))
def test_rows_and_single_tokens_agree(scan_layers):
  """To 1e-5 nats, where 1e-3 is asked for."""
  shape, tokens = dataclasses.replace(SHAPE, scan_layers=scan_layers), _tokens()
  own = nn.unbox(policy.init(shape, jax.random.key(0)))
  pair = [
    apart_lib.logprobs(shape, own, f(shape, own, tokens), tokens)
    for f in (apart_lib.whole_rows, apart_lib.one_by_one)
  ]
  np.testing.assert_allclose(*pair, rtol=0, atol=1e-5)


def test_weights_that_were_rounded_before_are_the_same_weights(params):
  """What the rollout has where `rollout.dtype` is bfloat16; to the bit."""
  tokens = _tokens()
  other = dataclasses.replace(SHAPE, param_dtype='bfloat16')
  pair = [
    apart_lib.logprobs(
      shape, own, apart_lib.one_by_one(shape, own, tokens), tokens
    )
    for shape, own in (
      (SHAPE, params), (other, precision.cast(params, 'bfloat16'))
    )
  ]  # fmt: skip
  np.testing.assert_array_equal(*pair)


def test_gradients_are_those_of_float32_but_for_rounding():
  """Within 1 % of the norm: 8 bits are 0.4 % of a number, at most.

  Of rounding itself it is that of doing nothing, not rounded either.
  """
  x, kernel, dy = (
    jax.random.normal(jax.random.key(i), shape)
    for i, shape in enumerate([(3, 5, 16), (16, 8), (3, 5, 8)])
  )
  _, back = jax.vjp(
    lambda *both: layers.matmul_of(*both, 'bfloat16'), x, kernel
  )
  expected = dy @ kernel.T, jnp.einsum('btd,btf->df', x, dy)
  for found, right in zip(back(dy), expected, strict=True):
    assert found.dtype == jnp.float32
    assert jnp.linalg.norm(found - right) < 0.01 * jnp.linalg.norm(right)
  _, back = jax.vjp(lambda x: layers.rounded(x, 'bfloat16'), x)
  np.testing.assert_array_equal(back(x)[0], x)


def test_a_run_samples_what_it_trains(tmp_path):
  """The rollout's copy has half the bits, and its log-probabilities all."""
  context = small_run.make_context(
    tmp_path,
    policy__product_dtype='bfloat16',
    rollout__dtype='bfloat16',
    reward__cut_is_wrong=False,
    rollout__token_budget=16,
    rl__iterations=1,
    length_reward__weight=1.0,  # Lengths alone make rewards differ.
  )
  loop.train(context, lambda: weights.init_params(context.layout, 0))
  (row,) = files.read_jsonl(context.workdir / 'metrics.jsonl')
  assert context.rollout_layout.shape.param_dtype == 'bfloat16'
  assert 0 < row['drift/logprob_max'] < 1e-4
