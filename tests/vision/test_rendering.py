"""Text fits its picture, looks as its style says, and is the same each time."""

import numpy as np
import pytest

from k15.vision import rendering
from k15.vision.rendering import STYLES
from k15.vision.rendering import Canvas

TEXT = 'make 37 from 40 5 7 3 9'


def draw(text=TEXT, level=0, seed=0, **more):
  rng = np.random.default_rng(seed)
  return rendering.text_picture(text, STYLES[level], rng, **more)


@pytest.mark.parametrize('level', range(3))
def test_nothing_of_a_text_is_cut_off(level):
  for seed in range(20):
    pixels = draw(level=level, seed=seed)
    assert not pixels.shape[0] % 8 and not pixels.shape[1] % 8
    grey = pixels.mean(axis=2)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    # The paper is the lightest; noise is 10, and 6 of it are never met.
    assert edge.min() > np.median(grey) - (60 if level == 2 else 1)
    assert grey.min() < np.median(grey) - 60


def test_a_clean_text_is_black_on_white():
  pixels = draw()
  assert (pixels == pixels[..., :1]).all()
  assert pixels.max() == 255 and pixels.min() < 40
  # 23 letters of 6.02 pixels on two lines of 12.
  assert pixels.shape == (32, 80, 3)


def test_a_line_is_broken_at_a_space_or_not_at_all():
  font = rendering._font('DejaVuSansMono', 10)
  for text, parts in {
    TEXT: ['make 37 from', '40 5 7 3 9'],
    'short': ['short'],
    '': [''],
    'a' * 25: ['a' * 12, 'a' * 12, 'a'],
    '   indented line': ['   indented', 'line'],
  }.items():
    assert rendering._wrapped(text, font, 72) == parts
  assert rendering._wrapped('wide', font, 1) == ['w', 'i', 'd', 'e']


def test_draws_are_reproducible_and_differ():
  for level in (1, 2):
    assert (draw(level=level) == draw(level=level)).all()
    others = [draw(level=level, seed=seed).tobytes() for seed in range(9)]
    assert len(set(others)) > 7
  assert (draw(seed=1) == draw(seed=2)).all()


def test_what_a_bad_photograph_does():
  pixels = np.stack([draw('', 2, seed) for seed in range(30)]).astype(float)
  # Paper of 205 to 255 with noise of 10, cut at 255.
  assert 190 < pixels.mean() < 255
  assert 5 < pixels.std(axis=(1, 2)).mean() < 11


def test_edges_are_where_they_should_be():
  canvas = Canvas(8, 8)
  canvas.rectangle(2, 1, 6, 4.5, 'black')
  grey = canvas.pixels()[..., 0]
  assert (grey[1:4, 2:6] == 0).all() and (grey[:, :2] == 255).all()
  # The fifth row is half covered.
  assert (abs(grey[4, 2:6].astype(int) - 127) <= 1).all()
  assert (grey[5:] == 255).all() and (grey[:, 6:] == 255).all()


def test_arrows_point_where_they_say():
  for turns, name in enumerate(rendering.DIRECTIONS):
    canvas = Canvas(16, 16)
    canvas.arrow(name, 'black', 8, 8, 14)
    ink = 255.0 - canvas.pixels()[..., 0]
    upwards = np.rot90(ink, turns)
    # The tip is thinner than the end of the shaft, 3.9 pixels.
    assert 0 < upwards[1:3].sum() < upwards[12:14].sum() / 1.5
    assert upwards[4:7].sum() > 1.5 * upwards[9:12].sum()


def test_shapes_differ():
  shapes = set()
  for name in rendering.SHAPES:
    canvas = Canvas(16, 16)
    canvas.shape(name, 'red', 8, 8, 12)
    shapes.add(canvas.pixels().tobytes())
  assert len(shapes) == len(rendering.SHAPES)
  with pytest.raises(ValueError, match="unknown shape 'blob'"):
    Canvas(8, 8).shape('blob', 'red', 4, 4, 4)
