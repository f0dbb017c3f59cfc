"""The picture of a claim: seeds are thin, their mean is thick.

The interval of the mean is shaded, and the claim's checks are in the caption.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import findings
from benchmarks.reproduce import verdicts
from experiments.ablations import claims
from k15.equations import statistics
from k15.report import figures

_LABELS = {
  'iteration': 'iteration',
  'seconds_total': 'seconds of RL, compilation included',
  'seconds': 'seconds of an iteration',
  'decode_steps': 'decode steps of an iteration',
  claims.DECODED: 'decode steps of RL',
  claims.TRAINED: 'responses trained',
  claims.GREEDY: 'greedy accuracy, held-out problems',
  'evaluation/accuracy': 'accuracy, held-out problems',
  'evaluation/accuracy_hard': 'accuracy, hard held-out problems',
  'evaluation/accuracy_easy': 'accuracy, easy held-out problems',
  'evaluation/mean_tokens': 'mean response, held-out problems, tokens',
  'summary/accuracy': 'accuracy, held-out problems',
  'summary/mean_tokens': 'mean response, held-out problems, tokens',
  'rl/reward': 'reward, training problems',
  'rl/length_mean': 'mean response, training problems, tokens',
  'rl/log_ratio_rms': 'log-ratio of a response, rms, nats',
  'rl/last_log_ratio_rms': 'log-ratio at the last update, rms, nats',
  'rl/entropy': 'entropy, nats a token',
  **{
    f'text/held_out_domain_{name}': f'{name}, held out, nats a token'
    for name in ('equations', 'prose', 'tables')
  },
  **{
    f'text/held_out_at_{n}': f'rows of {n}, held out, nats a token'
    for n in (64, 256, 512)
  },
  'text/needle_at_256': 'notes found in rows of 256',
}
_INK, _GRAY = '#39424e', '#8a94a3'
_LEFT = 0.012  # of the width: where texts begin
_TITLE_INCHES = 0.3  # from the top to the legend


def draw(
  claim: claims.Claim,
  arms: data.Arms,
  conditions: Sequence[verdicts.Condition] = (),
) -> Figure:
  """All panels of a claim, with the question above and arms in a legend.

  Panels of what published runs did not keep are left out.

  Args:
    arms: runs by label and seed; an arm without any is left out.
    conditions: the claim's checks, for the caption.

  Raises:
    DataError: a run does not have a metric.
  """
  panels = [panel for panel in claim.panels if _is_kept(panel, arms)]
  count = len(panels)
  height = 4.2 + 0.16 * len(conditions)
  figure = Figure(
    figsize=(max(6.4, 0.6 + 4.2 * count), height), layout='constrained'
  )
  colors = {
    label: figures.COLORS[i % len(figures.COLORS)]
    for i, label in enumerate(arms)
  }
  arms = {label: runs for label, runs in arms.items() if runs}
  for axes, panel in zip(
    figure.subplots(1, count, squeeze=False)[0], panels, strict=True
  ):
    figures.style(axes, _label(panel.x), _label(panel.y))
    for label, runs in arms.items():
      _draw_arm(axes, panel, list(runs.values()), colors[label], label)
    _mark(axes, panel, arms)
  _head(figure, panels[0], claim, arms, conditions)
  return figure


def _is_kept(panel, arms):
  try:
    for runs in arms.values():
      for run in runs.values():
        data.pairs(run, panel.y, panel.x)
  except data.NotKept:
    return False
  return True


def mean_curve(
  points: Mapping[int, tuple[np.ndarray, ...]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Means over seeds at the iterations that all of them have.

  Args:
    points: iterations, x, y, float [N] each, by seed.

  Returns:
    x, y, and half the width of y's 95 % interval, float [M]; it is NaN for a
    single seed.
  """
  tables = [
    {i: (x, y) for i, x, y in zip(*arrays, strict=True)}
    for arrays in points.values()
  ]
  shared = sorted(set.intersection(*(set(table) for table in tables)))
  x, y = (
    np.array([[table[i][place] for i in shared] for table in tables])
    for place in (0, 1)
  )
  means, half_widths, _ = statistics.band(y)
  return x.mean(axis=0), means, half_widths


def _draw_arm(axes, panel, runs, color, label):
  points = {run.seed: data.pairs(run, panel.y, panel.x) for run in runs}
  if panel.y.startswith('summary/'):
    _ends(axes, points, color, label)
  elif panel.x == 'iteration' or panel.x.endswith('_total'):
    _curves(axes, points, color, label)
  else:
    _against(axes, points, panel.fit, color, label)


