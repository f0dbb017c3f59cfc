"""Equality of answers of several parts: lists, tuples, sets, matrices.

`equal` is given to each function: the equality of the parts, which are nodes
of parser.py.
"""

import fractions
import functools
import itertools
from collections.abc import Callable

from k15.rewards.answers import values

MAX_ITEMS = 64  # sets are compared item by item: 64 * 64 equalities at most
CONSTANTS = ('pi', 'e', 'i')


def spread(node: tuple) -> tuple:
  """a +- b as the list of both; assignments of one name as their values."""
  if node[0] == 'list':
    items = [part for item in node[1] for part in _signs(item)]
    if len(items) > MAX_ITEMS:
      raise values.TooLarge('items')
    # A sign +- has made two items of one, which nothing joins yet.
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
  if not is_name(name):
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


def is_name(node: tuple) -> bool:
  """What stands on the left of x = 5: letters, AB/CD, a tuple of letters."""
  if node[0] == 'sym':
    return node[1] not in CONSTANTS
  if node[0] in ('mul', 'div', 'ratio'):
    return all(map(is_name, node[1:]))
  if node[0] == 'fn':
    return is_name(node[2])
  return node[0] == 'seq' and bool(node[3]) and all(map(is_name, node[3]))


def replaced(node: tuple | list, name: str, other: tuple) -> tuple | list:
  """A node with another node in the place of one of its letters."""
  if isinstance(node, list):
    return [replaced(part, name, other) for part in node]
  if node == ('sym', name):
    return other
  if not isinstance(node, tuple):
    return node
  return tuple(replaced(part, name, other) for part in node)


def symbols(node: tuple | list) -> set[str]:
  """Names of the symbols in a node, constants aside."""
  if isinstance(node, list):
    return set().union(*map(symbols, node)) if node else set()
  if not isinstance(node, tuple):
    return set()
  if node[0] == 'sym':
    return {node[1]} - {*CONSTANTS}
  return set().union(*map(symbols, node[1:]))


def is_region(node: tuple) -> bool:
  """Inequalities and unions, and lists with an inequality among them."""
  if node[0] == 'op':
    return True
  if node[0] == 'rel':
    return node[2][0] not in ('=', '~', 'in')
  return node[0] == 'list' and any(map(is_region, node[1]))


Fraction = fractions.Fraction
MAX_STEPS = 64  # of a list written out, where the other leaves items out
Equal = Callable[[tuple, tuple], bool]


def equal(gold: tuple, answer: tuple, equal: Equal) -> bool:
  """Whether two answers are equal, at least one of them a list or 'seq'.

  Lists and sets in any order, except that values without names take the order
  of those with names; tuples in theirs.
  """
  if ('dots',) in _items(gold) or ('dots',) in _items(answer):
    return _elided_equal(gold, answer, equal)
  if gold[0] == 'seq' and answer[0] == 'seq':
    return _sequences_equal(gold, answer, equal)
  if 'matrix' in (gold[0], answer[0]):
    return matrices_equal(gold, answer, equal)
  for node, other in ((gold, answer), (answer, gold)):
    if node[0] == 'seq' and node[1] == '{' and other[0] != 'list':
      return len(node[3]) == 1 and equal(node[3][0], other)
  if gold[0] == 'list' and answer[0] == 'list':
    if _are_named(gold[1]) == _are_named(answer[1]):
      parts = (_distinct(node[1], equal) for node in (gold, answer))
      return _same_items(*parts, equal)
    return _in_order(gold[1], answer[1], equal)
  for node, other in ((gold, answer), (answer, gold)):
    if node[0] == 'list' and other[0] != 'seq':
      found = _distinct(node[1], equal)
      return len(found) == 1 and equal(found[0], other)
  if {gold[0], answer[0]} != {'list', 'seq'}:
    return False
  list_, sequence = (gold, answer) if gold[0] == 'list' else (answer, gold)
  if sequence[1] == '{':
    return _same_items(list_[1], sequence[3], equal)
  if sequence[1] + sequence[2] in ('(]', '[)'):
    return False
  return _in_order(_values(list_[1]), sequence[3], equal)


def _items(node):
  """Items of a list, tuple or set; none of anything else."""
  return {'list': node[1:2], 'seq': node[3:4]}.get(node[0], ([],))[0]


