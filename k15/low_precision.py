"""Rollout in less precision than training: weights, keys and values.

A cache block is an array, or an `Int8Block`: every key and value, a vector of
h numbers of one token and one head, then is h whole numbers and a scale of its
own.  What differs from the training forward is measured and corrected by
`k15.rollout_correction`.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

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


def cast(params: Any, dtype: str) -> Any:
  """Parameters with all their floating numbers in `dtype`.

  Arrays that are so already are returned as they are, without a copy.
  """
  return cast_like(params, jax.tree.map(lambda _: jnp.dtype(dtype), params))


def cast_like(params: Any, dtypes: Any) -> Any:
  """The same with a dtype for each array."""

  def one(x, dtype):
    is_same = x.dtype == dtype or not jnp.issubdtype(x.dtype, jnp.floating)
    return x if is_same else x.astype(dtype)

  return jax.tree.map(one, params, dtypes)


def zeros(shape: tuple[int, ...], dtype: str, axis: int) -> Any:
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
