"""Rules, meshes and layouts on eight CPU devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from k15.config import layout
from k15.devices import sharding
from k15.runtime.context import Layout


@pytest.fixture(scope='module')
def mesh():
  return sharding.make_mesh(2, 2, 2)


def test_mesh_sizes():
  assert dict(sharding.make_mesh(-1, 2, 2).shape) == {
    'data': 2,  # 8 devices / (2 * 2)
    'fsdp': 2,
    'tensor': 2,
    'context': 1,
  }
  assert sharding.make_mesh(1, 1, 2, -1).shape['context'] == 4
  assert sharding.make_mesh(1, -1, 1).shape['fsdp'] == 8
  small = sharding.make_mesh(1, 2, 1)
  assert list(small.devices.flat) == jax.devices()[:2]
  assert small.axis_types == (AxisType.Auto,) * 4
  chosen = sharding.make_mesh(-1, 1, 1, devices=jax.devices()[5:])
  assert list(chosen.devices.flat) == jax.devices()[5:]


@pytest.mark.parametrize(
  ('sizes', 'message'),
  [
    ((4, 4, 1), 'whose 16 devices do not fit the 8 there are'),
    ((-1, 3, 1), 'whose 3 devices do not fit the 8 there are'),
    ((-1, -1, 1), 'at most one is -1'),
    ((0, 1, 1), 'sizes are >= 1'),
    ((-2, 1, 1), 'sizes are >= 1'),
  ],
)
def test_refused_meshes(sizes, message):
  with pytest.raises(ValueError, match=message):
    sharding.make_mesh(*sizes)


@pytest.mark.parametrize(
  ('axes', 'shape', 'spec'),
  [
    (('batch', 'sequence'), (8, 5), (('data', 'fsdp'), 'context')),
    (('slots',), (4,), (('data', 'fsdp'),)),
    (('vocab', 'embed'), (64, 6), ('tensor', 'fsdp')),
    (('embed', 'heads'), (6, 4), ('fsdp', 'tensor')),
    (('embed', 'kv_heads'), (6, 4), ('fsdp', 'tensor')),
    (('embed', 'kv_heads'), (6, 3), ('fsdp', None)),  # 2 does not divide 3.
    (('layers', 'mlp', 'embed'), (3, 8, 2), (None, 'tensor', 'fsdp')),
    (('norm',), (7,), (None,)),
    ((None, 'head_dim'), (7, 9), (None, None)),
    ((), (), ()),
  ],
)
def test_layout_of_an_array(mesh, axes, shape, spec):
  expected = NamedSharding(mesh, PartitionSpec(*spec))
  assert sharding.sharding_of(mesh, axes, shape) == expected


@pytest.mark.parametrize(
  ('axes', 'shape', 'message'),
  [
    (('heads',), (3,), "'heads' of 3 does not divide over 2 devices"),
    (('batch',), (6,), "'batch' of 6 does not divide over 4 devices"),
    (('haeds',), (4,), "unknown logical axis 'haeds'"),
    (('heads',), (4, 4), '1 logical axes .* for the 2 axes'),
  ],
)
def test_refused_layouts(mesh, axes, shape, message):
  with pytest.raises(ValueError, match=message):
    sharding.sharding_of(mesh, axes, shape)


class _Layer(nn.Module):
  @nn.compact
  def __call__(self, x):
    init = nn.with_logical_partitioning(nn.initializers.ones, ('embed', 'mlp'))
    x = x @ self.param('kernel', init, (4, 8))
    x = nn.with_logical_constraint(x, ('batch', 'mlp'))
    return x + self.param('bias', nn.initializers.zeros, (8,))


def test_parameters_and_moments_follow_their_boxes(mesh):
  boxed = jax.eval_shape(_Layer().init, jax.random.key(0), jnp.ones((8, 4)))
  params = sharding.param_shardings(mesh, boxed)['params']
  assert params['kernel'].spec == PartitionSpec('fsdp', 'tensor')
  assert params['bias'].is_fully_replicated
  moments = jax.eval_shape(optax.adam(0.1).init, boxed['params'])
  moments = sharding.param_shardings(mesh, moments)
  assert moments[0].mu['kernel'].spec == PartitionSpec('fsdp', 'tensor')
  assert moments[0].count.is_fully_replicated


def test_sharded_forward_equals_the_one_on_a_single_device(mesh):
  x = jnp.arange(32.0).reshape(8, 4)
  boxed = _Layer().init(jax.random.key(0), x)
  params = nn.unbox(boxed)
  expected = _Layer().apply(params, x)
  sharded = jax.device_put(params, sharding.param_shardings(mesh, boxed))
  assert len(sharded['params']['kernel'].sharding.device_set) == 8
  with sharding.use_mesh(mesh):
    out = jax.jit(_Layer().apply)(sharded, x)
  assert out.sharding.spec == PartitionSpec(('data', 'fsdp'), 'tensor')
  # Small whole numbers: sums in any order are exact.
  np.testing.assert_array_equal(out, expected)


def test_constrain_acts_within_a_mesh_only(mesh):
  def double(x):
    return sharding.constrain(2 * x, ('batch', 'mlp'))

  x = jnp.ones((4, 2))
  assert len(jax.jit(double)(x).sharding.device_set) == 1
  with sharding.use_mesh(mesh):
    assert double(x).shape == x.shape  # Outside jit it is x itself.
    out = jax.jit(double)(x)
  assert out.sharding.spec == PartitionSpec(('data', 'fsdp'), 'tensor')
  with pytest.raises(ValueError, match='1 logical axes'):
    sharding.constrain(x, ('batch',))


def test_columns_that_do_not_divide_stay_whole():
  mesh = sharding.make_mesh(1, 1, 2, 4)
  for columns, spec in ((8, 'context'), (6, None), (1, None)):
    place = sharding.sharding_of(mesh, ('batch', 'sequence'), (1, columns))
    assert place.spec == PartitionSpec(('data', 'fsdp'), spec)
    with sharding.use_mesh(mesh):
      axes = sharding.axes_of('sequence', columns)
      out = jax.jit(lambda x: sharding.constrain(x, (None, 'sequence')))(
        jnp.zeros((3, columns))
      )
    assert axes == (spec and (spec,))
    assert out.sharding.is_fully_replicated == (spec is None)
  assert sharding.axes_of('sequence', 8) is None  # No mesh is in force.


def test_other_rules_give_other_layouts(mesh):
  rules = layout.parse_rules(('embed:', 'mlp:tensor+fsdp'))
  where = sharding.sharding_of(mesh, ('embed', 'mlp'), (4, 8), rules)
  assert where.spec == PartitionSpec(None, ('tensor', 'fsdp'))
  assert sharding.ways_of(mesh, rules, 'mlp') == 4
  assert sharding.ways_of(mesh, rules, 'embed') == 1
  twice = layout.parse_rules(('mlp:fsdp',))
  message = r"'fsdp' splits two axes of \('embed', 'mlp'\)"
  with pytest.raises(ValueError, match=message):
    sharding.sharding_of(mesh, ('embed', 'mlp'), (4, 8), twice)


def test_rows_go_to_the_devices_that_compute_them(mesh):
  seen = []

  class Rows(np.ndarray):
    def __getitem__(self, index):
      seen.append(index)
      return np.asarray(super().__getitem__(index))

  batch = dict(
    tokens=np.arange(24, dtype=np.int32).reshape(8, 3).view(Rows),
    advantage=np.ones((8, 1), np.float32),
    num_rows=np.array(7, np.int32),
  )
  placed = Layout(None, mesh).place_rows(batch)
  for name, spec in (
    ('tokens', (('data', 'fsdp'), None)),
    ('advantage', (('data', 'fsdp'), None)),
    ('num_rows', ()),
  ):
    assert placed[name].sharding.spec == PartitionSpec(*spec)
    np.testing.assert_array_equal(placed[name], np.asarray(batch[name]))
  # No device is given more than its two rows.
  assert {index[0].stop - index[0].start for index in seen} == {2}
