"""The rows that a claim has: a long one in docs, a short one in the README.

Each table stands between marks of its page, and nothing else of the page is
written.
"""

import dataclasses
import os
from collections.abc import Sequence

from benchmarks.reproduce import findings
from benchmarks.reproduce import verdicts
from experiments.ablations import claims

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

  @property
  def header(self) -> str:
    return _line(self.columns) + '\n' + '|---' * len(self.columns) + '|'


DOCS = Table(
  'docs/reproduction.md',
  'reproduce',
  (
    'figure', 'what the paper saw', 'what was measured here', 'conditions',
    'verdict',
  ),
)  # fmt: skip
README = Table('README.md', 'figures', ('figure', 'measured here', 'verdict'))


def picture(name: str) -> str:
  """Its path in the repository."""
  return f'docs/reproduce/{name}.png'


def long_row(name: str, claim: claims.Claim, result: verdicts.Result) -> str:
  """All numbers, each with its verdict, the conditions, and why."""
  shown = [
    _measured(what, found, result.judged.get(what))
    for what, found in result.estimates.items()
  ]
  shown.append(
    f'{len(result.seeds)} seeds'
    + (f', {result.iterations} iterations' if result.iterations else '')
    + f', commit {" ".join(result.commits) or "unknown"}'
  )
  why = f'**{result.verdict}**: {result.sentence}. {result.outcome}'
  if claim.changed:
    why += f'. *Changed after the runs*: {claim.changed}'
  page = _link(f'experiments/ablations/{name}.py')
  return _line(
    (
      f'{claim.figure}: [{name}]({_link(picture(name))}), [config]({page})',
      claim.paper,
      '; '.join(shown),
      '; '.join(c.text() for c in result.conditions) or 'none',
      why,
    )
  )


def short_row(name: str, claim: claims.Claim, result: verdicts.Result) -> str:
  """The number that gave the verdict; at most 200 characters."""
  first = f'[{name}]({picture(name)}), {claim.figure}'
  room = _LONGEST - len(_line((first, '', result.verdict)))
  return _line((first, _lead(result)[:room], result.verdict))


def _lead(result):
  if result.verdict == verdicts.NOT_POSED:
    return next(c.text() for c in result.conditions if c.fails)
  decisive = [
    what
    for what, finding in result.judged.items()
    if finding.verdict == result.verdict
  ]
  what = next(iter([*decisive, *result.estimates]))
  return _measured(what, result.estimates[what])


def _measured(what, found, finding=None):
  text = 'not measured' if found is None else findings.text(found)
  return f'{what} **{text}** ({finding.verdict})' if finding else (
    f'{what} {text}'
  )  # fmt: skip


def _line(cells):
  return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'


def _link(path):
  """From the page of the long rows to a path of the repository."""
  return os.path.relpath(path, os.path.dirname(DOCS.page))


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
  for mark in (table.start, table.end):
    if text.count(mark) != 1:
      count = text.count(mark)
      raise ValueError(f'{table.page}: {mark} is there {count} times')
  before, rest = text.split(table.start)
  inside, after = rest.split(table.end)
  rows = {
    other: line
    for line in inside.splitlines()
    for other in order
    if f'/{other}.png)' in line
  } | {name: new}
  lines = [rows[other] for other in order if other in rows]
  return '\n'.join([before + table.start, table.header, *lines,
                    table.end + after])  # fmt: skip
