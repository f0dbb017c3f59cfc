"""Units of an ablation as curves of arms and seeds."""

import json

import fake_ablation as fake
import numpy as np
import pytest

from benchmarks.reproduce import ablation_runs as data
from experiments.ablations import claims
from launch.units import sweep

NAN = np.nan
ARMS = {'ours': {}, 'ReST': {'loss.method': 'rest', 'stages': ['rl']}}


def _curves(config):
  ours = config['loss.method'] == 'mirror_descent'
  top = 0.1 * config['seed'] + (0.5 if ours else 0.25)
  return {
    'rl/reward': np.array([0.0, 0.5, 1.0, NAN]) * top,
    'evaluation/accuracy': np.array([NAN, top / 2, NAN, top]),
    'evaluation/mean_tokens': np.array([NAN, 10, NAN, 20]),
    'time/rollout_seconds': np.array([2.0, 1.0, 1.0, 1.0]),
    'time/update_seconds': np.array([0.5, 0.5, 0.5, 0.5]),
    'time/judging_seconds': np.array([9.0, 9.0, 9.0, 9.0]),
    'rollout/decode_steps': np.array([40, 30, 20, 10]),
  }


@pytest.fixture
def arms(tmp_path):
  config = fake.write_file(tmp_path / 'a.py', ARMS, seeds=2)
  units = fake.write_runs(
    config, tmp_path / 'r', _curves, accuracy_after_rl=0.9
  )
  found, missing = data.read_arms(config, units, tmp_path / 'r')
  assert missing == 0
  return found


def test_units_are_found_by_arm_and_seed(arms):
  assert {label: list(runs) for label, runs in arms.items()} == {
    'ours': [0, 1], 'ReST': [0, 1],
  }  # fmt: skip
  run = arms['ReST'][1]
  assert (run.seed, run.config['loss.method']) == (1, 'rest')
  assert run.summary == {'accuracy_after_rl': 0.9}


def test_units_that_are_not_done_are_missing(tmp_path):
  config = fake.write_file(tmp_path / 'a.py', ARMS, seeds=2)
  units = fake.write_runs(config, tmp_path / 'r', _curves)
  path = tmp_path / 'r' / units[3].name / 'unit.json'
  path.write_text(json.dumps(dict(state='failed')))
  found, missing = data.read_arms(config, units, tmp_path / 'r')
  assert missing == 1
  assert list(found['ReST']) == [0]


def test_a_unit_of_no_arm_or_of_two_is_refused(tmp_path):
  unit = sweep.Unit('u', {'loss.tau': 1.0, 'rl.epochs': 2})
  assert data.arm_of(unit, {'a': {}, 'b': {'loss.tau': 1}}) == 'b'
  with pytest.raises(data.DataError, match=r'is of 0 arms: \[\]'):
    data.arm_of(unit, {'a': {'loss.tau': 2}})
  with pytest.raises(data.DataError, match=r"is of 2 arms: \['a', 'b'\]"):
    data.arm_of(unit, {'a': {'loss.tau': 1}, 'b': {'rl.epochs': 2}})
  with pytest.raises(data.DataError, match='no table ARMS'):
    data.read_arms('experiments/base.py', [], tmp_path)


def test_a_curve_counts_the_iterations_done_before(arms):
  run = arms['ours'][1]  # top is 0.6
  x, y = data.series(run, 'rl/reward')
  np.testing.assert_allclose([x, y], [[0, 1, 2], [0, 0.3, 0.6]])
  x, y = data.series(run, 'evaluation/accuracy')
  np.testing.assert_allclose([x, y], [[2, 4], [0.3, 0.6]])
  x, y = data.series(run, 'summary/accuracy')
  assert (x.tolist(), y.tolist()) == ([4], [0.9])
  with pytest.raises(data.DataError, match='no value of rl/nope'):
    data.series(run, 'rl/nope')


def test_the_last_evaluation_may_be_that_of_the_recipe(tmp_path, arms):
  run = arms['ours'][0]
  del run.records[-1]['evaluation/accuracy']
  x, y = data.series(run, 'evaluation/accuracy')
  np.testing.assert_allclose([x, y], [[2, 4], [0.25, 0.9]])


