"""Shapes of parsed answers: what is a name, which letters, which values.

Nodes are those of answer_parser.py.
"""

from k15.rewards import answer_numbers as numbers

MAX_ITEMS = 64
CONSTANTS = ('pi', 'e', 'i')


def spread(node: tuple) -> tuple:
  """a +- b as the list of both; assignments of one name as their values."""
  if node[0] == 'list':
    items = [part for item in node[1] for part in _signs(item)]
    if len(items) > MAX_ITEMS:
      raise numbers.TooLarge('items')
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
