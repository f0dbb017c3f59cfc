"""Measures by hand.

Student's t: quantiles of the printed tables, intervals by hand.
"""

import itertools
import math

import numpy as np
import pytest

from k15.equations import statistics


def test_pass_at_k_by_hand():
  # 5 samples, of which 0, 1, 2 and 5 are right; k = 2 of C(5, 2) = 10 pairs:
  # without a right one there are C(5, 2), C(4, 2), C(3, 2), 0 = 10, 6, 3, 0.
  correct = np.array([[i < c for i in range(5)] for c in (0, 1, 2, 5)])
  np.testing.assert_allclose(
    statistics.pass_at_k(correct, 2), [0, 0.4, 0.7, 1], atol=1e-15
  )
  np.testing.assert_array_equal(
    statistics.pass_at_k(correct, 1), [0, 0.2, 0.4, 1]
  )
  # All five samples: one right one is enough.
  np.testing.assert_allclose(statistics.pass_at_k(correct, 5), [0, 1, 1, 1])


def test_pass_at_k_is_the_mean_over_subsets_and_unbiased():
  # Of a policy that is right with p = 0.3, over all outcomes of 6 samples, the
  # mean estimate of pass@3 is 1 - 0.7^3 = 0.657.
  mean = 0.0
  for outcome in itertools.product((False, True), repeat=6):
    value = statistics.pass_at_k(np.array([outcome]), 3)[0]
    subsets = [any(s) for s in itertools.combinations(outcome, 3)]
    assert value == pytest.approx(np.mean(subsets))
    c = sum(outcome)
    mean += 0.3**c * 0.7 ** (6 - c) * value
  assert mean == pytest.approx(0.657)


def test_pass_at_k_of_many_samples():
  # C(4000, 2000) has 1202 digits: far beyond a float.
  correct = np.zeros((1, 4000), bool)
  correct[0, :3] = True
  expected = 1 - math.comb(3997, 2000) / math.comb(4000, 2000)
  assert statistics.pass_at_k(correct, 2000)[0] == pytest.approx(expected)


@pytest.mark.parametrize('k', [0, 3])
def test_pass_at_k_needs_as_many_samples(k):
  with pytest.raises(ValueError, match=f'pass@{k} of 2 samples'):
    statistics.pass_at_k(np.zeros((1, 2), bool), k)


def test_equal_answers_are_one_group():
  def equal(a, b):
    asked.append((a, b))
    return float(a) == float(b)

  asked = []
  answers = ['1', '2', '1.0', None, '1', '2.0']
  assert statistics.group_equal(answers, equal) == [0, 1, 0, None, 0, 1]
  # The same text is compared once: '2' with '1', then '1.0', then '2.0'.
  assert asked == [('2', '1'), ('1.0', '1'), ('2.0', '1'), ('2.0', '2')]


@pytest.mark.parametrize(
  ('groups', 'correct', 'expected'),
  [
    ([0, 0, 1], [True, True, False], (1.0, False)),
    ([0, 1, 1], [True, False, False], (0.0, False)),
    ([0, 1], [True, False], (0.5, True)),  # by lot
    ([0, 1, 2], [False, True, False], (1 / 3, True)),
    ([None, None, 1], [False, False, True], (1.0, False)),  # one vote
    ([None, None], [False, False], (0.0, False)),
  ],
)
def test_majority(groups, correct, expected):
  assert statistics.majority(groups, correct) == pytest.approx(expected)


def test_lengths():
  # 95 % of the way from 0 to 3 along the sorted values is 2.85: 30 + 0.85 * 10.
  values = np.array([40, 10, 30, 20])
  assert statistics.lengths(values) == dict(mean=25.0, p95=pytest.approx(38.5))
  assert statistics.lengths(values[:0]) == dict(mean=None, p95=None)


def test_bootstrap_has_the_spread_of_a_mean():
  # 25 of 100 problems right: the mean of 100 draws has a standard deviation of
  # sqrt(0.25 * 0.75 / 100) = 0.0433.
  values = np.arange(100) < 25
  means = statistics.bootstrap(values, 20000, np.random.default_rng(0))
  assert means.shape == (20000,)
  assert means.mean() == pytest.approx(0.25, abs=0.002)
  assert means.std() == pytest.approx(0.0433, rel=0.03)
  low, high = statistics.interval(means, 0.95)
  # Binomial(100, 1/4) has 2.5 % below 17 and above 33, to a whole number.
  assert (low, high) == (
    pytest.approx(0.17, abs=0.01),
    pytest.approx(0.335, abs=0.01),
  )


def test_bootstrap_is_the_same_for_the_same_seed_and_in_pieces():
  values = np.random.default_rng(1).random(7)
  first, again = (
    statistics.bootstrap(values, 50, np.random.default_rng(2)) for _ in range(2)
  )
  np.testing.assert_array_equal(first, again)
  assert statistics.bootstrap(values[:1], 3, np.random.default_rng(0)) == (
    pytest.approx(values[0])
  )


