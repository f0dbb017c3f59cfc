"""Whether two parsed answers are the same mathematics.

Numbers, expressions and equations are compared here, regions in regions.py,
tuples, lists, sets and matrices in parts.py.

Expressions are equal when they agree at points: exactly where both are
rational, to 35 of 60 digits elsewhere.  What differs at one point differs.
"""

import fractions

from k15.rewards.answers import parts as parts_lib
from k15.rewards.answers import regions
from k15.rewards.answers import values

Fraction = fractions.Fraction
# A decimal of so many digits may stand for the number it is a rounding of.
MIN_DECIMALS = 4
MIN_DIGITS = 4


def scalars_equal(gold: tuple, answer: tuple) -> bool:
  """Whether two numbers or expressions are equal.

  Raises:
    numbers.TooLarge, numbers.Undefined: it cannot be said.
  """
  # Infinity has no value to compare at points: the signs decide.
  if 'inf' in (_core(gold)[0], _core(answer)[0]):
    return gold == answer
  if gold[0] == 'based' or answer[0] == 'based':
    return _numerals_equal(gold, answer)
  if gold[0] == 'ratio' or answer[0] == 'ratio':
    return _ratios_equal(gold, answer)
  for node, other in ((gold, answer), (answer, gold)):
    if node[0] in ('deg', 'pct') and scalars_equal(node[1], _core(other, node)):
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
  if parts_lib.symbols(gold) | parts_lib.symbols(answer):
    return same_function(gold, answer)
  if values.is_close(a, b):
    return True
  if not (values.is_real(a) and values.is_real(b)):
    return False
  if ours is None or (theirs is not None and theirs < ours):
    a, b, ours, theirs = b, a, theirs, ours
  digits = len(str(abs(a.numerator * 10**ours // a.denominator)))
  if ours == theirs or ours < MIN_DECIMALS or digits < MIN_DIGITS:
    return False
  scaled, exact = abs(a) * 10**ours, abs(values.real(b)) * 10**ours
  return a * values.real(b) > 0 and (
    # Cut off or rounded: people and references do both.
    values.floor(exact) == scaled
    or values.floor(exact + Fraction(1, 2)) == scaled
  )


def same_function(gold: tuple, answer: tuple) -> bool:
  """Whether two expressions agree at points positive and negative.

  Where one is not real at negative points (roots, logarithms), the positive
  ones decide.
  """
  if not parts_lib.symbols(gold) and not parts_lib.symbols(answer):
    point = values.Point(0)
    return values.is_close(
      values.value(gold, point), values.value(answer, point)
    )
  if parts_lib.symbols(gold) != parts_lib.symbols(answer) and _values_differ(
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
    raise values.Undefined('no point to compare at')
  return True


def _values_differ(gold, answer, index, sign):
  """Whether they differ at a point; None where that does not count."""
  point = values.Point(index, sign)
  try:
    a = values.value(gold, point)
  except values.Undefined:
    a = None
  try:
    b = values.value(answer, point)
  except values.Undefined:
    b = None
  if a is None or b is None:
    return None
  if sign < 0 and not (values.is_real(a) and values.is_real(b)):
    return None
  return not values.is_close(a, b)


def same_progression(gold: tuple, answer: tuple, letter: str) -> bool:
  """Whether a + b k and c + d k are the same numbers for all integers k."""
  found = []
  for node in (gold, answer):
    if node[0] == 'rel' and node[2] == ['='] and node[1][0][0] == 'sym':
      node = node[1][1]
    if parts_lib.symbols(node) != {letter}:
      return False
    at = [
      values.value(
        parts_lib.replaced(node, letter, _number(k)), values.Point(0)
      )
      for k in range(3)
    ]
    start, step, further = values.alike(*at)
    if not values.is_close(further - step, step - start):
      return False
    found.append((start, step - start))
  (start, step), (other, other_step) = found
  start, step, other, other_step = values.alike(start, step, other, other_step)
  if not step or not values.is_close(abs(step), abs(other_step)):
    return False
  shift = values.inexact((other - start) / step)
  # Closeness is relative, and the shift may be 0: 1000 makes it absolute.
  return values.is_close(shift + 1000, values.CONTEXT.nint(shift) + 1000)


def _number(k):
  return ('num', Fraction(k), None)


def proportional(gold: tuple, answer: tuple, positive: bool) -> bool:
  """Whether answer = c gold for one constant c, nonzero or positive."""
  ratio, compared = None, 0
  for index in range(5):
    point = values.Point(index, -1 if index == 3 else 1)
    try:
      a, b = values.value(gold, point), values.value(answer, point)
      if values.is_close(a, Fraction(0)) or values.is_close(b, Fraction(0)):
        if values.is_close(a, b):
          continue
        return False
      a, b = values.alike(a, b)
      current = b / a
    except values.Undefined:
      continue
    if ratio is None:
      ratio = current
    elif not values.is_close(ratio, current):
      return False
    compared += 1
  # A ratio that was met once or twice is no constant yet: others are poles, or
  # points where both sides are 0.
  if compared < 3:
    return False
  return not positive or (values.is_real(ratio) and values.real(ratio) > 0)


_EQUATIONS = ('=', '~', 'in')
_COORDINATES = ('x', 'y', 'z')
_ZERO = ('num', 0)


def equal(gold: tuple, answer: tuple) -> bool:
  """Whether an answer is the reference; see `parser` for the nodes.

  Raises:
    numbers.TooLarge: it takes too much work to say.
    numbers.Undefined: there is nothing to compare.
  """
  gold, answer = parts_lib.spread(gold), parts_lib.spread(answer)
  if 'mod' in (gold[0], answer[0]):
    return _congruent(gold, answer)
  if gold[0] == 'rel' and gold[2] == ['~'] and not parts_lib.symbols(gold):
    return _or_undefined(gold[1][0], answer) or equal(gold[1][1], answer)
  if gold[0] == 'rel' and answer[0] == 'rel':
    return _relations_equal(gold, answer)
  if answer[0] == 'rel' and answer[2][-1] in _EQUATIONS:
    answer = assigned(answer)
  elif gold[0] == 'rel' and gold[2][-1] in _EQUATIONS:
    gold = assigned(gold, of_reference=True)
  if gold is None or answer is None:
    return False
  gold, answer = parts_lib.spread(gold), parts_lib.spread(answer)
  if parts_lib.is_region(gold) or parts_lib.is_region(answer):
    return _regions_equal(gold, answer)
  if gold[0] in ('list', 'seq') or answer[0] in ('list', 'seq'):
    return parts_lib.equal(gold, answer, equal)
  if gold[0] == 'matrix' or answer[0] == 'matrix':
    return parts_lib.matrices_equal(gold, answer, equal)
  return scalars_equal(gold, answer)


def assigned(node: tuple, of_reference: bool = False) -> tuple | None:
  """The value that equations state: of x = 5, 5 = x, 3 + 4 = 7; else None."""
  parts, operators = node[1], node[2]
  if operators[-1] == 'in':
    named = len(parts) == 2 and parts_lib.is_name(parts[0])
    return parts[1] if named else None
  if parts_lib.is_name(parts[0]):
    parts, operators = parts[1:], operators[1:]
  elif parts_lib.is_name(parts[-1]):
    parts, operators = parts[:-1], operators[:-1]
  elif _is_quantity(parts[0], parts[-1], of_reference):
    parts, operators = parts[1:], operators[1:]
  elif _is_quantity(parts[-1], parts[0], of_reference):
    parts, operators = parts[-2::-1], operators[-2::-1]
  elif of_reference:
    return None
  if '~' in operators:
    parts = parts[: operators.index('~') + 1]
  last = parts[-1]
  for part in parts[:-1]:
    constant = not parts_lib.symbols(part) and not parts_lib.symbols(last)
    named = len(parts) < len(node[1])
    if (constant or not named) and not equal(part, last):
      return None
  return last


def _is_quantity(side, value, of_reference):
  """Whether it stands for a number: m + n, f(2), BC^2 of BC^2 = 10.

  A reference in x, y or z is the equation of a curve, and a + b = 0 is one
  too; an answer is one that is both.
  """
  names = parts_lib.symbols(side)
  if not names or parts_lib.symbols(value) or parts_lib.is_region(side):
    return False
  in_coordinates = names & {*_COORDINATES}
  is_equated_to_0 = side[0] == 'add' and value[:2] == _ZERO
  if of_reference:
    return not in_coordinates and not is_equated_to_0
  return not (in_coordinates and is_equated_to_0)


def _or_undefined(gold, answer):
  return parts_lib.equal_or_not(gold, answer, equal)


def _congruent(gold, answer):
  """Equality modulo n; a modulus that one of both leaves out is the other's."""
  moduli = [node[2] for node in (gold, answer) if node[0] == 'mod']
  gold, answer = (n[1] if n[0] == 'mod' else n for n in (gold, answer))
  if len(moduli) == 2 and not equal(*moduli):
    return False
  if _or_undefined(gold, answer):
    return True
  sides = [assigned(n) if n[0] == 'rel' else n for n in (gold, answer)]
  if None in sides:
    return False
  difference = ('add', sides[0], ('neg', sides[1]))
  quotient = values.value(('div', difference, moduli[0]), values.Point(0))
  known = not parts_lib.symbols(sides) and not parts_lib.symbols(moduli[0])
  return known and getattr(quotient, 'denominator', 0) == 1


def _relations_equal(gold, answer):
  gold, answer = _shortened(gold), _shortened(answer)
  if parts_lib.is_region(gold) or parts_lib.is_region(answer):
    if parts_lib.symbols(gold) != parts_lib.symbols(answer):
      return False
    found = regions.region(gold), regions.region(answer)
    if None not in found:
      return regions.same(*found)
  if len(gold[1]) != 2 or len(answer[1]) != 2:
    return False
  if gold[2] == answer[2] == ['in']:
    return all(map(equal, gold[1], answer[1]))
  of_equations = gold[2] == answer[2] == ['=']
  if of_equations:
    for sides in (answer[1], answer[1][::-1]):
      if all(map(_or_undefined, gold[1], sides)):
        return True
  (operator, ours), (other, theirs) = map(_difference, (gold, answer))
  if operator != other:
    return False
  positive = not of_equations and operator != '!='
  return proportional(ours, theirs, positive)


def _difference(node):
  """(operator, a - b) of a relation; of a < b as of b > a."""
  operator, (left, right) = node[2][0], node[1]
  if operator in ('<', '<='):
    left, right = right, left
    operator = operator.replace('<', '>')
  return operator, ('add', left, ('neg', right))


def _shortened(node):
  """x = 1/2 = 0.5 as x = 0.5."""
  if len(node[1]) > 2 and set(node[2]) == {'='}:
    return ('rel', [node[1][0], node[1][-1]], ['='])
  return node


def _regions_equal(gold, answer):
  if gold[0] == 'op' and answer[0] == 'op' and gold[1] == answer[1]:
    for first, second in (answer[2:], answer[:1:-1]):
      if gold[1] == 'setminus' and first is not answer[2]:
        continue
      if _or_undefined(gold[2], first) and _or_undefined(gold[3], second):
        return True
  found = regions.region(gold), regions.region(answer)
  return None not in found and regions.same(*found)
