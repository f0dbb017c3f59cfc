"""What k15's own runs say of the toys, and the numbers of the page."""

import itertools
import json
import re

import pytest

from benchmarks.reproduce.findings import Estimate
from benchmarks.worlds import diagrams
from benchmarks.worlds import points
from k15 import files

DOCS = points.REPO / 'docs'
PAGE = (points.REPO / points.TABLE.page).read_text()


@pytest.mark.parametrize(
  'toy, own, word',
  [
    # (mean, half width) of either.
    ((0.06, 0.02), (0.05, 0.04), points.CONFIRMS),
    ((0.06, 0.02), (-0.05, 0.04), points.REFUTES),
    ((-0.06, 0.02), (-0.05, 0.04), points.CONFIRMS),
    ((0.06, 0.02), (0.03, 0.04), points.OPEN),
    ((0.06, 0.02), (0.0, 0.01), points.OPEN),
    # Within 0.03, whatever the signs.
    ((0.01, 0.015), (-0.01, 0.019), points.CONFIRMS),
    ((0.01, 0.025), (-0.01, 0.019), points.OPEN),
    ((0.06, 0.02), (0.05, float('nan')), points.OPEN),
  ],
)
def test_words(toy, own, word):
  both = (Estimate((), *number) for number in (toy, own))
  assert points.compare(*both, margin=0.03) == word


def test_without_a_margin_nothing_counts_as_nothing():
  small = Estimate((), 0.0, 0.001)
  assert points.compare(small, small, 0.0) == points.OPEN


def test_a_row(tmp_path):
  point = points.Point(
    'tau', 'there', points.Spot('best', 'tau 0.4', 4), 'grpo',
    ('a minus b', 'final: a minus b'), points.Spot('best', 'GRPO', 4),
  )  # fmt: skip
  for folder in ('worlds', 'reproduce'):
    (tmp_path / folder).mkdir()
  toy = tmp_path / 'worlds/tau.json'
  own = tmp_path / 'reproduce/grpo.json'
  start = '| [tau](worlds/tau.png), there | '
  not_run = f'{start}[grpo](reproduce/grpo.png), a minus b'
  assert points.row(point, tmp_path) == f'{not_run} | - | - | not run yet |'

  rows = [
    dict(title='best', line='tau 0.4', x=4, values=[0.3, 0.5]),
    dict(title='best', line='GRPO', x=4, values=[0.1, 0.3]),
    dict(title='best', line='GRPO', x=1, values=[9, 9]),
  ]
  toy.write_text(json.dumps(dict(rows=rows)))
  measures = {'final: a minus b': dict(values=[0.1, 0.1])}
  page = dict(
    verdict='holds', settings={'task.name': 'arithmetic'}, measures=measures
  )
  own.write_text(json.dumps(page))
  end = ' | 0.200 ± 0.000 | - | not run yet |'
  assert points.row(point, tmp_path) == not_run + end

  page['settings']['task.name'] = 'facts'
  own.write_text(json.dumps(page))
  found = f'{start}[grpo](reproduce/grpo.png), final: a minus b'
  end = ' | 0.200 ± 0.000 | 0.100 ± 0.000 | confirms |'
  assert points.row(point, tmp_path) == found + end

  own.write_text(json.dumps(page | dict(verdict='not posed here')))
  assert points.row(point, tmp_path).endswith('| misses |')
  own.write_text(json.dumps(page | dict(measures={})))
  assert points.row(point, tmp_path).endswith('| - | not run yet |')


def test_every_point_is_in_its_diagram():
  for point in points.POINTS:
    diagram = diagrams.DIAGRAMS[point.diagram]
    for spot in filter(None, (point.spot, point.minus)):
      [panel] = [p for p in diagram.panels if p.title == spot.title]
      [line] = [x for x in panel.lines if x.label == spot.line]
      xs = [p.x for p in diagram.places if p.series == line.series]
      assert spot.x in xs, spot


def test_the_table_is_that_of_the_files():
  inside = PAGE.split(points.TABLE.start)[1].split(points.TABLE.end)[0]
  rows = [points.row(point, DOCS) for point in points.POINTS]
  again = 'it is written anew by: python -m benchmarks.worlds.points'
  assert inside.splitlines()[3:] == rows, again


def test_the_command_writes_the_table_alone(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(points, 'REPO', tmp_path)
  page = tmp_path / points.TABLE.page
  page.parent.mkdir()
  start, end = points.TABLE.start, points.TABLE.end
  page.write_text(f'# Above\n{start}\nold\n{end}\nBelow\n')
  assert points.main() == 0
  rows = capsys.readouterr().out
  assert rows.count('not run yet') == len(points.POINTS)
  above, *header, inside = page.read_text().split('\n', 4)
  assert [above, *header] == [
    '# Above', start, "| diagram, place | compared | the toy | k15's own loop"
    ' | which |', '|---|---|---|---|---|',
  ]  # fmt: skip
  assert inside == f'{rows}{end}\nBelow\n'


@pytest.mark.parametrize('name', diagrams.DIAGRAMS)
def test_prose_has_the_numbers_of_its_file(name):
  content = files.read_json(DOCS / f'worlds/{name}.json')
  section = PAGE.split(f'(worlds/{name}.png)\n')[1].split('\n## ')[0]
  prose = ' '.join(section.split())
  rows = content['rows']
  for mean, half in re.findall(r'(\d\.\d+) ± (\d\.\d+)', prose):
    places = len(mean) - 2
    assert any(
      f'{abs(r["mean"]):.{places}f} {r["half"] or 0:.{places}f}'
      == f'{mean} {half}'
      for r in rows
    ), f'{mean} ± {half}'
  # Others are a mean or a half width, or stand on an axis or in a label.
  given = {f'{row["x"]:g}' for row in rows}
  given |= set(re.findall(r'\d\.\d+', json.dumps(
    [content['question'], [row['line'] + row['title'] for row in rows]]
  )))  # fmt: skip
  for number in re.findall(r'\d\.\d+', prose + diagrams.DIAGRAMS[name].finding):
    places = len(number) - 2
    known = itertools.chain.from_iterable(
      (abs(row['mean']), row['half'] or 0) for row in rows
    )
    assert number in given or any(
      f'{value:.{places}f}' == number for value in known
    ), number
