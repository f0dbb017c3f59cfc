"""A problem with its pictures, and what a reader of them sees and works out.

Every generator of this room gives `Drawn`s.  What decides a picture, as text,
is its specification; one in 16, by its hash, is never trained on, whatever is
asked about it and whatever the seed.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from k15.data_types import Problem
from k15.vision import references

LEVELS = 3
_HELD_OUT_SHARE = 16  # as of arithmetic's texts, by the same hash


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
  """A generated problem.

  Attributes:
    problem: it refers to the pictures.
    pictures: uint8 [H, W, 3] each, in the order of `problem.images`.
    seen: what they show, in words: a caption or a transcription.
    work: lines that lead from there to the answer; () where nobody knows how.
  """

  problem: Problem
  pictures: tuple[np.ndarray, ...]
  seen: str
  work: tuple[str, ...] = ()


# (level, whether it is held out, generator) -> a problem.
Draw = Callable[[int, bool, np.random.Generator], Drawn]


def is_held_out(specification: str) -> bool:
  """Whether the picture, or the text that it shows, is never trained on."""
  digest = hashlib.sha256(specification.encode()).digest()
  return digest[0] % _HELD_OUT_SHARE == 0


def of_picture(
  pixels: np.ndarray,
  question: str,
  answer: str,
  domain: str,
  level: int,
  seen: str,
  work: Sequence[str] = (),
) -> Drawn:
  """A problem about one picture; it stands in front of the question."""
  image = references.of_pixels(pixels, domain)
  problem = Problem(
    # Equal questions about two pictures are two problems.
    id=f'{domain}:{image.digest[:16]}:{question}',
    prompt=question,
    answer=answer,
    domain=domain,
    difficulty=level / (LEVELS - 1),
    images=(image,),
  )
  return Drawn(problem, (pixels,), seen, tuple(work))


def stream(
  draws: Sequence[Draw],
  levels: Sequence[int],
  held_out: bool,
  rng: np.random.Generator,
) -> Iterator[Drawn]:
  """Problems without end; levels and draws take turns."""
  for level, draw in itertools.cycle(itertools.product(levels, draws)):
    yield draw(level, held_out, rng)


def make_problems(
  count: int,
  draws: Sequence[Draw],
  levels: Sequence[int],
  held_out: bool,
  rng: np.random.Generator,
) -> list[Drawn]:
  """The first `count` problems of a stream that differ.

  Raises:
    ValueError: a level that is none, or too few different problems.
  """
  for level in levels:
    if not 0 <= level < LEVELS:
      raise ValueError(f'level {level} is not in [0, {LEVELS})')
  found = {}
  if not count:
    return []
  drawn = stream(draws, levels, held_out, rng)
  for each in itertools.islice(drawn, 20 * count + 1000):
    found.setdefault(each.problem.id, each)
    if len(found) == count:
      return list(found.values())
  raise ValueError(f'found only {len(found)} of {count} different problems')
