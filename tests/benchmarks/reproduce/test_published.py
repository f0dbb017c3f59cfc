"""Runs of which docs/reproduce/NAME.json is left, judged again."""

import dataclasses
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


def _dumps(config, arms, result, claim=CLAIM):
  return published.dumps(
    published.content_of('a', claim, config, arms, result, '2026-11-29')
  )


def _write(folder, claim, stages=('rl',), **summary):
  """A config with its units, what its runs say, and the JSON made of them."""
  config = fake.write_file(folder / 'a.py', ARMS, seeds=3, stages=stages)
  units = fake.write_runs(config, folder / 'r', _curves, **summary)
  for unit in units:
    path = folder / 'r' / unit.name / 'unit.json'
    record = json.loads(path.read_text()) | dict(overrides=unit.overrides)
    path.write_text(json.dumps(record))
  arms, _ = data.read_arms(config, units, folder / 'r')
  result = verdicts.of_claim(claim, 'Why.', arms)
  (folder / 'a.json').write_text(_dumps(config, arms, result, claim))
  return config, units, result, folder / 'a.json'


@pytest.fixture
def runs(tmp_path):
  return _write(tmp_path, CLAIM)


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


def test_what_right_answers_rest_on_before_rl_is_kept(tmp_path):
  check = claims.Check(
    'misconceptions', claims.MISCONCEPTION, 'ours', 'before', least=0.2
  )
  claim = dataclasses.replace(CLAIM, checks=(check,))
  config, units, result, path = _write(
    tmp_path, claim, ('sft', 'rl'), misconception_given_right_after_sft=0.1
  )
  assert result.verdict == verdicts.NOT_POSED
  arms = published.read(path, config, units)
  again = verdicts.of_claim(claim, 'Why.', arms)
  assert again.conditions[0].text() == result.conditions[0].text()
  assert again.conditions[0].found.values == (0.1, 0.1, 0.1)


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
