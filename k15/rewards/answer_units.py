"""Units after a number: taken off, and converted into one another."""

import fractions
import re

Fraction = fractions.Fraction

# Unit -> (dimension, size).  Other words after a number count as units too.
_SIZES = {
  'length': {
    'mm millimeter millimetre': '0.001', 'cm centimeter centimetre': '0.01',
    'm meter metre': '1', 'km kilometer kilometre': '1000', 'in inch': '0.0254',
    'ft foot feet': '0.3048', 'yd yard': '0.9144', 'mi mile': '1609.344',
  },
  'mass': {
    'mg': '0.000001', 'g gram': '0.001', 'kg kilogram': '1',
    'lb pound': '0.45359237', 'oz ounce': '0.028349523125',
  },
  'time': {
    's sec second': '1', 'min minute': '60', 'h hr hour': '3600',
    'day': '86400', 'week': '604800', 'month': '2629746', 'year': '31556952',
  },
  'volume': {'ml mL milliliter': '0.001', 'l L liter litre': '1'},
  'money': {'cent': '0.01', 'dollar USD money': '1'},
  'speed': {
    'm/s m/sec meter/second': '1', 'km/h kph km/hr kilometer/hour': '5/18',
    'mph mi/h mi/hr mile/hour': '0.44704', 'ft/s ft/sec feet/second': '0.3048',
  },
  'angle': {'degree deg': '1'},
  'count': {
    'hundred': '100', 'thousand': '1000', 'million': '1000000',
    'billion': '1000000000', 'trillion': '1000000000000', 'dozen': '12',
  },
}  # fmt: skip
UNITS = {
  name: (dimension, Fraction(size))
  for dimension, sizes in _SIZES.items()
  for names, size in sizes.items()
  for name in names.split()
}
_GENERIC = ('unit', 'units')
# Words after a number that make it a statement, not a quantity.
_STATEMENT_WORDS = (
  'and or not no is are was isn if when where then than more less least most'
  ' fewer mod modulo base plus minus times over from to but wrong false nor'
  ' either except without above below sqrt pi inf infty infinity'
)
_NOT_UNITS = frozenset(_STATEMENT_WORDS.split())
_PLAIN_UNITS = ('m', 's', 'g', 'h', 'L')  # letters, after a space
_SQUARE, _CUBIC = ('sq', 'square', 'squared'), ('cubic', 'cu', 'cubed')
_TEXT_UNIT = re.compile(
  r'^(?P<body>.*[^\s,=({])\s*\\text ?\{(?P<unit>[^{}]*)\}'
  r'(?:\s*\^ ?\{?(?P<power>[23])\}?)?$',
  re.DOTALL,
)
_WORD_UNIT = re.compile(
  r'^(?P<body>.*[\d)}%!](?P<space>\s*))'
  r'(?P<unit>[a-zA-Z]+\.?(?:[ /][a-zA-Z]+){0,3})'
  r'(?:\s*\^ ?\{?(?P<power>[23])\}?)?$',
  re.DOTALL,
)
_INNER_UNIT = re.compile(
  r'(?<=[\d}])\s*\\text ?\{\s*([a-zA-Z]+)\s*\}(?=\s*(?:,|;|\\text|$))'
)
_CURRENCY = re.compile(r'^(?:USD|US(?=\\\$)|Rs\.?|EUR|GBP)\s*(?=[\d\\])')
_PER = re.compile(r'\s*(?:/|\bper\b)\s*')


def split(text: str) -> tuple[str, str, int]:
  """(what is before the unit, the unit or '', its power from 1 to 3)."""
  unit = ''
  text, found = _CURRENCY.subn('', text)
  if found or '\\$' in text or text.startswith('$'):
    text, unit = text.replace('\\$', '').strip(), 'money'
  if '\\text' in text:
    inner = _INNER_UNIT.findall(text)
    if inner and all(map(_is_known, inner)):
      text, unit = _INNER_UNIT.sub('', text), inner[-1]
  match = _TEXT_UNIT.match(text) or _WORD_UNIT.match(text)
  if not match or not _is_unit(match):
    return text, _singular(unit), 1
  words = _PER.sub('/', match['unit'].replace('.', ' ').strip()).split()
  power = int(match['power'] or 1)
  plain = [w for w in words if w.casefold() not in _SQUARE + _CUBIC]
  if len(plain) < len(words):
    power = 3 if {*_CUBIC} & {*map(str.casefold, words)} else 2
  return match['body'].strip(), _singular(' '.join(plain)) or 'unit', power


def _is_unit(match):
  words = re.split(r'[ /.]+', match['unit'].strip(' .'))
  if not all(word.isalpha() for word in words) or len(words) > 4:
    return False
  if _NOT_UNITS & {*map(str.casefold, words)}:
    return False
  if 'space' not in match.groupdict():
    return len(words[0]) > 1 or words[0] in _PLAIN_UNITS
  if len(words[0]) == 1:
    return words[0] in _PLAIN_UNITS and bool(match['space'])
  return _is_known(words[0]) or len(words[0]) > 2


def _is_known(word):
  return _singular(word) in UNITS or word.casefold() in _GENERIC


def _singular(unit):
  if unit in UNITS:
    return unit
  if '/' in unit:
    return '/'.join(map(_singular, unit.split('/')))
  lower = unit.casefold()
  for ending in ('', 'es', 's'):
    if lower.endswith(ending) and lower.removesuffix(ending) in UNITS:
      return lower.removesuffix(ending)
  return lower.removesuffix('s')


def factors(gold: tuple[str, int], answer: tuple[str, int]) -> list[Fraction]:
  """What the answer's number may be multiplied by to be in gold's unit.

  Args:
    gold, answer: (unit, power), as `split` gives them.

  Returns:
    Nothing where the two do not go together.  A unit left out goes with any;
    5 million is 5 or 5000000 where the other has no unit.
  """
  ours, theirs = UNITS.get(gold[0]), UNITS.get(answer[0])
  if not gold[0] or not answer[0]:
    if ours and ours[0] == 'count':
      return [Fraction(1), 1 / ours[1]]
    if theirs and theirs[0] == 'count':
      return [Fraction(1), theirs[1]]
    return [Fraction(1)]
  if gold[1] != answer[1] and min(gold[1], answer[1]) > 1:
    return []
  if gold[0] == answer[0] or 'unit' in (gold[0], answer[0]):
    return [Fraction(1)]
  if ours is None or theirs is None:
    shared = {*gold[0].split()} & {*answer[0].split()}
    return [Fraction(1)] if shared else []
  if ours[0] != theirs[0]:
    return []
  return [(theirs[1] / ours[1]) ** answer[1]]
