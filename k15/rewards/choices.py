"""Multiple choice and short answers of benchmarks: for evaluation alone.

A letter can be guessed, which is why k1.5 leaves multiple choice out of its
prompt set (section 2.1), and no reward of training judges by this page.  A
reference is one of three texts:

  {"letter": "B", "options": ["3 cm", "5 cm"]}   the letter, or the option
  {"any_of": ["1/2", "0.5"]}                     one of several answers
  12.5                                           rounded as it is written
"""

import decimal
import json
import re
import string
import time
from collections.abc import Sequence
from typing import Any

from k15.rewards import thinking
from k15.rewards.answers import fallback
from k15.rewards.answers import verify as verify_lib
from k15.rewards.verdict import Verdict

LETTERS = string.ascii_uppercase
_LONGEST = 2000  # characters of an answer; a longer one is none
# 'B', '(B)', 'B. 5 cm', '**B**'.
_LETTER = re.compile(r'[\s*_$(\[]*([A-Z])(?:[\s*_$)\].:,]|\Z)')
# The letter of a sentence that states one, not the article 'a'.
_STATED = re.compile(
  r'\b(?i:answer|option|choice)\b(?:[^.\n]{0,40}?\b(?:is|be)\b|\s*[:=])?'
  r'[\s:*_$(\[]*([A-Z])\b(?![\w\'])'
)
_TYPEFACE = re.compile(r'\\(?:text|mathrm|mathbf|textbf) ?\{([^{}]*)\}')
_NUMBER = re.compile(r'[-+−]?(?:\d[\d,]*)?\.?\d+')
_PLAIN = re.compile(r'[-+]?\d{1,40}(?:\.\d{1,40})?')


def of_options(letter: str, options: Sequence[str]) -> str:
  """The reference of a question with options, A being the first."""
  return json.dumps(dict(letter=letter, options=list(options)))


def of_several(answers: Sequence[str]) -> str:
  """The reference of a question with several right answers."""
  return answers[0] if len(answers) == 1 else json.dumps(dict(any_of=answers))


def verify(
  response: str, reference: str, pool: fallback.Pool | None = None
) -> Verdict:
  """Whether a response ends on the reference's choice or answer.

  What is stated last counts: the last box, or the last sentence that names the
  answer.

  Args:
    pool: of workers for answers that are mathematics.
  """
  start = time.perf_counter()
  wanted = _parsed(reference)
  if 'options' in wanted:
    right = _chosen(response, wanted['options'], pool) == wanted['letter']
    kind, reason = ('correct' if right else 'wrong'), ''
  else:
    found = [_short(response, each, pool) for each in wanted['any_of']]
    best = min(found, key=lambda v: ('correct', 'wrong', 'error').index(v.kind))
    kind, reason = best.kind, best.reason
  return Verdict(kind, reason, seconds=time.perf_counter() - start)


def _parsed(reference: str) -> dict[str, Any]:
  if reference.startswith('{"'):
    try:
      return json.loads(reference)
    except ValueError:
      pass  # An answer in braces, of mathematics.
  return dict(any_of=[reference])


def _chosen(response, options, pool):
  """The letter that a response chooses; None if it chooses none, or several."""
  answer = _stated(response)
  if answer is None:
    return None
  letters = LETTERS[: len(options)]
  letter = _LETTER.match(_TYPEFACE.sub(r'\1', answer))
  if letter and letter[1] in letters:
    return letter[1]
  same = [i for i, o in enumerate(options) if _plain(o) == _plain(answer)]
  if not same:
    boxed = f'\\boxed{{{answer}}}'
    same = [
      i for i, option in enumerate(options)
      if verify_lib.verify(boxed, option, pool).kind == 'correct'
    ]  # fmt: skip
  return letters[same[0]] if len(same) == 1 else None


def _stated(response):
  """What a response says last that its answer is; None if it says nothing."""
  said = thinking.said(response)
  if said is None:
    return None
  answer = verify_lib.final_answer(response)
  if 'boxed' not in said and '####' not in said:
    tail = said[-verify_lib.TAIL :]
    letters = _STATED.findall(tail)
    answer = letters[-1] if letters else answer
  return answer if answer and len(answer) <= _LONGEST else None


def _plain(text):
  return ' '.join(text.casefold().split()).strip('.$* ')


def _short(response, reference, pool):
  """The verdict on a short answer, rounded to the reference's decimals."""
  verdict = verify_lib.verify(response, reference, pool)
  answer = _stated(response)
  if verdict.kind == 'correct' or answer is None:
    return verdict
  numbers = _NUMBER.findall(answer)
  if len(numbers) != 1 or not _PLAIN.fullmatch(reference):
    return verdict
  number = numbers[0].replace(',', '').replace('−', '-')
  if len(number) > len(reference) + 40:
    return verdict
  wanted, found = decimal.Decimal(reference), decimal.Decimal(number)
  # Half of the last digit that the reference shows.
  within = decimal.Decimal(5).scaleb(wanted.as_tuple().exponent - 1)
  return Verdict('correct' if abs(found - wanted) <= within else 'wrong')
