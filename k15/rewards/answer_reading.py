"""An answer taken apart: its unit, its words and the trees it may stand for."""

import dataclasses
import functools
import re

from k15.rewards import answer_markup
from k15.rewards import answer_parser
from k15.rewards import answer_phrases
from k15.rewards import answer_tokens
from k15.rewards import answer_units

MAX_LENGTH = 1000  # characters of an answer that is looked into

_SPELLED = dict.fromkeys(
  ('all real numbers', 'all reals', 'all real'), r'\reals'
)
_NUMERAL = re.compile(
  r'^\(?(?P<digits>-?[0-9a-zA-Z]*[0-9][0-9a-zA-Z]*)\)?(?: ?_ ?'
  r'(?P<base>[0-9]|\{ ?[0-9]{1,2} ?\}|\{? ?\\text ?\{ ?[a-z]+ ?\} ?\}?))?$'
)
_NO_LETTERS = re.compile(r'\\text ?\{([^{}a-zA-Z]*)\}')
_QUANTITY = re.compile(r'^\\text ?\{\s*([-+]?\d[\d.,/]*)\s+([a-zA-Z /]+)\}$')
_LABEL = re.compile(
  r'^(?:\\text ?\{[^{}]*\}\s*=|'
  r'\\text ?\{[^{}]*(?: (?:is|are|equals) ?:?|[a-z] ?:) ?\}(?=.)|'
  r'e ?=(?=[^=]+$)|(?:\\text ?\{\s*)?'
  r'(?i:(?:the )?(?:final )?answer)(?: is)?\s*:?\s*\}?\s*:?)\s*'
)
_CALL = re.compile(
  r"(?<![a-zA-Z\\])([a-zA-Z]'*) ?\( ?[a-z](?:, ?[a-z])* ?\) ?(?==|\\equiv)"
)
_RUN_ON = re.compile(r'(?<=[\d)}])(or|and)(?=[^a-z]|[a-z]\b)')
_TEXT = re.compile(r'\\text ?\{([^{}]*)\}')
_WORD = re.compile(r'(?<![\\a-zA-Z])[a-zA-Z]{3,}')
_AND = re.compile(r',?\s+(?:and|&)\s+')
_LAST_SIDE = re.compile(r'^(?P<left>[^,;]*[a-zA-Z][^,;]*)=(?P<right>[^=]+)$')
_BUILDER = re.compile(
  r'^\\\{ ?([a-zA-Z]) ?(?:\\in ?\\reals ?)?(?:\||\\vert|:|\\ratio)'
)
# All letters of a choice of several, as in ABD.
_CHOSEN = re.compile(r'[A-H](?:,?[A-H])+')
_CLOCK = re.compile(r'([012]?\d) ?: ?([0-5]\d) ?(?:([ap])\.? ?m\.?)?', re.I)
_MATHEMATICAL_WORDS = (
  'sin cos tan cot sec csc arcsin arccos arctan log exp sqrt inf infty'
  ' infinity and or mod gcd lcm max min matrix pmatrix bmatrix array frac text'
)
_NOT_WORDS = frozenset(_MATHEMATICAL_WORDS.split())


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
  """An answer taken apart.

  Attributes:
    markup: the answer, normalized.
    key: it without what does not change a text; case kept.
    has_words: whether it holds words, so that case does not count.
    choice: the letter of a choice, as in '(C) 5', else ''.
    integer: the letter that stands for any integer, as in '2k (k in Z)'.
    body: the markup without label, unit and condition.
    unit: the unit in the singular and its power, ('', 1) without one.
  """

  markup: str
  key: str
  has_words: bool
  choice: str
  integer: str
  body: str
  unit: tuple[str, int]

  @functools.cached_property
  def trees(self) -> tuple:
    """(node or None, node or None): commas in numbers group, or separate."""
    return _tree(self.body), (
      _tree(self.body, False) if ',' in self.body else None
    )

  @functools.cached_property
  def bound(self) -> str:
    """The letter that a set says its elements by, as x in {x | x > 3}."""
    match = _BUILDER.match(self.body)
    return match[1] if match else ''

  @functools.cached_property
  def stated(self) -> tuple | None:
    """The tree of what an equation states whose left side is not read."""
    match = _LAST_SIDE.match(self.body)
    if not match or {'and', 'or'} & {*re.findall('[a-z]+', match['left'])}:
      return None
    return _tree(match['right'])

  @functools.cached_property
  def behind_choice(self) -> 'Reading | None':
    """What is behind the label of a choice."""
    content = answer_phrases.without_choice(self.markup) if self.choice else ''
    return read(content) if content else None


