"""An answer in one spelling: ASCII, few commands, no layout.

Everything here is linear in the length of the text, and nothing is evaluated.
"""

import re
import unicodedata

_CHARACTERS = {
  '−': '-', '–': '-', '—': '-', '×': r'\times ', '·': r'\cdot ', '÷': '/',
  '⋅': r'\cdot ', '∙': r'\cdot ', '⁄': '/', '∕': '/', 'π': r'\pi ',
  '∞': r'\infty ', '√': r'\sqrt ', '≤': r'\le ', '≥': r'\ge ', '≠': r'\ne ',
  '≈': r'\approx ', '∪': r'\cup ', '∩': r'\cap ', '∈': r'\in ',
  '∅': r'\emptyset ',
  '±': r'\pm ', '∓': r'\mp ', '°': '^\\circ ', '⟨': r'\langle ',
  '⟩': r'\rangle ',
  '，': ',', '：': ':', 'º': '^\\circ ', 'θ': r'\theta ', 'α': r'\alpha ',
  'β': r'\beta ', 'λ': r'\lambda ', '“': '', '”': '', '‘': "'", '’': "'",
  '£': r'\$', '€': r'\$', '¥': r'\$', '\u200b': '', '≡': r'\equiv ', '٫': '.',
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans('⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ', '0123456789+-n')
_SUPERSCRIPT_RUN = re.compile('[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+')
_VULGAR = re.compile(r'([¼-¾⅐-⅞])')
_THOUSANDS = re.compile(
  r'(?<=\d)(?:\{,\}\s?|,\s?\\!\s?|\\,|\\!|\\ )(?=\d{3}(?!\d))'
)
_ESCAPED_TWICE = re.compile(r'\\\\(?=[a-zA-Z{}$%,;!()\[\]])')
_SPACED = re.compile(r'(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d,])')
_REMOVED = re.compile(
  r'\\(?:displaystyle|textstyle|limits|boldsymbol|mathbf|mathit|mathcal|bm'
  r'|mathsf|vec|hat|left|right|[bB]igg?[lr]?|rm|bf|it|hline|noindent|angle'
  r'|measuredangle|therefore)(?![a-zA-Z])\.?'
  r'|\\!|(?<!\\)\$|(?<!\\)\\[()\[\]]|\\phantom\{[^{}]*\}'
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
  'cdots': 'ldots', 'sf': 'text',
}  # fmt: skip
_COMMAND = re.compile(r'\\([a-zA-Z]+)')
_DEGREES = re.compile(r'\^ ?\{? ?\\circ ?\}?')
_REALS = re.compile(r'\\mathbb ?(?:\{ ?R ?\}|R(?![a-zA-Z]))')
_SET_LETTER = re.compile(r'\\mathbb ?\{? ?([A-Z]) ?\}?')
_MIXED = re.compile(r'(?<![\d.}^_{/])(\d+) +(\d+) ?/ ?(\d+)(?![\d.])')
_PERCENT = re.compile(r'(?: |\\text ?\{ *)*(?:percent|per cent|pct)\b(?: *\})?')


def markup(answer: str) -> str:
  """An answer in ASCII and few commands: one spelling for what looks alike."""
  text = answer if answer.isascii() else _ascii(answer)
  if '\\\\' in text and '\\begin' not in text:
    text = _ESCAPED_TWICE.sub(r'\\', text)
  text = _THOUSANDS.sub('', text)
  if text.count('$') == 1:
    text = _LONE_DOLLAR.sub(r'\\$', text)
  text = _REMOVED.sub('', text)
  text = _COMMAND.sub(_rename, text)
  text = text.replace('\\%', '%').replace('...', '\\ldots ')
  text = _SPACES.sub(' ', text).strip()
  if ' ' in text:
    text = _SPACED.sub(lambda match: match[0].replace(' ', ''), text)
    text = _MIXED.sub(r'\1\\frac{\2}{\3}', text)
  if '^' in text:
    text = _DEGREES.sub(r'\\circ ', text)
  text = _PERCENT.sub('%', text)
  if '\\mathbb' in text:
    text = _REALS.sub(r'\\reals', text)
    text = _SET_LETTER.sub(r'\1', text)
  return text.strip(' *').rstrip('.,;: ').strip()


def _rename(match):
  return '\\' + _RENAMED.get(match[1], match[1])


def _ascii(text):
  """Digits of any script, fractions, exponents and signs in ASCII."""
  text = _SUPERSCRIPT_RUN.sub(
    lambda match: '^{' + match[0].translate(_SUPERSCRIPTS) + '}', text
  )
  text = _VULGAR.sub(_fraction, text)
  text = ''.join(_CHARACTERS.get(c, c) for c in text)
  if text.isascii():
    return text
  text = unicodedata.normalize('NFKC', text)
  return ''.join(
    str(unicodedata.decimal(c, c)) if not c.isascii() else c for c in text
  )


def _fraction(match):
  top, _, bottom = unicodedata.normalize('NFKC', match[1]).partition('⁄')
  return f'\\frac{{{top}}}{{{bottom}}}'
