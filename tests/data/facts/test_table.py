"""Luck by hand, and tables that are what was asked for."""

import numpy as np
import pytest

from k15.data.facts import table as table_lib

SETTINGS = dict(
  places=10, roads=8, lands=2, luck=0.45, steps=(3, 3), easy_right=(0.9, 0.99),
  hard_right=(0.2, 0.6), hard_facts=0.25, seed=0,
)  # fmt: skip


def draw(**changes):
  return table_lib.draw(**SETTINGS | changes)


@pytest.mark.parametrize(
  ('steps', 'luck'),
  [((1, 1), 0.0), ((2, 2), 0.25), ((3, 3), 1.25 / 3), ((1, 2), 0.125)],
)
def test_luck_of_a_table_of_two_by_two(steps, luck):
  """Of place 0 the roads lead to 0 and 1, of place 1 both to 0.

  A wrong last step is never harmless: places 0 and 1 are two lands.  With one
  step left, road 0 joins both at 0 and road 1 swaps them: 1/2.  With two left,
  road 0 joins them, and after road 1 there is one step left: (1 + 1/2) / 2.
  So walks of two steps have (0 + 1/2) / 2, of three (0 + 1/2 + 3/4) / 3.
  """
  leads = np.array([[0, 1], [0, 0]])
  found = table_lib.luck_of(leads, 1 - leads, np.array([0, 1]), steps)
  assert found == pytest.approx(luck)


def test_where_all_places_are_one_land_or_their_own():
  t = draw(lands=0, luck=0.0)
  arguments = t.leads, t.misconceptions
  assert table_lib.luck_of(*arguments, np.zeros(10, int), (3, 3)) == 1
  # Roads are rounds: two different places never meet on them.
  assert table_lib.luck_of(*arguments, t.land, (1, 5)) == 0
  assert (t.question, t.answers) == ('place', table_lib.PLACES[:10])


def test_roads_are_rounds_and_beliefs_are_other_places():
  t = draw()
  for b in range(8):
    place, seen = 0, set()
    for _ in range(10):
      place = t.leads[place, b]
      seen.add(int(place))
    assert place == 0 and seen == set(range(10))
  assert (t.misconceptions != t.leads).all()
  assert (t.misconceptions != np.arange(10)[:, None]).all()


def test_chances_are_those_of_easy_and_of_hard_facts():
  t = draw()
  assert t.is_hard.sum() == 20  # a quarter of 80
  hard, easy = t.right_rates[t.is_hard], t.right_rates[~t.is_hard]
  assert 0.2 <= hard.min() < hard.max() <= 0.6
  assert 0.9 <= easy.min() < easy.max() <= 0.99


@pytest.mark.parametrize(
  ('lands', 'luck'), [(2, 0.45), (2, 0.62), (3, 0.4), (4, 0.2)]
)
def test_luck_is_as_asked(lands, luck):
  t = draw(lands=lands, luck=luck)
  found = table_lib.luck_of(t.leads, t.misconceptions, t.land, (3, 3))
  assert found == pytest.approx(luck, abs=0.02)
  assert set(t.land) == set(range(lands)) and t.question == 'land'


def test_luck_that_no_division_has():
  with pytest.raises(ValueError, match='luck asked for is 0.05, and of 1000'):
    draw(luck=0.05)


def test_the_same_seed_draws_the_same():
  first, again, other = draw(), draw(), draw(seed=1)
  for name in ('leads', 'misconceptions', 'right_rates', 'is_hard', 'land'):
    assert (getattr(first, name) == getattr(again, name)).all()
  assert (first.misconceptions != other.misconceptions).any()
