"""Keys and values of tokens already seen, for decoding.

A cache is cut into blocks of columns.  A block is an array, or an `Int8Block`:
every key and value, a vector of h numbers of one token and one head, then is h
whole numbers and a scale of its own.  Prefilled rows are copied into the slots
that decode (`copy_rows`), a step writes one column a row and attends to them.

Axes: B rows, N key-value heads, G query heads of each, h head width, C cache
columns, L layers, P prefilled rows.
"""

import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from k15.devices import sharding
from k15.model import attention
from k15.model import precision
from k15.model import ragged_attention

_LARGEST = 127


@flax.struct.dataclass
class Int8Block:
  """Vectors along one axis, each numbers * scales.

  Attributes:
    numbers: int8, from -127 to 127.
    scales: float32, of the same shape but for the axis, which has size 1.
  """

  numbers: jax.Array
  scales: jax.Array

  @property
  def shape(self) -> tuple[int, ...]:
    return self.numbers.shape


@flax.struct.dataclass
class KVCache:
  """Keys and values of tokens already seen, column = position in the row.

  Per layer, keys [B, N, h, C] (rotated) and values [B, N, C, h]; for decoding
  they are cut along C into blocks of `cache_block` columns, a tuple of arrays,
  so that a step reads no further than its longest row.  Both are tuples over
  layers, or have a leading axis L when layers are scanned; axis -4 is always
  the row.  Keys lie with C last: their product with the query then reads them
  in order, four times faster on CPU than [B, N, C, h].  A block may be a
  `Int8Block`, whose scales have the same axes with h = 1.

  On TPU there is one block, of which `ragged_attention` reads what a row has,
  and keys lie as values do.
  """

  keys: Any
  values: Any


def empty(shape: Any, rows: int, columns: int, dtype: str = '') -> KVCache:
  """A cache of zeros.

  Args:
    shape: the `PolicyConfig`.
    rows: sequences.
    columns: tokens of the longest.
    dtype: that of the activations if empty, or 'int8'.

  For the kernel of TPUs there are a few columns more, whole pieces of it.
  """
  dtype = dtype or shape.dtype
  N, h, L = shape.num_kv_heads, shape.head_dim, shape.num_layers

  block = shape.cache_block
  if is_ragged():
    block = columns = ragged_attention.whole_columns(columns)
  widths = [min(block, columns - c) for c in range(0, columns, block)]

  def zeros(shape_of, axis):
    lead = (L,) if shape.scan_layers else ()
    blocks = tuple(
      jax.tree.map(
        constrain,
        zero_block((*lead, *shape_of(w)), dtype, axis),
      )
      for w in widths
    )
    if shape.scan_layers:
      return blocks
    return tuple(jax.tree.map(jnp.copy, blocks) for _ in range(L))

  values = zeros(lambda width: (rows, N, width, h), -1)
  if is_ragged():
    return KVCache(keys=jax.tree.map(jnp.copy, values), values=values)
  return KVCache(
    keys=zeros(lambda width: (rows, N, h, width), -2), values=values
  )


def is_ragged() -> bool:
  """Whether programs for where the mesh is have a cache as TPUs want it."""
  return attention.target_platform() == 'tpu'


def constrain(x: jax.Array) -> jax.Array:
  """Lays slots and key-value heads of a cache array over the mesh."""
  lead = (None,) * (x.ndim - 4)
  return sharding.constrain(x, (*lead, 'slots', 'kv_heads', None, None))


def write(key_blocks, value_blocks, key, value, positions, layer=None):
  """Writes one column a row; key and value are [B, N, h], positions [B].

  Blocks with a leading axis L are changed in `layer`.
  """
  rows = jnp.arange(len(positions))
  lead = () if layer is None else (layer,)
  key = encode(key, key_blocks[0], -1)
  value = encode(value, value_blocks[0], -1)
  keys, values, start = [], [], 0
  for old_keys, old_values in zip(key_blocks, value_blocks, strict=True):
    width = old_values.shape[-2]
    inside = (positions >= start) & (positions < start + width)
    column = jnp.where(inside, positions - start, width)
    if is_ragged():
      # One head at a time: to write all of a row's at once, the compiler would
      # move the cache until they lie side by side.
      heads = jnp.arange(old_values.shape[-3])
      here = in_keys = *lead, rows[:, None], heads, column[:, None]
    else:
      every = slice(None)
      here = *lead, rows, every, column
      in_keys = *lead, rows, every, every, column
    keys.append(_put(old_keys, in_keys, key))
    values.append(_put(old_values, here, value))
    start += width
  return tuple(keys), tuple(values)


