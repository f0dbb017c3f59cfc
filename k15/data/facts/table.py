"""A table of facts, and one wrong belief about each of them.

A fact (a, b) -> c says that from place a road b leads to place c.  A writer of
chains states a fact rightly with a chance q of its own, and else its one
misconception, always the same: wrong chains are as fluent as right ones, and
nothing but the reward tells them apart.

What is asked is coarse, the land that the last place lies in, so that a wrong
step may do no harm.  How often it does none, its luck, follows from the table.
"""

import dataclasses

import numpy as np

from k15 import streams

PLACES = (
  'mill', 'inn', 'farm', 'well', 'ford', 'barn', 'dock', 'gate', 'hill', 'cave',
  'pond', 'mine',
)  # fmt: skip
ROADS = (
  'red', 'blue', 'gold', 'green', 'black', 'white', 'grey', 'pink', 'brown',
  'amber', 'teal', 'plum',
)  # fmt: skip
LANDS = ('north', 'south', 'east', 'west')

_DIVISIONS = 1000  # of the places into lands, among which one is chosen
_NEAR, _FAR = 0.02, 0.05  # from the luck that is asked for


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
  """Facts and beliefs of A places and B roads.

  Attributes:
    leads: int [A, B], the place that a road leads to.
    misconceptions: int [A, B], the place that it is believed to lead to.
    right_rates: float64 [A, B], q: chance that the writer states the fact.
    is_hard: bool [A, B], which facts count as hard.
    land: int [A], of each place.
    answers: names of the lands, or of the places where each is its own land.
  """

  leads: np.ndarray
  misconceptions: np.ndarray
  right_rates: np.ndarray
  is_hard: np.ndarray
  land: np.ndarray
  answers: tuple[str, ...]

  @property
  def question(self) -> str:
    """What is asked for: 'land' or 'place'."""
    return 'place' if self.answers[0] in PLACES else 'land'


def draw(
  places: int,
  roads: int,
  lands: int,
  luck: float,
  steps: tuple[int, int],
  easy_right: tuple[float, float],
  hard_right: tuple[float, float],
  hard_facts: float,
  seed: int,
) -> Table:
  """Draws a table: the same for the same arguments.

  Every road is one round through all places.  So all facts are met alike often,
  and two walks that have parted never meet again on the same roads.

  Args:
    places, roads: A in [3, 12], B in [1, 12].
    lands: in [2, 4]; 0: the place itself is asked for, which has no luck.
    luck: see `luck_of`.  Of the divisions into lands within 0.02 of it, the
      most even is taken, for a share of the answers is right by guess.
    steps: least and most facts of a walk.
    easy_right, hard_right: least and greatest q of easy and of hard facts.
    hard_facts: share of the facts that are hard.
    seed: of the table, whatever the seed of the run.

  Raises:
    ValueError: no division into lands has a luck within 0.05.
  """
  rng = streams.rng(seed, 'facts')
  leads = np.empty((places, roads), np.int64)
  misconceptions = np.empty_like(leads)
  for b in range(roads):
    order = rng.permutation(places)
    leads[order, b] = np.roll(order, -1)
    for a in range(places):
      others = np.setdiff1d(np.arange(places), [a, leads[a, b]])
      misconceptions[a, b] = rng.choice(others)
  count = places * roads
  is_hard = rng.permutation(count) < round(hard_facts * count)
  rates = np.where(
    is_hard, rng.uniform(*hard_right, count), rng.uniform(*easy_right, count)
  )
  land = np.arange(places)
  if lands:
    land = _divide(leads, misconceptions, lands, luck, steps, rng)
  return Table(
    leads,
    misconceptions,
    rates.reshape(places, roads),
    is_hard.reshape(places, roads),
    land,
    LANDS[:lands] if lands else PLACES[:places],
  )


def luck_of(
  leads: np.ndarray,
  misconceptions: np.ndarray,
  land: np.ndarray,
  steps: tuple[int, int],
) -> float:
  """Chance that one wrong step leads to the right land after all.

  It is exact: over all places and roads for the step, any step of the walk, all
  roads for those that follow, which are right, and all lengths of `steps`.
  """
  least, most = steps
  is_same = (land[:, None] == land[None, :]).astype(np.float64)
  by_left = []  # the same by how many steps follow
  for _ in range(most):
    by_left.append(is_same[leads, misconceptions].mean())
    is_same = np.mean([is_same[np.ix_(to, to)] for to in leads.T], axis=0)
  lengths = range(least, most + 1)
  return float(np.mean([np.mean(by_left[:length]) for length in lengths]))


def _divide(leads, misconceptions, lands, luck, steps, rng):
  """The land of each place."""
  places, found = len(leads), []
  while len(found) < _DIVISIONS:
    land = rng.choice(lands, places, p=rng.dirichlet(np.ones(lands)))
    sizes = np.bincount(land, minlength=lands)
    if not sizes.all():
      continue
    off = abs(luck_of(leads, misconceptions, land, steps) - luck)
    found.append((max(off, _NEAR), sizes.max(), len(found), land))
  off, _, _, land = min(found)
  if off > _FAR:
    nearest = luck_of(leads, misconceptions, land, steps)
    raise ValueError(
      f'the luck asked for is {luck}, and of {_DIVISIONS} divisions of'
      f' {places} places into {lands} lands the nearest has {nearest:.3f}'
    )
  return land
