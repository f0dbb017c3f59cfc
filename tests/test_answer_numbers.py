"""Arithmetic: exact where rational, bounded everywhere."""

import fractions

import pytest

from k15.rewards import answer_numbers as numbers

Fraction = fractions.Fraction


def test_powers_and_roots_are_exact_where_rational():
  assert numbers.power(Fraction(2, 3), Fraction(-2)) == Fraction(9, 4)
  assert numbers.power(Fraction(9, 4), Fraction(3, 2)) == Fraction(27, 8)
  assert numbers.root(Fraction(1, 4), 2) == Fraction(1, 2)
  assert numbers.is_close(
    numbers.power(Fraction(-8), Fraction(1, 3)), Fraction(-2)
  )


def test_functions():
  assert numbers.factorial(Fraction(5)) == 120
  assert numbers.binomial(Fraction(10), Fraction(3)) == 120
  # (1/2)(-1/2) / 2! = -1/8.
  assert numbers.binomial(Fraction(1, 2), Fraction(2)) == Fraction(-1, 8)
  assert numbers.rounded(Fraction(-3, 2), upwards=False) == -2
  assert numbers.rounded(Fraction(-3, 2), upwards=True) == -1
  assert numbers.common('gcd', [Fraction(12), Fraction(18)]) == 6
  assert numbers.common('max', [Fraction(12), Fraction(18)]) == 18


def test_is_close_is_exact_for_fractions():
  assert not numbers.is_close(Fraction(1, 3), Fraction(333333, 1000000))
  third = numbers.inexact(Fraction(1, 3))
  assert numbers.is_close(third, Fraction(1, 3))
  assert not numbers.is_close(third, Fraction(10**30 + 3, 3 * 10**30))


@pytest.mark.parametrize(
  'work',
  [
    lambda: numbers.power(Fraction(10), Fraction(10**10)),
    lambda: numbers.power(Fraction(10), Fraction(10**10) + Fraction(1, 2)),
    lambda: numbers.factorial(Fraction(10**9)),
    lambda: numbers.binomial(Fraction(10**9), Fraction(5 * 10**8)),
    lambda: numbers.rounded(Fraction(10**40), upwards=True),
  ],
)
def test_too_large(work):
  with pytest.raises(numbers.TooLarge):
    work()


@pytest.mark.parametrize(
  'work',
  [
    lambda: numbers.power(Fraction(0), Fraction(0)),
    lambda: numbers.power(Fraction(0), Fraction(-1)),
    lambda: numbers.logarithm(Fraction(0)),
    lambda: numbers.common('gcd', [Fraction(1, 2)]),
  ],
)
def test_undefined(work):
  with pytest.raises(numbers.Undefined):
    work()
