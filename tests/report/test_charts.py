"""Tests of k15/report/charts.py."""

import numpy as np
import pytest

from k15.report import charts


def test_columns_merge_the_records_of_a_step():
  records = [
    {'stage': 'rl', 'step': 1, 'time': 5.0, 'rl/reward': 0.5},
    {'stage': 'rl', 'step': 0, 'time': 4.0, 'rl/reward': None},
    {'stage': 'sft', 'step': 7, 'time': 3.0, 'sft/loss': 1.0},
    {'stage': 'rl', 'step': 1, 'time': 6.0, 'evaluation/accuracy': 0.25},
    {'stage': 'rl', 'step': 0, 'time': 6.0, 'rl/entropy': None},
  ]
  x, table = charts.columns(records, 'rl')
  np.testing.assert_array_equal(x, [0, 1])
  assert set(table) == {'rl/reward', 'evaluation/accuracy'}
  np.testing.assert_array_equal(table['rl/reward'], [np.nan, 0.5])
  np.testing.assert_array_equal(table['evaluation/accuracy'], [np.nan, 0.25])


def test_no_records_no_charts():
  x, table = charts.columns([], 'rl')
  assert charts.of_stage('rl', x, table) == []
  assert charts.of_stage('sft', x, table) == []
  assert charts.score_charts({}) == []


@pytest.mark.parametrize(
  ('difficulty', 'level'),
  [(0.0, 'easy'), (0.33, 'easy'), (0.34, 'medium'), (0.66, 'medium')]
  + [(0.67, 'hard'), (1.0, 'hard'), (None, '-')],
)
def test_levels_are_thirds_of_the_difficulty(difficulty, level):
  assert charts.level({'difficulty': difficulty}) == level


def test_verdicts_lengths_and_their_error():
  records = [{'reward': 1.0, 'length': 4}, {'reward': 0.0, 'length': 8}]
  records += [{'reward': None, 'length': 0}, {'reward': 0.9, 'length': None}]
  np.testing.assert_array_equal(charts.rights(records), [1, 0, 0, 1])
  np.testing.assert_array_equal(charts.lengths(records), [4, 8, 0, 0])
  # Half of 4 are right: sqrt(0.5 * 0.5 / 4) = 0.25.
  assert charts.standard_error(charts.rights(records)) == 0.25


def test_phases_of_time_come_in_the_order_of_an_iteration():
  names = 'checkpoint', 'evaluation', 'ref_logprobs', 'rollout', 'update'
  table = {f'time/{name}_seconds': np.ones(3) for name in names}
  ((title, figure, _),) = charts.of_stage('rl', np.arange(3.0), table)
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert title == 'Time'
  expected = 'rollout', 'ref logprobs', 'update', 'checkpoint', 'evaluation'
  assert tuple(labels) == expected


def test_bars_keep_their_order_and_count_responses():
  easy = {'reward': 1.0, 'length': 5, 'difficulty': 0.1, 'domain': 'b$x_y'}
  hard = {'reward': 0.0, 'length': 9, 'difficulty': 0.9, 'domain': 'a'}
  found = charts.score_charts({'sft': [easy, hard, hard]})
  (by_domain, by_level, *_) = [figure for _, figure, _ in found]
  assert _ticks(by_level) == ['easy\nn=1', 'hard\nn=2']
  # No dollar sign, which would begin mathematics.
  assert _ticks(by_domain) == ['a\nn=2', 'bx y\nn=1']


def _ticks(figure):
  return [tick.get_text() for tick in figure.axes[0].get_xticklabels()]


def test_a_few_items_are_spread_over_all():
  assert charts.spread(list(range(10)), 3) == [0, 3, 6]
  assert charts.spread([1, 2], 5) == [1, 2] and charts.spread([], 2) == []
