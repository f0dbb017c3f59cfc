"""An answer taken apart: its unit, its words and the trees it may stand for.

First it is put into one spelling: ASCII, few commands, no layout.  All is
linear in the length of the text, and nothing is evaluated.
"""

import dataclasses
import functools
import re
import unicodedata

from k15.rewards.answers import parser
from k15.rewards.answers import phrases
from k15.rewards.answers import tokens
from k15.rewards.answers import units

_CHARACTERS = {
  '−': '-', '–': '-', '—': '-', '×': r'\times ', '·': r'\cdot ', '÷': '/',
  '⋅': r'\cdot ', '∙': r'\cdot ', '⁄': '/', '∕': '/', 'π': r'\pi ',
  '∞': r'\infty ', '√': r'\sqrt ', '≤': r'\le ', '≥': r'\ge ', '≠': r'\ne ',
  '≈': r'\approx ', '∪': r'\cup ', '∩': r'\cap ', '∈': r'\in ',
  '∅': r'\emptyset ',
  '±': r'\pm ', '∓': r'\mp ', '°': '^\\circ ', '⟨': r'\langle ',
  '⟩': r'\rangle ',
  '，': ',', '：': ':', 'º': '^\\circ ', '“': '', '”': '', '‘': "'", '’': "'",
  '′': "'", '″': "''", '∀': r'\forall ', '∠': '', '△': '', '∖': r'\setminus ',
  'ℝ': r'\mathbb{R}', 'ℤ': r'\mathbb{Z}', 'ℕ': r'\mathbb{N}',
  'ℚ': r'\mathbb{Q}', '…': r'\ldots ', '⋯': r'\ldots ', '；': ';', '、': ',',
  '或': ' or ', '且': ' and ', '和': ' and ',
  '£': r'\$', '€': r'\$', '¥': r'\$', '₹': r'\$', '\u200b': '', '٫': '.',
  '≡': r'\equiv ',
}  # fmt: skip
_GREEK = (
  'alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi'
  ' omicron pi rho sigma sigma tau upsilon phi chi psi omega'
)
_CAPITALS = 'Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega'
_CHARACTERS |= {
  chr(ord('α') + i): f'\\{name} '
  for i, name in enumerate(_GREEK.split())
  if name != 'omicron'
}
_CHARACTERS |= {
  letter: f'\\{name} '
  for letter, name in zip('ΓΔΘΛΞΠΣΦΨΩ', _CAPITALS.split(), strict=True)
}
_CHARACTERS |= {
  'ϵ': r'\epsilon ', 'ϕ': r'\phi ', 'ϑ': r'\theta ', 'µ': r'\mu ',
}  # fmt: skip
# Circled numbers label the parts of an answer.
_CHARACTERS |= {chr(ord('①') + i): f' ({i + 1}) ' for i in range(9)}
_SUPERSCRIPTS = str.maketrans('⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ', '0123456789+-n')
_SUBSCRIPT_RUN = re.compile('[₀-₉]+')
_SUPERSCRIPT_RUN = re.compile('[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+')
_VULGAR = re.compile(r'([¼-¾⅐-⅞])')
_THOUSANDS = re.compile(
  r'(?<=\d)(?:\{,\}\s?|,\s?\\!\s?|\\,|\\!|\\ )(?=\d{3}(?!\d))'
)
_ESCAPED_TWICE = re.compile(r'\\\\(?=[a-zA-Z{}$%,;!()\[\]])')
_SPACED = re.compile(r'(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d,])')
_REMOVED = re.compile(
  r'\\(?:displaystyle|textstyle|limits|boldsymbol|mathbf|mathit|mathcal|bm'
  r'|mathsf|left|right|middle|triangle|[bB]igg?[lr]?|rm|bf|it|hline|noindent'
  r'|angle|measuredangle|therefore)(?![a-zA-Z])\.?'
  r'|\\[!"]|(?<!\\)\$|(?<!\\)\\[()\[\]]|\\phantom\{[^{}]*\}'
)
_LONE_DOLLAR = re.compile(r'(?<!\\)\$(?=[\d.])')
_SPACES = re.compile(r'(?<!\\)\\[,;:> ]|\\q?quad|~|\s+')
_RENAMED = {
  'dfrac': 'frac', 'tfrac': 'frac', 'cfrac': 'frac', 'dbinom': 'binom',
  'tbinom': 'binom', 'mathrm': 'text', 'textbf': 'text', 'textit': 'text',
  'textrm': 'text', 'mbox': 'text', 'hbox': 'text', 'textnormal': 'text',
  'texttt': 'text', 'operatorname': 'text', 'leq': 'le', 'leqslant': 'le',
  'geq': 'ge', 'geqslant': 'ge', 'neq': 'ne', 'varnothing': 'emptyset',
  'lbrace': '{', 'rbrace': '}', 'lvert': 'vert', 'rvert': 'vert', 'mid': 'vert',
  'ast': 'cdot', 'degree': 'circ', 'colon': 'ratio', 'dots': 'ldots',
  'cdots': 'ldots', 'sf': 'text', 'lcm': 'text{lcm}', 'operatorname*': 'text',
  'tg': 'tan', 'ctg': 'cot', 'arctg': 'arctan', 'overrightarrow': 'vec',
  'varepsilon': 'epsilon', 'varphi': 'phi', 'vartheta': 'theta',
  'varrho': 'rho', 'varsigma': 'sigma', 'varkappa': 'kappa',
  'land': 'text{ and }', 'wedge': 'text{ and }', 'lor': 'text{ or }',
  'vee': 'text{ or }',
}  # fmt: skip
# JSON and Python read \\t, \\f and the like in what was to be LaTeX.
_UNESCAPED = re.compile(
  '\t(?=ext|frac|imes|heta|an|au|o|riangle|herefore|binom)|[\x07\x08\x0b\x0c]'
  '|\r(?=ight|angle|ho|m|floor|ceil)|\n(?=eq|e[^a-z]|abla)'
)
_ESCAPES = dict(zip('\t\x07\x08\x0b\x0c\r\n', 'tabvfrn', strict=True))
_PRIMES = re.compile(r'\^ ?\{? ?(?:\\prime ?)+\}?')
_MINUTES = re.compile(
  r"(\d+(?:\.\d+)?)\\circ *(\d+) ?'(?!') ?(?:(\d+(?:\.\d+)?) ?(?:''|\"))?"
)
_CHOOSE = re.compile(
  r'(?:(?<![\w)}])|\{ ?\}) ?[_^] ?(?:\{ ?(\w+) ?\}|(\w)) ?'
  r'(?:C|\\text ?\{ ?C ?\}) ?_ ?(?:\{ ?(\w+) ?\}|(\w))'
)
# X^a_b as X_b^a, which TeX draws alike.
_RAISED_FIRST = re.compile(
  r'(?<=[A-Z}]) ?(\^ ?(?:\{[^{}]*\}|\w)) ?(_ ?(?:\{[^{}]*\}|\w))'
)
_TEMPERATURE = re.compile(
  r'\\circ ?(?:\\text ?\{ ?([CF]) ?\}|([CF])(?![a-zA-Z]))'
)
_OHMS = re.compile(r'(?<=\d) ?\\Omega$')
_MICRO = re.compile(r'\\mu ?\\text ?\{ ?(?=[a-zA-Z])')
_SCALES = {'C': 'celsius', 'F': 'fahrenheit'}
_COMMAND = re.compile(r'\\(operatorname\*|[a-zA-Z]+)')
_DEGREES = re.compile(r'\^ ?\{? ?\\circ ?\}?')
_REALS = re.compile(
  r'\\mathbb ?(?:\{ ?R ?\}|R(?![a-zA-Z]))'
  r'|(?<=\\in) ?(?:\{ ?R ?\}|R(?![a-zA-Z_^]))'
)
_SET_LETTER = re.compile(r'\\mathbb ?\{? ?([A-Z]) ?\}?')
_MIXED = re.compile(r'(?<![\d.}^_{/])(\d+) +(\d+) ?/ ?(\d+)(?![\d.])')
_ALONE = re.compile(r'(?<!\\)\{ ?([:=<>]) ?\}')  # 1{:}2 is 1:2.
# Equations below each other, without columns.
_SYSTEM = re.compile(
  r'(?:\\\{ ?)?\\begin ?\{ ?(cases|array|aligned|gathered) ?\}'
  r'(?: ?\{ ?[lcr]+ ?\})?(?P<rows>[^&=]*=[^&]*?)\\end ?\{ ?\1 ?\}'
)
_ROW_END = re.compile(r' ?,? ?\\\\(?: ?\[[\w.]+\])? ?')
_PERCENT = re.compile(r'(?: |\\text ?\{ *)*(?:percent|per cent|pct)\b(?: *\})?')


