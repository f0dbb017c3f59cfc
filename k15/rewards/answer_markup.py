"""An answer in one spelling: ASCII, few commands, no layout.

Everything here is linear in the length of the text, and nothing is evaluated.
"""

import re
import unicodedata

from k15.rewards import answer_phrases

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


def markup(answer: str) -> str:
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
  if ' ' in text:
    text = _SPACED.sub(lambda match: match[0].replace(' ', ''), text)
    text = _MIXED.sub(r'\1\\frac{\2}{\3}', text)
  if '^' in text:
    text = _DEGREES.sub(r'\\circ ', text)
    text = _PRIMES.sub(_primes, text)
  if "'" in text:
    text = _MINUTES.sub(_degrees, text.replace("\\'", "'"))
  text = answer_phrases.without_ordinals(text)
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
