"""Any layout to any other: the same bits, and few bytes on the way."""

import itertools
import math
import re

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from k15 import reshard
from k15 import sharding

SHAPE = (16, 8)
SIZES = [
  sizes
  for sizes in itertools.product((1, 2, 4, 8), repeat=3)
  if math.prod(sizes) == 8
]


def _layout(sizes, spec=('fsdp', 'tensor')):
  return NamedSharding(sharding.make_mesh(*sizes), PartitionSpec(*spec))


def _array(layout, shape=SHAPE):
  values = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
  return jax.device_put(values, layout)


def test_bytes_to_move():
  # 512 bytes.  Device i holds rows 2i and 2i + 1 and wants two columns of all
  # 16 rows: 32 elements, of which it holds 4.
  rows, columns = _layout((1, 8, 1)), _layout((2, 1, 4))
  assert reshard.bytes_to_move(_array(rows), columns) == 8 * 28 * 4
  # Whole on each device, then cut: nothing moves.  And back: 7 / 8 of it to 8.
  whole = _layout((8, 1, 1))
  assert reshard.bytes_to_move(_array(whole), rows) == 0
  assert reshard.bytes_to_move(_array(rows), whole) == 8 * 7 * 64
  # Two devices hold it, eight want it: six copies.
  two = NamedSharding(sharding.make_mesh(2, 1, 1), PartitionSpec())
  assert reshard.bytes_to_move(_array(two), whole) == 6 * 512


def test_what_lies_right_is_not_copied():
  first, same = _layout((1, 8, 1)), _layout((1, 8, 1), ('fsdp',))
  other = NamedSharding(
    sharding.make_mesh(8, 1, 1), PartitionSpec(('data', 'fsdp'))
  )
  x = _array(first)
  assert reshard.move(x, first) is x
  for target in (same, other):
    moved = reshard.move(x, target)
    assert moved.sharding == target
    for old, new in zip(
      x.addressable_shards, moved.addressable_shards, strict=True
    ):
      assert (
        old.data.unsafe_buffer_pointer() == new.data.unsafe_buffer_pointer()
      )


@pytest.mark.parametrize('target', SIZES, ids=str)
def test_values_stay(target):
  target = _layout(target)
  for sizes in ((1, 8, 1), (2, 2, 2), (8, 1, 1)):
    x = _array(_layout(sizes))
    with sharding.use_mesh(x.sharding.mesh):
      moved = reshard.move(x, target)
    assert moved.sharding.is_equivalent_to(target, 2)
    np.testing.assert_array_equal(moved, x)


def test_meshes_of_other_devices_or_without_a_common_cut():
  six = jax.devices()[:6]
  tall = sharding.make_mesh(1, 3, 2, devices=six)
  wide = sharding.make_mesh(1, 2, 3, devices=six)
  spec = PartitionSpec('fsdp', 'tensor')
  here, there = NamedSharding(tall, spec), NamedSharding(wide, spec)
  assert reshard.steps(here, there, 2) == []
  x = _array(here, (6, 6))
  np.testing.assert_array_equal(reshard.move(x, there), x)
  backwards = sharding.make_mesh(1, 2, 3, devices=six[::-1])
  moved = reshard.move(x, NamedSharding(backwards, spec))
  np.testing.assert_array_equal(moved, x)


def test_the_way_from_rows_to_columns():
  way = reshard.steps(_layout((1, 8, 1)), _layout((2, 1, 4)), 2)
  # The four devices of a group exchange columns for rows; then the two halves
  # of the rows are gathered.
  assert [step.spec for step in way] == [
    PartitionSpec(('from_1',), ('from_2',)),
    PartitionSpec(None, ('from_2',)),
  ]
  here, there = _layout((1, 8, 1)), _layout((2, 1, 4))
  program = reshard._mover(here, there, 2).lower(_array(here)).compile()
  text = program.as_text()
  assert 'all-to-all' in text
  gathered = re.findall(r'= f32\[(\d+),(\d+)\]\S* all-gather\(', text)
  assert gathered == [('16', '2')]  # Of the columns it wants, and no others.
