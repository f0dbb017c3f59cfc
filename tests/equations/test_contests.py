"""Votes and ratings by hand."""

import numpy as np
import pytest

from k15.equations import contests

vote = contests.vote_by_output


@pytest.mark.parametrize(
  ('outputs', 'groups'),
  [
    # Three agree, though the third input is answered by one alone.
    (['aab', 'aa.', 'aa.', 'ab.'], [0, 0, 0, 1]),
    # No program, no vote.
    (['a', None, 'b', 'b'], [0, None, 1, 1]),
    # Half of the programs answer the second input: it counts, and who does not
    # answer it has no vote.
    (['ab', 'ab', 'a.', 'a.'], [0, 0, None, None]),
    # Two of three fail there: it does not count.
    (['ab', 'a.', 'a.'], [0, 0, 0]),
    # Each of three fails once: they answer as many, and differ in where.
    (['.aa', 'a.a', 'aa.'], [0, 1, 2]),
    # All fail everywhere, or there are no inputs: nothing tells them apart.
    (['..', '..'], [0, 0]), (['', ''], [0, 0]),
    ([None, None], [None, None]), ([], []),
  ],
)  # fmt: skip
def test_programs_that_print_the_same_are_one_group(outputs, groups):
  rows = [
    None if row is None else [None if c == '.' else c for c in row]
    for row in outputs
  ]
  assert vote(rows) == groups


@pytest.mark.parametrize(
  ('groups', 'correct', 'value', 'tie'),
  [
    ([0, 0, 1], [1, 1, 0], 1.0, False),
    # One of the two that agree is right where no input looked: by lot.
    ([0, 0, 1], [1, 0, 1], 0.5, False),
    # Two groups of two: half of the lots take the right one.
    ([0, 0, 1, 1], [1, 1, 0, 0], 0.5, True),
    ([0, 0, 0, 0], [1, 0, 0, 0], 0.25, False),  # No inputs: pass@1.
    ([None, 0, None], [1, 0, 1], 0.0, False), ([None], [1], 0.0, False),
  ],
)  # fmt: skip
def test_the_largest_group_answers(groups, correct, value, tie):
  correct = [bool(c) for c in correct]
  assert contests.largest_group(groups, correct) == (value, tie)


def test_a_vote_finds_what_the_text_of_programs_hides():
  # Five programs, all of different text; three print the same.
  outputs = [['4'], ['4'], ['4'], ['5'], ['6']]
  right = [True, True, True, False, False]
  assert contests.largest_group(vote(outputs), right) == (1.0, False)
  assert contests.largest_group(range(5), right) == (0.6, True)  # By text.


def test_a_rating_by_hand():
  # Half of the problems of one rating: that rating.
  half = contests.elo(np.full(4, 1500.0), [1, 1, 0, 0])
  assert half.value == pytest.approx(1500, abs=1e-6)
  # Fisher's information: 4 / 4 (ln 10 / 400)^2, so a deviation of 173.7.
  assert half.high - half.value == pytest.approx(1.959964 * 173.7178, rel=1e-4)
  # 10 to 11 odds of one in eleven: 400 points below.
  shares = np.full(11, 1 / 11)
  low = contests.elo(np.full(11, 1500.0), shares)
  assert low.value == pytest.approx(1100, abs=1e-6) and not low.is_bound
  # p(1000) + p(2000) = 1 in their middle, by symmetry.
  middle = contests.elo([1000.0, 2000.0], [1, 0])
  assert middle.value == pytest.approx(1500, abs=1e-6)


def test_all_or_nothing_is_a_bound():
  for solved, value in (([1, 1], contests.HIGHEST), ([0, 0], contests.LOWEST)):
    rating = contests.elo([800.0, 1200.0], solved)
    assert rating.is_bound and rating.value == pytest.approx(value, abs=1e-6)
    assert contests.LOWEST <= rating.low <= rating.high <= contests.HIGHEST
