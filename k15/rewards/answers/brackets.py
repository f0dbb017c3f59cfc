"""What an answer has in brackets: tuples, intervals, sets, bars, matrices.

Each function reads one form where the reader of parser.py stands.
"""

from k15.rewards.answers.tokens import ParseError

REALS = ('seq', '(', ')', [('neg', ('inf',)), ('inf',)])
_CLOSERS = {'(': ')', '[': ']', 'langle': 'rangle', 'lbrack': ']'}
_MATRICES = ('pmatrix', 'bmatrix', 'matrix', 'array', 'Bmatrix', 'smallmatrix')


def braces(reader) -> tuple:
  """A group that is not shown."""
  reader.cursor.expect('{')
  node = reader.list()
  reader.cursor.expect('}')
  return node


def sequence(reader) -> tuple:
  """A group in brackets, a tuple or an interval; ]0, 1[ is (0, 1)."""
  opening = reader.cursor.advance()
  items = reader.list()
  closing = reader.cursor.advance()
  if closing not in (')', ']', 'rangle', '[', 'rbrack'):
    raise ParseError(f'{opening} closed by {closing!r}')
  closing = ']' if closing == 'rbrack' else closing
  if items[0] != 'list':
    if _CLOSERS.get(opening) != closing:
      raise ParseError(f'{opening} closed by {closing}')
    return items
  opening = '[' if opening in ('[', 'lbrack') else '('
  return ('seq', opening, ']' if closing == ']' else ')', items[1])


def set_(reader) -> tuple:
  """A set by its elements, or by a condition: {x | x > 3} is x > 3."""
  cursor = reader.cursor
  cursor.advance()
  if cursor.at('\\}'):
    cursor.advance()
    return ('seq', '{', '}', [])
  if _skip_builder(reader):
    node = reader.list()
    cursor.expect('\\}')
    return node
  items = reader.list()
  cursor.expect('\\}')
  return ('seq', '{', '}', items[1] if items[0] == 'list' else [items])


def _skip_builder(reader):
  """Steps over 'x |' or 'x in R :' where that is here."""
  cursor = reader.cursor
  of_reals = cursor.ahead(1) == ('command', 'in')
  if of_reals and cursor.ahead(2) != ('command', 'reals'):
    return False
  bar = cursor.ahead(3 if of_reals else 1)[1]
  if cursor.kind != 'word' or bar not in ('|', 'vert', ':', 'ratio'):
    return False
  for _ in range(4 if of_reals else 2):
    cursor.advance()
  return True


def bars(reader) -> tuple:
  """An absolute value."""
  cursor = reader.cursor
  cursor.advance()
  # Counted, for inside of a bar the next one closes it and begins no factor.
  reader.bars += 1
  node = reader.sum()
  reader.bars -= 1
  if not cursor.at('|', 'vert'):
    raise ParseError('an open bar')
  cursor.advance()
  return ('fn', 'abs', node)


def matrix(reader) -> tuple:
  """What follows \\\\begin."""
  cursor = reader.cursor
  name = cursor.group()
  if name not in _MATRICES:
    raise ParseError(f'\\begin{{{name}}}')
  if name == 'array':
    cursor.group()
  rows, row = [], []
  while True:
    row.append(reader.sum())
    if cursor.at('&'):
      cursor.advance()
      continue
    rows.append(row)
    row = []
    if cursor.kind != 'row':
      break
    cursor.advance()
    # Many put \\ behind the last row too, which begins no other.
    if cursor.at('end'):
      break
  cursor.expect('end')
  if cursor.group() != name or len({*map(len, rows)}) > 1:
    raise ParseError('rows of a matrix')
  return ('matrix', rows)
