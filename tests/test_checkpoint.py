"""What is saved comes back bit for bit, or not at all."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from k15 import checkpoint
from k15 import sharding


def _bits(host):
  return {
    (part, name): (v.dtype, v.shape, v.tobytes())
    if isinstance(v, np.ndarray)
    else v
    for part, entries in host.items()
    for name, v in entries.items()
  }


def _state(value):
  return dict(
    w=jnp.full((2, 3), value, jnp.float32),
    half=jnp.asarray([1.5, -0.0], jnp.bfloat16),
    step=jnp.int32(7),
    missing=None,
  )


HOST = dict(
  buffer=dict(
    nan=np.array([np.nan, -0.0, np.inf, 1e-45], np.float32),
    empty=np.zeros((0, 3), np.int64),
    scalar=np.array(5, np.uint8),
    strided=np.arange(12)[::-2],
    flags=np.array([True, False]),
  ),
  data=dict(state={'big': 2**70, 'text': 'ü\n', 'list': [1, None, 0.1]}),
  nothing={},
)


def test_pack_and_unpack_are_exact():
  unpacked = checkpoint.unpack(checkpoint.pack(HOST))
  assert _bits(unpacked) == _bits(HOST)
  assert list(unpacked) == list(HOST)


def test_an_entry_may_have_a_slash_in_its_name():
  host = dict(part={'a/b': np.arange(2)})
  assert _bits(checkpoint.unpack(checkpoint.pack(host))) == _bits(host)


def test_a_step_comes_back_exactly(tmp_path):
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
  assert checkpoints.latest_step() is None
  checkpoints.save(3, _state(0.1), HOST)
  state, host = checkpoints.restore(3, _state(0.0))
  for name, value in _state(0.1).items():
    assert (value is None) == (state[name] is None)
    if value is not None:
      assert state[name].dtype == value.dtype
      assert np.asarray(state[name]).tobytes() == np.asarray(value).tobytes()
  assert _bits(host) == _bits(HOST)
  checkpoints.close()


def test_the_newest_steps_are_kept_and_none_is_written_over(tmp_path):
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
  for step in (1, 2, 3):
    checkpoints.save(step, _state(step), {})
  checkpoints.save(3, _state(99.0), {})
  checkpoints.close()
  names = sorted(p.name for p in tmp_path.iterdir() if p.name.isdigit())
  assert names == ['2', '3']
  reopened = checkpoint.Checkpoints(tmp_path, keep=2)
  assert reopened.latest_step() == 3
  assert float(reopened.restore(3, _state(0.0))[0]['w'][0, 0]) == 3.0
  reopened.close()


def test_a_step_that_was_cut_off_does_not_count(tmp_path):
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
  checkpoints.save(1, _state(1.0), {})
  checkpoints.close()
  torn = tmp_path / '2.orbax-checkpoint-tmp'
  (torn / 'state').mkdir(parents=True)
  reopened = checkpoint.Checkpoints(tmp_path, keep=2)
  assert reopened.latest_step() == 1
  reopened.save(2, _state(2.0), {})
  assert reopened.latest_step() == 2
  reopened.close()


def test_a_state_comes_back_in_the_layout_asked_for(tmp_path):
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=1)
  value = np.arange(16, dtype=np.float32).reshape(8, 2)
  checkpoints.save(1, dict(w=jnp.asarray(value)), {})
  mesh = sharding.make_mesh(data=1, fsdp=8, tensor=1)
  layout = jax.sharding.NamedSharding(mesh, PartitionSpec('fsdp'))
  like = jax.ShapeDtypeStruct((8, 2), jnp.float32, sharding=layout)
  state, _ = checkpoints.restore(1, dict(w=like))
  assert state['w'].sharding == layout
  np.testing.assert_array_equal(state['w'], value)
  checkpoints.close()
