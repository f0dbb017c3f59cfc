"""Values of parsed expressions, exact where rational, 60 digits elsewhere.

A number is a Fraction or an mpmath number.  The work is bounded whatever the
expression: `TooLarge` is raised before a power, factorial, product or binomial
gets out of hand.
"""

import contextlib
import fractions
import functools
import math
import threading
import time
from collections.abc import Iterator

import mpmath

DIGITS = 60  # 25 more than have to agree, for what is lost on the way
MAX_BITS = 40_000  # of one exact number
MAX_EXPONENT = 10**9  # of e: |log| of the largest number
MAX_FACTORIAL = 1000  # 2,568 digits
MAX_INDEX = 1000  # of a root
MAX_ROUNDED = 10**30  # half of the digits are then before the point

Fraction = fractions.Fraction
# Of its own: the precision of mpmath's global one is everybody's.
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


MAX_WORK = 2_000_000  # bits made for one value
VALUES_PER_LOOK = 16  # values between two looks at the clock


class _Clock(threading.local):
  end, values = math.inf, 0


_clock = _Clock()


@contextlib.contextmanager
def limited_to(seconds: float) -> Iterator[None]:
  """Within it, `value` raises TooLong once that time is over.

  The time is that of the processor in this thread: what else the machine does
  changes no verdict.
  """
  _clock.end, _clock.values = time.thread_time() + seconds, 0
  try:
    yield
  finally:
    _clock.end = math.inf


class Point:
  """Values of the symbols at one point, made by name as they are met."""

  def __init__(self, index: int, sign: int = 1):
    self._index, self._sign = index, sign
    self.symbols: set[str] = set()
    self.bits = 0

  def __getitem__(self, name: str) -> Fraction:
    self.symbols.add(name)
    # Not `hash`, which is another in every process: two of them would judge at
    # other points.
    seed = sum((i + 7) * ord(c) for i, c in enumerate(name)) + 1
    top = (seed * 7919 + self._index * 104_729) % 9973
    return Fraction(self._sign * (top + 613), 3001 + 2 * self._index)


def value(node: tuple, point: Point):
  """The number an expression is, a Fraction or an mpmath number.

  Raises:
    TooLarge: before the work grows out of bounds.
    TooLong: the time of `limited_to` is over.
    Undefined: at poles, and for nodes that are not numbers.
  """
  if not _clock.values % VALUES_PER_LOOK and time.thread_time() > _clock.end:
    raise TooLong
  _clock.values += 1
  try:
    result = _EVALUATE[node[0]](node, point)
  except KeyError:
    raise Undefined(node[0]) from None
  except (ZeroDivisionError, ValueError, TypeError, OverflowError) as error:
    raise Undefined(str(error)) from None
  if isinstance(result, Fraction):
    bits = result.numerator.bit_length() + result.denominator.bit_length()
    point.bits += bits
    if bits > MAX_BITS or point.bits > MAX_WORK:
      raise TooLarge(f'{bits} bits')
  elif not CONTEXT.isfinite(result):
    raise Undefined('infinite')
  return result


def _symbol(node, point):
  name = node[1]
  if name == 'pi':
    # mpmath's constants are computed when used: the sign makes a number of it.
    return +CONTEXT.pi
  if name == 'e':
    return +CONTEXT.e
  if name == 'i':
    return CONTEXT.mpc(0, 1)
  return point[name]


def _add(node, point):
  total = value(node[1], point)
  for part in node[2:]:
    total = combine(total, value(part, point), '+')
  return total


def _mul(node, point):
  total = value(node[1], point)
  for part in node[2:]:
    total = combine(total, value(part, point), '*')
  return total


def _div(node, point):
  top, bottom = value(node[1], point), value(node[2], point)
  # What is 0, such as sin(pi), is a tiny number here.
  if not bottom or (not isinstance(bottom, Fraction) and abs(bottom) < CLOSE):
    raise Undefined('division by zero')
  if isinstance(top, Fraction) and isinstance(bottom, Fraction):
    return top / bottom
  return inexact(top) / inexact(bottom)


def _power(node, point):
  return power(value(node[1], point), value(node[2], point))


def _based(node, _):
  return Fraction(int(node[1], node[2]))


def _bracketed(node, point):
  """Braces around one number bracket it, as in 2 {x + [1 - y]}."""
  if node[1] != '{' or len(node[3]) != 1:
    raise Undefined('seq')
  return value(node[3][0], point)


def _function(node, point):
  name, arguments = node[1], [value(part, point) for part in node[2:]]
  if name == 'root':
    index = whole(arguments[1])
    if index is None or not 2 <= index <= MAX_INDEX:
      raise Undefined('index of a root')
    return root(arguments[0], index)
  if name in _BOUNDED and abs(arguments[0]) > MAX_EXPONENT:
    raise TooLarge(name)
  return _FUNCTIONS[name](*arguments)


def _analytic(function):
  return lambda a: function(inexact(a))


_BOUNDED = (
  'sin',
  'cos',
  'tan',
  'cot',
  'sec',
  'csc',
  'exp',
  'sinh',
  'cosh',
  'tanh',
)
_INVERSE = {'arcsin': 'asin', 'arccos': 'acos', 'arctan': 'atan'}
_TEN = Fraction(10)
_FUNCTIONS = {
  **{name: _analytic(getattr(CONTEXT, name)) for name in _BOUNDED},
  **{
    name: _analytic(getattr(CONTEXT, inverse))
    for written, inverse in _INVERSE.items()
    for name in (written, inverse)
  },
  'ln': logarithm,
  'log': lambda a, base=_TEN: logarithm(a, base),
  'lg': lambda a, base=_TEN: logarithm(a, base),
  'sqrt': lambda a: root(a, 2),
  'abs': abs,
  'factorial': factorial,
  'binomial': binomial,
  'floor': lambda a: rounded(a, upwards=False),
  'ceil': lambda a: rounded(a, upwards=True),
  **{
    name: functools.partial(lambda name, *a: common(name, a), name)
    for name in ('gcd', 'lcm', 'max', 'min')
  },
}
_EVALUATE = {
  'num': lambda node, _: node[1],
  'sym': _symbol,
  'add': _add,
  'mul': _mul,
  'div': _div,
  'pow': _power,
  'neg': lambda node, point: -value(node[1], point),
  'fn': _function,
  'based': _based,
  'seq': _bracketed,
  'deg': lambda node, point: inexact(value(node[1], point)) * RADIANS,
  'pct': lambda node, point: combine(
    value(node[1], point), Fraction(1, 100), '*'
  ),
}
