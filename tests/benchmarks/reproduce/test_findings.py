"""Statistics of benchmarks/reproduce/__main__.py: numbers derived by hand.

Numbers of runs, one for each seed.
"""

import math

import fake_ablation as fake
import numpy as np
import pytest

from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import findings
from experiments.ablations.claims import EACH
from experiments.ablations.claims import FIRST
from experiments.ablations.claims import LAST
from experiments.ablations.claims import Measure


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


START = 'length_reward.start_iteration'
ARMS = {'none': {}, 'late': {'length_reward.weight': 0.5, START: 2}}


def _curves(config):
  # none: 0 0.2 0.4 0.6 + seed / 100; late: 0.1 more, and seed / 100 more.
  late = config['length_reward.weight'] > 0
  seed = config['seed'] / 100
  y = np.array([0.0, 0.2, 0.4, 0.6]) + seed + late * (0.1 + seed)
  return {'rl/reward': y, 'rl/length_mean': 10 + 50 * y}


@pytest.fixture
def arms(tmp_path):
  config = fake.write_file(tmp_path / 'a.py', ARMS, seeds=3)
  units = fake.write_runs(config, tmp_path / 'r', _curves)
  return data.read_arms(config, units, tmp_path / 'r')[0]


def _values(arms, points=1, **settings):
  measure = Measure('what', 'rl/reward', **settings)
  (found,) = findings.measured(measure, arms, points).values()
  return pytest.approx(found.values)


def test_a_difference_is_paired_by_seed(arms):
  assert _values(arms, arm='late', against='none') == (0.1, 0.11, 0.12)
  del arms['none'][1]
  assert _values(arms, arm='late', against='none') == (0.1, 0.12)


@pytest.mark.parametrize(
  ('by', 'expected'),
  [
    ('final', (0.5, 0.51, 0.52)),  # (0.4 + 0.6) / 2
    ('before', (0.0, 0.01, 0.02)),
    ('change', (0.5, 0.5, 0.5)),
    ('mean', (0.3, 0.31, 0.32)),
    ('area', (0.3, 0.31, 0.32)),
    ('slope', (0.02, 0.02, 0.02)),  # 1 / 50
    ('correlation', (1, 1, 1)),
  ],
)
def test_curves_become_numbers(arms, by, expected):
  found = _values(arms, 2, arm='none', by=by, x='rl/length_mean')
  assert found == expected


def test_a_window_may_be_a_key_of_the_first_arm(arms):
  # late: iterations 0, 1, 2 of 0.1 0.3 0.5; none: 0 0.2 0.4.
  both = dict(arm='late', against='none', by='mean')
  assert _values(arms, until=START, **both) == (0.1, 0.11, 0.12)
  only = dict(arm='late', by='mean')
  assert _values(arms, until=START, **only) == (0.3, 0.32, 0.34)
  assert _values(arms, after=START, **only) == (0.7, 0.72, 0.74)


def test_arms_by_their_place(arms):
  assert _values(arms, arm=LAST, against=FIRST) == (0.1, 0.11, 0.12)
  measure = Measure(f'{LAST} minus {FIRST}', 'rl/reward', LAST, FIRST)
  assert list(findings.measured(measure, arms, 1)) == ['late minus none']
  measure = Measure('reward', 'rl/reward', EACH)
  found = findings.measured(measure, arms, 1)
  assert list(found) == ['reward, none', 'reward, late']
  assert found['reward, none'].mean == pytest.approx(0.61)


def test_what_cannot_be_measured(arms):
  with pytest.raises(data.DataError, match="no arm 'early' among"):
    _values(arms, arm='early')
  with pytest.raises(data.DataError, match='needs 2 points of rl/reward, and'):
    _values(arms, arm='late', by='area', after=2)
  with pytest.raises(data.DataError, match='what is not known: no evaluation'):
    _values(arms, arm='late', by='before', after=1)
  arms['none'].clear()
  with pytest.raises(data.DataError, match='what: no seed is done'):
    _values(arms, arm='late', against='none')
