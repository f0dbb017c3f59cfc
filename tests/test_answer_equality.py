"""Equations, congruences and the choice of a comparison."""

import pytest

from k15.rewards import answer_equality
from k15.rewards import answer_parser


def _equal(gold, answer):
  return answer_equality.equal(*map(answer_parser.parse, (gold, answer)))


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
def test_equal(gold, answer, equal):
  assert _equal(gold, answer) is equal


def test_assigned():
  parse = answer_parser.parse
  assert answer_equality.assigned(parse('x = 5')) == parse('5')
  assert answer_equality.assigned(parse('5 = x')) == parse('5')
  assert answer_equality.assigned(parse('3 + 4 = 8')) is None
  assert answer_equality.assigned(parse('x+1=5'), of_reference=True) is None
