"""Problems without end: where does a walk over the table of facts end?

    from mill: red blue gold, land?

Easy problems have no hard fact, hard ones have some beside easy ones: what an
easy problem takes, hard ones take too.  One walk in 16 is held out, by a hash
of its start and its roads; the facts are those of all walks, for they are what
there is to be learnt.
"""

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Iterator

import numpy as np

from k15 import streams
from k15.data.facts.table import PLACES
from k15.data.facts.table import ROADS
from k15.data.facts.table import Table
from k15.data_types import Problem

EASY, HARD = 'easy', 'hard'

_HELD_OUT_SHARE = 16
_TRIES = 20000  # walks that are drawn until one is of the kind asked for
_PROMPT = re.compile(r'from (\w+): (\w+(?: \w+)*), \w+\?')


@dataclasses.dataclass(frozen=True)
class Walk:
  """A place and the roads that are taken from it, by their numbers."""

  start: int
  roads: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Mix:
  """Which problems are drawn.

  Attributes:
    steps: least and most facts of a walk, drawn alike.
    hard_share: [0, 1], of the problems.
    hard_steps: hard facts that a hard problem has at least; easy ones have
      none.
  """

  steps: tuple[int, int]
  hard_share: float
  hard_steps: int = 1


def places_of(table: Table, walk: Walk) -> list[int]:
  """Where it leads, from its start on: one place more than roads."""
  places = [walk.start]
  for road in walk.roads:
    places.append(int(table.leads[places[-1], road]))
  return places


def problem_of(table: Table, walk: Walk) -> Problem:
  """Its domain is 'easy' or 'hard', its difficulty 0 or 1."""
  text = _prompt(table, walk)
  places = places_of(table, walk)
  is_hard = table.is_hard[places[:-1], list(walk.roads)].any()
  return Problem(
    id=text,
    prompt=text,
    answer=table.answers[table.land[places[-1]]],
    domain=HARD if is_hard else EASY,
    difficulty=float(is_hard),
  )


def walk_of(prompt: str) -> Walk:
  """The walk of a problem's prompt.

  Raises:
    ValueError: it is none.
  """
  found = _PROMPT.fullmatch(prompt)
  if not found:
    raise ValueError(f'{prompt!r} asks for no walk')
  roads = tuple(ROADS.index(name) for name in found[2].split())
  return Walk(PLACES.index(found[1]), roads)


def is_held_out(walk: Walk) -> bool:
  """Whether no stage trains on it."""
  digest = hashlib.sha256(repr((walk.start, *walk.roads)).encode()).digest()
  return digest[0] % _HELD_OUT_SHARE == 0


def stream(
  table: Table, mix: Mix, held_out: bool, rng: np.random.Generator
) -> Iterator[Walk]:
  """Walks of one side without end; easy and hard ones take turns.

  Raises:
    ValueError: there is none of a kind that is asked for.
  """
  for i in itertools.count():
    is_hard = int((i + 1) * mix.hard_share) > int(i * mix.hard_share)
    for _ in range(_TRIES):
      walk = _draw(table, mix.steps, rng)
      places = places_of(table, walk)[:-1]
      count = int(table.is_hard[places, walk.roads].sum())
      fits = count >= mix.hard_steps if is_hard else count == 0
      if fits and is_held_out(walk) == held_out:
        break
    else:
      kind = f'{mix.hard_steps} hard facts' if is_hard else 'easy facts alone'
      raise ValueError(
        f'none of {_TRIES} walks of {mix.steps[0]} to {mix.steps[1]} steps has'
        f' {kind}, where {table.is_hard.mean():.2f} of the facts are hard'
      )
    yield walk


def make_problems(
  count: int, table: Table, mix: Mix, held_out: bool, seed: int
) -> list[Problem]:
  """The first `count` distinct problems of a stream.

  Raises:
    ValueError: there are too few, or none of a kind.
  """
  side = 'held-out problems' if held_out else 'training problems'
  walks = stream(table, mix, held_out, streams.rng(seed, side))
  found = {}
  for walk in itertools.islice(walks, 20 * count + 1000):
    found.setdefault(walk, None)
    if len(found) == count:
      return [problem_of(table, walk) for walk in found]
  raise ValueError(f'found only {len(found)} of {count} distinct walks')


def _draw(table, steps, rng):
  places, roads = table.leads.shape
  length = int(rng.integers(steps[0], steps[1] + 1))
  taken = tuple(rng.integers(roads, size=length).tolist())
  return Walk(int(rng.integers(places)), taken)


def _prompt(table, walk):
  roads = ' '.join(ROADS[road] for road in walk.roads)
  # The question closes a prompt, or it would be found within longer ones, which
  # `curation.near_duplicates` then keeps from training.
  return f'from {PLACES[walk.start]}: {roads}, {table.question}?'
