"""An answer taken apart: its unit, its words and the trees it may stand for."""

import dataclasses
import functools
import re

from k15.rewards import answer_parser
from k15.rewards import answer_text
from k15.rewards import answer_tokens

MAX_LENGTH = 1000  # characters of an answer that is looked into

# Unit -> (dimension, size).  Other words after a number count as units too.
UNITS = {
  name: (dimension, size)
  for dimension, sizes in {
    'length': {
      'mm millimeter millimetre': 0.001, 'cm centimeter centimetre': 0.01,
      'm meter metre': 1, 'km kilometer kilometre': 1000, 'in inch': 0.0254,
      'ft foot feet': 0.3048, 'yd yard': 0.9144, 'mi mile': 1609.344,
    },
    'mass': {'mg': 1e-6, 'g gram': 0.001, 'kg kilogram': 1, 'lb pound': 0.45359237,
             'oz ounce': 0.028349523125},
    'time': {'s sec second': 1, 'min minute': 60, 'h hr hour': 3600, 'day': 86400,
             'week': 604800},
    'volume': {'ml mL milliliter': 0.001, 'l L liter litre': 1},
    'money': {'cent': 0.01, 'dollar USD money': 1},
    'speed': {'mph': 1, 'kph': 0.62137119223},
    'angle': {'degree deg': 1},
  }.items()
  for names, size in sizes.items()
  for name in names.split()
}  # fmt: skip
_GENERIC = frozenset(('unit', 'units'))
# Words after a number that make it a statement, not a quantity.
_NOT_UNITS = frozenset(
  'and or not no is are was isn if when where then than more less least most'
  ' fewer mod modulo base plus minus times over from to but wrong false nor'
  ' either except without above below sqrt pi'.split()
)
_PLAIN_UNITS = frozenset(('m', 's', 'g', 'h', 'L'))  # letters, after a space
_DEGREE_WORDS = frozenset(('sq', 'square', 'squared', 'cubic', 'cu', 'cubed'))
_NUMBERS = {
  word: str(i)
  for i, word in enumerate(
    'zero one two three four five six seven eight nine ten eleven twelve'
    ' thirteen fourteen fifteen sixteen'.split()
  )
}

_NUMERAL = re.compile(
  r'^\(?(?P<digits>-?[0-9a-zA-Z]*[0-9][0-9a-zA-Z]*)\)?'
  r'(?: ?_ ?(?P<base>[0-9]|\{ ?[0-9]{1,2} ?\}|\{? ?\\text ?\{ ?[a-z]+ ?\} ?\}?))?$'
)
_NO_LETTERS = re.compile(r'\\text ?\{([^{}a-zA-Z]*)\}')
_LABEL = re.compile(
  r'^(?:\\text ?\{[^{}]*\}\s*=|'
  r'(?:\\text ?\{\s*)?(?i:(?:the )?(?:final )?answer)(?: is)?\s*:?\s*\}?\s*:?)\s*'
)
_CALL = re.compile(r"^([a-zA-Z]'*) ?\( ?[a-z](?:, ?[a-z])* ?\) ?(?==)")
_TEXT_UNIT = re.compile(
  r'^(?P<body>.*[^\s,=({])\s*\\text ?\{(?P<unit>[^{}]*)\}'
  r'(?:\s*\^ ?\{?(?P<power>[23])\}?)?$',
  re.DOTALL,
)
_WORD_UNIT = re.compile(
  r'^(?P<body>.*[\d)}%!](?P<space>\s*))(?P<unit>[a-zA-Z]+\.?(?:[ /][a-zA-Z]+){0,3})'
  r'(?:\s*\^ ?\{?(?P<power>[23])\}?)?$',
  re.DOTALL,
)
_INNER_UNIT = re.compile(
  r'(?<=[\d}])\s*\\text ?\{\s*([a-zA-Z]+)\s*\}(?=\s*(?:,|;|\\text|$))'
)
_TEXT = re.compile(r'\\text ?\{([^{}]*)\}')
_WORD = re.compile(r'(?<![\\a-zA-Z])[a-zA-Z]{3,}')
_CHOICE = re.compile(r'^\(?([a-zA-Z])\)?$')
_NOT_WORDS = frozenset(
  'sin cos tan cot sec csc arcsin arccos arctan log exp sqrt inf infty'
  ' infinity and matrix pmatrix bmatrix array frac text'.split()
)


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
  """Attributes:
  markup: the answer, normalized.
  key: it without what does not change a text; case kept.
  has_words: whether it holds words, so that case does not count.
  body: the markup without label and unit.
  unit: the words of the unit, '' without one.
  power: of the unit, 1 to 3.
  """

  markup: str
  key: str
  has_words: bool
  body: str
  unit: str
  power: int

  @functools.cached_property
  def trees(self) -> tuple:
    """(node or None, node or None): commas in numbers group, or separate."""
    return self._tree(True), (self._tree(False) if ',' in self.body else None)

  def _tree(self, thousands):
    try:
      return answer_parser.parse(self.body, thousands)
    except answer_tokens.ParseError:
      return None


