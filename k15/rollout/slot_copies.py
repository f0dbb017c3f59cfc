"""Keys and values of prefilled prompts, copied into the slots that decode."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from k15 import low_precision
from k15 import sharding


def copy(
  layer: Any,
  new: jax.Array,
  rows: jax.Array,
  slots: jax.Array,
  column_axis: int,
) -> Any:
  """Puts rows of what was prefilled into slots.

  Args:
    layer: blocks of keys or of values, see `kv_cache.KVCache`.
    new: [P, N, h, T] keys or [P, N, T, h] values, perhaps behind an axis of
      layers.
    rows: int32 [n], of P.
    slots: int32 [n]; out of range: no effect.
    column_axis: -1 of keys, -2 of values.

  Returns:
    The blocks.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if not mesh.empty and mesh.size > 1:
    return _copy_over_devices(layer, new, rows, slots, column_axis)
  picked = jnp.take(new, rows, axis=new.ndim - 4)
  return _write(layer, picked, slots, column_axis)


def _write(layer, picked, slots, column_axis):
  """Puts the first columns of rows into slots; slots out of range are left."""
  # Columns past the prompt keep what an earlier response left there; they are
  # overwritten before they are seen.
  num_columns = picked.shape[column_axis]
  picked = low_precision.encode(picked, layer[0], -3 - column_axis)

  def write(start, end, block, picked):
    piece = jax.lax.slice_in_dim(picked, start, end, axis=column_axis)
    where = [slice(None)] * block.ndim
    where[block.ndim - 4] = slots
    where[column_axis] = slice(0, end - start)
    return block.at[tuple(where)].set(piece, mode='drop')

  blocks, start = [], 0
  for block in layer:
    end = min(start + block.shape[column_axis], num_columns)
    if start < end:
      part = functools.partial(write, start, end)
      block = jax.tree.map(part, block, picked)
    blocks.append(block)
    start += block.shape[column_axis]
  return tuple(blocks)


def _copy_over_devices(layer, new, rows, slots, column_axis):
  """`copy` where devices share slots and rows.

  One row after the other goes to all: the prefix of a long context, gathered
  as a whole, would not fit on a device.
  """
  row_axis = new.ndim - 4
  slot_axes = sharding.axes_of('slots', layer[0].shape[row_axis])
  row_axes = sharding.axes_of('batch', new.shape[row_axis])
  heads = sharding.axes_of('kv_heads', new.shape[row_axis + 1])

  def first_of(axes, count):
    return jax.lax.axis_index(axes) * count if axes else 0

  def of_device(layer, new, rows, slots):
    num_slots, num_rows = layer[0].shape[row_axis], new.shape[row_axis]
    own_slots = slots - first_of(slot_axes, num_slots)
    own_slots = jnp.where(own_slots < 0, num_slots, own_slots)  # no effect
    own_rows = rows - first_of(row_axes, num_rows)

    def one_row(i, layer):
      row = own_rows[i]
      picked = jax.lax.dynamic_slice_in_dim(
        new, jnp.clip(row, 0, num_rows - 1), 1, row_axis
      )
      if row_axes:
        is_here = (row >= 0) & (row < num_rows)
        picked = jax.lax.psum(jnp.where(is_here, picked, 0), row_axes)
      return _write(layer, picked, own_slots[i][None], column_axis)

    return jax.lax.fori_loop(0, len(rows), one_row, layer)

  spec = jax.sharding.PartitionSpec
  lead = (None,) * row_axis
  blocks = spec(*lead, slot_axes, heads)
  return jax.shard_map(
    of_device,
    in_specs=(blocks, spec(*lead, row_axes, heads), spec(), spec()),
    out_specs=blocks,
    check_vma=False,
  )(layer, new, jnp.asarray(rows), jnp.asarray(slots))
