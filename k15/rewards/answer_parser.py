"""Reads the markup of an answer into a tree of tuples; evaluates nothing.

Nodes (n an exact number, ... further nodes):

  ('num', Fraction, decimals or None)     ('sym', name)   ('inf',)
  ('add', ...) ('mul', ...) ('div', a, b) ('pow', a, b)   ('neg', a)
  ('pm', sign, a)    a with an open sign: +- (1) or -+ (-1)
  ('fn', name, ...)  ('based', digits, base)  ('deg', a)  ('pct', a)
  ('seq', open, close, items)   a tuple, an interval, '{' for a set
  ('list', items, joins)        answers side by side, joined by , and or
  ('rel', parts, operators)     a = b, a < b < c ...
  ('mod', a, n)                 a modulo n, a maybe an equation
  ('op', cup|cap|setminus, a, b)          ('ratio', ...)
  ('matrix', rows)     ('dots',)   in a list, items left out

The levels of binding are here, what binds tightest is in answer_atoms.py.
"""

from k15.rewards import answer_atoms as atoms
from k15.rewards import answer_tokens
from k15.rewards.answer_tokens import ParseError

_JOIN = {'and': 'and', 'or': 'or', ',': ',', ';': ','}
_RELATIONS = {
  '=': '=', '<': '<', '>': '>', '<=': '<=', '>=': '>=', '!=': '!=',
  'le': '<=', 'ge': '>=', 'ne': '!=', 'lt': '<', 'gt': '>', 'in': 'in',
  'approx': '~', 'simeq': '~', 'equiv': '=',
}  # fmt: skip


def parse(text: str, thousands: bool = True) -> tuple:
  """The tree of an answer.

  Args:
    text: markup, as answer_markup.markup gives it.
    thousands: whether '1,234' outside of brackets is one number.

  Raises:
    ParseError: on anything else, too many tokens and too deep nesting too.
  """
  tokens = answer_tokens.tokens(text, thousands)
  reader = Reader(answer_tokens.Cursor(tokens))
  if reader.cursor.at('approx'):
    reader.cursor.advance()
  node = reader.list()
  if reader.cursor.kind != 'end':
    raise ParseError(f'left over: {reader.cursor.value!r}')
  return node


class Reader:
  """Recursive descent over tokens; a method per level of binding.

  Attributes:
    cursor: the place in the tokens.
    bars: absolute values that are open.
  """

  def __init__(self, cursor: answer_tokens.Cursor):
    self.cursor = cursor
    self.bars = 0

  def list(self) -> tuple:
    """Relations joined by commas, and, or."""
    self.cursor.enter()
    items, joins = [self.relation()], []
    while self.cursor.at(',', ';', 'and', 'or'):
      joins.append(_JOIN[self.cursor.advance()])
      items.append(self._item())
    self.cursor.leave()
    return ('list', items, joins) if joins else items[0]

  def _item(self):
    """One of a list, or the dots that stand for some."""
    if not self.cursor.at('ldots'):
      return self.relation()
    self.cursor.advance()
    return ('dots',)

  def relation(self) -> tuple:
    """Ratios, unions and sums, equated or compared; a modulus after them."""
    parts, operators = [self._ratio()], []
    while self.cursor.at(*_RELATIONS):
      operators.append(_RELATIONS[self.cursor.advance()])
      parts.append(self._ratio())
    node = ('rel', parts, operators) if operators else parts[0]
    return ('mod', node, self._modulus()) if self._at_modulus() else node

  def _at_modulus(self):
    at_bracket = self.cursor.at('(')
    kind, value = self.cursor.ahead(1) if at_bracket else (
      self.cursor.kind, self.cursor.value
    )  # fmt: skip
    return kind != 'op' and value.strip() in ('pmod', 'mod', 'bmod')

  def _modulus(self):
    in_brackets = self.cursor.at('(')
    for _ in range(1 + in_brackets):
      self.cursor.advance()
    node = self.sum()
    if in_brackets:
      self.cursor.expect(')')
    return node

  def _ratio(self):
    parts = [self._union()]
    while self.cursor.at(':', 'ratio'):
      self.cursor.advance()
      parts.append(self._union())
    return ('ratio', *parts) if len(parts) > 1 else parts[0]

  def _union(self):
    node = self._choice()
    while self.cursor.at('cup', 'cap', 'setminus', 'backslash'):
      name = self.cursor.advance()
      name = 'setminus' if name == 'backslash' else name
      node = ('op', name, node, self._choice())
    return node

  def _choice(self):
    """A sum, or n \\choose k."""
    node = self.sum()
    if not self.cursor.at('choose'):
      return node
    self.cursor.advance()
    return ('fn', 'binomial', node, self.sum())

  def sum(self) -> tuple:
    """Terms with signs between them."""
    terms = []
    while True:
      at_sign = self.cursor.at('+', '-', 'pm', 'mp')
      if terms and not at_sign:
        break
      sign = self.cursor.advance() if at_sign else ''
      term = self._term()
      if sign == '-':
        term = ('neg', term)
      elif sign in ('pm', 'mp'):
        term = ('pm', 1 if sign == 'pm' else -1, term)
      terms.append(term)
    return ('add', *terms) if len(terms) > 1 else terms[0]

  def _term(self):
    node = self.signed()
    while True:
      if self.cursor.at('cdot', 'times', '*'):
        self.cursor.advance()
        node = ('mul', node, self.signed())
      elif self.cursor.at('/', 'div'):
        self.cursor.advance()
        node = ('div', node, self.signed())
      elif self.at_factor(node):
        whole = node[0] == 'num' and node[2] is None
        factor = self.power()
        mixed = whole and _is_number_fraction(factor)
        node = ('add' if mixed else 'mul', node, factor)
      else:
        return node

  def signed(self) -> tuple:
    """A factor after an operator, which may carry a sign."""
    negative = False
    while self.cursor.at('-', '+'):
      negative ^= self.cursor.advance() == '-'
    factor = self.power()
    return ('neg', factor) if negative else factor

  def at_factor(self, before: tuple) -> bool:
    """Whether a factor follows the one before without an operator."""
    cursor = self.cursor
    if cursor.kind == 'num':
      after_group = cursor.previous in (')', '}', '!')
      return before[0] != 'num' and (before == ('sym', 'pi') or after_group)
    if cursor.kind == 'word':
      return not self._at_modulus()
    if cursor.kind == 'command':
      return cursor.value in atoms.STARTS
    if cursor.at('|', 'vert'):
      return not self.bars
    return cursor.at('(', '{') and not self._at_modulus()

  def power(self) -> tuple:
    """An atom with what is written behind and above it."""
    node = self._postfix(atoms.atom(self))
    if self.cursor.at('^'):
      self.cursor.advance()
      exponent = atoms.argument(self, signed=True)
      raised = ('pow', node, exponent)
      if node[0] == 'choices':
        raised = atoms.choices(node, exponent)
      node = self._postfix(raised)
    return node

  def _postfix(self, node):
    while self.cursor.at('!', '%', 'circ'):
      mark = self.cursor.advance()
      if mark == '!':
        node = ('fn', 'factorial', node)
      else:
        node = ('pct' if mark == '%' else 'deg', node)
    return node


def _is_number_fraction(node):
  """Whether it is a fraction of two whole numbers, as in 2 1/3."""
  return node[0] == 'div' and all(
    part[0] == 'num' and part[2] is None for part in node[1:]
  )
