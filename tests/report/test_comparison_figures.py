"""Figures of groups.

Which numbers go into which chart of a comparison.
"""

import math

import numpy as np
import run_dirs

from k15.report import comparison_figures
from k15.report import figures
from k15.report import groups as groups_lib
from k15.report import runs
from k15.report.scores import Estimate

T2 = 4.302653  # Student's t at 95 %, 2 degrees


def _curve(*values):
  return np.arange(len(values), dtype=float), np.array(values, float)


def _solid(axes):
  return [line for line in axes.lines if line.get_linewidth() == 2]


def test_seeds_are_thin_their_mean_thick_and_the_band_is_students():
  lines = {'a': [_curve(1, 2), _curve(2, 4), _curve(3, 6)]}
  figure = comparison_figures.curves(lines, 'y')
  (axes,) = figure.axes
  thin = [line for line in axes.lines if line.get_linewidth() == 0.7]
  assert [list(line.get_ydata()) for line in thin] == [[1, 2], [2, 4], [3, 6]]
  assert list(_solid(axes)[-1].get_ydata()) == [2, 4]
  (band,) = axes.collections
  # s = 1 and 2 over sqrt(3).
  (outline,) = (path.vertices[:, 1] for path in band.get_paths())
  low, high = outline.min(), outline.max()
  np.testing.assert_allclose(low, 4 - 2 * T2 / math.sqrt(3), atol=1e-6)
  np.testing.assert_allclose(high, 4 + 2 * T2 / math.sqrt(3), atol=1e-6)


def test_the_mean_is_dotted_where_a_seed_is_missing():
  lines = {'a': [_curve(1, 1, 1), _curve(3, 3)], 'b': [_curve(0, 0, 0)]}
  (axes,) = comparison_figures.curves(lines, 'y').axes
  dotted, solid = _solid(axes)[:2]
  assert dotted.get_linestyle() == ':' and list(dotted.get_ydata()) == [2, 2, 1]
  np.testing.assert_array_equal(solid.get_ydata(), [2, 2, np.nan])
  labels = [text.get_text() for text in axes.figure.legends[0].get_texts()]
  assert labels == ['a', 'b']


def test_steps_of_seeds_need_not_be_the_same():
  x, rows = comparison_figures.aligned(
    [(np.array([0.0, 2]), np.array([1.0, 3])), (np.array([2.0]), np.ones(1))]
  )
  assert list(x) == [0, 2]
  np.testing.assert_array_equal(rows, [[1, 3], [np.nan, 1]])
  x, rows = comparison_figures.aligned([])
  assert len(x) == 0 and rows.shape == (0, 0)


def test_a_broken_off_seed_is_smoothed_as_far_as_it_goes():
  lines = {'a': [_curve(*range(20)), _curve(0, 6, 0), _curve(math.nan)]}
  (axes,) = comparison_figures.curves(lines, 'y').axes
  thin = [line for line in axes.lines if line.get_linewidth() == 0.7]
  # Three around each of the middle, two at the ends.
  np.testing.assert_allclose(thin[1].get_ydata(), [3, 2, 3])
  assert len(thin[2].get_ydata()) == 0


def test_groups_after_the_eighth_are_grey_under_one_name():
  lines = {f'g{i}': [_curve(i, i)] for i in range(11)}
  (axes,) = comparison_figures.curves(lines, 'y').axes
  colors = [line.get_color() for line in axes.lines if line.get_marker() == 'o']
  grey = comparison_figures.GREY
  assert colors == [*figures.COLORS, grey, grey, grey]
  labels = axes.get_legend_handles_labels()[1]
  assert labels == [*(f'g{i}' for i in range(8)), '3 more']


def test_long_labels_have_no_legend_and_no_mathematics():
  lines = {'_$x_{$' + 'y' * 50 + i: [_curve(1, 2)] for i in 'ab'}
  figure = comparison_figures.curves(lines, 'y')
  assert not figure.legends
  assert figures.to_png(figure).startswith(b'\x89PNG')


def test_a_log_axis_only_where_values_span_a_power_of_ten():
  for values, scale in (((1, 50), 'log'), ((1, 5), 'linear')):
    lines = {'a': [_curve(*values)]}
    (axes,) = comparison_figures.curves(lines, 'y', is_log=True).axes
    assert axes.get_yscale() == scale


