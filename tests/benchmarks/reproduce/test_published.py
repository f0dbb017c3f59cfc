"""Runs of which docs/reproduce/NAME.json is left, judged again."""

import json

import fake_ablation as fake
import numpy as np
import pytest

from benchmarks.reproduce import ablation_page
from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import published
from benchmarks.reproduce import verdicts
from experiments.ablations import claims
from k15.report import figures

ARMS = {'ours': {}, 'ReST': {'loss.method': 'rest'}}
CLAIM = claims.Claim(
  'Fig. 10', 'Is it so?', 'It is.',
  (claims.BOTH[0], claims.Panel(claims.ACCURACY, 'seconds_total')),
  (claims.area('ours', 'ReST', 'above', x=claims.DECODED),),
  (claims.Check('reward', 'rl/reward', 'ours', least=0.1),),
)  # fmt: skip


def _curves(config):
  ours = config['loss.method'] == 'mirror_descent'
  y = np.arange(4) / 7 + 0.1 * ours + config['seed'] / 100
  return {
    'evaluation/accuracy': y, 'rl/reward': y, 'rollout/decode_steps': y + 9,
    'time/update_seconds': np.ones(4),
  }  # fmt: skip


def _dumps(config, arms, result):
  return published.dumps(
    published.content_of('a', CLAIM, config, arms, result, '2026-11-29')
  )


@pytest.fixture
def runs(tmp_path):
  """A config with its units, their runs, and the page that was made of them."""
  config = fake.write_file(tmp_path / 'a.py', ARMS, seeds=3)
  units = fake.write_runs(config, tmp_path / 'r', _curves)
  for unit in units:
    path = tmp_path / 'r' / unit.name / 'unit.json'
    record = json.loads(path.read_text()) | dict(overrides=unit.overrides)
    path.write_text(json.dumps(record))
  arms, _ = data.read_arms(config, units, tmp_path / 'r')
  result = verdicts.of_claim(CLAIM, 'Why.', arms)
  text = _dumps(config, arms, result)
  (tmp_path / 'a.json').write_text(text)
  return config, units, result, tmp_path / 'a.json'


def test_published_runs_come_to_the_same(runs):
  config, units, result, path = runs
  arms = published.read(path, config, units)
  again = verdicts.of_claim(CLAIM, 'Why.', arms)
  assert (again.verdict, again.iterations) == (result.verdict, 4)
  assert again.commits == result.commits == ('abc1234',)
  for what, found in result.estimates.items():
    assert again.estimates[what].values == pytest.approx(found.values, abs=1e-6)
  assert again.conditions[0].found.mean == pytest.approx(
    result.conditions[0].found.mean
  )
  text = _dumps(config, arms, again)
  saved = json.loads(path.read_text())
  assert json.loads(text)['arms'] == saved['arms']
  (check,) = saved['checks'].values()
  assert (check['least'], check['fails']) == (0.1, False)
  (measure,) = saved['measures'].values()
  assert (measure['decides'], measure['verdict']) == (True, 'holds')
  assert measure['expected'] == 'above 0'
  assert published.estimate_of(measure).mean == measure['mean']
  (condition,) = published.conditions_of(saved)
  assert condition.text() == result.conditions[0].text()


def test_what_was_not_kept_is_not_measured_and_not_drawn(runs):
  config, units, _, path = runs
  arms = published.read(path, config, units)
  claim = claims.Claim(
    'Fig. 10', 'Is it so?', 'It is.',
    (*CLAIM.panels, claims.Panel('rl/entropy')),
    (claims.Measure('entropy', 'rl/entropy', 'ours', expected='above'),),
    (claims.Check('entropy', 'rl/entropy', 'ours', least=1),),
  )  # fmt: skip
  result = verdicts.of_claim(claim, 'Why.', arms)
  assert result.estimates == {'entropy': None}
  assert (result.verdict, result.sentence) == (
    'cannot tell', 'entropy: it was not measured in these runs',
  )  # fmt: skip
  figure = ablation_page.draw(claim, arms, result.conditions)
  assert len(figure.axes) == 2
  assert figure.get_supxlabel().endswith(
    '\nentropy: not measured in these runs, at least 1'
  )
  assert figures.to_png(figure, dpi=20).startswith(b'\x89PNG')


def test_runs_of_another_claim_are_refused(runs, tmp_path):
  config, units, _, path = runs
  assert published.read(tmp_path / 'none.json', config, units) == {}
  with pytest.raises(data.DataError, match=r'it has no run of x,seed=9'):
    extra = type(units[0])('x,seed=9', {'seed': 9})
    published.read(path, config, [*units, extra])
  with pytest.raises(data.DataError, match='its runs are others than those'):
    published.read(path, config, units[1:])
  other = fake.write_file(tmp_path / 'a.py', ARMS, rl__epochs=4)
  with pytest.raises(data.DataError, match='had other settings: rl.epochs'):
    published.read(path, other, units)