def _tree(text, thousands=True):
  try:
    return answer_parser.parse(text, thousands)
  except answer_tokens.ParseError:
    return None


@functools.lru_cache(maxsize=4096)
def read(answer: str) -> Reading:
  """Takes an answer of at most MAX_LENGTH characters apart."""
  markup = answer_markup.markup(answer)
  if '\\text' in markup:
    markup = _QUANTITY.sub(r'\1\\text{\2}', markup)
    markup = _NO_LETTERS.sub(r' \1 ', markup).strip()
  markup = _LABEL.sub('', markup, count=1) or markup
  markup = _RUN_ON.sub(r' \1 ', markup)
  key, choice = _key(markup)
  body, integer = answer_phrases.without_condition(markup)
  parts = answer_phrases.parts(body)
  if parts:
    choice = ''  # (I) and (i) are labels of parts.
    bodies = [answer_units.split(part)[0] for part in parts]
    body, unit = f'({", ".join(f"{{{body}}}" for body in bodies)})', ('', 1)
  else:
    body, *unit = answer_units.split(body)
  if '(' in body and ('=' in body or '\\equiv' in body):
    body = _without_call(body)
  spelled = _TEXT.sub(r'\1', body).strip().casefold()
  body = _SPELLED.get(spelled) or _number(spelled) or body
  words = _has_words(body)
  return Reading(markup, key, words, choice, integer, body, tuple(unit))


def _number(words):
  """Markup of a number in words; a letter is none."""
  if len(words) < 3 or not words[0].isalpha():
    return None
  return answer_phrases.spelled_number(words)


def _without_call(body):
  """f(x) = 2x as y = 2x, unless there are several functions."""
  names = {*_CALL.findall(body)}
  if not names:
    return body
  return _CALL.sub('y' if len(names) == 1 else r'\1', body)


def _has_words(text):
  found = (*_WORD.findall(_TEXT.sub('', text)), *_TEXT.findall(text))
  return any(
    len(word.strip()) > 1 and word.strip() not in _NOT_WORDS for word in found
  )


def _key(markup):
  """(key, letter of a choice)."""
  text = _TEXT.sub(r' \1 ', markup)
  text = text.replace('\\$', '')
  text = ' '.join(text.split()).strip(' ,;:"\'').rstrip('.')
  text = _AND.sub(',', text)
  for article in ('the ', 'a ', 'an '):
    if text[: len(article)].casefold() == article:
      text = text[len(article) :]
      break
  choice, is_all = answer_phrases.choice(text)
  return choice if is_all else text.replace(' ', ''), choice


def same_text(gold: Reading, answer: Reading) -> bool:
  """Equality letter by letter; of words, whatever their case and plural."""
  if gold.key == answer.key:
    return bool(gold.key)
  if gold.choice and gold.choice == answer.choice:
    return gold.choice in (gold.key, answer.key)
  chosen = _chosen(gold.key)
  if chosen and chosen == _chosen(answer.key):
    return True
  if not (gold.has_words or answer.has_words):
    return False
  return _folded(gold.key) == _folded(answer.key)


def _chosen(key):
  """Letters of several choices in their order, '' for anything else."""
  letters = key.replace(',', '')
  in_order = letters == ''.join(sorted({*letters}))
  return letters if in_order and _CHOSEN.fullmatch(key) else ''


def _folded(key):
  return key.casefold().removesuffix('s') if len(key) > 4 else key.casefold()


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
  return answer_phrases.spelled_number(text) or text


def same_time(gold: Reading, answer: Reading) -> bool | None:
  """Equality of times such as 2:30 p.m.; None where this does not apply."""
  ours, theirs = _CLOCK.fullmatch(gold.key), _CLOCK.fullmatch(answer.key)
  if not ours or not theirs:
    return None
  halves = {match[3].casefold() for match in (ours, theirs) if match[3]}
  return int(ours[1]) == int(theirs[1]) and ours[2] == theirs[2] and (
    len(halves) < 2
  )  # fmt: skip
