"""What a world is: a table of facts, problems that chain them, and luck.

A problem is a start symbol and operators; its chain writes one fact a step:
from symbol a and operator b the symbol right[a, b].  The reward looks at the
last symbol alone.  A writer who has not learnt them all knows fact (a, b) with
probability q[a, b], and writes otherwise one fixed value, wrong and fluent: a
misconception, of which a right answer says nothing unless chains vary.

`World` has what fixes shapes, so that one compiled program serves all worlds of
one; `Nature` has numbers, which differ between the runs of a program.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

Array = np.ndarray | jax.Array  # made by the first, traced as the second


@dataclasses.dataclass(frozen=True)
class World:
  """Sizes, of a task, its policy and an iteration.

  Attributes:
    symbols, operators: of the table of facts; the upper half of the operators
      makes the hard facts.
    steps: L, facts that a chain writes.
    rounds: times that a chain may write a step, a check between any two; 1: it
      checks nothing.
    width, embedding: of the policy's hidden layer, of a problem's embedding.
    problems, held_out: N to learn from; others, to be judged by.
    drawn, group: P problems an iteration, k responses each.
    updates, epochs: optimizer steps an epoch, epochs an iteration.
    iterations, every: of RL, and between two evaluations.
    sft_steps: of supervised fine-tuning.

  Raises:
    ValueError: problems or iterations that cannot be parted so.
  """

  symbols: int = 8
  operators: int = 8
  steps: int = 4
  rounds: int = 1
  width: int = 32
  embedding: int = 8
  problems: int = 1024
  held_out: int = 96
  drawn: int = 32
  group: int = 8
  updates: int = 4
  epochs: int = 1
  iterations: int = 32
  every: int = 4
  sft_steps: int = 300

  def __post_init__(self):
    for whole, part in (('drawn', 'updates'), ('iterations', 'every')):
      a, b = getattr(self, whole), getattr(self, part)
      if a % b:
        raise ValueError(f'{part}={b} does not divide {whole}={a}')


class Nature(NamedTuple):
  """What a world is like; numbers, traced.

  Attributes:
    easy, hard: (lowest, highest) q of the facts of easy and hard operators.
    easy_share: of the problems, those with easy operators alone.
    hard_steps: of the steps of the others, those with a hard operator; one of
      each such problem's has it anyway.
    luck: probability that a wrong step does no harm.
    answers: classes that the last symbol is judged by, of neighbours; at least
      as many as symbols: it has to be exact.  With fewer, a wrong step may do
      no harm either, as in k15/data/facts.
    fixed_luck: 1 where the problem decides that, for each of its steps; 0 where
      each response throws coins of its own.
    slip: probability that the writer writes any symbol at all.
    pool: share of the problems that are ever drawn.
    catch, alarm: that it writes a step again that is wrong, that is right.
  """

  easy: tuple[float, float] = (0.4, 0.9)
  hard: tuple[float, float] = (0.4, 0.9)
  easy_share: float = 0.0
  hard_steps: float = 0.5
  luck: float = 0.0
  answers: int = 8
  fixed_luck: float = 0.0
  slip: float = 0.02
  pool: float = 1.0
  catch: float = 0.4
  alarm: float = 0.1


class Facts(NamedTuple):
  """right, misconception: int32 [symbols, operators]; q: float32, of right."""

  right: Array
  misconception: Array
  q: Array


class Problems(NamedTuple):
  """n problems, or a field of each.

  Attributes:
    start: int32 [n], the first symbol.
    operators: int32 [n, L].
    answer: int32 [n], the last symbol of the right chain.
    embedding: float32 [n, embedding], random: a policy may know it by heart.
    coin: float32 [n, L] in [0, 1); below `luck` a wrong step does no harm.
    is_easy: bool [n].
  """

  start: Array
  operators: Array
  answer: Array
  embedding: Array
  coin: Array
  is_easy: Array


class Setting(NamedTuple):
  """What runs of a seed share: facts, problems to learn from, and others."""

  facts: Facts
  train: Problems
  held_out: Problems


def make(world: World, nature: Nature, seed: int) -> Setting:
  """The setting of a seed, whatever the arm; its facts hang on q alone."""
  facts = _facts(world, nature, np.random.default_rng([1, seed]))
  rng = np.random.default_rng([2, seed])
  return Setting(
    facts,
    _problems(world, nature, facts, rng, world.problems),
    # Half of these are easy, where any are: both kinds count alike.
    _problems(
      world,
      nature._replace(easy_share=0.5 if nature.easy_share else 0.0),
      facts,
      rng,
      world.held_out,
    ),
  )


def _facts(world, nature, rng):
  """A table in which each operator permutes the symbols."""
  S, size = world.symbols, world.operators
  right = np.stack([rng.permutation(S) for _ in range(size)], 1)
  misconception = (right + rng.integers(1, S, (S, size))) % S
  is_hard = np.arange(size) >= size - size // 2
  low, high = np.where(is_hard[:, None], nature.hard, nature.easy).T
  q = low + (high - low) * rng.random((S, size))
  return Facts(
    right.astype(np.int32), misconception.astype(np.int32), q.astype(np.float32)
  )


def _problems(world, nature, facts, rng, n):
  S, size, shape = world.symbols, world.operators, (n, world.steps)
  is_easy = rng.random(n) < nature.easy_share
  is_hard = rng.random(shape) < nature.hard_steps
  is_hard[np.arange(n), rng.integers(world.steps, size=n)] = True
  is_hard &= ~is_easy[:, None]
  first_hard = size - size // 2
  operators = np.where(
    is_hard,
    rng.integers(first_hard, size, shape),
    rng.integers(0, first_hard, shape),
  )
  start = rng.integers(S, size=n)
  answer = start
  for t in range(world.steps):
    answer = facts.right[answer, operators[:, t]]
  return Problems(
    start.astype(np.int32),
    operators.astype(np.int32),
    answer.astype(np.int32),
    as_embedding(rng.random((n, world.embedding), np.float32)),
    rng.random(shape, np.float32),
    is_easy,
  )


def as_embedding(draws: Array) -> Array:
  """Of mean 0 and variance 1, from numbers uniform in [0, 1)."""
  return (draws - 0.5) * 12**0.5


def is_right(
  world: World, nature: Nature, symbol: Array, answer: Array
) -> Array:
  """Whether a last symbol is in the class of the answer."""
  S, classes = world.symbols, nature.answers
  return symbol * classes // S == answer * classes // S
