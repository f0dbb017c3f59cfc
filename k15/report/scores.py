"""What the runs of a group came to, with intervals, and against another group.

The unit is the seed: runs of one seed are averaged first.  A group of a single
seed has no seeds to vary over; its held-out problems say at least how well
that one model was measured.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from k15.equations import correctness
from k15.equations import statistics
from k15.report import charts
from k15.report import groups
from k15.report import runs as runs_lib
from k15.report.groups import Group
from k15.report.runs import Run

_LAST = 5  # iterations
# Of held-out problems: place in `problem_means`, and of those with pictures, of
# those without, or of all.
_MEASURED = {
  'accuracy': (0, None), 'tokens': (1, None),
  'texts': (0, False), 'pictures': (0, True),
}  # fmt: skip
_ALIKE = 'agreement', 'agreement_given_text'

# (share right, tokens, whether it has pictures) by problem
Problems = Mapping[Any, tuple[float, float, bool]]


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A number and how far it may be off.

  Attributes:
    value: the mean, or the difference of two.
    half_width: of the 95 % interval; NaN where nothing says how wide.
    over: what the interval is over, 'seeds' or 'problems', or ''.
    count: how many of these; of an unpaired difference, in the smaller group.
    is_paired: whether a difference was taken seed by seed, or problem by
      problem.
  """

  value: float
  half_width: float = math.nan
  over: str = ''
  count: int = 1
  is_paired: bool = False


@dataclasses.dataclass(frozen=True)
class Scores:
  """What a group came to.

  Attributes:
    stage: the last one it was measured after; None if it never was.
    by_seed: metric -> {seed: value}; metrics nobody has are left out, as are
      rewards, lengths and minutes of runs on their way if others are finished.
    problems: of a group of one seed, if its responses are there; else {}.
  """

  stage: str | None
  by_seed: Mapping[str, Mapping[int | None, float]]
  problems: Problems


def of_group(found: Group) -> Scores:
  """The scores of a group, in whatever state its runs are."""
  stage = groups.last_stage(found)
  values: dict[str, dict[int | None, list[float]]] = {}
  done = [runs_lib.is_finished(run.config, run.summary) for run in found.runs]
  for run, is_done in zip(found.runs, done, strict=True):
    for metric, value in run_scores(run, stage).items():
      if is_done or metric in (*_MEASURED, *_ALIKE) or not any(done):
        values.setdefault(metric, {}).setdefault(run.seed, []).append(value)
  by_seed = {
    metric: {seed: float(np.mean(own)) for seed, own in seeds.items()}
    for metric, seeds in values.items()
  }
  is_single = len(by_seed.get('accuracy', ())) == 1
  problems = problem_means(found.runs, stage) if is_single else {}
  return Scores(stage, by_seed, problems)


def run_scores(run: Run, stage: str | None) -> dict[str, float]:
  """Numbers of one run; those it has not are left out.

  Returns:
    'accuracy' in [0, 1] and 'tokens' on held-out problems, 'reward' and
    'length' as means of the last 5 iterations of RL, 'minutes', 'iterations';
    of a run that sees also 'texts' and 'pictures', in [0, 1] too, and what
    `runs.agreement` has.
  """
  found = runs_lib.responses(run, stage)
  values = {
    'accuracy': run.summary.get(f'accuracy_after_{stage}'),
    'tokens': run.summary.get(f'mean_tokens_after_{stage}'),
  }
  # The summary comes at the end of a stage; until then the records tell.
  if found and not all(map(_is_number, values.values())):
    values['accuracy'] = charts.rights(found).mean()
    values['tokens'] = charts.lengths(found).mean()
  seen = correctness.of_pictures(found)
  for name in ('texts', 'pictures'):
    values[name] = seen.get(f'accuracy_{name}')
  values |= runs_lib.agreement(run.summary, stage)
  for stage in runs_lib.RL_STAGES:
    last = [r for r in run.records if r.get('stage') == stage]
    if last:
      _, table = charts.columns(last, stage)
      values['iterations'] = runs_lib.iterations(last, stage)
      values['reward'] = _end(table.get('rl/reward'))
      values['length'] = _end(table.get('rl/length_mean'))
  values['minutes'] = minutes(run)
  return {key: float(v) for key, v in values.items() if _is_number(v)}


