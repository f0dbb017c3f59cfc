"""Work units of a config file: overrides, checked and named.

Pure: nothing here imports jax or k15, so that units can be listed, checked and
sent from any laptop.
"""

import dataclasses
import difflib
import os
import re
import runpy
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict
from ml_collections import config_flags

from launch import unit_names

_EXPECTED = {
  bool: 'True or False', int: 'a whole number', float: 'a number',
  tuple: 'a tuple', str: 'a text',
}  # fmt: skip


class SweepError(ValueError):
  """A mistake in a config file, its sweep or an override, in one sentence."""


@dataclasses.dataclass(frozen=True)
class Unit:
  """One run of a sweep.

  Attributes:
    name: says what differs from the other units; the folder of the run.
    overrides: values by dotted key, of the types that the config has.
  """

  name: str
  overrides: dict[str, Any]


def units(config: str, extra: Mapping[str, Any] | None = None) -> list[Unit]:
  """The work units of a config file's sweep.

  Args:
    config: 'FILE' or 'FILE:VARIANT'; get_config and sweep take the variant.
    extra: overrides of all units, which their names do not show.

  Raises:
    SweepError: the file has no sweep, or it fails; an override names an unknown
      key, a group or a value of another type, or one of `extra`; two units are
      the same.
  """
  found = _run_file(config)
  if 'sweep' not in found:
    raise SweepError(f'{_file(config)}: there is no function sweep()')
  overrides = _call(config, lambda: list(found['sweep'](*_variant(config))))
  if not overrides:
    raise SweepError(f'{_file(config)}: sweep() yields no work units')
  for override in overrides:
    if not isinstance(override, Mapping):
      raise SweepError(
        f'{_file(config)}: sweep() yields {override!r}; a dict of values by'
        ' dotted key is needed'
      )
  return _make_units(config, found, overrides, extra or {})


def single(config: str, extra: Mapping[str, Any] | None = None) -> list[Unit]:
  """The config itself as the only work unit; raises as `units` does."""
  return _make_units(config, _run_file(config), [{}], extra or {})


def load_config(config: str, overrides: Mapping[str, Any]) -> ConfigDict:
  """The config of a file, locked, with the overrides applied.

  Raises:
    SweepError: see `units`.
  """
  return _apply(config, _run_file(config), overrides)


def arguments(unit: Unit) -> list[str]:
  """The overrides as k15.main's flags read them: ['--config.seed=3', ...]."""
  return [f'--config.{key}={value}' for key, value in unit.overrides.items()]


def parse(config: str, texts: Sequence[str]) -> dict[str, Any]:
  """Overrides that stand on a command line, read as k15.main reads them.

  Args:
    config: 'FILE' or 'FILE:VARIANT'.
    texts: '--config.key=value' each.

  Raises:
    SweepError: a text has another form, an unknown key, or no value of its
      type; a key is given twice.
  """
  keys = []
  leaves = unit_names.leaves(load_config(config, {}))
  for text in texts:
    match = re.match(r'--config\.([\w.]+)=', text)
    if not match:
      raise SweepError(f'{text!r} is no flag; write --config.key=value')
    _check_key(match[1], leaves)
    if match[1] in keys:
      raise SweepError(f'--config.{match[1]} is given twice')
    keys.append(match[1])
  values = flags.FlagValues()
  argv = ['', f'--config={config}', *texts]
  config_flags.DEFINE_config_file('config', flag_values=values, sys_argv=argv)
  try:
    values(argv)
  except flags.Error as error:
    raise SweepError(str(error).replace('flag --', '--', 1)) from None
  parsed = unit_names.leaves(values['config'].value)
  return {key: parsed[key] for key in keys}


def _make_units(config, found, overrides, extra):
  for override in overrides:
    for key in extra:
      if key in override:
        raise SweepError(f'--config.{key} is set by the sweep, too')
  own, whole = [], []
  for override in overrides:
    leaves = unit_names.leaves(_apply(config, found, {**extra, **override}))
    for i, other in enumerate(whole):
      if other == leaves:
        raise SweepError(
          f'{_file(config)}: work units {i} and {len(whole)} are the same run:'
          f' {dict(override)}'
        )
    own.append({key: leaves[key] for key in [*extra, *override]})
    whole.append(leaves)
  keys = dict.fromkeys(key for override in overrides for key in override)
  names = unit_names.names(list(keys), whole)
  return [Unit(name, o) for name, o in zip(names, own, strict=True)]


def _apply(config, found, overrides):
  made = _call(config, lambda: found['get_config'](*_variant(config)))
  if not isinstance(made, ConfigDict):
    raise SweepError(f'{_file(config)}: get_config() returns no config')
  made.lock()
  leaves = unit_names.leaves(made)
  values = {key: _plain(value) for key, value in overrides.items()}
  for key, value in values.items():
    _check_key(key, leaves)
    _check_type(key, value, leaves[key])
  made.update_from_flattened_dict(values)
  return made


def _plain(value):
  """As Python writes it: numpy's numbers, and arrays as tuples of theirs.

  In double precision 0.1 of float32 is 0.10000000149011612, which nobody wrote:
  numbers are those that their own digits say.
  """
  if hasattr(value, 'dtype') and hasattr(value, 'tolist'):
    if getattr(value, 'ndim', 0):
      value = list(value)
    elif isinstance(value.tolist(), float):
      value = float(str(value))
    else:
      value = value.tolist()
  if isinstance(value, list | tuple):
    return tuple(map(_plain, value))
  return value


def _run_file(config):
  path = _file(config)
  if not os.path.isfile(path):
    raise SweepError(f'there is no config file {path!r}')
  found = _call(config, lambda: runpy.run_path(path))
  if 'get_config' not in found:
    raise SweepError(f'{path}: there is no function get_config()')
  return found


def _call(config, function):
  """What the function of a user's file returns; what it raises, in a line."""
  path = _file(config)
  try:
    return function()
  except Exception as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    at = f', line {lines[-1]}' if lines else ''
    text = error.args[0] if isinstance(error, KeyError) else str(error)
    # ml_collections appends a text of the config.
    message = ' '.join(str(text).split(' Other fields')[0].split())
    raise SweepError(f'{path}{at}: {type(error).__name__}: {message}') from None


def _check_key(key, leaves):
  if key in leaves:
    return
  inside = [leaf for leaf in leaves if leaf.startswith(f'{key}.')]
  if inside:
    raise SweepError(f'{key} is a group; set one of its keys, as {inside[0]}')
  last = str(key).rpartition('.')[2]
  close = [leaf for leaf in leaves if leaf.rpartition('.')[2] == last]
  close = close or difflib.get_close_matches(str(key), leaves, 1, 0.5)
  hint = f'; the closest is {close[0]}' if close else ''
  raise SweepError(f'the config has no key {key!r}{hint}')


def _check_type(key, value, default):
  if hasattr(default, 'dtype'):
    raise SweepError(
      f'{key}={value!r}: get_config() sets it to {default!r}, which no flag can'
      ' change; it has to be as Python writes it'
    )
  expected = type(default)
  same = type(value) is expected
  if same or (expected, type(value)) in ((float, int), (tuple, list)):
    return
  raise SweepError(
    f'{key}={value!r}: expected {_EXPECTED.get(expected, expected.__name__)},'
    f' such as the default {default!r}'
  )


def _file(config):
  return config.partition(':')[0]


def _variant(config):
  """Arguments of get_config and sweep: the variant, if there is one."""
  return config.split(':', 1)[1:]