def to_markup(answer: str) -> str:
  """An answer in ASCII and few commands: one spelling for what looks alike."""
  text = answer if answer.isascii() else _ascii(answer)
  if not text.isprintable():
    text = _UNESCAPED.sub(lambda match: '\\' + _ESCAPES[match[0]], text)
  if '\\\\' in text and '\\begin' not in text:
    text = _ESCAPED_TWICE.sub(r'\\', text)
  text = _THOUSANDS.sub('', text)
  if text.count('$') == 1:
    text = _LONE_DOLLAR.sub(r'\\$', text)
  text = _REMOVED.sub('', text)
  text = _COMMAND.sub(_rename, text)
  if '\\begin' in text:
    text = _SYSTEM.sub(_system, text)
  text = _ALONE.sub(r'\1', text)
  text = text.replace('\\%', '%').replace('...', '\\ldots ')
  text = _SPACES.sub(' ', text).strip()
  # Most answers are short and plain: `in` is cheaper than a pattern that finds
  # nothing.
  if ' ' in text:
    text = _SPACED.sub(lambda match: match[0].replace(' ', ''), text)
    text = _MIXED.sub(r'\1\\frac{\2}{\3}', text)
  if '^' in text:
    text = _DEGREES.sub(r'\\circ ', text)
    text = _PRIMES.sub(_primes, text)
  if "'" in text:
    text = _MINUTES.sub(_degrees, text.replace("\\'", "'"))
  text = phrases.without_ordinals(text)
  if '_' in text:
    text = _CHOOSE.sub(_binomial, _RAISED_FIRST.sub(r'\2\1', text))
  if '\\' in text:
    text = _TEMPERATURE.sub(_degrees_of, text)
    text = _MICRO.sub(r'\\text{u', _OHMS.sub(r'\\text{ ohm}', text))
  text = _PERCENT.sub('%', text)
  if '\\mathbb' in text or '\\in' in text:
    text = _REALS.sub(r'\\reals', text)
    text = _SET_LETTER.sub(r'\1', text)
  return text.strip(' *`_').rstrip('.,;: ').strip()


