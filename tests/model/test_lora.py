"""Adapters beside kernels: nothing at first, the chain rule, every mesh."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import thorough

from k15.devices import sharding
from k15.model import heads
from k15.model import lora
from k15.model import policy
from k15.runtime import weights
from k15.runtime.context import Layout

CONFIG = policy.PolicyConfig(
  vocab_size=64,
  num_layers=2,
  d_model=16,
  num_heads=8,
  num_kv_heads=2,
  head_dim=4,
  d_ff=24,
  lora_rank=3,
  lora_alpha=6.0,  # A scale of 2.
  lora_targets=('q', 'k', 'v', 'o', 'gate', 'up', 'down'),
)
ROWS, COLUMNS = 8, 16


def _random(boxed, seed):
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), nn.unbox(boxed)
  )


@functools.cache
def _params(config):
  boxed = policy.boxed(config)
  return jax.tree.map(jnp.asarray, _random(boxed, 1))


@functools.cache
def _adapters(config):
  """Random in both matrices: at the beginning B hides all there is."""
  return jax.tree.map(jnp.asarray, _random(lora.boxed(config), 2))


def _rows():
  rng = np.random.default_rng(3)
  tokens = rng.integers(0, 64, (ROWS, COLUMNS)).astype(np.int32)
  positions = np.broadcast_to(np.arange(COLUMNS, dtype=np.int32), tokens.shape)
  return tokens, positions, np.ones_like(tokens)


def _loss(config, params):
  logprobs, _ = heads.token_logprobs(config, params, *_rows())
  return jnp.mean(jnp.sin(logprobs))  # Bounded, so that float32 is enough.


def _adapted_loss(config, frozen, adapters):
  return _loss(config, lora.joined(frozen, adapters))


@pytest.fixture(params=[False, True], ids=['unrolled', 'scanned'])
def config(request):
  return dataclasses.replace(CONFIG, scan_layers=request.param)


def test_pairs_have_the_axes_of_their_kernels():
  axes = lora.logical_axes(dataclasses.replace(CONFIG, lora_targets=('k', 'o')))
  pairs = dict(
    k_lora=dict(a=('embed', None), b=(None, 'kv_heads')),
    o_lora=dict(a=('heads', None), b=(None, 'embed')),
  )
  assert axes == {f'layer_{i}': dict(attention=pairs) for i in range(2)}
  scanned = dataclasses.replace(
    CONFIG, scan_layers=True, lora_targets=('down',)
  )
  boxed = lora.boxed(scanned)['layers']['down_lora']
  assert boxed['a'].names == ('layers', 'mlp', None)
  assert boxed['b'].names == ('layers', None, 'embed')
  assert boxed['a'].value.shape == (2, 24, 3)
  assert boxed['b'].value.shape == (2, 3, 16)


def test_in_half_precision_adapters_are_float32():
  half = dataclasses.replace(CONFIG, param_dtype='bfloat16')
  assert {x.dtype.name for x in jax.tree.leaves(lora.boxed(half))} == {
    'float32'
  }


def _drawn(config, stage='sft', mesh=(1, 1, 1)):
  layout = Layout(config, sharding.make_mesh(*mesh))
  return weights.init_adapters(layout, 0, stage)


def test_at_the_beginning_they_are_what_peft_draws(config):
  """Uniform within 1 / sqrt(D) with variance 1 / (3 D), D = 24 rows; B is 0."""
  wide = dataclasses.replace(config, lora_rank=1000)
  drawn = _drawn(wide)
  if config.scan_layers:
    first, second = np.asarray(drawn['layers']['down_lora']['a'])
  else:
    first, second = (
      np.asarray(drawn[f'layer_{i}']['down_lora']['a']) for i in range(2)
    )
  assert first.shape == (24, 1000) and not np.array_equal(first, second)
  for a in (first, second):
    assert np.abs(a).max() <= 24**-0.5
    # 24,000 draws; the variance of a uniform one's square is 0.8 of its own.
    assert a.var() == pytest.approx(1 / 72, rel=0.03)
  pairs = jax.tree_util.tree_leaves_with_path(drawn)
  assert all(not x.any() for path, x in pairs if path[-1].key == 'b')


def test_every_stage_and_matrix_draws_its_own():
  values = [
    np.asarray(x).tobytes()
    for stage in ('sft', 'rl', 'dpo')
    for path, x in jax.tree_util.tree_leaves_with_path(_drawn(CONFIG, stage))
    if path[-1].key == 'a'
  ]
  assert len(values) == len(set(values)) == 3 * 2 * 7


def test_the_first_policy_is_the_old_one_bit_for_bit(config):
  params, adapters = _params(config), _drawn(config)
  logprobs = jax.jit(functools.partial(heads.token_logprobs, config))
  old = logprobs(params, *_rows())
  new = logprobs(lora.joined(params, adapters), *_rows())
  jax.tree.map(np.testing.assert_array_equal, old, new)
  params = jax.device_put(params, jax.devices()[0])
  merged = lora.merged(config, params, adapters)
  jax.tree.map(np.testing.assert_array_equal, merged, params)


def test_joined_is_as_merged(config):
  params, adapters = _params(config), _adapters(config)
  logprobs = jax.jit(functools.partial(heads.token_logprobs, config))
  merged = lora.merged(config, params, adapters)
  joined = logprobs(lora.joined(params, adapters), *_rows())
  np.testing.assert_allclose(
    logprobs(merged, *_rows())[0], joined[0], atol=3e-5
  )
  assert np.abs(logprobs(params, *_rows())[0] - joined[0]).max() > 0.1
  assert jax.tree.structure(merged) == jax.tree.structure(params)
  # By hand: 6 / 3 of the product; what has no adapter is the array itself.
  block = (lambda t: t['layers']) if config.scan_layers else _second
  pair = block(adapters)['up_lora']
  expected = block(params)['up'] + 2 * (
    np.asarray(pair['a'], np.float64) @ np.asarray(pair['b'], np.float64)
  )
  np.testing.assert_allclose(block(merged)['up'], expected, atol=1e-5)
  assert merged['embedding'] is params['embedding']


def _second(tree):
  return tree['layer_1']


def test_gradients_are_those_of_the_whole_kernel_by_the_chain_rule(config):
  """W + s A B: dA = s dW B^T, dB = s A^T dW, with s = 6 / 3 = 2."""
  params, adapters = _params(config), _adapters(config)
  merged = lora.merged(config, params, adapters)
  whole = jax.jit(jax.grad(functools.partial(_loss, config)))(merged)
  found = jax.jit(jax.grad(functools.partial(_adapted_loss, config), 1))(
    params, adapters
  )

  def expected(pairs, kernels):
    if 'a' in pairs:
      a, b = (np.asarray(pairs[key], np.float64) for key in 'ab')
      kernels = np.asarray(kernels, np.float64)
      return dict(
        a=2 * kernels @ b.swapaxes(-1, -2), b=2 * a.swapaxes(-1, -2) @ kernels
      )
    return {
      key: expected(x, kernels[key.removesuffix('_lora')])
      for key, x in pairs.items()
    }

  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=2e-6, rtol=2e-3),
    found,
    expected(adapters, whole),
  )
  assert all(np.abs(x).max() > 1e-4 for x in jax.tree.leaves(found))


def test_what_is_frozen_costs_no_gradient():
  """Of 3 parts of a step's products, one makes gradients of kernels.

  It is there for all of them, the head included, or for none.
  """
  wide = dataclasses.replace(
    CONFIG, d_model=128, d_ff=256, vocab_size=256, num_layers=1, lora_rank=1,
    logprob_chunk=ROWS * COLUMNS,
  )  # fmt: skip
  params, adapters = _params(wide), _adapters(wide)

  def flops(function, *operands):
    compiled = jax.jit(function).lower(*operands).compile()
    return compiled.cost_analysis()['flops']

  forward = flops(functools.partial(_loss, wide), params)
  full = flops(jax.grad(functools.partial(_loss, wide)), params)
  low = flops(
    jax.grad(functools.partial(_adapted_loss, wide), 1), params, adapters
  )
  assert full > 2.7 * forward
  assert low < 2.3 * forward


@pytest.mark.parametrize(
  ('sizes', 'scan_layers'),
  thorough.after(
    [((1, 2, 2, 2), True), ((1, 8, 1, 1), False), ((1, 1, 8, 1), True)]
  ),
)
def test_every_mesh_computes_the_same(sizes, scan_layers):
  config = dataclasses.replace(
    CONFIG, num_layers=1, scan_layers=scan_layers, lora_targets=('k', 'down')
  )
  grad = jax.jit(jax.grad(functools.partial(_adapted_loss, config), 1))
  params, adapters = _params(config), _adapters(config)
  expected = grad(params, adapters), lora.merged(config, params, adapters)
  layout = Layout(config, sharding.make_mesh(*sizes))
  shapes = weights.state_layout(layout, _sgd(config))
  places = jax.tree.map(lambda x: x.sharding, shapes)
  params = jax.device_put(params, places.frozen)
  adapters = jax.device_put(adapters, places.params)
  with layout.use_mesh():
    found = grad(params, adapters), lora.merged(config, params, adapters)
  assert jax.tree.map(lambda x: x.sharding, found[1]) == places.frozen
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6, rtol=1e-4),
    jax.device_get(found),
    jax.device_get(expected),
  )
  drawn = weights.init_adapters(layout, 0, 'sft')
  jax.tree.map(np.testing.assert_array_equal, drawn, _drawn(config))


def _sgd(config):
  axes = lora.logical_axes(config)
  return weights.optimizer_lib.make('sgd', 0.9, 0.9, 1e-8, 0.0, 0.0, axes)