def _curves(axes, points, color, label):
  for _, x, y in points.values():
    axes.plot(x, y, color=color, linewidth=0.8, alpha=0.3)
  axes.set_xlim(left=0)
  x, mean, half = mean_curve(points)
  axes.fill_between(
    x, mean - half, mean + half, color=color, alpha=0.16, linewidth=0
  )
  axes.plot(x, mean, color=color, linewidth=2.2, label=label)


def _against(axes, points, fit, color, label):
  """Points of all seeds; their lines, and the line of the mean slope."""
  slopes, at = [], []
  for _, x, y in points.values():
    axes.plot(x, y, 'o', color=color, markersize=3, alpha=0.35, mew=0)
    slope = findings.slope(x, y)
    if not fit or not np.isfinite(slope):
      continue
    ends = np.array([x.min(), x.max()])
    line = y.mean() + slope * (ends - x.mean())
    axes.plot(ends, line, color=color, linewidth=0.8, alpha=0.45)
    slopes.append(slope)
    at.append((*ends, x.mean(), y.mean()))
  if not slopes:
    axes.plot([], [], 'o', color=color, label=label)
    return
  low, high, x, y = np.mean(at, axis=0)
  ends, found = np.array([low, high]), findings.estimate(slopes)
  line = y + found.mean * (ends - x)
  text = f'{label}: {findings.text(found)}'
  axes.plot(ends, line, color=color, linewidth=2.4, label=text)
  axes.legend(
    loc='best', fontsize=8, frameon=False, labelcolor=_INK,
    title='slope per token', title_fontsize=8, handlelength=1.2,
  )  # fmt: skip


def _ends(axes, points, color, label):
  """A point for each seed, and the mean with both of its intervals."""
  x, y = (np.concatenate([p[i] for p in points.values()]) for i in (1, 2))
  centre = findings.estimate(x), findings.estimate(y)
  for seed in zip(x, y, strict=True):
    axes.plot(*seed, 'o', color=color, markersize=4, alpha=0.4, mew=0)
  axes.errorbar(
    centre[0].mean, centre[1].mean, centre[1].half, centre[0].half,
    fmt='o', color=color, markersize=9, elinewidth=1.2, label=label,
  )  # fmt: skip
  axes.annotate(
    label, (centre[0].mean, centre[1].mean), xytext=(8, 7),
    textcoords='offset points', fontsize=8.5, color=color,
  )  # fmt: skip
  axes.margins(0.12)


def _mark(axes: Axes, panel, arms):
  """A line where something changes in one of the arms."""
  if not panel.mark or panel.mark[0] not in arms:
    return
  label, key = panel.mark
  run = next(iter(arms[label].values()))
  at = run.config[key]
  axes.axvline(at, color=_GRAY, linewidth=1, linestyle=(0, (3, 3)))
  axes.annotate(
    f'{key.rpartition(".")[2].replace("_", " ")} {at:g}',
    (at, 0.02), xycoords=('data', 'axes fraction'), rotation=90,
    xytext=(-3, 0), textcoords='offset points', fontsize=7.5, color=_GRAY,
    ha='right', va='bottom',
  )  # fmt: skip


def _head(figure, panel, claim, arms, conditions):
  """The question, the arms, what thin and thick mean, and the checks."""
  seeds = sorted({seed for runs in arms.values() for seed in runs})
  ends = panel.y.startswith('summary/')
  note = f'{claim.figure}: {len(seeds)} seeds '
  note += 'small, their mean large' if ends else 'thin, their mean thick'
  if len(seeds) > 1:
    note += ', with its 95 % interval' if ends else ', its 95 % interval shaded'
  note = '\n'.join([note, *(condition.text() for condition in conditions)])
  figure.supxlabel(note, x=_LEFT, ha='left', fontsize=8, color=_GRAY)
  # An empty line keeps room for the legend, but where points have names.
  figure.suptitle(
    claim.question + ('' if ends else '\n'), x=_LEFT, ha='left', fontsize=11.5,
    fontweight='bold', color=_INK,
  )  # fmt: skip
  if ends:
    return
  handles, labels = figure.axes[0].get_legend_handles_labels()
  figure.legend(
    handles, labels, loc='upper left', ncols=len(labels), frameon=False,
    bbox_to_anchor=(_LEFT, 1 - _TITLE_INCHES / figure.get_figheight()),
    fontsize=9, labelcolor=_INK, handlelength=1.4, borderpad=0,
    borderaxespad=0,
  )  # fmt: skip


def _label(metric):
  return _LABELS.get(metric, metric)
