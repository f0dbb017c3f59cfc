"""Keys and values of tokens already seen, for decoding.

Axes: B rows, N key-value heads, G query heads of each, h head width, C cache
columns, L layers.
"""

import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from k15 import low_precision
from k15 import sharding


@flax.struct.dataclass
class KVCache:
  """Keys and values of tokens already seen, column = position in the row.

  Per layer, keys [B, N, h, C] (rotated) and values [B, N, C, h]; for decoding
  they are cut along C into blocks of `cache_block` columns, a tuple of arrays,
  so that a step reads no further than its longest row.  Both are tuples over
  layers, or have a leading axis L when layers are scanned; axis -4 is always
  the row.  Keys lie with C last: their product with the query then reads them
  in order, four times faster on CPU than [B, N, C, h].  A block may be a
  `low_precision.Int8Block`, whose scales have the same axes with h = 1.
  """

  keys: Any
  values: Any


def empty(config: Any, rows: int, columns: int, dtype: str = '') -> KVCache:
  """A cache of zeros.

  Args:
    config: the `PolicyConfig`.
    rows: sequences.
    columns: tokens of the longest.
    dtype: that of the activations if empty, or 'int8'.
  """
  dtype = dtype or config.dtype
  N, h, L = config.num_kv_heads, config.head_dim, config.num_layers

  block = config.cache_block
  widths = [min(block, columns - c) for c in range(0, columns, block)]

  def zeros(shape_of, axis):
    lead = (L,) if config.scan_layers else ()
    blocks = tuple(
      jax.tree.map(
        constrain,
        low_precision.zeros((*lead, *shape_of(w)), dtype, axis),
      )
      for w in widths
    )
    if config.scan_layers:
      return blocks
    return tuple(jax.tree.map(jnp.copy, blocks) for _ in range(L))

  return KVCache(
    keys=zeros(lambda width: (rows, N, h, width), -2),
    values=zeros(lambda width: (rows, N, width, h), -1),
  )


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
  key = low_precision.encode(key, key_blocks[0], -1)
  value = low_precision.encode(value, value_blocks[0], -1)
  keys, values, start = [], [], 0
  for old_keys, old_values in zip(key_blocks, value_blocks, strict=True):
    width = old_keys.shape[-1]
    inside = (positions >= start) & (positions < start + width)
    column = jnp.where(inside, positions - start, width)
    every = slice(None)
    keys.append(_put(old_keys, (*lead, rows, every, every, column), key))
    values.append(_put(old_values, (*lead, rows, every, column), value))
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

  A block that no row has reached is skipped, and of one that few rows have
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
  query = query * query.shape[-1] ** -0.5
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
    keys, scales = low_precision.decode(of_layer(keys), query.dtype)
    scores = jnp.einsum(
      'bngh,bnhc->bngc', query, keys, preferred_element_type=jnp.float32
    )
    if scales is not None:
      scores *= scales
    columns = jnp.arange(starts[i], starts[i + 1])
    seen = columns <= positions[:, None]
    return jnp.where(seen[:, None, None], scores, -1e30)

  def mix(i, values, probs):
    values, scales = low_precision.decode(of_layer(values), query.dtype)
    weights = probs[..., starts[i] : starts[i + 1]]
    if scales is not None:
      weights = weights * scales.swapaxes(-1, -2)
    return jnp.einsum('bngc,bnch->bngh', weights.astype(query.dtype), values)

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
  return sum(
    of_rows(i, mix, (query.shape, 0, query.dtype), values, probs)
    for i, values in enumerate(value_blocks)
  )
