"""A small ablation and the folders that its runs would leave: no training."""

import json
import pathlib
import sys

import numpy as np

from k15.config import keys
from launch.units import sweep
from launch.units import unit as unit_lib

_FILE = """
from experiments import base
from experiments import sweeps

ARMS = {arms!r}

def get_config(variant=''):
  config = base.get_config()
  config.stages = {stages!r}
  config.update_from_flattened_dict({settings!r})
  return config

def sweep(variant=''):
  return sweeps.product(sweeps.arms(ARMS), sweeps.seeds({seeds}))
"""


def write_file(
  path: pathlib.Path,
  arms: dict,
  seeds: int = 3,
  stages: tuple = ('rl',),
  **settings,
) -> str:
  """Writes a config file with that table; returns 'FILE:cpu'.

  Settings are keys of the config with '__' for a dot.
  """
  settings = {key.replace('__', '.'): v for key, v in settings.items()}
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(
    _FILE.format(arms=arms, seeds=seeds, stages=stages, settings=settings)
  )
  return f'{path}:cpu'


def write_runs(config: str, root: pathlib.Path, curves, **summary) -> list:
  """Writes finished runs of all units; returns the units.

  Args:
    config: of `write_file`.
    root: folder of the runs.
    curves: (all values of the unit) -> metrics float [N] by key; NaN is left
      out.
    summary: of every run.
  """
  units = sweep.units(config)
  for unit in units:
    leaves = keys.leaves(sweep.load_config(config, unit.overrides))
    write_run(root / unit.name, curves(leaves), summary, leaves)
  return units


def write_run(workdir, metrics, summary, leaves):
  workdir.mkdir(parents=True, exist_ok=True)
  length = max((len(values) for values in metrics.values()), default=0)
  lines = [
    dict(stage='rl', step=step, time=0.0)
    | {
      key: float(values[step])
      for key, values in metrics.items()
      if np.isfinite(values[step])
    }
    for step in range(length)
  ]
  _write(workdir / 'metrics.jsonl', '\n'.join(map(json.dumps, lines)))
  _write(workdir / 'summary.json', json.dumps(summary))
  record = dict(
    state='done', exit_code=0, seconds=60.0, attempts=1, commits=['abc1234'],
    overrides={}, settings={},
  )  # fmt: skip
  _write(workdir / 'unit.json', json.dumps(record))
  nested = {}
  for key, value in leaves.items():
    *groups, last = key.split('.')
    at = nested
    for group in groups:
      at = at.setdefault(group, {})
    at[last] = value
  _write(workdir / 'config.json', json.dumps(nested))


def _write(path, text):
  path.write_text(text + '\n')


def stand_in(monkeypatch, script: pathlib.Path) -> None:
  """Units run a script instead of k15.main: its arguments are the workdir and
  the values of the config, as JSON."""

  def command(config, unit, workdir):
    values = keys.leaves(sweep.load_config(config, unit.overrides))
    return [sys.executable, str(script), str(workdir), json.dumps(values)]

  monkeypatch.setattr(unit_lib, 'command', command)
