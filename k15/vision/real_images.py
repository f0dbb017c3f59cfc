"""Problems about pictures of the world, as small packages bring them.

Kimi k1.5, section 2.3.5: real-world data of "science questions across various
grade levels that require graphical comprehension", "location guessing tasks",
and "data analysis that involves understanding complex charts".  What fits a
small machine:

  digits       numbers in 1,797 handwritten digits: read one, the larger of two,
               their sum (scikit-learn)
  photographs  from which of them, and which third of it, a piece comes: a small
               guess of locations (scikit-image and scikit-learn)
  coins        how many lie on a tray (scikit-image's photograph of 24)
  stocks       `scenes`' questions about a chart of real prices (matplotlib)

All but the last need the extra `images`.  Held out are other digits, other
pieces, other coins and other charts than those that are trained on.
"""

import csv
import functools
import hashlib
import importlib.util
import itertools
import math
import pathlib

import matplotlib
import numpy as np
import PIL.Image

from k15.config import extras
from k15.vision import drawn
from k15.vision import images
from k15.vision import scenes
from k15.vision.drawn import Drawn

_DIGITS = 1797  # of which the second half is held out, by index
_PIECE, _BLOCK, _HIGH = 48, 64, 256  # pixels: of a piece, its block, a photo
_HELD_OUT_BLOCKS = 8  # one in so many of a photograph
_LEAST_SPREAD = 15.0  # grey levels: nobody can tell one clear sky from another
# The first 4, 8, 16 by level: sights first, textures last.
PHOTOGRAPHS = {
  'china': 'sklearn/datasets/images/china.jpg',
  'flower': 'sklearn/datasets/images/flower.jpg',
  'coffee': 'skimage/data/coffee.png',
  'rocket': 'skimage/data/rocket.jpg',
  'cat': 'skimage/data/chelsea.png',
  'camera': 'skimage/data/camera.png',
  'retina': 'skimage/data/retina.jpg',
  'moon': 'skimage/data/moon.png',
  'astronaut': 'skimage/data/astronaut.png',
  'motorcycle': 'skimage/data/motorcycle_left.png',
  'clock': 'skimage/data/clock_motion.png',
  'galaxies': 'skimage/data/hubble_deep_field.jpg',
  'page': 'skimage/data/page.png',
  'text': 'skimage/data/text.png',
  'grass': 'skimage/data/grass.png',
  'bricks': 'skimage/data/brick.png',
}
THIRDS = ('left', 'middle', 'right')
# (top, left, bottom, right) of the coins in its photograph, row by row, which
# scikit-image's own example of a watershed finds.
_COINS = (
  (35, 22, 74, 67), (39, 81, 74, 120), (28, 132, 74, 179), (30, 192, 73, 240),
  (34, 255, 72, 297), (16, 305, 72, 365), (104, 25, 145, 67),
  (108, 84, 145, 122), (110, 134, 145, 173), (105, 186, 144, 226),
  (95, 245, 144, 296), (106, 317, 145, 356), (179, 26, 217, 63),
  (175, 80, 217, 124), (179, 135, 217, 174), (170, 189, 217, 237),
  (172, 251, 217, 297), (156, 315, 218, 380), (233, 18, 288, 75),
  (245, 93, 287, 136), (236, 144, 288, 201), (240, 220, 288, 269),
  (239, 276, 289, 326), (248, 336, 289, 382),
)  # fmt: skip
_HELD_OUT_COINS = 6  # the last row
_TRAY = (60, 60, 60)  # the photograph's ground


def is_installed() -> bool:
  """Whether the extra `images` is there."""
  return all(map(importlib.util.find_spec, ('skimage', 'sklearn')))


def draw(
  domain: str, level: int, held_out: bool, rng: np.random.Generator
) -> Drawn:
  """Draws a problem of one side.

  Args:
    domain: one of DOMAINS.
    level: 0, 1 or 2.

  Raises:
    ValueError: the extra `images` is not installed.
  """
  return _MAKERS[domain](level, held_out, rng)


