"""Rows of claims, in docs/reproduction.md and in the README."""

import dataclasses
import pathlib
import re

import pytest

from benchmarks.reproduce import findings
from benchmarks.reproduce import tables
from benchmarks.reproduce import verdicts
from experiments.ablations.claims import Claim

ROOT = pathlib.Path(__file__).resolve().parents[3]
ORDER = ['context_length', 'curriculum', 'tau']
BOTH = [tables.DOCS, tables.README]
CLAIM = Claim('Fig. 9', 'Is it so?', 'Above.', (), ())
AREA = 'accuracy: a minus b'
FOUND = findings.Estimate((0.04, 0.06), 0.05, 0.0123)
RESULT = verdicts.Result(
  estimates={
    'tokens|response': findings.Estimate((3.0,), 3.0, 0.5), AREA: FOUND,
  },
  judged={AREA: verdicts.Finding('holds', 'as expected')},
  conditions=(),
  verdict='holds',
  sentence='the interval lies wholly on the expected side',
  outcome='Rested',
  seeds=(0, 1),
  iterations=42,
  commits=('abc1234',),
)  # fmt: skip
VISITS = verdicts.Condition('visits', FOUND, 3, None)


def _row(name, **changed):
  return tables.long_row(name, CLAIM, dataclasses.replace(RESULT, **changed))


def test_a_long_row_has_all_numbers():
  assert _row('curriculum') == (
    '| Fig. 9: [curriculum](reproduce/curriculum.png),'
    ' [config](../experiments/ablations/curriculum.py) | Above.'
    ' | tokens\\|response 3.00 ± 0.50;'
    ' accuracy: a minus b **0.050 ± 0.012** (holds);'
    ' 2 seeds, 42 iterations, commit abc1234 | none'
    ' | **holds**: the interval lies wholly on the expected side. Rested |'
  )


def test_a_long_row_has_conditions_and_what_was_changed():
  row = _row('curriculum', conditions=(VISITS,), estimates={AREA: None})
  assert '| visits: 0.050 ± 0.012, at least 3: fails |' in row
  assert '| accuracy: a minus b **not measured** (holds); 2 seeds' in row
  claim = dataclasses.replace(CLAIM, changed='the margin')
  row = tables.long_row('curriculum', claim, RESULT)
  assert row.endswith('Rested. *Changed after the runs*: the margin |')


def test_a_short_row_has_the_number_that_gave_the_verdict():
  def short(**changed):
    result = dataclasses.replace(RESULT, **changed)
    return tables.short_row('tau', CLAIM, result)

  start = '| [tau](docs/reproduce/tau.png), Fig. 9 | '
  assert short() == f'{start}accuracy: a minus b 0.050 ± 0.012 | holds |'
  assert short(verdict='not posed here', conditions=(VISITS,)) == (
    f'{start}visits: 0.050 ± 0.012, at least 3: fails | not posed here |'
  )
  assert short(verdict='nothing expected', judged={}) == (
    f'{start}tokens\\|response 3.00 ± 0.50 | nothing expected |'
  )
  long = 'a' * 300
  row = short(estimates={long: FOUND}, judged={long: RESULT.judged[AREA]})
  assert len(row) == 200 and row.endswith('aaa | holds |')


@pytest.mark.parametrize('table', BOTH)
def test_rows_stay_in_order_and_keep_what_was_not_run_again(table):
  def row(name):
    return f'| [{name}](reproduce/{name}.png) | Above. |'

  text = f'# k15\n\n{table.start}\n{table.end}\n\n## More\n'
  for name in ('tau', 'context_length', 'curriculum'):
    text = tables.update(table, text, name, row(name), ORDER)
  lines = text.splitlines()
  assert lines[:3] == ['# k15', '', table.start]
  assert lines[3:5] == table.header.splitlines()
  assert lines[5:8] == [row(name) for name in ORDER]
  assert lines[8:] == [table.end, '', '## More']
  new = row('tau').replace('Above.', 'Below.')
  again = tables.update(table, text, 'tau', new, ORDER)
  assert again == text.replace(row('tau'), new)
  assert tables.update(table, again, 'tau', new, ORDER) == again


@pytest.mark.parametrize('table', BOTH)
def test_the_page_has_rows_of_this_form(table):
  page = (ROOT / table.page).read_text()
  assert f'{table.start}\n{table.header}\n| ' in page
  rows = page.split(table.start)[1].split(table.end)[0].splitlines()[3:]
  known = '|'.join([*verdicts.ORDER, verdicts.NOT_POSED, verdicts.NOTHING])
  for row in rows:
    assert len(re.findall(r'(?<!\\)\|', row)) == len(table.columns) + 1
    last = re.split(r'(?<!\\)\|', row)[-2]
    assert re.match(rf' (\*\*)?({known})\b', last), row
    assert table is tables.DOCS or len(row) <= 200


def test_a_page_without_marks_is_refused():
  table = tables.DOCS
  with pytest.raises(ValueError, match='<!-- /reproduce --> is there 0 times'):
    tables.update(table, f'{table.start}\n', 'tau', '', ORDER)
