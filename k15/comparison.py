"""Sorts runs into groups that differ only in the seed.

A group is one config under several seeds: its runs are repetitions of one
experiment, and what varies among them is chance.
"""

import collections
import dataclasses
import itertools
import json
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from k15 import comparison_labels
from k15 import config_keys
from k15 import run_files
from k15.run_files import Run

_MOST_PLACES = 4  # of a path where a number may be the seed


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
  labels = comparison_labels.labels(
    list(settings.values()),
    [[run.name for run in members] for members in by_key.values()],
  )
  return [
    Group(label, settings[key], tuple(members))
    for label, (key, members) in zip(labels, by_key.items(), strict=True)
  ]


def by_run(found: Group) -> list[Group]:
  """A group for each of its runs, for when there is nothing else to compare."""
  return [
    Group(run.name, config_keys.leaves(run.config), (run,))
    for run in found.runs
  ]


def differences(groups: Sequence[Group]) -> dict[str, list[Any]]:
  """Keys that differ, each with a value a group, None where there is none.

  Groups without a config have None everywhere and make no difference.
  """
  return comparison_labels.differences([found.settings for found in groups])


def last_stage(found: Group) -> str | None:
  """The latest stage that a run of the group was measured after."""
  reached = [run_files.stages(run) for run in found.runs]
  longest = max(reached, key=len)
  return longest[-1] if longest else None


def _settings(runs):
  """Config of each run by whole keys, what the seed decides made equal."""
  flat = [config_keys.leaves(run.config) for run in runs]
  for values in flat:
    values.pop('seed', None)
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
  found = re.finditer(rf'(?<![\d.]){seed}(?!\.?\d)', value)
  places = [place.span() for place in found][-_MOST_PLACES:]
  forms = []
  for count in range(len(places) + 1):
    for chosen in itertools.combinations(places[::-1], count):
      form = value
      for start, end in chosen:
        form = f'{form[:start]}{{seed}}{form[end:]}'
      forms.append(form)
  return forms
