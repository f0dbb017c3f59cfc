"""Tags around the working, its summary behind them, and lines in Chinese."""

import numpy as np
import pytest

from k15.data import arithmetic
from k15.data import arithmetic_traces
from k15.data import solution_forms
from k15.rewards import rules

TRACE = 'plan digits\n2*4=8+0=8 so 8\n#### 8'


class _Drawn:
  """What numpy's generator would draw; nothing is left at the end."""

  def __init__(self, *values):
    self.values = list(values)

  def random(self):
    return self.values.pop(0)


def test_forms_of_a_trace():
  rng = _Drawn()
  plain = solution_forms.Form().write(TRACE, rng)
  assert plain == TRACE
  think = solution_forms.Form('think').write(TRACE, rng)
  assert think == '<think>\nplan digits\n2*4=8+0=8 so 8\n</think>\n#### 8'
  answer = solution_forms.Form('answer').write(TRACE, rng)
  assert not rules.format_fault(answer)
  assert answer.endswith('</think>\n<answer>\n#### 8\n</answer>')
  for written in (plain, think, answer):
    assert rules.is_correct(written, '8', '####')


def test_the_summary_of_one_line_is_its_last_sentence():
  form = solution_forms.Form('think')
  story = 'First, 3 * 4 = 12. So the answer is \\boxed{12}.'
  assert form.write(story, _Drawn()) == (
    '<think>\nFirst, 3 * 4 = 12.\n</think>\nSo the answer is \\boxed{12}.'
  )
  # Who answers without working thinks nothing, and has no form that pays.
  bare = solution_forms.Form('answer').write('The answer is 12.', _Drawn())
  assert rules.format_fault(bare) == 'empty'


def test_rates_are_chances_of_a_solution_and_of_its_lines():
  form = solution_forms.Form('think', formless_rate=0.5, mixing_rate=0.5)
  mixed = form.write(TRACE, _Drawn(0.4, 0.6, 0.3))
  assert mixed == '计划 逐位\n2*4=8+0=8 so 8\n#### 8'
  # Two ideographs each, against one word.
  assert rules.language_consistency(mixed, 'cjk') == 4 / 5
  kept = form.write(TRACE, _Drawn(0.6, 0.4, 0.7))
  assert kept == ('<think>\nplan digits\n2*4=8+0=8 得到 8\n</think>\n#### 8')


@pytest.mark.parametrize('kind', arithmetic.KINDS)
def test_a_trace_is_wholly_in_either_language(kind):
  habits = arithmetic_traces.Habits(0.3, 0.3, 0.3, 1.0)
  rng = np.random.default_rng(0)
  form = solution_forms.Form('think', mixing_rate=1.0)
  for _ in range(20):
    problem = arithmetic.make_problem(kind, 1, rng)
    trace = arithmetic_traces.write_trace(problem, habits, rng)
    assert rules.language_consistency(trace, 'latin') == 1
    translated = form.write(trace, rng)
    assert rules.language_consistency(translated, 'cjk') == 1
    assert translated.splitlines()[-1] == trace.splitlines()[-1]
