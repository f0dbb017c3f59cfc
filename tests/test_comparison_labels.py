"""Names of groups."""

from k15 import comparison
from k15 import run_files

NAMES = [['a'], ['b'], ['c'], ['d'], ['e'], ['f']]


def _labels(*settings):
  return comparison.labels(settings, NAMES[: len(settings)])


def test_paths_lose_the_folders_they_share():
  paths = ['/x/y/a/1', '/x/y/b/1']
  assert run_files.short_paths(paths) == ['a/1', 'b/1']
  assert run_files.short_paths(['/x/y/a']) == ['a']
  assert run_files.short_paths(['/x/y', '/x/y/z']) == ['y', 'y/z']


def test_differences_have_none_where_there_is_no_key():
  found = comparison.differences(
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
  assert comparison.labels([{'a': 1}], [['s0', 's1']]) == ['s0, s1']
  long = [f'run-number-{i}' for i in range(9)]
  assert comparison.labels([{}], [long]) == ['run-number-0 and 8 more']
  assert _labels({'a': 1}, {'a': 2}, {}) == ['a=1', 'a=2', 'c']


def test_no_two_are_the_same_and_none_breaks_a_line():
  middle = 'x' * 40
  labels = _labels({'k': f'{middle}a{middle}'}, {'k': f'{middle}b{middle}'})
  assert labels == [f'k={"x" * 12}…{"x" * 11} ({name})' for name in 'ab']
  assert comparison.labels([{}, {}], [['a'], ['a']]) == ['a', 'a (2)']
  assert comparison.labels([{}], [['a\n\x00b']]) == ['a b']
