"""Text as a picture: the same problem, to be read before it is solved.

Kimi k1.5, section 2.3.5: "text documents, code snippets, and structured data"
become images, so that a model "provides consistent responses regardless of
whether the input is pure text or text rendered as images".  The picture of a
problem is on the side, held out or not, on which its text is.

Levels 0 to 2 are `rendering.STYLES`: clean; other fonts and places; turned,
noisy and pale.  Besides any text problem there are small programs, whose output
is asked for, and tables, whose column is added up.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from k15.data_types import Problem
from k15.vision import drawn
from k15.vision import references
from k15.vision import rendering
from k15.vision.drawn import Drawn

PREFIX = 'image:'  # before the id of the text problem
_DOMAIN = 'image '  # before its domain
QUESTION = 'solve the picture'
SOURCE = 'rendered text, level '  # of its pictures, before the level
_NAMES = ('fig', 'pear', 'plum', 'kiwi', 'lime', 'nut', 'date', 'pea')
_CODE_WIDTH = 96  # pixels: a line of code is never broken


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
  """A problem as text, and as a picture of it: the answers should agree."""

  text: Problem
  picture: Drawn


def as_picture(
  problem: Problem,
  level: int,
  rng: np.random.Generator,
  work: Sequence[str] = (),
  shown: str = '',
  question: str = QUESTION,
) -> Drawn:
  """A text problem as a picture.

  Args:
    level: of the style, 0 to 2; the difficulty stays that of the text.
    rng: of the style's accidents.
    work: lines of a solution, but for the answer.
    shown: the part of the prompt that is drawn; '': all of it.
    question: what stands beside the picture.
  """
  text = shown or problem.prompt
  longest = _CODE_WIDTH if '\n' in text else rendering.TEXT_WIDTH
  style = rendering.STYLES[level]
  pixels = rendering.text_picture(text, style, rng, longest)
  image = references.of_pixels(pixels, f'{SOURCE}{level}')
  seen = dataclasses.replace(
    problem,
    id=PREFIX + problem.id,
    prompt=question,
    domain=_DOMAIN + problem.domain,
    images=(image,),
  )
  return Drawn(seen, (pixels,), text.replace('\n', ' / '), tuple(work))


def text_of(problem: Problem) -> Problem:
  """The text problem that a picture shows, of a family whose ids are texts."""
  text = problem.id.removeprefix(PREFIX)
  domain = problem.domain.removeprefix(_DOMAIN)
  return dataclasses.replace(
    problem, id=text, prompt=text, domain=domain, images=()
  )


def is_rendered(problem: Problem) -> bool:
  """Whether it is a picture of a text problem."""
  return problem.id.startswith(PREFIX)


def draw(
  domain: str, level: int, held_out: bool, rng: np.random.Generator
) -> Pair:
  """Draws a small text of one side, and its picture.

  Args:
    domain: 'code' or 'table'.
    level: 0 to 2, of the text and of how it looks.
    held_out: the side, by the hash of the text.
  """
  make, question = {
    'code': (_program, 'what is printed'),
    'table': (_table, 'sum of the column'),
  }[domain]
  while True:
    shown, answer, work = make(level, rng)
    prompt = f'{shown}\n{question}'
    if drawn.is_held_out(prompt) == held_out:
      break
  difficulty = level / (drawn.LEVELS - 1)
  # Its own name: programs that are written have the domain 'code'.
  domain = {'code': 'printed', 'table': 'table'}[domain]
  text = Problem(prompt, prompt, answer, domain, difficulty)
  picture = as_picture(text, level, rng, work, shown, question)
  return Pair(text, picture)


def _program(level, rng):
  """A program of four lines at most, its output, and how it comes about."""
  a, b = (int(n) for n in rng.integers(11, 40, 2))
  if level == 0:
    lines, steps = [f's = {a}', f's = s + {b}'], [f's={a}+{b}={a + b}']
    value = a + b
  elif level == 1:
    value = abs(a - b)
    high, low = ('s', 't') if a >= b else ('t', 's')
    lines = [f's = {a}', f't = {b}', f's = {high} - {low}']
    steps = [f's={max(a, b)}-{min(a, b)}={value}']
  elif rng.integers(2):
    bound, less = int(rng.integers(15, 36)), int(rng.integers(2, 10))
    value = a - less if a > bound else a
    lines = [f's = {a}', f'if s > {bound}:', f' s = s - {less}']
    steps = [f'{a}>{bound} s={a}-{less}={value}' if a > bound else f's={a}']
  else:
    c, d = (int(n) for n in rng.integers(2, 10, 2))
    value = a + c + d
    lines = [f's = {a}', f'for i in {c},{d}:', ' s = s + i']
    steps = [f's={a}+{c}={a + c}', f's={a + c}+{d}={value}']
  return '\n'.join([*lines, 'print(s)']), str(value), steps


def _table(level, rng):
  """Rows of a name and a number, their sum, and how it comes about."""
  rows, most = level + 2, (10, 20, 30)[level]
  names = [_NAMES[i] for i in rng.permutation(len(_NAMES))[:rows]]
  numbers = [int(n) for n in rng.integers(1, most, rows)]
  width = max(map(len, names))
  text = '\n'.join(
    f'{name:{width}} {n:2}' for name, n in zip(names, numbers, strict=True)
  )
  total, steps = numbers[0], []
  for number in numbers[1:]:
    steps.append(f'{total}+{number}={total + number}')
    total += number
  return text, str(total), steps
