"""Weights in another precision: those of the rollout may have fewer bits.

What differs from the training forward then is measured and corrected by
`k15.equations.rollout_correction`.
"""

from typing import Any

import jax
import jax.numpy as jnp


def rounded(x: jax.Array, dtype: Any) -> jax.Array:
  """x in `dtype`, rounded to it even where a compiler may leave that out.

  XLA drops a pair of conversions, to fewer bits and back, where it fuses what
  is around it (`xla_allow_excess_precision`), which it does in one program and
  not in another.  An array of other bits than float32 is converted plainly.
  """
  dtype = jnp.dtype(dtype)
  if x.dtype == jnp.float32 and dtype == jnp.bfloat16:
    x = jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
  return x.astype(dtype)


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
