"""The pictures of `scenes`: what stands where becomes pixels.

Cells have 16 pixels, two patches of 8, and a picture 64 x 64 at most.
"""

from typing import Any

import numpy as np

from k15.vision import rendering
from k15.vision.rendering import Canvas

LABELS = 'abcdefg'  # of bars, and of columns
_CELL = 16
_GREY = (200, 200, 200)
_SMALL = 8  # pixels of labels, and of the strip that they stand in
_HIGH = 48  # pixels from the foot of a chart to the top of its axis


def grid(things: Any) -> np.ndarray:
  """things: (side, cells), a cell is (colour, shape) or None."""
  side, cells = things
  canvas = Canvas(side * _CELL, side * _CELL)
  for i, cell in enumerate(cells):
    if cell:
      colour, shape = cell
      canvas.shape(shape, colour, *_centre(i, side), _CELL - 4)
  return canvas.pixels()


def _centre(i, side):
  row, column = divmod(i, side)
  return (column + 0.5) * _CELL, (row + 0.5) * _CELL


def chart(things: Any) -> np.ndarray:
  """things: (top of the axis, values)."""
  top, values = things
  canvas, foot, left = Canvas(64, 64), 64 - _SMALL, 13
  width = (64 - left) // len(values)
  for tick in range(0, top + 1, top // 5 if top > 10 else 2):
    y = foot - _HIGH * tick / top
    canvas.line([(left, y), (64, y)], 0.5, _GREY)
    canvas.text(str(tick), left / 2 - 0.5, y, 7)
  for i, value in enumerate(values):
    x = left + width * i
    height = _HIGH * value / top
    canvas.rectangle(x + 1, foot - height, x + width - 1, foot, 'blue')
    canvas.text(LABELS[i], x + width / 2, foot + _SMALL / 2, 7)
  canvas.line([(left, foot - _HIGH), (left, foot), (64, foot)], 0.5)
  return canvas.pixels()


def pattern(things: Any) -> np.ndarray:
  """things: nine cells of (colour, what is there); None is a question mark."""
  canvas = Canvas(3 * _CELL, 3 * _CELL)
  for i, cell in enumerate(things):
    x, y = _centre(i, 3)
    colour, kind = cell or ('black', '?')
    if kind in rendering.SHAPES:
      canvas.shape(kind, colour, x, y, _CELL - 4)
    elif kind in rendering.DIRECTIONS:
      canvas.arrow(kind, colour, x, y, _CELL - 4)
    else:
      canvas.text(kind, x, y, 12, colour)
  return canvas.pixels()


def interaction(things: Any) -> np.ndarray:
  """things: (side, mirrors, balls), with the names of rows and columns."""
  side, mirrors, balls = things
  cell = _CELL if side == 3 else 14
  whole = _SMALL + side * cell
  canvas = Canvas(whole, whole)
  for i in range(side + 1):
    a = min(_SMALL + i * cell, whole - 0.25)
    canvas.line([(a, _SMALL), (a, whole)], 0.5, _GREY)
    canvas.line([(_SMALL, a), (whole, a)], 0.5, _GREY)
  for i in range(side):
    middle = _SMALL + (i + 0.5) * cell
    canvas.text(LABELS[i], middle, _SMALL / 2, _SMALL)
    canvas.text(str(i + 1), _SMALL / 2, middle, _SMALL)
  r = cell / 2 - 2
  for row, column, kind in mirrors:
    x, y = (_SMALL + (i + 0.5) * cell for i in (column, row))
    rise = r if kind == '/' else -r
    canvas.line([(x - r, y + rise), (x + r, y - rise)], 1.5)
  for row, column, direction, colour in balls:
    x, y = (_SMALL + (i + 0.5) * cell for i in (column, row))
    canvas.arrow(direction, colour, x, y, cell - 3)
  return canvas.pixels()


PAINTERS = dict(
  count=grid,
  relation=grid,
  chart=chart,
  pattern=pattern,
  interaction=interaction,
)