def _put(old, where, new):
  """Sets these places, of numbers and scales alike; others are dropped."""
  return jax.tree.map(
    lambda old, new: constrain(old.at[where].set(new, mode='drop')),
    old,
    new,
  )


def attend(query, key_blocks, value_blocks, positions, layer=None) -> jax.Array:
  """Attention of one token a row to the cache columns up to its position.

  On TPU a kernel reads what each row has (`ragged_attention`).  Elsewhere a
  block that no row has reached is skipped, and of one that few rows have
  reached only these are read: a long response pays for itself alone.  Every
  block is two branches and two writes of the program: 1,024 of 128 columns
  would take an accelerator's compiler hours, while 8 of 16,384 read at most
  16,383 columns too many, 1/16 of 131,072 in the mean.

  Args:
    query: [B, N, G, h].
    key_blocks: [B, N, h, C'] each, or [L, B, N, h, C'] with a layer; see
      `KVCache`.
    value_blocks: [B, N, C', h] each, or [L, B, N, C', h].
    positions: int32 [B].
    layer: int32 [], which of L, or None.

  Returns:
    [B, N, G, h].
  """
  query = attention.scaled(query)
  if is_ragged():
    mixed = ragged_attention.attend(
      query, *key_blocks, *value_blocks, positions, layer
    )
    return precision.rounded(mixed, query.dtype)
  starts = np.cumsum([0] + [keys.shape[-1] for keys in key_blocks])
  # One by one, rows take 1.5 times as long as all at once (CPU); rows on other
  # devices would have to be fetched.
  few = len(query) // 2 if jax.sharding.get_abstract_mesh().size <= 1 else 0
  longest_first = jnp.argsort(-positions)

  def of_layer(block):
    if layer is None:
      return block
    return jax.tree.map(
      lambda x: (
        x
        if x.ndim == 4
        else jax.lax.dynamic_index_in_dim(x, layer, keepdims=False)
      ),
      block,
    )

  def score(i, keys, query, positions):
    keys, scales = decode(of_layer(keys), query.dtype)
    scores = jnp.einsum(
      'bngh,bnhc->bngc', query, keys, preferred_element_type=jnp.float32
    )
    if scales is not None:
      scores *= scales
    columns = jnp.arange(starts[i], starts[i + 1])
    seen = columns <= positions[:, None]
    return jnp.where(seen[:, None, None], scores, -1e30)

  def mix(i, values, probs):
    values, scales = decode(of_layer(values), query.dtype)
    weights = probs[..., starts[i] : starts[i + 1]]
    if scales is not None:
      weights = weights * scales.swapaxes(-1, -2)
    # Sums over blocks are not rounded before they are one.
    return jnp.einsum(
      'bngc,bnch->bngh', precision.rounded(weights, query.dtype), values,
      preferred_element_type=jnp.float32,
    )  # fmt: skip

  def of_rows(i, compute, empty, block, *others):
    """compute(i, block, *others), [B, ...], where the block is reached."""
    if i == 0:
      return compute(i, block, *others)
    reached = jnp.sum(positions >= starts[i])

    def nothing(*_):
      return jnp.full(*empty)

    def one_by_one(block, *others):
      def add(n, rows):
        row = longest_first[n]
        pick = functools.partial(jax.lax.dynamic_slice_in_dim, slice_size=1)
        own = [
          jax.tree.map(lambda x: pick(x, row, axis=x.ndim - 4), block),
          *(pick(x, row) for x in others),
        ]
        return jax.lax.dynamic_update_slice_in_dim(
          rows, compute(i, *own), row, axis=0
        )

      return jax.lax.fori_loop(0, reached, add, jnp.full(*empty))

    return jax.lax.cond(
      reached > few,
      functools.partial(compute, i),
      one_by_one if few else nothing,
      block,
      *others,
    )

  scores = [
    of_rows(
      i,
      score,
      ((*query.shape[:-1], keys.shape[-1]), -1e30, jnp.float32),
      keys,
      query,
      positions,
    )
    for i, keys in enumerate(key_blocks)
  ]
  probs = jax.nn.softmax(jnp.concatenate(scores, axis=-1), axis=-1)
  mixed = sum(
    of_rows(i, mix, (query.shape, 0, jnp.float32), values, probs)
    for i, values in enumerate(value_blocks)
  )
  return precision.rounded(mixed, query.dtype)


