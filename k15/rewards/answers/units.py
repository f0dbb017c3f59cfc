"""Units after a number: taken off, and converted into one another."""

import collections
import fractions
import itertools
import re

Fraction = fractions.Fraction

# Units by dimension, with their sizes.  Other words after a number count as
# units too.
_SIZES = {
  'length': {
    'mm millimeter millimetre': '0.001', 'cm centimeter centimetre': '0.01',
    'dm decimeter decimetre': '0.1', 'm meter metre': '1',
    'km kilometer kilometre': '1000', 'in inch': '0.0254',
    'ft foot feet': '0.3048', 'yd yard': '0.9144', 'mi mile': '1609.344',
    'um micrometer micrometre': '0.000001', 'nm': '0.000000001',
  },
  'mass': {
    'mg': '0.000001', 'g gram': '0.001', 'kg kilogram': '1',
    'ton tonne': '1000', 'lb pound': '0.45359237', 'oz ounce': '0.028349523125',
  },
  'time': {
    'ms millisecond': '0.001', 's sec second': '1', 'min minute': '60',
    # A year is the Gregorian one, 365.2425 days, and a month a twelfth of it.
    'h hr hour': '3600', 'day': '86400', 'week': '604800', 'month': '2629746',
    'year yr': '31556952',
  },
  # No rates: an answer is in the currency of its question.
  'money': {'cent': '0.01', 'dollar USD euro yuan rupee money': '1'},
  'angle': {'degree deg': '1'}, 'radian': {'rad radian': '1'},
  'count': {
    'hundred': '100', 'thousand': '1000', 'million': '1000000',
    'billion': '1000000000', 'trillion': '1000000000000', 'dozen': '12',
  },
  'amount': {'mol mole': '1'}, 'frequency': {'Hz hertz': '1', 'kHz': '1000'},
  'force': {'N newton': '1', 'kN': '1000'},
  'energy': {'J joule': '1', 'kJ': '1000', 'MJ': '1000000', 'kWh': '3600000'},
  'power': {'W watt': '1', 'kW kilowatt': '1000', 'MW': '1000000'},
  'pressure': {'Pa pascal': '1', 'kPa': '1000', 'MPa': '1000000'},
  'voltage': {'V volt': '1', 'kV': '1000'}, 'charge': {'C coulomb': '1'},
  'current': {'A amp ampere': '1', 'mA': '0.001'}, 'resistance': {'ohm': '1'},
  'temperature': {'K kelvin': '1'}, 'field': {'T tesla': '1'},
}  # fmt: skip
_SPEED = (('length', 1), ('time', -1))
# Unit -> (((dimension, power), ...), size).
UNITS = {
  name: (((dimension, 1),), Fraction(size))
  for dimension, sizes in _SIZES.items()
  for names, size in sizes.items()
  for name in names.split()
} | {
  'mL': ((('length', 3),), Fraction(1, 10**6)),
  'L': ((('length', 3),), Fraction(1, 1000)),
  'kph': (_SPEED, Fraction(5, 18)),
  'kmph': (_SPEED, Fraction(5, 18)),
  'mph': (_SPEED, Fraction('0.44704')),
}
UNITS |= dict.fromkeys(('ml', 'milliliter', 'millilitre'), UNITS['mL'])
_COUNT = (('count', 1),)
UNITS |= dict.fromkeys(('l', 'liter', 'litre'), UNITS['L'])
_GENERIC = ('unit', 'units')
# Words after a number that make it a statement, not a quantity.
_STATEMENT_WORDS = (
  'and or not no is are was isn if when where then than more less least most'
  ' fewer mod modulo base plus minus times over from to but wrong false nor'
  ' either except without above below sqrt pi inf infty infinity'
)
_NOT_UNITS = frozenset(_STATEMENT_WORDS.split())
_PLAIN_UNITS = frozenset('msghLJNWV')  # letters, after a space
_SQUARE, _CUBIC = ('sq', 'square', 'squared'), ('cubic', 'cu', 'cubed')
_TEXT_UNIT = re.compile(
  r'^(?P<body>.*[^\s,=({])\s*\\text ?\{(?P<unit>[^{}]*)\}'
  r'(?:\s*\^ ?\{?(?P<power>[1-9])\}?)?$',
  re.DOTALL,
)
_WORD_UNIT = re.compile(
  r'^(?P<body>.*(?:[\d)}%!]|\\pi|(?<![a-zA-Z\\])[a-z](?= ))(?P<space>\s*))'
  r'(?P<unit>[a-zA-Z]+\.?(?:[ /][a-zA-Z]+){0,3})'
  r'(?:\s*\^ ?\{?(?P<power>[1-9])\}?)?$',
  re.DOTALL,
)
_INNER_UNIT = re.compile(
  r'(?<=[\d}])\s*\\text ?\{\s*([a-zA-Z]+)\s*\}(?=\s*(?:,|;|\\text|$))'
)
_POWER = r'(?: ?\^ ?(?:\{ ?-?\d ?\}|-?\d))?'
_FACTOR = (
  r'(?:\\text ?\{ ?[a-zA-Z][a-zA-Z /.^\d*-]*\}'
  rf'|(?<![a-zA-Z\\])[a-zA-Z]{{1,12}}(?![a-zA-Z])){_POWER}'
)
# km / h, m / s^2, kg m^2 s^{-2}: units that are multiplied and divided.
_COMPOUND = re.compile(
  r'^(?P<body>.*?(?:[\d)}%!]|\\pi|(?<=[^a-zA-Z\\][a-z])(?= ))) ?'
  rf'(?P<unit>{_FACTOR}(?:(?: ?(?:[/*]|\\cdot|\\times) ?| )?{_FACTOR})*)$',
  re.DOTALL,
)
_UNIT_FRACTION = re.compile(
  rf'\\frac ?\{{ ?(\\text ?\{{[^{{}}]*\}}{_POWER}) ?\}} ?'
  rf'\{{ ?(\\text ?\{{[^{{}}]*\}}{_POWER}) ?\}}$'
)
_IN_TEXT = re.compile(r'\\text ?\{([^{}]*)\}')
_TEXT_POWER = re.compile(r'(\\text ?\{[^{}]*?) ?\^ ?\{? ?(-?\d) ?\}? ?\}')
_TEXT_TIMES = re.compile(r'(\\text ?\{[^{}\\]*?) ?\\cdot ?')
_UNIT_WORD = re.compile(r'([a-zA-Z]+)(?:\^(-?\d))?')
# Of single letters, which are names more often than units.
_LETTER_UNITS = frozenset(
  ('m/s', 'm/h', 'g/L', 'g/s', 'L/s', 'L/h', 'N/m', 'V/m', 'J/s', 'J/K', 'W/m')
)
_PIECE = re.compile(
  r'(?P<number>\d+(?:\.\d+)?) ?(?:\\text ?\{ ?(?P<text>[a-zA-Z]+)\.? ?\}'
  r'|(?P<word>[a-zA-Z]+)\.?)(?: ?,)?(?: ?(?:and|\\text ?\{ ?and ?\}))? ?'
)
_CURRENCY = re.compile(r'^(?:USD|US(?=\\\$)|Rs\.?|EUR|GBP)\s*(?=[\d\\])')
_PER = re.compile(r'\s*(?:/|\bper\b)\s*')


