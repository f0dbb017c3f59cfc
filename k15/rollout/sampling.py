"""Draws the next token, with one random number and its log-probability.

The random number of a token depends only on (seed, group, sample, position):
neither the slot, nor the batch, nor the number of tokens per call, nor an
interruption changes what is drawn.
"""

import jax
import jax.numpy as jnp

_BLOCK = 32
_BITS_ABOVE_1 = 0x3F800001  # of the least float32 above 1


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
  uniform = _uniform(keys, positions)
  logits = logits / temperature[:, None]
  log_z = jax.nn.logsumexp(logits, axis=-1)
  probs = jnp.exp(logits - log_z[:, None])
  tokens = _invert(probs, uniform)
  chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
  return tokens, chosen - log_z


def sample_part(
  logits: jax.Array,
  temperature: jax.Array,
  top_p: jax.Array,
  keys: jax.Array,
  positions: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """As `sample`, of the likeliest tokens only, or the likeliest one.

  The nucleus (arXiv 1904.09751) is the smallest set of likeliest tokens whose
  probabilities sum to top_p or more; of tokens equally likely at its edge, it
  has all.  No row is sorted: the least probability in it is found by bisection
  over the bits of a float, 30 sums over V.

  Args:
    logits: float32 [B, V].
    temperature: float32 [B]; 0 takes the first of the largest logits.
    top_p: float32 [B], in (0, 1]; 1 is all tokens.
    keys, positions: as in `sample`.

  Returns:
    As `sample`: the log-probabilities are of the whole tempered distribution,
    at temperature 0 of the untempered one.
  """
  is_greedy = temperature == 0
  logits = logits / jnp.where(is_greedy, 1.0, temperature)[:, None]
  log_z = jax.nn.logsumexp(logits, axis=-1)
  probs = jnp.exp(logits - log_z[:, None])
  least = jnp.where(top_p < 1, _least_of_nucleus(probs, top_p), 0.0)
  probs = jnp.where(probs >= least[:, None], probs, 0.0)
  tokens = _invert(probs, _uniform(keys, positions))
  tokens = jnp.where(is_greedy, jnp.argmax(logits, axis=-1), tokens)
  tokens = tokens.astype(jnp.int32)
  chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
  return tokens, chosen - log_z


def _least_of_nucleus(probs, top_p):
  """The largest p such that tokens of at least p sum to top_p, float32 [B].

  Floats that are not negative are in the order of their bits.
  """

  def of_bits(bits):
    return jax.lax.bitcast_convert_type(bits, jnp.float32)

  def halve(_, bounds):
    low, high = bounds  # Enough at low; too little at high.
    middle = low + (high - low) // 2
    at_least = probs >= of_bits(middle)[:, None]
    enough = jnp.sum(jnp.where(at_least, probs, 0.0), axis=-1) >= top_p
    return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

  low = jnp.zeros(top_p.shape, jnp.int32)  # p = 0: all tokens
  high = jnp.full(top_p.shape, _BITS_ABOVE_1, jnp.int32)
  return of_bits(jax.lax.fori_loop(0, 30, halve, (low, high))[0])


def _uniform(keys, positions):
  return jax.vmap(
    lambda key, position: jax.random.uniform(
      jax.random.fold_in(key, position), dtype=jnp.float32
    )
  )(keys, positions)


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
