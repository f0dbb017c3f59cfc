"""What binds tightest in an answer: numbers, letters and functions.

Each function reads one form where the reader of answer_parser.py stands.
"""

from k15.rewards import answer_brackets as brackets
from k15.rewards import answer_tokens
from k15.rewards.answer_tokens import ParseError

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
    return _based(cursor, answer_tokens.number(cursor.advance()))
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
    return answer_tokens.number(digit)
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
  number = answer_tokens.number(index) if index.isdigit() else ('sym', index)
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
