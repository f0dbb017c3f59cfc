"""Does k15's own loop find what the toys say?  A table of both, in docs.

    python -m benchmarks.worlds.points

A point is a number of a diagram, of docs/worlds/NAME.json, beside one of a
figure of `make reproduce`, of docs/reproduce/NAME.json, whose runs are of walks
over facts (`experiments/facts.py`), or of what its point names, and near that
place of the diagram.  Both are differences between arms, with 95 % intervals,
and k15's

    confirms     if both are off 0 on one side, or both within the margin
    refutes      if they are off 0 on different sides
    leaves open  what is none of these
    misses       if the runs failed a check of their figure

Points are chosen by what was set up, before k15's runs; `not run yet` are those
whose figure has no runs of that task, or does not have that measure.
"""

import dataclasses
import fnmatch
import math
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.reproduce import findings
from benchmarks.reproduce import tables
from benchmarks.reproduce import verdicts
from benchmarks.reproduce.findings import Estimate
from experiments.ablations import claims
from k15 import files

REPO = pathlib.Path(__file__).resolve().parents[2]
TABLE = tables.Table(
  'docs/worlds.md',
  'points',
  ('diagram, place', 'compared', 'the toy', "k15's own loop", 'which'),
)
NOT_RUN = 'not run yet'
CONFIRMS, REFUTES = 'confirms', 'refutes'
OPEN, MISSES = 'leaves open', 'misses'


@dataclasses.dataclass(frozen=True)
class Spot:
  """A number of a diagram: of a panel's line, at x."""

  title: str
  line: str
  x: float


@dataclasses.dataclass(frozen=True)
class Point:
  """Two numbers that are about the same.

  Attributes:
    diagram, place: its name, and where in it, in words.
    spot: what the toy has there.
    figure: of `make reproduce`.
    measures: what is compared, its name there; then other names that it may
      have, as patterns of `fnmatch`.
    minus: subtracted from the toy's number, seed by seed.
    margin: up to where either counts as nothing; 0: nothing is said of that.
    task: task.name of the runs that are near the toy.
  """

  diagram: str
  place: str
  spot: Spot
  figure: str
  measures: tuple[str, ...]
  minus: Spot | None = None
  margin: float = claims.MARGIN
  task: str = 'facts'


def _means(arms):
  return f'accuracy, mean of the run: {arms}', f'final accuracy: {arms}'


def _finals(arms):
  return tuple(reversed(_means(arms)))


_COARSE = 'coarse answer, P = 64'
_BEST, _FOUR = f'best rates; {_COARSE}', f'four epochs, {_COARSE}'
_RATIO = f'log-ratio, rate 0.01; {_COARSE}'
_NARROW, _WIDE = 24, 64
_WIDTHS = f'widths {_WIDE} and {_NARROW}'
POINTS = (
  *(
    Point(
      'negative_gradients', f'luck 0.44 of a {_COARSE}',
      Spot(f'all of RL, luck of a {_COARSE}', f'k1.5 minus {other}', 0.44),
      'negative_gradients', _means(f'k1.5 minus {other}'),
    )
    for other in ('ReST', 'RFT', 'positive only')
  ),
  Point(
    'curriculum', '80 % easy, P = 64',
    Spot('final accuracy, all', 'P = 64', 0.8),
    'curriculum', _finals('curriculum minus uniform'),
  ),
  *(
    Point(
      'priorities', '3 visits, P = 64', Spot(title, 'P = 64', 3),
      'prioritized', (measure,),
    )
    for title, measure in zip(('mean accuracy', 'final accuracy, all'),
                              _means('prioritized minus uniform'), strict=True)
  ),
  Point(
    'tau', _FOUR, Spot(_BEST, 'tau 0.4', 4),
    'tau', _means('tau 0.4 minus none'),
  ),
  Point(
    'tau', f'{_FOUR}, one rate', Spot(_RATIO, 'tau 1.6', 4),
    'tau', ('log-ratio, rms in nats: largest tau minus smallest',
            '*log-ratio* minus *'),
    Spot(_RATIO, 'tau 0', 4), 0,
  ),
  Point(
    'tau', _FOUR, Spot(_BEST, 'tau 0.4', 4),
    'grpo', _means('mirror descent minus GRPO'), Spot(_BEST, 'GRPO', 4),
  ),
  Point(
    'optimizer', f'16 updates in {_FOUR}',
    Spot(f'k1.5; {_COARSE}', 'reset minus Adam kept', 16),
    'optimizer_reset', _means('reset minus kept'),
  ),
  Point(
    'model_size', _WIDTHS, Spot('where RL starts', 'before RL', _WIDE),
    'model_size', ('accuracy before RL: widest minus narrowest',
                   '*accuracy before RL* minus *'),
    Spot('where RL starts', 'before RL', _NARROW),
  ),
  Point(
    'model_size', _WIDTHS, Spot('where RL ends', 'after RL', _NARROW),
    'model_size', ('final accuracy: narrowest minus widest',
                   '*final accuracy* minus *'),
    Spot('where RL ends', 'after RL', _WIDE),
  ),
  Point(
    'model_size', _WIDTHS, Spot('gain per symbol written', 'slope', _WIDE),
    'model_size', ('accuracy per token, slope: widest minus narrowest',
                   '*slope* minus *'),
    Spot('gain per symbol written', 'slope', _NARROW), 0,
  ),
  Point(
    'length_reward', 'written 4 times, weight 0.3',
    Spot('final length', 'weight 0.3', 4),
    'length_penalty', ('final tokens: from the start minus none',), margin=0,
    task='arithmetic',  # With checks of what was right already.
  ),
  Point(
    'length_reward', 'written 4 times, weight 0.3',
    Spot('final accuracy', 'weight 0.3', 4),
    'length_penalty', _finals('from the start minus none'), task='arithmetic',
  ),
)  # fmt: skip


