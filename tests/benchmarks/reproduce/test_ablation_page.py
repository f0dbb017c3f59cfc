"""Pictures of claims.

Rows of the table of claims in docs/reproduction.md.
"""

import pathlib

import fake_ablation as fake
import numpy as np
import pytest

from benchmarks.reproduce import ablation_page
from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import findings
from experiments.ablations.claims import Claim
from experiments.ablations.claims import Panel
from k15.report import figures

ROOT = pathlib.Path(__file__).resolve().parents[3]
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


def test_the_page_has_this_header():
  page = (ROOT / ablation_page.PAGE).read_text()
  assert f'{ablation_page.START}\n{ablation_page.HEADER}\n| ' in page


def test_a_page_without_marks_is_refused():
  with pytest.raises(ValueError, match='<!-- /reproduce --> is there 0 times'):
    ablation_page.update(f'{ablation_page.START}\n', 'tau', '', ORDER)
