"""Odds by hand, by listing all chains, and by writing many."""

import dataclasses
import itertools

import numpy as np
import pytest
import small_facts

from k15.data.facts import chains
from k15.data.facts import odds
from k15.data.facts import walks
from k15.data.facts.chains import Habits


def test_two_steps_that_cancel():
  """Red twice from mill: each step is right half of the time.

  Clean: 1/4.  Right is also two wrong steps, for what is wrong at mill stays
  there, and again: 1/4.  So P(misconception | right) is 1/2, and of the 3/4
  that hold one a third is right.
  """
  found = odds.of(small_facts.TABLE, [walks.Walk(0, (0, 0))], Habits())
  assert (found.right[0], found.clean[0]) == (0.5, 0.25)
  assert found.habit_given_right == 0.5
  assert found.luck_of_wrong == pytest.approx(1 / 3)
  assert found.groups_without_right(3) == 1 / 8
  assert found.groups_without_variance(3) == 1 / 4


def test_luck_that_is_a_coin_and_luck_that_is_fixed():
  one = odds.of(small_facts.TABLE, [walks.Walk(0, (0, 0))], Habits())
  assert one.luck_by_problem == pytest.approx(0)
  # Of one wrong step, none is right; of always two, all are.
  fixed = odds.Odds(np.array([0.5, 1.0]), np.array([0.5, 0.5]))
  assert fixed.luck_by_problem == pytest.approx(1)


def test_checks_by_hand():
  """Half right, noticed 3/4 of the time: r = 1/2 * 3/4 = 3/8."""
  rates = odds.step_rates(small_facts.TABLE, Habits(1.0, 0.75))
  r = 3 / 8
  assert rates[0, 0] == pytest.approx(0.5 * (1 + r + r * r + r**3))
  assert rates[0, 1] == 1


def test_rounds_by_hand():
  """One step of a half, and rounds until two agree.

  Two that agree: 1/4 right, 1/4 wrong.  So half goes on to a third round, a
  quarter to a fourth: by symmetry right stays a half.  With q = 0.8 the first
  two agree on right at 0.64; 0.16 goes on from each place.  In the third, from
  wrong: wrong again ends, 0.16 * 0.2, and right goes on, 0.16 * 0.8 = 0.128;
  from right: right again ends, 0.128, and wrong goes on, 0.032.  The fourth
  ends whatever it says: 0.16 * 0.8 = 0.128 are right.  0.64 + 0.128 + 0.128.
  """
  habits, walk = Habits(again_rate=1.0), [walks.Walk(0, (0,))]
  assert odds.of(small_facts.TABLE, walk, habits).right[0] == 0.5
  table = dataclasses.replace(
    small_facts.TABLE, right_rates=np.array([[0.8, 1.0], [0.5, 1.0]])
  )
  found = odds.of(table, walk, habits)
  assert found.right[0] == found.clean[0] == pytest.approx(0.896)


def test_the_sum_over_all_chains():
  table = small_facts.drawn()
  problems = walks.make_problems(6, table, walks.Mix((3, 3), 0.5), False, 0)
  chosen = [walks.walk_of(p.prompt) for p in problems]
  found = odds.of(table, chosen, Habits())
  for walk, right, clean in zip(chosen, found.right, found.clean, strict=True):
    end, totals = walks.places_of(table, walk)[-1], np.zeros(2)
    for wrong in itertools.product((False, True), repeat=3):
      place, chance = walk.start, 1.0
      for road, is_wrong in zip(walk.roads, wrong, strict=True):
        q = table.right_rates[place, road]
        chance *= 1 - q if is_wrong else q
        to = table.misconceptions if is_wrong else table.leads
        place = to[place, road]
      is_right = table.land[place] == table.land[end]
      totals += chance * np.array([is_right, not any(wrong)])
    assert (right, clean) == pytest.approx(tuple(totals))


def test_what_is_written_comes_as_often():
  table, rng = small_facts.drawn(), np.random.default_rng(0)
  habits = Habits(check_rate=0.5, notice_rate=0.8, again_rate=0.7)
  problems = walks.make_problems(40, table, walks.Mix((2, 4), 0.5), False, 0)
  chosen = [walks.walk_of(p.prompt) for p in problems]
  found = odds.of(table, chosen, habits)
  counts, repeats = np.zeros(2), 50
  for problem, walk in list(zip(problems, chosen, strict=True)) * repeats:
    chain = chains.read(chains.write(table, walk, habits, rng))
    counts += (
      chain.answer == problem.answer,
      not chains.holds_wrong(table, chain),
    )
  shares = counts / (40 * repeats)
  # Of 2,000 chains: four standard deviations are at most 0.045.
  assert shares == pytest.approx(
    (found.right.mean(), found.clean.mean()), abs=0.045
  )
