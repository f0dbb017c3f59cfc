"""What is read off the trunk: log-probabilities of tokens, or one value a row.

The first head is the policy's, a row of its matrix for every word; the other
makes a reward model of the trunk: a scalar at the last token of a row.

Axes: B rows, T tokens, D width, V vocabulary.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from k15.devices import sharding
from k15.model import policy


def logits_of(shape: policy.PolicyConfig, params: Any, hidden: jax.Array):
  """Float32 logits [..., V] of hidden states [..., D]."""
  return _logits(shape, _head(shape, params), hidden)


def _head(shape, params):
  return params['embedding' if shape.tie_embeddings else 'lm_head']


def _logits(shape, head, hidden):
  kernel = head.T if shape.tie_embeddings else head
  return jnp.dot(
    hidden, kernel.astype(hidden.dtype), preferred_element_type=jnp.float32
  )


def token_logprobs(
  shape: policy.PolicyConfig,
  params: Any,
  tokens: jax.Array,
  positions: jax.Array,
  segment_ids: jax.Array,
  temperature: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
  """Log-probability of every token given those before it, and the entropy.

  Logits exist for `shape.logprob_chunk` tokens at a time, forward and
  backward, so memory does not grow with T * V.

  Args:
    shape: of the policy.
    params: parameters, unboxed.
    tokens: int32 [B, T].
    positions: int32 [B, T].
    segment_ids: int32 [B, T].
    temperature: of the distribution, above 0.

  Returns:
    float32 [B, T] log-probabilities in nats and float32 [B, T] entropies of
    the distributions the tokens were predicted from.  The first column, and
    the first token of a packed sequence, have no prediction: mask them.
  """
  hidden, _ = policy.forward(shape, params, tokens, positions, segment_ids)
  B, T = tokens.shape
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    values = _chunked_logprobs(
      shape, temperature, _head(shape, params), hidden[:, :-1], tokens[:, 1:]
    )
    return jax.tree.map(lambda x: jnp.pad(x, ((0, 0), (1, 0))), values)
  # The last column's prediction falls away; with it, columns divide as before.
  values = _split_logprobs(
    shape,
    temperature,
    mesh,
    _head(shape, params),
    hidden,
    jnp.roll(tokens, -1, axis=1),
  )
  return jax.tree.map(lambda x: jnp.pad(x[:, :-1], ((0, 0), (1, 0))), values)


def _split_logprobs(shape, temperature, mesh, head, hidden, targets):
  """Every device takes its own tokens, and its own part of the vocabulary.

  Chunks of all devices' tokens would be computed by all, one after the other.
  The head is gathered once, and its gradient reduced once.
  """
  rows, columns = (
    sharding.axes_of(name, size)
    for name, size in zip(('batch', 'sequence'), targets.shape, strict=True)
  )
  local = jax.sharding.PartitionSpec(rows, columns)
  axes = (*(rows or ()), *(columns or ()))

  def of_device(head, hidden, targets):
    # Its own to begin with, or every chunk's gradient would be reduced.
    head = jax.lax.pcast(head, axes, to='varying')
    return _chunked_logprobs(shape, temperature, head, hidden, targets)

  return jax.shard_map(
    of_device,
    mesh=mesh,
    in_specs=(jax.sharding.PartitionSpec(), local, local),
    out_specs=local,
    axis_names={*axes},
  )(head, hidden, targets)


def _chunked_logprobs(shape, temperature, head, hidden, targets):
  """Log-probabilities of [B, T] targets, and entropies, by chunks of tokens."""
  size = targets.shape
  hidden = hidden.reshape(-1, hidden.shape[-1])
  targets = targets.reshape(-1)
  chunk = min(shape.logprob_chunk, len(targets))
  padding = -len(targets) % chunk
  hidden = jnp.pad(hidden, ((0, padding), (0, 0))).reshape(
    -1, chunk, hidden.shape[-1]
  )
  targets = jnp.pad(targets, (0, padding)).reshape(-1, chunk)

  def one_chunk(hidden_targets):
    hidden, targets = hidden_targets
    logits = _logits(shape, head, hidden) / temperature
    log_z = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    probs = jax.lax.stop_gradient(jnp.exp(logits - log_z[:, None]))
    entropy = log_z - jnp.sum(probs * logits, axis=-1)
    return chosen - log_z, jax.lax.stop_gradient(entropy)

  if len(hidden) == 1:
    values = one_chunk((hidden[0], targets[0]))
  else:
    # Recomputed in the backward pass, or all chunks' logits would be kept.
    values = jax.lax.map(jax.checkpoint(one_chunk), (hidden, targets))
  count = math.prod(size)
  return jax.tree.map(lambda x: x.reshape(-1)[:count].reshape(size), values)


def init_value(shape: policy.PolicyConfig, trunk: Any) -> dict[str, Any]:
  """Puts a head that says 0 on the parameters of a policy, unboxed."""
  dtype = jnp.dtype(shape.param_dtype)
  head = dict(
    kernel=jnp.zeros((shape.d_model, 1), dtype), bias=jnp.zeros((1,), dtype)
  )
  return dict(trunk=trunk, head=head)


def value_axes(trunk: Any) -> dict[str, Any]:
  """What each axis of each parameter means, from what it is of the trunk."""
  head = dict(kernel=('embed', 'value'), bias=('value',))
  return dict(trunk=trunk, head=head)


def values(
  shape: policy.PolicyConfig,
  params: dict[str, Any],
  tokens: jax.Array,
  lengths: jax.Array,
) -> jax.Array:
  """One value a row.

  Args:
    shape: of the trunk.
    params: `trunk` and `head`, as `init_value` makes them.
    tokens: int32 [B, T], padded on the right.
    lengths: int32 [B], tokens in use, at least 1.

  Returns:
    float32 [B].
  """
  B, T = tokens.shape
  columns = jnp.broadcast_to(jnp.arange(T, dtype=jnp.int32), (B, T))
  segment_ids = (columns < lengths[:, None]).astype(jnp.int32)
  hidden, _ = policy.forward(
    shape, params['trunk'], tokens, columns, segment_ids
  )
  last = jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)
  head = jax.tree.map(lambda x: x.astype(jnp.float32), params['head'])
  value = last[:, 0].astype(jnp.float32) @ head['kernel'] + head['bias']
  return value[:, 0]


def pad_rows(
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
