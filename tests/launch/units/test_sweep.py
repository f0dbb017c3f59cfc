"""Work units of config files: what is refused, names, arguments.

Names of work units.
"""

import subprocess
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from k15.config import command_line
from k15.config import keys as keys_lib
from launch.units import sweep

_FILE = """
from experiments import base
from experiments import sweeps

def get_config(variant=''):
  config = base.get_config()
  if variant == 'cpu':
    config.rl.iterations = 4
  elif variant:
    raise ValueError(f'unknown variant {variant!r}')
  return config

def sweep(variant=''):
"""


@pytest.fixture
def write(tmp_path):
  """Writes a config file with that body of sweep(); returns its path."""

  def write_file(body):
    path = tmp_path / 'config.py'
    path.write_text(_FILE + f'  {body}\n')
    return str(path)

  return write_file


def test_units_of_arms_and_seeds(write):
  path = write(
    "return sweeps.product(sweeps.arms({'a': {}, 'b': {'loss.tau': 1}}),"
    ' sweeps.seeds(2))'
  )
  units = sweep.units(f'{path}:cpu')
  assert [unit.name for unit in units] == [
    'tau=0.1,seed=0', 'tau=0.1,seed=1', 'tau=1.0,seed=0', 'tau=1.0,seed=1',
  ]  # fmt: skip
  assert units[0].overrides == {'seed': 0}
  assert units[3].overrides == {'loss.tau': 1.0, 'seed': 1}
  assert type(units[3].overrides['loss.tau']) is float


def test_the_sweep_gets_the_variant(write):
  path = write("return sweeps.seeds(3 if variant == 'cpu' else 5)")
  assert len(sweep.units(path)) == 5
  assert len(sweep.units(f'{path}:cpu')) == 3


def test_the_config_is_locked_and_has_the_overrides(write):
  path = write('return sweeps.seeds(1)')
  config = sweep.load_config(
    f'{path}:cpu', {'seed': 7, 'rollout.mesh': [2, 1, 4]}
  )
  assert (config.seed, config.rl.iterations) == (7, 4)
  assert config.rollout.mesh == (2, 1, 4)
  with pytest.raises(AttributeError):
    config.nope = 1


def test_arguments_are_read_back_by_the_flags_of_k15_main(write):
  overrides = {
    'checkpoint': '', 'task.system_prompt': "it's = 2,\n", 'stages': ('rl',),
    'mesh.rules': (), 'optimizer.offload': True, 'policy.qk_norm': False,
    'loss.tau': 1e-05, 'policy.rope_theta': 1e6, 'seed': 3,
    'rollout.mesh': (2, 1, 4), 'rl.iterations': 12,
  }  # fmt: skip
  path = write(f'return [{overrides!r}]')
  unit = sweep.units(path)[0]
  argv = ['', f'--config={path}', *sweep.arguments(unit)]
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', flag_values=values, sys_argv=argv)
  command_line.parse_flags(argv, values)
  assert {
    key: keys_lib.leaves(values.config)[key] for key in overrides
  } == overrides


def test_numbers_and_arrays_of_numpy_are_taken(write):
  """As the config has them: 10 ** -2 is 0.01, and 2 ** -1 a half."""
  path = write(
    "import numpy as np; return [{'loss.tau': np.logspace(-2, 0, 3)[0],"
    " 'seed': np.arange(3)[2], 'rollout.mesh': np.array([2, 1, 4]),"
    " 'optimizer.offload': np.bool_(True), 'rl.epochs': np.array(2),"
    " 'loss.grpo_clip': np.float32(0.5), 'checkpoint': np.str_('x'),"
    " 'evaluation.pass_at': [np.int64(1), 4]}]"
  )
  [unit] = sweep.units(path)
  expected = {
    'loss.tau': 0.01, 'seed': 2, 'rollout.mesh': (2, 1, 4),
    'optimizer.offload': True, 'rl.epochs': 2, 'loss.grpo_clip': 0.5,
    'checkpoint': 'x', 'evaluation.pass_at': (1, 4),
  }  # fmt: skip
  assert repr(unit.overrides) == repr(expected)  # Of Python's own types.
  assert '--config.loss.tau=0.01' in sweep.arguments(unit)


