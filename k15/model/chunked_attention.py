"""Attention within segments whose memory is linear in length.

Keys pass by in chunks; each query keeps its maximum score, its sum of
exponentials and its mixed value (online softmax).  The backward pass computes
the scores again from the log of that sum.  Chunks that causality or segments
leave empty are never read.  Axes: B rows, N key-value heads, G query heads of
each, T tokens, h head width; C tokens of a chunk, Q = G * C queries of one.
Scores are held as [keys, queries], so that every product here is one of plain
matrices and every reduction runs along whole lines of memory.
"""

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

CHUNK = 256
# What a rematerialized layer should keep: it is linear in length, and the
# forward pass of attention is the longest part of a long row.
SAVED = 'attention'

_NEVER = -1e30  # the score of a pair that does not count
_PADDING = 1 << 30  # after all segments, so that ids of a row never fall


def attend(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  segment_ids: jax.Array,
  key_segment_ids: jax.Array | None = None,
  first_column: jax.Array | int = 0,
  chunk: int = CHUNK,
  prompt_ids: jax.Array | None = None,
  causal: bool = True,
) -> jax.Array:
  """Mixes the values of earlier tokens of the own segment, and of its prompt.

  Args:
    query: [B, N, G, T, h], not yet scaled.
    key: [B, N, h, S].
    value: [B, N, S, h].
    segment_ids: int32 [B, T], 0 is padding.
    key_segment_ids: int32 [B, S]; None: those of the queries, S = T.
    first_column: int32 scalar, the column among the keys of the first query.
    chunk: C, tokens of a chunk, >= 1.
    prompt_ids: int32 [B, T], a second segment that a query sees; None: none.
    causal: False: later tokens are mixed too.

  Returns:
    [B, N, G, T, h].
  """
  if key_segment_ids is None:
    key_segment_ids = segment_ids
  T, S = query.shape[3], key.shape[3]
  chunk = min(chunk, max(T, S))
  scale = query.shape[-1] ** -0.5
  out = _attend(
    _padded(query * scale, 3, chunk),
    _padded(key, 3, chunk),
    _padded(value, 2, chunk),
    _padded(segment_ids, 1, chunk),
    _padded(key_segment_ids, 1, chunk),
    None if prompt_ids is None else _padded(prompt_ids, 1, chunk),
    jnp.asarray(first_column, jnp.int32),
    chunk,
    causal,
  )
  return out[:, :, :, :T]


@functools.partial(jax.custom_vjp, nondiff_argnums=(7, 8))
def _attend(query, key, value, ids, key_ids, prompt_ids, first, chunk, causal):
  """`attend` of scaled queries and whole chunks."""
  return _forward(
    query, key, value, ids, key_ids, prompt_ids, first, chunk, causal
  )[0]


def _forward(query, key, value, ids, key_ids, prompt_ids, first, chunk, causal):
  B, N, G, _, h = query.shape
  queries, keys = _query_chunks(query, chunk), _key_chunks(key, chunk)
  values = _value_chunks(value, chunk).swapaxes(-1, -2)  # [n, B, N, h, C]
  ones = jnp.ones((*values.shape[:-2], 1, chunk), values.dtype)
  # A line of ones makes the product with the values sum the weights too.
  values = jnp.concatenate([values, ones], axis=-2)
  pairs = _Pairs(ids, key_ids, prompt_ids, first, chunk, G, causal)

  def of_queries(i):
    def add_keys(j, carry, drop):
      top, mixed = carry
      scores = drop(_dot(keys[j], queries[i]))
      new_top = jnp.maximum(top, jnp.max(scores, axis=-2, keepdims=True))
      weights = jnp.exp(scores - new_top).astype(value.dtype)
      return new_top, mixed * jnp.exp(top - new_top) + _dot(values[j], weights)

    top = jnp.full((B, N, 1, G * chunk), _NEVER, jnp.float32)
    mixed = jnp.zeros((B, N, h + 1, G * chunk), jnp.float32)
    top, mixed = pairs.loop(i, add_keys, (top, mixed))
    out, total = mixed[:, :, :h], mixed[:, :, h:]
    return (out / total).astype(query.dtype), top + jnp.log(total)

  outs, log_totals = jax.lax.map(of_queries, jnp.arange(len(queries)))
  out = checkpoint_name(_join(outs, G), SAVED)
  log_totals = checkpoint_name(log_totals, SAVED)
  return out, (
    query, key, value, ids, key_ids, prompt_ids, first, out, log_totals,
  )  # fmt: skip


