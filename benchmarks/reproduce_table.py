"""Rows of the table of claims, and its place in docs/reproduction.md."""

import dataclasses
from collections.abc import Sequence

from benchmarks import reproduce_stats as stats

# The page that has the table; links of a row lead from there.
PAGE = 'docs/reproduction.md'
START, END = '<!-- reproduce -->', '<!-- /reproduce -->'
_HEADER = """| figure | config | command | what the paper saw | what was measured here | verdict |
|---|---|---|---|---|---|"""  # noqa: E501


@dataclasses.dataclass(frozen=True)
class Result:
  """What was measured of a claim.

  Attributes:
    estimates: what was compared -> number over seeds, in order.
    deciding: those of them that gave the verdict.
    verdict: 'holds', 'does not hold here' or 'cannot be tested at this scale'.
    sentence: why.
    seeds: of every arm.
    iterations: of RL, of the longest run.
    commits: of the code that ran.
  """

  estimates: dict[str, stats.Estimate]
  deciding: tuple[str, ...]
  verdict: str
  sentence: str
  seeds: tuple[int, ...]
  iterations: int
  commits: tuple[str, ...]


def row(name: str, figure: str, paper: str, result: Result) -> str:
  """One line of the table.

  Args:
    name: of the ablation, its config and its picture.
    figure: of the paper.
    paper: what it saw.
    result: what was measured.
  """
  shown = [
    f'{what} **{stats.text(found)}**'
    if what in result.deciding
    else f'{what} {stats.text(found)}'
    for what, found in result.estimates.items()
  ]
  shown.append(
    f'{len(result.seeds)} seeds'
    + (f', {result.iterations} iterations' if result.iterations else '')
    + f', commit {" ".join(result.commits) or "unknown"}'
  )
  cells = (
    f'{figure}: [{name}]({_link(name)})',
    f'[{name}.py](../experiments/ablations/{name}.py)',
    f'`make reproduce FIGURE={name}`',
    paper,
    '; '.join(shown),
    f'**{result.verdict}**: {result.sentence}',
  )
  return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'


def picture(name: str) -> str:
  """Its path in the repository."""
  return f'docs/{_link(name)}'


def _link(name):
  return f'reproduce/{name}.png'


def update(text: str, name: str, new: str, order: Sequence[str]) -> str:
  """The page with the row of a name replaced, or put into its place.

  Args:
    text: of the page.
    name: whose row it is.
    new: the row.
    order: of the names; rows of none of them are dropped.

  Raises:
    ValueError: the page lacks one of the marks.
  """
  for mark in (START, END):
    if text.count(mark) != 1:
      raise ValueError(f'{PAGE}: {mark} is there {text.count(mark)} times')
  before, rest = text.split(START)
  inside, after = rest.split(END)
  rows = {
    other: line
    for line in inside.splitlines()
    for other in order
    if f']({_link(other)})' in line
  } | {name: new}
  lines = [rows[other] for other in order if other in rows]
  return '\n'.join([before + START, _HEADER, *lines, END + after])
