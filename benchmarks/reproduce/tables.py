"""The rows that a claim has, in docs and in the README: what leads to its page.

Each table stands between marks of its page, and nothing else of the page is
written.  A row is made of docs/reproduce/NAME.json alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.reproduce import findings
from benchmarks.reproduce import published
from benchmarks.reproduce import verdicts

_LONGEST = 200  # characters of a row of the README


@dataclasses.dataclass(frozen=True)
class Table:
  """Where a table is.

  Attributes:
    page: path in the repository.
    mark: name in the comments before and after it.
    columns: of its header.
  """

  page: str
  mark: str
  columns: tuple[str, ...]

  @property
  def start(self) -> str:
    return f'<!-- {self.mark} -->'

  @property
  def end(self) -> str:
    return f'<!-- /{self.mark} -->'


DOCS = Table('docs/reproduction.md', 'reproduce', ('figure', 'verdict', 'why'))
README = Table('README.md', 'figures', ('figure', 'measured here', 'verdict'))


def docs_row(content: Mapping[str, Any]) -> str:
  """The verdict, and why it came out so in the eyes of the authors."""
  name, why = content['name'], content['outcome'] or content['sentence']
  first = f'{content["figure"]}: [{name}](reproduce/{name}.md)'
  return line((first, _verdict(content), why))


def readme_row(content: Mapping[str, Any]) -> str:
  """The number that gave the verdict; at most 200 characters."""
  name, verdict = content['name'], _verdict(content)
  first = f'[{name}](docs/reproduce/{name}.md), {content["figure"]}'
  room = _LONGEST - len(line((first, '', verdict)))
  return line((first, _lead(content)[:room], verdict))


def _verdict(content):
  """That of an earlier claim, whose successor has not run, says so."""
  is_old = bool(content.get('asked_anew'))
  return content['verdict'] + ', of an earlier design' * is_old


def _lead(content):
  if content['verdict'] == verdicts.NOT_POSED:
    failed = [c for c in published.conditions_of(content) if c.fails]
    return failed[0].text()
  measures = content['measures']
  decisive = [
    what
    for what, measure in measures.items()
    if measure.get('verdict') == content['verdict']
  ]
  what = next(iter([*decisive, *measures]))
  return f'{what} {number(measures[what])}'


def number(measure: Mapping[str, Any]) -> str:
  """Such as '0.053 ± 0.012'."""
  found = published.estimate_of(measure)
  return 'not measured' if found is None else findings.text(found)


def line(cells: Sequence[str]) -> str:
  """A row of any table."""
  return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'


def header(columns: Sequence[str]) -> str:
  """The first two lines of any table."""
  return line(columns) + '\n' + '|---' * len(columns) + '|'


def update(
  table: Table, text: str, name: str, new: str, order: Sequence[str]
) -> str:
  """The page with the row of a name replaced, or put into its place.

  Args:
    text: of the page.
    order: of the names; rows of none of them are dropped.

  Raises:
    ValueError: the page lacks one of the marks.
  """
  _, inside, _ = _parts(table, text)
  rows = {
    other: row
    for row in inside.splitlines()
    for other in order
    if f'/{other}.md)' in row
  } | {name: new}
  return written(table, text, [rows[o] for o in order if o in rows])


def written(table: Table, text: str, rows: Sequence[str]) -> str:
  """The page with these rows, and no others, in its table.

  Raises:
    ValueError: the page lacks one of the marks.
  """
  before, _, after = _parts(table, text)
  return '\n'.join([before + table.start, header(table.columns), *rows,
                    table.end + after])  # fmt: skip


def _parts(table, text):
  """The page before its table, in it, and after."""
  for mark in (table.start, table.end):
    if text.count(mark) != 1:
      count = text.count(mark)
      raise ValueError(f'{table.page}: {mark} is there {count} times')
  before, rest = text.split(table.start)
  return before, *rest.split(table.end)
