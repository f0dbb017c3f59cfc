"""Whether a model answers a text and a picture of it alike.

Kimi k1.5, section 2.3.5, wants "consistent responses" to both; how that is
measured is not published.  Three numbers over P problems, with bootstrap
intervals over problems:

  agreement                  how often two answers, one to each, are equal
  agreement_given_text       the same, where the answer to the text is right
  gap                        accuracy on texts minus accuracy on pictures

A model that is wrong in the same way twice agrees with itself, so that the
first alone says little; one that reads nothing has a gap and no agreement.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from k15.equations import statistics


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
  """Of each problem, over all pairs of an answer to its text and its picture.

  Attributes:
    same: float64 [P], the share of pairs that are equal.
    same_and_right: float64 [P], of pairs that are equal and right as text.
    text_right, picture_right: float64 [P], shares of right answers.
  """

  same: np.ndarray
  same_and_right: np.ndarray
  text_right: np.ndarray
  picture_right: np.ndarray

  @property
  def given_text(self) -> float:
    """`agreement_given_text`; NaN where no answer to a text is right."""
    right = self.text_right.mean()
    return float(self.same_and_right.mean() / right) if right else math.nan


def of_answers(
  texts: Sequence[Sequence[str | None]],
  pictures: Sequence[Sequence[str | None]],
  text_right: Sequence[Sequence[bool]],
  picture_right: Sequence[Sequence[bool]],
  equal: Callable[[str, str], bool],
) -> Pairs:
  """Pairs of P problems' answers; no answer, None, is equal to nothing.

  Args:
    texts, pictures: [P] of any number of final answers, at least one each.
    text_right, picture_right: which of these are right.
    equal: whether two answers are one.
  """
  rows = []
  for text, picture, is_right, sees_right in zip(
    texts, pictures, text_right, picture_right, strict=True
  ):
    groups = statistics.group_equal([*text, *picture], equal)
    ours, theirs = groups[: len(text)], groups[len(text) :]
    same = np.array(
      [[a is not None and a == b for b in theirs] for a in ours], float
    )
    right = np.array(is_right, float)
    both = same * right[:, None]
    rows.append((same.mean(), both.mean(), right.mean(), np.mean(sees_right)))
  columns = np.array(rows, np.float64).reshape(-1, 4).T
  return Pairs(*columns)


def measures(
  pairs: Pairs,
  level: float,
  resamples: int,
  make_rng: Callable[[], np.random.Generator],
) -> dict[str, dict[str, float] | None]:
  """The three numbers, each with `value`, `low` and `high`.

  Args:
    level: of the intervals, in (0, 1).
    resamples: of the bootstrap.
    make_rng: a generator that is the same each time: all are taken over the
      same draws of problems.

  Returns:
    By name; where no answer to a text is right, `agreement_given_text` is None.
  """

  def spread(values):
    return statistics.bootstrap(values, resamples, make_rng())

  def estimate(value, means):
    low, high = statistics.interval(means, level)
    return dict(value=float(value), low=low, high=high)

  gaps = pairs.text_right - pairs.picture_right
  found = dict(
    agreement=estimate(pairs.same.mean(), spread(pairs.same)),
    agreement_given_text=None,
    gap=estimate(gaps.mean(), spread(gaps)),
  )
  if pairs.text_right.any():
    # A ratio of two means, over the same problems: those with more right
    # answers count more.  Draws in which nothing is right say nothing.
    above, below = spread(pairs.same_and_right), spread(pairs.text_right)
    kept = below > 0
    found['agreement_given_text'] = estimate(
      pairs.given_text, above[kept] / below[kept]
    )
  return found
