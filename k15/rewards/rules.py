"""Rewards by rule alone: R1's template and format, one language, exact answers.

A rule-based reward has no model to deceive; each rule here says what it asks
for, and what a response gains by cheating on it is in the tests.  Nothing here
evaluates a response, and numbers are read only when short.
"""

import fractions
import re
import unicodedata

from k15.rewards import thinking
from k15.rewards.answers import verify as verify_lib
from k15.rewards.verdict import Verdict

TAGS = (thinking.OPENS, thinking.CLOSES, '<answer>', '</answer>')
SCRIPTS = ('latin', 'cjk')

_ASIDE = re.compile(
  r'```.*?(?:```|\Z)'  # code
  r'|`[^`\n]*`'
  r'|\$\$.*?(?:\$\$|\Z)'  # formulas
  r'|\$[^$\n]*\$'
  r'|\\\(.*?(?:\\\)|\Z)|\\\[.*?(?:\\\]|\Z)'
  r'|\\[a-zA-Z]+'
  r'|https?://\S+',
  re.DOTALL,
)
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_CJK = re.compile(
  '[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]'
)

MAX_NUMBER_LENGTH = 64  # characters; longer answers are compared as text

_NUMBER = re.compile(
  r'(?P<sign>[+-]?)'
  r'(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?'
  r'(?:(?P<decimals>\.[0-9]+)|/(?P<denominator>[0-9]+))?'
)


def format_fault(response: str) -> str:
  """What a response lacks of <think>...</think> <answer>...</answer>.

  Args:
    response: everything after the prompt, and the '<think>' it has ended on.

  Returns:
    '' for the right format: every tag once, in this order, nothing but space
    around them, something in both.  Else the first fault: 'missing TAG',
    'repeated TAG', 'order', 'outside' or 'empty'.
  """
  for tag in TAGS:
    count = response.count(tag)
    if count != 1:
      return f'missing {tag}' if count == 0 else f'repeated {tag}'
  starts = [response.index(tag) for tag in TAGS]
  if starts != sorted(starts):
    return 'order'
  ends = [start + len(tag) for start, tag in zip(starts, TAGS, strict=True)]
  before, thought = response[: starts[0]], response[ends[0] : starts[1]]
  between, answer = response[ends[1] : starts[2]], response[ends[2] : starts[3]]
  if before.strip() or between.strip() or response[ends[3] :].strip():
    return 'outside'
  return '' if thought.strip() and answer.strip() else 'empty'


def verify_format(response: str, reference: str = '') -> Verdict:
  """'correct' for the R1 format, else 'wrong'; the reference does not count."""
  del reference
  return Verdict('wrong' if format_fault(response) else 'correct')


def thinking_of(response: str) -> str:
  """What is thought: between the tags; of an unclosed thinking, all of it."""
  before, _, _ = response.partition(thinking.CLOSES)
  return before.rpartition(thinking.OPENS)[2]


def language_consistency(response: str, script: str) -> float:
  """DeepSeek-R1's language reward: words of one language in the thinking.

  A word is a run of letters, or one ideograph; code, formulas, LaTeX, links,
  digits and single letters (names in formulas) are left aside.

  Args:
    response: with or without tags.
    script: one of SCRIPTS.

  Returns:
    Their share in [0, 1]; 0 where no word is thought, so that silence does
    not pay.

  Raises:
    ValueError: on another script.
  """
  if script not in SCRIPTS:
    raise ValueError(f'script {script!r} is none of {SCRIPTS}')
  text = _ASIDE.sub(' ', thinking_of(response))
  counts = {'latin': 0, 'cjk': len(_CJK.findall(text)), 'other': 0}
  for word in _WORD.findall(_CJK.sub(' ', text)):
    # Single letters are names in formulas, of no language.
    if len(word) > 1:
      latin = unicodedata.name(word[0], '').startswith('LATIN')
      counts['latin' if latin else 'other'] += 1
  total = sum(counts.values())
  return counts[script] / total if total else 0.0


def verify_language(
  response: str, reference: str = '', *, script: str
) -> Verdict:
  """DeepSeek-R1's language reward as a verdict; the reference does not count.

  It earns `language_consistency`, and is 'correct' where that is 1.
  """
  del reference
  share = language_consistency(response, script)
  return Verdict('correct' if share == 1 else 'wrong', reward=share)


def final_answer(text: str, marker: str) -> str | None:
  """Text after the last marker, up to the end of its line, stripped.

  Args:
    marker: not empty.

  Returns:
    The answer, '' where the line ends at the marker; None without a marker
    after the thinking.
  """
  _, found, rest = (thinking.said(text) or '').rpartition(marker)
  if not found:
    return None
  return rest.partition('\n')[0].strip()


def is_correct(response_text: str, reference: str, marker: str) -> bool:
  """Whether the final answer is the reference, as text or as a number.

  '1,080', '1080.0' and '2160/2' are the same number; a number with a unit is
  text.  An empty answer is never correct, nor is one like a reference nan.
  """
  answer, reference = final_answer(response_text, marker), reference.strip()
  if not answer or verify_lib.is_missing(reference):
    return False
  if answer == reference:
    return True
  number = _rational(answer)
  return number is not None and number == _rational(reference)


def verify_exact(response: str, reference: str, *, marker: str) -> Verdict:
  """`is_correct` as a verdict."""
  right = is_correct(response, reference, marker)
  return Verdict('correct' if right else 'wrong')


def _rational(text):
  """The plain number a text is, or None."""
  if len(text) > MAX_NUMBER_LENGTH:
    return None
  match = _NUMBER.fullmatch(text)
  if match is None:
    return None
  whole, decimals = match['whole'], match['decimals']
  denominator = int(match['denominator'] or 1)
  if denominator == 0 or (whole is None and decimals is None):
    return None
  whole = (whole or '0').replace(',', '')
  return fractions.Fraction(f'{match["sign"]}{whole}{decimals or ""}') / (
    denominator
  )
