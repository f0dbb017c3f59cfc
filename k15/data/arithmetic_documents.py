"""Documents without end from the family of `arithmetic`: no download, no limit.

Five sorts of document for pretraining and cooldown, each a domain of its own:

  equations   problems and their answers, a line each
  prose       facts of small numbers, in sentences
  tables      sums and products of a number, a line each
  notes       lines of those sorts, and a note that comes again and again, as
              `needles` asks for it: what is said has to be remembered
  qa          a problem and a worked solution that was verified: the synthetic
              questions and answers of 2.5.1, made by rejection sampling

For long context there are notes of many lines.  No held-out problem is in any
of them.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from k15.data import arithmetic
from k15.data import arithmetic_traces
from k15.data import needles
from k15.data.documents import Document
from k15.data_types import Problem
from k15.rewards import rules

DOMAINS = ('equations', 'prose', 'tables', 'notes')
VERIFIED = 'qa'
LONG = 'notes'
_NOTE_LINES = 6, 10  # of a short document with a note
# Of a note in a document, however long: what comes back soon needs no memory.
_MENTIONS = 4
_TRIES = 4  # solutions of a problem that are written at most


@dataclasses.dataclass
class Counts:
  """Of rejection sampling: problems, solutions written, and those kept."""

  problems: int = 0
  written: int = 0
  kept: int = 0


def stream(
  problems: Iterator[Problem], rng: np.random.Generator
) -> Iterator[Document]:
  """Documents without end, the domains taking turns.

  Args:
    problems: without end, none of them held out.
    rng: of the other draws.
  """
  for domain in itertools.cycle(DOMAINS):
    yield Document(_MAKERS[domain](problems, rng), domain)


def verified(
  problems: Iterator[Problem],
  habits: arithmetic_traces.Habits,
  suffix: str,
  marker: str,
  rng: np.random.Generator,
  counts: Counts,
) -> Iterator[Document]:
  """Questions with worked solutions of a writer that errs; the right ones.

  Of a problem solutions are written until one is right by the exact answer,
  four at most.

  Args:
    problems: without end.
    habits: of the writer: how often it guesses, gives up, slips.
    suffix: between question and solution, as between prompt and response.
    marker: of the final answer.
    rng: of the writer's draws.
    counts: is told of each problem.
  """
  for problem in problems:
    counts.problems += 1
    for _ in range(_TRIES):
      trace = arithmetic_traces.write_trace(problem, habits, rng)
      counts.written += 1
      if rules.is_correct(trace, problem.answer, marker):
        counts.kept += 1
        yield Document(problem.prompt + suffix + trace, VERIFIED)
        break


def long(
  problems: Iterator[Problem], lines: int, rng: np.random.Generator
) -> Iterator[Document]:
  """Documents of so many lines, four of them one note."""
  while True:
    yield Document(_notes_among(lines, problems, rng), LONG, is_long=True)


def _joined(line: Callable[..., str], least: int, most: int):
  """What makes documents of between so many lines."""

  def make(problems, rng):
    count = int(rng.integers(least, most + 1))
    return '\n'.join(line(problems, rng) for _ in range(count))

  return make


def _notes(problems, rng):
  return _notes_among(int(rng.integers(*_NOTE_LINES)), problems, rng)


def _notes_among(lines, problems, rng):
  note = needles.note(
    str(rng.choice([*needles.NAMES])), int(rng.integers(needles.MOST))
  )
  others = [*_LINES.values()]
  draws = rng.integers(len(others), size=lines)
  found = [others[draw](problems, rng) for draw in draws]
  for place in rng.choice(lines, min(_MENTIONS, lines), replace=False):
    found[place] = note
  return '\n'.join(found)


def _equation(problems, rng):
  del rng
  problem = next(problems)
  return f'{problem.prompt} = {problem.answer}'


def _fact(problems, rng):
  """A sentence of two numbers below 10."""
  del problems
  a, b = (int(n) for n in rng.integers(0, 10, 2))
  kind = int(rng.integers(4))
  if kind == 0:
    return f'{a} and {b} is {a + b}.'
  if kind == 1:
    return f'{a} times {b} is {a * b}.'
  if kind == 2:
    return f'{max(a, b)} less {min(a, b)} is {abs(a - b)}.'
  number = 10 * a + b
  return f'{number} is {"odd" if b % 2 else "even"}, and {number + 1} follows.'


def _table_line(problems, rng):
  del problems
  a, b = (int(n) for n in rng.integers(1, 10, 2))
  return f'{a} {b} {a + b} {a * b}'


def _table(problems, rng):
  del problems
  number = int(rng.integers(1, 10))
  first, count = int(rng.integers(0, 6)), int(rng.integers(4, 7))
  rows = (f'{n} {n + number} {n * number}' for n in range(first, first + count))
  return '\n'.join([f'table {number}', *rows])


_LINES = {'equations': _equation, 'prose': _fact, 'tables': _table_line}
_MAKERS = {
  'equations': _joined(_equation, 2, 4),
  'prose': _joined(_fact, 3, 7),
  'tables': _table,
  'notes': _notes,
}


def problems_of(
  kinds: tuple[str, ...],
  min_difficulty: float,
  max_difficulty: float,
  rng: np.random.Generator,
) -> Iterator[Problem]:
  """The problems that documents are made of: of the training side alone."""
  return arithmetic.stream(kinds, min_difficulty, max_difficulty, rng)
