"""Weights arrive whole and right, or those before stay in force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from k15 import handover
from k15 import reshard
from k15 import sharding

HERE = sharding.make_mesh(1, 8, 1)
THERE = sharding.make_mesh(2, 1, 4)
SPECS = dict(
  kernel=PartitionSpec('fsdp', 'tensor'),
  bias=PartitionSpec('tensor'),
  scale=PartitionSpec(),
)


def _layout(mesh):
  return {name: NamedSharding(mesh, spec) for name, spec in SPECS.items()}


def _params(seed=0):
  rng = np.random.default_rng(seed)
  values = dict(
    kernel=rng.normal(size=(16, 8)).astype(np.float32),
    bias=rng.normal(size=8).astype(jnp.bfloat16),
    scale=rng.normal(size=3).astype(np.float32),
  )
  return jax.device_put(values, _layout(HERE))


def _same(left, right):
  return jax.tree.all(
    jax.tree.map(lambda x, y: np.array_equal(x, y), left, right)
  )


def test_weights_arrive_in_their_layout():
  params, over = _params(), handover.HandOver(_layout(THERE))
  assert over.version == -1 and over.params is None
  over.update(params, 3)
  assert over.version == 3
  assert _same(over.params, params)
  for name, array in over.params.items():
    assert array.sharding == _layout(THERE)[name]
  metrics = over.pop_metrics()
  # kernel: 8 devices want 16 x 2 elements and hold 2 x 2 of them; bias and
  # scale lie whole on every device.
  assert metrics['handover/bytes'] == 8 * 28 * 4
  assert metrics['handover/seconds'] > 0
  assert over.pop_metrics() == {}


def test_the_same_layout_is_the_same_memory():
  params, over = _params(), handover.HandOver(_layout(HERE))
  over.update(params, 0)
  assert all(over.params[name] is params[name] for name in params)
  assert over.pop_metrics() == {}


def test_what_is_there_already_is_not_moved_again():
  moved = []

  def move(array, target):
    moved.append(array)
    return reshard.move(array, target)

  params, over = _params(), handover.HandOver(_layout(THERE), move)
  over.update(params, 0)
  over.update(params, 0)
  assert len(moved) == 3
  over.update(_params(1), 1)
  assert len(moved) == 6
  with pytest.raises(ValueError, match='version 0 comes after version 1'):
    over.update(params, 0)


def _fails_at(number):
  count = iter(range(100))

  def move(array, target):
    if next(count) == number:
      raise OSError('the link is down')
    return reshard.move(array, target)

  return move


@pytest.mark.parametrize('number', [3, 4, 5])
def test_a_failure_in_the_middle_leaves_the_old_weights(number):
  first, second = _params(0), _params(1)
  over = handover.HandOver(_layout(THERE), _fails_at(number))
  over.update(first, 0)
  before = over.params
  with pytest.raises(OSError, match='the link is down'):
    over.update(second, 1)
  assert over.version == 0 and over.params is before
  assert _same(over.params, first)
  over.update(second, 1)  # Sent again, it arrives.
  assert over.version == 1 and _same(over.params, second)


def _flip(array, copy):
  """One bit of one element of one copy changes."""
  shards = [shard.data for shard in array.addressable_shards]
  words = np.array(shards[copy]).view(np.uint32).copy()
  words.flat[0] ^= 1 << 13
  shards[copy] = jax.device_put(
    words.view(np.float32), array.addressable_shards[copy].device
  )
  return jax.make_array_from_single_device_arrays(
    array.shape, array.sharding, shards
  )


@pytest.mark.parametrize('copy', range(8))
def test_a_flipped_bit_of_any_copy_is_found(copy):
  over = handover.HandOver(_layout(THERE))
  over.update(_params(0), 0)

  def damage(array, target):
    moved = reshard.move(array, target)
    return _flip(moved, copy) if array.ndim == 2 else moved

  over._move = damage
  message = r"version 1 arrived torn: \['kernel'\] sums to"
  with pytest.raises(handover.Torn, match=message):
    over.update(_params(1), 1)
  assert over.version == 0 and _same(over.params, _params(0))
