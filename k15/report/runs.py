"""What a run leaves in its working directory, in whatever state it is."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from k15 import files
from k15.config import stages as stages_lib

RL_STAGES = stages_lib.with_curves('rl')
_FILES = 'summary.json', 'metrics.jsonl', 'trajectories.jsonl'

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


def read(paths: Sequence[str | os.PathLike]) -> list[Run]:
  """The runs in these directories, each directory once.

  Raises:
    ValueError: one of them is no run.
  """
  for path in paths:
    check(path)
  places = list(dict.fromkeys(pathlib.Path(path).resolve() for path in paths))
  names = short_paths(places)
  runs = []
  for place, name in zip(places, names, strict=True):
    config = files.read_json(place / 'config.json')
    summary = files.read_json(place / 'summary.json')
    records = files.read_jsonl(place / 'metrics.jsonl')
    runs.append(Run(name, place, config, summary, records))
  return runs


def short_paths(places: Iterable[str | os.PathLike]) -> list[str]:
  """Each path without the folders they all share."""
  paths = [pathlib.Path(os.path.abspath(place)).parts for place in places]
  shared = shared_start(paths)
  return ['/'.join(parts[shared:]) for parts in paths]


def shared_start(rows: Iterable[Sequence[str]]) -> int:
  """How many leading items all rows share; one is left to each."""
  rows = list(rows)
  columns = zip(*(row[:-1] for row in rows), strict=False)
  same = itertools.takewhile(lambda column: len(set(column)) == 1, columns)
  return sum(1 for _ in same)


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
    and 'stages' not in files.read_json(place / 'config.json')
  ):
    raise ValueError(
      f'{path} is no run: it has none of {", ".join(_FILES)}, and no '
      'config.json with stages'
    )


def stages(run: Run) -> list[str]:
  """Stages whose end was measured, as far as anything says so, in order."""
  prefix = 'accuracy_after_'
  known = [*run.config.get('stages', ())]
  known += [k.removeprefix(prefix) for k in run.summary if k.startswith(prefix)]
  # By time only for runs whose config is not there: it says the order itself.
  paths = sorted(
    run.workdir.glob('evaluation_*.jsonl'), key=lambda p: p.stat().st_mtime
  )
  known += [path.stem.removeprefix('evaluation_') for path in paths]
  measured = {path.stem.removeprefix('evaluation_') for path in paths}
  measured |= {s for s in known if f'{prefix}{s}' in run.summary}
  return [stage for stage in dict.fromkeys(known) if stage in measured]


def responses(run: Run, stage: str | None) -> list[Record]:
  """Records of the evaluation after a stage; none if it left none."""
  if stage != 'evaluate':
    return files.read_jsonl(run.workdir / f'evaluation_{stage}.jsonl')
  folder = run.workdir / 'evaluation'
  return [
    record
    for path in sorted(folder.glob('*.jsonl'))
    if not path.name.startswith('journal-')
    for record in files.read_jsonl(path)
  ]


def agreement(summary: Record, stage: str | None) -> dict[str, float]:
  """Of texts beside their pictures, after a stage; without intervals.

  Returns:
    'agreement' and 'agreement_given_text', as far as they are there.
  """
  found = summary.get(f'agreement_of_pairs_after_{stage}', {}).get('all', {})
  names = 'agreement', 'agreement_given_text'
  return {name: found[name]['value'] for name in names if found.get(name)}


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


def progress(run: Run) -> tuple[int, int | None]:
  """Iterations done and planned, of the last stage of RL that has begun."""
  done, planned = 0, None
  for stage in RL_STAGES:
    if iterations(run.records, stage):
      done = iterations(run.records, stage)
      planned = run.config.get(stage, {}).get('iterations')
  return done, planned
