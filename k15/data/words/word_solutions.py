"""Worked solutions of word problems, in a few plain styles.

Each says what a step computes, then its equation, and ends on the answer in a
box, which the reward `math_answers` reads.  A share of them may give the answer
alone: right here, as the writer knows it, and mostly a guess of whoever learns
to write so.
"""

import numpy as np

from k15.data.words.word_problems import Step
from k15.data.words.word_problems import Story


def write_solution(
  story: Story, guess_rate: float, rng: np.random.Generator
) -> str:
  """Writes a response.

  Args:
    story: to be solved.
    guess_rate: [0, 1], how often nothing but the answer is said.
    rng: of the style.
  """
  if rng.random() < guess_rate:
    return f'The answer is {_box(story)}.'
  style = _STYLES[int(rng.integers(len(_STYLES)))]
  steps = [
    f'{why}: {equation(step)}'
    for why, step in zip(story.why, story.steps, strict=True)
  ]
  return style(steps, _box(story))


def equation(step: Step) -> str:
  """'3 * 12 = 36', or '25% of 80 = 20'."""
  sign = '% of' if step.operation == '%' else f' {step.operation}'
  return f'{step.left}{sign} {step.right} = {step.result}'


def _box(story):
  return f'\\boxed{{{story.answer}}}'


def _lines(steps, box):
  lines = [f'{step[0].upper()}{step[1:]}.' for step in steps]
  return '\n'.join([*lines, f'The answer is {box}.'])


def _words(steps, box):
  first, *others = steps
  sentences = [f'First, {first}.', *(f'Then, {step}.' for step in others)]
  return ' '.join([*sentences, f'So the answer is {box}.'])


def _numbered(steps, box):
  lines = [f'{i}. {step}' for i, step in enumerate(steps, start=1)]
  return '\n'.join([*lines, f'Answer: {box}'])


_STYLES = (_lines, _words, _numbered)
