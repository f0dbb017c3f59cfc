"""Whether two parsed answers are the same mathematics.

Expressions are equal when they agree at points: exactly where both are
rational, to 35 of 60 digits elsewhere.  What differs at one point differs.
"""

import fractions
import itertools

from k15.rewards import answer_regions as regions
from k15.rewards import answer_values as values

Fraction = fractions.Fraction
MAX_ITEMS = 64
# A decimal of so many digits may stand for the number it is a rounding of.
MIN_DECIMALS = 4
MIN_DIGITS = 4
CONSTANTS = ('pi', 'e', 'i')


def equal(gold: tuple, answer: tuple) -> bool:
  """Whether an answer is the reference; see answer_parser for the nodes.

  Raises:
    values.TooLarge: it takes too much work to say.
    values.Undefined: there is nothing to compare.
  """
  gold, answer = _spread(gold), _spread(answer)
  if gold[0] == 'rel' and answer[0] == 'rel':
    return _relations_equal(gold, answer)
  if answer[0] == 'rel' and answer[2][-1] in ('=', '~', 'in'):
    answer = _assigned(answer)
  elif gold[0] == 'rel' and gold[2][-1] in ('=', '~', 'in'):
    gold = _assigned(gold, of_reference=True)
  if gold is None or answer is None:
    return False
  gold, answer = _spread(gold), _spread(answer)
  if _is_region(gold) or _is_region(answer):
    return _regions_equal(gold, answer)
  if gold[0] in ('list', 'seq') or answer[0] in ('list', 'seq'):
    return _collections_equal(gold, answer)
  if gold[0] == 'matrix' or answer[0] == 'matrix':
    return _matrices_equal(gold, answer)
  return _scalars_equal(gold, answer)


def _spread(node):
  """a +- b as the list of both; assignments of one name as their values."""
  if node[0] == 'list':
    items = [part for item in node[1] for part in _signs(item)]
    if len(items) > MAX_ITEMS:
      raise values.TooLarge('items')
    joins = node[2] + [','] * (len(items) - 1 - len(node[2]))
    return _values_of_one_name(('list', items, joins))
  both = _signs(node)
  if len(both) == 1:
    return node
  return _values_of_one_name(('list', both, [',']))


def _values_of_one_name(node):
  """x = 2, x = 3 as 2, 3; x_1 = 2, x_2 = 3 and x = 2, 3 too."""
  items = node[1]
  first = items[0]
  if first[0] != 'rel' or first[2][0] not in ('=', '~'):
    return node
  name = first[1][0]
  if not _is_name(name):
    return node
  letter = _letter(name)
  found = []
  for item in items:
    if item[0] == 'rel':
      same = item[1][0] == name or (letter and _letter(item[1][0]) == letter)
      if not same or len(item[1]) != 2 or item[2][0] != first[2][0]:
        return node
      item = item[1][1]
    found.append(item)
  return ('list', found, node[2])


def _letter(node):
  """x of x_1, else None."""
  return node[1].partition('_')[0] if node[0] == 'sym' else None


def _signs(node):
  """The one or two nodes that signs +- leave."""
  if not _holds_sign(node):
    return [node]
  return [_with_sign(node, 1), _with_sign(node, -1)]


def _holds_sign(node):
  if isinstance(node, list):
    return any(map(_holds_sign, node))
  if not isinstance(node, tuple):
    return False
  return node[0] == 'pm' or any(map(_holds_sign, node[1:]))


def _with_sign(node, sign):
  if isinstance(node, list):
    return [_with_sign(part, sign) for part in node]
  if not isinstance(node, tuple):
    return node
  if node[0] == 'pm':
    inner = _with_sign(node[2], sign)
    return inner if node[1] * sign > 0 else ('neg', inner)
  return (node[0], *(_with_sign(part, sign) for part in node[1:]))


def _is_name(node):
  """What stands on the left of x = 5: letters, AB/CD, a tuple of letters."""
  if node[0] == 'sym':
    return node[1] not in CONSTANTS
  if node[0] in ('mul', 'div', 'ratio'):
    return all(map(_is_name, node[1:]))
  if node[0] == 'fn':
    return _is_name(node[2])
  return node[0] == 'seq' and bool(node[3]) and all(map(_is_name, node[3]))