def _backward(chunk, causal, residuals, d_out):
  query, key, value, *ids, first, out, log_totals = residuals
  G, h = query.shape[2], query.shape[4]
  queries, keys = _query_chunks(query, chunk), _key_chunks(key, chunk)
  values = _value_chunks(value, chunk)
  d_outs, outs = _query_chunks(d_out, chunk), _query_chunks(out, chunk)
  # sum_s p_s dp_s = d_out . out, whatever the number of keys.
  dots = jnp.sum(
    d_outs.astype(jnp.float32) * outs, axis=-2, keepdims=True
  )  # [n, B, N, 1, Q]
  pairs = _Pairs(*ids, first, chunk, G, causal)

  def of_queries(totals, i):
    query_rows, d_rows = queries[i].swapaxes(-1, -2), d_outs[i].swapaxes(-1, -2)

    def add_keys(j, carry, drop):
      d_query, d_keys, d_values = carry
      probs = jnp.exp(drop(_dot(keys[j], queries[i])) - log_totals[i])
      d_scores = probs * (_dot(values[j], d_outs[i]) - dots[i])
      d_scores = d_scores.astype(key.dtype)
      d_query += _dot(keys[j].swapaxes(-1, -2), d_scores)
      d_keys = d_keys.at[j].add(_dot(d_scores, query_rows))
      d_values = d_values.at[j].add(_dot(probs.astype(value.dtype), d_rows))
      return d_query, d_keys, d_values

    d_query = jnp.zeros(queries.shape[1:], jnp.float32)
    d_query, *totals = pairs.loop(i, add_keys, (d_query, *totals))
    return tuple(totals), d_query.astype(query.dtype)

  zeros = jnp.zeros(keys.shape, jnp.float32)
  (d_keys, d_values), d_queries = jax.lax.scan(
    of_queries, (zeros, zeros), jnp.arange(len(queries))
  )
  d_key = d_keys.transpose(1, 2, 4, 0, 3).reshape(key.shape)
  d_value = d_values.transpose(1, 2, 0, 3, 4).reshape(value.shape)
  return (
    _join(d_queries, G).reshape(*query.shape[:4], h),
    d_key.astype(key.dtype),
    d_value.astype(value.dtype),
    None, None, None, None,
  )  # fmt: skip


_attend.defvjp(_forward, _backward)


