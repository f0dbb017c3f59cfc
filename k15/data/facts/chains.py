"""Chains of thought about walks: written with misconceptions, and read back.

    go mill red inn blue farm gold hill
    #### north

states three facts.  The writer may check what it has stated, and when it
notices a misconception goes back and states the fact anew, rightly or not; and
it may go round again, until two rounds end at the same place:

    go mill red inn check yes blue farm check no inn blue gate gold cave
    again mill red inn blue gate gold cave
    #### south

It ends at the place that its last round has come to, and says that place's
land.  So whatever follows from a misconception is consistent with it.
"""

import dataclasses
import re

import numpy as np

from k15.data.facts.table import PLACES
from k15.data.facts.table import ROADS
from k15.data.facts.table import Table
from k15.data.facts.walks import Walk

MOST_TRIES = 4  # statements of one fact in a round; the last is not checked
MOST_ROUNDS = 4
# What a tokenizer has as words, beside names with a space in front.
WORDS = ('go', 'again', ' check', ' yes', ' no', '\n#### ')

_SAYS = (
  rf' (?P<road>{"|".join(ROADS)}) (?P<to>{"|".join(PLACES)})'
  rf'(?P<verdict> check yes| check no (?P<back>{"|".join(PLACES)}))?(?!\w)'
)
_STATEMENT = re.compile(_SAYS)
_UNNAMED = re.sub(r'\?P<\w+>', '?:', _SAYS)
_LINE = re.compile(rf'(go|again) ({"|".join(PLACES)})((?:{_UNNAMED})+)')
_MARKER = '#### '


@dataclasses.dataclass(frozen=True)
class Habits:
  """How often the writer does what, each in [0, 1].

  Attributes:
    check_rate: for each statement, to check it.
    notice_rate: to notice a misconception that is checked; what is right is
      never taken back.
    again_rate: after a round that has not ended where the one before did, to
      go round again.
  """

  check_rate: float = 0.0
  notice_rate: float = 1.0
  again_rate: float = 0.0


@dataclasses.dataclass(frozen=True)
class Statement:
  """A fact as a chain has it; `stands` unless a check took it back."""

  place: int
  road: int
  to: int
  stands: bool


@dataclasses.dataclass(frozen=True)
class Chain:
  """What a response says: of each round its statements, and the answer."""

  rounds: tuple[tuple[Statement, ...], ...]
  answer: str

  @property
  def standing(self) -> tuple[Statement, ...]:
    """Statements that the answer rests on: of the last round, none undone."""
    return tuple(s for s in self.rounds[-1] if s.stands)


def write(
  table: Table, walk: Walk, habits: Habits, rng: np.random.Generator
) -> str:
  """Writes a response, which need not be right."""
  lines, before = [], -1
  while True:
    words, place = _go(table, walk, habits, rng)
    lines.append(f'{"again" if lines else "go"} {" ".join(words)}')
    is_last = place == before or len(lines) == MOST_ROUNDS
    if is_last or rng.random() >= habits.again_rate:
      break
    before = place
  return '\n'.join([*lines, f'{_MARKER}{table.answers[table.land[place]]}'])


def read(response: str) -> Chain | None:
  """What a response says, or None where it is no chain of this form.

  It may be any text; that its rounds are of the walk asked for, and its answer
  the land of its last place, is not looked at.
  """
  *lines, answer = response.strip().split('\n')
  rounds = tuple(_read_round(line, i) for i, line in enumerate(lines))
  if not rounds or None in rounds or not answer.startswith(_MARKER):
    return None
  return Chain(rounds, answer.removeprefix(_MARKER))


def is_of(chain: Chain, walk: Walk) -> bool:
  """Whether what its answer rests on is about this walk, road by road."""
  said = chain.standing
  return (said[0].place, *(s.road for s in said)) == (walk.start, *walk.roads)


def holds_wrong(table: Table, chain: Chain) -> bool:
  """Whether its answer rests on a statement that is wrong."""
  return any(s.to != table.leads[s.place, s.road] for s in chain.standing)


def _go(table, walk, habits, rng):
  """Words of one round, and the place at which it ends."""
  place = walk.start
  words = [PLACES[place]]
  for road in walk.roads:
    for left in reversed(range(MOST_TRIES)):
      is_right = rng.random() < table.right_rates[place, road]
      to = int((table.leads if is_right else table.misconceptions)[place, road])
      words += [ROADS[road], PLACES[to]]
      if not left or rng.random() >= habits.check_rate:
        break
      if is_right or rng.random() >= habits.notice_rate:
        words += ['check', 'yes']
        break
      words += ['check', 'no', PLACES[place]]
    place = to
  return words, place


def _read_round(line, number):
  """Statements of a line; None where it is none."""
  found = _LINE.fullmatch(line)
  if not found or found[1] != ('again' if number else 'go'):
    return None
  place, statements = PLACES.index(found[2]), []
  for said in _STATEMENT.finditer(found[3]):
    road, to = ROADS.index(said['road']), PLACES.index(said['to'])
    back = said['back']
    if back and PLACES.index(back) != place:
      return None
    statements.append(Statement(place, road, to, not back))
    place = place if back else to
  return tuple(statements) if statements[-1].stands else None
