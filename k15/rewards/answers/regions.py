"""Sets of real numbers: intervals, their unions, inequalities in one letter.

A region is a list of pieces (low, low_closed, high, high_closed), disjoint and
in order; a number is a piece of length 0.  Infinite ends are floats.
"""

import functools
import math

from k15.rewards.answers import values

MAX_PIECES = 32  # intervals of a union, sorted by exact comparisons


def region(node: tuple) -> list[tuple] | None:
  """The region a parsed answer is, None if it is none.

  Raises:
    numbers.TooLarge, numbers.Undefined: an end has no value.
  """
  pieces = _pieces(node)
  return None if pieces is None else _merged(pieces)


def same(a: list[tuple], b: list[tuple]) -> bool:
  """Whether two regions are equal."""
  return len(a) == len(b) and all(
    p[1] == q[1] and p[3] == q[3] and _compare(p[0], q[0]) == 0
    and _compare(p[2], q[2]) == 0
    for p, q in zip(a, b, strict=True)
  )  # fmt: skip


def _pieces(node):
  kind = node[0]
  if kind == 'op':
    return _operation(node)
  if kind == 'rel':
    return _relation(node)
  if kind == 'list':
    parts = [_pieces(item) for item in node[1]]
    if None in parts:
      return None
    if all(item[0] == 'rel' for item in node[1]) and (
      set(node[2]) == {'and'} or _leaves_out(node)
    ):
      return functools.reduce(_intersection, parts)
    return [piece for part in parts for piece in part]
  if kind == 'seq' and node[1] == '{':
    parts = [_pieces(item) for item in node[3]]
    return None if None in parts else [p for part in parts for p in part]
  if kind == 'seq':
    return _interval(node)
  end = _end(node)
  return None if end is None else [(end, True, end, True)]


def _leaves_out(node):
  """Whether it is like x > 0, x != 1: both have to hold."""
  return set(node[2]) <= {'and', ','} and any(
    item[2] == ['!='] for item in node[1]
  )


def _interval(node):
  if len(node[3]) != 2:
    return None
  low, high = map(_end, node[3])
  if low is None or high is None or _compare(low, high) >= 0:
    return None
  return [(low, node[1] == '[', high, node[2] == ']')]


def _end(node):
  """The real number or infinity a node is, else None."""
  if node in (('inf',), ('add', ('inf',))):
    return math.inf
  if node == ('neg', ('inf',)):
    return -math.inf
  point = values.Point(0)
  number = values.value(node, point)
  if point.symbols or not values.is_real(number):
    return None
  return values.real(number)


def _operation(node):
  left, right = _pieces(node[2]), _pieces(node[3])
  if left is None or right is None:
    return None
  if node[1] == 'cup':
    return left + right
  if node[1] == 'setminus':
    right = _complement(_merged(right))
  return _intersection(_merged(left), _merged(right))


def _relation(node):
  """a < x, x < b, a < x <= b, x != a; a linear a x + b < c too."""
  parts, operators = node[1], node[2]
  if len(parts) == 3:
    first = _relation(('rel', parts[:2], operators[:1]))
    second = _relation(('rel', parts[1:], operators[1:]))
    if first is None or second is None:
      return None
    return _intersection(_merged(first), _merged(second))
  if len(parts) != 2:
    return None
  if operators[0] == 'in':
    return _pieces(parts[1]) if parts[0][0] == 'sym' else None
  if parts[1] in (('inf',), ('neg', ('inf',))):
    return [(-math.inf, False, math.inf, False)]
  if parts[0][0:2] == ('fn', 'abs') and operators[0] in ('<', '<=', '>', '>='):
    return _absolute(parts[0][2], operators[0], parts[1])
  return _linear(('add', parts[0], ('neg', parts[1])), operators[0])


def _absolute(inner, operator, bound):
  """|a| < b as -b < a < b; |a| > b as a < -b or a > b."""
  flipped = operator.translate(str.maketrans('<>', '><'))
  above = _linear(('add', inner, ('neg', bound)), operator)
  below = _linear(('add', inner, bound), flipped)
  if above is None or below is None:
    return None
  if operator[0] == '>':
    return above + below
  return _intersection(_merged(above), _merged(below))


def _linear(difference, operator):
  """Where a x + b is below, above or not 0."""
  found = []
  # Two points make the line, two others say whether it is one.
  for index, sign in ((0, 1), (1, 1), (2, -1), (3, -1)):
    point = values.Point(index, sign)
    number = values.value(difference, point)
    if len(point.symbols) != 1 or not values.is_real(number):
      return None
    found += [point[next(iter(point.symbols))], values.real(number)]
  x, f, y, g, *others = values.alike(*found)
  slope = (g - f) / (y - x)
  if not slope or not all(
    values.is_close(f + slope * (z - x), h)
    for z, h in zip(others[::2], others[1::2], strict=True)
  ):
    return None
  root = x - f / slope
  if operator in ('=', '~'):
    return [(root, True, root, True)]
  if operator == '!=':
    return [(-math.inf, False, root, False), (root, False, math.inf, False)]
  closed = operator.endswith('=')
  if (operator[0] == '<') == (slope > 0):
    return [(-math.inf, False, root, closed)]
  return [(root, closed, math.inf, False)]


def _compare(a, b):
  """-1, 0 or 1."""
  if isinstance(a, float) or isinstance(b, float):
    return (a > b) - (a < b)
  if values.is_close(a, b):
    return 0
  a, b = values.alike(a, b)
  return 1 if a > b else -1


def _merged(pieces):
  """Disjoint pieces in order."""
  if len(pieces) > MAX_PIECES:
    raise values.TooLarge('pieces')
  order = functools.cmp_to_key(lambda p, q: _compare(p[0], q[0]) or q[1] - p[1])
  merged = []
  for low, low_closed, high, high_closed in sorted(pieces, key=order):
    if merged:
      last = merged[-1]
      touch = _compare(low, last[2])
      if touch < 0 or (touch == 0 and (low_closed or last[3])):
        further = _compare(high, last[2])
        if further > 0 or (further == 0 and high_closed):
          merged[-1] = (last[0], last[1], high, high_closed)
        continue
    merged.append((low, low_closed, high, high_closed))
  return merged


def _complement(pieces):
  low, low_closed, found = -math.inf, False, []
  for piece in pieces:
    if _compare(low, piece[0]) < 0 or (low_closed and not piece[1]):
      found.append((low, low_closed, piece[0], not piece[1]))
    low, low_closed = piece[2], not piece[3]
  if low != math.inf:
    found.append((low, low_closed, math.inf, False))
  return found


def _intersection(left, right):
  found = []
  for p in left:
    for q in right:
      side = _compare(p[0], q[0])
      low, low_closed = p[:2] if side > 0 else q[:2]
      if side == 0:
        low_closed = p[1] and q[1]
      side = _compare(p[2], q[2])
      high, high_closed = p[2:] if side < 0 else q[2:]
      if side == 0:
        high_closed = p[3] and q[3]
      side = _compare(low, high)
      if side < 0 or (side == 0 and low_closed and high_closed):
        found.append((low, low_closed, high, high_closed))
  return found
