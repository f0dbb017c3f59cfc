"""The layers that lie for sampling against the policy itself."""

import dataclasses
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import thorough

from k15.devices import sharding
from k15.model import heads
from k15.model import inference
from k15.model import kv_cache
from k15.model import policy

CONFIG = policy.PolicyConfig(
  vocab_size=50,
  num_layers=3,
  d_model=24,
  num_heads=6,
  num_kv_heads=2,
  head_dim=8,
  d_ff=40,
)
# Each of what the families differ in, and the numbers of another dtype.
SHAPES = {
  'plain': dict(),
  'qwen2': dict(qkv_bias=True, qk_norm=False, tie_embeddings=False),
  'no qk_norm': dict(qk_norm=False, num_kv_heads=6),
  'bfloat16': dict(dtype='bfloat16'),
}
forward = jax.jit(policy.forward, static_argnums=0)
decode = jax.jit(inference.decode, static_argnums=0)
prefill = jax.jit(inference.prefill, static_argnums=0)


def random_params(config):
  boxed = policy.boxed(config)
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), x.dtype),
    nn.unbox(boxed),
  )


def of_kind(kind):
  """Shape, parameters, weights and how far numbers may be apart."""
  config = dataclasses.replace(CONFIG, **SHAPES[kind])
  params = random_params(config)
  # bfloat16 keeps 8 bits: 2 ** -8 of numbers of about 5, over three layers.
  apart = 0.1 if kind == 'bfloat16' else 1e-5
  return config, params, inference.weights_of(config, params), apart


def rows(lengths, columns):
  """Random tokens, and the arguments of `forward` beside them."""
  rng = np.random.default_rng(1)
  tokens = rng.integers(0, 50, (len(lengths), columns)).astype(np.int32)
  positions = np.broadcast_to(np.arange(columns, dtype=np.int32), tokens.shape)
  inside = (positions < np.array(lengths)[:, None]).astype(np.int32)
  return tokens, positions, inside


@pytest.mark.parametrize('kind', thorough.after([*SHAPES], 2))
def test_decoding_token_by_token_equals_the_forward(kind):
  config, params, weights, apart = of_kind(kind)
  batch = rows([9, 9], 9)
  expected, _ = forward(config, params, *batch)
  logits = heads.logits_of(config, params, expected)
  cache = kv_cache.empty(config, rows=2, columns=12)
  # The second row lags three tokens behind: it feeds its first one again.
  for step in range(12):
    columns = np.clip([step, step - 3], 0, 8).astype(np.int32)
    tokens = batch[0][[0, 1], columns]
    hidden, cache = decode(config, weights, tokens, columns, cache)
    assert hidden.dtype == jnp.float32
    here = np.arange(2), columns
    np.testing.assert_allclose(
      np.float32(hidden).T, np.float32(expected[here]), atol=apart
    )
    found = inference.logits_of(weights, hidden)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, logits[here], atol=10 * apart)


@pytest.mark.parametrize(
  ('kind', 'lengths', 'columns'),
  thorough.after(
    [
      ('plain', (70, 7, 64, 90, 1), 90),  # blocks of 64, chunks of 128
      ('qwen2', (5, 0, 32, 1), 32),
      ('no qk_norm', (3,), 4),
      ('bfloat16', (3,), 4),
      *itertools.product(
        ('qwen2', 'no qk_norm', 'bfloat16'), [(70, 7, 64, 90, 1)], [90]
      ),
      *itertools.product(
        ('plain', 'no qk_norm', 'bfloat16'), [(5, 0, 32, 1)], [32]
      ),
    ],
    4,
  ),
  ids=str,
)
def test_prefilling_equals_the_forward(kind, lengths, columns):
  config, params, weights, apart = of_kind(kind)
  batch = rows(lengths, columns)
  _, expected = forward(config, params, *batch)
  cache = prefill(config, weights, batch[0], np.array(lengths, np.int32))
  for ours, theirs in zip(
    (*cache.keys, *cache.values),
    (*expected.keys, *expected.values),
    strict=True,
  ):
    assert ours.shape == theirs.shape and ours.dtype == jnp.float32
    assert np.isfinite(np.float32(ours)).all()
  for layer in range(config.num_layers):
    for row, length in enumerate(lengths):
      for ours, theirs in (
        (cache.keys[layer][row, ..., :length],
         expected.keys[layer][row, ..., :length]),
        (cache.values[layer][row, :, :length],
         expected.values[layer][row, :, :length]),
      ):  # fmt: skip
        np.testing.assert_allclose(
          np.float32(ours), np.float32(theirs), atol=apart
        )


