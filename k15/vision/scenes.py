"""Problems without end about small scenes, each with one answer that is exact.

Kimi k1.5, section 2.3.5: "procedurally created images and scenes" that train
"understanding spatial relationships, geometric patterns, and object
interactions", in a "controlled environment" with an "endless supply".  Which
scenes is not published, and these are ours:

  count        how many circles there are, of a colour at the hardest level
  relation     what is left of, right of, above, below or between others
  chart        bars: the highest, a sum, the difference of the largest two
  pattern      a grid with a rule, and a cell that is missing
  interaction  where a ball is after so many steps among mirrors; which two meet

Levels 0 to 2 scale the size of a scene, the number of its objects and those
that do not matter.  `scene_pictures` draws them, 32 x 32 to 64 x 64 pixels.
"""

import collections
import dataclasses
import itertools
import json
from typing import Any

import numpy as np

from k15.vision import drawn
from k15.vision import rendering
from k15.vision import scene_pictures
from k15.vision.drawn import Drawn

COLOURS = tuple(rendering.COLOURS)
SHAPES = rendering.SHAPES
DIRECTIONS = tuple(rendering.DIRECTIONS)
LABELS = scene_pictures.LABELS
_MIRRORED = {
  '/': dict(right='up', up='right', left='down', down='left'),
  '\\': dict(right='down', down='right', left='up', up='left'),
}


@dataclasses.dataclass(frozen=True)
class Scene:
  """What is drawn, and what is asked about it.

  Attributes:
    things: what is drawn and nothing else, of tuples, texts and numbers; see
      the domain's page of `scene_pictures`.
    seen: the things in words, row by row.
    work: lines from there to the answer.
  """

  things: Any
  question: str
  answer: str
  seen: str
  work: tuple[str, ...]


def draw(
  domain: str, level: int, held_out: bool, rng: np.random.Generator
) -> Drawn:
  """Draws a scene of a domain on one side, and a question about it.

  Args:
    domain: one of DOMAINS.
    level: 0, 1 or 2.
    held_out: the side, by the hash of what is drawn.
  """
  while True:
    scene = _MAKERS[domain](level, rng)
    if drawn.is_held_out(specification(domain, scene.things)) == held_out:
      break
  return of_scene(domain, level, scene)


def of_scene(domain: str, level: int, scene: Scene, name: str = '') -> Drawn:
  """The problem of a scene; `name` is its domain where that is another."""
  pixels = scene_pictures.PAINTERS[domain](scene.things)
  return drawn.of_picture(
    pixels, scene.question, scene.answer, name or domain, level, scene.seen,
    scene.work,
  )  # fmt: skip


def specification(domain: str, things: Any) -> str:
  """What decides the picture, as text."""
  return json.dumps([domain, things])


def _choice(rng, values):
  return values[int(rng.integers(len(values)))]


def _words(cells, side):
  """Cells row by row; an empty one is a point."""
  texts = [' '.join(cell) if cell else '.' for cell in cells]
  rows = (texts[i : i + side] for i in range(0, len(texts), side))
  return ' / '.join(map(' '.join, rows))


def _count(level, rng):
  """things: (side, cells), a cell is (colour, shape) or None."""
  side, colours, shapes = level + 2, COLOURS[: level + 2], SHAPES[:3]
  asked = _choice(rng, colours) if level == 2 else '', _choice(rng, shapes)
  every = list(itertools.product(colours, shapes))
  wanted = [(c, s) for c, s in every if s == asked[1] and asked[0] in ('', c)]
  others = [cell for cell in every if cell not in wanted] + [None] * len(every)
  # A number is drawn first, so that none is much likelier than the others.
  number = int(rng.integers(min(side**2, 9) + 1))
  cells = [_choice(rng, wanted) for _ in range(number)]
  cells += [_choice(rng, others) for _ in range(side**2 - number)]
  cells = tuple(cells[i] for i in rng.permutation(side**2))
  found = [' '.join(cell) for cell in cells if cell in wanted]
  # Counted aloud: a sum of rows, each counted at once, is hard to learn.
  aloud = ' '.join(f'{cell} {i}' for i, cell in enumerate(found, 1))
  return Scene(
    (side, cells),
    f'how many {" ".join(asked).strip()}s',
    str(number),
    _words(cells, side),
    (aloud or 'none',),
  )


