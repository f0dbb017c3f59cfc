"""Weights on disk: what was written is read, from wherever a run put it."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from k15 import checkpoint
from k15 import low_precision
from k15.data_types import TrainState
from k15.rollout import weight_files


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(0)
  return dict(
    a=jnp.asarray(rng.normal(size=(2, 3)), jnp.float32),
    b=dict(c=jnp.asarray(rng.normal(size=4), jnp.bfloat16)),
  )


@pytest.fixture(scope='module')
def layout(params):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    params,
  )


@pytest.fixture(scope='module')
def run(params, tmp_path_factory):
  """A work folder with both stages' checkpoints; RL's are the negatives."""
  folder = tmp_path_factory.mktemp('run')
  state = TrainState(params, (dict(m=jnp.zeros(3)),), jnp.zeros((), jnp.int32))
  negative = state.replace(params=jax.tree.map(lambda x: -x, params))
  states = dict(
    sft=[(5, state)],
    rl=[
      (9, dict(train=state, kl_params=None)),
      (10, dict(train=negative, kl_params=None)),
    ],
  )
  for stage, steps in states.items():
    saver = checkpoint.Checkpoints(folder / 'checkpoints' / stage, keep=2)
    for step, value in steps:
      saver.save(step, value, dict(host=dict(x=1)))
    saver.close()
  return folder


def assert_same(tree, expected):
  for one, other in zip(
    jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True
  ):
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
  ('path', 'step', 'sign'),
  [
    ('', 10, -1),
    ('checkpoints', 10, -1),
    ('checkpoints/rl', 10, -1),
    ('checkpoints/rl/9', 9, 1),
    ('checkpoints/rl/9/state', 9, 1),
    ('checkpoints/sft', 5, 1),
  ],
)
def test_checkpoints_of_a_run(run, params, layout, path, step, sign):
  found, number = weight_files.read(run / path, layout)
  assert_same(found, jax.tree.map(lambda x: sign * x, params))
  assert number == (0 if path.endswith('state') else step)


def test_a_run_before_rl(run, params, layout, tmp_path):
  shutil.copytree(run / 'checkpoints' / 'sft', tmp_path / 'checkpoints/sft')
  found, step = weight_files.read(tmp_path, layout)
  assert_same(found, params)
  assert step == 5


def test_safetensors(params, layout, tmp_path):
  path = tmp_path / 'model.safetensors'
  weight_files.write_safetensors(path, params)
  for place in (path, tmp_path):
    found, step = weight_files.read(place, layout)
    assert_same(found, params)
    assert step == 0
  assert [p.name for p in tmp_path.iterdir()] == [path.name]
  # The format: length of the header, header, data.
  raw = path.read_bytes()
  length = int.from_bytes(raw[:8], 'little')
  header = json.loads(raw[8 : 8 + length])
  assert header['b/c'] == dict(dtype='BF16', shape=[4], data_offsets=[24, 32])
  assert len(raw) == 8 + length + 32


def test_floats_come_in_the_precision_that_is_asked_for(
  run, params, layout, tmp_path
):
  path = tmp_path / 'model.safetensors'
  weight_files.write_safetensors(path, params)
  half = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape,
      jnp.bfloat16 if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype,
      sharding=x.sharding,
    ),
    layout,
  )
  expected = low_precision.cast(params, 'bfloat16')
  for place in (path, run / 'checkpoints' / 'sft'):
    assert_same(weight_files.read(place, half)[0], expected)


def test_what_is_refused(run, params, layout, tmp_path):
  other = dict(layout, d=layout['a'])
  with pytest.raises(ValueError, match="no parameters of this policy: 'd'"):
    weight_files.read(run, other)
  wide = dict(layout, a=jax.ShapeDtypeStruct((2, 4), jnp.float32))
  with pytest.raises(ValueError, match=r"'a' is float32\[2, 3\], and this"):
    weight_files.read(run, wide)
  with pytest.raises(ValueError, match='neither safetensors nor a checkpoint'):
    weight_files.read(tmp_path, layout)
  with pytest.raises(ValueError, match='neither safetensors nor a checkpoint'):
    weight_files.read(tmp_path / 'nowhere', layout)
  path = tmp_path / 'torn.safetensors'
  weight_files.write_safetensors(path, params)
  path.write_bytes(path.read_bytes()[:-3])
  with pytest.raises(ValueError, match='torn.safetensors is no safetensors'):
    weight_files.read(path, layout)
