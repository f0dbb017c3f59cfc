"""Arithmetic: exact where rational, bounded everywhere.

Values of expressions at a point.
"""

import fractions

import pytest

from k15.rewards.answers import parser
from k15.rewards.answers import values as values_lib

Fraction = fractions.Fraction


def test_powers_and_roots_are_exact_where_rational():
  assert values_lib.power(Fraction(2, 3), Fraction(-2)) == Fraction(9, 4)
  assert values_lib.power(Fraction(9, 4), Fraction(3, 2)) == Fraction(27, 8)
  assert values_lib.root(Fraction(1, 4), 2) == Fraction(1, 2)
  assert values_lib.is_close(
    values_lib.power(Fraction(-8), Fraction(1, 3)), Fraction(-2)
  )


def test_functions():
  assert values_lib.factorial(Fraction(5)) == 120
  assert values_lib.binomial(Fraction(10), Fraction(3)) == 120
  # (1/2)(-1/2) / 2! = -1/8.
  assert values_lib.binomial(Fraction(1, 2), Fraction(2)) == Fraction(-1, 8)
  assert values_lib.rounded(Fraction(-3, 2), upwards=False) == -2
  assert values_lib.rounded(Fraction(-3, 2), upwards=True) == -1
  assert values_lib.common('gcd', [Fraction(12), Fraction(18)]) == 6
  assert values_lib.common('max', [Fraction(12), Fraction(18)]) == 18


def test_is_close_is_exact_for_fractions():
  assert not values_lib.is_close(Fraction(1, 3), Fraction(333333, 1000000))
  third = values_lib.inexact(Fraction(1, 3))
  assert values_lib.is_close(third, Fraction(1, 3))
  assert not values_lib.is_close(third, Fraction(10**30 + 3, 3 * 10**30))


@pytest.mark.parametrize(
  'work',
  [
    lambda: values_lib.power(Fraction(10), Fraction(10**10)),
    lambda: values_lib.power(Fraction(10), Fraction(10**10) + Fraction(1, 2)),
    lambda: values_lib.factorial(Fraction(10**9)),
    lambda: values_lib.binomial(Fraction(10**9), Fraction(5 * 10**8)),
    lambda: values_lib.rounded(Fraction(10**40), upwards=True),
  ],
)
def test_too_large(work):
  with pytest.raises(values_lib.TooLarge):
    work()


@pytest.mark.parametrize(
  'work',
  [
    lambda: values_lib.power(Fraction(0), Fraction(0)),
    lambda: values_lib.power(Fraction(0), Fraction(-1)),
    lambda: values_lib.logarithm(Fraction(0)),
    lambda: values_lib.common('gcd', [Fraction(1, 2)]),
  ],
)
def test_undefined(work):
  with pytest.raises(values_lib.Undefined):
    work()


def _value(text, index=0):
  tree = parser.parse(text)
  return values_lib.value(tree, values_lib.Point(index))


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
  assert values_lib.is_close(_value(text), value)


def test_points_differ_by_letter_and_index():
  values = {_value(letter, index) for letter in 'xyz' for index in range(3)}
  assert len(values) == 9


@pytest.mark.parametrize(
  'text', [r'\frac{1}{0}', '(1,2)', 'x=1', r'\sqrt[0]{2}']
)
def test_undefined_in_answer_values(text):
  with pytest.raises(values_lib.Undefined):
    _value(text)


def test_work_is_bounded():
  with pytest.raises(values_lib.TooLarge):
    _value('+'.join(f'{n}^{{9000}}' for n in range(10, 90)))


def test_time_is_bounded():
  with values_lib.limited_to(0), pytest.raises(values_lib.TooLong):
    _value('1')
  assert _value('1') == 1
