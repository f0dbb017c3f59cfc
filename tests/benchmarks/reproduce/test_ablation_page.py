"""Pictures of claims."""

import fake_ablation as fake
import numpy as np
import pytest

from benchmarks.reproduce import ablation_page
from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import findings
from benchmarks.reproduce import verdicts
from experiments.ablations.claims import Claim
from experiments.ablations.claims import Panel
from k15.report import figures

START = 'length_reward.start_iteration'
ARMS = {'none': {}, 'late': {'length_reward.weight': 0.5, START: 2}}
PANELS = (
  Panel('rl/reward', mark=('late', START)),
  Panel('rl/reward', 'seconds_total'),
  Panel('rl/reward', 'rl/length_mean', fit=True),
)


def _claim(*panels):
  return Claim('Fig. 9', 'Is it so?', 'It is.', panels, ())


@pytest.fixture
def arms(tmp_path):
  def curves(config):
    y = np.arange(5) / 5 + config['seed'] / 10
    seconds = np.ones(5) * (1 + config['seed'])
    return {
      'rl/reward': y, 'rl/length_mean': 10 + 20 * y,
      'time/update_seconds': seconds,
    }  # fmt: skip

  config = fake.write_file(tmp_path / 'a.py', ARMS, seeds=3)
  units = fake.write_runs(
    config,
    tmp_path / 'r',
    curves,
    accuracy_after_rl=0.5,
    mean_tokens_after_rl=9,
  )
  return data.read_arms(config, units, tmp_path / 'r')[0]


def test_seeds_are_thin_and_their_mean_is_thick(arms):
  figure = ablation_page.draw(_claim(*PANELS), arms)
  axes = figure.axes[0]
  widths = [line.get_linewidth() for line in axes.lines]
  assert sorted(widths) == [0.8] * 6 + [1] + [2.2] * 2  # 1: the mark
  means = [line for line in axes.lines if line.get_linewidth() == 2.2]
  np.testing.assert_allclose(means[0].get_ydata(), np.arange(5) / 5 + 0.1)
  assert [line.get_label() for line in means] == ['none', 'late']
  assert [text.get_text() for text in axes.texts] == ['start iteration 2']
  assert len(axes.collections) == 2  # bands
  assert figure.get_suptitle().strip() == 'Is it so?'
  (legend,) = figure.legends
  assert [text.get_text() for text in legend.get_texts()] == ['none', 'late']
  assert figures.to_png(figure, dpi=20).startswith(b'\x89PNG')


def test_conditions_are_in_the_caption(arms):
  found = findings.Estimate((0.5, 0.7), 0.6, 0.1)
  condition = verdicts.Condition('visits', found, 3, None)
  figure = ablation_page.draw(_claim(*PANELS), arms, [condition])
  assert figure.get_supxlabel() == (
    'Fig. 9: 3 seeds thin, their mean thick, its 95 % interval shaded\n'
    'visits: 0.60 ± 0.10, at least 3: fails'
  )


def test_slopes_are_in_the_legend_of_their_panel(arms):
  figure = ablation_page.draw(_claim(*PANELS), arms)
  texts = figure.axes[2].get_legend().get_texts()
  # Every seed's reward rises by 1 in 20 tokens.
  assert texts[0].get_text() == 'none: 0.050 ± 0.000'


def test_one_seed_and_an_arm_without_runs(arms):
  arms['none'].clear()
  del arms['late'][1], arms['late'][2]
  figure = ablation_page.draw(_claim(*PANELS), arms)
  assert figures.to_png(figure, dpi=20).startswith(b'\x89PNG')
  assert len(figure.legends[0].get_texts()) == 1


def test_ends_of_runs_have_names_beside_them(arms):
  panel = Panel('summary/accuracy', 'summary/mean_tokens')
  figure = ablation_page.draw(_claim(panel), arms)
  axes = figure.axes[0]
  assert [text.get_text() for text in axes.texts] == ['none', 'late']
  assert not figure.legends
  assert figures.to_png(figure, dpi=20).startswith(b'\x89PNG')


def test_a_mean_curve_is_over_what_all_seeds_have():
  i = np.array([0, 2, 4])
  points = {0: (i, i * 1.0, i + 1.0), 1: (i[1:], i[1:] * 3.0, i[1:] + 3.0)}
  x, mean, half = ablation_page.mean_curve(points)
  assert x.tolist() == [4, 8]
  assert mean.tolist() == [4, 6]
  # s = sqrt(2), of two: s / sqrt(2) = 1; t(1 degree of freedom) = 12.706.
  np.testing.assert_allclose(half, [12.706, 12.706], atol=1e-3)
