"""docs/reproduce/NAME.json: what is kept of a claim's runs, and read again.

A line for each measure, each check and each run.  Runs that are gone can so be
judged again when a claim, or what a verdict is, has changed: by the curves that
were kept, and by no others.  Pages and rows are written from it alone.
"""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import findings
from benchmarks.reproduce import verdicts
from experiments.ablations import claims
from k15 import files
from k15.config import keys
from launch.units import sweep

# Kept beside the metrics of the claim, where they are known.
_ALWAYS = (
  'rl/reward', 'rl/length_mean', 'rl/responses_trained', 'rl/log_ratio_rms',
  'rl/last_log_ratio_rms', 'rl/zero_variance_groups', 'rl/all_wrong_groups',
  'problem_sampler/visits', 'evaluation/accuracy', 'evaluation/mean_tokens',
  'evaluation/greedy_accuracy', 'seconds', 'decode_steps',
  claims.MISCONCEPTION, claims.LUCK,
)  # fmt: skip
# Models and files of other runs that a run begins with, or learns from.
_STARTS = 'checkpoint', 'long2short.short_model', 'sft.files'
# Keys that do not change what a run comes to: how its arrays lie.
_FREE = 'mesh.'


def path_of(name: str) -> pathlib.Path:
  """Where the JSON of a claim is."""
  return pathlib.Path('docs/reproduce', f'{name}.json')


def content_of(
  name: str,
  claim: claims.Claim,
  config: str,
  arms: data.Arms,
  result: verdicts.Result,
  date: str,
) -> dict[str, Any]:
  """What docs/reproduce/NAME.json holds.

  Args:
    claim, arms, result: what was asked, run and measured.
    config: 'FILE:cpu'.
    date: of the runs' first measurement.
  """
  return dict(
    name=name,
    figure=claim.figure,
    question=claim.question,
    paper=claim.paper,
    changed=claim.changed,
    stage=claim.stage,
    command=f'make reproduce FIGURE={name}',
    config=config,
    date=date,
    commits=result.commits,
    seeds=result.seeds,
    iterations=result.iterations,
    verdict=result.verdict,
    sentence=result.sentence,
    outcome=result.outcome,
    settings=_shared(arms),
    checks={c.what: _condition(c) for c in result.conditions},
    measures={
      what: _number(found) | _judged(result, what)
      for what, found in result.estimates.items()
    },
    arms={
      label: {str(run.seed): _run(run, claim) for run in runs.values()}
      for label, runs in arms.items()
    },
  )


def dumps(content: Mapping[str, Any]) -> str:
  """The text of docs/reproduce/NAME.json."""
  return by_line(content, dict(checks=1, measures=1, arms=2))


def estimate_of(number: Mapping[str, Any]) -> findings.Estimate | None:
  """A number of the JSON; None where the runs did not keep it."""
  if not number['values']:
    return None
  mean, half = _floats([number['mean'], number['half_width']])
  return findings.Estimate(tuple(_floats(number['values'])), mean, half)


def conditions_of(content: Mapping[str, Any]) -> list[verdicts.Condition]:
  """The checks of the JSON."""
  return [
    verdicts.Condition(what, estimate_of(c), c['least'], c['most'])
    for what, c in content.get('checks', {}).items()
  ]


def _number(found: findings.Estimate | None):
  if found is None:
    return dict(values=[], mean=None, half_width=None)
  return dict(
    values=_rounded(found.values),
    mean=_rounded(found.mean),
    half_width=_rounded(found.half),
  )


def _judged(result, what):
  if what not in result.judged:
    return dict(decides=False)
  verdict, expected = result.judged[what].verdict, result.expectations[what]
  return dict(decides=True, expected=expected, verdict=verdict)


def _condition(condition):
  fails = None if condition.found is None else condition.fails
  ends = dict(least=condition.least, most=condition.most)
  return _number(condition.found) | ends | dict(fails=fails)


def _run(run, claim):
  wanted = [*_ALWAYS, *(m for p in claim.panels for m in (p.y, p.x))]
  wanted += [m for each in claim.measures for m in (each.metric, each.x)]
  wanted += [check.metric for check in claim.checks]
  curves = {}
  # Of sums it is the summands that are kept.
  for name in dict.fromkeys(m.removesuffix('_total') for m in wanted):
    if name in ('', 'iteration'):
      continue
    try:
      x, y = data.series(run, name)
    except data.DataError:
      continue
    curves[name] = dict(iteration=x.astype(int).tolist(), value=_rounded(y))
  return dict(
    unit=run.unit,
    overrides=run.record['overrides'],
    commits=run.record.get('commits', []),
    seconds=_rounded(run.record['seconds']),
    begins_with=_begins_with(run.record),
    curves=curves,
  )


