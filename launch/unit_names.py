"""Names of work units: what differs between them, as a folder may be called."""

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST = 180  # characters; file systems take 255 bytes, some tools add some


def names(keys: Sequence[str], units: Sequence[Mapping[str, Any]]) -> list[str]:
  """A name for each unit, such as 'strategy=curriculum,seed=0'.

  Left out are keys with one value in all units, and keys that follow from the
  seed.  The seed alone is the name where nothing else differs.

  Args:
    keys: dotted, in the order that names have them; the seed comes last.
    units: all values by dotted key, 'seed' among them, of each unit.
  """
  shown = [key for key in keys if _tells_apart(key, units)] or ['seed']
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
  folded = [name.casefold() for name in found]
  return [
    name
    if len(name) <= _LONGEST and folded.count(name.casefold()) == 1
    else _with_sum(name, [repr(unit[key]) for key in shown])
    for name, unit in zip(found, units, strict=True)
  ]


def _tells_apart(key, units):
  values = {repr(unit[key]) for unit in units}
  pairs = {(unit['seed'], repr(unit[key])) for unit in units}
  follows = len(pairs) == len({unit['seed'] for unit in units})
  return len(values) > 1 and (key == 'seed' or not follows)


def _text(value):
  """Letters, digits and . + - _ only; '+' joins the items of a tuple."""
  if isinstance(value, tuple):
    value = '+'.join(map(str, value))
  return re.sub(r'[^\w.+-]+', '_', str(value), flags=re.ASCII) or 'none'


def _with_sum(name, values):
  return f'{name[:_LONGEST]}~{zlib.crc32(repr(values).encode()):08x}'
