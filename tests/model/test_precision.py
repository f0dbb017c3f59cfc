"""Whole numbers by hand, and caches of them against caches of floats."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import thorough

from k15.model import heads
from k15.model import kv_cache
from k15.model import policy
from k15.model import precision
from k15.rollout import local
from k15.serving import remote
from k15.serving import wire
from tests.rollout import test_slots

CONFIG = test_slots.CONFIG
params = test_slots.params  # The fixture.


def test_int8_by_hand():
  # max |x| = 2.54 makes steps of 0.02: 1 -> 50, -2.54 -> -127, 0.05 -> 2.5,
  # which rounds to the even 2.
  x = jnp.array([[1.0, -2.54, 0.05], [0.0, 0.0, 0.0]])
  block = kv_cache.encode(x, kv_cache.zero_block((2, 3), 'int8', -1), -1)
  np.testing.assert_array_equal(block.numbers, [[50, -127, 2], [0, 0, 0]])
  np.testing.assert_allclose(block.scales, [[0.02], [0.0]], rtol=1e-6)
  assert block.numbers.dtype == jnp.int8
  assert block.shape == (2, 3)
  numbers, scales = kv_cache.decode(block, jnp.bfloat16)
  assert numbers.dtype == jnp.bfloat16  # Exact: 8 bits hold 127.
  np.testing.assert_array_equal(numbers, block.numbers)
  assert scales.shape == (2, 1)


@pytest.mark.parametrize('axis', [-1, -2])
def test_the_error_is_at_most_half_a_step(axis):
  x = jax.random.normal(jax.random.key(0), (3, 40, 60)) * 5
  block = kv_cache.encode(x, kv_cache.zero_block(x.shape, 'int8', -1), axis)
  error = jnp.abs(block.numbers * block.scales - x)
  assert (error <= block.scales * 0.5001).all()
  assert block.scales.shape[axis] == 1


def test_a_float_cache_keeps_its_dtype():
  block = kv_cache.zero_block((2, 3), 'bfloat16', -1)
  assert block.dtype == jnp.bfloat16
  stored = kv_cache.encode(jnp.array([1 + 2.0**-9]), block, -1)
  assert stored.dtype == jnp.bfloat16
  assert stored[0] == 1  # 8 bits do not hold it.


def test_cast_copies_only_what_it_changes():
  tree = dict(a=jnp.ones(2), b=jnp.ones(2, jnp.bfloat16), c=jnp.arange(3))
  half = precision.cast(tree, 'bfloat16')
  assert half['a'].dtype == jnp.bfloat16
  assert half['b'] is tree['b']
  assert half['c'] is tree['c']
  same = precision.cast(dict(a=tree['a']), 'float32')
  assert same['a'] is tree['a']


def random_cache(rows, columns):
  """One layer in int8, and the same numbers as floats."""
  N, h = CONFIG.num_kv_heads, CONFIG.head_dim
  config = dataclasses.replace(CONFIG, num_layers=1, cache_block=8)
  small = kv_cache.empty(config, rows, columns, 'int8')
  draw = functools.partial(np.random.default_rng(0).normal, size=(rows, N, h))

  @jax.jit
  def write(pair, key, value, column):
    at = jnp.full(rows, column)
    return kv_cache.write(*pair, key, value, at)

  pair = small.keys[0], small.values[0]
  for column in range(columns):
    key, value = (jnp.asarray(draw(), jnp.float32) for _ in range(2))
    pair = write(pair, key, value, column)
  plain = [[b.numbers * b.scales for b in blocks] for blocks in pair]
  return pair, plain


def test_attention_to_int8_is_attention_to_what_it_stands_for():
  pair, plain = random_cache(rows=6, columns=20)
  assert [block.shape[-1] for block in pair[0]] == [8, 8, 4]
  query = jax.random.normal(jax.random.key(1), (6, 2, 2, CONFIG.head_dim))
  # All rows at once, and the few that go far one by one.
  for last in ([19] * 6, [19, 3, 0, 17, 8, 7], [2, 9, 1, 0, 3, 4]):
    positions = jnp.asarray(last, jnp.int32)
    attend = jax.jit(kv_cache.attend)
    np.testing.assert_allclose(
      attend(query, *pair, positions),
      attend(query, *plain, positions),
      atol=1e-5,
    )


@pytest.mark.parametrize('is_scanned', [False, True])
def test_what_is_inserted_is_what_decoding_would_have_written(
  params, is_scanned
):
  config = dataclasses.replace(CONFIG, num_layers=1, scan_layers=is_scanned)
  layer = params['layer_0']
  weights = {k: v for k, v in params.items() if not k.startswith('layer')}
  weights |= (
    dict(layers=jax.tree.map(lambda x: x[None], layer))
    if is_scanned
    else dict(layer_0=layer)
  )
  decoder = dataclasses.replace(
    test_slots.make_decoder(), config=config, cache_dtype='int8'
  )
  prefix = test_slots.prefix_of(decoder, weights)
  state = decoder.insert(
    prefix,
    decoder.init_decode_state(),
    test_slots.slots_of(decoder, slots=[2, 0], budgets=[3, 11]),
  )
  # The first layer's keys do not depend on attention: decoding writes them.
  cache = kv_cache.empty(config, 1, decoder.columns, 'int8')
  for column, token in enumerate(test_slots.prompt(9)):
    at = jnp.array([column])
    _, cache = policy.decode(config, weights, jnp.array([token]), at, cache)
  inserted, written = (
    cache[0] if is_scanned else cache[0][0]
    for cache in (state.cache.keys, cache.keys)
  )
  if is_scanned:
    inserted, written = (
      jax.tree.map(lambda x: x[0], block) for block in (inserted, written)
    )
  steps = np.abs(
    inserted.numbers[0, ..., :9].astype(int) - written.numbers[0, ..., :9]
  )
  assert steps.max() <= 1  # Products of one row and of many round otherwise.
  np.testing.assert_allclose(
    inserted.scales[0, ..., :9], written.scales[0, ..., :9], rtol=1e-5
  )


@pytest.mark.parametrize(
  ('dtype', 'cache_dtype', 'bound'),
  thorough.after(
    [
      ('float32', '', 1e-5),
      ('bfloat16', 'int8', 0.15),
      ('float32', 'bfloat16', 0.03),
      ('float32', 'int8', 0.05),
      ('bfloat16', '', 0.1),
      ('bfloat16', 'float32', 0.1),
    ],
    2,
  ),
)
def test_responses_in_every_precision(params, dtype, cache_dtype, bound):
  """Log-probabilities are as close to the training forward as they may be."""
  config = dataclasses.replace(CONFIG, dtype=dtype, param_dtype=dtype)
  decoder = dataclasses.replace(
    test_slots.make_decoder(), config=config, cache_dtype=cache_dtype
  )
  rollout = local.LocalRollout(decoder, test_slots.KEY)
  rollout.set_params(params, version=0)
  for done in rollout.generate([test_slots.request(i) for i in range(5)]):
    tokens = np.concatenate([done.request.prompt, done.tokens])[None]
    positions = np.arange(tokens.shape[1], dtype=np.int32)[None]
    logprobs, _ = heads.token_logprobs(
      CONFIG, params, tokens, positions, np.ones_like(tokens)
    )
    expected = logprobs[0, len(done.request.prompt) :]
    np.testing.assert_allclose(done.logprobs, expected, atol=bound)


def test_an_int8_cache_is_a_quarter_and_its_scales():
  def size(dtype):
    cache = kv_cache.empty(CONFIG, 4, 200, dtype)
    return sum(x.nbytes for x in jax.tree.leaves(cache))

  # 2 layers, keys and values, 4 rows, 2 heads of 8, 200 columns.
  assert size('') == 2 * 2 * 4 * 2 * 8 * 200 * 4
  assert size('bfloat16') == size('') / 2
  assert size('int8') == size('') / 4 + 2 * 2 * 4 * 2 * 200 * 4


def test_workers_of_other_precision_have_another_name():
  decoder = test_slots.make_decoder()
  half = dataclasses.replace(CONFIG, dtype='bfloat16')
  others = [
    dataclasses.replace(decoder, cache_dtype='int8'),
    dataclasses.replace(decoder, config=half),
  ]
  names = {wire.settings_of(d) for d in (decoder, *others)}
  assert len(names) == 3


def test_weights_are_sent_in_the_precision_of_the_rollout(params):
  class Listener:
    def set_weights(self, snapshot, params):
      self.seen = snapshot, params

  listener = Listener()
  rollout = remote.RemoteRollout(
    [listener], test_slots.KEY, check=print, dtype='bfloat16'
  )
  rollout.set_params(params, version=0)
  snapshot, beside = listener.seen
  count = sum(x.size for x in jax.tree.leaves(params))
  assert snapshot.header.total_bytes == 2 * count
  assert {x.dtype for x in jax.tree.leaves(beside)} == {jnp.bfloat16.dtype}