def _rename(match):
  return '\\' + _RENAMED.get(match[1], match[1])


def _ascii(text):
  """Digits of any script, fractions, exponents and signs in ASCII."""
  text = _SUPERSCRIPT_RUN.sub(
    lambda match: '^{' + match[0].translate(_SUPERSCRIPTS) + '}', text
  )
  text = _SUBSCRIPT_RUN.sub(
    lambda match: f'_{{{unicodedata.normalize("NFKC", match[0])}}}', text
  )
  text = _VULGAR.sub(_fraction, text)
  text = ''.join(_CHARACTERS.get(c, c) for c in text)
  if text.isascii():
    return text
  text = unicodedata.normalize('NFKC', text)
  return ''.join(
    str(unicodedata.decimal(c, c)) if not c.isascii() else c for c in text
  )


def _system(match):
  rows = (row.strip(' ,') for row in _ROW_END.split(match['rows']))
  return ', '.join(filter(None, rows))


def _primes(match):
  return "'" * match[0].count('\\prime')


def _degrees(match):
  """15 degrees 30 minutes as 15 1/2 degrees."""
  seconds = f'+\\frac{{{match[3]}}}{{3600}}' if match[3] else ''
  return rf'({match[1]}+\frac{{{match[2]}}}{{60}}{seconds})\circ '


def _degrees_of(match):
  return rf'\text{{ {_SCALES[match[1] or match[2]]}}}'


def _binomial(match):
  above, below = [group for group in match.groups() if group]
  return rf'\binom{{{above}}}{{{below}}}'


def _fraction(match):
  top, _, bottom = unicodedata.normalize('NFKC', match[1]).partition('⁄')
  return f'\\frac{{{top}}}{{{bottom}}}'


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
    content = phrases.without_choice(self.markup) if self.choice else ''
    return read(content) if content else None


def _tree(text, thousands=True):
  try:
    return parser.parse(text, thousands)
  except tokens.ParseError:
    return None


# A reference is read for each of a group's responses, and votes compare each
# answer with many.
@functools.lru_cache(maxsize=4096)
def read(answer: str) -> Reading:
  """Takes an answer of at most MAX_LENGTH characters apart."""
  markup = to_markup(answer)
  if '\\text' in markup:
    markup = _QUANTITY.sub(r'\1\\text{\2}', markup)
    markup = _NO_LETTERS.sub(r' \1 ', markup).strip()
  markup = _LABEL.sub('', markup, count=1) or markup
  markup = _RUN_ON.sub(r' \1 ', markup)
  key, choice = _key(markup)
  body, integer = phrases.without_condition(markup)
  parts = phrases.parts(body)
  if parts:
    choice = ''  # (I) and (i) are labels of parts.
    bodies = [units.split(part)[0] for part in parts]
    body, unit = f'({", ".join(f"{{{body}}}" for body in bodies)})', ('', 1)
  else:
    body, *unit = units.split(body)
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
  return phrases.spelled_number(words)


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
  choice, is_all = phrases.choice(text)
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
  return phrases.spelled_number(text) or text


def same_time(gold: Reading, answer: Reading) -> bool | None:
  """Equality of times such as 2:30 p.m.; None where this does not apply."""
  ours, theirs = _CLOCK.fullmatch(gold.key), _CLOCK.fullmatch(answer.key)
  if not ours or not theirs:
    return None
  halves = {match[3].casefold() for match in (ours, theirs) if match[3]}
  return int(ours[1]) == int(theirs[1]) and ours[2] == theirs[2] and (
    len(halves) < 2
  )  # fmt: skip
