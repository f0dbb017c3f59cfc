"""Attention by chunks against all pairs at once, and what it never reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from k15.model import attention
from k15.model import chunked_attention

B, N, G, h = 2, 2, 3, 4
LENGTH = 23


def operands(length=LENGTH, seed=0, dtype=jnp.float32):
  """Query, key and value, larger than a normal one: softmax is not flat."""
  rng = np.random.default_rng(seed)
  shapes = (B, N, G, length, h), (B, N, h, length), (B, N, length, h)
  return [jnp.asarray(2 * rng.normal(size=shape), dtype) for shape in shapes]


def packed_ids(length=LENGTH):
  """Two rows: three sequences and padding; one sequence and padding."""
  ids = np.zeros((B, length), np.int32)
  ids[0, :20] = np.repeat([1, 2, 3], [9, 3, 8])
  ids[1, :22] = 1
  return ids


def numpy_attention(query, key, value, ids):
  """softmax(q k / sqrt(h)) v over allowed pairs, one query at a time."""
  q, k, v = (np.asarray(x, np.float64) for x in (query, key, value))
  out = np.zeros(q.shape)
  for b, n, g, t in np.ndindex(q.shape[:-1]):
    seen = (ids[b, : t + 1] == ids[b, t]).nonzero()[0]
    scores = q[b, n, g, t] @ k[b, n][:, seen] / np.sqrt(h)
    weights = np.exp(scores - scores.max())
    out[b, n, g, t] = weights / weights.sum() @ v[b, n, seen]
  return out


@pytest.mark.parametrize('chunk', [1, 4, 8, 23, 64])  # 4 and 8 leave a rest
def test_values_equal_the_formula(chunk):
  ids = packed_ids()
  out = chunked_attention.attend(*operands(), ids, chunk=chunk)
  expected = numpy_attention(*operands(), ids)
  np.testing.assert_allclose(out, expected, atol=2e-5)


@pytest.mark.parametrize('chunk', [4, 8, 64])
def test_gradients_equal_those_of_the_formula(chunk):
  ids = packed_ids()
  weights = np.random.default_rng(1).normal(size=(B, N, G, LENGTH, h))

  def gradients(attend):
    def loss(operands):
      return jnp.sum(weights * attend(*operands, ids))

    return jax.jit(jax.grad(loss))(operands())

  def chunked(*operands):
    return chunked_attention.attend(*operands, chunk=chunk)

  for ours, plain in zip(
    gradients(chunked), gradients(attention.plain), strict=True
  ):
    assert np.abs(plain).max() > 0.5
    np.testing.assert_allclose(ours, plain, atol=3e-5)


def test_directional_derivative_by_differences():
  ids = packed_ids()
  moves = operands(seed=2)

  @jax.jit
  def value(step):
    moved = [x + step * dx for x, dx in zip(operands(), moves, strict=True)]
    return jnp.sum(jnp.sin(chunked_attention.attend(*moved, ids, chunk=8)))

  slope = jax.jit(jax.grad(value))(0.0)
  step = 1e-2  # Of three points, the error is of order step ** 2.
  numeric = (value(step) - value(-step)) / (2 * step)
  np.testing.assert_allclose(slope, numeric, rtol=2e-2)


def test_segments_in_any_order_and_in_parts():
  # The second part of sequence 3 comes after sequence 1.
  ids = np.zeros((B, LENGTH), np.int32)
  ids[:, :20] = np.repeat([3, 1, 3], [7, 8, 5])
  out = chunked_attention.attend(*operands(), ids, chunk=4)
  np.testing.assert_allclose(out, numpy_attention(*operands(), ids), atol=2e-5)


def test_chunks_of_other_segments_are_never_read():
  # Sequence 1 fills chunks 0 and 1.  0 * nan is nan: were they read for the
  # queries of sequence 2, even with weight 0, these would become nan.
  ids = np.repeat([[1, 2]], [8, 15], axis=1).repeat(B, axis=0)
  query, key, value = operands()
  key, value = key.at[..., :8].set(jnp.nan), value.at[:, :, :8].set(jnp.nan)

  def loss(query):
    out = chunked_attention.attend(query, key, value, ids, chunk=4)
    return jnp.sum(out[:, :, :, 8:]), out

  d_query, out = jax.grad(loss, has_aux=True)(query)
  assert np.isnan(out[:, :, :, :8]).all()
  assert np.isfinite(out[:, :, :, 8:]).all()
  assert np.isfinite(d_query[:, :, :, 8:]).all()


def test_later_chunks_are_never_read():
  query, key, value = operands()
  value = value.at[:, :, 12:].set(jnp.nan)
  ids = np.ones((B, LENGTH), np.int32)
  out = chunked_attention.attend(query, key, value, ids, chunk=4)
  assert np.isfinite(out[:, :, :, :12]).all()
  assert np.isnan(out[:, :, :, 12:]).all()


def test_queries_may_begin_in_the_middle_of_the_keys():
  query, key, value = operands()
  ids = packed_ids()
  whole = chunked_attention.attend(query, key, value, ids, chunk=5)
  attend = jax.jit(chunked_attention.attend, static_argnums=6)
  for first in (0, 6, 17):
    part = attend(
      query[:, :, :, first : first + 6],
      key,
      value,
      ids[:, first : first + 6],
      ids,
      first,
      5,
    )
    np.testing.assert_allclose(
      part, whole[:, :, :, first : first + 6], atol=1e-5
    )


def test_half_precision_stays_within_its_rounding():
  ids = packed_ids()
  half = operands(dtype=jnp.bfloat16)
  out = chunked_attention.attend(*half, ids, chunk=8)
  assert out.dtype == jnp.bfloat16
  # 8 bits of mantissa: 2 ** -8 of values up to about 6.
  expected = numpy_attention(*half, ids)
  np.testing.assert_allclose(out.astype(np.float32), expected, atol=0.05)


def test_memory_grows_linearly_with_length():
  def temporaries(length):
    shapes = [x.shape for x in jax.eval_shape(lambda: operands(length))]
    arrays = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
    ids = jax.ShapeDtypeStruct((B, length), jnp.int32)

    def loss(query, key, value, ids):
      return chunked_attention.attend(query, key, value, ids, chunk=32).sum()

    grad = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    memory = grad.lower(*arrays, ids).compile().memory_analysis()
    return memory.temp_size_in_bytes

  one, two, four = (temporaries(n) for n in (1024, 2048, 4096))
  # All pairs of 4,096 tokens in float32 would be 4 * 12 * 4096 ** 2 = 768 MiB.
  np.testing.assert_allclose(four - two, 2 * (two - one), rtol=0.1)
  assert four < 32 * 2**20