@pytest.mark.parametrize(
  ('body', 'sentence'),
  [
    (
      "import numpy as np; return [{'seed': np.float64(1.5)}]",
      'seed=1.5: expected a whole number',
    ),
    (
      "import numpy as np; return [{'loss.tau': np.linspace(0, 1, 2)}]",
      r'loss.tau=\(0.0, 1.0\): expected a number',
    ),
    (
      "import numpy as np; return [{'rollout.mesh': np.array(4)}]",
      'rollout.mesh=4: expected a quoted tuple',
    ),
    ("return [{'loss.tua': 1}]", 'no key loss.tua; the closest is loss.tau'),
    ("return [{'mean': 1}]", 'there is no key mean'),
    (
      "return [{'loss': 1}]",
      'loss is a group; set one of its keys, such as loss.',
    ),
    ("return [{'seed': 1.5}]", 'seed=1.5: expected a whole number, such as'),
    ("return [{'seed': True}]", 'seed=True: expected a whole number'),
    ("return [{'stages': 'rl'}]", "stages='rl': expected a quoted tuple"),
    ("return [{'optimizer.offload': 1}]", '=1: expected true or false'),
    ('return sweeps.seeds(0)', r'sweep\(\) yields no work units'),
    ('return [3]', r'sweep\(\) yields 3; a dict of values'),
    (
      "return [{'seed': 1}, {}, {'seed': 0}]",
      'work units 1 and 2 are the same run',
    ),
    (
      'return sweeps.product(sweeps.seeds(2), sweeps.seeds(2))',
      r'config.py: ValueError: seed is in two of the sweeps',
    ),
  ],
)
def test_mistakes_of_a_sweep_are_one_sentence(write, body, sentence):
  with pytest.raises(sweep.SweepError, match=sentence) as error:
    sweep.units(write(body))
  assert '\n' not in str(error.value)


def test_mistakes_of_a_file_are_one_sentence(write, tmp_path):
  path = write('return sweeps.seeds(1)')
  cases = {
    f'{path}:nope': "ValueError: unknown variant 'nope'",
    f'{tmp_path}/nope.py': 'no file .*nope.py',
    'experiments/base.py': r'there is no function sweep\(\)',
    'experiments/sweeps.py': r'there is no function get_config\(\)',
  }
  for config, sentence in cases.items():
    with pytest.raises(sweep.SweepError, match=sentence):
      sweep.units(config)
  assert [u.name for u in sweep.single('experiments/base.py')] == ['seed=0']


def test_overrides_of_all_units(write):
  path = write('return sweeps.seeds(2)')
  extra = sweep.parse(path, ['--config.loss.tau=1', "--config.stages=('rl',)"])
  assert extra == {'loss.tau': 1.0, 'stages': ('rl',)}
  units = sweep.units(path, extra)
  assert [unit.name for unit in units] == ['seed=0', 'seed=1']
  assert sweep.arguments(units[1]) == [
    '--config.loss.tau=1.0', "--config.stages=('rl',)", '--config.seed=1',
  ]  # fmt: skip
  with pytest.raises(sweep.SweepError, match='seed is set by the sweep, too'):
    sweep.units(path, {'seed': 4})
  for texts, sentence in (
    (['--config.los.tau=1'], 'the closest is loss.tau'),
    (['--config.seed=x'], '--config.seed=x: invalid literal'),
    (['--config.seed=1', '--config.seed=2'], 'is given twice'),
    (['--seed=1'], "'--seed=1' is no flag"),
  ):
    with pytest.raises(sweep.SweepError, match=sentence):
      sweep.parse(path, texts)


def test_launching_imports_no_jax():
  code = (
    'import sys; from launch import local; from launch.units import sweep;'
    " sweep.single('experiments/arithmetic.py:smoke');"
    " sys.exit(bool({'jax', 'numpy'} & set(sys.modules)))"
  )
  assert subprocess.run([sys.executable, '-c', code]).returncode == 0


def test_narrow_numbers_of_numpy_are_the_digits_that_were_meant(write):
  path = write(
    "import numpy as np; return [{'loss.tau': x} for x in"
    ' np.array([0.1, 0.01], np.float32)]'
  )
  units = sweep.units(path)
  assert [unit.overrides['loss.tau'] for unit in units] == [0.1, 0.01]
  assert [unit.name for unit in units] == ['tau=0.1', 'tau=0.01']


def _names(*units):
  keys = dict.fromkeys(key for unit in units for key in unit)
  return sweep.unit_names(list(keys), [{'seed': 0} | unit for unit in units])


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


def test_a_folder_that_follows_from_the_rest_is_left_out():
  units = [
    {'checkpoint': f'runs/{width},{s}', 'policy.d_model': width, 'seed': s}
    for width in (32, 64)
    for s in (0, 1)
  ]
  assert _names(*units) == [
    'd_model=32,seed=0', 'd_model=32,seed=1', 'd_model=64,seed=0',
    'd_model=64,seed=1',
  ]  # fmt: skip
  # Not a number that does, which is what was asked.
  pairs = [{'loss.tau': n, 'loss.gamma': n + 1} for n in (0.1, 0.2)]
  assert _names(*pairs) == ['tau=0.1,gamma=1.1', 'tau=0.2,gamma=1.2']


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