def split(text: str) -> tuple[str, str, int]:
  """(what is before the unit, the unit or '', its power from 1 to 9)."""
  unit = ''
  text, found = _CURRENCY.subn('', text)
  if found or '\\$' in text or text.startswith('$'):
    text, unit = text.replace('\\$', '').strip(), 'money'
  pieces = _several(text)
  if pieces:
    return pieces
  if '\\text' in text:
    text = _TEXT_TIMES.sub(r'\1*', text)
    text = _TEXT_POWER.sub(r'\1}^\2', text)
    text = _UNIT_FRACTION.sub(r'\1/\2', text)
  compound = _compound(text)
  if compound:
    return compound
  if '\\text' in text:
    inner = _INNER_UNIT.findall(text)
    if inner and all(map(_is_known, inner)):
      text, unit = _INNER_UNIT.sub('', text), inner[-1]
  match = _TEXT_UNIT.match(text) or _WORD_UNIT.match(text)
  if not match or not _is_unit(match):
    return text, _singular(unit), 1
  words = _PER.sub('/', re.sub('[.()]', ' ', match['unit']).strip()).split()
  power = int(match['power'] or 1)
  plain = [w for w in words if w.casefold() not in _SQUARE + _CUBIC]
  if len(plain) < len(words):
    power = 3 if {*_CUBIC} & {*map(str.casefold, words)} else 2
  return match['body'].strip(), _singular(' '.join(plain)) or 'unit', power