def _assigned(node, of_reference=False):
  """The value that equations state: of x = 5, 5 = x, 3 + 4 = 7; else None."""
  parts, operators = node[1], node[2]
  if operators[-1] == 'in':
    return parts[1] if len(parts) == 2 and _is_name(parts[0]) else None
  if _is_name(parts[0]):
    parts, operators = parts[1:], operators[1:]
  elif _is_name(parts[-1]):
    parts, operators = parts[:-1], operators[:-1]
  elif of_reference:
    return None
  if '~' in operators:
    first = operators.index('~')
    parts = parts[: first + 1]
  last = parts[-1]
  for part in parts[:-1]:
    constant = not symbols(part) and not symbols(last)
    named = len(parts) < len(node[1])
    if (constant or not named) and not equal(part, last):
      return None
  return last


def symbols(node) -> set[str]:
  """Names of the symbols in a node, constants aside."""
  if isinstance(node, list):
    return set().union(*map(symbols, node)) if node else set()
  if not isinstance(node, tuple):
    return set()
  if node[0] == 'sym':
    return {node[1]} - {*CONSTANTS}
  return set().union(*map(symbols, node[1:]))


def _relations_equal(gold, answer):
  gold, answer = _shortened(gold), _shortened(answer)
  if _is_region(gold) or _is_region(answer):
    if symbols(gold) != symbols(answer):
      return False
    found = regions.region(gold), regions.region(answer)
    if None not in found:
      return regions.same(*found)
  if len(gold[1]) != 2 or len(answer[1]) != 2:
    return False
  if gold[2] == answer[2] == ['in']:
    return equal(gold[1][0], answer[1][0]) and equal(gold[1][1], answer[1][1])
  if equal_parts := gold[2] == answer[2] == ['=']:
    for sides in (answer[1], answer[1][::-1]):
      if all(map(_equal_or_not, gold[1], sides)):
        return True
  flip = {'<': '>', '<=': '>='}
  sides = []
  for node in (gold, answer):
    left, right = node[1]
    if node[2][0] in flip:
      left, right = right, left
    sides.append(('add', left, ('neg', right)))
  operators = [flip.get(node[2][0], node[2][0]) for node in (gold, answer)]
  if operators[0] != operators[1]:
    return False
  return _proportional(*sides, positive=not equal_parts and operators[0] != '!=')


def _equal_or_not(gold, answer):
  try:
    return equal(gold, answer)
  except values.Undefined:
    return False


def _shortened(node):
  """x = 1/2 = 0.5 as x = 0.5."""
  if len(node[1]) > 2 and set(node[2]) == {'='}:
    return ('rel', [node[1][0], node[1][-1]], ['='])
  return node


def _proportional(gold, answer, positive):
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
  if compared < 3:
    return False
  return not positive or (values.is_real(ratio) and values.real(ratio) > 0)


def _is_region(node):
  """Inequalities and unions, and lists with an inequality among them."""
  if node[0] == 'op':
    return True
  if node[0] == 'rel':
    return node[2][0] not in ('=', '~', 'in')
  return node[0] == 'list' and any(map(_is_region, node[1]))


def _regions_equal(gold, answer):
  if gold[0] == 'op' and answer[0] == 'op' and gold[1] == answer[1]:
    for first, second in (answer[2:], answer[:1:-1]):
      if gold[1] == 'setminus' and first is not answer[2]:
        continue
      if _equal_or_not(gold[2], first) and _equal_or_not(gold[3], second):
        return True
  found = regions.region(gold), regions.region(answer)
  return None not in found and regions.same(*found)


def _collections_equal(gold, answer):
  if gold[0] == 'seq' and answer[0] == 'seq':
    return _sequences_equal(gold, answer)
  if gold[0] == 'seq' and gold[1] == '{' and answer[0] != 'list':
    return len(gold[3]) == 1 and equal(gold[3][0], answer)
  if answer[0] == 'seq' and answer[1] == '{' and gold[0] != 'list':
    return len(answer[3]) == 1 and equal(gold, answer[3][0])
  if 'matrix' in (gold[0], answer[0]):
    return _matrices_equal(gold, answer)
  if 'list' not in (gold[0], answer[0]):
    return False
  if gold[0] == 'list' and answer[0] == 'list' and not _names_differ(gold, answer):
    return _same_items(_distinct(gold[1]), _distinct(answer[1]))
  if answer[0] == 'list' and gold[0] not in ('list', 'seq'):
    found = _distinct(answer[1])
    return len(found) == 1 and equal(gold, found[0])
  ours, theirs = _items(gold), _items(answer)
  if gold[0] == answer[0]:  # The one's letters, the other's values, in order.
    return len(ours) == len(theirs) and all(map(equal, ours, theirs))
  if len(ours) != len(theirs):
    return False
  for sequence, other in ((gold, answer), (answer, gold)):
    if sequence[0] == 'seq' and sequence[1] != '{':
      if sequence[1] + sequence[2] in ('(]', '[)'):
        return False
      if other[0] == 'list' and any(i[0] == 'rel' for i in other[1]):
        return _named_tuple(gold, answer)
      return all(map(equal, ours, theirs))
  return _same_items(ours, theirs)


