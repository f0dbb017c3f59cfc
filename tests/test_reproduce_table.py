"""Rows of the table of claims in docs/reproduction.md."""

import pytest

from benchmarks import ablation_page
from benchmarks import findings

ORDER = ['context_length', 'curriculum', 'tau']
RESULT = ablation_page.Result(
  estimates={
    'accuracy: a minus b': findings.Estimate((0.04, 0.06), 0.05, 0.0123),
    'tokens|response': findings.Estimate((3.0,), 3.0, 0.5),
  },
  deciding=('accuracy: a minus b',),
  verdict='holds',
  sentence='the interval lies wholly on the expected side',
  seeds=(0, 1),
  iterations=42,
  commits=('abc1234',),
)


def _row(name):
  return ablation_page.row(name, 'Fig. 9', 'Above.', RESULT)


def test_a_row_says_what_was_seen_and_measured():
  assert _row('curriculum') == (
    '| Fig. 9: [curriculum](reproduce/curriculum.png)'
    ' | [curriculum.py](../experiments/ablations/curriculum.py)'
    ' | `make reproduce FIGURE=curriculum` | Above.'
    ' | accuracy: a minus b **0.050 ± 0.012**; tokens\\|response 3.00 ± 0.50;'
    ' 2 seeds, 42 iterations, commit abc1234'
    ' | **holds**: the interval lies wholly on the expected side |'
  )


def test_rows_stay_in_order_and_keep_what_was_not_run_again():
  text = f'# k15\n\n{ablation_page.START}\n{ablation_page.END}\n\n## More\n'
  for name in ('tau', 'context_length', 'curriculum'):
    text = ablation_page.update(text, name, _row(name), ORDER)
  lines = text.splitlines()
  assert lines[:3] == ['# k15', '', ablation_page.START]
  assert [line.split(' | ')[0] for line in lines[5:8]] == [
    f'| Fig. 9: [{name}](reproduce/{name}.png)' for name in ORDER
  ]
  assert lines[8:] == [ablation_page.END, '', '## More']
  new = _row('tau').replace('Above.', 'Below.')
  again = ablation_page.update(text, 'tau', new, ORDER)
  assert again == text.replace(_row('tau'), new)
  assert ablation_page.update(again, 'tau', new, ORDER) == again


def test_a_page_without_marks_is_refused():
  with pytest.raises(ValueError, match='<!-- /reproduce --> is there 0 times'):
    ablation_page.update(f'{ablation_page.START}\n', 'tau', '', ORDER)
