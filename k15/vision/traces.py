"""Worked solutions of problems with pictures, with a reader's habits.

A response may begin with `see` and what the picture shows, may work without
saying it, or may answer at once.  A slip of the eye, `see 12+5 wait see 17+5`,
is taken back at once, so that whatever a trace states is true or withdrawn.
Which habits pay is left to RL: text alone cannot teach that one has to look.
"""

import dataclasses
import re

import numpy as np

from k15.vision import rendering
from k15.vision.drawn import Drawn

SEES = 'see'
_WAIT = 'wait'
# Words that an eye takes for one another.
_ALIKE = (
  tuple(rendering.COLOURS),
  rendering.SHAPES,
  tuple(rendering.DIRECTIONS),
  tuple('0123456789'),
)
_WORD = re.compile(r'[a-z]+|[0-9]')


@dataclasses.dataclass(frozen=True)
class Habits:
  """How often the writer of warm-up traces does what, each in [0, 1]."""

  at_once_rate: float = 0.0  # the answer alone
  read_rate: float = 1.0  # of the others, says first what it sees
  misread_rate: float = 0.0  # of those, with a slip first


def write_trace(
  drawn: Drawn, habits: Habits, rng: np.random.Generator, solution: str = ''
) -> str:
  """Writes a response.

  Args:
    solution: what follows the reading, as the text's own family writes it; '':
      the work and the answer of the problem.
  """
  end = f'#### {drawn.problem.answer}'
  if rng.random() < habits.at_once_rate:
    return end
  lines = [solution] if solution else [*drawn.work, end]
  if rng.random() < habits.read_rate:
    seen = f'{SEES} {drawn.seen}'
    slip = misread(drawn.seen, rng)
    if slip and rng.random() < habits.misread_rate:
      seen = f'{SEES} {slip} {_WAIT} {seen}'
    lines.insert(0, seen)
  return '\n'.join(lines)


def misread(seen: str, rng: np.random.Generator) -> str:
  """The text with one word or digit taken for another; '' if it has none."""
  places = [
    (match, alike)
    for match in _WORD.finditer(seen)
    for alike in _ALIKE
    if match[0] in alike
  ]
  if not places:
    return ''
  match, alike = places[int(rng.integers(len(places)))]
  others = [word for word in alike if word != match[0]]
  other = others[int(rng.integers(len(others)))]
  return seen[: match.start()] + other + seen[match.end() :]