def _several(text):
  """2 hours 30 minutes in the first unit; None for anything else."""
  whole = _IN_TEXT.fullmatch(text)
  text, found, position = whole[1].strip() if whole else text, [], 0
  while piece := _PIECE.match(text, position):
    name = _singular(piece['text'] or piece['word'])
    # In 2 h 30 m, the m is no metre.
    if name == 'm' and found and found[0][1] == 'h':
      name = 'min'
    found.append((Fraction(piece['number']), name))
    position = piece.end()
  if len(found) < 2 or position < len(text):
    return None
  if not all(name in UNITS for _, name in found):
    return None
  measures = [UNITS[name] for _, name in found]
  sizes = [size for _, size in measures]
  if len({dimension for dimension, _ in measures}) > 1 or any(
    small >= large for large, small in itertools.pairwise(sizes)
  ):
    return None
  total = sum(n * size for (n, _), size in zip(found, sizes, strict=True))
  total /= sizes[0]
  body = rf'\frac{{{total.numerator}}}{{{total.denominator}}}'
  return body, found[0][1], 1


def _compound(text):
  """What `split` gives for units multiplied and divided, else None."""
  match = _COMPOUND.match(text)
  if not match:
    return None
  unit = _IN_TEXT.sub(r' \1 ', match['unit'])
  unit = re.sub(r'\\(?:cdot|times)|[*.]', ' ', unit).replace('{', '')
  unit = re.sub(r' ?([/^]) ?', r'\1', unit.replace('}', '')).strip()
  unit = re.sub(r' \^', '^', _PER.sub('/', ' '.join(unit.split())))
  words = _UNIT_WORD.findall(unit)
  if len(words) < 2 or not measure(unit):
    return None
  letters = all(len(word) == 1 for word, _ in words)
  if letters and '\\' not in match['unit'] and (
    re.sub(r'\^\d', '', unit) not in _LETTER_UNITS
  ):  # fmt: skip
    return None
  unit = _UNIT_WORD.sub(lambda m: m[0].replace(m[1], _singular(m[1])), unit)
  return match['body'].strip(), unit, 1


def measure(unit: str, power: int = 1) -> tuple[tuple, Fraction] | None:
  """(((dimension, power), ...), size) of a unit such as m/s^2, or None."""
  powers, size, divides = collections.Counter(), Fraction(1), False
  for part in re.split(r'([ /])', unit):
    if part in (' ', '/', ''):
      divides = part == '/'
      continue
    match = _UNIT_WORD.fullmatch(part)
    known = match and UNITS.get(_singular(match[1]))
    if not known:
      return None
    exponent = int(match[2] or 1) * power * (-1 if divides else 1)
    for dimension, times in known[0]:
      powers[dimension] += times * exponent
    size *= known[1] ** exponent
  return tuple(sorted(p for p in powers.items() if p[1])), size


def _is_unit(match):
  words = re.split(r'[ /.]+', match['unit'].strip(' .()'))
  if not all(word.isalpha() for word in words) or len(words) > 4:
    return False
  if _NOT_UNITS & {*map(str.casefold, words)}:
    return False
  if 'space' not in match.groupdict():
    return len(words[0]) > 1 or words[0] in UNITS
  if match['body'].rstrip()[-1:].isalpha():
    return _is_surely_unit(words, match)
  if len(words[0]) == 1:
    return words[0] in _PLAIN_UNITS and bool(match['space'])
  if _is_known(words[0]) or words[0] in _SQUARE + _CUBIC:
    return True
  # ln(x)abc is a product.
  is_apart = match['space'] or match['body'][-1] not in ')}'
  return len(words[0]) > 2 and bool(is_apart)


def _is_surely_unit(words, match):
  """Whether words after a letter are a unit, and no further letters."""
  plain = [w for w in words if w.casefold() not in _SQUARE + _CUBIC]
  after_pi = match['body'].rstrip().endswith('\\pi')
  if plain == ['m'] and after_pi:
    return True
  return bool(plain) and all(
    len(word) > 1 and _is_known(word) and (word != 'in' or after_pi)
    for word in plain
  )


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
  ours, theirs = measure(gold[0]), measure(answer[0])
  if not gold[0] or not answer[0]:
    if ours and ours[0] == _COUNT:
      return [Fraction(1), 1 / ours[1]]
    if theirs and theirs[0] == _COUNT:
      return [Fraction(1), theirs[1]]
    return [Fraction(1)]
  if gold[1] != answer[1] and min(gold[1], answer[1]) > 1:
    return []
  if gold[0] == answer[0] or 'unit' in (gold[0], answer[0]):
    return [Fraction(1)]
  if ours is None or theirs is None:
    shared = {*gold[0].split()} & {*answer[0].split()}
    return [Fraction(1)] if shared else []
  dimensions, size = measure(*gold)
  others, other = measure(*answer)
  if _without_count(dimensions) == _without_count(others):
    return [other / size]
  # A power may be forgotten on one side.
  return [(theirs[1] / ours[1]) ** answer[1]] if ours[0] == theirs[0] else []


def _without_count(dimensions):
  """A million dollars are dollars."""
  return [part for part in dimensions if part != _COUNT[0]]
