"""What to call a run or a group of runs: by what sets it apart, and short."""

import collections
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_LABEL, _VALUE = 48, 24  # characters of a label, and of a value in it
_NONE, _EMPTY = '–', "''"  # no such key, no characters

Settings = Mapping[str, Any]  # config by whole keys; {} where it is not known


def short_paths(places: Iterable[str | os.PathLike]) -> list[str]:
  """Each path without the folders they all share."""
  paths = [pathlib.Path(os.path.abspath(place)).parts for place in places]
  shared = _shared(paths)
  return ['/'.join(parts[shared:]) for parts in paths]


def differences(settings: Sequence[Settings]) -> dict[str, list[Any]]:
  """Keys whose values are not all the same, in the order of the configs.

  Args:
    settings: one of each group; an empty one makes no difference.

  Returns:
    key -> a value for each group, None where it has none.
  """
  known = [values for values in settings if values]
  found = {}
  for key in dict.fromkeys(key for values in known for key in values):
    texts = {json.dumps(v[key]) if key in v else None for v in known}
    if len(texts) > 1:
      found[key] = [values.get(key) for values in settings]
  return found


def labels(
  settings: Sequence[Settings], names: Sequence[Sequence[str]]
) -> list[str]:
  """A label for each group, no two the same.

  It is 'key=value, ...' of all keys that differ if that is short for every
  group.  If not, values that most groups have are left out, and a group of
  only such values is 'base'; then keys that others tell for.  Without keys that
  differ, the names of the runs.

  Args:
    settings: one of each group.
    names: of the runs of each group.
  """
  found = differences(settings)
  texts = {key: _texts(values) for key, values in found.items()}
  made = _joined(texts, len(settings))
  if max(map(len, made), default=0) > _LABEL:
    made = _joined(texts, len(settings), is_brief=True)
  if max(map(len, made), default=0) > _LABEL:
    few = {key: texts[key] for key in _telling(texts)}
    made = _joined(few, len(settings), is_brief=True)
  made = [m if s else '' for m, s in zip(made, settings, strict=True)]
  count = collections.Counter(made)
  made = [
    label if label and count[label] == 1 else _named(label, runs)
    for label, runs in zip(made, names, strict=True)
  ]
  seen = collections.Counter()
  for i, label in enumerate(made):
    seen[label] += 1
    if seen[label] > 1:
      made[i] = f'{label} ({seen[label]})'
  return made


def _telling(texts):
  """A few keys that tell apart as many groups as all of them do."""
  chosen = []
  while _split(texts, chosen) < _split(texts, texts):
    chosen.append(min(texts, key=lambda key: _cost(texts, chosen, key)))
  return [key for key in texts if key in chosen]


def _split(texts, keys):
  """How many groups these keys tell apart."""
  columns = [texts[key] for key in keys]
  return len(set(zip(*columns, strict=True))) or 1


def _cost(texts, chosen, key):
  """Least for the key that splits most, is everywhere and is short."""
  here = texts[key]
  length = sum(len(key.rpartition('.')[2]) + len(text) for text in here)
  return -_split(texts, (*chosen, key)), here.count(_NONE), length


def _joined(texts, count, is_brief=False):
  """'key=value, ...' for each of `count` groups; brief: what most have not."""
  last = collections.Counter(key.rpartition('.')[2] for key in texts)
  parts = [[] for _ in range(count)]
  for key, values in texts.items():
    short = key.rpartition('.')[2]
    name = short if last[short] == 1 else key
    usual, times = collections.Counter(values).most_common(1)[0]
    for part, value in zip(parts, values, strict=True):
      if not is_brief or value != usual or 2 * times <= count:
        part.append(f'{name}={value}')
  default = 'base' if is_brief else ''
  return [', '.join(part) or default for part in parts]


def _named(label, runs):
  runs = [_plain(run) for run in runs]
  name = ', '.join(runs)
  if len(name) > _LABEL:
    name = f'{runs[0]} and {len(runs) - 1} more' if runs[1:] else runs[0]
  return f'{label} ({name})' if label else name


def _texts(values):
  """Short texts of the values of a key."""
  texts = [_text(value) for value in values]
  paths = [text.split('/') for text in texts if text not in (_NONE, _EMPTY)]
  if all(len(parts) > 1 for parts in paths):
    start = _shared(paths)
    end = _shared([parts[start:][::-1] for parts in paths])
    texts = [
      '/'.join(t.split('/')[start : t.count('/') + 1 - end]) if '/' in t else t
      for t in texts
    ]
  return [_clipped(text) for text in texts]


def _text(value):
  if value is None:
    return _NONE
  if isinstance(value, list):
    value = '+'.join(map(str, value)) or '()'
  return _plain(str(value)) or _EMPTY


def _plain(text):
  """In one line, of characters that show."""
  return ''.join(c for c in ' '.join(text.split()) if c.isprintable())


def _clipped(text):
  if len(text) <= _VALUE:
    return text
  end = _VALUE // 2 - 1
  return f'{text[: _VALUE - end - 1]}…{text[-end:]}'


def _shared(rows):
  """Leading items that all have in common; one is left to each."""
  rows = list(rows)
  columns = zip(*(row[:-1] for row in rows), strict=False)
  same = itertools.takewhile(lambda column: len(set(column)) == 1, columns)
  return sum(1 for _ in same)
