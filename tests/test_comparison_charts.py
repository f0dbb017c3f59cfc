"""Which numbers go into which chart of a comparison."""

import numpy as np
import run_dirs

from k15 import comparison
from k15 import comparison_charts
from k15 import run_files


def _groups(*paths):
  return comparison.group(run_files.read(paths))


def test_what_two_runs_have_logged_is_drawn(tmp_path):
  groups = _groups(
    run_dirs.write(tmp_path / 'a', rewards=(0.2, 0.4), lengths=(9, 9)),
    run_dirs.write(tmp_path / 'b', config={'tau': 1}),
    run_dirs.write(tmp_path / 'c', config={'tau': 2}, stage='sft'),
  )
  made = comparison_charts.stage_charts(groups, 'rl')
  titles = [title for title, _, _ in made]
  assert titles == ['Reward', 'Response length', 'Seconds per iteration']
  for _, _, caption in made:
    assert caption == 'Not logged: stages=sft, iterations=1, tau=2.'
  # Rollout and update; judging goes on beside, evaluation is no training.
  (axes,) = made[-1][1].axes
  assert {y for line in axes.lines for y in line.get_ydata()} == {3.0}


def test_what_one_run_has_logged_is_no_comparison(tmp_path):
  groups = _groups(
    run_dirs.write(tmp_path / 'a'),
    run_dirs.write(tmp_path / 'b', stage='short_rl'),
  )
  assert comparison_charts.stage_charts(groups, 'rl') == []
  assert comparison_charts.stage_charts(groups, 'sft') == []


def test_seeds_of_one_group_are_compared(tmp_path):
  groups = _groups(
    *(run_dirs.write(tmp_path / f'{s}', s, rewards=(s,)) for s in (0, 1, 2))
  )
  (_, figure, caption), *_ = comparison_charts.stage_charts(groups, 'rl')
  assert caption == ''
  (axes,) = figure.axes
  thick = [line for line in axes.lines if line.get_linewidth() == 2]
  np.testing.assert_allclose(thick[-1].get_ydata(), [1.0])


def test_many_groups_without_a_curve_are_counted(tmp_path):
  paths = [
    run_dirs.write(tmp_path / f'{i}', config={'tau': i}, stage=stage)
    for i, stage in enumerate(('rl', 'rl', 'sft', 'sft', 'dpo', 'merge'))
  ]
  (_, _, caption), *_ = comparison_charts.stage_charts(_groups(*paths), 'rl')
  assert caption == '4 of 6 groups have not logged this.'
