"""Reward of a short exact answer written after a marker, such as '#### 42'.

The response is hostile text: nothing here evaluates it, and numbers are read
only when short.
"""

import fractions
import re

from k15.rewards import thinking

MAX_NUMBER_LENGTH = 64  # characters; longer answers are compared as text

_NUMBER = re.compile(
  r'(?P<sign>[+-]?)'
  r'(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?'
  r'(?:(?P<decimals>\.[0-9]+)|/(?P<denominator>[0-9]+))?'
)


def final_answer(text: str, marker: str) -> str | None:
  """Text after the last marker, up to the end of its line, stripped.

  Args:
    text: a response.
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
  text.  An empty answer is never correct.
  """
  answer, reference = final_answer(response_text, marker), reference.strip()
  if not answer:
    return False
  if answer == reference:
    return True
  number = _rational(answer)
  return number is not None and number == _rational(reference)


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