def _begins_with(record):
  """Seconds of the units, by folder, whose models or files a unit needs.

  A unit that is the copy of another goes by the other's folder: both cost once.
  Of a published run what was known then: the folders are gone, as a rule.
  """
  found = dict(record.get('begins_with', {}))
  for key in _STARTS:
    value = record['overrides'].get(key, ())
    for path in (value,) if isinstance(value, str) else value:
      for folder in pathlib.Path(path).parents:
        start = files.read_json(folder / 'unit.json')
        if start:
          name = start.get('same_as', str(folder))
          found |= _begins_with(start) | {name: start['seconds']}
  return found


def read(
  path: pathlib.Path, config: str, units: Sequence[sweep.Unit]
) -> data.Arms:
  """The runs of a published claim, of which only curves are left.

  Args:
    path: of the JSON; if there is none, there are no runs.
    config, units: what the claim's runs would be now.

  Raises:
    DataError: the published runs are others.
  """
  found = files.read_json(path)
  if not found:
    return {}
  wanted = {unit.name: unit for unit in units}
  arms: data.Arms = {}
  for label, runs in found['arms'].items():
    for seed, run in runs.items():
      unit = wanted.pop(run['unit'], None)
      if unit is None or _plain(unit.overrides) != run['overrides']:
        raise data.DataError(
          f'{path}: its runs are others than those of {config}, such as'
          f' {run["unit"]!r}'
        )
      own = keys.leaves(sweep.load_config(config, unit.overrides))
      _check_settings(path, found['settings'], _plain(own))
      arms.setdefault(label, {})[int(seed)] = data.Run(
        unit=run['unit'],
        seed=int(seed),
        config=own | found['settings'],
        records=[],
        summary={},
        record=run | dict(iterations=found['iterations']),
        before={},
        kept={
          name: (np.array(c['iteration'], float), _floats(c['value']))
          for name, c in run['curves'].items()
        },
      )
  if wanted:
    raise data.DataError(f'{path}: it has no run of {", ".join(wanted)}')
  return arms


def _check_settings(path, before, now):
  """Refuses runs of another config; a key that is new is as it was."""
  changed = [
    key
    for key, value in before.items()
    if key in now and now[key] != value and not key.startswith(_FREE)
  ]
  if changed:
    raise data.DataError(
      f'{path}: its runs had other settings: {", ".join(changed)}'
    )


def _shared(arms):
  """Values of the config, by dotted key, that all runs have."""
  configs = [run.config for runs in arms.values() for run in runs.values()]
  return {
    key: value
    for key, value in configs[0].items()
    if all(config.get(key) == value for config in configs)
  }


def _plain(values):
  """As JSON gives it back: tuples are lists."""
  return json.loads(json.dumps(dict(values)))


def _floats(values):
  return np.array([math.nan if v is None else v for v in values], float)


def _rounded(values):
  """Seven digits, for the table comes out of them again; null if not finite."""
  if hasattr(values, '__len__'):
    return [_rounded(value) for value in values]
  value = float(values)
  return float(f'{value:.7g}') if math.isfinite(value) else None


def by_line(tree: Mapping[str, Any], depths: Mapping[str, int]) -> str:
  """JSON with a line for each key, and deeper where it is asked for.

  Args:
    tree: of what JSON can say.
    depths: of some of its keys, how many levels inside have lines, too.
  """
  lines = [
    f' {json.dumps(key)}: {_nested(value, depths.get(key, 0), 1)}'
    for key, value in tree.items()
  ]
  return '{\n' + ',\n'.join(lines) + '\n}\n'


def _nested(value, depth, indent):
  if not depth or not value:
    return json.dumps(value)
  pad = ' ' * indent
  lines = [
    f'{pad} {json.dumps(key)}: {_nested(part, depth - 1, indent + 1)}'
    for key, part in value.items()
  ]
  return '{\n' + ',\n'.join(lines) + f'\n{pad}}}'