@functools.lru_cache(maxsize=4096)
def read(answer: str) -> Reading:
  """Takes an answer of at most MAX_LENGTH characters apart."""
  markup = answer_text.markup(answer)
  markup = _NO_LETTERS.sub(r' \1 ', markup).strip()
  markup = _LABEL.sub('', markup, count=1) or markup
  body, unit, power = _without_unit(markup)
  body = _CALL.sub(r'\1', body)
  key = _key(markup)
  body = _NUMBERS.get(body.casefold(), body)
  words = bool(_words(body))
  return Reading(markup, key, words, body, unit, power)


def _words(text):
  return [
    word
    for word in (*_WORD.findall(_TEXT.sub('', text)), *_TEXT.findall(text))
    if word.strip() not in _NOT_WORDS and len(word.strip()) > 1
    and word.strip() not in ('or', 'and')
  ]  # fmt: skip


def _key(markup):
  text = _TEXT.sub(r' \1 ', markup)
  text = text.replace('\\$', '')
  text = ' '.join(text.split()).strip(' ,;:"\'').rstrip('.')
  for article in ('the ', 'a ', 'an '):
    if text[: len(article)].casefold() == article:
      text = text[len(article) :]
      break
  choice = _CHOICE.match(text)
  return choice[1] if choice else text.replace(' ', '')


def _without_unit(text):
  """(body, unit, its power)."""
  unit = ''
  if '\\$' in text or text.startswith('$'):
    text, unit = text.replace('\\$', '').strip(), 'money'
  if '\\text' in text:
    inner = _INNER_UNIT.findall(text)
    if inner and all(map(_known, inner)):
      text, unit = _INNER_UNIT.sub('', text), inner[-1]
  match = _TEXT_UNIT.match(text) or _WORD_UNIT.match(text)
  if not match or not _is_unit(match):
    return text, _singular(unit), 1
  words = match['unit'].replace('.', ' ').split()
  power = int(match['power'] or 1)
  plain = [word for word in words if word.casefold() not in _DEGREE_WORDS]
  if len(plain) < len(words):
    power = 3 if {'cubic', 'cu', 'cubed'} & {*map(str.casefold, words)} else 2
  unit = _singular(' '.join(plain)) or 'unit'
  return match['body'].strip(), unit, power


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
  return _known(words[0]) or len(words[0]) > 2 and words[0] not in _NOT_WORDS


def _known(word):
  return _singular(word) in UNITS or word.casefold() in _GENERIC


def _singular(unit):
  if unit in UNITS:
    return unit
  lower = unit.casefold()
  for ending in ('', 'es', 's'):
    if lower.endswith(ending) and lower.removesuffix(ending) in UNITS:
      return lower.removesuffix(ending)
  return lower.removesuffix('s')


def factor(gold: Reading, answer: Reading) -> float | None:
  """What the answer's number is multiplied by to be in the reference's unit.

  None where the two units do not go together; one left out goes with any.
  """
  if not gold.unit or not answer.unit or gold.unit == answer.unit:
    return 1
  if 'unit' in (gold.unit, answer.unit):
    return 1
  ours, theirs = UNITS.get(gold.unit), UNITS.get(answer.unit)
  if ours is None or theirs is None or ours[0] != theirs[0]:
    return None
  return (theirs[1] / ours[1]) ** answer.power


def same_numeral(gold: Reading, answer: Reading) -> bool | None:
  """Equality of numerals such as 52_8, where at most one leaves the base out.

  None where this does not apply.
  """
  ours, theirs = _NUMERAL.match(gold.body), _NUMERAL.match(answer.body)
  if not ours or not theirs or not (ours['base'] or theirs['base']):
    return None
  bases = {_base(match['base']) for match in (ours, theirs) if match['base']}
  if len(bases) > 1:
    return False
  return ours['digits'].casefold() == theirs['digits'].casefold()


def _base(text):
  text = text.strip('{} ').removeprefix('\\text').strip('{} ').casefold()
  return _NUMBERS.get(text, text)
