"""Problems with pictures by domain, and a sheet that shows some of each.

Three kinds, after Kimi k1.5, section 2.3.5: synthetic scenes, pictures of text,
and pictures of the world.  To look at what a model will see:

  python -m k15.data.picture_problems sheet.png

draws every domain at every level, with question and answer; domains of the
extra `images` only where it is installed.
"""

import functools
import sys
from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw

from k15 import streams
from k15.data import arithmetic
from k15.vision import drawn
from k15.vision import real_images
from k15.vision import rendered_text
from k15.vision import scenes
from k15.vision.drawn import Draw
from k15.vision.drawn import Drawn

TEXTS = ('text', 'code', 'table')
DOMAINS = (*scenes.DOMAINS, *TEXTS, *real_images.DOMAINS)
_ZOOM, _CELL = 3, (290, 300)  # width and height of a cell, pixels
_COLUMNS = 6  # two problems of each level


def make_problems(
  count: int,
  domains: Sequence[str],
  levels: Sequence[int],
  held_out: bool,
  seed: int,
  stream: str | Sequence[str],
  kinds: Sequence[str] = arithmetic.KINDS,
  difficulty: tuple[float, float] = (0.0, 1.0),
) -> list[Drawn]:
  """`count` different problems; domains and levels take turns.

  Args:
    domains: some of DOMAINS.
    levels: some of 0, 1, 2.
    held_out: the side, which no seed and no level changes.
    stream: the name of a stream, whole; see `streams`.
    kinds: of the arithmetic that the domain 'text' shows.
    difficulty: of it, least and greatest.

  Raises:
    ValueError: too few different problems, or a domain needs what is not
      installed.
  """
  draws = [draw_of(domain, kinds, difficulty) for domain in domains]
  name = [stream] if isinstance(stream, str) else stream
  rng = streams.rng(seed, *name)
  return drawn.make_problems(count, draws, levels, held_out, rng)


def draw_of(
  domain: str,
  kinds: Sequence[str] = arithmetic.KINDS,
  difficulty: tuple[float, float] = (0.0, 1.0),
) -> Draw:
  """What draws a problem of a domain."""
  if domain in scenes.DOMAINS:
    return functools.partial(scenes.draw, domain)
  if domain in real_images.DOMAINS:
    return functools.partial(real_images.draw, domain)
  return lambda *draw: draw_pair(domain, *draw, kinds, difficulty).picture


def draw_pair(
  domain: str,
  level: int,
  held_out: bool,
  rng: np.random.Generator,
  kinds: Sequence[str] = arithmetic.KINDS,
  difficulty: tuple[float, float] = (0.0, 1.0),
) -> rendered_text.Pair:
  """A problem as text and as a picture of it, of a domain of TEXTS."""
  if domain != 'text':
    return rendered_text.draw(domain, level, held_out, rng)
  depths = arithmetic.levels_of(*difficulty)
  while True:
    kind = kinds[int(rng.integers(len(kinds)))]
    depth = depths[int(rng.integers(len(depths)))]
    problem = arithmetic.make_problem(kind, depth, rng)
    if arithmetic.is_held_out(problem) == held_out:
      break
  return rendered_text.Pair(
    problem, rendered_text.as_picture(problem, level, rng)
  )


def sheet(domains: Sequence[str], seed: int) -> PIL.Image.Image:
  """A row a domain: two problems of each level, three times as large."""
  width, height = _CELL
  image = PIL.Image.new(
    'RGB', (width * _COLUMNS, height * len(domains)), (235, 235, 235)
  )
  draw = PIL.ImageDraw.Draw(image)
  stream = 'training pictures'
  for row, domain in enumerate(domains):
    for column in range(_COLUMNS):
      level, i = divmod(column, 2)
      each = make_problems(2, [domain], [level], False, seed, stream)[i]
      x, y = width * column + 8, height * row + 8
      pixels = each.pictures[0].repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
      image.paste(PIL.Image.fromarray(pixels), (x, y + 54))
      draw.multiline_text((x, y), _caption(each, level), 'black', spacing=3)
  return image


def _caption(each, level):
  p = each.problem
  height, width, _ = each.pictures[0].shape
  head = f'{p.domain}, level {level}, {height} x {width}'
  question = p.prompt
  if len(question) > 40:
    cut = question.rfind(' ', 0, 40)
    question = f'{question[:cut]}\n{question[cut + 1 :]}'
  return f'{head}\n{question}\n-> {p.answer}'


if __name__ == '__main__':
  if len(sys.argv) != 2:
    sys.exit('usage: python -m k15.data.picture_problems SHEET.png')
  shown = [
    d for d in DOMAINS
    if d not in real_images.EXTRA or real_images.is_installed()
  ]  # fmt: skip
  sheet(shown, 0).save(sys.argv[1])
  print(f'{len(shown)} of {len(DOMAINS)} domains: {sys.argv[1]}')
