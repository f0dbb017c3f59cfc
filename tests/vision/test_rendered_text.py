"""A text and its picture ask the same, and have one answer and one side."""

import contextlib
import io

import numpy as np
import pytest

from k15.data_types import Problem
from k15.vision import drawn
from k15.vision import rendered_text


def draw(domain, level, count=30, held_out=False):
  rng = np.random.default_rng(level)
  return [
    rendered_text.draw(domain, level, held_out, rng) for _ in range(count)
  ]


def test_a_problem_keeps_its_answer_and_its_name():
  text = Problem('t1', '17 + 5', '22', 'add', 0.5, 'sums')
  rng = np.random.default_rng(0)
  found = rendered_text.as_picture(text, 1, rng, ['7+5=12'])
  problem = found.problem
  assert (problem.id, problem.prompt) == ('image:t1', 'solve the picture')
  assert (problem.answer, problem.domain) == ('22', 'image add')
  assert (problem.difficulty, problem.discipline) == (0.5, 'sums')
  (image,) = problem.images
  assert found.pictures[0].shape == (image.height, image.width, 3)
  assert (found.seen, found.work) == ('17 + 5', ('7+5=12',))


@pytest.mark.parametrize('level', range(3))
def test_programs_print_what_is_said(level):
  # Programs of this project, not of a model.
  for pair in draw('code', level):
    program, _, question = pair.text.prompt.rpartition('\n')
    assert question == pair.picture.problem.prompt == 'what is printed'
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
      exec(program, {})
    assert out.getvalue().strip() == pair.text.answer
    assert pair.picture.problem.answer == pair.text.answer
    assert pair.picture.seen.replace(' / ', '\n') == program
    assert pair.picture.work[-1].split('=')[-1] == pair.text.answer
    assert pair.text.domain == 'printed'


@pytest.mark.parametrize('level', range(3))
def test_columns_add_up(level):
  for pair in draw('table', level):
    *rows, question = pair.text.prompt.split('\n')
    assert question == 'sum of the column' and len(rows) == level + 2
    numbers = [int(row.split()[1]) for row in rows]
    assert pair.text.answer == str(sum(numbers))
    assert len(pair.picture.work) == level + 1


def test_the_side_of_a_picture_is_that_of_its_text():
  for domain in ('code', 'table'):
    for side in (False, True):
      for pair in draw(domain, 1, 10, side):
        assert drawn.is_held_out(pair.text.prompt) == side
        assert pair.picture.problem.id == f'image:{pair.text.id}'
