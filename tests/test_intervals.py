"""Student's t: quantiles of the printed tables, intervals by hand."""

import math

import pytest

from k15 import intervals


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
  assert intervals.quantile(freedom) == pytest.approx(t, abs=2e-6)


def test_quantiles_of_another_level():
  assert intervals.quantile(1, 0.5) == pytest.approx(1)  # tan(pi / 4)
  assert intervals.quantile(10, 0.99) == pytest.approx(3.169273, abs=1e-6)
  assert intervals.quantile(100_000) == pytest.approx(1.95999, abs=1e-5)


def test_the_interval_of_a_mean():
  # Deviations -1, 0, 1: s = 1, t(2) = 4.302653, over sqrt(3).
  mean, half = intervals.mean_interval([4, 5, 6])
  assert mean == 5
  assert half == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)
  assert intervals.mean_interval([2.0, 2.0]) == (2, 0)


def test_one_value_has_no_width():
  mean, half = intervals.mean_interval([0.25])
  assert mean == 0.25 and math.isnan(half)


def test_what_is_paired_loses_the_level_of_its_seed():
  # b - a = 1, 2, 3 whatever the level of the seed.
  mean, half = intervals.paired_interval([0, 100, 50], [1, 102, 53])
  assert mean == 2
  assert half == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)


def test_an_unpaired_difference():
  # Equal sizes and variances: 4 degrees, sqrt(1/3 + 1/3).
  difference, half = intervals.unpaired_interval([4, 5, 6], [7, 8, 9])
  assert difference == 3
  assert half == pytest.approx(2.776445 * math.sqrt(2 / 3), abs=1e-6)
  # 1/3 and 16/2 / 2 = 4: (13/3)^2 / (1/18 + 16) = 1.17, one degree.
  difference, half = intervals.unpaired_interval([4, 5, 6], [6, 10])
  assert difference == 3
  assert half == pytest.approx(12.706205 * math.sqrt(13 / 3), abs=1e-5)
  assert intervals.unpaired_interval([1, 1], [2, 2]) == (1, 0)
  difference, half = intervals.unpaired_interval([1, 2], [5])
  assert difference == 3.5 and math.isnan(half)


def test_what_cannot_be_is_one_sentence():
  with pytest.raises(ValueError, match='at least one'):
    intervals.mean_interval([])
  with pytest.raises(ValueError, match='2 values cannot be paired with 1'):
    intervals.paired_interval([1, 2], [1])
  with pytest.raises(ValueError, match='0 and 2'):
    intervals.unpaired_interval([], [1, 2])
  with pytest.raises(ValueError, match='0 degrees of freedom'):
    intervals.quantile(0)
