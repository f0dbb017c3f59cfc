"""Units of an ablation on disk: which arm and seed each is, and its curves."""

import dataclasses
import math
import pathlib
import runpy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from k15 import files
from k15.config import keys
from launch import local
from launch.units import sweep
from launch.units import unit as unit_lib

# Phases that an iteration waits for; judging is beside the rollout.
_PHASES = 'rollout', 'reward', 'batch', 'ref_logprobs', 'update'


class DataError(ValueError):
  """Runs that do not have what a claim asks for, in one sentence."""


class NotKept(DataError):
  """Of a run nothing but some curves is left, and this is none of them."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
  """A unit that is done.

  Attributes:
    unit: its name.
    seed: of its config.
    config: all values by dotted key.
    records: of the claim's stage, such as RL's iterations, in order; may be
      none.
    summary: its summary.json.
    record: its unit.json.
    before: accuracy and so on of the model that RL began with, if known.
    kept: of a run of which only what was published is left, its curves by
      metric, float [N] each of iterations and values; None: all is there.
  """

  unit: str
  seed: int
  config: dict[str, Any]
  records: list[dict[str, Any]]
  summary: dict[str, Any]
  record: dict[str, Any]
  before: dict[str, float]
  kept: dict[str, tuple[np.ndarray, np.ndarray]] | None = None

  @property
  def iterations(self) -> int:
    """How many it had."""
    if self.kept is None:
      return len(self.records)
    return self.record['iterations']


Arms = dict[str, dict[int, Run]]  # by label and seed


def read_arms(
  config: str, units: Sequence[sweep.Unit], root: pathlib.Path
) -> tuple[Arms, int]:
  """The runs of an ablation by arm and seed, and how many units are missing.

  Args:
    config: 'FILE:VARIANT'; the file has ARMS = {label: overrides}.

  Raises:
    DataError: a unit is of no arm or of two; two units are one arm and seed.
  """
  page = page_of(config)
  table = page.get('ARMS')
  stage = page['CLAIM'].stage if 'CLAIM' in page else 'rl'
  if not table:
    raise DataError(f'{config}: there is no table ARMS')
  arms = {label: {} for label in table}
  missing = 0
  for unit in units:
    label = arm_of(unit, table)
    whole = sweep.load_config(config, unit.overrides)
    if whole.seed in arms[label]:
      raise DataError(f'{config}: two units of {label!r}, seed {whole.seed}')
    if unit_lib.read(root / unit.name).get('state') != 'done':
      missing += 1
      continue
    leaves = keys.leaves(whole)
    arms[label][whole.seed] = read_run(root / unit.name, leaves, stage)
  return arms, missing


def page_of(config: str) -> dict[str, Any]:
  """The names of a config file, such as ARMS, of 'FILE:VARIANT'."""
  return runpy.run_path(config.partition(':')[0])


def arm_of(unit: sweep.Unit, table: Mapping[str, Mapping[str, Any]]) -> str:
  """Label of the arm whose overrides the unit has.

  Of several, the one with the most overrides: an arm without any is what is
  left.  Raises DataError if there is no such arm, or not one alone.
  """
  found = [
    label
    for label, overrides in table.items()
    if all(
      key in unit.overrides and _plain(unit.overrides[key]) == _plain(value)
      for key, value in overrides.items()
    )
  ]
  most = max((len(table[label]) for label in found), default=0)
  found = [label for label in found if len(table[label]) == most]
  if len(found) != 1:
    raise DataError(f'unit {unit.name!r} is of {len(found)} arms: {found}')
  return found[0]


def read_run(
  workdir: pathlib.Path, config: dict[str, Any], stage: str = 'rl'
) -> Run:
  """What a unit that is done has left.

  Args:
    config: all its values by dotted key.
    stage: whose records are read.
  """
  records = {}
  for record in files.read_jsonl(workdir / 'metrics.jsonl'):
    if record.get('stage') == stage:
      # Of a step that was logged twice, the last value counts.
      records.setdefault(record['step'], {}).update(record)
  summary = files.read_json(workdir / 'summary.json')
  return Run(
    unit=workdir.name,
    seed=config['seed'],
    config=config,
    records=[records[step] for step in sorted(records)],
    summary=summary,
    record=unit_lib.read(workdir),
    before=_before(config, summary),
  )


def origin(config: Mapping[str, Any]) -> tuple[pathlib.Path, str]:
  """Folder of the run that a run began with, and the stage of its model.

  The stage is empty where it is the run's last.
  """
  path = pathlib.Path(config['checkpoint'])
  if path.parent.name == 'models':
    return path.parents[1], path.name
  return path, ''


def _before(config, summary):
  """What an evaluation said of the model that RL began with.

  That after an earlier stage of this run; or the last one of the run it began
  with, if both were asked the same problems in the same way.
  """
  stages = config['stages']
  earlier = stages[: stages.index('rl')] if 'rl' in stages else ()
  own = {
    k: v for k, v in summary.items() if k.partition('_after_')[2] in earlier
  }
  if own or not config['checkpoint']:
    return local.last_scores(own)
  path, stage = origin(config)
  other = keys.leaves(files.read_json(path / 'config.json'))
  # A key that did not exist then had the value that is its default now.
  groups = 'task.', 'facts.'
  asked = [key for key in other if key.startswith(groups) and key in config]
  asked += ['rollout.max_length', 'evaluation.temperature', 'seed']
  if not other or any(
    other.get(key) != _plain(config[key])
    for key in asked
    if key != 'task.train_problems'
  ):
    return {}
  summary = files.read_json(path / 'summary.json')
  return _after(summary, stage)


def _after(summary, stage):
  """Scores of the evaluation after a stage; empty: the last one."""
  return local.last_scores(
    {
      k: v
      for k, v in summary.items()
      if not stage or k.endswith(f'_after_{stage}')
    }
  )


def series(run: Run, metric: str) -> tuple[np.ndarray, np.ndarray]:
  """A metric over the iterations: (x float [N], y float [N]).

  x counts the iterations that were done before: an iteration's own numbers are
  at its step, an evaluation after it one further.  'summary/...' is one point.
  Values that are missing or not finite are left out.

  Raises:
    DataError: there is no such value.
    NotKept: of a published run.
  """
  family, _, name = metric.partition('/')
  points = {}
  if run.kept is not None:
    return _kept(run, metric)
  if family == 'start':
    return series(_start(run), name)
  if family == 'summary':
    points = {len(run.records): local.last_scores(run.summary).get(name)}
  elif family == 'evaluation':
    points = {0: run.before.get(name)}
    for record in run.records:
      points[record['step'] + 1] = record.get(metric)
    end = run.records[-1]['step'] + 1 if run.records else 0
    if points.get(end) is None:
      points[end] = _after(run.summary, 'rl').get(name)
  else:
    total = 0.0
    for record in run.records:
      value = _of_iteration(record, metric.removesuffix('_total'))
      if metric.endswith('_total'):
        total += value or 0.0
        value = total
      points[record['step']] = value
  kept = {x: y for x, y in points.items() if y is not None and math.isfinite(y)}
  if not kept:
    raise DataError(f'{run.unit}: there is no value of {metric}')
  return np.array(list(kept), float), np.array(list(kept.values()), float)


def _start(run):
  """The run that a run began with."""
  path, stage = origin(run.config)
  config = keys.leaves(files.read_json(path / 'config.json'))
  if not run.config['checkpoint'] or not config:
    raise DataError(f'{run.unit}: the run that it began with is not there')
  return read_run(path, config, stage or config['stages'][-1])


def _kept(run, metric):
  base = metric.removesuffix('_total')
  if metric in run.kept:
    return run.kept[metric]
  if metric != base and base in run.kept:
    x, y = run.kept[base]
    return x, np.cumsum(y)
  raise NotKept(f'{run.unit}: {metric} is not among what was published')


def _of_iteration(record, metric):
  if metric == 'seconds':
    return sum(record.get(f'time/{phase}_seconds', 0.0) for phase in _PHASES)
  if metric == 'decode_steps':
    return record.get('rollout/decode_steps')
  return record.get(metric)


def pairs(run: Run, y: str, x: str) -> tuple[np.ndarray, ...]:
  """Values of two metrics where both are known: (iterations, x, y) [N].

  Of 'seconds_total' it is what had passed when y was measured.

  Raises:
    DataError: there is no such point.
  """
  iterations, values = series(run, y)
  if x == 'iteration':
    return iterations, iterations, values
  at, other = series(run, x)
  if x.endswith('_total'):
    at, other = np.append(0, at + 1), np.append(0, other)
  known = dict(zip(at, other, strict=True))
  kept = np.array([i in known for i in iterations])
  if not kept.any():
    raise DataError(f'{run.unit}: {y} and {x} are never known together')
  iterations, values = iterations[kept], values[kept]
  return iterations, np.array([known[i] for i in iterations]), values


def _plain(value):
  return list(value) if isinstance(value, tuple) else value
