"""What runs say about a claim: a number for each seed, and its interval.

What follows from them is in `verdicts`.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from benchmarks.reproduce import ablation_runs as data
from experiments.ablations import claims
from k15.equations import statistics

_LEAST = dict(area=2, change=2, slope=2, correlation=2, late_rise=3)  # points


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean over seeds with its 95 % Student-t interval.

  Attributes:
    values: one for each seed.
    mean: of them.
    half: half the width of the interval; NaN for a single seed.
  """

  values: tuple[float, ...]
  mean: float
  half: float

  @property
  def low(self) -> float:
    return self.mean - self.half

  @property
  def high(self) -> float:
    return self.mean + self.half


def estimate(values: Sequence[float]) -> Estimate:
  """The mean of a number for each seed; raises ValueError if there is none."""
  mean, half = statistics.mean_interval(values)
  return Estimate(tuple(float(value) for value in values), mean, half)


def text(found: Estimate) -> str:
  """Such as '0.053 ± 0.012' or '(2.5 ± 0.2)e-05'; without ± for one seed."""
  mean, half = found.mean, found.half
  size = max(abs(mean), 0.0 if math.isnan(half) else half)
  power = math.floor(math.log10(size)) if size and math.isfinite(size) else 0
  scale, tail = (10.0**power, f'e{power:+03d}') if power < -3 else (1.0, '')
  if math.isnan(half):
    return f'{mean / scale:.3g}{tail}'
  mean, half = mean / scale, half / scale
  places = 3 if half < 1e-9 else max(0, 1 - math.floor(math.log10(half)))
  shown = f'{mean:.{places}f} ± {half:.{places}f}'
  return f'({shown}){tail}' if tail else shown


def final(y: np.ndarray, points: int) -> float:
  """Mean of the last `points` values of float [N], of fewer if N is less."""
  return float(np.mean(y[-points:]))


def change(y: np.ndarray, points: int) -> float:
  """Mean of the last `points` values minus the first value."""
  return final(y, points) - float(y[0])


def area(x: np.ndarray, y: np.ndarray) -> float:
  """Area under the curve by its width: its mean height, in units of y.

  Args:
    x: float [N], rising, N >= 2.
    y: float [N].
  """
  return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def part(
  x: np.ndarray, y: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
  """The part of a curve in [low, high], with its ends interpolated.

  Args:
    x: float [N], rising; low and high are within it.
    y: float [N].
  """
  at = np.concatenate([[low], x[(x > low) & (x < high)], [high]])
  return at, np.interp(at, x, y)


def late_rise(x: np.ndarray, y: np.ndarray) -> float:
  """What the least-squares line rises by over the last third of x's range.

  Near 0 a curve has become flat.  Args: float [N] each, x rising; two points
  have to be in that third.
  """
  width = (x[-1] - x[0]) / 3
  late = x >= x[-1] - width - 1e-9
  return slope(x[late], y[late]) * float(width)


def slope(x: np.ndarray, y: np.ndarray) -> float:
  """Least-squares slope of y on x, float [N] each; NaN if x does not vary."""
  dx = x - x.mean()
  squares = float(dx @ dx)
  return float(dx @ (y - y.mean())) / squares if squares else math.nan


def correlation(x: np.ndarray, y: np.ndarray) -> float:
  """Pearson's, float [N] each; NaN if x or y does not vary."""
  dx, dy = x - x.mean(), y - y.mean()
  squares = float(dx @ dx) * float(dy @ dy)
  return float(dx @ dy) / math.sqrt(squares) if squares else math.nan


def inside(
  x: np.ndarray, after: float | None, until: float | None
) -> np.ndarray:
  """Which of x float [N] are in (after, until]; None leaves an end open."""
  above = x > after if after is not None else np.full(len(x), True)
  return above & (x <= until if until is not None else True)


def measured(
  measure: claims.Measure, arms: data.Arms, points: int
) -> dict[str, Estimate]:
  """The measure's estimate, or that of each arm; by what was measured.

  Seeds that only one of two arms has are left out.

  Raises:
    DataError: an unknown arm, or too little data.
  """
  labels = list(arms)
  named = _named(labels)
  arm = named.get(measure.arm, measure.arm)
  against = named.get(measure.against, measure.against)
  what = name(measure, arms)
  if arm == claims.EACH:
    return {
      f'{what}, {label}': estimate(
        [_number(measure, (run,), 0, points) for run in runs.values()]
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
  values = []
  for seed in seeds:
    pair = [arms[label][seed] for label in (arm, against) if label]
    numbers = [_number(measure, pair, i, points) for i in range(len(pair))]
    values.append(numbers[0] - sum(numbers[1:]))
  return {what: estimate(values)}


def name(measure: claims.Measure, arms: data.Arms) -> str:
  """What is measured, with labels for FIRST and LAST."""
  text = measure.what
  for mark, label in _named(list(arms)).items():
    text = text.replace(mark, label)
  return text


def _named(labels):
  return {claims.FIRST: labels[0], claims.LAST: labels[-1]}


def _number(measure, pair, which, points):
  """The number of one of two runs that are compared, or of one alone.

  The config of the first has the window, and both have to reach as far as an
  area over work does.
  """
  run = pair[which]
  ends = [
    pair[0].config[end] if isinstance(end, str) else end
    for end in (measure.after, measure.until)
  ]
  iterations, x, y = _curve(measure, run)
  kept = inside(iterations, *ends)
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
  if measure.by == 'area' and measure.x:
    others = [_curve(measure, other)[1] for other in pair]
    low, high = max(o[0] for o in others), min(o[-1] for o in others)
    x, y = part(x, y, low, high)
  return {
    'final': lambda: final(y, points),
    'before': lambda: float(y[0]),
    'change': lambda: change(y, points),
    'mean': lambda: float(y.mean()),
    'area': lambda: area(x, y),
    'late_rise': lambda: late_rise(x, y),
    'slope': lambda: slope(x, y),
    'correlation': lambda: correlation(x, y),
  }[measure.by]()


def _curve(measure, run):
  """(iterations, x, y) of a measure's metric in a run, float [N] each."""
  x = 'iteration'
  if measure.by in ('slope', 'correlation'):
    x = measure.x or claims.TOKENS
  elif measure.by == 'area':
    x = measure.x or x
  return data.pairs(run, measure.metric, x)
