"""Equality of numbers and expressions."""

import pytest

from k15.rewards import answer_numbers
from k15.rewards import answer_parser
from k15.rewards import answer_scalars


def _trees(*texts):
  return [answer_parser.parse(text) for text in texts]


@pytest.mark.parametrize(
  ('gold', 'answer', 'equal'),
  [
    ('0.5', r'\frac{1}{2}', True),
    (r'\frac{1}{3}', '0.3333', True),  # Rounded to 4 decimals.
    (r'\frac{2}{3}', '0.6666', True),  # Cut off.
    (r'\frac{1}{3}', '0.333', False),  # Too few to be meant.
    (r'\frac{1}{3}', '0.3334', False),
    ('0.3333', '0.33334', True),  # The reference may be rounded too.
    ('(x+1)^2', 'x^2+2x+1', True),
    ('(x+1)^2', 'x^2+2x+2', False),
    (r'\sqrt{x^2}', '|x|', True),
    (r'\sqrt{x^2}', 'x', False),
    (r'\ln x^2', r'2 \ln x', True),  # Real at positive x only.
    ('3:4', '6:8', True),
    ('1:2:3', '2:4:6', True),
    ('1:2:3', '1:3:2', False),
    ('2:30', '4:60', False),
    ('52_8', '52', True),
    ('52_8', '52_9', False),
    (r'60\circ', '60', True),
    (r'60\circ', r'\frac{\pi}{3}', True),
    ('30%', '0.3', True),
    ('30%', '30', True),
    (r'\infty', r'-\infty', False),
  ],
)
def test_equal(gold, answer, equal):
  assert answer_scalars.equal(*_trees(gold, answer)) is equal


def test_no_point_to_compare_at():
  with pytest.raises(answer_numbers.Undefined):
    answer_scalars.same_function(*_trees(r'\frac{x}{0}', 'x'))


@pytest.mark.parametrize(
  ('gold', 'answer', 'positive', 'proportional'),
  [
    ('x-y', '2x-2y', True, True),
    ('x-y', 'y-x', False, True),
    ('x-y', 'y-x', True, False),
    ('x-y', 'x+y', False, False),
  ],
)
def test_proportional(gold, answer, positive, proportional):
  trees = _trees(gold, answer)
  assert answer_scalars.proportional(*trees, positive) is proportional