class _Pairs:
  """Which pairs of a query and a key count, by chunks."""

  def __init__(self, ids, key_ids, prompt_ids, first, chunk, group, causal):
    self._first, self._chunk, self._group = first, chunk, group
    self._causal = causal
    self._key_ids = _id_chunks(key_ids, chunk)  # [n, B, C]
    # What a query sees: its own segment, and that of its prompt.
    seen = (ids,) if prompt_ids is None else (ids, prompt_ids)
    self._seen_ids = [_id_chunks(x, chunk) for x in seen]

  def loop(self, i, add_keys, carry):
    """Runs carry = add_keys(j, carry, drop) over the keys of query chunk i.

    `drop` lowers the scores, [B, N, C, Q], of pairs that do not count.  Where
    all do it does nothing, which saves a third of the time of a long row.
    """
    parts, wholes = self._chunks(i)

    def some(n, carry):
      j = parts[n]
      counts = self._counts(i, j)
      return add_keys(j, carry, lambda x: jnp.where(counts, x, _NEVER))

    def every(n, carry):
      return add_keys(wholes[n], carry, lambda x: x)

    num_parts, num_wholes = jnp.sum(parts >= 0), jnp.sum(wholes >= 0)
    carry = jax.lax.fori_loop(0, num_parts, some, carry)
    return jax.lax.fori_loop(0, num_wholes, every, carry)

  def _chunks(self, i):
    """Chunks of keys seen in part, and those seen whole; -1 fills both up."""
    end = len(self._key_ids)
    if self._causal:
      start = self._first + i * self._chunk
      end = (start + self._chunk - 1) // self._chunk + 1
      end = jnp.minimum(end, len(self._key_ids))
    chunks = jnp.arange(len(self._key_ids))
    low, high = self._key_ids.min(-1), self._key_ids.max(-1)
    is_met, is_one = False, False
    for ids in self._seen_ids:
      own_low, own_high = ids[i].min(-1), ids[i].max(-1)
      # Chunks whose ranges of ids are apart share no segment, in whatever order
      # the segments come.
      is_met |= jnp.any((low <= own_high) & (own_low <= high), axis=-1)
      is_one |= (low == high) & (own_low == own_high) & (low == own_low)
    is_whole = jnp.all(is_one, axis=-1)
    if self._causal:
      is_whole &= (chunks + 1) * self._chunk <= start
    # One at least, or queries of padding would have nothing to mix.
    is_met = (is_met | (chunks == end - 1)) & (chunks < end)
    return tuple(
      jnp.nonzero(which, size=len(chunks), fill_value=-1)[0]
      for which in (is_met & ~is_whole, is_met & is_whole)
    )

  def _counts(self, i, j):
    """bool [B, 1, C, Q]: whether a pair counts; keys first."""
    columns = jnp.arange(self._chunk)
    query_columns = self._first + i * self._chunk + columns
    earlier = (j * self._chunk + columns)[:, None] <= query_columns
    seen = False
    for ids in self._seen_ids:
      seen |= self._key_ids[j][:, :, None] == ids[i][:, None, :]
    seen = seen & earlier if self._causal else seen
    return jnp.tile(seen, (1, 1, self._group))[:, None]


def _dot(a, b):
  """Matrix products of [..., m, k] and [..., k, n], in float32."""
  return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _padded(x, axis, chunk):
  widths = [(0, 0)] * x.ndim
  widths[axis] = (0, -x.shape[axis] % chunk)
  return jnp.pad(x, widths)


def _query_chunks(x, chunk):
  """[B, N, G, T, h] -> [n, B, N, h, Q]."""
  B, N, G, T, h = x.shape
  x = x.reshape(B, N, G, T // chunk, chunk, h).transpose(3, 0, 1, 5, 2, 4)
  return x.reshape(T // chunk, B, N, h, G * chunk)


def _join(x, group):
  """[n, B, N, h, Q] -> [B, N, G, T, h], the way back."""
  n, B, N, h, width = x.shape
  x = x.reshape(n, B, N, h, group, width // group).transpose(1, 2, 4, 0, 5, 3)
  return x.reshape(B, N, group, n * width // group, h)


def _key_chunks(x, chunk):
  """[B, N, h, T] -> [n, B, N, C, h]."""
  B, N, h, T = x.shape
  return x.reshape(B, N, h, T // chunk, chunk).transpose(3, 0, 1, 4, 2)


def _value_chunks(x, chunk):
  """[B, N, T, h] -> [n, B, N, C, h]."""
  B, N, T, h = x.shape
  return x.reshape(B, N, T // chunk, chunk, h).transpose(2, 0, 1, 3, 4)


def _id_chunks(ids, chunk):
  """int32 [B, T] -> [n, B, C]; padding comes last."""
  ids = jnp.where(ids == 0, _PADDING, ids)
  return ids.reshape(len(ids), -1, chunk).swapaxes(0, 1)
