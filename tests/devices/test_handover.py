"""Weights arrive whole and right, in few bytes, or those before stay."""

import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from k15.devices import handover
from k15.devices import sharding

HERE = sharding.make_mesh(1, 8, 1)
THERE = sharding.make_mesh(2, 1, 4)
SPECS = dict(
  kernel=PartitionSpec('fsdp', 'tensor'),
  bias=PartitionSpec('tensor'),
  scale=PartitionSpec(),
)
SHAPE = (16, 8)
SIZES = [
  sizes
  for sizes in itertools.product((1, 2, 4, 8), repeat=3)
  if math.prod(sizes) == 8
]


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
    return handover.move(array, target)

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
    return handover.move(array, target)

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
    moved = handover.move(array, target)
    return _flip(moved, copy) if array.ndim == 2 else moved

  over._move = damage
  message = r"version 1 arrived torn: \['kernel'\] sums to"
  with pytest.raises(handover.Torn, match=message):
    over.update(_params(1), 1)
  assert over.version == 0 and _same(over.params, _params(0))


def _cut(sizes, spec=('fsdp', 'tensor')):
  return NamedSharding(sharding.make_mesh(*sizes), PartitionSpec(*spec))


def _array(layout, shape=SHAPE):
  values = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
  return jax.device_put(values, layout)


def test_bytes_to_move():
  # 512 bytes.  Device i holds rows 2i and 2i + 1 and wants two columns of all
  # 16 rows: 32 elements, of which it holds 4.
  rows, columns = _cut((1, 8, 1)), _cut((2, 1, 4))
  assert handover.bytes_to_move(_array(rows), columns) == 8 * 28 * 4
  # Whole on each device, then cut: nothing moves.  And back: 7 / 8 of it to 8.
  whole = _cut((8, 1, 1))
  assert handover.bytes_to_move(_array(whole), rows) == 0
  assert handover.bytes_to_move(_array(rows), whole) == 8 * 7 * 64
  # Two devices hold it, eight want it: six copies.
  two = NamedSharding(sharding.make_mesh(2, 1, 1), PartitionSpec())
  assert handover.bytes_to_move(_array(two), whole) == 6 * 512


def test_what_lies_right_is_not_copied():
  first, same = _cut((1, 8, 1)), _cut((1, 8, 1), ('fsdp',))
  other = NamedSharding(
    sharding.make_mesh(8, 1, 1), PartitionSpec(('data', 'fsdp'))
  )
  x = _array(first)
  assert handover.move(x, first) is x
  for target in (same, other):
    moved = handover.move(x, target)
    assert moved.sharding == target
    for old, new in zip(
      x.addressable_shards, moved.addressable_shards, strict=True
    ):
      assert (
        old.data.unsafe_buffer_pointer() == new.data.unsafe_buffer_pointer()
      )


@pytest.mark.parametrize('target', SIZES, ids=str)
def test_values_stay(target):
  target = _cut(target)
  for sizes in ((1, 8, 1), (2, 2, 2), (8, 1, 1)):
    x = _array(_cut(sizes))
    with sharding.use_mesh(x.sharding.mesh):
      moved = handover.move(x, target)
    assert moved.sharding.is_equivalent_to(target, 2)
    np.testing.assert_array_equal(moved, x)


def test_meshes_of_other_devices_or_without_a_common_cut():
  six = jax.devices()[:6]
  tall = sharding.make_mesh(1, 3, 2, devices=six)
  wide = sharding.make_mesh(1, 2, 3, devices=six)
  spec = PartitionSpec('fsdp', 'tensor')
  here, there = NamedSharding(tall, spec), NamedSharding(wide, spec)
  assert handover.steps(here, there, 2) == []
  x = _array(here, (6, 6))
  np.testing.assert_array_equal(handover.move(x, there), x)
  backwards = sharding.make_mesh(1, 2, 3, devices=six[::-1])
  moved = handover.move(x, NamedSharding(backwards, spec))
  np.testing.assert_array_equal(moved, x)


def test_the_way_from_rows_to_columns():
  way = handover.steps(_cut((1, 8, 1)), _cut((2, 1, 4)), 2)
  # The four devices of a group exchange columns for rows; then the two halves
  # of the rows are gathered.
  assert [step.spec for step in way] == [
    PartitionSpec(('from_1',), ('from_2',)),
    PartitionSpec(None, ('from_2',)),
  ]
  here, there = _cut((1, 8, 1)), _cut((2, 1, 4))
  program = handover._mover(here, there, 2).lower(_array(here)).compile()
  text = program.as_text()
  assert 'all-to-all' in text
  gathered = re.findall(r'= f32\[(\d+),(\d+)\]\S* all-gather\(', text)
  assert gathered == [('16', '2')]  # Of the columns it wants, and no others.
