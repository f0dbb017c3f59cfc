"""A figure's runs: what is missing of them, after what they begin with.

A run depends on its config alone, bit for bit.  So where a unit has the config
of a finished unit of another figure, such as the arm with all the defaults, its
curves are taken from there.
"""

import collections
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Collection, Sequence

from experiments.ablations import scales
from launch import local
from launch.units import sweep
from launch.units import unit as unit_lib

# Where config files expect the models of the warm-up.
ROOT = pathlib.Path(scales.RUNS)
_LEFT_OUT = 'checkpoints', 'tensorboard', '*.lock', '*.tmp'


def units_of(
  name: str, variant: str, root: pathlib.Path = ROOT
) -> tuple[str, list[sweep.Unit]]:
  """'FILE:VARIANT' of an ablation, and its units, with models of this root.

  Raises:
    SweepError: of the ablation's file.
  """
  config = f'experiments/ablations/{name}.py:{variant}'
  return config, [_moved(unit, root) for unit in sweep.units(config)]


def run(
  name: str,
  variant: str,
  root: pathlib.Path,
  models: pathlib.Path,
  parallel: int,
  only: Collection[str] | None = None,
  begun_with: bool = False,
) -> int:
  """Runs what is missing of a sweep, after what its units begin with.

  Args:
    root: its units go to root / name.
    models: of the units that they begin with, which run before them.
    parallel: how many at a time.
    only: names of the units that are needed; None: all.
    begun_with: others begin with these, and need their weights.

  Returns:
    The exit code of `launch.local`; not 0 before any unit has begun if one
    that they begin with failed.
  """
  config, units = units_of(name, variant, models)
  units = [unit for unit in units if only is None or unit.name in only]
  for start, needed in sorted(_starts(units, models).items()):
    code = run(start, 'cpu', models, models, parallel, needed, begun_with=True)
    if code:
      return code
  print(f'{name}: {len(units)} units in {root / name}', flush=True)
  for borrowed in borrow(config, units, root / name, root, weights=begun_with):
    print(f'done already in another figure: {borrowed}', flush=True)
  return local.run(config, units, root / name, parallel)


def _starts(units, models):
  """Names of the units that these begin with, or learn from, by sweep."""
  needed = collections.defaultdict(set)
  for unit in units:
    for key in ('checkpoint', 'long2short.short_model', 'sft.files'):
      value = unit.overrides.get(key, ())
      for path in (value,) if isinstance(value, str) else value:
        if path.startswith(f'{models}/'):
          start, name = pathlib.Path(path).relative_to(models).parts[:2]
          needed[start].add(name)
  return needed


def _moved(unit, root):
  moved = {
    key: tuple(_at(path, root) for path in value)
    if isinstance(value, tuple) else _at(value, root)
    for key, value in unit.overrides.items()
  }  # fmt: skip
  return dataclasses.replace(unit, overrides=moved)


def _at(value, root):
  if isinstance(value, str) and value.startswith(f'{ROOT}/'):
    return str(root / pathlib.Path(value).relative_to(ROOT))
  return value


def borrow(
  config: str,
  units: Sequence[sweep.Unit],
  folder: pathlib.Path,
  root: pathlib.Path,
  weights: bool = False,
) -> list[str]:
  """Copies what finished units below `root` have for these; their names.

  Args:
    folder: where they go; a unit that has begun there is left alone.
    root: folder of the folders of all sweeps.
    weights: the models too, not only records and curves.
  """
  waiting = [u for u in units if not (folder / u.name / 'unit.json').exists()]
  if not waiting:
    return []
  done = {}
  for path in sorted(root.glob('*/*/unit.json')):
    record = json.loads(path.read_text())
    if record['state'] == 'done' and (
      not weights or (path.parent / 'models').is_dir()
    ):
      done.setdefault(_key(record['settings']), path.parent)
  borrowed = []
  for unit in waiting:
    workdir = folder / unit.name
    source = done.get(_key(unit_lib.settings(config, unit)))
    if source is None:
      continue
    part = workdir.with_name(f'{workdir.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(workdir, ignore_errors=True)
    left_out = _LEFT_OUT if weights else (*_LEFT_OUT, 'models')
    shutil.copytree(source, part, ignore=shutil.ignore_patterns(*left_out))
    record = unit_lib.read(source) | dict(
      name=unit.name,
      config=config,
      overrides=unit.overrides,
      same_as=str(source),
    )
    (part / 'unit.json').write_text(json.dumps(record, indent=1) + '\n')
    # In one step: a kill leaves a folder '.part', and never half a unit that
    # says that it is done.
    os.replace(part, workdir)
    borrowed.append(unit.name)
  return borrowed


def _key(settings):
  return json.dumps(settings, sort_keys=True)
