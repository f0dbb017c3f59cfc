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


def uniforms(keys: jax.Array, positions: jax.Array, count: int) -> jax.Array:
  """The random numbers of a response's next tokens, each from [0, 1).

  For all steps of a call at once: a CPU makes random bits in a loop of small
  programs, which takes as long for one token as for a hundred.

  Args:
    keys: [B], from `response_keys`.
    positions: int32 [B], of the first token to be drawn.
    count: how many tokens follow each other.

  Returns:
    float32 [count, B].
  """

  def of_token(key, position):
    key = jax.random.fold_in(key, position)
    return jax.random.uniform(key, dtype=jnp.float32)

  steps = jnp.arange(count, dtype=positions.dtype)
  of_row = jax.vmap(of_token, in_axes=(None, 0))
  return jax.vmap(of_row, out_axes=1)(keys, positions[:, None] + steps)


def sample(
  logits: jax.Array, temperature: jax.Array, uniform: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Draws a token per row from softmax(logits / temperature).

  By inversion: the first token whose cumulative probability exceeds a uniform
  number.  Sums over blocks are taken first, and of blocks of blocks; the number
  is then followed down through them, so that the work is linear in V.

  Args:
    logits: float32 [B, V].
    temperature: float32 [B], above 0.
    uniform: float32 [B], from [0, 1).

  Returns:
    int32 [B] tokens and float32 [B] log-probabilities in nats, of the whole
    tempered distribution.
  """
  logits = logits.T  # [V, B], as `inference` makes them
  top = jnp.max(logits, axis=0) / temperature
  tokens, total = _draw(logits, temperature, top, uniform)
  return tokens, _chosen(logits, tokens) / temperature - top - jnp.log(total)


def sample_part(
  logits: jax.Array,
  temperature: jax.Array,
  top_p: jax.Array,
  uniform: jax.Array,
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
    uniform: as in `sample`.

  Returns:
    As `sample`: the log-probabilities are of the whole tempered distribution,
    at temperature 0 of the untempered one.
  """
  is_greedy = temperature == 0
  temperature = jnp.where(is_greedy, 1.0, temperature)
  logits = logits.T
  log_z = jax.nn.logsumexp(logits / temperature, axis=0)
  top = jnp.max(logits, axis=0) / temperature
  probs = jnp.exp(logits / temperature - log_z)
  least = jnp.where(top_p < 1, _least_of_nucleus(probs, top_p), 0.0)
  part = jnp.where(probs >= least, logits, -jnp.inf)
  tokens, _ = _draw(part, temperature, top, uniform)
  tokens = jnp.where(is_greedy, jnp.argmax(logits, axis=0), tokens)
  tokens = tokens.astype(jnp.int32)
  return tokens, _chosen(logits, tokens) / temperature - log_z


def _least_of_nucleus(probs, top_p):
  """The largest p such that tokens of at least p sum to top_p, float32 [B].

  `probs` are [V, B].  Floats that are not negative are in the order of
  their bits.
  """

  def of_bits(bits):
    return jax.lax.bitcast_convert_type(bits, jnp.float32)

  def halve(_, bounds):
    low, high = bounds  # Enough at low; too little at high.
    middle = low + (high - low) // 2
    at_least = probs >= of_bits(middle)
    enough = jnp.sum(jnp.where(at_least, probs, 0.0), axis=0) >= top_p
    return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

  low = jnp.zeros(top_p.shape, jnp.int32)  # p = 0: all tokens
  high = jnp.full(top_p.shape, _BITS_ABOVE_1, jnp.int32)
  return of_bits(jax.lax.fori_loop(0, 30, halve, (low, high))[0])


def _chosen(logits, tokens):
  return jnp.take_along_axis(logits, tokens[None], axis=0)[0]


def _draw(logits, temperature, top, uniform):
  """Tokens [B] from exp(logits / temperature - top), and the weights' sums.

  Weights are summed by blocks as they are made, and made again for the block
  that is drawn from: all of them are never written down.
  """

  def weigh(logits):
    return jnp.exp(logits / temperature - top)

  return _invert(logits, uniform, weigh, -jnp.inf)


def _invert(x, uniform, weigh=lambda x: x, nothing=0.0):
  """First index whose cumulative weight exceeds uniform * total, int32 [B].

  Args:
    x: [V, B].
    uniform: float32 [B].
    weigh: from x, or some lines of it, to weights from 0.
    nothing: what has no weight.

  Returns:
    The indices, and the totals float32 [B].
  """
  blocks = [_in_blocks(x, nothing)]
  sums = jnp.sum(weigh(blocks[0]), axis=1)
  while len(sums) > _BLOCK:
    blocks.append(_in_blocks(sums, 0.0))
    sums = jnp.sum(blocks[-1], axis=1)
  ends = _cumulative(sums)
  index, left = _first_beyond(sums, ends, uniform * ends[-1])
  total = ends[-1]
  for level in reversed(range(len(blocks))):
    inside = jnp.take_along_axis(blocks[level], index[None, None], axis=0)[0]
    inside = inside if level else weigh(inside)
    offset, left = _first_beyond(inside, _cumulative(inside), left)
    index = index * _BLOCK + offset
  return index.astype(jnp.int32), total


def _in_blocks(x, nothing):
  """[n, B] -> [n / _BLOCK, _BLOCK, B]."""
  padding = ((0, -len(x) % _BLOCK), (0, 0))
  x = jnp.pad(x, padding, constant_values=nothing)
  return x.reshape(-1, _BLOCK, x.shape[1])


def _cumulative(x):
  """Cumulative sums of the few lines of [n, B], by a triangular product."""
  ones = jnp.tril(jnp.ones((len(x), len(x)), x.dtype))
  return jnp.dot(ones, x, precision=jax.lax.Precision.HIGHEST)


def _first_beyond(weights, ends, target):
  """The first of the ends [n, B] beyond a target, and what is left of that.

  Rounding may put the target past the last end, or, where a product sums each
  line in an order of its own, one end above the next: nothing without weight is
  taken, and where no end is beyond, the last that has some.
  """
  lines = jnp.arange(len(ends), dtype=jnp.int32)[:, None]
  has_weight = weights > 0
  first = jnp.min(
    jnp.where(has_weight & (ends > target), lines, len(ends)), axis=0
  )
  last = jnp.max(jnp.where(has_weight, lines, 0), axis=0)
  index = jnp.minimum(first, last)
  before = jnp.take_along_axis(ends, jnp.maximum(index - 1, 0)[None], axis=0)[0]
  return index, target - jnp.where(index > 0, before, 0.0)
