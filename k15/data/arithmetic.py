"""Exact reasoning over integers: an endless family of generated problems.

Two sorts of problem.  Procedures (add, subtract, multiply, divide) are solved
by a chain of small steps that never fails.  Searches (signs, pay, remainder)
are solved by guessing, checking and going on until the check holds, so that
more thinking helps.  Every problem has one right answer, known by construction,
and a difficulty in [0, 1] that scales digits, operands or depth of the search.

`k15.data.arithmetic_traces` writes the worked solutions.
"""

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from k15 import streams
from k15.data_types import Problem

KINDS = ('add', 'subtract', 'multiply', 'divide', 'signs', 'pay', 'remainder')
LEVELS = 3

# One problem in 16, chosen by the hash of its text, is never trained on.
_HELD_OUT_SHARE = 16


def make_problem(kind: str, level: int, rng: np.random.Generator) -> Problem:
  """Draws a problem of a kind; level in [0, LEVELS) sets its difficulty."""
  if kind not in KINDS:
    raise ValueError(f'unknown kind {kind!r}, known are {", ".join(KINDS)}')
  if not 0 <= level < LEVELS:
    raise ValueError(f'level {level} is not in [0, {LEVELS})')
  prompt, answer = _MAKERS[kind](level, rng)
  return Problem(
    id=prompt,
    prompt=prompt,
    answer=answer,
    domain=kind,
    difficulty=level / (LEVELS - 1),
  )


def is_held_out(problem: Problem) -> bool:
  """Whether the problem belongs to the held-out side of the family."""
  digest = hashlib.sha256(problem.prompt.encode()).digest()
  return digest[0] % _HELD_OUT_SHARE == 0


def levels_of(min_difficulty: float, max_difficulty: float) -> list[int]:
  """Levels whose difficulty is in a range of [0, 1], both ends included.

  Raises:
    ValueError: there is none.
  """
  levels = [
    level
    for level in range(LEVELS)
    if min_difficulty <= level / (LEVELS - 1) <= max_difficulty
  ]
  if not levels:
    raise ValueError(
      f'no level has a difficulty in [{min_difficulty}, {max_difficulty}]'
    )
  return levels


def stream(
  kinds: Sequence[str],
  min_difficulty: float,
  max_difficulty: float,
  rng: np.random.Generator,
  held_out: bool = False,
) -> Iterator[Problem]:
  """Problems without end; kinds and levels take turns.

  Held-out and training problems never meet, whatever the seeds.

  Args:
    kinds: which of KINDS.
    min_difficulty: [0, 1], inclusive.
    max_difficulty: [0, 1], inclusive.
    rng: of the draws.
    held_out: which side of the family.

  Raises:
    ValueError: no level lies in the range.
  """
  levels = levels_of(min_difficulty, max_difficulty)
  for level, kind in itertools.cycle(itertools.product(levels, kinds)):
    problem = make_problem(kind, level, rng)
    if is_held_out(problem) == held_out:
      yield problem


def make_problems(
  count: int,
  kinds: Sequence[str],
  min_difficulty: float,
  max_difficulty: float,
  held_out: bool,
  seed: int,
) -> list[Problem]:
  """The first `count` distinct problems of a stream; arguments as there.

  Raises:
    ValueError: no level lies in the range, or the family has too few problems.
  """
  side = 'held-out problems' if held_out else 'training problems'
  rng = streams.rng(seed, side)
  problems = {}
  draws = stream(kinds, min_difficulty, max_difficulty, rng, held_out)
  for problem in itertools.islice(draws, 100 * count + 1000):
    problems.setdefault(problem.id, problem)
    if len(problems) == count:
      return list(problems.values())
  raise ValueError(f'found only {len(problems)} of {count} distinct problems')


def digits_of(number: int, width: int = 1) -> str:
  """Digits apart, as problems and answers of the procedures write numbers.

  Each digit is then a token of its own, while numbers below 100 inside a step
  are one token each.  Zeros in front fill up to `width` digits.
  """
  return ' '.join(str(number).zfill(width))


def signs_expression(start: int, terms: list[int], signs: list[int]) -> str:
  """Writes e.g. 40-7+3, the form an answer to a `signs` problem takes."""
  return str(start) + ''.join(
    f'{"+" if s > 0 else "-"}{t}' for s, t in zip(signs, terms, strict=True)
  )


def _number(digits: int, rng: np.random.Generator) -> int:
  return int(rng.integers(10 ** (digits - 1), 10**digits))


def _add(level, rng):
  a, b = (_number(int(rng.integers(2, level + 3)), rng) for _ in range(2))
  width = len(str(max(a, b)))
  prompt = f'{digits_of(a, width)} + {digits_of(b, width)}'
  return prompt, digits_of(a + b)


def _subtract(level, rng):
  a, b = (_number(int(rng.integers(2, level + 3)), rng) for _ in range(2))
  a, b = max(a, b), min(a, b)
  prompt = f'{digits_of(a)} - {digits_of(b, len(str(a)))}'
  return prompt, digits_of(a - b)


def _multiply(level, rng):
  a, b = _number(level + 2, rng), int(rng.integers(2, 10))
  return f'{digits_of(a)} * {b}', digits_of(a * b)


def _divide(level, rng):
  quotient, divisor = _number(level + 2, rng), int(rng.integers(2, 10))
  return f'{digits_of(quotient * divisor)} / {divisor}', digits_of(quotient)


def _signs(level, rng):
  """Signs between given numbers that reach a target, in exactly one way."""
  while True:
    terms = [int(t) for t in rng.integers(1, 10, size=level + 2)]
    start = int(rng.integers(sum(terms), 60))
    reached = [
      start + sum(s * t for s, t in zip(signs, terms, strict=True))
      for signs in sign_choices(len(terms))
    ]
    i = int(rng.integers(len(reached)))
    if reached.count(reached[i]) == 1:
      break
  prompt = f'make {reached[i]} from {start} {" ".join(map(str, terms))}'
  return prompt, signs_expression(start, terms, sign_choices(len(terms))[i])


def sign_choices(count: int) -> list[tuple[int, ...]]:
  """All ways to choose `count` signs, minus before plus."""
  return list(itertools.product((-1, 1), repeat=count))


def _pay(level, rng):
  """How often each of two numbers must be taken to reach a sum: one way."""
  most = (4, 7, 10)[level]
  while True:
    a, b = (int(n) for n in rng.choice(np.arange(2, 10), 2, replace=False))
    total = int(rng.integers(b, 100))
    ways = [n for n in range(total // a + 1) if (total - a * n) % b == 0]
    if len(ways) == 1 and ways[0] < most:
      break
  n = ways[0]
  return f'pay {total} with {a} {b}', f'{n} {(total - a * n) // b}'


def _remainder(level, rng):
  """The number below a * b with two given remainders."""
  while True:
    a, b = (int(n) for n in rng.integers(3, 6 + 2 * level, size=2))
    if math.gcd(a, b) == 1 and a * b < 100:
      break
  x = int(rng.integers(a * b))
  return f'find x: x/{a} r{x % a}, x/{b} r{x % b}', str(x)


_MAKERS = {
  'add': _add,
  'subtract': _subtract,
  'multiply': _multiply,
  'divide': _divide,
  'signs': _signs,
  'pay': _pay,
  'remainder': _remainder,
}