def test_intervals_cover_as_often_as_they_say():
  # 200 evaluations of 60 problems by 4 samples: each problem's chance is drawn
  # from Beta(1, 2), whose mean is 1/3.  190 of 200 intervals of 95 % are to
  # hold it, give or take 2 * sqrt(200 * 0.95 * 0.05) = 6.2, and the bootstrap
  # of 60 is a little narrow.
  rng = np.random.default_rng(0)
  held = 0
  for _ in range(200):
    chances = rng.beta(1, 2, 60)
    values = rng.binomial(4, chances) / 4
    means = statistics.bootstrap(values, 1000, rng)
    low, high = statistics.interval(means, 0.95)
    held += low <= 1 / 3 <= high
  assert 178 <= held <= 198


def test_p_value():
  # 3 of 99 on the other side of 0: 2 * (3 + 1) / 100.
  differences = np.concatenate([np.full(96, 0.1), np.full(3, -0.1)])
  assert statistics.p_value(differences) == pytest.approx(0.08)
  assert statistics.p_value(np.zeros(9)) == 1
  assert statistics.p_value(np.ones(999)) == pytest.approx(0.002)


@pytest.mark.parametrize(
  ('won', 'lost', 'expected'),
  [
    (0, 0, 1.0),
    (1, 0, 1.0),  # 2 * 1/2
    (5, 0, 2 / 32),
    (0, 5, 2 / 32),
    (8, 2, 2 * (1 + 10 + 45) / 1024),
    (3, 3, 1.0),
  ],
)
def test_mcnemar(won, lost, expected):
  assert statistics.mcnemar(won, lost) == pytest.approx(expected)


def test_mcnemar_of_thousands():
  # Normal approximation: (2100 - 1900 - 1) / sqrt(4000) = 3.146: p = 0.00165.
  assert statistics.mcnemar(2100, 1900) == pytest.approx(0.00165, rel=0.02)


@pytest.mark.parametrize(
  ('freedom', 't'),
  [
    # Closed forms: |T| < t has probability 2 atan(t) / pi, then
    # t / sqrt(2 + t^2); the others as every printed table has them.
    (1, math.tan(0.475 * math.pi)),
    (2, 0.95 * math.sqrt(2 / (1 - 0.95**2))),
    (3, 3.182446),
    (4, 2.776445),
    (5, 2.570582),
    (9, 2.262157),
    (30, 2.042272),
    (319, 1.967428),
  ],
)
def test_quantiles_are_those_of_the_tables(freedom, t):
  assert statistics.quantile(freedom) == pytest.approx(t, abs=2e-6)


def test_quantiles_of_another_level():
  assert statistics.quantile(1, 0.5) == pytest.approx(1)  # tan(pi / 4)
  assert statistics.quantile(10, 0.99) == pytest.approx(3.169273, abs=1e-6)
  assert statistics.quantile(100_000) == pytest.approx(1.95999, abs=1e-5)


def test_the_interval_of_a_mean():
  # Deviations -1, 0, 1: s = 1, t(2) = 4.302653, over sqrt(3).
  mean, half = statistics.mean_interval([4, 5, 6])
  assert mean == 5
  assert half == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)
  assert statistics.mean_interval([2.0, 2.0]) == (2, 0)


def test_one_value_has_no_width():
  mean, half = statistics.mean_interval([0.25])
  assert mean == 0.25 and math.isnan(half)


def test_what_is_paired_loses_the_level_of_its_seed():
  # b - a = 1, 2, 3 whatever the level of the seed.
  mean, half = statistics.paired_interval([0, 100, 50], [1, 102, 53])
  assert mean == 2
  assert half == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)


def test_an_unpaired_difference():
  # Equal sizes and variances: 4 degrees, sqrt(1/3 + 1/3).
  difference, half = statistics.unpaired_interval([4, 5, 6], [7, 8, 9])
  assert difference == 3
  assert half == pytest.approx(2.776445 * math.sqrt(2 / 3), abs=1e-6)
  # 1/3 and 16/2 / 2 = 4: (13/3)^2 / (1/18 + 16) = 1.17, one degree.
  difference, half = statistics.unpaired_interval([4, 5, 6], [6, 10])
  assert difference == 3
  assert half == pytest.approx(12.706205 * math.sqrt(13 / 3), abs=1e-5)
  assert statistics.unpaired_interval([1, 1], [2, 2]) == (1, 0)
  difference, half = statistics.unpaired_interval([1, 2], [5])
  assert difference == 3.5 and math.isnan(half)


def test_what_cannot_be_is_one_sentence():
  with pytest.raises(ValueError, match='at least one'):
    statistics.mean_interval([])
  with pytest.raises(ValueError, match='2 values cannot be paired with 1'):
    statistics.paired_interval([1, 2], [1])
  with pytest.raises(ValueError, match='0 and 2'):
    statistics.unpaired_interval([], [1, 2])
  with pytest.raises(ValueError, match='0 degrees of freedom'):
    statistics.quantile(0)


def test_a_band_is_the_interval_of_every_column():
  nan = math.nan
  rows = np.array([[4.0, 1, nan, 7], [5, nan, nan, 7], [6, 3, nan, nan]])
  means, half_widths, counts = statistics.band(rows)
  np.testing.assert_array_equal(means, [5, 2, nan, 7])
  np.testing.assert_array_equal(counts, [3, 2, 0, 2])
  # t(2) / sqrt(3); s = sqrt(2), times t(1) / sqrt(2).
  expected = [4.302653 / math.sqrt(3), 12.706205, nan, 0]
  np.testing.assert_allclose(half_widths, expected, atol=1e-6)
  _, single, _ = statistics.band(rows[:1])
  assert np.isnan(single).all()
