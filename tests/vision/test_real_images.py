"""Pictures of the world: right answers, and sides that share no pixels."""

import functools
import itertools
import re

import numpy as np
import pytest

from k15.vision import drawn
from k15.vision import real_images

LEVELS = range(drawn.LEVELS)
needs_extra = pytest.mark.skipif(
  not real_images.is_installed(),
  reason="no scikit-learn or scikit-image here: pip install 'k15[images]'",
)


def draw(domain, level, count=30, held_out=False, seed=0):
  draws = [functools.partial(real_images.draw, domain)]
  rng = np.random.default_rng([seed, level])
  return drawn.make_problems(count, draws, [level], held_out, rng)


@pytest.mark.parametrize('level', LEVELS)
def test_charts_of_prices_ask_what_scenes_ask(level):
  for held_out in (False, True):
    for each in draw('stocks', level, held_out=held_out):
      values = dict(re.findall(r'([a-g]) (\d+)', each.seen))
      assert each.problem.domain == 'stocks'
      assert max(map(int, values.values())) == (10, 20, 50)[level] - 1
      if '+' in each.problem.prompt:
        a, b = each.problem.prompt.split(' + ')
        assert each.problem.answer == str(int(values[a]) + int(values[b]))


def test_what_is_missing_is_named(monkeypatch):
  monkeypatch.setattr(real_images, 'is_installed', lambda: False)
  real_images._handwriting.cache_clear()
  with pytest.raises(ValueError, match=r"pip install 'k15\[images\]'"):
    draw('digits', 0)


@needs_extra
@pytest.mark.parametrize('level', LEVELS)
def test_numbers_are_those_of_the_labels(level):
  from sklearn import datasets

  data = datasets.load_digits()
  label_of = {
    (255 - np.round(image * (255 / 16)).astype(np.uint8)).tobytes(): (i, n)
    for i, (image, n) in enumerate(zip(data.images, data.target, strict=True))
  }
  for held_out in (False, True):
    for each in draw('digits', level, held_out=held_out):
      small = each.pictures[0][::2, ::2, 0]
      rows = [
        [label_of[c.tobytes()] for c in np.split(row, row.shape[1] // 8, 1)]
        for row in np.split(small, small.shape[0] // 8)
      ]
      assert {i >= 898 for row in rows for i, _ in row} == {held_out}
      numbers = [int(''.join(str(n) for _, n in row)) for row in rows]
      expected = (numbers[0], max(numbers), sum(numbers))[level]
      assert each.problem.answer == str(expected)


@needs_extra
@pytest.mark.parametrize('level', LEVELS)
def test_a_piece_is_where_it_is_said_to_be(level):
  sides = []
  for held_out in (False, True):
    blocks = set()
    for each in draw('photographs', level, 40, held_out):
      name, third = each.problem.answer.split()
      photo, piece = real_images._photo(name), each.pictures[0]
      views = np.lib.stride_tricks.sliding_window_view(photo, piece.shape)
      may_be = np.argwhere(
        (views[:, :, 0, 0, 0] == piece[0, 0]).all(-1)
        & (views[:, :, 0, 20, 30] == piece[20, 30]).all(-1)
      )
      ((top, left),) = (p for p in may_be if (views[(*p, 0)] == piece).all())
      share = (left + 24) / photo.shape[1]
      assert third == ('left', 'middle', 'right')[int(3 * share)]
      blocks |= set(
        itertools.product(
          [name],
          [top // 64, (top + 47) // 64],
          [left // 64, (left + 47) // 64],
        )
      )
    sides.append(blocks)
  assert not sides[0] & sides[1]


@needs_extra
@pytest.mark.parametrize('level', LEVELS)
def test_coins_are_counted(level):
  for each in draw('coins', level):
    cells = each.pictures[0].reshape(level + 2, 16, level + 2, 16, 3)
    empty = (cells == 60).all(axis=(1, 3, 4))
    assert each.problem.answer == str((~empty).sum())
    assert len(each.seen.split(' / ')) == level + 2


@needs_extra
def test_other_coins_are_held_out():
  ours, theirs = (
    {c.tobytes() for each in draw('coins', 0, 40, side)
     for row in np.split(each.pictures[0], 2)
     for c in map(np.ascontiguousarray, np.split(row, 2, axis=1))
     if (c != 60).any()}
    for side in (False, True)
  )  # fmt: skip
  assert len(ours) == 18 and len(theirs) == 6 and not ours & theirs


@needs_extra
def test_draws_are_reproducible():
  for domain in real_images.DOMAINS:
    first, again = (draw(domain, 1, 5) for _ in range(2))
    assert [d.problem for d in first] == [d.problem for d in again]
