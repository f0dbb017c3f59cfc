"""Runs that another sweep has done already.

A run depends on its config alone, bit for bit.  So where a unit of one figure
has the config of a finished unit of another, such as the arm with all the
defaults, its curves are taken from there.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Sequence

from launch import sweep
from launch import unit as unit_lib

_LEFT_OUT = shutil.ignore_patterns(
  'checkpoints', 'models', 'tensorboard', '*.lock', '*.tmp'
)


def borrow(
  config: str,
  units: Sequence[sweep.Unit],
  folder: pathlib.Path,
  root: pathlib.Path,
) -> list[str]:
  """Copies what finished units below `root` have for these; their names.

  Records and curves are copied, weights are not.

  Args:
    config: 'FILE:VARIANT' of the units.
    units: those that are wanted.
    folder: where they go; a unit that has begun there is left alone.
    root: folder of the folders of all sweeps.
  """
  waiting = [u for u in units if not (folder / u.name / 'unit.json').exists()]
  if not waiting:
    return []
  done = {}
  for path in sorted(root.glob('*/*/unit.json')):
    record = json.loads(path.read_text())
    if record['state'] == 'done':
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
    shutil.copytree(source, part, ignore=_LEFT_OUT)
    record = unit_lib.read(source) | dict(
      name=unit.name,
      config=config,
      overrides=unit.overrides,
      same_as=str(source),
    )
    (part / 'unit.json').write_text(json.dumps(record, indent=1) + '\n')
    os.replace(part, workdir)
    borrowed.append(unit.name)
  return borrowed


def _key(settings):
  return json.dumps(settings, sort_keys=True)
