"""Answers that are equal, or nearly, in another form: an endless labelled set.

What a reward model has to learn (Kimi k1.5, section 2.3.5): 27/36 is 3/4,
(x+2)(x+5) is x^2+7x+10, 180 min are 3 h, and 27/35 is not 3/4.  Half of the
pairs are equivalent; the others differ by a slip that a hasty reader misses.
Every pair comes with the reasoning that decides it, step by step, for models
that think before they judge; models that do not are given the label alone.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from k15 import answer_forms
from k15 import streams

KINDS = tuple(answer_forms.MAKERS)

# One pair in 16, chosen by the hash of its text, is never trained on.
_HELD_OUT_SHARE = 16


@dataclasses.dataclass(frozen=True)
class Pair:
  """A reference answer, a response, and whether they are equivalent.

  Attributes:
    kind: one of KINDS.
    question: what was asked; for orderings it says whether order matters.
    reference, response: the two answers.
    is_correct: the label.
    reasoning: steps, one a line, that end in the decision.
  """

  kind: str
  question: str
  reference: str
  response: str
  is_correct: bool
  reasoning: str

  @property
  def case(self) -> tuple[str, str, str]:
    """Question, reference and response: what a judge may see."""
    return self.question, self.reference, self.response


def make_pair(kind: str, is_correct: bool, rng: np.random.Generator) -> Pair:
  """Draws a pair of a kind, equivalent or nearly."""
  if kind not in KINDS:
    raise ValueError(f'unknown kind {kind!r}, known are {", ".join(KINDS)}')
  while True:
    question, reference, response, steps = answer_forms.MAKERS[kind](
      is_correct, rng
    )
    # A slip may happen to give an equal answer: the steps tell.
    if _holds(steps) == is_correct:
      text = '\n'.join(steps)
      return Pair(kind, question, reference, response, is_correct, text)


def is_held_out(pair: Pair) -> bool:
  """Whether the pair belongs to the held-out side."""
  digest = hashlib.sha256('\n'.join(pair.case).encode()).digest()
  return digest[0] % _HELD_OUT_SHARE == 0


def stream(
  kinds: Sequence[str], rng: np.random.Generator, held_out: bool = False
) -> Iterator[Pair]:
  """Pairs without end; kinds and labels take turns.

  Held-out and training pairs never meet, whatever the seeds.
  """
  turns = itertools.product(kinds, (True, False))
  for kind, is_correct in itertools.cycle(turns):
    while True:
      pair = make_pair(kind, is_correct, rng)
      if is_held_out(pair) == held_out:
        break
    yield pair


def make_pairs(
  count: int, kinds: Sequence[str], held_out: bool, seed: int
) -> list[Pair]:
  """Distinct pairs, as many of every kind and label, but for the remainder.

  Raises:
    ValueError: the family has too few.
  """
  side = 'held-out' if held_out else 'training'
  rng = streams.rng(seed, f'{side} answer pairs')
  pairs, turns = {}, len(kinds) * 2
  wanted = {
    key: count // turns + (i < count % turns)
    for i, key in enumerate(itertools.product(kinds, (True, False)))
  }
  draws = stream(kinds, rng, held_out)
  for pair in itertools.islice(draws, 100 * count + 10000):
    key = pair.kind, pair.is_correct
    if wanted[key] and pair.case not in pairs:
      pairs[pair.case] = pair
      wanted[key] -= 1
    if len(pairs) == count:
      return list(pairs.values())
  raise ValueError(f'found only {len(pairs)} of {count} distinct pairs')


def _holds(steps):
  return not any(step.endswith(' no') for step in steps)
