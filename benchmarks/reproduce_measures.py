"""Numbers of an ablation's runs: one for each seed, estimates over seeds."""

from benchmarks import claim_types
from benchmarks import reproduce_data as data
from benchmarks import reproduce_stats as stats

_LEAST = {'area': 2, 'change': 2, 'slope': 2, 'correlation': 2}  # points


def measured(
  measure: claim_types.Measure, arms: data.Arms, points: int
) -> dict[str, stats.Estimate]:
  """The measure's estimate, or that of each arm; by what was measured.

  Seeds that only one of two arms has are left out.

  Raises:
    DataError: an unknown arm, or too little data.
  """
  labels = list(arms)
  named = {claim_types.FIRST: labels[0], claim_types.LAST: labels[-1]}
  arm = named.get(measure.arm, measure.arm)
  against = named.get(measure.against, measure.against)
  what = _named(measure.what, named)
  if arm == claim_types.EACH:
    return {
      f'{what}, {label}': stats.estimate(
        [_number(measure, run, run, points) for run in runs.values()]
      )
      for label, runs in arms.items()
      if runs
    }
  for label in (arm, against):
    if label and label not in arms:
      raise data.DataError(f'{measure.what}: no arm {label!r} among {labels}')
  seeds = sorted(set(arms[arm]) & set(arms[against or arm]))
  if not seeds:
    raise data.DataError(f'{measure.what}: no seed is done')
  values = [_number(measure, arms[arm][s], arms[arm][s], points) for s in seeds]
  if against:
    others = [(arms[against][s], arms[arm][s]) for s in seeds]
    theirs = [_number(measure, *runs, points) for runs in others]
    values = [a - b for a, b in zip(values, theirs, strict=True)]
  return {what: stats.estimate(values)}


def _named(text, named):
  for mark, label in named.items():
    text = text.replace(mark, label)
  return text


def _number(measure, run, setter, points):
  """The number of a run; `setter` is the run whose config has the window."""
  ends = [
    setter.config[end] if isinstance(end, str) else end
    for end in (measure.after, measure.until)
  ]
  if measure.by in ('slope', 'correlation'):
    iterations, x, y = data.pairs(run, measure.metric, measure.x)
  else:
    iterations, y = data.series(run, measure.metric)
    x = iterations
  kept = stats.inside(iterations, *ends)
  x, y = x[kept], y[kept]
  least = _LEAST.get(measure.by, 1)
  if len(y) < least:
    raise data.DataError(
      f'{run.unit}: {measure.what} needs {least} points of {measure.metric},'
      f' and there are {len(y)}'
    )
  if measure.by == 'before' and x[0] != 0:
    raise data.DataError(
      f'{run.unit}: {measure.what} is not known: no evaluation before RL was'
      ' asked the same problems'
    )
  return {
    'final': lambda: stats.final(y, points),
    'before': lambda: float(y[0]),
    'change': lambda: stats.change(y, points),
    'mean': lambda: float(y.mean()),
    'area': lambda: stats.area(x, y),
    'slope': lambda: stats.slope(x, y),
    'correlation': lambda: stats.correlation(x, y),
  }[measure.by]()
