"""Every ablation, at every scale, is a sweep of configs that can run."""

import ast
import functools
import pathlib

import pytest

from experiments.ablations import claims
from k15.config import checks
from k15.data import arithmetic
from launch.units import sweep

FOLDER = pathlib.Path(__file__).resolve().parents[2] / 'experiments/ablations'
WARM_UPS = sorted(path.stem for path in FOLDER.glob('warm_up*.py'))
FIGURES = claims.FIGURES


@functools.cache
def _units(name, variant):
  return sweep.units(f'{FOLDER / name}.py:{variant}')


@pytest.mark.parametrize('name', [*FIGURES, *WARM_UPS])
def test_a_file_is_one_page_that_says_what_to_expect(name):
  text = (FOLDER / f'{name}.py').read_text()
  assert len(text.splitlines()) <= 70
  doc = ast.get_docstring(ast.parse(text))
  assert 'Cost:' in doc
  if name not in WARM_UPS:
    assert 'Expected:' in doc
    assert f'make reproduce FIGURE={name}\n' in doc


@pytest.mark.parametrize('name', FIGURES)
def test_every_arm_has_the_same_seeds_and_budget(name):
  units = _units(name, 'cpu')
  seeds = [unit.overrides['seed'] for unit in units]
  count = len(set(seeds))
  assert count in (5, 6, 8)
  assert sorted(seeds) == sorted([*range(count)] * (len(units) // count))
  budgets = {
    (c.rl.iterations, c.rl.problems_per_iteration, c.rl.group_size)
    for c in _configs(name, 'cpu')
  }
  assert len(budgets) == 1


@pytest.mark.parametrize('variant', ['cpu', 'tune', 'smoke', 'paper'])
@pytest.mark.parametrize('name', FIGURES)
def test_configs_are_valid(name, variant, tmp_path):
  devices = 64 if variant == 'paper' else 1
  for config in _configs(name, variant):
    # Files of the user's, and models of other runs.
    config.task.train_path = __file__ if config.task.name == 'file' else ''
    config.sft.files = (__file__,) * len(config.sft.files)
    if 'merge' in config.stages:
      config.checkpoint = 'some/model'
      config.long2short.short_model = str(tmp_path)
    checks.validate(config, devices, arithmetic.KINDS)


@pytest.mark.parametrize('name', [*FIGURES, *WARM_UPS])
@pytest.mark.parametrize('variant', ['cpu', 'tune'])
def test_what_a_run_begins_with_is_a_run_of_a_warm_up(name, variant):
  root = pathlib.Path('runs/reproduce')
  for unit in _units(name, variant):
    for key in ('checkpoint', 'long2short.short_model'):
      path = pathlib.Path(unit.overrides.get(key, '.'))
      if path.is_relative_to(root):
        warm_up, run, _, stage = path.relative_to(root).parts
        stages, seed = _warm_ups(warm_up)[run]
        assert stage in stages and seed == unit.overrides['seed']


@functools.cache
def _warm_ups(name):
  """Stages and seed of each run."""
  units, configs = _units(name, 'cpu'), _configs(name, 'cpu')
  pairs = zip(units, configs, strict=True)
  return {unit.name: (c.stages, c.seed) for unit, c in pairs}


def test_tuning_uses_no_seed_of_a_figure():
  for name in FIGURES:
    for unit in _units(name, 'tune'):
      assert unit.overrides['seed'] >= 8


def _configs(name, variant):
  path = f'{FOLDER / name}.py:{variant}'
  return [
    sweep.load_config(path, unit.overrides) for unit in _units(name, variant)
  ]