def zero_block(shape: tuple[int, ...], dtype: str, axis: int) -> Any:
  """A block of zeros whose vectors lie along `axis`, counted from the end."""
  if dtype != 'int8':
    return jnp.zeros(shape, jnp.dtype(dtype))
  scales = list(shape)
  scales[axis] = 1
  return Int8Block(jnp.zeros(shape, jnp.int8), jnp.zeros(scales, jnp.float32))


def encode(x: jax.Array, block: Any, axis: int) -> Any:
  """Vectors along `axis` as `block` holds them.

  In int8 the scale is max |x| / 127: half of it bounds the error.
  """
  if not isinstance(block, Int8Block):
    return x.astype(block.dtype)
  x = x.astype(jnp.float32)
  scales = jnp.max(jnp.abs(x), axis=axis, keepdims=True) / _LARGEST
  numbers = jnp.round(x / jnp.where(scales > 0, scales, 1.0))
  return Int8Block(numbers.astype(jnp.int8), scales)


def decode(block: Any, dtype: jnp.dtype) -> tuple[jax.Array, Any]:
  """Numbers in `dtype`, and what they are to be multiplied with, or None."""
  if isinstance(block, Int8Block):
    return block.numbers.astype(dtype), block.scales
  return block.astype(dtype), None


def copy_rows(
  layer: Any,
  new: jax.Array,
  rows: jax.Array,
  slots: jax.Array,
  column_axis: int,
) -> Any:
  """Puts rows of what was prefilled into slots.

  Args:
    layer: blocks of keys or of values, see `KVCache`.
    new: [P, N, h, T] keys or [P, N, T, h] values, perhaps behind an axis of
      layers.
    rows: int32 [n], of P.
    slots: int32 [n]; out of range: no effect.
    column_axis: -1 of keys, -2 of values.

  Returns:
    The blocks.
  """
  if is_ragged() and column_axis == -1:
    new, column_axis = new.swapaxes(-1, -2), -2
  mesh = jax.sharding.get_abstract_mesh()
  if not mesh.empty and mesh.size > 1:
    return _copy_rows_over_devices(layer, new, rows, slots, column_axis)
  if attention.target_platform() == 'cpu':
    return _copy_one_by_one(layer, new, rows, slots, column_axis)
  picked = jnp.take(new, rows, axis=new.ndim - 4)
  return _write_rows(layer, picked, slots, column_axis)


def _copy_one_by_one(layer, new, rows, slots, column_axis):
  """`copy_rows` of no more rows than go somewhere, each as it lies.

  A slot that is free is filled at once, alone: to gather all rows first takes
  as long as a step of a small model.
  """
  axis = new.ndim - 4
  counts = jnp.arange(1, len(rows) + 1)
  used = jnp.max(jnp.where(slots < layer[0].shape[axis], counts, 0))

  def one_row(i, layer):
    picked = jax.lax.dynamic_slice_in_dim(new, rows[i], 1, axis)
    return _write_rows(layer, picked, slots[i][None], column_axis)

  return jax.lax.fori_loop(0, used, one_row, layer)


def _write_rows(layer, picked, slots, column_axis):
  """Puts the first columns of rows into slots; slots out of range are left."""
  # Columns past the prompt keep what an earlier response left there; they are
  # overwritten before they are seen.
  num_columns = picked.shape[column_axis]
  picked = encode(picked, layer[0], -3 - column_axis)

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


def _copy_rows_over_devices(layer, new, rows, slots, column_axis):
  """`copy_rows` where devices share slots and rows.

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
      return _write_rows(layer, picked, own_slots[i][None], column_axis)

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
