"""All that a figure shows, as JSON: curves of every seed, and what was said."""

import json
import math
from typing import Any

from benchmarks import claim_types
from benchmarks import reproduce_data as data
from benchmarks import reproduce_table

# Kept beside the metrics of the panels, where they are known.
_ALWAYS = (
  'rl/reward', 'rl/length_mean', 'evaluation/accuracy',
  'evaluation/mean_tokens', 'seconds',
)  # fmt: skip


def dumps(
  claim: claim_types.Claim,
  config: str,
  arms: data.Arms,
  result: reproduce_table.Result,
  date: str,
) -> str:
  """The text of docs/reproduce/NAME.json.

  Args:
    claim, arms, result: what was asked, run and measured.
    config: 'FILE:cpu'.
    date: of the measurement.
  """
  wanted = [*_ALWAYS, *(m for p in claim.panels for m in (p.y, p.x))]
  wanted += [m.metric for m in claim.measures]
  names = [m for m in dict.fromkeys(wanted) if m != 'iteration']
  content = dict(
    name=claim.name,
    figure=claim.figure,
    question=claim.question,
    paper=claim.paper,
    command=f'make reproduce FIGURE={claim.name}',
    config=config,
    date=date,
    commits=result.commits,
    seeds=result.seeds,
    iterations=result.iterations,
    verdict=result.verdict,
    sentence=result.sentence,
    settings=_shared(arms),
    measures={
      what: dict(
        values=_rounded(found.values),
        mean=_rounded(found.mean),
        half_width=_rounded(found.half),
        decides=what in result.deciding,
      )
      for what, found in result.estimates.items()
    },
    arms={
      label: {str(run.seed): _run(run, names) for run in runs.values()}
      for label, runs in arms.items()
    },
  )
  return json.dumps(content, indent=1) + '\n'


def _run(run, names) -> dict[str, Any]:
  curves = {}
  for name in names:
    try:
      x, y = data.series(run, name)
    except data.DataError:
      continue
    curves[name] = dict(iteration=x.astype(int).tolist(), value=_rounded(y))
  return dict(
    unit=run.unit,
    overrides=run.record['overrides'],
    commits=run.record.get('commits', []),
    seconds=run.record['seconds'],
    curves=curves,
  )


def _shared(arms):
  """Values of the config, by dotted key, that all runs have."""
  configs = [run.config for runs in arms.values() for run in runs.values()]
  return {
    key: value
    for key, value in configs[0].items()
    if all(config.get(key) == value for config in configs)
  }


def _rounded(values):
  """Six digits; null for what is not finite."""
  if hasattr(values, '__len__'):
    return [_rounded(value) for value in values]
  value = float(values)
  return float(f'{value:.6g}') if math.isfinite(value) else None
