"""Whether two parsed answers are the same mathematics.

By the kind of answer: equations and regions here, tuples, lists, sets and
matrices in answer_collections.py, numbers and expressions in
answer_scalars.py.
"""

from k15.rewards import answer_collections as collections
from k15.rewards import answer_regions as regions
from k15.rewards import answer_scalars as scalars
from k15.rewards import answer_shapes as shapes
from k15.rewards import answer_values as values

_EQUATIONS = ('=', '~', 'in')
_COORDINATES = ('x', 'y', 'z')
_ZERO = ('num', 0)


def equal(gold: tuple, answer: tuple) -> bool:
  """Whether an answer is the reference; see answer_parser for the nodes.

  Raises:
    numbers.TooLarge: it takes too much work to say.
    numbers.Undefined: there is nothing to compare.
  """
  gold, answer = shapes.spread(gold), shapes.spread(answer)
  if 'mod' in (gold[0], answer[0]):
    return _congruent(gold, answer)
  if gold[0] == 'rel' and gold[2] == ['~'] and not shapes.symbols(gold):
    return _or_undefined(gold[1][0], answer) or equal(gold[1][1], answer)
  if gold[0] == 'rel' and answer[0] == 'rel':
    return _relations_equal(gold, answer)
  if answer[0] == 'rel' and answer[2][-1] in _EQUATIONS:
    answer = assigned(answer)
  elif gold[0] == 'rel' and gold[2][-1] in _EQUATIONS:
    gold = assigned(gold, of_reference=True)
  if gold is None or answer is None:
    return False
  gold, answer = shapes.spread(gold), shapes.spread(answer)
  if shapes.is_region(gold) or shapes.is_region(answer):
    return _regions_equal(gold, answer)
  if gold[0] in ('list', 'seq') or answer[0] in ('list', 'seq'):
    return collections.equal(gold, answer, equal)
  if gold[0] == 'matrix' or answer[0] == 'matrix':
    return collections.matrices_equal(gold, answer, equal)
  return scalars.equal(gold, answer)


def assigned(node: tuple, of_reference: bool = False) -> tuple | None:
  """The value that equations state: of x = 5, 5 = x, 3 + 4 = 7; else None."""
  parts, operators = node[1], node[2]
  if operators[-1] == 'in':
    named = len(parts) == 2 and shapes.is_name(parts[0])
    return parts[1] if named else None
  if shapes.is_name(parts[0]):
    parts, operators = parts[1:], operators[1:]
  elif shapes.is_name(parts[-1]):
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
    constant = not shapes.symbols(part) and not shapes.symbols(last)
    named = len(parts) < len(node[1])
    if (constant or not named) and not equal(part, last):
      return None
  return last


def _is_quantity(side, value, of_reference):
  """Whether it stands for a number: m + n, f(2), BC^2 of BC^2 = 10.

  A reference in x, y or z is the equation of a curve, and a + b = 0 is one
  too; an answer is one that is both.
  """
  names = shapes.symbols(side)
  if not names or shapes.symbols(value) or shapes.is_region(side):
    return False
  in_coordinates = names & {*_COORDINATES}
  is_equated_to_0 = side[0] == 'add' and value[:2] == _ZERO
  if of_reference:
    return not in_coordinates and not is_equated_to_0
  return not (in_coordinates and is_equated_to_0)


def _or_undefined(gold, answer):
  return collections.equal_or_not(gold, answer, equal)


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
  known = not shapes.symbols(sides) and not shapes.symbols(moduli[0])
  return known and getattr(quotient, 'denominator', 0) == 1


def _relations_equal(gold, answer):
  gold, answer = _shortened(gold), _shortened(answer)
  if shapes.is_region(gold) or shapes.is_region(answer):
    if shapes.symbols(gold) != shapes.symbols(answer):
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
  return scalars.proportional(ours, theirs, positive)


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
