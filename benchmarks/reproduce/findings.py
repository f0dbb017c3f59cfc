"""What runs say about a claim: a number for each seed, intervals, verdicts."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from benchmarks.reproduce import ablation_runs as data
from experiments.ablations import claims
from k15.equations import statistics

# What a claim expects of a number: beyond a margin, within it, or not below it.
EXPECTED = 'above', 'below', 'equal', 'not_below', 'not_above'
_LEAST = {'area': 2, 'change': 2, 'slope': 2, 'correlation': 2}  # points


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


@dataclasses.dataclass(frozen=True)
class Finding:
  """What an estimate says of what was expected.

  Attributes:
    holds: whether the interval lies wholly where it was expected.
    sentence: why, when it does not: the opposite, or too wide to tell.
  """

  holds: bool
  sentence: str


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


def judge(found: Estimate, expected: str, margin: float = 0.0) -> Finding:
  """Whether an estimate lies wholly where it was expected.

  Args:
    found: a number, or the paired difference between two arms.
    expected: 'above' or 'below' the margin's positive or negative, 'equal'
      (within it on both sides), 'not_below' minus it, 'not_above' it.
    margin: >= 0, stated beforehand; 0 for 'above' and 'below' as a rule.

  Raises:
    ValueError: an unknown expectation; or no margin where one is needed.
  """
  if expected not in EXPECTED:
    raise ValueError(f'{expected!r} is none of {EXPECTED}')
  if margin < 0 or (expected not in ('above', 'below') and not margin):
    raise ValueError(f'{expected}: margin {margin} has to be positive')
  if math.isnan(found.mean):
    return Finding(False, 'it is not defined in every seed')
  if math.isnan(found.half):
    return Finding(False, 'a single seed has no interval')
  low, high = found.low, found.high
  limits = {
    'above': (margin, math.inf), 'below': (-math.inf, -margin),
    'equal': (-margin, margin), 'not_below': (-margin, math.inf),
    'not_above': (-math.inf, margin),
  }  # fmt: skip
  least, most = limits[expected]
  if least < low and high < most:
    return Finding(True, 'the interval lies wholly on the expected side')
  if expected in ('above', 'below') and (
    high < 0 if expected == 'above' else low > 0
  ):
    return Finding(False, 'the opposite was measured')
  if expected in ('above', 'below'):
    return Finding(False, 'no difference could be told')
  if high < least or low > most:
    return Finding(False, f'a difference beyond {margin:g} was measured')
  return Finding(False, f'whether it is within {margin:g} could not be told')


def verdict(findings: Sequence[tuple[str, Finding]]) -> tuple[str, str]:
  """One verdict for the comparisons that decide a claim.

  Args:
    findings: (what was compared, what it says), at least one.

  Returns:
    ('holds' or 'does not hold here', a sentence).
  """
  wrong = [f'{what}: {f.sentence}' for what, f in findings if not f.holds]
  if wrong:
    return 'does not hold here', '; '.join(wrong)
  if len(findings) == 1:
    return 'holds', findings[0][1].sentence
  return 'holds', f'all {len(findings)} intervals lie where they were expected'


def measured(
  measure: claims.Measure, arms: data.Arms, points: int
) -> dict[str, Estimate]:
  """The measure's estimate, or that of each arm; by what was measured.

  Seeds that only one of two arms has are left out.

  Raises:
    DataError: an unknown arm, or too little data.
  """
  labels = list(arms)
  named = {claims.FIRST: labels[0], claims.LAST: labels[-1]}
  arm = named.get(measure.arm, measure.arm)
  against = named.get(measure.against, measure.against)
  what = _named(measure.what, named)
  if arm == claims.EACH:
    return {
      f'{what}, {label}': estimate(
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
  return {what: estimate(values)}


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
  return {
    'final': lambda: final(y, points),
    'before': lambda: float(y[0]),
    'change': lambda: change(y, points),
    'mean': lambda: float(y.mean()),
    'area': lambda: area(x, y),
    'slope': lambda: slope(x, y),
    'correlation': lambda: correlation(x, y),
  }[measure.by]()