def main() -> int:
  page = REPO / TABLE.page
  rows = [row(point, REPO / 'docs') for point in POINTS]
  print('\n'.join(rows))
  new = tables.written(TABLE, page.read_text(), rows)
  files.replace_file(page, new.encode())
  return 0


def row(point: Point, docs: pathlib.Path) -> str:
  """The table's, of what both folders of `docs` have."""
  toy = toys(point, files.read_json(docs / f'worlds/{point.diagram}.json'))
  page = files.read_json(docs / f'reproduce/{point.figure}.json')
  name, own = k15s(point, page)
  word = OPEN
  if own is None:
    word = NOT_RUN
  elif page['verdict'] == verdicts.NOT_POSED:
    word = MISSES
  elif toy is not None:
    word = compare(toy, own, point.margin)
  cells = (
    f'[{point.diagram}](worlds/{point.diagram}.png), {point.place}',
    f'[{point.figure}](reproduce/{point.figure}.png), {name}',
    *(
      '-' if number is None else findings.text(number) for number in (toy, own)
    ),
    word,
  )
  return tables.line(cells)


def toys(point: Point, page: Mapping[str, Any]) -> Estimate | None:
  """The toy's number; None where the diagram was drawn without that place."""
  values = [
    row['values']
    for spot in (point.spot, point.minus)
    for row in page.get('rows', ())
    if spot and (row['title'], row['line'], row['x']) == _key(spot)
  ]
  if len(values) != 1 + (point.minus is not None):
    return None
  differences = [a - sum(b) for a, *b in zip(*values, strict=True)]
  return findings.estimate(differences)


def k15s(point: Point, page: Mapping[str, Any]) -> tuple[str, Estimate | None]:
  """Which measure, and its number; None where it was not run yet."""
  if page.get('settings', {}).get('task.name') != point.task:
    return point.measures[0], None
  for pattern in point.measures:
    for name, measure in page['measures'].items():
      if fnmatch.fnmatchcase(name, pattern) and measure['values']:
        return name, findings.estimate(measure['values'])
  return point.measures[0], None


def compare(toy: Estimate, own: Estimate, margin: float) -> str:
  """What k15's number does to the toy's; NaN of a single seed leaves it open.

  Args:
    margin: >= 0; 0: no interval counts as nothing.
  """
  both = toy, own
  sides = [
    math.copysign(1, x.mean) if abs(x.mean) > x.half else 0 for x in both
  ]
  if all(sides):
    return CONFIRMS if sides[0] == sides[1] else REFUTES
  if all(-margin < x.low and x.high < margin for x in both):
    return CONFIRMS
  return OPEN


def _key(spot):
  return spot.title, spot.line, spot.x


if __name__ == '__main__':
  sys.exit(main())
