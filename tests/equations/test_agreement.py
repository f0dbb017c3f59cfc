"""Agreement of answers to a text and to its picture, derived by hand."""

import operator

import numpy as np
import pytest

from k15.equations import agreement


def rng():
  return np.random.default_rng(0)


# Two answers to each text, two to each picture; the references are 5, 7, 9.
TEXTS = [['5', '6'], ['7', '7'], [None, '1']]
PICTURES = [['5', '5'], ['7', None], [None, '1']]
PAIRS = agreement.of_answers(
  TEXTS,
  PICTURES,
  [[True, False], [True, True], [False, False]],
  [[True, True], [True, False], [False, False]],
  operator.eq,
)


def test_pairs_of_each_problem():
  # 5 meets 5 twice, 6 never: 2 of 4, all of them right.
  # Each 7 meets 7 once: 2 of 4, all right.  Both None: no answer, not the same;
  # 1 meets 1: 1 of 4, not right.
  assert PAIRS.same.tolist() == [0.5, 0.5, 0.25]
  assert PAIRS.same_and_right.tolist() == [0.5, 0.5, 0]
  assert PAIRS.text_right.tolist() == [0.5, 1, 0]
  assert PAIRS.picture_right.tolist() == [1, 0.5, 0]


def test_the_three_numbers():
  found = agreement.measures(PAIRS, 0.95, 1000, rng)
  values = {name: each['value'] for name, each in found.items()}
  assert values == pytest.approx(
    dict(
      agreement=1.25 / 3,
      # 3 right answers to texts, 2 pairs each: 2 + 1 + 1 of 6 are the same.
      agreement_given_text=4 / 6,
      gap=(-0.5 + 0.5 + 0) / 3,
    )
  )
  for each in found.values():
    assert each['low'] <= each['value'] <= each['high']
  assert found == agreement.measures(PAIRS, 0.95, 1000, rng)


def test_bounds():
  same = agreement.of_answers([['1']], [['1']], [[1]], [[1]], operator.eq)
  found = agreement.measures(same, 0.9, 10, rng)
  assert found['agreement'] == dict(value=1, low=1, high=1)
  assert found['agreement_given_text'] == dict(value=1, low=1, high=1)
  assert found['gap'] == dict(value=0, low=0, high=0)
  blind = agreement.of_answers([['1']], [['2']], [[0]], [[0]], operator.eq)
  found = agreement.measures(blind, 0.9, 10, rng)
  assert found['agreement_given_text'] is None
  assert found['agreement']['value'] == 0


def test_intervals_cover_as_often_as_they_say():
  generator = np.random.default_rng(1)
  covered = 0
  for i in range(200):
    right = generator.random(60) < 0.6
    same = right & (generator.random(60) < 0.8)  # 0.8, given that it is right
    pairs = agreement.Pairs(*np.array([same, same, right, right], float))
    found = agreement.measures(
      pairs, 0.9, 400, lambda i=i: np.random.default_rng(i)
    )['agreement_given_text']
    covered += found['low'] <= 0.8 <= found['high']
  # 180 of 200 expected, standard deviation 4.2; of few problems a little less.
  assert covered >= 160


def test_equal_may_be_as_mathematics():
  def equal(a, b):
    return float(a) == float(b)

  pairs = agreement.of_answers([['0.5']], [['.50']], [[1]], [[1]], equal)
  assert pairs.same.tolist() == [1]
