"""Tests of k15/report/figures.py."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from k15.report import figures

X = np.arange(30.0)
HOLES = np.where(X % 5 == 0, np.nan, X / 30)


def test_running_mean_uses_fewer_values_at_the_ends():
  values = np.array([3.0, 0.0, 0.0, 6.0, 9.0])
  # (3+0)/2, (3+0+0)/3, (0+0+6)/3, (0+6+9)/3, (6+9)/2.
  expected = [1.5, 1.0, 2.0, 5.0, 7.5]
  np.testing.assert_allclose(figures.running_mean(values, 3), expected)
  np.testing.assert_array_equal(figures.running_mean(values, 1), values)


@pytest.mark.parametrize('count', [0, 1, 2, 30])
def test_every_figure_draws_any_number_of_points(count):
  x, y = X[:count], HOLES[:count]
  for figure in (
    figures.curves(x, {'a': y, 'b': y}, 'unit', points=('b',)),
    figures.log_ratio(x, -y, y, 3 * y),
    figures.log_ratio(x, y * np.nan, 0 * y, y),
    figures.stacked(x, {'a': y, 'b': y}, 'unit', top=1),
    figures.scatter(y, y, x),
    figures.learning_curve(x, y, y),
  ):
    assert figures.to_png(figure, dpi=20).startswith(b'\x89PNG')


def test_thin_measurements_and_a_thick_mean():
  figure = figures.curves(X, {'reward': HOLES}, 'reward')
  thin, thick = figure.axes[0].lines
  assert thin.get_linewidth() < thick.get_linewidth()
  assert np.isfinite(thin.get_ydata()).all() and len(thin.get_xdata()) == 24
  (line,) = figures.curves(X, {'loss': X}, 'nats', smooth=False).axes[0].lines
  np.testing.assert_array_equal(line.get_ydata(), X)


def test_bars_stand_side_by_side():
  values, errors = np.array([40.0, np.nan]), np.array([5.0, 0.0])
  series = {'after SFT': (values, errors), 'after RL': (values + 30, errors)}
  figure = figures.bars(['a\nn=3', 'b\nn=0'], series, 'accuracy, %', top=100)
  assert figures.to_png(figure, dpi=20).startswith(b'\x89PNG')
  left, right = figure.axes[0].containers[0][0], figure.axes[0].containers[2][0]
  assert left.get_height() == 40 and right.get_height() == 70
  assert left.get_x() + left.get_width() <= right.get_x()


def test_shares_have_a_panel_each_and_one_legend():
  panels = {'accuracy': {'a': X / 24, 'b': HOLES}, 'agreement': {'c': X / 24}}
  figure = figures.shares(X, panels)
  assert [axes.get_ylabel() for axes in figure.axes] == [*panels]
  (legend,) = figure.legends
  assert [text.get_text() for text in legend.get_texts()] == ['a', 'b', 'c']
  small = figures.small_shares(X, dict.fromkeys('abcde', HOLES))
  assert [axes.get_title() for axes in small.axes] == [*'abcde', '', '', '']
  for picture in (figure, small):
    assert figures.to_png(picture, dpi=20).startswith(b'\x89PNG')


def test_nothing_goes_through_pyplot():
  code = (
    'import sys, k15.report.figures;'
    ' sys.exit("matplotlib.pyplot" in sys.modules)'
  )
  root = pathlib.Path(figures.__file__).parents[2]
  subprocess.run([sys.executable, '-c', code], check=True, cwd=root)
