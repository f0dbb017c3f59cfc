"""What a warm-up's writer achieves, exactly: by summing over all its chains.

A chain is a walk over the places, stated rightly or not.  So the chance of
every place that a round may have come to, with and without a misconception on
the way, follows step by step, and from those what a group of k responses holds.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from k15.data.facts import walks as walks_lib
from k15.data.facts.chains import MOST_ROUNDS
from k15.data.facts.chains import MOST_TRIES
from k15.data.facts.chains import Habits
from k15.data.facts.table import Table
from k15.data.facts.walks import Walk


@dataclasses.dataclass(frozen=True, eq=False)
class Odds:
  """Of the writer's responses to N walks.

  Attributes:
    right: float64 [N], chance of the right answer, the pass rate.
    clean: float64 [N], chance that the answer rests on no misconception; it
      is right then.
  """

  right: np.ndarray
  clean: np.ndarray

  @property
  def habit_given_right(self) -> float:
    """P(the answer rests on a misconception | it is right), over all walks."""
    return 1 - float(self.clean.sum() / self.right.sum())

  @property
  def luck_of_wrong(self) -> float:
    """P(right answer | it rests on a misconception), over all walks."""
    wrong = 1 - self.clean
    return float((self.right - self.clean).sum() / max(wrong.sum(), 1e-12))

  @property
  def luck_by_problem(self) -> float:
    """Share of that luck's variance that lies between problems.

    At 0 luck is a coin of the response, at 1 it is fixed for the problem.
    """
    wrong = np.maximum(1 - self.clean, 1e-12)
    luck, mean = (self.right - self.clean) / wrong, self.luck_of_wrong
    between = np.average((luck - mean) ** 2, weights=wrong)
    return float(between / max(mean * (1 - mean), 1e-12))

  def groups_without_right(self, size: int) -> float:
    """Share of groups of so many responses that have no right one."""
    return float(np.mean((1 - self.right) ** size))

  def groups_without_variance(self, size: int) -> float:
    """Share of groups whose responses are all right, or none is."""
    all_right = float(np.mean(self.right**size))
    return all_right + self.groups_without_right(size)


def of(table: Table, walks: Sequence[Walk], habits: Habits) -> Odds:
  """Odds of walks, in their order."""
  right, clean = np.empty(len(walks)), np.empty(len(walks))
  lengths = np.array([len(walk.roads) for walk in walks])
  for length in set(lengths.tolist()):
    rows = np.flatnonzero(lengths == length)
    chosen = [walks[row] for row in rows]
    ends = _answers(_rounds(table, chosen, habits), habits.again_rate)
    lands = [table.land[walks_lib.places_of(table, w)[-1]] for w in chosen]
    is_right = table.land[None, :] == np.array(lands)[:, None]
    right[rows] = (ends.sum(-1) * is_right).sum(-1)
    clean[rows] = ends[..., 0].sum(-1)
  return Odds(right, clean)


def step_rates(table: Table, habits: Habits) -> np.ndarray:
  """float64 [A, B], chance that the statement which stands is right.

  A try is taken back with chance r = (1 - q) check_rate notice_rate.  The last
  of m tries stands as it is, so the chance is q (1 + r + ... + r^(m - 1)).
  """
  q = table.right_rates
  back = (1 - q) * habits.check_rate * habits.notice_rate
  return q * sum(back**tries for tries in range(MOST_TRIES))


def _rounds(table, walks, habits):
  """float64 [N, A, 2]: places where a round ends, without and with a wrong."""
  rates, places = step_rates(table, habits), np.arange(len(table.leads))
  roads = table.leads.shape[1]
  true, wrong = np.zeros((2, roads, len(places), len(places)))
  for b in range(roads):
    true[b, places, table.leads[:, b]] = rates[:, b]
    wrong[b, places, table.misconceptions[:, b]] = 1 - rates[:, b]
  at = np.zeros((len(walks), len(places), 2))
  at[np.arange(len(walks)), [walk.start for walk in walks], 0] = 1
  for taken in np.array([walk.roads for walk in walks]).T:
    clean = np.einsum('na,nac->nc', at[..., 0], true[taken])
    dirty = np.einsum('na,nac->nc', at[..., 0], wrong[taken])
    dirty += np.einsum('na,nac->nc', at[..., 1], (true + wrong)[taken])
    at = np.stack([clean, dirty], axis=-1)
  return at


def _answers(one, again_rate):
  """The same where the answer is: after the round that is the last."""
  total, going = np.zeros_like(one), again_rate * one.sum(-1)
  total += (1 - again_rate) * one
  for number in range(2, MOST_ROUNDS + 1):
    agrees = going[..., None] * one
    others = going.sum(-1)[:, None, None] * one - agrees
    goes_on = again_rate if number < MOST_ROUNDS else 0.0
    total += agrees + (1 - goes_on) * others
    going = goes_on * others.sum(-1)
  return total
