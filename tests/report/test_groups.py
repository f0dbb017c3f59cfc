"""Which runs are one group.

Names of groups.
"""

import pytest
import run_dirs

from k15 import files
from k15.report import groups as groups_lib
from k15.report import runs as runs_lib


@pytest.fixture
def grouped(tmp_path):
  """Groups of runs that are given as (seed, config)."""

  def make(*runs):
    paths = [
      run_dirs.write(tmp_path / f'{i:02}', seed, config=config)
      for i, (seed, config) in enumerate(runs)
    ]
    return groups_lib.group(runs_lib.read(paths))

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
  assert groups_lib.differences([g.settings for g in groups]) == {
    'loss.tau': [0.1, 0.4]
  }


def test_where_a_run_is_looked_at_makes_no_group(grouped):
  (found,) = grouped(
    (0, {'logging': {'to': ['wandb'], 'name': 'first'}}),
    (1, {'logging': {'to': ['tensorboard'], 'name': 'second'}}),
  )
  assert found.seeds == [0, 1]


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
  groups = groups_lib.group(runs_lib.read(paths))
  assert [found.label for found in groups] == ['00', '01']
  assert groups_lib.differences([g.settings for g in groups]) == {}


def test_the_runs_of_a_single_group_differ_in_the_seed(grouped):
  (found,) = grouped((0, {'checkpoint': 's0'}), (1, {'checkpoint': 's1'}))
  runs = groups_lib.by_run(found)
  assert [single.label for single in runs] == ['00', '01']
  assert groups_lib.differences([g.settings for g in runs]) == {
    'seed': [0, 1], 'checkpoint': ['s0', 's1'],
  }  # fmt: skip


def test_the_last_stage_is_the_furthest_of_any_seed(tmp_path, grouped):
  (found,) = grouped((0, {}), (1, {}))
  assert groups_lib.last_stage(found) is None
  answers = [run_dirs.response(0, True)]
  files.append_jsonl(tmp_path / '01' / 'evaluation_rl.jsonl', answers)
  assert groups_lib.last_stage(found) == 'rl'


NAMES = [['a'], ['b'], ['c'], ['d'], ['e'], ['f']]


def _labels(*settings):
  return groups_lib.labels(settings, NAMES[: len(settings)])


def test_paths_lose_the_folders_they_share():
  paths = ['/x/y/a/1', '/x/y/b/1']
  assert runs_lib.short_paths(paths) == ['a/1', 'b/1']
  assert runs_lib.short_paths(['/x/y/a']) == ['a']
  assert runs_lib.short_paths(['/x/y', '/x/y/z']) == ['y', 'y/z']


def test_differences_have_none_where_there_is_no_key():
  found = groups_lib.differences(
    [{'a': 1, 'b': [1]}, {'a': 1, 'b': [2], 'c': ''}, {}]
  )
  assert found == {'b': [[1], [2], None], 'c': [None, '', None]}


def test_a_label_has_the_keys_that_differ():
  labels = _labels(
    {'loss.tau': 0.1, 'stages': ['sft', 'rl'], 'same': 1},
    {'loss.tau': 0.1, 'stages': ['rl'], 'same': 1},
    {'loss.tau': 0.4, 'stages': [], 'same': 1},
  )
  assert labels == [
    'tau=0.1, stages=sft+rl', 'tau=0.1, stages=rl', 'tau=0.4, stages=()',
  ]  # fmt: skip


def test_the_whole_key_where_two_end_the_same():
  labels = _labels({'sft.rate': 1, 'rl.rate': 1}, {'sft.rate': 2, 'rl.rate': 2})
  assert labels == ['sft.rate=1, rl.rate=1', 'sft.rate=2, rl.rate=2']


def test_long_labels_leave_out_what_most_have():
  base = {
    'problem_sampler.strategy': 'uniform',
    'optimizer.reset_every_iteration': True,
    'loss.baseline': 'mean',
  }
  labels = _labels(
    base,
    base | {'problem_sampler.strategy': 'curriculum'},
    base | {'optimizer.reset_every_iteration': False},
    base | {'loss.baseline': 'tau_log_z'},
  )
  assert labels == [
    'base', 'strategy=curriculum', 'reset_every_iteration=False',
    'baseline=tau_log_z',
  ]  # fmt: skip


def test_longer_ones_leave_out_keys_that_others_tell_for():
  a = {f'group.a_rather_long_name_{i}': 0 for i in range(4)}
  b = dict.fromkeys(a, 1) | {'tau': 0.1}
  labels = _labels(a | {'tau': 0.4}, b)
  assert labels == ['tau=0.4', 'tau=0.1']


def test_values_are_cut_and_paths_lose_what_they_share():
  labels = _labels({'x': 'a' * 30 + 'b'}, {'x': ''})
  assert labels == [f'x={"a" * 12}…{"a" * 10}b', "x=''"]
  labels = _labels({'x': '/m/a/b/last'}, {'x': '/m/c/d/last'}, {'x': ''})
  assert labels == ['x=a/b', 'x=c/d', "x=''"]


def test_nothing_to_tell_apart_leaves_the_names_of_runs():
  assert groups_lib.labels([{'a': 1}], [['s0', 's1']]) == ['s0, s1']
  long = [f'run-number-{i}' for i in range(9)]
  assert groups_lib.labels([{}], [long]) == ['run-number-0 and 8 more']
  assert _labels({'a': 1}, {'a': 2}, {}) == ['a=1', 'a=2', 'c']


def test_no_two_are_the_same_and_none_breaks_a_line():
  middle = 'x' * 40
  labels = _labels({'k': f'{middle}a{middle}'}, {'k': f'{middle}b{middle}'})
  assert labels == [f'k={"x" * 12}…{"x" * 11} ({name})' for name in 'ab']
  assert groups_lib.labels([{}, {}], [['a'], ['a']]) == ['a', 'a (2)']
  assert groups_lib.labels([{}], [['a\n\x00b']]) == ['a b']
