"""Reads runs and sorts them into groups that differ only in the seed.

A group is one config under several seeds: its runs are repetitions of one
experiment, and what varies among them is chance.
"""

import collections
import dataclasses
import itertools
import json
import os
import pathlib
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from k15 import comparison_labels
from k15 import config_changes
from k15 import metrics

RL_STAGES = 'rl', 'short_rl'
_FILES = 'summary.json', 'metrics.jsonl', 'trajectories.jsonl'
_MOST_PLACES = 4  # of a path where a number may be the seed

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Run:
  """What a run has left so far.

  Attributes:
    name: its path without the folders that all runs share.
    workdir: its directory.
    config, summary: of the JSON files; {} where there is none, or a torn one.
    records: of metrics.jsonl.
  """

  name: str
  workdir: pathlib.Path
  config: Record
  summary: Record
  records: list[Record]

  @property
  def seed(self) -> int | None:
    seed = self.config.get('seed', self.summary.get('seed'))
    return seed if isinstance(seed, int) else None


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


def read(paths: Sequence[str | os.PathLike]) -> list[Run]:
  """The runs in these directories, each directory once.

  Raises:
    ValueError: one of them is no run.
  """
  for path in paths:
    check(path)
  places = list(dict.fromkeys(pathlib.Path(path).resolve() for path in paths))
  names = comparison_labels.short_paths(places)
  runs = []
  for place, name in zip(places, names, strict=True):
    config = metrics.read_json(place / 'config.json')
    summary = metrics.read_json(place / 'summary.json')
    records = metrics.read_jsonl(place / 'metrics.jsonl')
    runs.append(Run(name, place, config, summary, records))
  return runs


def check(path: str | os.PathLike) -> None:
  """Refuses a path that is no run.

  Raises:
    ValueError: it is no directory, or has no file that a run leaves.
  """
  place = pathlib.Path(path)
  if not place.is_dir():
    raise ValueError(f'{path} is no run: there is no such directory')
  # A model's directory has a config.json, too, but no stages.
  if (
    not any((place / name).exists() for name in _FILES)
    and not any(place.glob('evaluation_*.jsonl'))
    and 'stages' not in metrics.read_json(place / 'config.json')
  ):
    raise ValueError(
      f'{path} is no run: it has none of {", ".join(_FILES)}, and no '
      'config.json with stages'
    )


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
    Group(run.name, config_changes.leaves(run.config), (run,))
    for run in found.runs
  ]


def differences(groups: Sequence[Group]) -> dict[str, list[Any]]:
  """Keys that differ, each with a value a group, None where there is none.

  Groups without a config have None everywhere and make no difference.
  """
  return comparison_labels.differences([found.settings for found in groups])


def stages(run: Run) -> list[str]:
  """Stages whose end was measured, as far as anything says so, in order."""
  prefix = 'accuracy_after_'
  known = [*run.config.get('stages', ())]
  known += [k.removeprefix(prefix) for k in run.summary if k.startswith(prefix)]
  files = sorted(
    run.workdir.glob('evaluation_*.jsonl'), key=lambda p: p.stat().st_mtime
  )
  known += [path.stem.removeprefix('evaluation_') for path in files]
  measured = {path.stem.removeprefix('evaluation_') for path in files}
  measured |= {s for s in known if f'{prefix}{s}' in run.summary}
  return [stage for stage in dict.fromkeys(known) if stage in measured]


def last_stage(found: Group) -> str | None:
  """The latest stage that a run of the group was measured after."""
  reached = [stages(run) for run in found.runs]
  longest = max(reached, key=len)
  return longest[-1] if longest else None


def responses(run: Run, stage: str | None) -> list[Record]:
  """Records of the evaluation after a stage; none if it left none."""
  if stage != 'evaluate':
    return metrics.read_jsonl(run.workdir / f'evaluation_{stage}.jsonl')
  folder = run.workdir / 'evaluation'
  return [
    record
    for path in sorted(folder.glob('*.jsonl'))
    if not path.name.startswith('journal-')
    for record in metrics.read_jsonl(path)
  ]


def is_finished(config: Record, summary: Record) -> bool:
  """Whether all stages have come to their ends."""
  planned = config.get('stages', ())
  return bool(summary) and all(
    f'accuracy_after_{s}' in summary for s in planned if s != 'curate'
  )


def iterations(records: Sequence[Record], stage: str = 'rl') -> int:
  """RL iterations that are done."""
  steps = [r.get('step', 0) for r in records if r.get('stage') == stage]
  return max(steps, default=-1) + 1


def _settings(runs):
  """Config of each run by whole keys, what the seed decides made equal."""
  flat = [config_changes.leaves(run.config) for run in runs]
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
