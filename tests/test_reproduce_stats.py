"""Statistics of benchmarks/reproduce.py: numbers derived by hand."""

import math

import numpy as np
import pytest

from benchmarks import findings


def test_an_estimate_is_a_mean_with_its_t_interval():
  found = findings.estimate([1.0, 2.0, 3.0])
  # s = 1, t(2 degrees of freedom) = 4.30265; 4.30265 / sqrt(3) = 2.48414.
  assert (found.mean, found.values) == (2.0, (1.0, 2.0, 3.0))
  assert found.half == pytest.approx(2.48414, abs=1e-5)
  assert found.low == pytest.approx(-0.48414, abs=1e-5)
  assert found.high == pytest.approx(4.48414, abs=1e-5)
  assert math.isnan(findings.estimate([1.0]).half)


def test_estimates_as_texts_have_two_digits_of_the_interval():
  for mean, half, text in (
    (0.0534, 0.0123, '0.053 ± 0.012'),
    (-6.22, 0.8712, '-6.22 ± 0.87'),
    (1320.4, 41.7, '1320 ± 42'),
    (2.46e-5, 1.9e-6, '(2.46 ± 0.19)e-05'),
    (0.0, 0.0, '0.000 ± 0.000'),
    (0.5, math.nan, '0.5'),
    (2.46e-5, math.nan, '2.46e-05'),
  ):
    assert findings.text(_of(mean, half)) == text


def test_numbers_of_a_curve():
  x, y = np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 4.0])
  assert findings.final(y, 2) == 3.0
  assert findings.final(y, 9) == 2.0
  assert findings.change(y, 1) == 4.0
  assert findings.change(y + 5, 2) == 3.0
  # (0 + 2) / 2 * 1 + (2 + 4) / 2 * 2 = 7, over a width of 3.
  assert findings.area(x, y) == pytest.approx(7 / 3)


def test_slope_and_correlation():
  x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0])
  # dx = -1 0 1, dy = -2/3 1/3 1/3: dx.dy = 1, dx.dx = 2, dy.dy = 2/3.
  assert findings.slope(x, y) == pytest.approx(0.5)
  assert findings.correlation(x, y) == pytest.approx(1 / math.sqrt(4 / 3))
  assert findings.correlation(x, -2 * x) == pytest.approx(-1)
  assert math.isnan(findings.slope(0 * x, y))
  assert math.isnan(findings.correlation(x, 0 * y))


def test_a_window_has_its_end_and_not_its_start():
  x = np.array([0.0, 4.0, 8.0, 12.0])
  assert findings.inside(x, None, 8).tolist() == [True, True, True, False]
  assert findings.inside(x, 4, 8).tolist() == [False, False, True, False]
  assert findings.inside(x, 8, None).tolist() == [False, False, False, True]
  assert findings.inside(x, None, None).all()


def _of(mean, half):
  return findings.Estimate((mean,), mean, half)


@pytest.mark.parametrize(
  ('found', 'expected', 'margin', 'holds', 'sentence'),
  [
    (_of(0.05, 0.04), 'above', 0, True, 'wholly on the expected side'),
    (_of(0.05, 0.06), 'above', 0, False, 'no difference could be told'),
    (_of(-0.05, 0.06), 'above', 0, False, 'no difference could be told'),
    (_of(-0.05, 0.04), 'above', 0, False, 'the opposite was measured'),
    (_of(-0.05, 0.04), 'below', 0, True, 'wholly on the expected side'),
    (_of(0.05, 0.04), 'below', 0, False, 'the opposite was measured'),
    (_of(0.05, 0.04), 'above', 0.02, False, 'no difference could be told'),
    (_of(0.01, 0.01), 'equal', 0.03, True, 'wholly on the expected side'),
    (_of(0.01, 0.04), 'equal', 0.03, False, 'whether it is within 0.03'),
    (_of(0.10, 0.01), 'equal', 0.03, False, 'beyond 0.03 was measured'),
    (_of(0.10, 0.01), 'not_below', 0.03, True, 'wholly'),
    (_of(-0.02, 0.02), 'not_below', 0.03, False, 'could not be told'),
    (_of(-0.20, 0.02), 'not_below', 0.03, False, 'beyond 0.03 was measured'),
    (_of(-0.20, 0.02), 'not_above', 0.03, True, 'wholly'),
    (_of(0.05, math.nan), 'above', 0, False, 'a single seed'),
    (_of(0.00, 0.00), 'equal', 0.03, True, 'wholly'),
    (_of(math.nan, math.nan), 'above', 0, False, 'not defined'),
  ],
)
def test_verdicts_tell_apart_the_opposite_and_too_little(
  found, expected, margin, holds, sentence
):
  finding = findings.judge(found, expected, margin)
  assert finding.holds == holds
  assert sentence in finding.sentence


def test_expectations_that_mean_nothing():
  with pytest.raises(ValueError, match="'higher' is none of"):
    findings.judge(_of(0, 1), 'higher')
  with pytest.raises(ValueError, match='equal: margin 0.0 has to be positive'):
    findings.judge(_of(0, 1), 'equal')


def test_a_claim_holds_when_all_its_comparisons_do():
  good = findings.Finding(True, 'fine')
  bad = findings.Finding(False, 'the opposite was measured')
  assert findings.verdict([('area', good)]) == ('holds', 'fine')
  assert findings.verdict([('area', good), ('end', good)]) == (
    'holds', 'all 2 intervals lie where they were expected',
  )  # fmt: skip
  assert findings.verdict([('area', good), ('end', bad)]) == (
    'does not hold here', 'end: the opposite was measured',
  )  # fmt: skip
