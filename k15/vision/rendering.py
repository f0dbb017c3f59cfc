"""Drawing with Pillow: shapes, arrows and text, the same pixels each time.

The fonts are those that matplotlib brings, never the machine's, and Pillow
brings its own FreeType: of one version of both, pixels are equal everywhere.
Of another they may differ, which is why pixels are kept and not drawn anew.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Sequence

import matplotlib
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

COLOURS = {
  'red': (214, 39, 40),
  'green': (44, 160, 44),
  'blue': (31, 90, 220),
  'orange': (255, 127, 14),
  'purple': (148, 60, 189),
  'black': (0, 0, 0),
}
SHAPES = (
  'circle', 'square', 'triangle', 'cross', 'diamond', 'ring', 'star',
)  # fmt: skip
# Steps of rows and columns; each is a turn to the right from the one before.
DIRECTIONS = {'up': (-1, 0), 'right': (0, 1), 'down': (1, 0), 'left': (0, -1)}
_FONT = 'DejaVuSansMono'
_SCALE = 4  # Drawn so much larger, and averaged: smooth edges.
_PATCH = 8  # Sides of text pictures are multiples of it.
_MARGIN = 2  # pixels around text, at least
TEXT_WIDTH = 72  # pixels of a line: 12 letters of 10 pixels


class Canvas:
  """White paper of so many pixels; positions are (x, y) from its top left."""

  def __init__(self, height: int, width: int):
    size = width * _SCALE, height * _SCALE
    self._image = PIL.Image.new('RGB', size, 'white')
    self._draw = PIL.ImageDraw.Draw(self._image)

  def pixels(self) -> np.ndarray:
    """uint8 [H, W, 3]."""
    small = self._image.reduce(_SCALE)
    return np.array(small)

  def shape(
    self, name: str, colour: str, x: float, y: float, size: float
  ) -> None:
    """One of SHAPES around a centre, `size` pixels wide and high."""
    r, fill = size / 2, COLOURS[colour]
    box = _scaled([(x - r, y - r), (x + r, y + r)])
    if name == 'circle':
      self._draw.ellipse(box, fill=fill)
    elif name == 'ring':
      width = int(size * _SCALE / 5)
      self._draw.ellipse(box, outline=fill, width=width)
    elif name == 'cross':
      for dx, dy in ((1, 0.3), (0.3, 1)):
        self.rectangle(x - r * dx, y - r * dy, x + r * dx, y + r * dy, colour)
    else:
      corners = [(x + r * u, y + r * v) for u, v in _corners(name)]
      self._draw.polygon(_scaled(corners), fill=fill)

  def arrow(
    self, direction: str, colour: str, x: float, y: float, size: float
  ) -> None:
    """An arrow around a centre, `size` pixels long."""
    down, right = DIRECTIONS[direction]
    r = size / 2
    outline = (
      (-1, -0.28), (0, -0.28), (0, -0.85), (1, 0),
      (0, 0.85), (0, 0.28), (-1, 0.28),
    )  # fmt: skip
    corners = [
      (x + r * (u * right - v * down), y + r * (u * down + v * right))
      for u, v in outline
    ]
    self._draw.polygon(_scaled(corners), fill=COLOURS[colour])

  def rectangle(
    self, left: float, top: float, right: float, bottom: float, colour: str
  ) -> None:
    """Filled, up to and without its right and bottom edge."""
    (x0, y0), (x1, y1) = _scaled([(left, top), (right, bottom)])
    box = x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)
    self._draw.rectangle(box, fill=COLOURS[colour])

  def line(
    self,
    points: Sequence[tuple[float, float]],
    width: float,
    colour: tuple[int, int, int] = (0, 0, 0),
  ) -> None:
    """Through the points, so many pixels wide."""
    self._draw.line(_scaled(points), fill=colour, width=int(width * _SCALE))

  def text(
    self, text: str, x: float, y: float, size: float, colour: str = 'black'
  ) -> None:
    """Around a centre, letters of so many pixels."""
    ((x, y),) = _scaled([(x, y)])
    self._draw.text(
      (x, y), text, COLOURS[colour], _font(_FONT, size * _SCALE), 'mm'
    )


def _scaled(points):
  return [(round(x * _SCALE), round(y * _SCALE)) for x, y in points]


@functools.cache
def _corners(name):
  """Of a shape that is a polygon, within [-1, 1]."""
  if name == 'square':
    return (-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)
  if name == 'triangle':
    return (0, -1), (1, 0.9), (-1, 0.9)
  if name == 'diamond':
    return (0, -1), (0.8, 0), (0, 1), (-0.8, 0)
  if name == 'star':
    turns = [(i * math.pi / 5, 1 if i % 2 == 0 else 0.42) for i in range(10)]
    return tuple((r * math.sin(t), -r * math.cos(t)) for t, r in turns)
  raise ValueError(f'unknown shape {name!r}, known are {SHAPES}')


@functools.lru_cache(64)
def _font(name, size):
  path = pathlib.Path(matplotlib.get_data_path(), 'fonts', 'ttf', f'{name}.ttf')
  # The basic layout is Pillow's own; another library may be there or not.
  layout = PIL.ImageFont.Layout.BASIC
  return PIL.ImageFont.truetype(str(path), size, layout_engine=layout)


@dataclasses.dataclass(frozen=True)
class Style:
  """How text may look, as k1.5 augments its OCR data (appendix B); numbers NP.

  Attributes:
    fonts: some of matplotlib's.
    sizes: of letters, pixels; the smallest and the largest.
    jitter: pixels that all of it may be off.
    degrees: that it may be turned, to either side.
    noise: standard deviation of grey levels.
    contrast: of ink on paper, at least; 1 is black on white.
  """

  fonts: tuple[str, ...] = (_FONT,)
  sizes: tuple[int, int] = (10, 10)
  jitter: int = 0
  degrees: float = 0.0
  noise: float = 0.0
  contrast: float = 1.0


_FONTS = (
  _FONT, 'DejaVuSans', 'DejaVuSerif', 'DejaVuSansMono-Bold', 'DejaVuSans-Bold',
)  # fmt: skip
# Clean; other fonts and places; as a bad photograph of it.  Letters are small:
# the longest text takes 70 patches of 8 x 8, most take 20 to 50.
STYLES = (
  Style(),
  Style(_FONTS, (8, 10), jitter=1),
  Style(_FONTS, (9, 9), jitter=1, degrees=5.0, noise=10.0, contrast=0.6),
)


def text_picture(
  text: str,
  style: Style,
  rng: np.random.Generator,
  longest: int = TEXT_WIDTH,
) -> np.ndarray:
  """Text as a picture, uint8 [H, W, 3], sides multiples of 8.

  Lines end where the text has line breaks, and before they are longer than
  `longest` pixels.
  """
  name = style.fonts[int(rng.integers(len(style.fonts)))]
  size = int(rng.integers(style.sizes[0], style.sizes[1] + 1))
  shift = rng.integers(-style.jitter, style.jitter + 1, 2)
  degrees = rng.uniform(-style.degrees, style.degrees)
  contrast = rng.uniform(style.contrast, 1.0)
  font = _font(name, size)
  lines = [
    part for line in text.split('\n') for part in _wrapped(line, font, longest)
  ]
  width = math.ceil(max(font.getlength(line) for line in lines))
  height = (size + 2) * len(lines)
  sine = math.sin(math.radians(style.degrees))
  sides = [
    _in_patches(a + b * sine + 2 * _MARGIN)
    for a, b in ((width, height), (height, width))
  ]
  image = PIL.Image.new('L', sides, 0)
  draw = PIL.ImageDraw.Draw(image)
  left, top = (
    (side - inside) / 2 + float(off)
    for side, inside, off in zip(sides, (width, height), shift, strict=True)
  )
  for i, line in enumerate(lines):
    place = round(left), round(top) + (size + 2) * i
    draw.text(place, line, 255, font, 'la')
  if degrees:
    image = image.rotate(degrees, PIL.Image.Resampling.BICUBIC)
  return _inked(np.asarray(image) / 255, contrast, style, rng)


def _in_patches(length):
  return math.ceil(length / _PATCH) * _PATCH


def _wrapped(line, font, longest):
  """Parts of a line that are not too long; spaces go where it is broken."""
  parts = []
  while font.getlength(line) > longest and len(line) > 1:
    fits = next(
      n for n in range(len(line) - 1, 0, -1)
      if n == 1 or font.getlength(line[:n]) <= longest
    )  # fmt: skip
    space = line.rfind(' ', 0, fits + 1)
    # An indentation is no place for a break.
    end = space if line[:space].strip() and space > 0 else fits
    parts.append(line[:end])
    line = line[end:].lstrip(' ')
  return [*parts, line]


def _inked(ink, contrast, style, rng):
  """uint8 [H, W, 3] of ink in [0, 1]: coloured where the style is not clean."""
  paper, dark = np.full(3, 255.0), np.zeros(3)
  if style.contrast < 1:
    paper, dark = rng.uniform(205, 255, 3), rng.uniform(0, 60, 3)
  dark = paper + (dark - paper) * contrast
  pixels = paper + ink[..., None] * (dark - paper)
  if style.noise:
    pixels = pixels + rng.normal(0, style.noise, pixels.shape)
  return np.clip(np.round(pixels), 0, 255).astype(np.uint8)