def test_nothing_finite_is_an_empty_picture():
  lines = {'a': [_curve(math.nan)], 'b': []}
  figure = comparison_figures.curves(lines, 'y', limits=(0, 1), is_log=True)
  assert figures.to_png(figure).startswith(b'\x89PNG')


def test_a_point_a_group_with_bars_of_its_kind():
  estimates = {
    'seeds': (Estimate(60, 5, 'seeds', 3), Estimate(0.9, 0.1, 'seeds', 3)),
    'one': (Estimate(50, 2, 'problems', 9), Estimate(0.8)),
    'none': (None, Estimate(0.7)),
  }
  seeds = {'seeds': [(59, 0.9), (61, 0.9)], 'one': [(50, 0.8)], 'none': []}
  (axes,) = comparison_figures.against_tokens(estimates, seeds).axes
  clouds = [cloud.get_offsets().tolist() for cloud in axes.collections]
  assert clouds == [[[59, 0.9], [61, 0.9]], [[60, 0.9]], [[50, 0.8]]]
  across, up, dotted, _ = axes.lines
  assert list(across.get_xdata()) == [55, 65] and across.get_linestyle() == '-'
  np.testing.assert_allclose(up.get_ydata(), [0.8, 1.0])
  assert list(dotted.get_xdata()) == [48, 52] and dotted.get_linestyle() == ':'


def test_ranges_go_down_the_page():
  estimates = {
    'a': Estimate(0.5, 0.1, 'seeds', 3), 'b': None, 'c': Estimate(0.6),
  }  # fmt: skip
  (axes,) = comparison_figures.ranges(estimates).axes
  (line,) = axes.lines
  np.testing.assert_allclose(line.get_xdata(), [0.4, 0.6])
  assert [text.get_text() for text in axes.get_yticklabels()] == list('abc')
  assert axes.yaxis_inverted()
  many = {f'group {i} with a name that is long': None for i in range(60)}
  (axes,) = comparison_figures.ranges(many).axes
  assert axes.figure.get_figheight() > 10
  assert all('\n' not in t.get_text() for t in axes.get_yticklabels())


def test_a_run_alone_is_also_shown_as_it_was_measured():
  (axes,) = comparison_figures.curves({'a': [_curve(*range(20))]}, 'y').axes
  assert list(axes.lines[0].get_ydata()) == list(range(20))
  assert axes.lines[0].get_linewidth() == 0.8


def _groups(*paths):
  return groups_lib.group(runs.read(paths))


def test_what_two_runs_have_logged_is_drawn(tmp_path):
  groups = _groups(
    run_dirs.write(tmp_path / 'a', rewards=(0.2, 0.4), lengths=(9, 9)),
    run_dirs.write(tmp_path / 'b', config={'tau': 1}),
    run_dirs.write(tmp_path / 'c', config={'tau': 2}, stage='sft'),
  )
  made = comparison_figures.stage_charts(groups, 'rl')
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
  assert comparison_figures.stage_charts(groups, 'rl') == []
  assert comparison_figures.stage_charts(groups, 'sft') == []


def test_seeds_of_one_group_are_compared(tmp_path):
  groups = _groups(
    *(run_dirs.write(tmp_path / f'{s}', s, rewards=(s,)) for s in (0, 1, 2))
  )
  (_, figure, caption), *_ = comparison_figures.stage_charts(groups, 'rl')
  assert caption == ''
  (axes,) = figure.axes
  thick = [line for line in axes.lines if line.get_linewidth() == 2]
  np.testing.assert_allclose(thick[-1].get_ydata(), [1.0])


def test_many_groups_without_a_curve_are_counted(tmp_path):
  paths = [
    run_dirs.write(tmp_path / f'{i}', config={'tau': i}, stage=stage)
    for i, stage in enumerate(('rl', 'rl', 'sft', 'sft', 'dpo', 'merge'))
  ]
  (_, _, caption), *_ = comparison_figures.stage_charts(_groups(*paths), 'rl')
  assert caption == '4 of 6 groups have not logged this.'
