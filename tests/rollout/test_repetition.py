import jax
import jax.numpy as jnp
import numpy as np
import pytest
import repetition_oracle

from k15.rollout import repetition

DEFAULTS = dict(count=4, max_period=32, min_tokens=48)


def encode(text):
  return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


def online(tokens, count, max_period, min_tokens, start=0):
  """Runs the decode loop's detector; the first `start` tokens are stored."""
  runs = repetition.run_lengths(tokens[:start], max_period)
  recent = repetition.recent_tokens(tokens[:start], max_period)

  def step(carry, token):
    carry = repetition.update_runs(*carry, token[None])
    return carry, repetition.is_repeating(carry[0], count, min_tokens)[0]

  carry = jnp.array(runs)[None], jnp.array(recent)[None]
  (runs, recent), stops = jax.lax.scan(step, carry, jnp.array(tokens[start:]))
  first = np.flatnonzero(stops)
  stop = start + int(first[0]) + 1 if len(first) else -1
  return stop, np.asarray(runs[0]), np.asarray(recent[0])


def test_run_lengths_by_hand():
  # b a b a b: the last 3 tokens equal those 2 before, the last 1 the one 4
  # before; period 5 has nothing to compare with.
  runs = repetition.run_lengths(encode('babab'), 5)
  np.testing.assert_array_equal(runs, [0, 3, 0, 1, 0])
  np.testing.assert_array_equal(
    repetition.recent_tokens(encode('abc'), 5), [*b'cba', -1, -1]
  )


def test_an_empty_response():
  np.testing.assert_array_equal(repetition.run_lengths([], 3), [0, 0, 0])
  np.testing.assert_array_equal(repetition.recent_tokens([], 3), [-1, -1, -1])
  assert repetition_oracle.first_repetition([], **DEFAULTS) == -1


@pytest.mark.parametrize(
  'count, min_tokens, text, stop',
  [
    (3, 1, 'xyabababz', 8),  # the third "ab"
    (3, 1, 'xyababz', -1),
    (2, 1, 'abcabc', 6),
    (4, 6, 'aaaaaaaa', 6),  # four times at 4, but 6 tokens at least
    (3, 9, 'abababababab', 9),  # a loop may be cut in the middle of a block
    (2, 1, 'abcdeabcde', -1),  # period 5 is beyond the largest, 4
  ],
)
def test_first_repetition_by_hand(count, min_tokens, text, stop):
  tokens = encode(text)
  settings = dict(count=count, max_period=4, min_tokens=min_tokens)
  assert repetition_oracle.first_repetition(tokens, **settings) == stop
  assert online(tokens, **settings)[0] == stop


@pytest.mark.parametrize('seed', range(6))
def test_online_equals_offline_on_random_tokens(seed):
  # Two or three different tokens repeat by chance, early and late.
  rng = np.random.default_rng(seed)
  tokens = rng.integers(0, 2 + seed % 2, 200).astype(np.int32)
  for settings in (
    dict(count=3, max_period=8, min_tokens=12),
    dict(count=2, max_period=8, min_tokens=14),
    dict(count=4, max_period=8, min_tokens=1),
  ):
    stop, runs, recent = online(tokens, **settings)
    assert stop == repetition_oracle.first_repetition(tokens, **settings)
    np.testing.assert_array_equal(runs, repetition.run_lengths(tokens, 8))
    np.testing.assert_array_equal(recent, repetition.recent_tokens(tokens, 8))


@pytest.mark.parametrize('period', [1, 2, 7, 12, 13, 31, 32, 33])
def test_loops_under_the_default_settings(period):
  rng = np.random.default_rng(period)
  prefix = np.arange(100, 120)
  block = rng.permutation(period)  # repeats nothing within itself
  tokens = np.concatenate([prefix, np.tile(block, 60)]).astype(np.int32)
  # Four blocks, and 48 tokens at least; 33 is beyond the largest period.
  stop = 20 + max(48, 4 * period) if period <= 32 else -1
  assert repetition_oracle.first_repetition(tokens, **DEFAULTS) == stop
  assert online(tokens, **DEFAULTS)[0] == stop


@pytest.mark.parametrize(
  'text',
  [
    '1' + '0' * 40 + ' is a big number',
    '0000 + 0000 = 0000, 0000 * 0000 = 0000',
    '|---|---|---|---|---|---|---|---|---|---|',
    '| 1 | 1 |\n| 2 | 4 |\n| 3 | 9 |\n| 4 | 16 |\n| 5 | 25 |\n| 6 | 36 |\n',
    'try 17: 17*3=51, no\ntry 18: 18*3=54, no\ntry 19: 19*3=57, yes\n',
    'ha ha ha ha ha ha, very funny',
  ],
)
def test_legitimate_repetition_is_left_alone(text):
  assert repetition_oracle.first_repetition(encode(text), **DEFAULTS) == -1
  assert online(encode(text), **DEFAULTS)[0] == -1


@pytest.mark.parametrize(
  'block', ['no, wait. ', 'try 17: 17*3=51, no\n', '重复', 'é', '🙂 ']
)
def test_real_loops_are_caught(block):
  tokens = encode('Let me see: ' + block * 60)
  size = len(block.encode())
  # Where the first character of the block is not that of what came before.
  expected = 12 + max(48, 4 * size)
  stop = repetition_oracle.first_repetition(tokens, **DEFAULTS)
  assert expected - size < stop <= expected
  assert online(tokens, **DEFAULTS)[0] == stop


def test_zero_turns_it_off():
  tokens = np.zeros(300, np.int32)
  settings = DEFAULTS | dict(count=0)
  assert repetition_oracle.first_repetition(tokens, **settings) == -1
  assert online(tokens, **settings)[0] == -1
  runs = repetition.run_lengths(tokens, 32)
  assert not repetition.is_repeating(runs, 0, 0)
  with pytest.raises(ValueError, match='not 1'):
    repetition.is_repeating(runs, 1, 48)


@pytest.mark.parametrize('cut', [0, 1, 5, 30, 59, 60])
def test_a_resumed_response_is_judged_as_if_never_cut(cut):
  tokens = encode('Well:' + 'abcde ' * 20)
  settings = dict(count=4, max_period=16, min_tokens=60)
  stop, runs, recent = online(tokens, **settings)
  assert stop == 65  # 5 + 60
  resumed = online(tokens, **settings, start=cut)
  assert resumed[0] == stop
  np.testing.assert_array_equal(resumed[1], runs)
  np.testing.assert_array_equal(resumed[2], recent)


def test_rows_are_independent_and_numpy_agrees_with_jax():
  rows = np.array([encode('abababab'), encode('abcdefgh')])
  runs = np.array([repetition.run_lengths(row, 4) for row in rows])
  np.testing.assert_array_equal(
    repetition.is_repeating(runs, 4, 8), [True, False]
  )
  np.testing.assert_array_equal(
    repetition.is_repeating(jnp.array(runs), 4, 8), [True, False]
  )
  recent = np.array([repetition.recent_tokens(row, 4) for row in rows])
  token = encode('aa')
  new_runs, new_recent = repetition.update_runs(runs, recent, token)
  for row in range(2):
    longer = np.append(rows[row], token[row])
    np.testing.assert_array_equal(
      new_runs[row], repetition.run_lengths(longer, 4)
    )
    np.testing.assert_array_equal(
      new_recent[row], repetition.recent_tokens(longer, 4)
    )
