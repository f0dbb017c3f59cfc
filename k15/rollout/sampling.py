"""Draws the next token, with one random number and its log-probability.

The random number of a token depends only on (seed, group, sample, position):
neither the slot, nor the batch, nor the number of tokens per call, nor an
interruption changes what is drawn.
"""

import jax
import jax.numpy as jnp

_BLOCK = 32


def response_keys(
  keys: jax.Array, group_ids: jax.Array, sample_indices: jax.Array
) -> jax.Array:
  """One key per response.

  Args:
    keys: [B], of each response's run.
    group_ids: int32 [B].
    sample_indices: int32 [B].

  Returns:
    Keys [B].
  """
  fold = jax.vmap(jax.random.fold_in)
  return fold(fold(keys, group_ids), sample_indices)


def sample(
  logits: jax.Array,
  temperature: jax.Array,
  keys: jax.Array,
  positions: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Draws a token per row from softmax(logits / temperature).

  By inversion: the first token whose cumulative probability exceeds a uniform
  number.  Cumulative sums are taken over blocks first, by small matrix
  products, which accelerators and CPUs do faster than a scan over V.

  Args:
    logits: float32 [B, V].
    temperature: float32 [B], above 0.
    keys: [B], from `response_keys`.
    positions: int32 [B], of the token to be drawn.

  Returns:
    int32 [B] tokens and float32 [B] log-probabilities in nats, of the whole
    tempered distribution.
  """
  uniform = jax.vmap(
    lambda key, position: jax.random.uniform(
      jax.random.fold_in(key, position), dtype=jnp.float32
    )
  )(keys, positions)
  logits = logits / temperature[:, None]
  log_z = jax.nn.logsumexp(logits, axis=-1)
  probs = jnp.exp(logits - log_z[:, None])
  tokens = _invert(probs, uniform)
  chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
  return tokens, chosen - log_z


def _invert(probs, uniform):
  """First index whose cumulative sum exceeds uniform * total, int32 [B]."""
  B, V = probs.shape
  blocks = jnp.pad(probs, ((0, 0), (0, -V % _BLOCK))).reshape(B, -1, _BLOCK)
  ends = _cumulative(jnp.sum(blocks, axis=-1))  # [B, number of blocks]
  target = uniform * ends[:, -1]
  block = jnp.sum(ends <= target[:, None], axis=-1)
  block = jnp.minimum(block, _last_nonzero(ends))
  start = jnp.where(
    block > 0,
    jnp.take_along_axis(ends, jnp.maximum(block - 1, 0)[:, None], 1)[:, 0],
    0.0,
  )
  inside = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
  sums = _cumulative(inside)
  offset = jnp.sum(sums <= (target - start)[:, None], axis=-1)
  # Rounding may put the target past the end of the block.
  offset = jnp.minimum(offset, _last_nonzero(sums))
  return (block * _BLOCK + offset).astype(jnp.int32)


def _cumulative(x):
  """Cumulative sums along the last axis of [B, n], by a triangular product."""
  ones = jnp.triu(jnp.ones((x.shape[-1], x.shape[-1]), x.dtype))
  return jnp.dot(x, ones, precision=jax.lax.Precision.HIGHEST)


def _last_nonzero(cumulative):
  """Index of the last entry that adds to the sum."""
  return jnp.sum(cumulative < cumulative[:, -1:], axis=-1)
