"""Rows of claims, in docs/reproduction.md and in the README."""

import pathlib
import re

import pytest

from benchmarks.reproduce import tables
from benchmarks.reproduce import verdicts

ROOT = pathlib.Path(__file__).resolve().parents[3]
ORDER = ['context_length', 'curriculum', 'tau']
BOTH = [tables.DOCS, tables.README]
AREA = 'accuracy: a minus b'
FOUND = dict(values=[0.04, 0.06], mean=0.05, half_width=0.0123)
CONTENT = dict(
  name='tau',
  figure='Fig. 9',
  outcome='Rested',
  sentence='the interval lies wholly on the expected side',
  verdict='holds',
  measures={
    'tokens|response': dict(values=[3.0], mean=3.0, half_width=None),
    AREA: FOUND | dict(decides=True, verdict='holds'),
  },
)
VISITS = FOUND | dict(least=3, most=None, fails=True)


def test_a_row_of_docs_has_the_verdict_and_why():
  row = '| Fig. 9: [tau](reproduce/tau.md) | holds | '
  assert tables.docs_row(CONTENT) == f'{row}Rested |'
  # An outcome is written after the runs.
  content = CONTENT | dict(outcome='')
  assert tables.docs_row(content) == f'{row}{CONTENT["sentence"]} |'


def test_a_row_of_the_readme_has_the_number_that_gave_the_verdict():
  def row(**changed):
    return tables.readme_row(CONTENT | changed)

  start = '| [tau](docs/reproduce/tau.md), Fig. 9 | '
  assert row() == f'{start}accuracy: a minus b 0.050 ± 0.012 | holds |'
  assert row(verdict='not posed here', checks=dict(visits=VISITS)) == (
    f'{start}visits: 0.050 ± 0.012, at least 3: fails | not posed here |'
  )
  assert row(verdict='nothing expected') == (
    f'{start}tokens\\|response 3 | nothing expected |'
  )
  lost = dict(values=[], mean=None, half_width=None, verdict='cannot tell')
  assert row(verdict='cannot tell', measures={AREA: lost}) == (
    f'{start}accuracy: a minus b not measured | cannot tell |'
  )
  long = row(measures={'a' * 300: FOUND | dict(verdict='holds')})
  assert len(long) == 200 and long.endswith('aaa | holds |')


@pytest.mark.parametrize('table', BOTH)
def test_rows_stay_in_order_and_keep_what_was_not_run_again(table):
  def row(name):
    return f'| [{name}](reproduce/{name}.md) | Above. |'

  text = f'# k15\n\n{table.start}\n{table.end}\n\n## More\n'
  for name in ('tau', 'context_length', 'curriculum'):
    text = tables.update(table, text, name, row(name), ORDER)
  lines = text.splitlines()
  assert lines[:3] == ['# k15', '', table.start]
  assert lines[3:5] == tables.header(table.columns).splitlines()
  assert lines[5:8] == [row(name) for name in ORDER]
  assert lines[8:] == [table.end, '', '## More']
  new = row('tau').replace('Above.', 'Below.')
  again = tables.update(table, text, 'tau', new, ORDER)
  assert again == text.replace(row('tau'), new)
  assert tables.update(table, again, 'tau', new, ORDER) == again


@pytest.mark.parametrize('table', BOTH)
def test_the_page_has_rows_of_this_form(table):
  page = (ROOT / table.page).read_text()
  assert f'{table.start}\n{tables.header(table.columns)}\n| ' in page
  rows = page.split(table.start)[1].split(table.end)[0].splitlines()[3:]
  known = [*verdicts.ORDER, verdicts.NOT_POSED, verdicts.NOTHING]
  for row in rows:
    cells = re.split(r' (?<!\\)\| ', row.strip('| '))
    assert len(cells) == len(table.columns)
    verdict = cells[table.columns.index('verdict')]
    assert verdict.removesuffix(', of an earlier design') in known
    assert table is tables.DOCS or len(row) <= 200


def test_a_page_without_marks_is_refused():
  table = tables.DOCS
  with pytest.raises(ValueError, match='<!-- /reproduce --> is there 0 times'):
    tables.update(table, f'{table.start}\n', 'tau', '', ORDER)
