"""Which runs are one group."""

import pytest
import run_dirs

from k15 import comparison
from k15 import files
from k15 import run_files


@pytest.fixture
def grouped(tmp_path):
  """Groups of runs that are given as (seed, config)."""

  def make(*runs):
    paths = [
      run_dirs.write(tmp_path / f'{i:02}', seed, config=config)
      for i, (seed, config) in enumerate(runs)
    ]
    return comparison.group(run_files.read(paths))

  return make


def _members(groups):
  return [[run.name for run in found.runs] for found in groups]


def test_runs_that_differ_in_the_seed_alone_are_one_group(grouped):
  groups = grouped(
    (2, {'loss': {'tau': 0.1}}),
    (0, {'loss': {'tau': 0.4}}),
    (1, {'loss': {'tau': 0.1}}),
    (1, {'loss': {'tau': 0.1}}),
  )
  assert _members(groups) == [['02', '03', '00'], ['01']]
  assert [found.label for found in groups] == ['tau=0.1', 'tau=0.4']
  assert groups[0].seeds == [1, 2]
  assert comparison.differences([g.settings for g in groups]) == {
    'loss.tau': [0.1, 0.4]
  }


def test_a_path_may_differ_by_the_seed(grouped):
  groups = grouped(
    *((s, {'checkpoint': f'/x0/lr0.1/seed{s}/models'}) for s in (0, 1, 10)),
    *((s, {'checkpoint': f'/x0/lr0.2/seed{s}/models'}) for s in (0, 1, 10)),
  )
  assert _members(groups) == [['00', '01', '02'], ['03', '04', '05']]
  path = '/x0/lr0.1/seed{seed}/models'
  assert groups[0].settings['checkpoint'] == path
  assert [found.label for found in groups] == [
    'checkpoint=lr0.1', 'checkpoint=lr0.2',
  ]  # fmt: skip


def test_of_a_grid_the_number_that_every_seed_has_is_the_seed(grouped):
  # lr0/seed0, lr1/seed1 and lr2/seed2 would be one group, too.
  runs = [
    (seed, {'checkpoint': f'lr{lr}/seed{seed}'})
    for lr in range(3)
    for seed in range(3)
  ]
  groups = grouped(*runs)
  assert [found.settings['checkpoint'] for found in groups] == [
    'lr0/seed{seed}', 'lr1/seed{seed}', 'lr2/seed{seed}',
  ]  # fmt: skip


def test_one_checkpoint_for_all_seeds_stays_as_it_is(grouped):
  tau = {'loss': {'tau': 0.4}}
  groups = grouped(
    *((s, {'checkpoint': 'base/seed0'}) for s in (0, 1)),
    *((s, {'checkpoint': f'base/seed{s}'} | tau) for s in (0, 1)),
  )
  assert _members(groups) == [['00', '01'], ['02', '03']]
  paths = [found.settings['checkpoint'] for found in groups]
  assert paths == ['base/seed0', 'base/seed{seed}']


def test_lists_of_paths_and_numbers_that_are_no_seed(grouped):
  groups = grouped(
    *((s, {'candidates': [f'a/{s}', f'b/{s}'], 'depth': 4}) for s in (3, 4)),
    (4, {'candidates': ['a/4', 'b/4'], 'depth': 3}),
  )
  assert _members(groups) == [['00', '01'], ['02']]
  assert groups[0].settings['candidates'] == 'a/{seed}, b/{seed}'


def test_runs_without_a_config_stand_alone(tmp_path, grouped):
  grouped((0, {}), (1, {}))
  for name in ('00', '01'):
    (tmp_path / name / 'config.json').unlink()
  paths = [tmp_path / '00', tmp_path / '01']
  groups = comparison.group(run_files.read(paths))
  assert [found.label for found in groups] == ['00', '01']
  assert comparison.differences([g.settings for g in groups]) == {}


def test_the_runs_of_a_single_group_differ_in_the_seed(grouped):
  (found,) = grouped((0, {'checkpoint': 's0'}), (1, {'checkpoint': 's1'}))
  runs = comparison.by_run(found)
  assert [single.label for single in runs] == ['00', '01']
  assert comparison.differences([g.settings for g in runs]) == {
    'seed': [0, 1], 'checkpoint': ['s0', 's1'],
  }  # fmt: skip


def test_the_last_stage_is_the_furthest_of_any_seed(tmp_path, grouped):
  (found,) = grouped((0, {}), (1, {}))
  assert comparison.last_stage(found) is None
  answers = [run_dirs.response(0, True)]
  files.append_jsonl(tmp_path / '01' / 'evaluation_rl.jsonl', answers)
  assert comparison.last_stage(found) == 'rl'
