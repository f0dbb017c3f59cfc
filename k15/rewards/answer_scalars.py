"""Equality of numbers and expressions.

Expressions are equal when they agree at points: exactly where both are
rational, to 35 of 60 digits elsewhere.  What differs at one point differs.
"""

import fractions

from k15.rewards import answer_numbers as numbers
from k15.rewards import answer_shapes as shapes
from k15.rewards import answer_values as values

Fraction = fractions.Fraction
# A decimal of so many digits may stand for the number it is a rounding of.
MIN_DECIMALS = 4
MIN_DIGITS = 4


def equal(gold: tuple, answer: tuple) -> bool:
  """Whether two numbers or expressions are equal.

  Raises:
    numbers.TooLarge, numbers.Undefined: it cannot be said.
  """
  if 'inf' in (_core(gold)[0], _core(answer)[0]):
    return gold == answer
  if gold[0] == 'based' or answer[0] == 'based':
    return _numerals_equal(gold, answer)
  if gold[0] == 'ratio' or answer[0] == 'ratio':
    return _ratios_equal(gold, answer)
  for node, other in ((gold, answer), (answer, gold)):
    if node[0] in ('deg', 'pct') and equal(node[1], _core(other, node)):
      return True
  ours, theirs = _decimals(gold), _decimals(answer)
  if ours is not None or theirs is not None:
    return _rounded_equal(gold, answer, ours, theirs)
  return same_function(gold, answer)


def _core(node, unit=('neg',)):
  return node[1] if node[0] == unit[0] else node


def _numerals_equal(gold, answer):
  """52_8 is 52_8, and 52 where one of both leaves the base out."""
  if gold[0] == answer[0]:
    return gold == answer
  based, plain = (gold, answer) if gold[0] == 'based' else (answer, gold)
  return plain[0] == 'num' and str(plain[1]) == based[1]


def _ratios_equal(gold, answer):
  if gold[0] == answer[0]:
    if len(gold) != len(answer) or _is_clock(gold) or _is_clock(answer):
      return gold == answer
    crossed = zip(gold[2:], answer[2:], strict=True)
    return all(
      same_function(('mul', a, answer[1]), ('mul', b, gold[1]))
      for a, b in crossed
    )
  nodes = [('div', *n[1:]) if n[0] == 'ratio' else n for n in (gold, answer)]
  return all(len(node) == 3 for node in nodes) and same_function(*nodes)


def _is_clock(node):
  """Like 2:30: hours and minutes rather than a ratio."""
  return len(node) == 3 and node[2][0] == 'num' and 10 <= node[2][1] < 60


def _decimals(node):
  """Decimals of a plain decimal number, or None."""
  node = _core(node)
  return node[2] if node[0] == 'num' else None


def _rounded_equal(gold, answer, ours, theirs):
  """Equality where at least one side is a decimal, which may be rounded."""
  a, b = (values.value(node, values.Point(0)) for node in (gold, answer))
  if shapes.symbols(gold) | shapes.symbols(answer):
    return same_function(gold, answer)
  if numbers.is_close(a, b):
    return True
  if not (numbers.is_real(a) and numbers.is_real(b)):
    return False
  if ours is None or (theirs is not None and theirs < ours):
    a, b, ours, theirs = b, a, theirs, ours
  digits = len(str(abs(a.numerator * 10**ours // a.denominator)))
  if ours == theirs or ours < MIN_DECIMALS or digits < MIN_DIGITS:
    return False
  scaled, exact = abs(a) * 10**ours, abs(numbers.real(b)) * 10**ours
  return a * numbers.real(b) > 0 and (
    numbers.floor(exact) == scaled
    or numbers.floor(exact + Fraction(1, 2)) == scaled
  )


def same_function(gold: tuple, answer: tuple) -> bool:
  """Whether two expressions agree at points positive and negative.

  Where one is not real at negative points (roots, logarithms), the positive
  ones decide.
  """
  if not shapes.symbols(gold) and not shapes.symbols(answer):
    point = values.Point(0)
    return numbers.is_close(
      values.value(gold, point), values.value(answer, point)
    )
  if shapes.symbols(gold) != shapes.symbols(answer) and _values_differ(
    gold, answer, 0, 1
  ):
    return False
  compared = 0
  for index, sign in ((0, 1), (1, 1), (2, 1), (3, -1), (4, -1)):
    differ = _values_differ(gold, answer, index, sign)
    if differ:
      return False
    compared += differ is not None
  if not compared:
    raise numbers.Undefined('no point to compare at')
  return True


def _values_differ(gold, answer, index, sign):
  """Whether they differ at a point; None where that does not count."""
  point = values.Point(index, sign)
  try:
    a = values.value(gold, point)
  except numbers.Undefined:
    a = None
  try:
    b = values.value(answer, point)
  except numbers.Undefined:
    b = None
  if a is None or b is None:
    return None
  if sign < 0 and not (numbers.is_real(a) and numbers.is_real(b)):
    return None
  return not numbers.is_close(a, b)


def same_progression(gold: tuple, answer: tuple, letter: str) -> bool:
  """Whether a + b k and c + d k are the same numbers for all integers k."""
  found = []
  for node in (gold, answer):
    if node[0] == 'rel' and node[2] == ['='] and node[1][0][0] == 'sym':
      node = node[1][1]
    if shapes.symbols(node) != {letter}:
      return False
    at = [
      values.value(shapes.replaced(node, letter, _number(k)), values.Point(0))
      for k in range(3)
    ]
    start, step, further = numbers.alike(*at)
    if not numbers.is_close(further - step, step - start):
      return False
    found.append((start, step - start))
  (start, step), (other, other_step) = found
  start, step, other, other_step = numbers.alike(start, step, other, other_step)
  if not step or not numbers.is_close(abs(step), abs(other_step)):
    return False
  shift = numbers.inexact((other - start) / step)
  return numbers.is_close(shift + 1000, numbers.CONTEXT.nint(shift) + 1000)


def _number(k):
  return ('num', Fraction(k), None)


def proportional(gold: tuple, answer: tuple, positive: bool) -> bool:
  """Whether answer = c gold for one constant c, nonzero or positive."""
  ratio, compared = None, 0
  for index in range(5):
    point = values.Point(index, -1 if index == 3 else 1)
    try:
      a, b = values.value(gold, point), values.value(answer, point)
      if numbers.is_close(a, Fraction(0)) or numbers.is_close(b, Fraction(0)):
        if numbers.is_close(a, b):
          continue
        return False
      a, b = numbers.alike(a, b)
      current = b / a
    except numbers.Undefined:
      continue
    if ratio is None:
      ratio = current
    elif not numbers.is_close(ratio, current):
      return False
    compared += 1
  if compared < 3:
    return False
  return not positive or (numbers.is_real(ratio) and numbers.real(ratio) > 0)