def _items(node):
  if node[0] == 'list':
    return node[1]
  return node[3] if node[0] == 'seq' else [node]


def _names_differ(gold, answer):
  """Whether just one of two lists tells which value is which letter's."""
  named = [all(item[0] == 'rel' for item in node[1]) for node in (gold, answer)]
  return named[0] != named[1]


def _named_tuple(gold, answer):
  """(3, -2) as x = 3, y = -2."""
  tuple_, named = (gold, answer) if gold[0] == 'seq' else (answer, gold)
  found = [_assigned(item) for item in named[1] if item[0] == 'rel']
  if None in found or len(found) != len(tuple_[3]):
    return False
  return all(map(equal, tuple_[3], found))


def _sequences_equal(gold, answer):
  sets = (gold[1] == '{') + (answer[1] == '{')
  if sets == 1:
    return False
  if sets == 2:
    return _same_items(_distinct(gold[3]), _distinct(answer[3]))
  if len(gold[3]) != len(answer[3]):
    return False
  same_ends = gold[1:3] == answer[1:3]
  if len(gold[3]) == 2 and not same_ends:
    return False
  return all(map(equal, gold[3], answer[3]))


def _distinct(items):
  found = []
  for item in items:
    if not any(_equal_or_not(item, other) for other in found):
      found.append(item)
  return found


def _same_items(ours, theirs):
  """Whether the items can be paired off, in any order."""
  if len(ours) != len(theirs):
    return False
  if len(ours) > MAX_ITEMS:
    raise values.TooLarge('items')
  left = [*theirs]
  for item in ours:
    match = next(
      (i for i, other in enumerate(left) if _equal_or_not(item, other)), None
    )
    if match is None:
      return False
    del left[match]
  return True


def _matrices_equal(gold, answer):
  gold, answer = _rows(gold), _rows(answer)
  if gold is None or answer is None or len(gold) != len(answer):
    return False
  if any(len(a) != len(b) for a, b in zip(gold, answer, strict=True)):
    return False
  return all(
    map(equal, itertools.chain(*gold), itertools.chain(*answer))
  )


def _rows(node):
  """Rows of a matrix, of a multiple of one, or of a tuple as a column."""
  if node[0] == 'matrix':
    return node[1]
  if node[0] == 'seq' and node[1] == '(':
    return [[item] for item in node[3]]
  if node[0] == 'neg':
    rows = _rows(node[1])
    return rows and [[('neg', item) for item in row] for row in rows]
  if node[0] in ('mul', 'div') and len(node) == 3:
    for i, scalar in ((1, node[2]), (2, node[1])):
      rows = _rows(node[i]) if node[i][0] in ('matrix', 'neg', 'mul') else None
      if rows and not (node[0] == 'div' and i == 2):
        return [[(node[0], item, scalar) for item in row] for row in rows]
  return None


def _scalars_equal(gold, answer):
  if 'inf' in (_core(gold)[0], _core(answer)[0]):
    return gold == answer
  if gold[0] == 'based' or answer[0] == 'based':
    return _numerals_equal(gold, answer)
  if gold[0] == 'ratio' or answer[0] == 'ratio':
    return _ratios_equal(gold, answer)
  for node, other in ((gold, answer), (answer, gold)):
    if node[0] in ('deg', 'pct') and _scalars_equal(node[1], _core(other, node)):
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
  if symbols(gold) | symbols(answer):
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
    values.floor(exact) == scaled
    or values.floor(exact + Fraction(1, 2)) == scaled
  )


def same_function(gold: tuple, answer: tuple) -> bool:
  """Whether two expressions agree at points positive and negative.

  Where one is not real at negative points (roots, logarithms), the positive
  ones decide.
  """
  if not symbols(gold) and not symbols(answer):
    point = values.Point(0)
    return values.is_close(
      values.value(gold, point), values.value(answer, point)
    )
  if symbols(gold) != symbols(answer) and _values_differ(gold, answer, 0, 1):
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
