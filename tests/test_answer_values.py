"""Values of expressions at a point."""

import fractions

import pytest

from k15.rewards import answer_numbers
from k15.rewards import answer_parser
from k15.rewards import answer_values


def _value(text, index=0):
  tree = answer_parser.parse(text)
  return answer_values.value(tree, answer_values.Point(index))


@pytest.mark.parametrize(
  ('text', 'value'),
  [
    (r'\frac{1}{2} + 0.25', fractions.Fraction(3, 4)),
    (r'2^{-3}', fractions.Fraction(1, 8)),
    (r'\sin 30\circ', fractions.Fraction(1, 2)),
    (r'i^2', -1),
    (r'\log_2 8', 3),
    (r'\ln e', 1),
    (r'25%', fractions.Fraction(1, 4)),
    (r'\lfloor 6.5 \rfloor!', 720),
    (r'\arctan 1 \cdot 4 - \pi', 0),
    (r'|3 + 4i|', 5),
    (r'\sqrt[3]{-8}', -2),
    (r'52_8', 42),
    (r'x - x', 0),
  ],
)
def test_value(text, value):
  value = fractions.Fraction(value)
  assert answer_numbers.is_close(_value(text), value)


def test_points_differ_by_letter_and_index():
  values = {_value(letter, index) for letter in 'xyz' for index in range(3)}
  assert len(values) == 9


@pytest.mark.parametrize(
  'text', [r'\frac{1}{0}', '(1,2)', 'x=1', r'\sqrt[0]{2}']
)
def test_undefined(text):
  with pytest.raises(answer_numbers.Undefined):
    _value(text)


def test_work_is_bounded():
  with pytest.raises(answer_numbers.TooLarge):
    _value('+'.join(f'{n}^{{9000}}' for n in range(10, 90)))


def test_time_is_bounded():
  with answer_values.limited_to(0), pytest.raises(answer_numbers.TooLong):
    _value('1')
  assert _value('1') == 1