def test_what_a_row_gets_depends_on_the_row_alone():
  config, _, weights, _ = of_kind('plain')
  tokens = rows([90] * 6, 90)[0]
  lengths = np.array([70, 3, 90, 0, 64, 65], np.int32)
  together = prefill(config, weights, tokens, lengths)
  order = np.array([2, 5, 0, 4, 3, 1])
  moved = prefill(config, weights, tokens[order], lengths[order])
  for place, row in enumerate(order):
    alone = np.zeros(6, np.int32)
    alone[2] = lengths[row]
    other = np.array(tokens)
    other[2] = tokens[row]
    single = prefill(config, weights, other, alone)
    seen = slice(0, lengths[row])
    for layer in range(config.num_layers):
      keys, values = together.keys[layer][row], together.values[layer][row]
      for cache, at in ((moved, place), (single, 2)):
        np.testing.assert_array_equal(
          cache.keys[layer][at][..., seen], keys[..., seen]
        )
        np.testing.assert_array_equal(
          cache.values[layer][at][:, seen], values[:, seen]
        )


def test_shared_tokens_by_hand():
  tokens = np.array([[1, 2, 3, 4], [1, 2, 9, 4], [7, 2, 3, 4], [1, 2, 3, 4]])
  shared = inference._shared(tokens, np.array([3, 4, 4, 4]))
  np.testing.assert_array_equal(shared, [0, 2, 0, 3])


@pytest.mark.parametrize('kind', ['plain', 'bfloat16'])
def test_what_rows_share_is_what_each_would_compute_alone(kind):
  config, _, weights, _ = of_kind(kind)
  tokens = rows([90] * 6, 90)[0]
  # Of the first row's 80 tokens: all, none, two, more than a block of 64, all
  # and more.
  for row, count in enumerate([80, 0, 2, 70, 80], start=1):
    tokens[row, :count] = tokens[0, :count]
    tokens[row, count:] = (tokens[0, count:] + 1) % 50
  lengths = np.array([80, 80, 75, 5, 90, 90], np.int32)
  together = prefill(config, weights, tokens, lengths)
  for row, length in enumerate(lengths):
    alone = np.where(np.arange(6) == row, length, 0).astype(np.int32)
    single = prefill(config, weights, tokens, alone)
    for layer in range(config.num_layers):
      np.testing.assert_array_equal(
        single.keys[layer][row, ..., :length],
        together.keys[layer][row, ..., :length],
      )
      np.testing.assert_array_equal(
        single.values[layer][row, :, :length],
        together.values[layer][row, :, :length],
      )


def test_kernels_are_multiplied_in_their_own_dtype():
  """XLA converts all of a kernel where it has no product of its dtype."""
  config, _, weights, _ = of_kind('bfloat16')
  here = jnp.zeros(2, jnp.int32)

  def step(weights, cache):
    hidden, _ = inference.decode(config, weights, here, here, cache)
    return inference.logits_of(weights, hidden)

  def prompts(weights):
    tokens = jnp.zeros((2, 32), jnp.int32)
    return inference.prefill(config, weights, tokens, here + 32)

  cache = kv_cache.empty(config, 2, 12, 'float32')
  kernels = [x for x in jax.tree.leaves(weights.layers) if x.ndim == 2]
  assert {x.dtype for x in kernels} == {jnp.bfloat16.dtype}
  for program in (
    jax.jit(step).lower(weights, cache),
    jax.jit(prompts).lower(weights),
  ):
    text = program.compile().as_text()
    for kernel in kernels:
      size = ','.join(map(str, kernel.shape))
      assert f'bf16[{size}]' in text
      assert f'f32[{size}]' not in text.replace(f'bf16[{size}]', '')


def test_tied_embeddings_are_there_once():
  _, params, weights, _ = of_kind('plain')
  assert weights.head is weights.embedding is params['embedding']


def test_it_is_for_one_cpu_and_wide_layers_one_by_one(monkeypatch):
  assert not inference.fits(CONFIG)
  wide = dataclasses.replace(CONFIG, d_model=inference.FROM_WIDTH)
  assert inference.fits(wide)
  assert not inference.fits(dataclasses.replace(wide, scan_layers=True))
  with sharding.use_mesh(sharding.make_mesh(2, 1, 1)):
    assert not inference.fits(wide)
  with sharding.use_mesh(sharding.make_mesh(1, 1, 1)):
    assert inference.fits(wide)
  monkeypatch.setattr(inference.attention, 'target_platform', lambda: 'tpu')
  assert not inference.fits(wide)
