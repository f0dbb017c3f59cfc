"""Measures of an evaluation: n samples of each of P problems, and their spread.

A response that did not end by itself counts as wrong: it is not in `correct`.
"""

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
    correct: of the samples.

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
    resamples: how many means.
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