def _digits(level, held_out, rng):
  pictures, labels = _handwriting()
  side = range(_DIGITS // 2, _DIGITS) if held_out else range(_DIGITS // 2)
  rows, columns = ((1, 3), (2, 2), (2, 2))[level]
  places = rng.integers(side.start, side.stop, (rows, columns))
  numbers = [int(''.join(str(labels[i]) for i in row)) for row in places]
  grey = np.block([[pictures[i] for i in row] for row in places])
  pixels = np.repeat(grey[..., None], 3, axis=2)
  seen = ' / '.join(' '.join(str(labels[i]) for i in row) for row in places)
  if level == 0:
    asked = 'what number is this', str(numbers[0]), ()
  elif level == 1:
    asked = 'which number is larger', str(max(numbers)), ()
  else:
    a, b = numbers
    asked = 'what is the sum', str(a + b), (f'{a}+{b}={a + b}',)
  question, answer, work = asked
  return drawn.of_picture(pixels, question, answer, 'digits', level, seen, work)


@functools.cache
def _handwriting():
  """uint8 [n, 16, 16], dark on white, and the digits."""
  _require()
  # Imported here: it takes a second, and most runs see no handwriting.
  import sklearn.datasets

  data = sklearn.datasets.load_digits()
  if len(data.images) != _DIGITS:
    raise ValueError(f'{len(data.images)} digits, not {_DIGITS}')
  grey = 255 - np.round(data.images * (255 / 16)).astype(np.uint8)
  return grey.repeat(2, axis=1).repeat(2, axis=2), data.target


def _photograph(level, held_out, rng):
  names = list(PHOTOGRAPHS)[: 4 << level]
  name = names[int(rng.integers(len(names)))]
  pixels = _photo(name)
  ours = _blocks(name, held_out)
  row, column = ours[int(rng.integers(len(ours)))]
  down, right = rng.integers(_BLOCK - _PIECE + 1, size=2)
  top, left = row * _BLOCK + int(down), column * _BLOCK + int(right)
  middle = (left + _PIECE / 2) / pixels.shape[1]
  piece = pixels[top : top + _PIECE, left : left + _PIECE]
  return drawn.of_picture(
    np.ascontiguousarray(piece),
    'which photograph is this a piece of and which third of it',
    f'{name} {THIRDS[min(2, int(3 * middle))]}',
    'photographs',
    level,
    name,
  )


@functools.cache
def _photo(name):
  """uint8 [256, W, 3]."""
  pixels = images.decode(_file(PHOTOGRAPHS[name]).read_bytes())
  height, width, _ = pixels.shape
  size = round(width * _HIGH / height), _HIGH
  image = PIL.Image.fromarray(pixels)
  return np.array(image.resize(size, PIL.Image.Resampling.BICUBIC))


@functools.cache
def _blocks(name, held_out):
  """Blocks (row, column) of a side: no piece has pixels of both."""
  pixels = _photo(name)

  def spread(row, column):
    top, left = row * _BLOCK, column * _BLOCK
    block = pixels[top : top + _BLOCK, left : left + _BLOCK]
    return block.mean(axis=2).std()

  def order(block):
    return hashlib.sha256(f'{name} {block}'.encode()).digest()

  rows, columns = (side // _BLOCK for side in pixels.shape[:2])
  every = [
    block
    for block in itertools.product(range(rows), range(columns))
    if spread(*block) >= _LEAST_SPREAD
  ]
  every.sort(key=order)
  count = math.ceil(len(every) / _HELD_OUT_BLOCKS)
  return every[:count] if held_out else every[count:]


def _coins(level, held_out, rng):
  """Coins in the cells of a tray, of 16 pixels each."""
  side = level + 2
  first = len(_COINS) - _HELD_OUT_COINS
  ours = range(first, len(_COINS)) if held_out else range(first)
  number = int(rng.integers(min(side**2, 9) + 1))
  places = sorted(map(int, rng.permutation(side**2)[:number]))
  pixels = np.full((16 * side, 16 * side, 3), _TRAY, np.uint8)
  for place in places:
    row, column = divmod(place, side)
    coin = _coin(ours[int(rng.integers(len(ours)))])
    top, left = 16 * row + 1, 16 * column + 1
    pixels[top : top + 14, left : left + 14] = coin
  rows = [sum(p // side == row for p in places) for row in range(side)]
  cells = ['coin' if i in places else '.' for i in range(side**2)]
  seen = ' / '.join(
    ' '.join(cells[i : i + side]) for i in range(0, side**2, side)
  )
  work = (f'rows {"+".join(map(str, rows))}={number}',)
  return drawn.of_picture(
    pixels, 'how many coins', str(number), 'coins', level, seen, work
  )


@functools.cache
def _coin(i):
  """uint8 [14, 14, 3]."""
  photo = images.decode(_file('skimage/data/coins.png').read_bytes())
  top, left, bottom, right = _COINS[i]
  image = PIL.Image.fromarray(photo[top:bottom, left:right])
  return np.array(image.resize((14, 14), PIL.Image.Resampling.BICUBIC))


def _stocks(level, held_out, rng):
  prices = _prices()
  number, top = (3, 5, 7)[level], (10, 20, 50)[level]
  names = [name for name in prices if len(prices[name]) >= number]
  while True:
    of_years = prices[names[int(rng.integers(len(names)))]]
    first = int(rng.integers(len(of_years) - number + 1))
    some = np.array(of_years[first : first + number])
    # In a unit in which the highest bar just fits.
    values = tuple(np.round(some * (top - 1) / some.max()).astype(int).tolist())
    if min(values) < 1 or len(set(values)) < number:
      continue
    # A chart of `scenes` may have these bars too: one rule holds out both.
    bars = scenes.specification('chart', (top, values))
    if drawn.is_held_out(bars) == held_out:
      break
  scene = scenes.chart_of(values, top, rng)
  return scenes.of_scene('chart', level, scene, 'stocks')


@functools.cache
def _prices():
  """Name -> the prices of each first of January."""
  path = pathlib.Path(matplotlib.get_data_path(), 'sample_data', 'Stocks.csv')
  lines = path.read_text().splitlines()[1:]
  found = {}
  for row in csv.DictReader(lines):
    if row.pop('Date').endswith('-01-01'):
      for name, price in row.items():
        if price:
          found.setdefault(name, []).append(float(price))
  return found


def _file(path):
  """A file of a package that is installed, found without importing it."""
  _require()
  package, _, rest = path.partition('/')
  folder = importlib.util.find_spec(package).submodule_search_locations[0]
  return pathlib.Path(folder, rest)


def _require():
  if not is_installed():
    what = 'a problem about a handwritten digit or a photograph'
    module = 'skimage' if importlib.util.find_spec('sklearn') else 'sklearn'
    raise ValueError(extras.sentence(what, module))


_MAKERS = {
  'digits': _digits,
  'photographs': _photograph,
  'coins': _coins,
  'stocks': _stocks,
}
DOMAINS = tuple(_MAKERS)
EXTRA = ('digits', 'photographs', 'coins')  # need the extra `images`
