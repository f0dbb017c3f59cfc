"""Sorts runs into groups that differ only in the seed, and names the groups.

A group is one config under several seeds: its runs are repetitions of one
experiment, and what varies among them is chance.  It is called by what sets it
apart from the others, and short.
"""

import collections
import dataclasses
import itertools
import json
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from k15.config import keys as keys_lib
from k15.report import runs as runs_lib
from k15.report.runs import Run

_MOST_PLACES = 4  # of a path where a number may be the seed
_LABEL, _VALUE = 48, 24  # characters of a label, and of a value in it
_NONE, _EMPTY = '–', "''"  # no such key, no characters

Settings = Mapping[str, Any]  # config by whole keys; {} where it is not known


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs that differ only in the seed and in what the seed decides.

  Attributes:
    label: what its config differs in from the other groups', short.
    settings: its config by whole keys, without the seed; where the seed decides
      a part of a path, that part is '{seed}'.
    runs: in order of their seeds.
  """

  label: str
  settings: Mapping[str, Any]
  runs: tuple[Run, ...]

  @property
  def seeds(self) -> list[int | None]:
    """Without repetitions."""
    return list(dict.fromkeys(run.seed for run in self.runs))


def group(runs: Sequence[Run]) -> list[Group]:
  """Groups in the order of their first runs.

  A run without a config is a group of its own: nothing says what it was.
  """
  found: dict[Hashable, list[Run]] = {}
  settings: dict[Hashable, Mapping[str, Any]] = {}
  for run, values in zip(runs, _settings(runs), strict=True):
    key = json.dumps(values, sort_keys=True) if run.config else run.workdir
    found.setdefault(key, []).append(run)
    settings[key] = values
  by_key = {
    key: sorted(members, key=lambda run: (run.seed is None, run.seed or 0))
    for key, members in found.items()
  }
  names = labels(
    list(settings.values()),
    [[run.name for run in members] for members in by_key.values()],
  )
  return [
    Group(label, settings[key], tuple(members))
    for label, (key, members) in zip(names, by_key.items(), strict=True)
  ]


def by_run(found: Group) -> list[Group]:
  """A group for each of its runs, for when there is nothing else to compare."""
  return [
    Group(run.name, keys_lib.leaves(run.config), (run,)) for run in found.runs
  ]


def last_stage(found: Group) -> str | None:
  """The latest stage that a run of the group was measured after."""
  reached = [runs_lib.stages(run) for run in found.runs]
  longest = max(reached, key=len)
  return longest[-1] if longest else None


def _settings(runs):
  """Config of each run by whole keys, what the seed decides made equal."""
  flat = [keys_lib.leaves(run.config) for run in runs]
  for values in flat:
    values.pop('seed', None)
    # Where a run is looked at changes nothing of it, and names may differ.
    for key in [key for key in values if key.startswith('logging.')]:
      del values[key]
  forms = [
    {key: _forms(value, run.seed) for key, value in values.items()}
    for run, values in zip(runs, flat, strict=True)
  ]
  doubtful = {key for f in forms for key, found in f.items() if len(found) > 1}
  rest = [
    json.dumps([v for v in values.items() if v[0] not in doubtful])
    for values in flat
  ]
  # Among runs that agree on all else: how many seeds have this form.
  seeds = collections.defaultdict(set)
  for run, found, other in zip(runs, forms, rest, strict=True):
    for key in doubtful & found.keys():
      for form in found[key]:
        seeds[other, key, form].add(run.seed)
  for values, found, other in zip(flat, forms, rest, strict=True):
    for key in doubtful & found.keys():
      # Of equals the first: the one that blames the seed for least.
      best = max(found[key], key=lambda form: len(seeds[other, key, form]))
      values[key] = values[key] if best == found[key][0] else best
  return flat


def _forms(value, seed):
  """Its text, then with the seed in it written as '{seed}', here or there."""
  if isinstance(value, list) and any(isinstance(item, str) for item in value):
    value = ', '.join(map(str, value))
  if not isinstance(value, str) or seed is None:
    return [json.dumps(value)]
  # Not within another number: seed 1 is neither in 10 nor in 0.1.
  found = re.finditer(rf'(?<![\d.]){seed}(?!\.?\d)', value)
  # Each place doubles the forms; folders at the end of a path name the run.
  places = [place.span() for place in found][-_MOST_PLACES:]
  forms = []
  for count in range(len(places) + 1):
    for chosen in itertools.combinations(places[::-1], count):
      form = value
      for start, end in chosen:
        form = f'{form[:start]}{{seed}}{form[end:]}'
      forms.append(form)
  return forms


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
    start = runs_lib.shared_start(paths)
    end = runs_lib.shared_start([parts[start:][::-1] for parts in paths])
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
