"""The cache of TPUs and its kernel, step by step on a CPU, beside the other.

That it compiles for TPUs, and turns no cache around, is in
tests/launch/plan/test_plan.py.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import thorough
from jax.experimental import pallas

from k15.devices import sharding
from k15.model import attention
from k15.model import kv_cache
from k15.model import policy
from k15.model import ragged_attention

CONFIG = policy.PolicyConfig(
  vocab_size=50, num_layers=2, d_model=24, num_heads=6, num_kv_heads=2,
  head_dim=8, d_ff=40, attention='plain',
)  # fmt: skip
B, N, G, h, C = 5, 2, 3, 8, 512


@pytest.fixture
def on_tpu(monkeypatch):
  """Programs as for a TPU, whose kernels are interpreted."""
  monkeypatch.setattr(attention, 'target_platform', lambda: 'tpu')
  interpreted = functools.partial(pallas.pallas_call, interpret=True)
  monkeypatch.setattr(pallas, 'pallas_call', interpreted)


def normal(seed, *shape):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=shape), jnp.float32)


def test_steps_are_the_pieces_in_use():
  # Columns 0 to 0, 0 to 5, 0 to 11 in pieces of four: 1, 2 and 3 of nine.
  rows, pieces, count = ragged_attention.steps(jnp.array([0, 5, 11]), 4, 12)
  assert count == 6 and len(rows) == len(pieces) == 9
  np.testing.assert_array_equal(rows[:6], [0, 1, 1, 2, 2, 2])
  np.testing.assert_array_equal(pieces[:6], [0, 0, 1, 0, 1, 2])


@pytest.mark.parametrize(
  'columns, width', [(1, 128), (1024, 128), (1025, 256), (131_072, 2048)]
)
def test_a_piece_is_an_eighth_in_whole_lanes(columns, width):
  assert ragged_attention.width_of(columns) == width
  whole = ragged_attention.whole_columns(columns)
  # The kernel knows the cache alone, and has to find the same pieces in it.
  assert whole % width == 0 and columns <= whole < columns + width
  assert ragged_attention.width_of(whole) == width


@pytest.mark.parametrize(
  'last', [[0, 127, 128, 300, 511], [511] * 5, [0] * 5], ids=str
)
def test_rows_are_what_they_are_alone(last, on_tpu):
  query, keys, values = normal(0, B, N, G, h), *normal(1, 2, B, N, C, h)
  columns, positions = jnp.arange(C), jnp.array(last, jnp.int32)
  seen = (columns <= positions[:, None])[:, None, None]
  scores = jnp.einsum('bngh,bnch->bngc', query, keys)
  probs = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf))
  plain = jnp.einsum('bngc,bnch->bngh', probs, values)
  # What lies behind a row's end is of another response, however large.
  behind = ~seen.swapaxes(-1, -2)
  keys, values = (jnp.where(behind, 1e4, x) for x in (keys, values))
  attend = jax.jit(ragged_attention.attend)
  ours = attend(query, keys, values, positions)
  np.testing.assert_allclose(ours, plain, atol=2e-6)
  alone = attend(query[3:4], keys[3:4], values[3:4], positions[3:4])
  np.testing.assert_array_equal(ours[3:4], alone)


@pytest.mark.parametrize(
  'changes, cache_dtype, mesh, apart',
  thorough.after(
    [
      # Half a step of 127 of keys and values of about 2.
      ({'scan_layers': True}, 'int8', (), 0.05),
      ({'scan_layers': True}, '', (2, 1, 2), 1e-5),
      ({'scan_layers': True}, '', (), 1e-5),
      ({}, '', (), 1e-5),
    ],
    2,
  ),
  ids=['int8', 'mesh', 'scanned', 'layers'],
)
def test_what_is_prefilled_decodes_as_in_whole_rows(
  changes, cache_dtype, mesh, apart, on_tpu
):
  config = dataclasses.replace(CONFIG, **changes)
  leaves, tree = jax.tree.flatten(nn.unbox(policy.boxed(config)))
  params = tree.unflatten(
    [0.3 * normal(i, *leaf.shape) for i, leaf in enumerate(leaves)]
  )
  rng = np.random.default_rng(2)
  tokens = rng.integers(0, 50, (4, 130)).astype(np.int32)
  positions = np.broadcast_to(np.arange(130, dtype=np.int32), tokens.shape)
  prompts, ones = 126, np.ones_like(tokens)
  slots = np.array([2, 0, 3, 1])  # of the rows

  def decoded(params):
    """Hidden states of the tokens behind the prompts, of all rows."""
    _, prefix = policy.forward(
      config, params, *(x[:, :prompts] for x in (tokens, positions, ones))
    )
    cache = kv_cache.empty(config, 4, 200, cache_dtype)
    places = jnp.arange(4), jnp.asarray(slots)

    def copied(layers, new, axis):
      if config.scan_layers:
        return kv_cache.copy_rows(layers, new, *places, axis)
      return tuple(
        kv_cache.copy_rows(*pair, *places, axis)
        for pair in zip(layers, new, strict=True)
      )

    cache = kv_cache.KVCache(
      copied(cache.keys, prefix.keys, -1),
      copied(cache.values, prefix.values, -2),
    )

    def step(cache, x):
      hidden, cache = policy.decode(config, params, *x, cache)
      return cache, hidden

    rest = (x[np.argsort(slots), prompts:].T for x in (tokens, positions))
    _, hidden = jax.lax.scan(step, cache, tuple(rest))
    return hidden[:, slots].swapaxes(0, 1)

  whole, _ = policy.forward(config, params, tokens, positions, ones)
  if not mesh:
    ours = jax.jit(decoded)(params)
  else:
    with sharding.use_mesh(sharding.make_mesh(*mesh)):
      ours = jax.jit(decoded)(params)
  np.testing.assert_allclose(ours, whole[:, prompts:], atol=apart)