def test_time_is_of_the_phases_that_an_iteration_waits_for(arms):
  run = arms['ours'][0]
  np.testing.assert_allclose(
    data.series(run, 'seconds')[1], [2.5, 1.5, 1.5, 1.5]
  )
  np.testing.assert_allclose(
    data.series(run, 'seconds_total')[1], [2.5, 4, 5.5, 7]
  )
  np.testing.assert_allclose(
    data.series(run, 'decode_steps')[1], [40, 30, 20, 10]
  )


def test_two_metrics_where_both_are_known(arms):
  run = arms['ours'][0]
  iterations, x, y = data.pairs(
    run, 'evaluation/accuracy', 'evaluation/mean_tokens'
  )
  assert iterations.tolist() == [2, 4]
  assert (x.tolist(), y.tolist()) == ([10, 20], [0.25, 0.5])
  # After 2 iterations 4 s had passed, after 4 it was 7 s.
  _, x, y = data.pairs(run, 'evaluation/accuracy', 'seconds_total')
  assert (x.tolist(), y.tolist()) == ([4, 7], [0.25, 0.5])
  # An iteration's own reward is of before its time was spent.
  _, x, y = data.pairs(run, 'rl/reward', 'seconds_total')
  assert (x.tolist(), y.tolist()) == ([0, 2.5, 4], [0, 0.25, 0.5])
  with pytest.raises(data.DataError, match='never known together'):
    data.pairs(run, 'summary/accuracy', 'rl/reward')


def _with_checkpoint(tmp_path, model='', **changed):
  """A run that began with a workdir of its own config, but for changes."""
  start = tmp_path / 'warm_up'
  config = fake.write_file(
    tmp_path / 'a.py', {'ours': {}}, seeds=1, checkpoint=str(start / model)
  )
  parts = {'easy': {'accuracy': 0.6, 'problems': 2}}
  summary = dict(
    accuracy_after_sft=0.3, accuracy_after_long_cot=0.4, parts_after_sft=parts
  )

  def curves(leaves):
    fake.write_run(start, {}, summary, leaves | changed)
    return _curves(leaves)

  units = fake.write_runs(config, tmp_path / 'r', curves)
  return data.read_arms(config, units, tmp_path / 'r')[0]['ours'][0]


def test_a_metric_of_the_run_before(tmp_path):
  run = _with_checkpoint(tmp_path, 'models/rl')
  curve = ''.join(
    json.dumps({'stage': stage, 'step': i, claims.ACCURACY: i / 10}) + '\n'
    for i in range(3)
    for stage in ('rl', 'sft')
  )
  (tmp_path / 'warm_up/metrics.jsonl').write_text(curve)
  x, y = data.series(run, f'start/{claims.ACCURACY}')
  np.testing.assert_allclose([x, y], [[1, 2, 3], [0, 0.1, 0.2]])
  (tmp_path / 'warm_up/config.json').unlink()
  with pytest.raises(data.DataError, match='that it began with is not there'):
    data.series(run, 'start/evaluation/accuracy')


@pytest.mark.parametrize(
  ('model', 'accuracy'),
  [('', 0.4), ('models/sft', 0.3), ('models/long_cot', 0.4)],
)
def test_a_curve_begins_with_the_model_that_the_run_began_with(
  tmp_path, model, accuracy
):
  run = _with_checkpoint(tmp_path, model, **{'task.train_problems': 9})
  x, y = data.series(run, 'evaluation/accuracy')
  np.testing.assert_allclose([x, y], [[0, 2, 4], [accuracy, 0.25, 0.5]])


def test_the_curve_of_a_part_begins_there_too(tmp_path):
  run = _with_checkpoint(tmp_path, 'models/sft')
  x, y = data.series(run, 'evaluation/accuracy_easy')
  assert (x.tolist(), y.tolist()) == ([0], [0.6])


def test_but_not_if_that_was_asked_other_problems(tmp_path):
  run = _with_checkpoint(tmp_path, **{'task.max_difficulty': 0.5})
  assert data.series(run, 'evaluation/accuracy')[0].tolist() == [2, 4]


def test_or_with_the_stage_before(tmp_path):
  config = fake.write_file(
    tmp_path / 'a.py', {'ours': {}}, seeds=1, stages=('sft', 'rl')
  )
  units = fake.write_runs(
    config, tmp_path / 'r', _curves, accuracy_after_sft=0.2,
    accuracy_after_rl=0.6,
  )  # fmt: skip
  run = data.read_arms(config, units, tmp_path / 'r')[0]['ours'][0]
  assert run.before == {'accuracy': 0.2}
