"""One new token a row against a cache, on TPU: a row reads what it has.

A row's columns are read in pieces, and a step of the kernel is one piece of one
row: a grid as long as there are pieces in use.  Which row and piece a step has
is known before it begins (scalar prefetch), so that the next piece, be it of
another row, is on its way while one is computed.  One program serves all
lengths, and a long response costs its neighbours nothing.

Keys lie as values do, with the head's width last: a new column is then written
where it belongs.  With columns last the compiler turned all keys around, there
and back, in every layer of every step.

The kernel is tried on a CPU by interpretation, and compiled for TPUs by
`launch.plan`; no TPU has run it yet.

Axes as in `k15.model.kv_cache`; W columns of a piece, I steps.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas
from jax.experimental.pallas import tpu as pallas_tpu

from k15.devices import sharding

# Columns of a piece at most.  In bfloat16 and with heads of 128 these are 1 MiB
# of keys and values, 0.4 us of a v5p's memory; a step of a grid takes about as
# long to begin, beside that.  Half a piece a row is read in vain, in the mean.
MOST_COLUMNS = 2048
_LANES = 128
_NOTHING = -1e30


def width_of(columns: int) -> int:
  """W for a cache of so many columns: an eighth, in whole lanes."""
  lanes = -(-columns // (8 * _LANES))
  return min(MOST_COLUMNS, lanes * _LANES)


def whole_columns(columns: int) -> int:
  """C of a cache with room for so many columns: whole pieces."""
  return columns + -columns % width_of(columns)


def attend(
  query: jax.Array,
  keys: Any,
  values: Any,
  positions: jax.Array,
  layer: jax.Array | None = None,
) -> jax.Array:
  """Attention of one token a row to the columns up to its position.

  Under a mesh, slots and heads stay on their devices.

  Args:
    query: [B, N, G, h], scaled.
    keys: [B, N, C, h], or [L, B, N, C, h] with a layer, C a multiple of W; or
      numbers and scales, see `kv_cache.Int8Block`.
    values: likewise.
    positions: int32 [B].
    layer: int32 [], which of L, or None.

  Returns:
    float32 [B, N, G, h].
  """
  if layer is None:
    keys, values = jax.tree.map(lambda x: x[None], (keys, values))
    layer = jnp.int32(0)
  numbers, *scales = zip(*map(jax.tree.leaves, (keys, values)), strict=True)
  # In rows of lanes: as [C, 1], each scale would fill one of its own.  Of one
  # layer, for the compiler moves them to be so.
  scales = [
    jax.lax.dynamic_index_in_dim(x, layer, keepdims=False).swapaxes(-1, -2)
    for pair in scales for x in pair
  ]  # fmt: skip
  operands = (query, positions, layer[None], *numbers, *scales)
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    return _attend(*operands)
  spec = jax.sharding.PartitionSpec
  slots = sharding.axes_of('slots', query.shape[0])
  heads = sharding.axes_of('kv_heads', query.shape[1])
  return jax.shard_map(
    _attend,
    mesh=mesh,
    in_specs=(
      spec(slots, heads), spec(slots), spec(), *[spec(None, slots, heads)] * 2,
      *[spec(slots, heads)] * len(scales),
    ),
    out_specs=spec(slots, heads),
    check_vma=False,
  )(*operands)


def steps(
  positions: jax.Array, width: int, columns: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The pieces in use, row after row.

  Args:
    positions: int32 [B], the last column that a row sees.
    width: W.
    columns: C, a multiple of W.

  Returns:
    Row and piece of each step, int32 [B * C / W], the first I of which are
    meant, and I, int32 [].
  """
  B, most = len(positions), len(positions) * (columns // width)
  counts = positions // width + 1
  starts = jnp.cumsum(counts) - counts
  rows = jnp.repeat(jnp.arange(B), counts, total_repeat_length=most)
  pieces = jnp.arange(most) - starts[rows]
  return rows.astype(jnp.int32), pieces.astype(jnp.int32), jnp.sum(counts)


def _attend(query, positions, layer, keys, values, *scales):
  """What one device does; scales are of keys, then of values, or none."""
  B, N, G, h = query.shape
  C = keys.shape[-2]
  W = width_of(C)
  rows, pieces, count = steps(positions, W, C)

  def of_row(n, i, rows, pieces, positions, layer):
    return rows[i], n, 0, 0

  def piece(n, i, rows, pieces, positions, layer):
    return layer[0], rows[i], n, pieces[i], 0

  def piece_of_scales(n, i, rows, pieces, positions, layer):
    return rows[i], n, 0, pieces[i]

  block, vmem = pallas.BlockSpec, pallas_tpu.VMEM
  return pallas.pallas_call(
    functools.partial(_step, W),
    out_shape=jax.ShapeDtypeStruct(query.shape, jnp.float32),
    grid_spec=pallas_tpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=4,
      grid=(N, count),
      in_specs=[
        block((1, 1, G, h), of_row),
        *[block((1, 1, 1, W, h), piece)] * 2,
        *[block((1, 1, 1, W), piece_of_scales)] * len(scales),
      ],
      out_specs=block((1, 1, G, h), of_row),
      scratch_shapes=[
        vmem((G, _LANES), jnp.float32),
        vmem((G, _LANES), jnp.float32),
        vmem((G, h), jnp.float32),
      ],
    ),
    # Heads may be on both cores of a v4 or v5p; a single one is on one of them.
    compiler_params=pallas_tpu.CompilerParams(
      dimension_semantics=('parallel', 'arbitrary')
    ),
  )(rows, pieces, positions, layer, query, keys, values, *scales)


def _step(W, rows, pieces, positions, layer, query, keys, values, *others):
  """One piece of one row and one head, added to what the row has so far.

  The largest score, the sum of weights and the weighted values are kept, as of
  flash attention; what a row has is written with its last piece.
  """
  *scales, out, top, total, mixed = others
  i = pallas.program_id(1)
  piece, last = pieces[i], positions[rows[i]]

  @pallas.when(piece == 0)
  def begin():
    top[...] = jnp.full_like(top, _NOTHING)
    total[...] = jnp.zeros_like(total)
    mixed[...] = jnp.zeros_like(mixed)

  own = query[0, 0]
  scores = jax.lax.dot_general(
    own, keys[0, 0, 0].astype(own.dtype), (((1,), (1,)), ((), ())),
    preferred_element_type=jnp.float32,
  )  # fmt: skip
  if scales:
    scores *= scales[0][0, 0]
  columns = piece * W + jax.lax.broadcasted_iota(jnp.int32, scores.shape, 1)
  scores = jnp.where(columns <= last, scores, _NOTHING)
  old_top = top[:, :1]
  new_top = jnp.maximum(old_top, jnp.max(scores, axis=1, keepdims=True))
  weights, kept = jnp.exp(scores - new_top), jnp.exp(old_top - new_top)
  new_total = kept * total[:, :1] + jnp.sum(weights, axis=1, keepdims=True)
  if scales:
    weights *= scales[1][0, 0]
  added = jnp.dot(
    weights.astype(own.dtype), values[0, 0, 0].astype(own.dtype),
    preferred_element_type=jnp.float32,
  )  # fmt: skip
  mixed[...] = kept * mixed[...] + added
  top[...] = jnp.broadcast_to(new_top, top.shape)
  total[...] = jnp.broadcast_to(new_total, total.shape)

  @pallas.when(piece == last // W)
  def end():
    out[0, 0] = mixed[...] / total[:, :1]
