"""Markup cut into tokens, and a cursor over them."""

import fractions
import re

# The parser recurses: 40 levels stay far from the limit of Python.
MAX_DEPTH = 40
MAX_TOKENS = 600  # an answer, not a solution

# 3!=6 is a factorial; x!=6 says what x is not.
_TOKEN = re.compile(
  r'(?P<num>\d+(?:,\d{3})+(?![\d])(?:\.\d+)?|\d+\.\d+|\.\d+|\d+\.?)'
  r'|\\text ?\{(?P<text>[^{}]*)\}|\\(?P<command>[a-zA-Z]+)'
  r"|(?P<word>[a-zA-Z]+'*)|(?P<set>\\[{}])|(?P<row>\\\\(?: ?\[[\w.]+\])?)"
  r'|(?P<op>(?<=\d)!|<=|>=|!=|<|>|[-+*/^_=,;:()\[\]{}|!%&])|(?P<space>\s+)'
)
# 2 e - 3 is a difference; 2e9, 2e-07 and 1.5e-3 are powers of 10.
_SCIENTIFIC = re.compile(
  r'(?<![\d.])(\d+(?=E|e\d|e[+-]\d\d)|\d*\.\d+)[eE]([+-]?\d+)(?![\d.])'
)
_REPEATING = re.compile(
  r'(\d*)\.(\d*)\\(?:overline|bar|dot) ?(?:\{(\d+)\}|(\d))'
)
_ELLIPSIS = re.compile(r'(\d*)\.(\d*?)(\d+?)\3{2,}(?:\.\.\.| ?\\ldots)')


class ParseError(ValueError):
  """The markup is not one of the forms read here."""


def tokens(text: str, thousands: bool) -> list[tuple[str, str]]:
  """(kind, value) of every token, ('end', '') last.

  Args:
    text: markup, as reading.markup gives it.
    thousands: whether '1,234' outside of brackets is one number.

  Raises:
    ParseError: on a character that no token starts with, or too many tokens.
  """
  text = _SCIENTIFIC.sub(r'\1\\cdot 10^{\2}', text)
  if '.' in text and '\\' in text or '...' in text:
    text = _REPEATING.sub(_repeating, text)
    text = _ELLIPSIS.sub(_repeating, text)
  found, position, depth = [], 0, 0
  while position < len(text):
    match = _TOKEN.match(text, position)
    if match is None or len(found) > MAX_TOKENS:
      raise ParseError(f'unreadable at {position}')
    kind, value = match.lastgroup, match[match.lastgroup]
    position = match.end()
    if kind == 'num' and ',' in value and (depth or not thousands):
      position = match.start() + value.index(',')
      value = text[match.start() : position]
    depth += _opens(kind, value)
    if kind in ('text', 'word') and value.strip(' ,') in ('and', 'or'):
      kind, value = 'op', value.strip(' ,')
      if found and found[-1] == ('op', ','):
        found.pop()
    if kind == 'num' and not thousands and re.match(r'0\d', value):
      raise ParseError('a number starting with 0')
    if kind != 'space' and (kind != 'text' or value.strip()):
      found.append((kind, value))
  return [*found, ('end', '')]


def _opens(kind, value):
  """1 or -1 at brackets."""
  if kind == 'op':
    return (value in '([') - (value in ')]')
  return {'\\{': 1, '\\}': -1}[value] if kind == 'set' else 0


def _repeating(match):
  """0.1(6) as a fraction."""
  whole, fixed = match[1] or '0', match[2]
  repeated = next(part for part in match.groups()[2:] if part)
  top = int(whole + fixed + repeated) - int(whole + fixed)
  bottom = (10 ** len(repeated) - 1) * 10 ** len(fixed)
  return f'{{\\frac{{{top}}}{{{bottom}}}}}'


def number(text: str) -> tuple:
  """The node of a token of digits."""
  text = text.replace(',', '')
  _, point, decimals = text.partition('.')
  return ('num', fractions.Fraction(text), len(decimals) if point else None)


class Cursor:
  """A place among tokens.

  Attributes:
    kind, value: of the token here.
  """

  def __init__(self, found: list[tuple[str, str]]):
    self._tokens = found
    self._next = 0
    self._depth = 0
    self.kind, self.value = found[0]

  @property
  def previous(self) -> str:
    """Value of the token before; '' at the start."""
    return self._tokens[self._next - 1][1] if self._next else ''

  def ahead(self, count: int) -> tuple[str, str]:
    """(kind, value) of a later token."""
    return self._tokens[min(self._next + count, len(self._tokens) - 1)]

  def advance(self) -> str:
    """Steps over the token here, and returns its value."""
    value = self.value
    self._next = min(self._next + 1, len(self._tokens) - 1)
    self.kind, self.value = self._tokens[self._next]
    return value

  def at(self, *values: str) -> bool:
    """Whether an operator, bracket or command is here."""
    return self.kind in ('op', 'command', 'set') and self.value in values

  def expect(self, value: str) -> None:
    """Steps over that operator.

    Raises:
      ParseError: something else is here.
    """
    if not self.at(value):
      raise ParseError(f'expected {value}, found {self.value!r}')
    self.advance()

  def shorten(self, rest: str) -> None:
    """Leaves only the rest of the token here; steps on if that is nothing."""
    if not rest:
      self.advance()
      return
    self.value = rest
    self._tokens[self._next] = (self.kind, rest)

  def enter(self) -> None:
    """Counts a level of nesting; `leave` ends it.

    Raises:
      ParseError: beyond MAX_DEPTH.
    """
    self._depth += 1
    if self._depth > MAX_DEPTH:
      raise ParseError('nested too deeply')

  def leave(self) -> None:
    self._depth -= 1

  def group(self) -> str:
    """Text of a group in braces, or of one token, without spaces."""
    if not self.at('{'):
      return self.advance().replace(' ', '')
    depth, taken = 0, []
    while self.kind != 'end':
      depth += self.at('{') - self.at('}')
      taken.append(self.advance())
      if depth == 0:
        return ''.join(taken[1:-1]).replace(' ', '')
    raise ParseError('an open group')
