"""The same loss, gradients and tokens on every mesh of 1 to 8 devices."""

import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import thorough

from k15.devices import handover
from k15.devices import sharding
from k15.equations import losses
from k15.model import heads
from k15.model import policy
from k15.rollout import local
from k15.rollout import slots
from k15.rollout.requests import Request
from k15.runtime.context import Layout

# The smallest that eight devices can split along any axis, but for the two
# key-value heads, which stay whole where they do not divide.
CONFIG = policy.PolicyConfig(
  vocab_size=64,
  num_layers=1,
  d_model=16,
  num_heads=8,
  num_kv_heads=2,
  head_dim=4,
  d_ff=16,
  qk_norm=False,
)
ROWS, COLUMNS, TAU = 8, 16, 0.3
# (data, fsdp, tensor, context)
MESHES = [
  sizes
  for sizes in itertools.product((1, 2, 4, 8), repeat=4)
  if math.prod(sizes) <= 8
]
# Each axis alone, two of each, and all.
FEW = [
  (8, 1, 1, 1), (1, 4, 1, 1), (1, 1, 4, 1), (1, 1, 1, 2), (2, 2, 1, 1),
  (1, 1, 2, 4), (2, 1, 2, 2), (1, 2, 2, 2), (2, 1, 1, 1),
]  # fmt: skip


def name(sizes):
  return 'x'.join(map(str, sizes))


@functools.cache
def boxed():
  return policy.boxed(CONFIG)


@functools.cache
def weights():
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32),
    nn.unbox(boxed()),
  )


def layout(mesh):
  return sharding.param_shardings(mesh, boxed())


@functools.cache
def batch():
  """Two sequences a row, of unlike lengths, and padding behind them."""
  rng = np.random.default_rng(2)
  shape = ROWS, COLUMNS
  column = np.arange(COLUMNS)
  cut, end = rng.integers(4, 8, (ROWS, 1)), rng.integers(12, 17, (ROWS, 1))
  segment_ids = 1 + (column >= cut) - 2 * (column >= end) * (column >= cut)
  positions = np.where(column >= cut, column - cut, column)
  return dict(
    tokens=rng.integers(0, 64, shape).astype(np.int32),
    positions=positions.astype(np.int32),
    segment_ids=segment_ids.astype(np.int32),
    loss_mask=((segment_ids > 0) & (positions > 1)).astype(np.float32),
    ref_logprobs=rng.normal(-4, 0.5, shape).astype(np.float32),
    advantage=rng.normal(size=(ROWS, 2)).astype(np.float32),
    weight=np.full((ROWS, 2), 0.1, np.float32),
  )


def loss(params, b):
  """Equation 3 on the batch."""
  logprobs, entropy = heads.token_logprobs(
    CONFIG, params, b['tokens'], b['positions'], b['segment_ids']
  )
  value, _ = losses.policy_mirror_descent(
    logprobs,
    b['ref_logprobs'],
    b['segment_ids'],
    b['loss_mask'],
    b['advantage'],
    b['weight'],
    b['weight'],
    TAU,
  )
  return value, jnp.sum(entropy * b['loss_mask'])


def gradient(sizes):
  mesh = sharding.make_mesh(*sizes)
  params = jax.device_put(weights(), layout(mesh))
  grad = jax.jit(jax.value_and_grad(loss, has_aux=True))
  with sharding.use_mesh(mesh):
    return jax.device_get(grad(params, Layout(None, mesh).place_rows(batch())))


def answers(rollout_sizes, training_sizes):
  """Responses by sample, decoded on one mesh with the weights of another."""
  training = sharding.make_mesh(*training_sizes)
  mesh = sharding.make_mesh(*rollout_sizes)
  over = handover.HandOver(layout(mesh))
  over.update(jax.device_put(weights(), layout(training)), 0)
  decoder = slots.SlotDecoder(
    config=CONFIG,
    num_slots=8,
    columns=24,
    tokens_per_call=16,
    prefill_batch=8,
    eos_ids=(3,),
    fuse_projections=mesh.shape['tensor'] == 1,
  )
  rollout = local.LocalRollout(decoder, jax.random.key(5))
  rollout.set_params(over.params, 0)
  requests = [
    Request(
      group_id=1,
      sample_index=i,
      prompt=np.arange(5 + i % 3, dtype=np.int32) + 7,
      response=np.zeros(0, np.int32),
      budget=12,
      temperature=1.0,
      seed=0,
    )
    for i in range(8)
  ]
  with sharding.use_mesh(mesh):
    done = {c.request.sample_index: c for c in rollout.generate(requests)}
  return [done[i] for i in range(8)]


@pytest.fixture(scope='module')
def alone():
  """Loss, entropy and gradient on one device."""
  (value, entropy), grads = gradient((1, 1, 1, 1))
  assert abs(value) > 0.1
  assert all(np.abs(g).max() > 1e-3 for g in jax.tree.leaves(grads))
  return value, entropy, grads


def test_meshes():
  # 2^n in four ordered factors: 1, 4, 10 and 20 ways.
  assert len(MESHES) == 35


@pytest.mark.parametrize(
  'sizes', thorough.but(MESHES[1:], FEW, whole=True), ids=name
)
def test_loss_and_gradient(alone, sizes):
  (value, entropy), grads = gradient(sizes)
  np.testing.assert_allclose([value, entropy], alone[:2], rtol=1e-5)
  for got, expected in zip(
    jax.tree.leaves(grads), jax.tree.leaves(alone[2]), strict=True
  ):
    most = np.abs(expected).max()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * most)


@pytest.fixture(scope='module')
def spoken():
  """Responses of one device."""
  responses = answers((1, 1, 1, 1), (1, 1, 1, 1))
  assert len({c.tokens.tobytes() for c in responses}) == 8
  return responses


# Decoded where they are trained, and, second, on a mesh of their own.  One
# column at a time is whole whatever 'context' is: two of those meshes will do.
PAIRS = [
  (sizes, sizes)
  for sizes in MESHES[1:]
  if sizes[3] == 1 or sizes in ((1, 1, 1, 8), (2, 1, 2, 2))
]
PAIRS += [
  ((2, 1, 4, 1), (1, 8, 1, 1)),
  ((8, 1, 1, 1), (1, 2, 2, 2)),
  ((1, 1, 8, 1), (2, 4, 1, 1)),
  ((4, 1, 1, 1), (1, 1, 1, 4)),
  ((1, 1, 2, 1), (2, 1, 1, 1)),
]


@pytest.mark.parametrize(
  ('rollout', 'training'),
  thorough.but(PAIRS, [*((m, m) for m in FEW), *PAIRS[-5:-2]]),
  ids=lambda sizes: name(sizes),
)
def test_tokens(spoken, rollout, training):
  for got, expected in zip(answers(rollout, training), spoken, strict=True):
    np.testing.assert_array_equal(got.tokens, expected.tokens)
    np.testing.assert_allclose(got.logprobs, expected.logprobs, atol=2e-5)
