"""A finished unit is taken over by another sweep only if its config is one."""

import json

from benchmarks.reproduce import running
from launch.units import sweep
from launch.units import unit as unit_lib

CONFIG = """
from experiments import base
from experiments import sweeps


def get_config(variant=''):
  return base.get_config()


def sweep(variant=''):
  return sweeps.over('loss.tau', {values})
"""


def _units(folder, name, values):
  path = folder / f'{name}.py'
  path.write_text(CONFIG.replace('{values}', repr(values)))
  return str(path), sweep.units(str(path))


def _finish(config, unit, workdir, state='done'):
  (workdir / 'checkpoints').mkdir(parents=True)
  (workdir / 'checkpoints/step').write_text('weights')
  (workdir / 'metrics.jsonl').write_text('{"step": 0}\n')
  record = dict(
    name=unit.name,
    config=config,
    overrides=unit.overrides,
    state=state,
    settings=unit_lib.settings(config, unit),
  )
  (workdir / 'unit.json').write_text(json.dumps(record))


def test_only_the_same_config_is_taken(tmp_path):
  root = tmp_path / 'runs'
  first, (a, b) = _units(tmp_path, 'first', [0.1, 0.2])
  second, units = _units(tmp_path, 'second', [0.2, 0.4])
  _finish(first, a, root / 'first' / a.name)
  _finish(first, b, root / 'first' / b.name)
  found = running.borrow(second, units, root / 'second', root)
  assert found == ['tau=0.2']
  workdir = root / 'second/tau=0.2'
  assert (workdir / 'metrics.jsonl').read_text() == '{"step": 0}\n'
  assert not (workdir / 'checkpoints').exists()
  record = unit_lib.read(workdir)
  assert record['config'] == second
  assert record['same_as'].endswith('first/tau=0.2')
  unit_lib.check_unchanged(second, units[0], workdir)
  assert not (root / 'second/tau=0.4').exists()


def test_what_is_not_finished_or_has_begun_is_left_alone(tmp_path):
  root = tmp_path / 'runs'
  first, (a, b) = _units(tmp_path, 'first', [0.1, 0.2])
  second, units = _units(tmp_path, 'second', [0.1, 0.2])
  _finish(first, a, root / 'first' / a.name, state='failed')
  _finish(first, b, root / 'first' / b.name)
  _finish(second, units[1], root / 'second' / units[1].name, state='running')
  assert running.borrow(second, units, root / 'second', root) == []
  assert unit_lib.read(root / 'second/tau=0.2')['state'] == 'running'


def test_what_others_begin_with_is_taken_with_its_weights(tmp_path):
  root = tmp_path / 'runs'
  first, (unit,) = _units(tmp_path, 'first', [0.1])
  second, units = _units(tmp_path, 'second', [0.1])
  place = root / 'second'
  third, thirds = _units(tmp_path, 'third', [0.1])
  workdir = root / 'first' / unit.name
  _finish(first, unit, workdir)
  # Without its weights no run can begin with it, whose curves are enough.
  assert not running.borrow(second, units, place, root, weights=True)
  assert running.borrow(second, units, place, root)
  (workdir / 'models/sft').mkdir(parents=True)
  (workdir / 'models/sft/model.safetensors').write_text('weights')
  # 'second' is done too, and has none.
  assert running.borrow(third, thirds, root / 'third', root, weights=True)
  place = root / 'third' / unit.name
  assert (place / 'models/sft/model.safetensors').read_text() == 'weights'
  assert not (place / 'checkpoints').exists()
