"""Draws against probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from k15.rollout import sampling


@jax.jit
def sample(logits, temperature, keys, positions):
  uniform = sampling.uniforms(keys, positions, 1)[0]
  return sampling.sample(logits, temperature, uniform)


invert = jax.jit(lambda p, uniform: sampling._invert(p.T, uniform)[0])
LARGEST = np.float32(1) - np.float32(2**-24)  # the largest float32 below 1


def keys_of(rows, group=0):
  return sampling.response_keys(
    jax.random.key(0)[None][jnp.zeros(rows, int)],
    jnp.full(rows, group),
    jnp.arange(rows),
  )


def random_logits(rows, vocabulary, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(0, 1.5, (rows, vocabulary)).astype(np.float32)


def log_softmax(logits):
  logits = np.asarray(logits, np.float64)
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize('vary', ['response', 'position'])
def test_frequencies_are_the_probabilities(vary):
  N, V, temperature = 20000, 50, 1.3
  logits = random_logits(1, V)
  positions = np.arange(N) if vary == 'position' else np.zeros(N)
  keys = keys_of(N) if vary == 'response' else keys_of(1)[jnp.zeros(N, int)]
  tokens, _ = sample(
    np.repeat(logits, N, axis=0),
    np.full(N, temperature, np.float32),
    keys,
    positions.astype(np.int32),
  )
  expected = N * np.exp(log_softmax(logits[0] / temperature))
  assert expected.min() > 5  # so that the statistic is chi-square
  counts = np.bincount(tokens, minlength=V)
  # 49 degrees of freedom: beyond 85.4 in one case of a thousand.
  assert ((counts - expected) ** 2 / expected).sum() < 85.4


@pytest.mark.parametrize(
  'V', [1, 2, 31, 32, 33, 64, 100, 1000, 1024, 1025, 5000]
)
def test_inversion_equals_a_search_in_the_cumulative_sum(V):
  N = 200
  rng = np.random.default_rng(V)
  probs = rng.dirichlet(np.full(V, 0.3), N).astype(np.float32)
  uniform = rng.random(N).astype(np.float32)
  tokens = np.asarray(invert(probs, uniform))
  assert tokens.dtype == np.int32
  sums = np.cumsum(probs.astype(np.float64), axis=1)
  target = uniform * sums[:, -1]
  rows = np.arange(N)
  before = np.where(tokens > 0, sums[rows, tokens - 1], 0.0)
  # Float32 sums of numbers below 1 are right to about 1e-6.
  assert (before <= target + 1e-6).all()
  assert (target < sums[rows, tokens] + 1e-6).all()


@pytest.mark.parametrize('V', [5, 32, 50, 96])
@pytest.mark.parametrize('uniform', [0.0, 0.5, LARGEST])
def test_certain_tokens_are_drawn_for_every_number(V, uniform):
  probs = np.eye(V, dtype=np.float32)
  tokens = invert(probs, np.full(V, uniform, np.float32))
  np.testing.assert_array_equal(tokens, np.arange(V))


def test_ends_of_the_unit_interval():
  # The first and last tokens have no probability, nor have whole blocks.
  probs = np.zeros((1, 200), np.float32)
  probs[0, [40, 41, 150]] = 0.25, 0.25, 0.5
  for uniform, token in [
    (0.0, 40),
    (0.2499, 40),
    (0.25, 41),  # The first whose cumulative sum exceeds the number.
    (0.4999, 41),
    (0.5, 150),
    (float(LARGEST), 150),
  ]:
    assert invert(probs, np.array([uniform], np.float32))[0] == token


def test_a_token_without_probability_is_never_drawn():
  rng = np.random.default_rng(0)
  N, V = 5000, 77
  probs = rng.dirichlet(np.full(V, 0.2), N).astype(np.float32)
  probs[rng.random((N, V)) < 0.7] = 0
  probs[:, -1] = 0
  probs[np.arange(N), rng.integers(0, V - 1, N)] += 0.01
  # Numbers that fall on the edges, where rounding decides.
  sums = np.cumsum(probs, axis=1)
  edge = sums[np.arange(N), rng.integers(0, V, N)] / sums[:, -1]
  for uniform in (rng.random(N), np.minimum(edge, LARGEST), np.zeros(N)):
    tokens = np.asarray(invert(probs, uniform.astype(np.float32)))
    assert (probs[np.arange(N), tokens] > 0).all()


def test_nothing_without_weight_is_taken_where_ends_are_rounded_apart():
  # On some processors a product sums each line in an order of its own, so that
  # a line which adds nothing ends a bit above the one before it, or below.
  weights = np.array([[0.5, 0.5], [0, 0], [0.5, 0.5], [0, 0]], np.float32)
  ends = np.array(
    [[0.5, 0.5], [0.50000006, 0.49999997], [1, 1], [1.0000001, 0.9999999]],
    np.float32,
  )
  for target, expected in [(0.0, 0), (0.49999997, 0), (0.5, 2), (1.0, 2)]:
    index, _ = sampling._first_beyond(
      weights, ends, np.full(2, target, np.float32)
    )
    np.testing.assert_array_equal(index, [expected, expected])


def test_logprobs_are_those_of_the_tempered_distribution():
  rows, V = 6, 50
  logits = random_logits(rows, V)
  temperatures = np.array([0.1, 0.5, 1, 1, 2, 10], np.float32)
  tokens, logprobs = sample(
    logits, temperatures, keys_of(rows), np.arange(rows, dtype=np.int32)
  )
  expected = log_softmax(logits / temperatures[:, None])
  np.testing.assert_allclose(
    logprobs, expected[np.arange(rows), tokens], atol=1e-5
  )


def test_extreme_logits():
  logits = np.zeros((3, 40), np.float32)
  logits[0, 7] = 1e4  # certain
  logits[1, :] = -np.inf
  logits[1, 39] = 0.0  # masked by hand
  logits[2] -= 1e4  # uniform, far down
  tokens, logprobs = sample(
    logits, np.ones(3, np.float32), keys_of(3), np.arange(3, dtype=np.int32)
  )
  assert tokens[0] == 7
  assert tokens[1] == 39
  np.testing.assert_allclose(logprobs, [0, 0, -np.log(40)], atol=1e-3)


def test_a_low_temperature_takes_the_largest():
  logits = random_logits(8, 50)
  tokens, _ = sample(
    logits,
    np.full(8, 1e-3, np.float32),
    keys_of(8),
    np.zeros(8, np.int32),
  )
  np.testing.assert_array_equal(tokens, logits.argmax(1))


def test_a_draw_does_not_depend_on_its_place_in_the_batch():
  rows = 16
  logits, keys = random_logits(rows, 50), keys_of(rows)
  temperatures = np.linspace(0.5, 2, rows).astype(np.float32)
  positions = np.arange(rows, dtype=np.int32) % 5
  arguments = logits, temperatures, keys, positions
  tokens, logprobs = sample(*arguments)
  order = np.random.default_rng(0).permutation(rows)
  moved, moved_logprobs = sample(*(x[order] for x in arguments))
  np.testing.assert_array_equal(moved, tokens[order])
  np.testing.assert_array_equal(moved_logprobs, logprobs[order])
  for row in (0, 9):
    alone, _ = sample(*(x[row : row + 1] for x in arguments))
    assert alone[0] == tokens[row]


def test_every_response_and_position_has_numbers_of_its_own():
  def uniform(group, index, position):
    keys = sampling.response_keys(
      jax.random.key(3)[None], jnp.array([group]), jnp.array([index])
    )
    return float(sampling.uniforms(keys, jnp.array([position]), 1)[0, 0])

  places = [(g, i, p) for g in (0, 1, 2) for i in (0, 1, 2) for p in (0, 1, 2)]
  assert len({uniform(*place) for place in places}) == len(places)
  assert uniform(1, 2, 0) == uniform(1, 2, 0)
  # Ids of evaluations lie far up, but within int32.
  assert uniform(1 << 30, 0, 0) != uniform(0, 0, 0)


def test_numbers_of_many_tokens_are_those_of_each():
  keys, positions = keys_of(3), jnp.array([4, 0, 9])
  together = sampling.uniforms(keys, positions, 5)
  for step in range(5):
    for row in range(3):
      key = jax.random.fold_in(keys[row], positions[row] + step)
      assert together[step, row] == jax.random.uniform(key)


@jax.jit
def sample_part(logits, temperature, top_p, keys, positions):
  uniform = sampling.uniforms(keys, positions, 1)[0]
  return sampling.sample_part(logits, temperature, top_p, uniform)


def least_by_sorting(probs, top_p):
  """Of the smallest set of likeliest tokens that sum to top_p or more."""
  ordered = np.sort(probs.astype(np.float64))[::-1]
  return ordered[np.searchsorted(np.cumsum(ordered), top_p - 1e-6)]


@pytest.mark.parametrize('top_p', [1e-6, 0.3, 0.5, 0.9, 0.99])
def test_the_nucleus_is_what_sorting_finds(top_p):
  probs = np.exp(log_softmax(random_logits(20, 333))).astype(np.float32)
  least = jax.jit(sampling._least_of_nucleus)(
    probs.T, np.full(20, top_p, np.float32)
  )
  expected = [least_by_sorting(row, top_p) for row in probs]
  np.testing.assert_allclose(least, expected, rtol=1e-6)


def test_the_nucleus_by_hand():
  # 0.5, 0.3, 0.2: one token has 0.5, two have 0.8; of two equals at the edge,
  # both are in.
  probs = np.array([[0.2, 0.5, 0.3]] * 3 + [[0.25, 0.5, 0.25]], np.float32)
  least = sampling._least_of_nucleus(
    probs.T, np.array([0.5, 0.6, 0.81, 0.6], np.float32)
  )
  np.testing.assert_array_equal(least, np.float32([0.5, 0.3, 0.2, 0.25]))


def test_frequencies_are_those_of_the_nucleus():
  # Of 0.5, 0.3, 0.15, 0.05 at 0.75 the first two stay: 5/8 and 3/8.
  N = 4000
  logits = np.tile(np.log(np.float32([0.15, 0.5, 0.05, 0.3])), (N, 1))
  tokens, logprobs = sample_part(
    logits,
    np.ones(N, np.float32),
    np.full(N, 0.75, np.float32),
    keys_of(N),
    np.zeros(N, np.int32),
  )
  counts = np.bincount(tokens, minlength=4)
  assert counts[0] == counts[2] == 0
  # A standard deviation is sqrt(4000 * 15 / 64) = 31.
  assert abs(counts[1] - 2500) < 4 * 31
  # The log-probabilities are of the whole distribution.
  whole = np.log(np.float32([0.15, 0.5, 0.05, 0.3]))
  np.testing.assert_allclose(logprobs, whole[np.asarray(tokens)], atol=1e-6)


def test_rows_of_the_whole_draw_what_they_draw_elsewhere():
  rows = 12
  logits, keys = random_logits(rows, 77), keys_of(rows)
  temperatures = np.linspace(0.5, 2, rows).astype(np.float32)
  positions = np.arange(rows, dtype=np.int32)
  tokens, logprobs = sample(logits, temperatures, keys, positions)
  top_p = np.where(np.arange(rows) % 3, 1.0, 0.1).astype(np.float32)
  mixed, mixed_logprobs = sample_part(
    logits, temperatures, top_p, keys, positions
  )
  whole = top_p == 1
  np.testing.assert_array_equal(mixed[whole], tokens[whole])
  np.testing.assert_allclose(mixed_logprobs[whole], logprobs[whole], atol=1e-6)


def test_temperature_0_takes_the_first_of_the_largest():
  logits = random_logits(4, 50)
  logits[0, 3] = logits[0, 9] = 20.0
  tokens, logprobs = sample_part(
    logits,
    np.zeros(4, np.float32),
    np.ones(4, np.float32),
    keys_of(4),
    np.zeros(4, np.int32),
  )
  np.testing.assert_array_equal(tokens, logits.argmax(1))
  assert tokens[0] == 3
  expected = log_softmax(logits)[np.arange(4), logits.argmax(1)]
  np.testing.assert_allclose(logprobs, expected, atol=1e-5)
