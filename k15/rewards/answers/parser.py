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

A function for each level of binding, then for what binds tightest: numbers,
letters and functions.
"""

from k15.rewards.answers import brackets
from k15.rewards.answers import tokens as tokens_lib
from k15.rewards.answers.tokens import ParseError

_FUNCTION_NAMES = (
  'sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp'
  ' asin acos atan'
)
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
MANY_ARGUMENTS = frozenset(('gcd', 'lcm', 'max', 'min'))
_LETTERS = (
  'alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho'
  ' sigma tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi'
  ' Psi Omega ell hbar'
)
_GREEK = frozenset(_LETTERS.split())
_WORDS = {
  'pi': ('sym', 'pi'), 'inf': ('inf',), 'infty': ('inf',), 'infinity': ('inf',),
}  # fmt: skip
# Marks on names; an arrow or hat on one letter changes nothing.
_ACCENTS = frozenset(
  ('vec', 'hat', 'overline', 'bar', 'dot', 'ddot', 'tilde', 'widehat')
)
_BARE = ('vec', 'hat')
# Commands that a factor may start with.
STARTS = (
  FUNCTIONS | MANY_ARGUMENTS | _GREEK | _WORDS.keys() | _ACCENTS
  | {'frac', 'sqrt', 'binom', 'lfloor', 'lceil', 'begin'}
)  # fmt: skip
# C_n^k and A_n^k, P_n^k: how many choices there are, without and with order.
_CHOICES = {'C': 'binomial', 'A': 'arrangements', 'P': 'arrangements'}
_BASES = 'two three four five six seven eight nine ten eleven twelve'
_NUMERALS = {name: str(2 + i) for i, name in enumerate(_BASES.split())} | {
  'sixteen': '16',
  'hex': '16',
}


def atom(reader) -> tuple:
  """The number, letter, group, function or matrix here.

  Raises:
    ParseError: none is here.
  """
  reader.cursor.enter()
  node = _read_atom(reader, reader.cursor)
  reader.cursor.leave()
  return node


def _read_atom(reader, cursor):
  if cursor.kind == 'num':
    return _based(cursor, tokens_lib.number(cursor.advance()))
  if cursor.kind == 'word':
    return _word(reader)
  if cursor.kind == 'text':
    return _text_symbol(reader)
  if cursor.at('{'):
    return _based(cursor, brackets.braces(reader))
  if cursor.at('|', 'vert'):
    return brackets.bars(reader)
  if cursor.at('(', '[', ']', 'langle', 'lbrack'):
    return _based(cursor, brackets.sequence(reader))
  if cursor.at('\\{'):
    return brackets.set_(reader)
  if cursor.kind == 'command':
    return _command(reader)
  raise ParseError(f'unexpected {cursor.value!r}')


def argument(reader, signed: bool = False) -> tuple:
  """A group in braces, or one digit, letter or command, as TeX reads it."""
  cursor = reader.cursor
  if cursor.at('{'):
    return brackets.braces(reader)
  if signed and cursor.at('-'):
    cursor.advance()
    return ('neg', argument(reader))
  if cursor.kind == 'num' and not signed and len(cursor.value) > 1:
    digit, rest = cursor.value[0], cursor.value[1:]
    cursor.shorten(rest)
    return tokens_lib.number(digit)
  return atom(reader)


def _text_symbol(reader):
  text = reader.cursor.advance().strip()
  if len(text) == 1 and text.isalpha():
    return _subscripted(reader.cursor, text)
  if text in FUNCTIONS:
    return _function(reader, text)
  if text in MANY_ARGUMENTS:
    return _many(reader, text)
  raise ParseError(f'text: {text!r}')


def _word(reader):
  """A known name, or the first of some letters that are multiplied."""
  cursor = reader.cursor
  word = cursor.value
  for name in (word, word[:4], word[:3]):
    if name == 'sqrt' or name in FUNCTIONS or name in _WORDS:
      cursor.shorten(word[len(name) :])
      if name == 'sqrt':
        return ('fn', 'sqrt', atom(reader))
      return _WORDS.get(name) or _function(reader, name)
  if word in MANY_ARGUMENTS:
    cursor.advance()
    return _many(reader, word)
  # Up to four letters are factors, as in abcd; more are a word.
  if len(word.rstrip("'")) > 4:
    raise ParseError(f'a word: {word}')
  letter = word[0] + word[1:] * (word[1:2] == "'")
  cursor.shorten(word[len(letter) :])
  return _subscripted(cursor, letter)


def _subscripted(cursor, name):
  if cursor.at('_'):
    cursor.advance()
    index = cursor.group()
    if name in _CHOICES and cursor.at('^') and index.isalnum():
      return ('choices', name, index)
    name += '_' + index
  return ('sym', name)


def choices(node: tuple, exponent: tuple) -> tuple:
  """What C_n^k is: a number of choices, or a power of a letter."""
  name, index = node[1:]
  number = tokens_lib.number(index) if index.isdigit() else ('sym', index)
  is_power = exponent[0] not in ('num', 'sym', 'add') or (
    number[0] == exponent[0] == 'num' and exponent[1] > number[1]
  )
  if is_power or (number[0] == 'sym' and len(index) > 1):
    return ('pow', ('sym', f'{name}_{index}'), exponent)
  chosen = ('fn', 'binomial', number, exponent)
  if _CHOICES[name] == 'binomial':
    return chosen
  return ('mul', chosen, ('fn', 'factorial', exponent))


def _based(cursor, node):
  """A numeral with its base, 52_8, where one follows."""
  if not cursor.at('_') or node[0] != 'num':
    return node
  cursor.advance()
  base = cursor.group()
  base = _NUMERALS.get(base.lower(), base)
  if node[2] is not None or not base.isdigit() or len(base) > 2:
    raise ParseError(f'base {base!r}')
  return ('based', str(node[1]), int(base))


def _function(reader, name):
  cursor = reader.cursor
  power, index = None, []
  while cursor.at('^', '_'):
    if cursor.advance() == '^':
      power = argument(reader, signed=True)
    else:
      index = [argument(reader)]
  # sin^{-1} x is the inverse function, whatever sin^2 x is.
  if power == ('neg', ('num', 1, None)) and name in ('sin', 'cos', 'tan'):
    name, power = 'arc' + name, None
  node = ('fn', name, _function_argument(reader), *index)
  return ('pow', node, power) if power else node


def _function_argument(reader):
  cursor = reader.cursor
  if cursor.at('(', '{', '[', '|', 'vert'):
    return atom(reader)
  factors = [reader.signed()]
  while reader.at_factor(factors[-1]) and not cursor.at('(', *FUNCTIONS):
    if cursor.kind == 'word' and cursor.value[:3] in FUNCTIONS:
      break
    factors.append(reader.power())
  return ('mul', *factors) if len(factors) > 1 else factors[0]


def _many(reader, name):
  arguments = atom(reader)
  if arguments[0] != 'seq':
    raise ParseError(f'{name} of one number')
  return ('fn', name, *arguments[3])


def _command(reader):
  name = reader.cursor.advance()
  if name in ('frac', 'binom'):
    parts = argument(reader), argument(reader)
    return ('div', *parts) if name == 'frac' else ('fn', 'binomial', *parts)
  if name == 'sqrt':
    return _root(reader)
  if name in FUNCTIONS:
    return _function(reader, name)
  if name in MANY_ARGUMENTS:
    return _many(reader, name)
  if name in _WORDS:
    return _WORDS[name]
  if name in _GREEK:
    return _subscripted(reader.cursor, name)
  if name in ('emptyset', 'reals'):
    return ('seq', '{', '}', []) if name == 'emptyset' else brackets.REALS
  if name in ('lfloor', 'lceil'):
    node = reader.sum()
    reader.cursor.expect('r' + name[1:])
    return ('fn', 'floor' if name == 'lfloor' else 'ceil', node)
  if name == 'begin':
    return brackets.matrix(reader)
  if name in _ACCENTS:
    return _accented(reader, name)
  raise ParseError(f'\\{name}')


def _accented(reader, name):
  """A letter or several under one mark, as one name."""
  letters = reader.cursor.group()
  if not letters.isalnum():
    raise ParseError(f'{name} of {letters!r}')
  bare = name in _BARE and len(letters) == 1
  return _subscripted(reader.cursor, letters if bare else f'{name} {letters}')


def _root(reader):
  if not reader.cursor.at('['):
    return ('fn', 'sqrt', argument(reader, signed=True))
  reader.cursor.advance()
  index = reader.sum()
  reader.cursor.expect(']')
  return ('fn', 'root', argument(reader), index)


_JOIN = {'and': 'and', 'or': 'or', ',': ',', ';': ','}
_RELATIONS = {
  '=': '=', '<': '<', '>': '>', '<=': '<=', '>=': '>=', '!=': '!=',
  'le': '<=', 'ge': '>=', 'ne': '!=', 'lt': '<', 'gt': '>', 'in': 'in',
  'approx': '~', 'simeq': '~', 'equiv': '=',
}  # fmt: skip


def parse(text: str, thousands: bool = True) -> tuple:
  """The tree of an answer.

  Args:
    text: markup, as reading.markup gives it.
    thousands: whether '1,234' outside of brackets is one number.

  Raises:
    ParseError: on anything else, too many tokens and too deep nesting too.
  """
  tokens = tokens_lib.tokens(text, thousands)
  reader = Reader(tokens_lib.Cursor(tokens))
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

  def __init__(self, cursor: tokens_lib.Cursor):
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
      return cursor.value in STARTS
    if cursor.at('|', 'vert'):
      return not self.bars
    return cursor.at('(', '{') and not self._at_modulus()

  def power(self) -> tuple:
    """An atom with what is written behind and above it."""
    node = self._postfix(atom(self))
    if self.cursor.at('^'):
      self.cursor.advance()
      exponent = argument(self, signed=True)
      raised = ('pow', node, exponent)
      if node[0] == 'choices':
        raised = choices(node, exponent)
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
