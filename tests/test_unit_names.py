"""Names of work units."""

from launch import unit_names


def _names(*units):
  keys = dict.fromkeys(key for unit in units for key in unit)
  return unit_names.names(list(keys), [{'seed': 0} | unit for unit in units])


def test_a_name_says_what_differs():
  shared = {'rl.iterations': 4}
  assert _names(
    shared | {'problem_sampler.strategy': 'uniform', 'seed': 0},
    shared | {'problem_sampler.strategy': 'curriculum', 'seed': 0},
    shared | {'problem_sampler.strategy': 'curriculum', 'seed': 1},
  ) == [
    'strategy=uniform,seed=0',
    'strategy=curriculum,seed=0',
    'strategy=curriculum,seed=1',
  ]


def test_what_follows_from_the_seed_is_left_out():
  units = [
    {'checkpoint': f'runs/seed={s}', 'loss.tau': tau, 'seed': s}
    for tau in (0.0, 0.1)
    for s in (0, 1)
  ]
  assert _names(*units) == [
    'tau=0.0,seed=0', 'tau=0.0,seed=1', 'tau=0.1,seed=0', 'tau=0.1,seed=1',
  ]  # fmt: skip
  assert _names(*units[:2]) == ['seed=0', 'seed=1']
  # One seed decides nothing.
  assert _names(units[0], units[2]) == ['tau=0.0', 'tau=0.1']
  assert _names(units[0]) == ['seed=0']


def test_a_last_part_that_two_keys_share_is_written_whole():
  assert _names({'sft.steps': 1, 'dpo.steps': 1}, {'sft.steps': 2,
         'dpo.steps': 1}) == ['steps=1', 'steps=2']  # fmt: skip
  assert _names({'sft.steps': 1, 'dpo.steps': 1}, {'sft.steps': 2,
         'dpo.steps': 3}) == ['sft.steps=1,dpo.steps=1',
                              'sft.steps=2,dpo.steps=3']  # fmt: skip


def test_names_are_safe_for_file_systems():
  assert _names({'checkpoint': '../a b'}, {'checkpoint': ''}) == [
    'checkpoint=.._a_b',
    'checkpoint=none',
  ]
  assert _names({'stages': ('sft', 'rl')}, {'stages': ()}) == [
    'stages=sft+rl',
    'stages=none',
  ]


def test_names_that_would_be_one_get_a_sum():
  first, second = _names({'checkpoint': 'a/b'}, {'checkpoint': 'A:b'})
  assert first.startswith('checkpoint=a_b~')
  assert second.startswith('checkpoint=A_b~')
  assert first.casefold() != second.casefold()
  long = _names({'checkpoint': 'x' * 400}, {'checkpoint': 'y' * 400})
  assert [len(name) for name in long] == [189, 189]  # 180, ~, 8 digits