def _elided_equal(gold, answer, equal):
  """1, 2, ..., n and 1, 2, 3, ..., n: alike as far as both are written."""
  if gold[0] == answer[0] == 'seq' and gold[1:3] != answer[1:3]:
    return False
  ours, theirs = _items(gold), _items(answer)
  if ('dots',) not in ours:
    ours, theirs = theirs, ours
  if ('dots',) not in theirs:
    return _written_out(ours, theirs, equal)
  ends = [_ends(items) for items in (ours, theirs)]
  if None in ends:
    return False
  (first, last), (others, other) = ends
  shared = min(len(first), len(others))
  if shared < 2 and len(first) != len(others):
    # 1, ..., n goes on by ones.
    shorter, longer = sorted((first, others), key=len)
    next_ = ('add', shorter[0], ('num', Fraction(1), None))
    if not equal_or_not(next_, longer[1], equal):
      return False
  return _in_order(first[:shared], others[:shared], equal) and _in_order(
    last, other, equal
  )


def _written_out(elided, items, equal):
  """Whether 1, 2, ..., 5 is 1, 2, 3, 4, 5: of equal steps, with these ends."""
  ends = _ends(elided)
  if ends is None or not ends[1] or not len(elided) <= len(items) < MAX_STEPS:
    return False
  first, last = ends
  steps = [('add', b, ('neg', a)) for a, b in itertools.pairwise(items)]
  return (
    _in_order(first, items[: len(first)], equal)
    and _in_order(last, items[-len(last) :], equal)
    and all(equal_or_not(steps[0], step, equal) for step in steps)
  )


def _ends(items):
  """(items before the dots, items after them), None without one ellipsis."""
  if items.count(('dots',)) != 1 or items[0] == ('dots',):
    return None
  place = items.index(('dots',))
  return items[:place], items[place + 1 :]


def equal_or_not(gold: tuple, answer: tuple, equal: Equal) -> bool:
  """`equal`, and False where there is nothing to compare."""
  try:
    return equal(gold, answer)
  except values.Undefined:
    return False


def _are_named(items):
  """Whether each says which letter's value it is."""
  return all(item[0] == 'rel' for item in items)


def _values(items):
  """x = 3, y = -2 as 3, -2."""
  if not _are_named(items):
    return items
  return [
    item[1][1] if is_name(item[1][0]) else item
    for item in items
    if len(item[1]) == 2
  ]


def _in_order(ours, theirs, equal):
  return len(ours) == len(theirs) and all(map(equal, ours, theirs))


def _sequences_equal(gold, answer, equal):
  sets = (gold[1] == '{') + (answer[1] == '{')
  if sets == 1:
    return False
  if sets == 2:
    parts = (_distinct(node[3], equal) for node in (gold, answer))
    return _same_items(*parts, equal)
  if len(gold[3]) == 2 and gold[1:3] != answer[1:3]:
    return False
  return _in_order(gold[3], answer[3], equal)


def _distinct(items, equal):
  if len(items) > MAX_ITEMS:
    raise values.TooLarge('items')
  found = []
  for item in items:
    if not any(equal_or_not(item, other, equal) for other in found):
      found.append(item)
  return found


def _same_items(ours, theirs, equal):
  """Whether the items can be paired off, in any order."""
  if len(ours) != len(theirs):
    return False
  if len(ours) > MAX_ITEMS:
    raise values.TooLarge('items')
  # Greedy is enough: what is equal to one thing is equal to each other, so it
  # does not matter which of several partners is taken.
  left = [*theirs]
  for item in ours:
    same = functools.partial(equal_or_not, item, equal=equal)
    match = next((i for i, other in enumerate(left) if same(other)), None)
    if match is None:
      return False
    del left[match]
  return True


def matrices_equal(gold: tuple, answer: tuple, equal: Equal) -> bool:
  """Whether two matrices are equal; a tuple is a column or a row."""
  if gold[0] == 'seq' and len(_rows(answer) or []) == 1:
    gold = ('matrix', [gold[3]])
  if answer[0] == 'seq' and len(_rows(gold) or []) == 1:
    answer = ('matrix', [answer[3]])
  gold, answer = _rows(gold), _rows(answer)
  if gold is None or answer is None:
    return False
  if [*map(len, gold)] != [*map(len, answer)]:
    return False
  return all(map(equal, itertools.chain(*gold), itertools.chain(*answer)))


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
