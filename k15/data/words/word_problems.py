"""Word problems in natural language, without end: one to four steps each.

A problem is a story of templates (`word_templates`), one after the
other, of which each computes with the value that the one before left; sentences
with numbers that do not matter may stand between.  Its answer is a whole
number, known by construction, and never a number of the statement.

Two things are kept from training, whatever the seeds: a quarter of the
templates, and one computation in eight, such as 7 * 8, by its hash.  So there
are three sides:

  training       neither
  seen_templates templates of training, at least one computation held out
  new_templates  at least one template held out, and one computation

`word_solutions` writes the worked solutions.
"""

import dataclasses
import hashlib
import itertools
import re

import numpy as np

from k15 import streams
from k15.data.words import word_stories
from k15.data.words import word_templates
from k15.data.words.word_stories import END
from k15.data.words.word_stories import GO_ON
from k15.data.words.word_stories import OPEN
from k15.data_types import Problem

TRAINING = 'training'
SEEN_TEMPLATES, NEW_TEMPLATES = 'seen_templates', 'new_templates'
SIDES = (TRAINING, SEEN_TEMPLATES, NEW_TEMPLATES)
MOST_STEPS, MOST_DISTRACTORS = 4, 2

_HELD_OUT_SHARE = 8
_LEAST, _MOST = 2, 999  # of all results
_FILLS = 40  # of a template with numbers, until its steps come out even
_STORIES = 20000  # drawn until one is of the side that is asked for
_TEMPLATES = {template.id: template for template in word_templates.TEMPLATES}


@dataclasses.dataclass(frozen=True)
class Step:
  """A computation; '%' takes left percent of right."""

  left: int
  operation: str
  right: int

  @property
  def result(self) -> int | None:
    """Whole; None where it does not come out even."""
    if self.operation == '+':
      return self.left + self.right
    if self.operation == '-':
      return self.left - self.right
    if self.operation == '*':
      return self.left * self.right
    whole, divisor = self.left, self.right
    if self.operation == '%':
      whole, divisor = self.left * self.right, 100
    result, rest = divmod(whole, divisor)
    return None if rest else result

  @property
  def is_held_out(self) -> bool:
    """Whether no training problem computes this; 7 * 8 is 8 * 7."""
    pair = [self.left, self.right]
    pair = sorted(pair) if self.operation in '+*' else pair
    digest = hashlib.sha256(f'{self.operation}{pair}'.encode()).digest()
    return digest[0] % _HELD_OUT_SHARE == 0


@dataclasses.dataclass(frozen=True)
class Story:
  """A word problem and how it is solved.

  Attributes:
    templates: ids of its templates, in order.
    text: the statement, which ends with the question.
    steps: from which the answer follows, the last result.
    why: of each step, a phrase of what it computes.
    distractors: sentences that do not matter.
  """

  templates: tuple[str, ...]
  text: str
  steps: tuple[Step, ...]
  why: tuple[str, ...]
  distractors: int

  @property
  def answer(self) -> int:
    return self.steps[-1].result

  @property
  def side(self) -> str:
    """One of SIDES; 'neither' with a new template and known computations."""
    is_new = any(_TEMPLATES[name].held_out for name in self.templates)
    has_new_numbers = any(step.is_held_out for step in self.steps)
    if is_new:
      return NEW_TEMPLATES if has_new_numbers else 'neither'
    return SEEN_TEMPLATES if has_new_numbers else TRAINING

  @property
  def problem(self) -> Problem:
    """Its domain is the world, its discipline the templates, joined by +."""
    digest = hashlib.sha256(self.text.encode()).hexdigest()
    return Problem(
      id=f'{self.side}:{digest[:16]}',
      prompt=self.text,
      answer=str(self.answer),
      domain=self.templates[0].partition('/')[0],
      difficulty=difficulty(len(self.steps), self.distractors),
      discipline='+'.join(self.templates),
    )


def difficulty(steps: int, distractors: int) -> float:
  """In [0, 1]; a distractor is half as hard as a step."""
  hardest = MOST_STEPS - 1 + MOST_DISTRACTORS / 2
  return (steps - 1 + distractors / 2) / hardest


def side_of(problem: Problem) -> str:
  """The side that a generated problem is of."""
  return problem.id.partition(':')[0]


