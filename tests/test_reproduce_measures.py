"""Numbers of runs, one for each seed."""

import fake_ablation as fake
import numpy as np
import pytest

from benchmarks import ablation_runs as data
from benchmarks import findings
from experiments.ablations.claims import EACH
from experiments.ablations.claims import FIRST
from experiments.ablations.claims import LAST
from experiments.ablations.claims import Measure

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
