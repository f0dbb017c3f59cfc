"""A value depends on the tokens in use, and on nothing behind them."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from k15.model import heads
from k15.model import policy

CONFIG = policy.PolicyConfig(
  vocab_size=64, num_layers=1, d_model=16, num_heads=2, num_kv_heads=1,
  head_dim=8, d_ff=32,
)  # fmt: skip
# One program each, not a program for every operation.
draw = jax.jit(policy.init, static_argnums=0)
forward = jax.jit(policy.forward, static_argnums=0)
values_of = jax.jit(heads.values, static_argnums=0)


def make_params():
  trunk = nn.unbox(draw(CONFIG, jax.random.key(0)))
  params = heads.init_value(CONFIG, trunk)
  kernel = jax.random.normal(jax.random.key(1), (16, 1))
  params['head'] = dict(kernel=kernel, bias=jnp.array([0.5]))
  return params


def test_a_new_head_says_zero():
  trunk = nn.unbox(draw(CONFIG, jax.random.key(0)))
  params = heads.init_value(CONFIG, trunk)
  batch = heads.pad_rows([np.array([3, 4]), np.array([5])], 4)
  np.testing.assert_array_equal(values_of(CONFIG, params, *batch), [0, 0])


def test_the_value_is_a_line_of_the_last_hidden_state():
  params = make_params()
  tokens, ones = jnp.array([[7, 8, 9]]), jnp.ones((1, 3), jnp.int32)
  hidden, _ = forward(
    CONFIG, params['trunk'], tokens, jnp.arange(3)[None], ones
  )
  expected = hidden[0, 2] @ params['head']['kernel'][:, 0] + 0.5
  padded = heads.pad_rows([np.array([7, 8, 9])], 5)
  value = values_of(CONFIG, params, *padded)
  np.testing.assert_allclose(value, [expected], rtol=1e-5)


def test_padding_and_neighbours_change_nothing():
  params = make_params()
  sequences = [np.array([7, 8, 9]), np.array([1]), np.arange(6)]
  together = values_of(CONFIG, params, *heads.pad_rows(sequences, 8))
  for sequence, value in zip(sequences, together, strict=True):
    tokens, lengths = heads.pad_rows([sequence], 8)
    tokens[0, len(sequence) :] = 63
    alone = values_of(CONFIG, params, tokens, lengths)
    np.testing.assert_allclose(alone, [value], rtol=1e-5)


def test_pad_by_hand():
  tokens, lengths = heads.pad_rows([np.array([3, 4]), np.array([5])], 3)
  np.testing.assert_array_equal(tokens, [[3, 4, 0], [5, 0, 0]])
  np.testing.assert_array_equal(lengths, [2, 1])


@pytest.mark.parametrize('length', [0, 4])
def test_pad_refuses_what_does_not_fit(length):
  with pytest.raises(ValueError, match=f'{length} tokens in a row of 1 to 3'):
    heads.pad_rows([np.zeros(length, np.int32)], 3)


def test_only_what_is_wanted_is_computed():
  """Chunks of 3 of 2 x 8 targets; values elsewhere are 0, gradients equal."""
  config = dataclasses.replace(CONFIG, logprob_chunk=3)
  params = nn.unbox(draw(CONFIG, jax.random.key(0)))
  tokens = jax.random.randint(jax.random.key(1), (2, 8), 0, 64)
  positions = jnp.broadcast_to(jnp.arange(8), (2, 8))
  weights = jax.random.normal(jax.random.key(2), (2, 8))

  def of_all(params, mask):
    hidden, _ = policy.forward(CONFIG, params, tokens, positions, tokens * 0)
    logits = heads.logits_of(CONFIG, params, hidden[:, :-1])
    values = jax.nn.log_softmax(logits / 0.7)
    values = jnp.take_along_axis(values, tokens[:, 1:, None], -1)[..., 0]
    values = jnp.pad(values, ((0, 0), (1, 0))) * mask
    return jnp.sum(values * weights), values

  def of_wanted(params, mask):
    values, entropy = heads.token_logprobs(
      config, params, tokens, positions, tokens * 0, 0.7, mask=mask
    )
    # An entropy has no gradient.
    return jnp.sum(values * weights) + 0 * jnp.sum(entropy), values

  ours, plain = (
    jax.jit(jax.grad(f, has_aux=True)) for f in (of_wanted, of_all)
  )
  for wanted in ([], [4], [1, 7, 12], range(16)):
    mask = jnp.zeros(16).at[jnp.array([*wanted], int)].set(1).reshape(2, 8)
    mask = mask.at[:, 0].set(0)  # Nothing predicts it.
    (gradients, values), (expected, all_values) = (
      f(params, mask) for f in (ours, plain)
    )
    np.testing.assert_allclose(values, all_values, atol=1e-5)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
      gradients,
      expected,
    )
