"""Values of parsed expressions, exact where rational, 60 digits elsewhere.

The work is bounded whatever the expression: `TooLarge` is raised before a
power, factorial or product gets out of hand.
"""

import contextlib
import fractions
import functools
import math
import threading
import time
from collections.abc import Iterator

from k15.rewards import answer_numbers as numbers

Fraction = fractions.Fraction
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
    raise numbers.TooLong
  _clock.values += 1
  try:
    result = _EVALUATE[node[0]](node, point)
  except KeyError:
    raise numbers.Undefined(node[0]) from None
  except (ZeroDivisionError, ValueError, TypeError, OverflowError) as error:
    raise numbers.Undefined(str(error)) from None
  if isinstance(result, Fraction):
    bits = result.numerator.bit_length() + result.denominator.bit_length()
    point.bits += bits
    if bits > numbers.MAX_BITS or point.bits > MAX_WORK:
      raise numbers.TooLarge(f'{bits} bits')
  elif not numbers.CONTEXT.isfinite(result):
    raise numbers.Undefined('infinite')
  return result


def _symbol(node, point):
  name = node[1]
  if name == 'pi':
    return +numbers.CONTEXT.pi
  if name == 'e':
    return +numbers.CONTEXT.e
  if name == 'i':
    return numbers.CONTEXT.mpc(0, 1)
  return point[name]


def _add(node, point):
  total = value(node[1], point)
  for part in node[2:]:
    total = numbers.combine(total, value(part, point), '+')
  return total


def _mul(node, point):
  total = value(node[1], point)
  for part in node[2:]:
    total = numbers.combine(total, value(part, point), '*')
  return total


def _div(node, point):
  top, bottom = value(node[1], point), value(node[2], point)
  if not bottom or (
    not isinstance(bottom, Fraction) and abs(bottom) < numbers.CLOSE
  ):
    raise numbers.Undefined('division by zero')
  if isinstance(top, Fraction) and isinstance(bottom, Fraction):
    return top / bottom
  return numbers.inexact(top) / numbers.inexact(bottom)


def _power(node, point):
  return numbers.power(value(node[1], point), value(node[2], point))


def _based(node, _):
  return Fraction(int(node[1], node[2]))


def _bracketed(node, point):
  """Braces around one number bracket it, as in 2 {x + [1 - y]}."""
  if node[1] != '{' or len(node[3]) != 1:
    raise numbers.Undefined('seq')
  return value(node[3][0], point)


def _function(node, point):
  name, arguments = node[1], [value(part, point) for part in node[2:]]
  if name == 'root':
    index = numbers.whole(arguments[1])
    if index is None or not 2 <= index <= numbers.MAX_INDEX:
      raise numbers.Undefined('index of a root')
    return numbers.root(arguments[0], index)
  if name in _BOUNDED and abs(arguments[0]) > numbers.MAX_EXPONENT:
    raise numbers.TooLarge(name)
  return _FUNCTIONS[name](*arguments)


def _analytic(function):
  return lambda a: function(numbers.inexact(a))


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
  **{name: _analytic(getattr(numbers.CONTEXT, name)) for name in _BOUNDED},
  **{
    name: _analytic(getattr(numbers.CONTEXT, inverse))
    for written, inverse in _INVERSE.items()
    for name in (written, inverse)
  },
  'ln': numbers.logarithm,
  'log': lambda a, base=_TEN: numbers.logarithm(a, base),
  'lg': lambda a, base=_TEN: numbers.logarithm(a, base),
  'sqrt': lambda a: numbers.root(a, 2),
  'abs': abs,
  'factorial': numbers.factorial,
  'binomial': numbers.binomial,
  'floor': lambda a: numbers.rounded(a, upwards=False),
  'ceil': lambda a: numbers.rounded(a, upwards=True),
  **{
    name: functools.partial(lambda name, *a: numbers.common(name, a), name)
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
  'deg': lambda node, point: (
    numbers.inexact(value(node[1], point)) * numbers.RADIANS
  ),
  'pct': lambda node, point: numbers.combine(
    value(node[1], point), Fraction(1, 100), '*'
  ),
}