def minutes(run: Run) -> float | None:
  """Wall-clock minutes; of a run that goes on, from first to last record."""
  seconds = run.summary.get('seconds')
  times = [r['time'] for r in run.records if _is_number(r.get('time'))]
  if not _is_number(seconds) and len(times) > 1:
    seconds = max(times) - min(times)
  return seconds / 60 if _is_number(seconds) else None


def problem_means(runs: Sequence[Run], stage: str | None) -> Problems:
  """Mean verdict and tokens of each held-out problem, over all its samples.

  And whether it has pictures.
  """
  found: dict[Any, list[runs_lib.Record]] = {}
  for run in runs:
    for record in runs_lib.responses(run, stage):
      found.setdefault(problem_key(record), []).append(record)
  return {
    key: (
      charts.rights(own).mean(),
      charts.lengths(own).mean(),
      bool(own[0].get('images')),
    )
    for key, own in found.items()
  }


def problem_key(record: runs_lib.Record) -> tuple[str, str]:
  """What makes two records answers to the same problem."""
  return str(record.get('set', 'held_out')), str(record.get('problem_id'))


def estimate(scores: Scores, metric: str) -> Estimate | None:
  """A metric of a group; None if no run has it."""
  values = [*scores.by_seed.get(metric, {}).values()]
  if not values:
    return None
  mean, half_width = statistics.mean_interval(values)
  if len(values) > 1:
    return Estimate(mean, half_width, 'seeds', len(values))
  problems = _of_problems(scores, metric)
  if len(problems) < 2:
    return Estimate(mean)
  _, half_width = statistics.mean_interval([*problems.values()])
  return Estimate(mean, half_width, 'problems', len(problems))


def difference(first: Scores, other: Scores, metric: str) -> Estimate | None:
  """A metric of `other` minus that of `first`; None if one has it not.

  Seed by seed over the seeds that both have, if there are two; else as two
  independent sets of seeds.  Of two single seeds, over the problems: one by one
  if they were asked the same, else as independent sets.
  """
  a, b = (scores.by_seed.get(metric, {}) for scores in (first, other))
  if not a or not b:
    return None
  found = _interval(a, b, 'seeds')
  if found is None and len(a) == len(b) == 1:
    found = _interval(
      _of_problems(first, metric), _of_problems(other, metric), 'problems'
    )
  return found or Estimate(np.mean([*b.values()]) - np.mean([*a.values()]))


def _interval(a, b, over):
  """The difference b - a, paired where it can be; None without an interval."""
  shared = [key for key in a if key in b]
  # A few problems in common would not stand for all of them.
  if len(shared) > 1 and (over == 'seeds' or a.keys() == b.keys()):
    pairs = [a[key] for key in shared], [b[key] for key in shared]
    value, half_width = statistics.paired_interval(*pairs)
    return Estimate(value, half_width, over, len(shared), is_paired=True)
  count = min(len(a), len(b))
  if count < 2:
    return None
  sides = [*a.values()], [*b.values()]
  return Estimate(*statistics.unpaired_interval(*sides), over, count)


def _of_problems(scores, metric):
  if metric not in _MEASURED:
    return {}
  place, side = _MEASURED[metric]
  return {
    key: means[place]
    for key, means in scores.problems.items()
    if side in (None, means[2])
  }


def _end(values):
  """Mean of the last iterations, of those that have a value."""
  if values is None:
    return None
  last = values[-_LAST:]
  return last[np.isfinite(last)].mean() if np.isfinite(last).any() else None


def _is_number(value):
  return isinstance(value, int | float) and math.isfinite(value)
