"""The equations of long2short, by hand."""

import numpy as np
import pytest

from k15.equations import long2short

LONG = np.array([1.0, -2.0, -0.0, 4.0], np.float32)
SHORT = np.array([3.0, 2.0, 1.0, -4.0], np.float32)


def test_the_plain_mean():
  # (1 + 3) / 2, (-2 + 2) / 2, (0 + 1) / 2, (4 - 4) / 2.
  merged = long2short.merged(LONG, SHORT, 0.5)
  np.testing.assert_array_equal(merged, [2.0, 0.0, 0.5, 0.0])


def test_any_share():
  # 3/4 of the long one and 1/4 of the short one: 0.75 + 0.75, -1.5 + 0.5, ...
  merged = long2short.merged(LONG, SHORT, 0.25)
  np.testing.assert_array_equal(merged, [1.5, -1.0, 0.25, 2.0])


@pytest.mark.parametrize('share, expected', [(0.0, LONG), (1.0, SHORT)])
def test_at_the_ends_it_is_one_of_them_to_the_bit(share, expected):
  merged = long2short.merged(LONG, SHORT, share)
  assert merged.tobytes() == expected.tobytes()  # -0.0 among them.


@pytest.mark.parametrize('share', [0.25, 0.3, 0.5])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_the_two_may_change_places(share, dtype):
  rng = np.random.default_rng(0)
  long, short = rng.normal(size=(2, 50)).astype(dtype)
  np.testing.assert_array_equal(
    long2short.merged(long, short, share),
    long2short.merged(short, long, 1 - share),
  )


def test_sums_are_taken_in_float32():
  # In float16 the sum, 80,000, would be infinite before it is halved.
  big = np.array([40000.0], np.float16)
  assert long2short.merged(big, big, 0.5) == 40000.0
  assert long2short.merged(big, big, 0.5).dtype == np.float16


def test_whole_numbers_have_to_be_the_same():
  ids = np.array([1, 2])
  np.testing.assert_array_equal(long2short.merged(ids, ids, 0.5), ids)
  with pytest.raises(ValueError, match='whole numbers'):
    long2short.merged(ids, ids + 1, 0.5)


@pytest.mark.parametrize(
  'short, share, message',
  [
    (SHORT[:3], 0.5, r'float32\[4\] and float32\[3\]'),
    (SHORT.astype(np.float16), 0.5, r'float32\[4\] and float16\[4\]'),
    (SHORT, 1.5, 'share 1.5 is outside'),
  ],
)
def test_what_cannot_be_merged(short, share, message):
  with pytest.raises(ValueError, match=message):
    long2short.merged(LONG, short, share)


@pytest.mark.parametrize(
  'lengths, is_correct, expected',
  [
    ([30, 20, 10], [1, 1, 0], 1),  # 10 is shorter, but wrong.
    ([30, 20, 20], [1, 1, 1], 1),  # The first of two.
    ([30, 20, 10], [0, 0, 0], None),
    ([30], [1], 0),
  ],
)
def test_shortest_correct(lengths, is_correct, expected):
  assert long2short.shortest_correct(lengths, is_correct) == expected


@pytest.mark.parametrize(
  'length, is_correct, is_pair',
  [
    # Beside a correct response of 100 tokens:
    (150, True, True),  # 1.5 times as long.
    (149, True, False),
    (120, True, False),
    (100, True, False),  # As long, and the first is preferred.
    (101, False, True),  # Wrong and longer.
    (100, False, False),  # Wrong, not longer.
    (50, False, False),  # Wrong and shorter: its length is no fault.
  ],
)
def test_pairs(length, is_correct, is_pair):
  pairs = long2short.preference_pairs([100, length], [True, is_correct])
  assert pairs == ([(0, 1)] if is_pair else [])


def test_pairs_of_a_group():
  # The preferred one is 2; 0 is correct and 3 times, 3 wrong and longer.
  lengths, is_correct = [60, 29, 20, 21, 10], [1, 1, 1, 0, 0]
  pairs = long2short.preference_pairs(lengths, is_correct)
  assert pairs == [(2, 0), (2, 3)]
  # From 1.4 times on, 29 of 20 tokens is enough.
  pairs = long2short.preference_pairs(lengths, is_correct, 1.4)
  assert pairs == [(2, 0), (2, 1), (2, 3)]
  assert long2short.preference_pairs(lengths, np.zeros(5)) == []


@pytest.mark.parametrize(
  'accuracies, tokens, price, expected',
  [
    # 0.90 - 0.1 = 0.80 against 0.88 - 0.1 * 60 / 100 = 0.82.
    ([0.90, 0.88], [100, 60], 0.1, 1),
    # 0.90 - 0.1 = 0.80 against 0.85 - 0.06 = 0.79.
    ([0.90, 0.85], [100, 60], 0.1, 0),
    # A lower price: 0.89 against 0.874.
    ([0.90, 0.88], [100, 60], 0.01, 0),
    # The most accurate is the one with fewer tokens of two: 50, not 100.
    ([0.90, 0.90, 0.85], [100, 50, 30], 0.1, 1),  # 0.70, 0.80, 0.79.
    ([0.5, 0.5], [40, 40], 0.1, 0),  # The first.
  ],
)
def test_best_balance(accuracies, tokens, price, expected):
  assert long2short.best_balance(accuracies, tokens, price) == expected


def test_the_best_balance_lies_on_the_frontier():
  rng = np.random.default_rng(0)
  for _ in range(100):
    accuracies, tokens = rng.random(6), rng.integers(10, 99, 6)
    best = long2short.best_balance(accuracies, tokens, rng.uniform(0.01, 2))
    better = (tokens < tokens[best]) & (accuracies >= accuracies[best])
    assert not better.any()
