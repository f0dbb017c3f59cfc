"""Numbers of runs, one for each seed: derived by hand."""

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


def test_a_part_of_a_curve_has_its_ends_interpolated():
  x, y = np.array([0.0, 2.0, 4.0]), np.array([0.0, 1.0, 5.0])
  at, values = findings.part(x, y, 1, 3)
  assert (at.tolist(), values.tolist()) == ([1, 2, 3], [0.5, 1, 3])
  assert findings.part(x, y, 0, 4)[1].tolist() == [0, 1, 5]


def test_a_curve_that_is_flat_at_its_end_rises_by_nothing():
  x = np.arange(0.0, 25, 3)
  rising = np.minimum(x, 15.0)
  assert findings.late_rise(x, rising) == pytest.approx(0)
  # Its last third, from 16 on, has 18, 21 and 24: 8 iterations at 0.1 each.
  assert findings.late_rise(x, x / 10) == pytest.approx(0.8)


START = 'length_reward.start_iteration'
ARMS = {'none': {}, 'late': {'length_reward.weight': 0.5, START: 2}}


def _curves(config):
  # none: 0 0.2 0.4 0.6 + seed / 100; late: 0.1 more, and seed / 100 more.
  late = config['length_reward.weight'] > 0
  seed = config['seed'] / 100
  y = np.array([0.0, 0.2, 0.4, 0.6]) + seed + late * (0.1 + seed)
  return {
    'rl/reward': y, 'rl/length_mean': 10 + 50 * y,
    'rl/responses_trained': np.full(4, 10 * (1 + late)),
  }  # fmt: skip


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


def test_an_area_over_work_ends_where_both_have_come(arms):
  # At 0, 10, 20, 30 responses none has 0 0.2 0.4 0.6 (+ seed / 100); late, at
  # 0, 20, 40, 60, has 0.1 0.3 0.5 0.7 (+ 2 seed / 100), and 0.4 at 30.
  found = _values(
    arms, arm='late', against='none', by='area', x='rl/responses_trained_total'
  )
  # (0.1 + 0.4) / 2 against 0.6 / 2.
  assert found == (-0.05, -0.04, -0.03)


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
