"""Student's t intervals of a mean and of a difference.

Kimi k1.5 shows single runs; here a curve or a score is the mean over seeds,
and what it is worth is its 95 % interval.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np

LEVEL = 0.95  # share of such intervals that hold the true mean


def mean_interval(
  values: Sequence[float], level: float = LEVEL
) -> tuple[float, float]:
  """The mean of independent values and how far it may be off.

  Args:
    values: float [N], N >= 1: a number for each seed, or for each problem.
    level: of the interval, in (0, 1).

  Returns:
    (mean, half width t(N - 1) * s / sqrt(N)); the half width of a single value
    is NaN, for nothing says how much it varies.

  Raises:
    ValueError: no values.
  """
  values = np.asarray(values, float)
  if not values.size:
    raise ValueError('an interval needs at least one value')
  mean = float(values.mean())
  if values.size == 1:
    return mean, math.nan
  error = values.std(ddof=1) / math.sqrt(values.size)
  return mean, float(quantile(values.size - 1, level) * error)


def paired_interval(
  a: Sequence[float], b: Sequence[float], level: float = LEVEL
) -> tuple[float, float]:
  """Mean of b - a, value by value, and its half width.

  Args:
    a, b: float [N], N >= 1, the same seeds or problems in the same order.
    level: of the interval, in (0, 1).

  Raises:
    ValueError: not as many a as b, or none.
  """
  if len(a) != len(b):
    raise ValueError(f'{len(a)} values cannot be paired with {len(b)}')
  return mean_interval(np.asarray(b, float) - np.asarray(a, float), level)


def unpaired_interval(
  a: Sequence[float], b: Sequence[float], level: float = LEVEL
) -> tuple[float, float]:
  """Mean of b minus mean of a, independent of each other; its half width.

  Welch's: both may vary by another amount.  Its degrees of freedom are rounded
  down, which makes the interval a little wider.

  Args:
    a: float [N], N >= 1.
    b: float [M], M >= 1.
    level: of the interval, in (0, 1).

  Returns:
    (difference, half width); NaN where a side is a single value.

  Raises:
    ValueError: no values.
  """
  if not len(a) or not len(b):
    raise ValueError(f'no difference of {len(a)} and {len(b)} values')
  a, b = np.asarray(a, float), np.asarray(b, float)
  difference = float(b.mean() - a.mean())
  if min(a.size, b.size) == 1:
    return difference, math.nan
  squares = [float(v.var(ddof=1)) / v.size for v in (a, b)]
  if not sum(squares):
    return difference, 0.0
  parts = (s**2 / (v.size - 1) for s, v in zip(squares, (a, b), strict=True))
  freedom = math.floor(sum(squares) ** 2 / sum(parts) + 1e-9)
  return difference, quantile(freedom, level) * math.sqrt(sum(squares))


@functools.lru_cache(maxsize=256)
def quantile(freedom: int, level: float = LEVEL) -> float:
  """The t that |T| stays below with probability `level`.

  Args:
    freedom: degrees of freedom, >= 1.
    level: in (0, 1).

  Raises:
    ValueError: an argument is out of its range.
  """
  if freedom < 1 or not 0 < level < 1:
    raise ValueError(f'no t for {freedom} degrees of freedom, level {level}')
  low, high = 0.0, math.pi / 2  # of atan(t / sqrt(freedom))
  for _ in range(60):
    middle = (low + high) / 2
    if _inside(middle, freedom) < level:
      low = middle
    else:
      high = middle
  return math.tan(high) * math.sqrt(freedom)


def _inside(angle, freedom):
  """P(|T| < tan(angle) sqrt(freedom)): Abramowitz and Stegun 26.7.3, 26.7.4."""
  sine, cosine = math.sin(angle), math.cos(angle)
  is_odd = freedom % 2
  term = cosine if is_odd else 1.0
  total = 0.0
  for k in range(2 + is_odd, freedom + 1, 2):
    total += term
    term *= cosine**2 * (k - 1) / k
  if is_odd:
    return 2 / math.pi * (angle + sine * total)
  return sine * total
