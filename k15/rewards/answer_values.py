"""Values of parsed expressions, exact where rational, 60 digits elsewhere.

The work is bounded whatever the expression: `TooLarge` is raised before a
power, factorial or product gets out of hand.
"""

import fractions
import math

import mpmath

DIGITS = 60
MAX_BITS = 40_000  # of one exact number
MAX_WORK = 2_000_000  # bits made for one value
MAX_EXPONENT = 10**9  # of e: |log| of the largest number
MAX_FACTORIAL = 1000

Fraction = fractions.Fraction
_CONTEXT = mpmath.MPContext()
_CONTEXT.dps = DIGITS
_CLOSE = mpmath.mpf(10) ** -35
_RADIANS = _CONTEXT.pi / 180


class TooLarge(ArithmeticError):
  """The value would take too much work."""


class Undefined(ArithmeticError):
  """There is no value here: a pole, or a node that is no number."""


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
    Undefined: at poles, and for nodes that are not numbers.
  """
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
  elif not _CONTEXT.isfinite(result):
    raise Undefined('infinite')
  return result


def is_close(a, b) -> bool:
  """Whether two values are equal: exactly if both are exact."""
  if isinstance(a, Fraction) and isinstance(b, Fraction):
    return a == b
  a, b = _float(a), _float(b)
  return abs(a - b) <= _CLOSE * max(abs(a), abs(b), _CONTEXT.mpf(1) / 10**9)


def alike(*numbers) -> list:
  """Numbers all exact, or all of mpmath: such as can be calculated with."""
  if all(isinstance(a, Fraction) for a in numbers):
    return [*numbers]
  return [_float(a) for a in numbers]


def is_real(a) -> bool:
  return isinstance(a, Fraction) or abs(_CONTEXT.im(a)) < _CLOSE


def _float(a):
  if isinstance(a, Fraction):
    return _CONTEXT.mpf(a.numerator) / a.denominator
  return a


def _symbol(node, point):
  name = node[1]
  if name == 'pi':
    return +_CONTEXT.pi
  if name == 'e':
    return +_CONTEXT.e
  if name == 'i':
    return _CONTEXT.mpc(0, 1)
  return point[name]


def _add(node, point):
  total = value(node[1], point)
  for part in node[2:]:
    total = _combine(total, value(part, point), '+')
  return total


def _mul(node, point):
  total = value(node[1], point)
  for part in node[2:]:
    total = _combine(total, value(part, point), '*')
  return total


def _combine(a, b, operator):
  if not (isinstance(a, Fraction) and isinstance(b, Fraction)):
    a, b = _float(a), _float(b)
  return a + b if operator == '+' else a * b


def _div(node, point):
  top, bottom = value(node[1], point), value(node[2], point)
  if not bottom or (not isinstance(bottom, Fraction) and abs(bottom) < _CLOSE):
    raise Undefined('division by zero')
  if isinstance(top, Fraction) and isinstance(bottom, Fraction):
    return top / bottom
  return _float(top) / _float(bottom)


def _power(node, point):
  return _raise(value(node[1], point), value(node[2], point))


def _raise(base, exponent):
  if isinstance(base, Fraction) and isinstance(exponent, Fraction):
    if exponent.denominator == 1:
      bits = max(base.numerator.bit_length(), base.denominator.bit_length())
      if bits * abs(exponent) > MAX_BITS and abs(base) not in (0, 1):
        raise TooLarge('power')
      if abs(base) in (0, 1) and abs(exponent) > 2:
        exponent = 2 + exponent % 2 if exponent > 0 else -2 - exponent % 2
      return base ** int(exponent)
    if base > 0 and exponent.denominator == 2:
      return _raise(_root(base, 2), Fraction(exponent.numerator))
  if (
    isinstance(exponent, Fraction)
    and exponent.denominator % 2
    and (1 < exponent.denominator < 1000 and is_real(base) and real(base) < 0)
  ):
    return _raise(
      _root(base, exponent.denominator), Fraction(exponent.numerator)
    )
  if not base:
    if exponent and is_real(exponent) and exponent > 0:
      return Fraction(0)
    raise Undefined('0 to a power')
  base, exponent = _float(base), _float(exponent)
  if abs(exponent * _CONTEXT.log(base)) > MAX_EXPONENT:
    raise TooLarge('power')
  return _CONTEXT.power(base, exponent)


def _root(a, n):
  """The n-th root, exact where it is rational; real for odd n."""
  if isinstance(a, Fraction) and a >= 0 and n == 2:
    top, bottom = math.isqrt(a.numerator), math.isqrt(a.denominator)
    if top * top == a.numerator and bottom * bottom == a.denominator:
      return Fraction(top, bottom)
  if n % 2 and is_real(a) and _CONTEXT.re(_float(a)) < 0:
    return -_CONTEXT.root(-_float(a), n)
  return _CONTEXT.root(_float(a), n)


def _based(node, _):
  return Fraction(int(node[1], node[2]))


def _whole(a):
  if isinstance(a, Fraction) and a.denominator == 1:
    return int(a)
  return None


def _factorial(a):
  n = _whole(a)
  if n is not None and 0 <= n <= MAX_FACTORIAL:
    return Fraction(math.factorial(n))
  if abs(a) > MAX_FACTORIAL:
    raise TooLarge('factorial')
  return _CONTEXT.factorial(_float(a))


def _binomial(n, k):
  top, bottom = _whole(n), _whole(k)
  if top is not None and bottom is not None and 0 <= bottom <= top:
    if min(bottom, top - bottom) * top.bit_length() > MAX_BITS:
      raise TooLarge('binomial')
    return Fraction(math.comb(top, bottom))
  if bottom is not None and 0 <= bottom <= 20:
    result = Fraction(1)
    for i in range(bottom):
      factor = _combine(n, Fraction(-i), '+')
      result = _combine(result, factor, '*')
      result = _combine(result, Fraction(1, i + 1), '*')
    return result
  if max(abs(n), abs(k)) > MAX_FACTORIAL:
    raise TooLarge('binomial')
  return _CONTEXT.binomial(_float(n), _float(k))


def _round(a, rounding):
  if not is_real(a):
    raise Undefined('rounding a complex number')
  if abs(a) > 10**30:
    raise TooLarge('rounding')
  return Fraction(
    int(
      rounding(_float(a))
      if not isinstance(a, Fraction)
      else (math.floor(a) if rounding is _CONTEXT.floor else math.ceil(a))
    )
  )


def _logarithm(a, base=None):
  if not a:
    raise Undefined('log 0')
  top = _CONTEXT.log(_float(a))
  return top if base is None else top / _CONTEXT.log(_float(base))


def _function(node, point):
  name, arguments = node[1], [value(part, point) for part in node[2:]]
  if name == 'root':
    index = _whole(arguments[1])
    if index is None or not 2 <= index <= 1000:
      raise Undefined('index of a root')
    return _root(arguments[0], index)
  if name in _BOUNDED and abs(arguments[0]) > MAX_EXPONENT:
    raise TooLarge(name)
  return _FUNCTIONS[name](*arguments)


def _analytic(function):
  return lambda a: function(_float(a))


_BOUNDED = frozenset('sin cos tan cot sec csc exp sinh cosh tanh'.split())
_FUNCTIONS = {
  **{name: _analytic(getattr(_CONTEXT, name)) for name in _BOUNDED},
  'arcsin': _analytic(_CONTEXT.asin), 'asin': _analytic(_CONTEXT.asin),
  'arccos': _analytic(_CONTEXT.acos), 'acos': _analytic(_CONTEXT.acos),
  'arctan': _analytic(_CONTEXT.atan), 'atan': _analytic(_CONTEXT.atan),
  'ln': _logarithm,
  'log': lambda a, base=Fraction(10): _logarithm(a, base),
  'lg': lambda a, base=Fraction(10): _logarithm(a, base),
  'sqrt': lambda a: _root(a, 2),
  'abs': abs,
  'factorial': _factorial,
  'binomial': _binomial,
  'floor': lambda a: _round(a, _CONTEXT.floor),
  'ceil': lambda a: _round(a, _CONTEXT.ceil),
}  # fmt: skip
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
  'deg': lambda node, point: _float(value(node[1], point)) * _RADIANS,
  'pct': lambda node, point: _combine(
    value(node[1], point), Fraction(1, 100), '*'
  ),
}


def real(a):
  """The real part."""
  return a if isinstance(a, Fraction) else _CONTEXT.re(a)


def floor(a):
  """The largest whole number not above a; a >= 0."""
  if isinstance(a, Fraction):
    return math.floor(a)
  return int(_CONTEXT.floor(a))
