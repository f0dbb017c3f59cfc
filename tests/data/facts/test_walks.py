"""Problems: right, on one side, easy or hard as labelled, reproducible."""

import itertools

import numpy as np
import pytest
import small_facts

from k15.curation import near_duplicates
from k15.data.facts import walks

MIX = walks.Mix((2, 4), 0.25)


def _make(count=80, held_out=False, seed=0, mix=MIX):
  return walks.make_problems(count, small_facts.drawn(), mix, held_out, seed)


def test_a_problem_by_hand():
  """From mill red leads to inn; there blue stays, in the south."""
  table = small_facts.TABLE
  walk = walks.Walk(0, (0, 1))
  assert walks.places_of(table, walk) == [0, 1, 1]
  problem = walks.problem_of(table, walk)
  assert problem.prompt == problem.id == 'from mill: red blue, land?'
  assert (problem.answer, problem.domain) == ('south', 'hard')
  easy = walks.problem_of(table, walks.Walk(0, (1,)))
  assert (easy.answer, easy.domain, easy.difficulty) == ('north', 'easy', 0.0)
  assert walks.walk_of(problem.prompt) == walk
  with pytest.raises(ValueError, match='asks for no walk'):
    walks.walk_of('12 + 3')


def test_easy_ones_have_no_hard_fact_and_hard_ones_take_turns():
  table, problems = small_facts.drawn(), _make()
  assert [p.domain for p in problems[:8]] == [*['easy'] * 3, 'hard'] * 2
  for problem in problems:
    walk = walks.walk_of(problem.prompt)
    places = walks.places_of(table, walk)
    assert problem.answer == table.answers[table.land[places[-1]]]
    count = table.is_hard[places[:-1], walk.roads].sum()
    assert (count > 0) == (problem.domain == 'hard')
    assert problem.difficulty == (count > 0)
    assert 2 <= len(walk.roads) <= 4


def test_hard_ones_of_more_hard_facts():
  table = small_facts.drawn()
  mix = walks.Mix((4, 4), 1.0, hard_steps=3)
  rng = np.random.default_rng(0)
  for walk in itertools.islice(walks.stream(table, mix, False, rng), 20):
    places = walks.places_of(table, walk)[:-1]
    assert table.is_hard[places, walk.roads].sum() >= 3


def test_sides_never_meet_whatever_the_seeds():
  held_out = {p.prompt for seed in (0, 1) for p in _make(40, True, seed)}
  train = {p.prompt for seed in (0, 1, 2) for p in _make(400, False, seed)}
  assert not held_out & train
  assert all(walks.is_held_out(walks.walk_of(p)) for p in held_out)
  known = near_duplicates.Known(_make(200, True))
  assert not any(known.find(prompt) for prompt in train)


def test_one_walk_in_sixteen_is_held_out():
  every = itertools.product(range(10), itertools.product(range(8), repeat=3))
  held_out = [walks.is_held_out(walks.Walk(*each)) for each in every]
  # Of 5,120: 320, and five standard deviations of 17.
  assert abs(sum(held_out) - 320) < 87


def test_the_same_seed_draws_the_same_and_too_few_are_refused():
  assert _make() == _make() != _make(seed=1)
  with pytest.raises(ValueError, match='of 80 distinct walks'):
    _make(80, mix=walks.Mix((1, 1), 0.25))
  with pytest.raises(ValueError, match='of 2 to 2 steps has 3 hard facts'):
    _make(1, mix=walks.Mix((2, 2), 1.0, hard_steps=3))
