"""A scalar on top of the policy's trunk, read at the last token of a row."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from k15 import policy


def init(config: policy.PolicyConfig, trunk: Any) -> dict[str, Any]:
  """Puts a head that says 0 on the parameters of a policy, unboxed."""
  dtype = jnp.dtype(config.param_dtype)
  head = dict(
    kernel=jnp.zeros((config.d_model, 1), dtype), bias=jnp.zeros((1,), dtype)
  )
  return dict(trunk=trunk, head=head)


def logical_axes(config: policy.PolicyConfig) -> dict[str, Any]:
  """What each axis of each parameter means; see `policy.logical_axes`."""
  head = dict(kernel=('embed', 'value'), bias=('value',))
  return dict(trunk=policy.logical_axes(config), head=head)


def values(
  config: policy.PolicyConfig,
  params: dict[str, Any],
  tokens: jax.Array,
  lengths: jax.Array,
) -> jax.Array:
  """One value a row.

  Args:
    config: shape of the trunk.
    params: `trunk` and `head`, as `init` makes them.
    tokens: int32 [B, T], padded on the right.
    lengths: int32 [B], tokens in use, at least 1.

  Returns:
    float32 [B].
  """
  B, T = tokens.shape
  columns = jnp.broadcast_to(jnp.arange(T, dtype=jnp.int32), (B, T))
  segment_ids = (columns < lengths[:, None]).astype(jnp.int32)
  hidden, _ = policy.forward(
    config, params['trunk'], tokens, columns, segment_ids
  )
  last = jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)
  head = jax.tree.map(lambda x: x.astype(jnp.float32), params['head'])
  value = last[:, 0].astype(jnp.float32) @ head['kernel'] + head['bias']
  return value[:, 0]


def pad(
  sequences: list[np.ndarray], columns: int
) -> tuple[np.ndarray, np.ndarray]:
  """Rows of `columns` tokens, 0 where there is none, and their lengths.

  Raises:
    ValueError: a sequence is empty or longer than a row.
  """
  tokens = np.zeros((len(sequences), columns), np.int32)
  lengths = np.array([len(s) for s in sequences], np.int32)
  for row, sequence in zip(tokens, sequences, strict=True):
    if not 0 < len(sequence) <= columns:
      raise ValueError(f'{len(sequence)} tokens in a row of 1 to {columns}')
    row[: len(sequence)] = sequence
  return tokens, lengths
