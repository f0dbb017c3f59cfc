"""Work units of a config file: overrides, checked and named.

A unit is called by what differs between them, as a folder may be.  Nothing here
needs jax, so that units can be listed, checked and sent from any laptop.
"""

import dataclasses
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict
from ml_collections import config_flags

from k15.config import experiment_files
from k15.config import keys as keys_lib

_LONGEST = 180  # characters; file systems take 255 bytes, some tools add some


def unit_names(
  keys: Sequence[str], units: Sequence[Mapping[str, Any]]
) -> list[str]:
  """A name for each unit, such as 'strategy=curriculum,seed=0'.

  Left out are keys with one value in all units, keys that follow from the seed,
  and folders and files that follow from what else the name says.  The seed
  alone is the name where nothing else differs.

  Args:
    keys: dotted, in the order that names have them; the seed comes last.
    units: all values by dotted key, 'seed' among them, of each unit.
  """
  shown = [key for key in keys if _tells_apart(key, units)] or ['seed']
  paths = {key for key, row in keys_lib.KEYS.items() if row.path}
  for key in [key for key in shown if key in paths]:
    others = [k for k in shown if k != key]
    if _follows(key, others, units):
      shown = others
  # The seed last, so that a sorted folder has the repetitions of an arm
  # together.
  shown.sort(key=lambda key: key == 'seed')
  last = [key.rpartition('.')[2] for key in shown]
  labels = {
    key: short if last.count(short) == 1 else key
    for key, short in zip(shown, last, strict=True)
  }
  found = [
    ','.join(f'{labels[key]}={_text(unit[key])}' for key in shown)
    for unit in units
  ]
  # Some file systems take names that differ in case alone for one.
  folded = [name.casefold() for name in found]
  return [
    name
    if len(name) <= _LONGEST and folded.count(name.casefold()) == 1
    else _with_sum(name, [repr(unit[key]) for key in shown])
    for name, unit in zip(found, units, strict=True)
  ]


def _tells_apart(key, units):
  values = {repr(unit[key]) for unit in units}
  follows = key != 'seed' and _follows(key, ['seed'], units)
  return len(values) > 1 and not follows


def _follows(key, others, units):
  """Whether units that are alike in the others are alike in this key."""
  known = [repr([unit[other] for other in others]) for unit in units]
  pairs = zip(known, (repr(unit[key]) for unit in units), strict=True)
  return len(set(pairs)) == len(set(known))


def _text(value):
  """Letters, digits and . + - _ only; '+' joins the items of a tuple."""
  if isinstance(value, tuple):
    value = '+'.join(map(str, value))
  return re.sub(r'[^\w.+-]+', '_', str(value), flags=re.ASCII) or 'none'


def _with_sum(name, values):
  # Not `hash`, which is another in every process: the same command has to find
  # the same folder again.
  return f'{name[:_LONGEST]}~{zlib.crc32(repr(values).encode()):08x}'


# Of a config file, its sweep or an override, in one sentence.
SweepError = keys_lib.ConfigError


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
  found, path = experiment_files.run(config), experiment_files.file_of(config)
  if 'sweep' not in found:
    raise SweepError(f'{path}: there is no function sweep()')
  variant = experiment_files.variant_of(config)
  overrides = experiment_files.call(
    config, lambda: list(found['sweep'](*variant))
  )
  if not overrides:
    raise SweepError(f'{path}: sweep() yields no work units')
  for override in overrides:
    if not isinstance(override, Mapping):
      raise SweepError(
        f'{path}: sweep() yields {override!r}; a dict of values by'
        ' dotted key is needed'
      )
  return _make_units(config, found, overrides, extra or {})


def single(config: str, extra: Mapping[str, Any] | None = None) -> list[Unit]:
  """The config itself as the only work unit; raises as `units` does."""
  return _make_units(config, experiment_files.run(config), [{}], extra or {})


def load_config(config: str, overrides: Mapping[str, Any]) -> ConfigDict:
  """The config of a file, locked, with the overrides applied.

  Raises:
    SweepError: see `units`.
  """
  return _apply(config, experiment_files.run(config), overrides)


def arguments(unit: Unit) -> list[str]:
  """The overrides as k15.main's flags read them: ['--config.seed=3', ...]."""
  return [f'--config.{key}={value}' for key, value in unit.overrides.items()]


def parse(config: str, texts: Sequence[str]) -> dict[str, Any]:
  """Overrides that stand on a command line, read as k15.main reads them.

  Args:
    texts: '--config.key=value' each.

  Raises:
    SweepError: a text has another form, an unknown key, or no value of its
      type; a key is given twice.
  """
  keys = []
  leaves = keys_lib.leaves(load_config(config, {}))
  for text in texts:
    match = re.match(r'--config\.([\w.]+)=', text)
    if not match:
      raise SweepError(f'{text!r} is no flag; write --config.key=value')
    experiment_files.check_key(match[1], leaves)
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
  parsed = keys_lib.leaves(values['config'].value)
  return {key: parsed[key] for key in keys}


def _make_units(config, found, overrides, extra):
  for override in overrides:
    for key in extra:
      if key in override:
        raise SweepError(f'--config.{key} is set by the sweep, too')
  own, whole = [], []
  for override in overrides:
    leaves = keys_lib.leaves(_apply(config, found, {**extra, **override}))
    for i, other in enumerate(whole):
      if other == leaves:
        raise SweepError(
          f'{experiment_files.file_of(config)}: work units {i} and'
          f' {len(whole)} are the same run: {dict(override)}'
        )
    own.append({key: leaves[key] for key in [*extra, *override]})
    whole.append(leaves)
  keys = dict.fromkeys(key for override in overrides for key in override)
  names = unit_names(list(keys), whole)
  return [Unit(name, o) for name, o in zip(names, own, strict=True)]


def _apply(config, found, overrides):
  made = experiment_files.make(config, found).lock()
  leaves = keys_lib.leaves(made)
  values = {key: _plain(value) for key, value in overrides.items()}
  for key, value in values.items():
    experiment_files.check_key(key, leaves)
    experiment_files.check_type(key, value, leaves[key])
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
