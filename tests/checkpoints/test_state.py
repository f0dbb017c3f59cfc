"""What is saved comes back bit for bit, or not at all."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from jax.sharding import PartitionSpec

from k15.checkpoints import state as state_lib
from k15.devices import sharding
from k15.model import policy
from k15.training import optimizer


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


def _saved_and_asked(folder, saved, asked):
  checkpoints = state_lib.Checkpoints(folder, 2)
  checkpoints.save(3, saved, {})
  try:
    return checkpoints.restore(3, asked)
  finally:
    checkpoints.close()


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    (dict(w=jnp.zeros((3, 2))), r'w is of float32 \[2, 3\] there and float32'),
    (dict(half=None), 'half is of bfloat16 .* there and nothing now'),
    (dict(missing=jnp.zeros(1)), 'missing is of nothing there and float32'),
    (dict(step=jnp.float32(1)), 'step is of int32 .* there and float32'),
  ],
)
def test_other_arrays_are_refused_in_a_sentence(tmp_path, change, sentence):
  with pytest.raises(state_lib.Mismatch, match=sentence):
    _saved_and_asked(tmp_path, _state(1.0), _state(1.0) | change)


def test_moments_of_another_muon_are_refused(tmp_path):
  """Its matrices were once those of two axes, embeddings among them."""
  shape = policy.PolicyConfig(
    vocab_size=8, num_layers=2, d_model=8, num_heads=1, num_kv_heads=1,
    head_dim=8, d_ff=8,
  )  # fmt: skip
  params = nn.unbox(
    jax.jit(policy.init, static_argnums=0)(shape, jax.random.key(0))
  )
  axes = policy.logical_axes(shape)
  now = optimizer.make('muon', 0.9, 0.95, 1e-8, 0.0, 1.0, axes)
  state = optimizer.init_state(now, params)
  _saved_and_asked(tmp_path / 'same', state, state)
  before = optax.chain(
    optax.clip_by_global_norm(1.0), optax.contrib.muon(1.0), optax.scale(-1.0)
  )
  old = optimizer.init_state(before, params)
  with pytest.raises(state_lib.Mismatch, match='mu/embedding .* stage again'):
    _saved_and_asked(tmp_path / 'old', old, state)


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
  unpacked = state_lib.unpack(state_lib.pack(HOST))
  assert _bits(unpacked) == _bits(HOST)
  assert list(unpacked) == list(HOST)


def test_an_entry_may_have_a_slash_in_its_name():
  host = dict(part={'a/b': np.arange(2)})
  assert _bits(state_lib.unpack(state_lib.pack(host))) == _bits(host)


def test_a_step_comes_back_exactly(tmp_path):
  checkpoints = state_lib.Checkpoints(tmp_path, keep=2)
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
  checkpoints = state_lib.Checkpoints(tmp_path, keep=2)
  for step in (1, 2, 3):
    checkpoints.save(step, _state(step), {})
  checkpoints.save(3, _state(99.0), {})
  checkpoints.close()
  names = sorted(p.name for p in tmp_path.iterdir() if p.name.isdigit())
  assert names == ['2', '3']
  reopened = state_lib.Checkpoints(tmp_path, keep=2)
  assert reopened.latest_step() == 3
  assert float(reopened.restore(3, _state(0.0))[0]['w'][0, 0]) == 3.0
  reopened.close()


def test_a_step_that_was_cut_off_does_not_count(tmp_path):
  checkpoints = state_lib.Checkpoints(tmp_path, keep=2)
  checkpoints.save(1, _state(1.0), {})
  checkpoints.close()
  torn = tmp_path / '2.orbax-checkpoint-tmp'
  (torn / 'state').mkdir(parents=True)
  reopened = state_lib.Checkpoints(tmp_path, keep=2)
  assert reopened.latest_step() == 1
  reopened.save(2, _state(2.0), {})
  assert reopened.latest_step() == 2
  reopened.close()


def test_a_state_comes_back_in_the_layout_asked_for(tmp_path):
  checkpoints = state_lib.Checkpoints(tmp_path, keep=1)
  value = np.arange(16, dtype=np.float32).reshape(8, 2)
  checkpoints.save(1, dict(w=jnp.asarray(value)), {})
  mesh = sharding.make_mesh(data=1, fsdp=8, tensor=1)
  layout = jax.sharding.NamedSharding(mesh, PartitionSpec('fsdp'))
  like = jax.ShapeDtypeStruct((8, 2), jnp.float32, sharding=layout)
  state, _ = checkpoints.restore(1, dict(w=like))
  assert state['w'].sharding == layout
  np.testing.assert_array_equal(state['w'], value)
  checkpoints.close()


def test_what_the_host_remembers_is_read_without_the_devices(tmp_path):
  host = dict(buffer=dict(tokens=np.arange(3, dtype=np.int32), digest='ab'))
  checkpoints = state_lib.Checkpoints(tmp_path, 1)
  checkpoints.save(2, _state(1.0), host)
  assert _bits(checkpoints.host(2)) == _bits(host)
  _, again = checkpoints.restore(2, _state(0.0))
  assert _bits(again) == _bits(host)
  checkpoints.close()
