"""Reads the markup of an answer into a tree of tuples; evaluates nothing.

Nodes (n an exact number, ... further nodes):

  ('num', Fraction, decimals or None)     ('sym', name)   ('inf',)
  ('add', ...) ('mul', ...) ('div', a, b) ('pow', a, b)   ('neg', a)
  ('pm', sign, a)    a with an open sign: +- (1) or -+ (-1)
  ('fn', name, ...)  ('based', digits, base)  ('deg', a)  ('pct', a)
  ('seq', open, close, items)   a tuple, an interval, '{' for a set
  ('list', items, joins)        answers side by side, joined by , and or
  ('rel', parts, operators)     a = b, a < b < c ...
  ('op', cup|cap|setminus, a, b)          ('ratio', ...)
  ('matrix', rows)
"""

import fractions
import re

MAX_DEPTH = 40
MAX_TOKENS = 600

_TOKEN = re.compile(
  r'(?P<num>\d+(?:,\d{3})+(?![\d])(?:\.\d+)?|\d+\.\d+|\.\d+|\d+\.?)'
  r'|\\text ?\{(?P<text>[^{}]*)\}|\\(?P<command>[a-zA-Z]+)'
  r"|(?P<word>[a-zA-Z]+'*)|(?P<set>\\[{}])|(?P<row>\\\\(?: ?\[[\w.]+\])?)"
  r'|(?P<op><=|>=|!=|<|>|[-+*/^_=,;:()\[\]{}|!%&])|(?P<space>\s+)'
)
_SCIENTIFIC = re.compile(r'(?<=\d)(?:E|e(?=[+-]\d\d))([+-]?\d+)')
_REPEATING = re.compile(r'(\d*)\.(\d*)\\overline ?\{(\d+)\}')
_JOIN = {'and': 'and', 'or': 'or', ',': ',', ';': ','}
_RELATIONS = {
  '=': '=', '<': '<', '>': '>', '<=': '<=', '>=': '>=', '!=': '!=',
  'le': '<=', 'ge': '>=', 'ne': '!=', 'lt': '<', 'gt': '>', 'in': 'in',
  'approx': '~', 'simeq': '~', 'equiv': '=',
}  # fmt: skip
_FUNCTIONS = frozenset(
  'sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp'
  ' asin acos atan'.split()
)
_GREEK = frozenset(
  'alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa'
  ' lambda mu nu xi rho sigma tau phi varphi chi psi omega Gamma Delta Theta'
  ' Lambda Xi Sigma Phi Psi Omega ell'.split()
)
_WORDS = {
  'pi': ('sym', 'pi'), 'inf': ('inf',), 'infty': ('inf',), 'infinity': ('inf',),
}  # fmt: skip
_CLOSERS = {'(': ')', '[': ']', 'langle': 'rangle', 'lbrack': ']'}
_NUMERALS = {
  name: str(2 + i)
  for i, name in enumerate(
    'two three four five six seven eight nine ten eleven twelve'.split()
  )
} | {'sixteen': '16', 'hex': '16'}


class ParseError(ValueError):
  """The markup is not one of the forms read here."""


def parse(text: str, thousands: bool = True) -> tuple:
  """The tree of an answer.

  Args:
    text: markup, as answer_text.markup gives it.
    thousands: whether '1,234' outside of brackets is one number.

  Raises:
    ParseError: on anything else, too many tokens and too deep nesting too.
  """
  reader = _Reader(_tokens(text, thousands))
  node = reader.list()
  if reader.kind != 'end':
    raise ParseError(f'left over: {reader.value!r}')
  return node


