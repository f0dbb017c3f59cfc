"""A policy that sees: rows, gradients, layouts; what must not depend on what.

The numbers of the towers are compared with transformers in
tests/checkpoints/test_hf_vision.py.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import thorough
from small_tower import CONFIG
from small_tower import IMAGE
from small_tower import TINY
from small_tower import TOWERS
from small_tower import VIDEO
from small_tower import config_of
from small_tower import picture
from small_tower import random_params
from small_tower import row_of
from small_tower import sequence

from k15.devices import sharding
from k15.model import heads
from k15.model import inference
from k15.model import policy
from k15.training import optimizer

# One program each, not a program for every operation.
draw = jax.jit(policy.init, static_argnums=0)
token_logprobs = jax.jit(heads.token_logprobs, static_argnums=0)


def logprobs(config, params, tokens, columns, ids, images):
  values, entropies = token_logprobs(
    config, params, tokens, columns, ids, 1.0, None, None, images
  )
  return np.asarray(values)[0], np.asarray(entropies)[0]


def example(config):
  first, second = sequence(3, 2, 3, 4), sequence(2, 1, 2, 5)
  seen = [picture(config, 2, 3)], [picture(config, 1, 2)]
  return (first, second), seen


@pytest.mark.parametrize('name', TOWERS)
def test_a_packed_row_is_as_its_sequences(name):
  config = config_of(name)
  params = random_params(config)
  sequences, seen = example(config)
  packed = row_of(config, sequences, seen)

  def loss(params, row):
    tokens, columns, ids, images = row
    values, _ = heads.token_logprobs(
      config, params, tokens, columns, ids, images=images
    )
    # What has no prediction, and what is no word, is left out.
    wanted = (columns > 0) & (ids > 0) & (tokens != IMAGE)
    return jnp.sum(jnp.where(wanted, values, 0))

  both = jax.jit(jax.value_and_grad(loss))
  value, gradient = both(params, packed)
  parts = [
    both(params, row_of(config, [tokens], [pictures]))
    for tokens, pictures in zip(sequences, seen, strict=True)
  ]
  np.testing.assert_allclose(value, parts[0][0] + parts[1][0], rtol=1e-5)
  total = jax.tree.map(jnp.add, parts[0][1], parts[1][1])

  def compare(path, ours, theirs):
    name = jax.tree_util.keystr(path)
    scale = np.abs(theirs).max()
    # The bias of keys moves all scores of a query alike.
    assert scale > 0 or 'bias' in name, name
    np.testing.assert_allclose(ours, theirs, atol=2e-5 * max(scale, 1))

  jax.tree_util.tree_map_with_path(compare, gradient, total)


@pytest.mark.parametrize('name', thorough.after([*TOWERS]))
def test_scanned_rematerialized_and_chunked_layers_are_the_same(name):
  config = config_of(name)
  params = random_params(config)
  row = row_of(config, *example(config))
  expected, _ = logprobs(config, params, *row)
  other = dataclasses.replace(config, remat='full', attention='chunked')
  found, _ = logprobs(other, params, *row)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  stacked = dict(params, vision=dict(params['vision']))
  for tree, count in (
    (stacked, config.num_layers),
    (stacked['vision'], config.vision.num_layers),
  ):
    layers = [tree.pop(f'layer_{i}') for i in range(count)]
    tree['layers'] = jax.tree.map(lambda *xs: np.stack(xs), *layers)
  other = dataclasses.replace(config, scan_layers=True, remat='dots')
  found, _ = logprobs(other, stacked, *row)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_init_draws_what_the_axes_name():
  for name in TOWERS:
    for scan in (False, True):
      config = config_of(name, scan_layers=scan)
      axes = policy.logical_axes(config)
      sizes = jax.tree.map(lambda x: x.ndim, nn.unbox(policy.boxed(config)))
      assert sizes == jax.tree.map(
        len, axes, is_leaf=lambda x: type(x) is tuple
      )
  # Text parameters are drawn as without a tower.
  params = nn.unbox(draw(config, jax.random.key(0)))
  blind = dataclasses.replace(config, vision=None)
  theirs = nn.unbox(draw(blind, jax.random.key(0)))
  del params['vision']
  jax.tree.map(np.testing.assert_array_equal, params, theirs)


def test_equal_words_under_unlike_pictures():
  config = config_of('deep')
  params = random_params(config)
  sequences, _ = example(config)
  rows = [
    row_of(config, sequences[:1], [[picture(config, 2, 3, seed)]])
    for seed in (0, 1)
  ]
  one, other = (logprobs(config, params, *row)[0] for row in rows)
  np.testing.assert_array_equal(rows[0][0], rows[1][0])
  # The three words before the picture do not see it.
  np.testing.assert_array_equal(one[1:4], other[1:4])
  assert np.abs(one[10:13] - other[10:13]).min() > 1e-4


def test_another_tower_is_seen_and_padding_is_not():
  config = config_of('windows')
  params = random_params(config)
  tokens, columns, ids, images = row_of(config, *example(config))
  expected, _ = logprobs(config, params, tokens, columns, ids, images)
  changed = images.replace(
    patches=jnp.where(images.numbers[..., None] > 0, images.patches, 255)
  )
  found, _ = logprobs(config, params, tokens, columns, ids, changed)
  used = np.asarray(ids)[0] > 0
  np.testing.assert_array_equal(found[used], expected[used])
  kernel = params['vision']['layer_0']['up_proj']
  params['vision']['layer_0']['up_proj'] = kernel * 1.1
  found, _ = logprobs(config, params, tokens, columns, ids, images)
  assert np.abs(found - expected)[used].max() > 1e-4


def test_features_that_are_there_are_not_computed_again():
  config = config_of('deep')
  params = random_params(config)
  tokens, columns, ids, images = row_of(config, *example(config))
  expected, _ = logprobs(config, params, tokens, columns, ids, images)
  features = jax.jit(policy.encode, static_argnums=0)(config, params, images)
  del params['vision']
  found, _ = token_logprobs(
    config, params, tokens, columns, ids, images=images, features=features
  )
  np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_text_alone_has_the_bits_of_three_equal_positions():
  config = config_of('tiny')
  params = random_params(config)
  tokens, columns, ids, images = row_of(config, [sequence(9, 0, 0, 0)], [[]])
  with_none, _ = logprobs(config, params, tokens, columns, ids, images)
  plain, _ = logprobs(config, params, tokens, columns, ids, None)
  np.testing.assert_array_equal(with_none[:9], plain[:9])


def test_placeholders_are_neither_sampled_nor_counted():
  config = config_of('tiny')
  params = random_params(config)
  tokens, columns, ids, _ = row_of(config, [sequence(9, 0, 0, 0)], [[]])
  forward = jax.jit(policy.forward, static_argnums=0)
  hidden, _ = forward(config, params, tokens, columns, ids)
  free = dataclasses.replace(config, banned_ids=())
  logits, open_logits = (
    np.asarray(heads.logits_of(c, params, hidden))[0, 7] for c in (config, free)
  )
  kept = np.delete(np.arange(64), [IMAGE, VIDEO])
  assert (logits[[IMAGE, VIDEO]] < -1e29).all()
  np.testing.assert_array_equal(logits[kept], open_logits[kept])
  values, entropies = logprobs(config, params, tokens, columns, ids, None)
  rest = jax.nn.log_softmax(open_logits[kept])
  np.testing.assert_allclose(values[8], rest[tokens[0, 8]], atol=1e-5)
  np.testing.assert_allclose(
    entropies[8], -np.sum(np.exp(rest) * rest), atol=1e-5
  )

  def loss(params):
    values, _ = heads.token_logprobs(config, params, tokens, columns, ids)
    return values[0, 1:9].sum()

  gradient = jax.jit(jax.grad(loss))(params)['embedding']
  assert np.isfinite(gradient).all()
  np.testing.assert_array_equal(np.asarray(gradient)[[IMAGE, VIDEO]], 0)


@functools.cache
def without_a_mesh(name):
  """A loss, what it is of, and its value and gradient on one device."""
  config = config_of(name)
  params = random_params(config)
  rows = [row_of(config, *example(config)) for _ in range(2)]
  row = jax.tree.map(lambda *xs: jnp.concatenate(xs), *rows)

  def loss(params, row):
    tokens, columns, ids, images = row
    values, _ = heads.token_logprobs(
      config, params, tokens, columns, ids, images=images
    )
    return jnp.sum(jnp.where((columns > 0) & (ids > 0), values, 0))

  return loss, params, row, jax.jit(jax.value_and_grad(loss))(params, row)


@pytest.mark.parametrize(
  'name, sizes',
  thorough.after(
    [('deep', (1, 2, 2, 1)), ('deep', (1, 1, 2, 2)), ('windows', (2, 1, 2, 1))]
  ),
  ids=str,
)
def test_every_mesh_computes_the_same(name, sizes):
  config = config_of(name)
  loss, params, row, expected = without_a_mesh(name)
  mesh = sharding.make_mesh(*sizes)
  shardings = sharding.param_shardings(mesh, policy.boxed(config))
  placed = jax.device_put(params, shardings)
  with sharding.use_mesh(mesh):
    found = jax.jit(jax.value_and_grad(loss))(placed, row)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, atol=3e-5 * max(1, np.abs(b).max())
    ),
    found,
    expected,
  )


def test_half_precision_is_near():
  config = config_of('deep')
  params = random_params(config)
  row = row_of(config, *example(config))
  expected, _ = logprobs(config, params, *row)
  half = dataclasses.replace(config, dtype='bfloat16', param_dtype='bfloat16')
  cast = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), params)
  found, _ = logprobs(half, cast, *row)
  used = np.asarray(row[2])[0] > 0
  assert np.abs(found - expected)[used].max() < 0.3


@pytest.mark.parametrize('name', ['adam', 'muon'])
def test_an_optimizer_knows_the_kernels_of_the_tower(name):
  config = config_of('deep', scan_layers=True)
  params = nn.unbox(draw(config, jax.random.key(0)))
  rule = optimizer.make(
    name, 0.9, 0.95, 1e-8, 0.1, 1.0, policy.logical_axes(config)
  )

  @jax.jit
  def one_step(params):
    gradient = jax.tree.map(lambda x: jnp.full(x.shape, 0.01), params)
    state = optimizer.init_state(rule, params)
    return optimizer.apply(rule, lambda step: 1e-3, state, gradient).params

  moved = jax.tree.map(
    lambda a, b: np.abs(a - b).max(),
    *jax.device_get((one_step(params), params)),
  )
  assert min(jax.tree.leaves(moved)) > 0


def test_the_page_for_one_cpu_is_not_for_a_policy_that_sees():
  wide = dict(d_model=512, num_heads=8, num_kv_heads=8, head_dim=64)
  blind = dataclasses.replace(CONFIG, vision=None, banned_ids=(), **wide)
  assert inference.fits(blind)
  assert not inference.fits(dataclasses.replace(blind, vision=TINY))
  assert not inference.fits(dataclasses.replace(blind, banned_ids=(3,)))


def test_joined_projections_leave_the_tower_alone():
  config = config_of('windows')
  params = random_params(config)
  joined = policy.fuse_projections(params)
  assert 'gate_up' in joined['layer_0']
  assert joined['vision'] is params['vision']
