"""What a config file's `sweep()` is written with.

An override is a dict of values by dotted key, such as {'loss.tau': 0.4}; a
sweep is a list or a generator of overrides, one for each work unit.

    def sweep(variant=''):
      return sweeps.product(sweeps.over('loss.tau', [0, 0.1]), sweeps.seeds(5))
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Override = dict[str, Any]


def over(key: str, values: Iterable[Any]) -> list[Override]:
  """One key over its values."""
  return [{key: value} for value in values]


def seeds(count: int, first: int = 0) -> list[Override]:
  """`count` seeds from `first` on."""
  return over('seed', range(first, first + count))


def arms(table: Mapping[str, Mapping[str, Any]]) -> list[Override]:
  """The overrides of a table by label, in its order."""
  return [dict(overrides) for overrides in table.values()]


def product(*sweeps: Iterable[Mapping[str, Any]]) -> Iterator[Override]:
  """Every combination, the last sweep varying fastest.

  Raises:
    ValueError: a key is in two of the sweeps.
  """
  for parts in itertools.product(*sweeps):
    yield _join(parts)


def together(*sweeps: Iterable[Mapping[str, Any]]) -> list[Override]:
  """The first of each sweep joined, then the second of each, and so on.

  Raises:
    ValueError: the sweeps are not of one length; or a key is in two of them.
  """
  lists = [list(sweep) for sweep in sweeps]
  lengths = [len(items) for items in lists]
  if len(set(lengths)) > 1:
    raise ValueError(f'sweeps of {lengths} overrides do not go together')
  return [_join(parts) for parts in zip(*lists, strict=True)]


def _join(parts):
  joined = {}
  for part in parts:
    for key in part:
      if key in joined:
        raise ValueError(f'{key} is in two of the sweeps')
    joined |= part
  return joined