def _tokens(text, thousands):
  text = _SCIENTIFIC.sub(r'\\cdot 10^{\1}', text)
  if 'overline' in text:
    text = _REPEATING.sub(_repeating, text)
  tokens, position, depth = [], 0, 0
  while position < len(text):
    match = _TOKEN.match(text, position)
    if match is None or len(tokens) > MAX_TOKENS:
      raise ParseError(f'unreadable at {position}')
    kind, value = match.lastgroup, match[match.lastgroup]
    position = match.end()
    if kind == 'num' and ',' in value and (depth or not thousands):
      position = match.start() + value.index(',')
      value = text[match.start() : position]
    if kind == 'op':
      depth += (value in '([') - (value in ')]')
    if kind == 'set':
      depth += 1 if value == '\\{' else -1
    if kind in ('text', 'word') and value.strip(' ,') in ('and', 'or'):
      kind, value = 'op', value.strip(' ,')
      if tokens and tokens[-1] == ('op', ','):
        tokens.pop()
    if kind == 'num' and not thousands and re.match(r'0\d', value):
      raise ParseError('a number starting with 0')
    if kind != 'space' and (kind != 'text' or value.strip()):
      tokens.append((kind, value))
  return [*tokens, ('end', '')]


class _Reader:
  """Recursive descent over tokens; a method per level of binding."""

  def __init__(self, tokens):
    self._tokens = tokens
    self._next = 0
    self._depth = 0
    self._bars = 0
    self.kind, self.value = tokens[0]

  def _advance(self):
    value = self.value
    self._next += 1
    self.kind, self.value = self._tokens[self._next]
    return value

  def _at(self, *values):
    return self.kind in ('op', 'command', 'set') and self.value in values

  def _expect(self, value):
    if not self._at(value):
      raise ParseError(f'expected {value}, found {self.value!r}')
    self._advance()

  def list(self):
    self._depth += 1
    if self._depth > MAX_DEPTH:
      raise ParseError('nested too deeply')
    items, joins = [self._relation()], []
    while self._at(',', ';', 'and', 'or'):
      joins.append(_JOIN[self._advance()])
      items.append(self._relation())
    self._depth -= 1
    return ('list', items, joins) if joins else items[0]

  def _relation(self):
    parts, operators = [self._ratio()], []
    while self._at(*_RELATIONS):
      operators.append(_RELATIONS[self._advance()])
      parts.append(self._ratio())
    return ('rel', parts, operators) if operators else parts[0]

  def _ratio(self):
    parts = [self._union()]
    while self._at(':', 'ratio'):
      self._advance()
      parts.append(self._union())
    return ('ratio', *parts) if len(parts) > 1 else parts[0]

  def _union(self):
    node = self._sum()
    while self._at('cup', 'cap', 'setminus', 'backslash'):
      name = self._advance()
      name = 'setminus' if name == 'backslash' else name
      node = ('op', name, node, self._sum())
    return node

  def _sum(self):
    terms = []
    while True:
      sign = self._advance() if self._at('+', '-', 'pm', 'mp') else ''
      if terms and not sign:
        break
      term = self._term()
      if sign == '-':
        term = ('neg', term)
      elif sign in ('pm', 'mp'):
        term = ('pm', 1 if sign == 'pm' else -1, term)
      terms.append(term)
    return ('add', *terms) if len(terms) > 1 else terms[0]

  def _term(self):
    node = self._signed()
    while True:
      if self._at('cdot', 'times', '*'):
        self._advance()
        node = ('mul', node, self._signed())
      elif self._at('/', 'div'):
        self._advance()
        node = ('div', node, self._signed())
      elif self._starts_atom(node):
        number = node[0] == 'num' and node[2] is None
        factor = self._power()
        if number and _is_number_fraction(factor):
          node = ('add', node, factor)
        else:
          node = ('mul', node, factor)
      else:
        return node

  def _signed(self):
    """A factor after an operator, which may carry a sign."""
    negative = False
    while self._at('-', '+'):
      negative ^= self._advance() == '-'
    factor = self._power()
    return ('neg', factor) if negative else factor

  def _starts_atom(self, before=None):
    """Whether a factor follows without an operator."""
    if self.kind == 'num':
      return before is not None and before[0] != 'num' and (
        before == ('sym', 'pi') or self._tokens[self._next - 1][1] in ')}'
      )
    if self.kind == 'word':
      return True
    if self.kind == 'command':
      return (
        self.value in _FUNCTIONS | _GREEK | _WORDS.keys()
        or self.value in ('frac', 'sqrt', 'binom', 'lfloor', 'lceil', 'begin')
      )
    return self._at('(', '{') or (self._at('|', 'vert') and not self._bars)

  def _power(self):
    node = self._postfix(self._atom())
    if self._at('^'):
      self._advance()
      exponent = self._argument(signed=True)
      node = self._postfix(('pow', node, exponent))
    return node

  def _postfix(self, node):
    while self._at('!', '%', 'circ'):
      node = {
        '!': ('fn', 'factorial', node), '%': ('pct', node), 'circ': ('deg', node),
      }[self._advance()]  # fmt: skip
    return node

  def _argument(self, signed=False):
    """A group in braces, or one digit, letter or command, as TeX reads it."""
    if self._at('{'):
      return self._braces()
    if signed and self._at('-'):
      self._advance()
      return ('neg', self._argument())
    if self.kind == 'num' and not signed and len(self.value) > 1:
      kind, value = self._tokens[self._next]
      self._tokens[self._next] = (kind, value[1:])
      self.value = value[1:]
      return _number(value[0])
    return self._atom()

  def _braces(self):
    self._expect('{')
    node = self.list()
    self._expect('}')
    return node

  def _atom(self):
    self._depth += 1
    if self._depth > MAX_DEPTH:
      raise ParseError('nested too deeply')
    node = self._read_atom()
    self._depth -= 1
    return node

  def _read_atom(self):
    if self.kind == 'num':
      return self._based(_number(self._advance()))
    if self.kind == 'word':
      return self._word()
    if self.kind == 'text':
      return self._text_symbol()
    if self._at('{'):
      return self._based(self._braces())
    if self._at('|', 'vert'):
      return self._bars_group()
    if self._at('(', '[', 'langle', 'lbrack'):
      return self._based(self._sequence())
    if self._at('\\{', '{'):
      return self._set()
    if self.kind == 'command':
      return self._command()
    raise ParseError(f'unexpected {self.value!r}')

  def _sequence(self):
    opening = self._advance()
    items = self.list()
    closing = self._advance()
    if closing not in (')', ']', 'rangle'):
      raise ParseError(f'{opening} closed by {closing!r}')
    if items[0] != 'list':
      if _CLOSERS[opening] != closing:
        raise ParseError(f'{opening} closed by {closing}')
      return items
    opening = '[' if opening in ('[', 'lbrack') else '('
    return ('seq', opening, ']' if closing == ']' else ')', items[1])

  def _set(self):
    self._advance()
    if self._at('\\}'):
      self._advance()
      return ('seq', '{', '}', [])
    items = self.list()
    self._expect('\\}')
    return ('seq', '{', '}', items[1] if items[0] == 'list' else [items])

  def _bars_group(self):
    self._advance()
    self._bars += 1
    node = self._sum()
    self._bars -= 1
    if not self._at('|', 'vert'):
      raise ParseError('an open bar')
    self._advance()
    return ('fn', 'abs', node)

  def _text_symbol(self):
    text = self._advance().strip()
    if len(text) == 1 and text.isalpha():
      return self._subscripted(text)
    if text in _FUNCTIONS:
      return self._function(text)
    raise ParseError(f'text: {text!r}')

  def _word(self):
    """A known name, or the first of some letters that are multiplied."""
    word = self.value
    for name in (word, word[:4], word[:3]):
      if name == 'sqrt' or name in _FUNCTIONS or name in _WORDS:
        self._shorten(word[len(name) :])
        if name == 'sqrt':
          return ('fn', 'sqrt', self._atom())
        return _WORDS.get(name) or self._function(name)
    if len(word.rstrip("'")) > 4:
      raise ParseError(f'a word: {word}')
    letter = word[0] + word[1:] * (word[1:2] == "'")
    self._shorten(word[len(letter) :])
    return self._subscripted(letter)

  def _shorten(self, rest):
    if rest:
      self._tokens[self._next] = ('word', rest)
      self.value = rest
    else:
      self._advance()

  def _subscripted(self, name):
    if self._at('_'):
      self._advance()
      name += '_' + _flat(self._subscript_tokens())
    return ('sym', name)

  def _subscript_tokens(self):
    if not self._at('{'):
      return [self._advance()]
    depth, taken = 0, []
    while self.kind != 'end':
      depth += self._at('{') - self._at('}')
      taken.append(self._advance())
      if depth == 0:
        return taken[1:-1]
    raise ParseError('an open subscript')

  def _based(self, node):
    """A numeral with its base, 52_8, where one follows."""
    if not self._at('_') or node[0] != 'num':
      return node
    self._advance()
    base = _flat(self._subscript_tokens())
    base = _NUMERALS.get(base.lower(), base)
    if node[2] is not None or not base.isdigit() or len(base) > 2:
      raise ParseError(f'base {base!r}')
    return ('based', str(node[1]), int(base))

  def _function(self, name):
    power, index = None, []
    while self._at('^', '_'):
      if self._advance() == '^':
        power = self._argument(signed=True)
      else:
        index = [self._argument()]
    if power == ('neg', ('num', 1, None)) and name in ('sin', 'cos', 'tan'):
      name, power = 'arc' + name, None
    node = ('fn', name, self._function_argument(), *index)
    return ('pow', node, power) if power else node

  def _function_argument(self):
    if self._at('(', '{', '[', '|'):
      return self._atom()
    factors = [self._signed()]
    while self._starts_atom(factors[-1]) and not self._at('(', *_FUNCTIONS):
      if self.kind == 'word' and self.value[:3] in _FUNCTIONS:
        break
      factors.append(self._power())
    return ('mul', *factors) if len(factors) > 1 else factors[0]

  def _command(self):
    name = self._advance()
    if name == 'frac':
      return ('div', self._argument(), self._argument())
    if name == 'sqrt':
      return self._root()
    if name == 'binom':
      return ('fn', 'binomial', self._argument(), self._argument())
    if name in _FUNCTIONS:
      return self._function(name)
    if name in _WORDS:
      return _WORDS[name]
    if name in _GREEK:
      return self._subscripted(name)
    if name == 'emptyset':
      return ('seq', '{', '}', [])
    if name in ('lfloor', 'lceil'):
      node = self._sum()
      self._expect('r' + name[1:])
      return ('fn', 'floor' if name == 'lfloor' else 'ceil', node)
    if name == 'overline':
      raise ParseError('a bar')
    if name == 'begin':
      return self._matrix()
    raise ParseError(f'\\{name}')

  def _root(self):
    if not self._at('['):
      return ('fn', 'sqrt', self._argument(signed=True))
    self._advance()
    index = self._sum()
    self._expect(']')
    return ('fn', 'root', self._argument(), index)

  def _matrix(self):
    name = _flat(self._subscript_tokens())
    if name not in ('pmatrix', 'bmatrix', 'matrix', 'array', 'Bmatrix'):
      raise ParseError(f'\\begin{{{name}}}')
    if name == 'array':
      self._subscript_tokens()
    rows, row = [], []
    while True:
      row.append(self._sum())
      if self._at('&'):
        self._advance()
        continue
      rows.append(row)
      row = []
      if self.kind == 'row':
        self._advance()
      if self._at('end'):
        break
    self._advance()
    if _flat(self._subscript_tokens()) != name or len({*map(len, rows)}) > 1:
      raise ParseError('rows of a matrix')
    return ('matrix', rows)


def _repeating(match):
  whole, fixed, repeated = match[1] or '0', match[2], match[3]
  top = int(whole + fixed + repeated) - int(whole + fixed)
  bottom = (10 ** len(repeated) - 1) * 10 ** len(fixed)
  return f'{{\\frac{{{top}}}{{{bottom}}}}}'


def _number(text):
  text = text.replace(',', '')
  _, point, decimals = text.partition('.')
  return ('num', fractions.Fraction(text), len(decimals) if point else None)


def _is_number_fraction(node):
  """Whether it is a fraction of two whole numbers, as in 2 1/3."""
  return node[0] == 'div' and all(
    part[0] == 'num' and part[2] is None for part in node[1:]
  )


def _flat(tokens):
  return ''.join(tokens).replace(' ', '')
