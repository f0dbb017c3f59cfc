"""Arithmetic on numbers, exact where rational, to 60 digits elsewhere.

A number is a Fraction or an mpmath number.  The work is bounded: `TooLarge`
is raised before a power, factorial or binomial gets out of hand.
"""

import fractions
import math

import mpmath

DIGITS = 60
MAX_BITS = 40_000  # of one exact number
MAX_EXPONENT = 10**9  # of e: |log| of the largest number
MAX_FACTORIAL = 1000
MAX_INDEX = 1000  # of a root
MAX_ROUNDED = 10**30

Fraction = fractions.Fraction
CONTEXT = mpmath.MPContext()
CONTEXT.dps = DIGITS
CLOSE = mpmath.mpf(10) ** -35
RADIANS = CONTEXT.pi / 180


class TooLarge(ArithmeticError):
  """The value would take too much work."""


class TooLong(ArithmeticError):
  """The time for it is over."""


class Undefined(ArithmeticError):
  """There is no value here: a pole, or a node that is no number."""


def is_close(a, b) -> bool:
  """Whether two values are equal: exactly if both are exact."""
  if isinstance(a, Fraction) and isinstance(b, Fraction):
    return a == b
  a, b = inexact(a), inexact(b)
  return abs(a - b) <= CLOSE * max(abs(a), abs(b), CONTEXT.mpf(1) / 10**9)


def alike(*numbers) -> list:
  """Numbers all exact, or all of mpmath: such as can be calculated with."""
  if all(isinstance(a, Fraction) for a in numbers):
    return [*numbers]
  return [inexact(a) for a in numbers]


def is_real(a) -> bool:
  """Whether the imaginary part vanishes."""
  return isinstance(a, Fraction) or abs(CONTEXT.im(a)) < CLOSE


def inexact(a):
  """The number as one of mpmath."""
  if isinstance(a, Fraction):
    return CONTEXT.mpf(a.numerator) / a.denominator
  return a


def combine(a, b, operator: str):
  """a + b or a * b."""
  if not (isinstance(a, Fraction) and isinstance(b, Fraction)):
    a, b = inexact(a), inexact(b)
  return a + b if operator == '+' else a * b


def power(base, exponent):
  """base to the exponent; real for real roots of odd index."""
  if isinstance(base, Fraction) and isinstance(exponent, Fraction):
    if exponent.denominator == 1:
      return _whole_power(base, int(exponent))
    if base > 0 and exponent.denominator == 2:
      return power(root(base, 2), Fraction(exponent.numerator))
  if isinstance(exponent, Fraction) and is_real(base) and real(base) < 0:
    index = exponent.denominator
    if index % 2 and 1 < index < MAX_INDEX:
      return power(root(base, index), Fraction(exponent.numerator))
  if not base:
    if exponent and is_real(exponent) and real(exponent) > 0:
      return Fraction(0)
    raise Undefined('0 to a power')
  base, exponent = inexact(base), inexact(exponent)
  if abs(exponent * CONTEXT.log(base)) > MAX_EXPONENT:
    raise TooLarge('power')
  return CONTEXT.power(base, exponent)


def _whole_power(base, exponent):
  if abs(base) in (0, 1):
    if not base and exponent <= 0:
      raise Undefined('0 to a power')
    return base ** (exponent % 2) if base else base
  bits = max(base.numerator.bit_length(), base.denominator.bit_length())
  if bits * abs(exponent) > MAX_BITS:
    raise TooLarge('power')
  return base**exponent


def root(a, n):
  """The n-th root, exact where it is rational; real for odd n."""
  if isinstance(a, Fraction) and a >= 0 and n == 2:
    top, bottom = math.isqrt(a.numerator), math.isqrt(a.denominator)
    if top * top == a.numerator and bottom * bottom == a.denominator:
      return Fraction(top, bottom)
  if n % 2 and is_real(a) and CONTEXT.re(inexact(a)) < 0:
    return -CONTEXT.root(-inexact(a), n)
  return CONTEXT.root(inexact(a), n)


def whole(a) -> int | None:
  """A whole number as int, None for another."""
  if isinstance(a, Fraction) and a.denominator == 1:
    return int(a)
  return None


def factorial(a):
  """a!, the gamma function of a + 1."""
  n = whole(a)
  if n is not None and 0 <= n <= MAX_FACTORIAL:
    return Fraction(math.factorial(n))
  if abs(a) > MAX_FACTORIAL:
    raise TooLarge('factorial')
  return CONTEXT.factorial(inexact(a))


def binomial(n, k):
  """n over k, n maybe not whole."""
  top, bottom = whole(n), whole(k)
  if top is not None and bottom is not None and 0 <= bottom <= top:
    if min(bottom, top - bottom) * top.bit_length() > MAX_BITS:
      raise TooLarge('binomial')
    return Fraction(math.comb(top, bottom))
  if bottom is not None and 0 <= bottom <= 20:
    result = Fraction(1)
    for i in range(bottom):
      factor = combine(n, Fraction(-i), '+')
      result = combine(result, factor, '*')
      result = combine(result, Fraction(1, i + 1), '*')
    return result
  if max(abs(n), abs(k)) > MAX_FACTORIAL:
    raise TooLarge('binomial')
  return CONTEXT.binomial(inexact(n), inexact(k))


def rounded(a, upwards: bool):
  """The next whole number below, or above."""
  if not is_real(a):
    raise Undefined('rounding a complex number')
  if abs(a) > MAX_ROUNDED:
    raise TooLarge('rounding')
  if isinstance(a, Fraction):
    return Fraction(math.ceil(a) if upwards else math.floor(a))
  return Fraction(int((CONTEXT.ceil if upwards else CONTEXT.floor)(real(a))))


def common(name: str, numbers) -> Fraction:
  """gcd, lcm, max or min of numbers.

  Raises:
    Undefined: gcd or lcm of what is not whole; an order of complex numbers.
  """
  if name in ('max', 'min'):
    if not all(map(is_real, numbers)):
      raise Undefined(name)
    ordered = alike(*map(real, numbers))
    return max(ordered) if name == 'max' else min(ordered)
  integers = [*map(whole, numbers)]
  if None in integers:
    raise Undefined(name)
  return Fraction(getattr(math, name)(*integers))


def logarithm(a, base=None):
  """Natural without a base."""
  if not a:
    raise Undefined('log 0')
  top = CONTEXT.log(inexact(a))
  return top if base is None else top / CONTEXT.log(inexact(base))


def real(a):
  """The real part."""
  return a if isinstance(a, Fraction) else CONTEXT.re(a)


def floor(a):
  """The largest whole number not above a; a >= 0."""
  if isinstance(a, Fraction):
    return math.floor(a)
  return int(CONTEXT.floor(a))