def _relation(level, rng):
  """things: as of a count; each shape is there once."""
  side, number = level + 2, 2 * level + 2
  while True:
    places = sorted(map(int, rng.permutation(side**2)[:number]))
    shapes = [SHAPES[i] for i in rng.permutation(len(SHAPES))[:number]]
    cells = [None] * side**2
    for place, shape in zip(places, shapes, strict=True):
      cells[place] = _choice(rng, COLOURS), shape
    asked = _relations(cells, side)
    if asked:
      break
  # Relations first: there are more questions of some than of others.
  question, answer, line = _choice(rng, asked[_choice(rng, sorted(asked))])
  return Scene(
    (side, tuple(cells)), question, answer, _words(cells, side), (line,)
  )


def _relations(cells, side):
  """Relation -> (question, answer, line of shapes) of one right answer each.

  One thing is left of another if they are in one row; so for the others.
  """
  asked = collections.defaultdict(list)
  grid = [cells[i : i + side] for i in range(0, side**2, side)]
  for lines, words, name in (
    (grid, ('left of', 'right of'), 'row'),
    (zip(*grid, strict=True), ('above', 'below'), 'column'),
  ):
    for line in lines:
      shapes = [cell[1] for cell in line if cell]
      shown = ' '.join([name, *shapes])
      if len(shapes) >= 2:
        for word, x, other in (
          (words[0], shapes[1], shapes[0]),
          (words[1], shapes[-2], shapes[-1]),
        ):
          asked[word].append((f'what is {word} the {x}', other, shown))
      for a, x, b in zip(shapes, shapes[1:], shapes[2:], strict=False):
        question = f'what is between the {a} and the {b}'
        asked['between'].append((question, x, shown))
  return asked


def _chart(level, rng):
  """things: (top of the axis, values)."""
  number, top = (3, 5, 7)[level], (10, 20, 50)[level]
  values = 1 + rng.permutation(top - 1)[:number]
  return chart_of(tuple(map(int, values)), top, rng)


def chart_of(
  values: tuple[int, ...], top: int, rng: np.random.Generator
) -> Scene:
  """A question about bars; values are different, and below the axis' top."""
  labels = LABELS[: len(values)]
  by_value = sorted(zip(values, labels, strict=True), reverse=True)
  (first, label), (second, _), *_ = by_value
  kind = int(rng.integers(3))
  if kind == 0:
    asked = 'which is highest', label, f'{label} {first}'
  elif kind == 1:
    i, j = sorted(map(int, rng.permutation(len(values))[:2]))
    a, b = values[i], values[j]
    asked = f'{labels[i]} + {labels[j]}', str(a + b), f'{a}+{b}={a + b}'
  else:
    rest = first - second
    asked = (
      'difference of the largest two', str(rest), f'{first}-{second}={rest}'
    )  # fmt: skip
  question, answer, line = asked
  pairs = zip(labels, values, strict=True)
  seen = ' '.join(f'{label} {value}' for label, value in pairs)
  return Scene((top, values), question, answer, seen, (line,))


def _pattern(level, rng):
  """things: nine cells of (colour, what stands there); None is missing."""
  rule = _choice(rng, ('sums', 'turns', 'shapes'))
  kinds = dict(sums=_sums, turns=_turns, shapes=_shapes)[rule](rng)
  missing = 8 if level == 0 else int(rng.integers(9))
  two = [COLOURS[i] for i in rng.permutation(len(COLOURS))[:2]]
  # The second attribute, where it counts: colours like a chessboard.
  colours = [two[sum(divmod(i, 3)) % 2 * (level == 2)] for i in range(9)]
  words = [
    (colour, kind) if level == 2 else (kind,)
    for colour, kind in zip(colours, kinds, strict=True)
  ]
  answer = ' '.join(words[missing])
  start = missing // 3 * 3
  row = kinds[start : start + 3]
  work = [f'row {" ".join(row)}']
  if rule == 'sums':
    a, b, c = row
    work = [f'{a}+{b}={c}' if missing % 3 == 2 else f'{c}-{b}={a}']
    if missing % 3 == 1:
      work = [f'{c}-{a}={b}']
  things = tuple(
    None if i == missing else (colour, kind)
    for i, (colour, kind) in enumerate(zip(colours, kinds, strict=True))
  )
  shown = [('?',) if i == missing else word for i, word in enumerate(words)]
  return Scene(things, 'what is missing', answer, _words(shown, 3), tuple(work))


def _sums(rng):
  """In each row, the third number is the sum of the others."""
  kinds = []
  for _ in range(3):
    total = int(rng.integers(10))
    part = int(rng.integers(total + 1))
    kinds += [str(part), str(total - part), str(total)]
  return kinds


