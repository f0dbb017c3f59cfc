"""Needles in a haystack: is something said long ago still found?

A note, `note k42`, lies at some depth of a row of other text, and at its end
the note is asked for: `note k`.  Kimi k1.5 does not say how its long context
is tested, NP.
"""

import string
from collections.abc import Callable

import numpy as np

BEGINNING = 'note '
NAMES = string.ascii_lowercase
MOST = 100  # Numbers below it.
DEPTHS = 4  # Parts of the row that are told apart.


def note(name: str, number: int) -> str:
  """A line that a later one may ask for."""
  return f'{BEGINNING}{name}{number}'


def make(
  encode: Callable[[str], np.ndarray],
  haystack: np.ndarray,
  length: int,
  count: int,
  rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Rows with a note each, at depths that are spread evenly.

  Args:
    encode: a text -> int32 [T].
    haystack: int32 [T], of any length above 0; gone through again as needed.
    length: tokens of a row.
    count: of rows.
    rng: draws names, numbers and where a row's text begins.

  Returns:
    tokens int32 [count, length]; is_answer bool [count, length], the tokens
    that have to be found; part int [count], in [0, DEPTHS), where the note is.

  Raises:
    ValueError: a row is too short for a note and a question.
  """
  tokens = np.zeros((count, length), np.int32)
  is_answer = np.zeros((count, length), bool)
  depths = (np.arange(count) + 0.5) / count
  for row, depth in enumerate(depths):
    name, number = rng.choice([*NAMES]), int(rng.integers(MOST))
    needle = encode(note(name, number) + '\n')
    asked, answer = encode(BEGINNING + name), encode(f'{number}')
    room = length - len(needle) - len(asked) - len(answer)
    if room < 0:
      raise ValueError(
        f'a row of {length} tokens is too short for a note and its question,'
        f' {length - room}'
      )
    text = np.resize(np.roll(haystack, -int(rng.integers(len(haystack)))), room)
    place = int(depth * (room + 1))
    parts = text[:place], needle, text[place:], asked, answer
    tokens[row] = np.concatenate(parts)
    is_answer[row, length - len(answer) :] = True
  return tokens, is_answer, (depths * DEPTHS).astype(int)