def make_story(
  steps: int, distractors: int, side: str, rng: np.random.Generator
) -> Story:
  """Draws a story.

  Args:
    steps: computations, in [1, MOST_STEPS].
    distractors: in [0, MOST_DISTRACTORS].
    side: one of SIDES.
    rng: of the draws.

  Raises:
    ValueError: an argument is out of its range.
  """
  if side not in SIDES:
    raise ValueError(f'unknown side {side!r}, known are {", ".join(SIDES)}')
  if not 1 <= steps <= MOST_STEPS or not 0 <= distractors <= MOST_DISTRACTORS:
    raise ValueError(
      f'{steps} steps and {distractors} distractors are not in'
      f' [1, {MOST_STEPS}] and [0, {MOST_DISTRACTORS}]'
    )
  for _ in range(_STORIES):
    story = _draw(steps, distractors, side != NEW_TEMPLATES, rng)
    if story and story.side == side:
      return story
  raise ValueError(
    f'no story of {steps} steps of the side {side!r} among {_STORIES}'
  )


def make_stories(
  count: int,
  min_steps: int,
  max_steps: int,
  max_distractors: int,
  side: str,
  seed: int,
  stream: str,
) -> list[Story]:
  """Distinct stories; numbers of steps and distractors take turns.

  Story i is a function of the other arguments and i, but for stories that come
  twice, which are left out.

  Args:
    count: how many.
    min_steps, max_steps: computations, inclusive.
    max_distractors: 0 up to so many.
    side: one of SIDES.
    seed: of the run.
    stream: its name in `streams`.

  Raises:
    ValueError: an argument is out of its range.
  """
  levels = list(
    itertools.product(
      range(min_steps, max_steps + 1), range(max_distractors + 1)
    )
  )
  stories, index = {}, 0
  while len(stories) < count:
    rng = streams.rng(seed, stream, SIDES.index(side), index)
    story = make_story(*levels[index % len(levels)], side, rng)
    stories.setdefault(story.text, story)
    index += 1
  return list(stories.values())


def _draw(steps, distractors, known_only, rng):
  """A story of any side, or None where the numbers do not come out even."""
  cast = word_stories.cast(rng)
  templates = _choose(steps, cast.kinds, known_only, rng)
  if not templates:
    return None
  parts, found, why, x = [], [], [], 0
  for template in templates:
    filled = _fill(template, x, rng)
    if not filled:
      return None
    words, done = cast.words | filled[0], filled[1]
    x = done[-1].result if done else x or words['a']
    phrasing = template.says[int(rng.integers(len(template.says)))]
    parts.append(phrasing.format(**words))
    found += done
    why += [reason.format(**words) for reason in template.why]
  parts = _with_distractors(parts, distractors, cast, rng)
  text = ' '.join(parts)
  if str(x) in re.findall(r'\d+', text):
    return None
  ids = tuple(template.id for template in templates)
  return Story(ids, text, tuple(found), tuple(why), distractors)


def _choose(steps, kinds, known_only, rng):
  """Templates of one world with so many steps, or none."""

  def pick(place, most, used=()):
    found = [
      template
      for template in word_templates.TEMPLATES
      if template.place == place
      and template.only in kinds
      and len(template.steps) <= most
      and not (known_only and template.held_out)
      and (not world or template.world == world)
      and template not in used
    ]
    return found[int(rng.integers(len(found)))] if found else None

  world = ''
  first = pick(OPEN, steps)
  world = first.world
  last = pick(END, steps - len(first.steps))
  left = steps - len(first.steps) - len(last.steps) if last else -1
  middle = []
  while left > 0:
    template = pick(GO_ON, left, middle)
    if not template:
      return None
    middle.append(template)
    left -= len(template.steps)
  return (first, *middle, last) if left == 0 else None


def _fill(template, x, rng):
  """Numbers in words, and steps; None where none of the tries came out even."""
  for _ in range(_FILLS):
    numbers = {
      letter: int(rng.integers(least, most + 1))
      for letter, (least, most) in template.ranges.items()
    }
    percents = word_stories.PERCENTS
    numbers['p'] = percents[int(rng.integers(len(percents)))]
    steps = _compute(template.steps, numbers | dict(x=x))
    if steps is not None:
      return numbers | dict(other=numbers.get('c', 0) - 1), steps
  return None


def _compute(formulas, values):
  """Steps, or None where a result is not whole, too small or too large."""
  steps = []
  for formula in formulas:
    left, operation, right = formula.split()
    left, right = (
      int(operand) if operand.isdigit() else values[operand]
      for operand in (left, right)
    )
    step = Step(left, operation, right)
    if step.result is None or not _LEAST <= step.result <= _MOST:
      return None
    values['y'] = step.result
    steps.append(step)
  return steps


def _with_distractors(parts, count, cast, rng):
  """The parts with sentences that do not matter between first and last."""
  parts, rows = list(parts), word_stories.DISTRACTORS
  for i in rng.permutation(len(rows))[:count]:
    sentence, (least, most) = rows[i]
    number = int(rng.integers(least, most + 1))
    place = int(rng.integers(1, len(parts)))
    parts.insert(place, sentence.format(**cast.words, d=number))
  return parts
