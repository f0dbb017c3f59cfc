"""Equality of numbers and expressions.

Equations, congruences and the choice of a comparison.
"""

import pytest

from k15.rewards.answers import equality
from k15.rewards.answers import parser
from k15.rewards.answers import values


def _trees(*texts):
  return [parser.parse(text) for text in texts]


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
  assert equality.scalars_equal(*_trees(gold, answer)) is equal


def test_no_point_to_compare_at():
  with pytest.raises(values.Undefined):
    equality.same_function(*_trees(r'\frac{x}{0}', 'x'))


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
  assert equality.proportional(*trees, positive) is proportional


def _equal(gold, answer):
  return equality.equal(*map(parser.parse, (gold, answer)))


@pytest.mark.parametrize(
  ('gold', 'answer', 'equal'),
  [
    ('y = 2x + 3', '2x - y + 3 = 0', True),
    ('y = 2x + 3', '2x + 3', True),
    ('y = 2x + 3', '2x + 3 = 0', False),
    ('x^2 = 4', '2x^2 = 8', True),
    ('x = 5', 'y = 5', False),
    ('7', '3 + 4 = 7', True),
    ('7', '3 + 5 = 7', False),
    ('7', 'x = 7 = 8', False),
    ('7', 'x > 7', False),
    ('x > 3', '2x > 6', True),
    ('x > 3', '(3, \\infty)', True),
    ('x + y > 3', '2x + 2y > 6', True),
    ('x + y > 3', '-x - y > -3', False),
    ('|x| < 2', 'x < 2', False),
    (r'x \in [-2, 7]', r'-2 \le x \le 7', True),
    (r'\frac{2}{3} \approx 0.67', '0.67', True),
    (r'\frac{2}{3} \approx 0.67', r'\frac{2}{3}', True),
    (r'\frac{2}{3} \approx 0.67', '0.68', False),
    (r'3 \pmod{7}', r'10 \pmod{7}', True),
    (r'3 \pmod{7}', r'x \equiv 3 \pmod{7}', True),
    (r'3 \pmod{7}', r'4 \pmod{7}', False),
    (r'3 \pmod{7}', r'3 \pmod{8}', False),
    (r'3 \pmod{7}', '3', True),
  ],
)
def test_equal_in_answer_equality(gold, answer, equal):
  assert _equal(gold, answer) is equal


def test_assigned():
  parse = parser.parse
  assert equality.assigned(parse('x = 5')) == parse('5')
  assert equality.assigned(parse('5 = x')) == parse('5')
  assert equality.assigned(parse('3 + 4 = 8')) is None
  assert equality.assigned(parse('x+1=5'), of_reference=True) is None
