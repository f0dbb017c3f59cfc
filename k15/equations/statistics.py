"""Measures of an evaluation: n samples of each of P problems, and their spread.

Kimi k1.5 shows single runs; here a curve or a score is the mean over seeds,
and what it is worth is its 95 % interval, Student's t.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np


def pass_at_k(correct: np.ndarray, k: int) -> np.ndarray:
  """Chance that one of k samples is right, per problem.

  Codex (arXiv 2107.03374), equation 1: 1 - C(n - c, k) / C(n, k), whose mean
  over n samples is the chance itself; for k = 1, the share of right ones.  The
  ratio is the product of 1 - k / i over i = n - c + 1, ..., n: no binomial is
  computed.

  Args:
    correct: bool [P, n].
    k: from 1 to n.

  Returns:
    float64 [P].

  Raises:
    ValueError: k is none of these.
  """
  n = correct.shape[1]
  if not 1 <= k <= n:
    raise ValueError(f'pass@{k} of {n} samples: it needs 1 to {n}')
  right = correct.sum(axis=1)
  if k == 1:
    return right / n
  i = np.arange(1, n + 1)
  # Factors with i < k occur only where n - c < k: one of k is sure to be right.
  factors = np.where(i > n - right[:, None], 1 - k / i, 1.0)
  fails = np.prod(np.maximum(factors, 0.0), axis=1)
  return np.where(n - right < k, 1.0, 1 - fails)


def group_equal(
  answers: Sequence[str | None], equal: Callable[[str, str], bool]
) -> list[int | None]:
  """Number of the group that each answer is in; None stays None.

  An answer joins the first group whose first answer it equals.
  """
  by_text, firsts, groups = {}, [], []
  for answer in answers:
    if answer is not None and answer not in by_text:
      found = (g for g, first in enumerate(firsts) if equal(answer, first))
      by_text[answer] = next(found, len(firsts))
      if by_text[answer] == len(firsts):
        firsts.append(answer)
    groups.append(None if answer is None else by_text[answer])
  return groups


def majority(
  groups: Sequence[int | None], correct: Sequence[bool]
) -> tuple[float, bool]:
  """Whether the answer most samples give is right, and whether it was a tie.

  A tie is broken by lot: what is returned is the share of right answers among
  those tied.  An answer is right if most samples that give it are.

  Args:
    groups: of `group_equal`, one per sample; None has no vote.

  Returns:
    A value in [0, 1], 0 without any vote; whether several answers were tied.
  """
  votes = {}
  for group, right in zip(groups, correct, strict=True):
    if group is not None:
      votes.setdefault(group, []).append(right)
  if not votes:
    return 0.0, False
  most = max(map(len, votes.values()))
  tied = [np.mean(v) > 0.5 for v in votes.values() if len(v) == most]
  return float(np.mean(tied)), len(tied) > 1


def lengths(values: np.ndarray) -> dict[str, float | None]:
  """Mean and 95th percentile of int [N] tokens; None where there are none."""
  if not values.size:
    return dict(mean=None, p95=None)
  return dict(mean=float(np.mean(values)), p95=float(np.percentile(values, 95)))


def bootstrap(
  values: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
  """Means of problems drawn with replacement.

  Samples are nested in problems: a problem comes with all of its samples, so
  `values` are per problem.  Drawing samples anew too would count their spread
  twice, as the values of problems hold it already.

  Args:
    values: float [P], one or more.
    rng: the same one gives the same means.

  Returns:
    float64 [resamples].
  """
  P = len(values)
  means, rows = [], max(1, (1 << 22) // P)
  for start in range(0, resamples, rows):
    size = min(rows, resamples - start)
    weights = rng.multinomial(P, np.full(P, 1 / P), size=size)
    means.append(weights @ np.asarray(values, np.float64) / P)
  return np.concatenate(means)


def interval(means: np.ndarray, level: float) -> tuple[float, float]:
  """Percentiles of bootstrapped means that hold `level`, in (0, 1), of them."""
  low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
  return float(low), float(high)


def p_value(differences: np.ndarray) -> float:
  """How likely a difference this far from 0 is, two-sided, by bootstrap.

  Args:
    differences: float [R], bootstrapped means of paired differences.

  Returns:
    2 min(P(d <= 0), P(d >= 0)), at most 1 and at least 2 / (R + 1).
  """
  few = min((differences <= 0).sum(), (differences >= 0).sum())
  return float(min(1.0, 2 * (few + 1) / (len(differences) + 1)))


def mcnemar(won: int, lost: int) -> float:
  """McNemar's exact test: two-sided p-value of `won` against `lost`.

  Under the null hypothesis a problem that differs is as likely won as lost:
  2 P(X <= min(won, lost)) for X ~ Binomial(won + lost, 1/2), at most 1.
  """
  n, few = won + lost, min(won, lost)
  # C(n, i) / 2^n by its logarithm, so that thousands of problems do not matter.
  i = np.arange(1, n + 1)
  log_factorial = np.concatenate([[0.0], np.cumsum(np.log(i))])
  x = np.arange(few + 1)
  log_terms = log_factorial[n] - log_factorial[x] - log_factorial[n - x]
  return float(min(1.0, 2 * np.exp(log_terms - n * np.log(2)).sum()))


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


def band(
  rows: np.ndarray, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """`mean_interval` of every column, over the rows that have a value there.

  Args:
    rows: float [S, N], NaN where a row has none: S seeds, N iterations.
    level: of the interval, in (0, 1).

  Returns:
    (means [N], half widths [N], counts int [N]); the mean of no value is NaN,
    as is the half width of fewer than two.
  """
  here = np.isfinite(rows)
  counts = here.sum(axis=0)
  some = np.maximum(counts, 1)
  means = np.where(here, rows, 0).sum(axis=0) / some
  squares = np.where(here, (rows - means) ** 2, 0).sum(axis=0)
  t = [quantile(n - 1, level) if n > 1 else math.nan for n in counts.tolist()]
  with np.errstate(divide='ignore', invalid='ignore'):
    half_widths = np.array(t) * np.sqrt(squares / (counts - 1) / some)
  return np.where(counts, means, math.nan), half_widths, counts


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