def _turns(rng):
  """Arrows that turn by a quarter, to one side, in the order of reading."""
  start, step = int(rng.integers(4)), _choice(rng, (1, 3))
  return [DIRECTIONS[(start + step * i) % 4] for i in range(9)]


def _shapes(rng):
  """Two or three shapes in turns, shifted by one from row to row."""
  number = int(rng.integers(2, 4))
  shapes = [SHAPES[i] for i in rng.permutation(len(SHAPES))[:number]]
  return [shapes[sum(divmod(i, 3)) % number] for i in range(9)]


def _interaction(level, rng):
  """things: (side, mirrors of (row, column, kind), balls).

  A ball is (row, column, direction, colour).  With each step it moves by a
  cell; a mirror turns it there, and a wall sends it back.
  """
  side, steps = (3, 4, 4)[level], (2, 4, 8)[level]
  return (_ray if rng.integers(2) else _meeting)(side, steps, level, rng)


def _ray(side, steps, level, rng):
  places = [divmod(int(p), side) for p in rng.permutation(side**2)]
  number = 2 * level + 1
  mirrors = tuple(
    (*place, _choice(rng, sorted(_MIRRORED))) for place in sorted(
      places[1 : number + 1]
    )
  )  # fmt: skip
  ball = (*places[0], _choice(rng, DIRECTIONS), _choice(rng, COLOURS))
  path = [name_of(*place) for place in travel(side, mirrors, ball, steps)]
  return Scene(
    (side, mirrors, (ball,)),
    f'where is the ball after {steps} steps',
    path[-1],
    _described(mirrors, (ball,)),
    (' '.join(path),),
  )


def _meeting(side, steps, level, rng):
  number = level + 3 if level < 2 else 4
  while True:
    places = [divmod(int(p), side) for p in rng.permutation(side**2)[:number]]
    colours = sorted(COLOURS[i] for i in rng.permutation(len(COLOURS))[:number])
    balls = tuple(
      (*place, _choice(rng, DIRECTIONS), colour)
      for place, colour in zip(places, colours, strict=True)
    )
    paths = [travel(side, (), ball, steps) for ball in balls]
    time, pair = first_meeting(paths)
    # It takes more than half of the steps, or others would be for show.
    if time > steps // 2 and len(pair) == 2:
      break
  work = [
    ' '.join([ball[3], *(name_of(*p) for p in path[:time])])
    for ball, path in zip(balls, paths, strict=True)
  ]
  answer = ' '.join(colours[i] for i in pair)
  return Scene(
    (side, (), balls), 'which two meet', answer, _described((), balls),
    tuple(work),
  )  # fmt: skip


def travel(
  side: int, mirrors: Any, ball: Any, steps: int
) -> list[tuple[int, int]]:
  """Cells (row, column) of a ball after 1, 2, ..., steps."""
  turns = {(row, column): _MIRRORED[kind] for row, column, kind in mirrors}
  row, column, direction, _ = ball
  path = []
  for _ in range(steps):
    down, right = rendering.DIRECTIONS[direction]
    if not (0 <= row + down < side and 0 <= column + right < side):
      down, right = -down, -right
      direction = DIRECTIONS[(DIRECTIONS.index(direction) + 2) % 4]
    row, column = row + down, column + right
    direction = turns.get((row, column), {}).get(direction, direction)
    path.append((row, column))
  return path


def first_meeting(paths: list[list[Any]]) -> tuple[int, tuple[int, ...]]:
  """Steps until some are in one cell, and who; (0, ()) if nobody ever is."""
  for time, places in enumerate(zip(*paths, strict=True), 1):
    met = tuple(i for i, place in enumerate(places) if places.count(place) > 1)
    if met:
      return time, met
  return 0, ()


def name_of(row: int, column: int) -> str:
  """A cell as it is labelled: columns by letters, rows from 1."""
  return f'{LABELS[column]}{row + 1}'


def _described(mirrors, balls):
  parts = [f'{c} {name_of(row, col)} {d}' for row, col, d, c in balls]
  parts += [f'{kind} {name_of(row, col)}' for row, col, kind in mirrors]
  return ' '.join(parts)


_MAKERS = {
  'count': _count,
  'relation': _relation,
  'chart': _chart,
  'pattern': _pattern,
  'interaction': _interaction,
}
DOMAINS = tuple(_MAKERS)
