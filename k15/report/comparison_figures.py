"""Figures of a comparison: groups of runs over each other.

Thin lines are seeds, a thick one their mean, the band its 95 % interval
(Student t over seeds).  The first eight groups have colours; the others are
grey, one line each.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from k15.config import stages
from k15.equations import statistics
from k15.report import charts
from k15.report import figures
from k15.report.groups import Group
from k15.report.scores import Estimate

GREY = '#9aa3af'  # of the groups after the first eight
_LEGEND = 90  # characters that two rows of a legend hold
_SIZE = 5.6, 3.6  # inches, of accuracy against tokens
_NAME = 30  # characters of a line beside `ranges`

Curve = tuple[np.ndarray, np.ndarray]  # (steps [N], values [N]) of a seed
Point = tuple[float, float]


def color_of(place: int) -> str:
  """Colour of the group in this place of the order."""
  return figures.COLORS[place] if place < len(figures.COLORS) else GREY


def curves(
  lines: Mapping[str, Sequence[Curve]],
  ylabel: str,
  xlabel: str = 'iteration',
  limits: tuple[float | None, float | None] = (None, None),
  is_sparse: bool = False,
  is_log: bool = False,
) -> Figure:
  """Groups over a common axis.

  Where only some seeds of a group have come so far, its mean is dotted.

  Args:
    lines: a curve for each seed by the label of its group.
    ylabel: name of the values, with unit.
    limits: of the y axis; None leaves an end to the data.
    is_sparse: measured now and then: points, and no running mean.
    is_log: y in powers of ten where values span more than one.
  """
  figure, axes = figures.canvas(xlabel, ylabel)
  longest = max((len(x) for own in lines.values() for x, _ in own), default=0)
  window = 1 if is_sparse else figures.window_of(longest)
  shown = []
  for place, (label, own) in enumerate(lines.items()):
    x, rows = aligned([(x, _smooth(y, window)) for x, y in own])
    if not len(x):
      continue
    shown.append(rows[np.isfinite(rows)])
    if len(lines) == 1 == len(own) and window > 1:
      axes.plot(*own[0], color=color_of(place), linewidth=0.8, alpha=0.4)
    _group(axes, x, rows, place, len(lines), label, is_sparse)
  values = np.concatenate(shown) if shown else np.zeros(0)
  if is_log and len(values) and values.min() > 0:
    _log_axis(axes, values)
  elif limits[0] is not None and len(values):
    axes.update_datalim([(axes.dataLim.x0, limits[0])])
  axes.margins(x=0.02)
  axes.set_ylim(*limits)
  _legend(figure, axes, len(lines))
  return figure


def aligned(own: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
  """Curves of S seeds over all steps that one of them has.

  Returns:
    (steps [N] rising, values [S, N]), NaN where a seed has no value.
  """
  steps = np.unique(np.concatenate([x for x, _ in own] or [np.zeros(0)]))
  rows = np.full((len(own), len(steps)), np.nan)
  for row, (x, y) in zip(rows, own, strict=True):
    row[np.searchsorted(steps, x)] = y
  return steps, rows


def against_tokens(
  estimates: Mapping[str, tuple[Estimate | None, Estimate | None]],
  seeds: Mapping[str, Sequence[Point]],
) -> Figure:
  """Accuracy against tokens: a point a group, faint ones for its seeds.

  Args:
    estimates: of tokens and of accuracy, by the label of the group.
    seeds: (tokens, accuracy) of each seed by the label of its group.
  """
  names = 'mean response length, tokens', 'held-out accuracy'
  figure, axes = figures.canvas(*names, _SIZE)
  for place, (label, (x, y)) in enumerate(estimates.items()):
    if x is None or y is None:
      continue
    color = color_of(place)
    is_grey = place >= len(figures.COLORS)
    if len(seeds[label]) > 1:
      style = dict(s=14, alpha=0.35, linewidth=0)
      axes.scatter(*zip(*seeds[label], strict=True), color=color, **style)
    for found, i in ((x, 0), (y, 1)):
      ends = np.array([[x.value, y.value]] * 2)
      ends[:, i] += -found.half_width, found.half_width
      if not is_grey:
        axes.plot(*ends.T, _line_of(found), color=color, alpha=0.6, linewidth=1)
    axes.scatter(
      x.value, y.value, s=58, color=color, edgecolor='white', linewidth=1,
      zorder=3 if is_grey else 4, label=_name(label, place, len(estimates)),
    )  # fmt: skip
  axes.margins(0.08)
  _legend(figure, axes, len(estimates))
  return figure


def ranges(estimates: Mapping[str, Estimate | None]) -> Figure:
  """A line a group from top to bottom: its mean and its interval.

  Args:
    estimates: by label; None has an empty line.
  """
  height = max(_SIZE[1], 0.9 + 0.24 * len(estimates))
  figure, axes = figures.canvas('held-out accuracy', '', (_SIZE[0], height))
  axes.grid(axis='y', visible=False)
  for place, found in enumerate(estimates.values()):
    if found is None:
      continue
    color = color_of(place)
    if math.isfinite(found.half_width):
      ends = found.value - found.half_width, found.value + found.half_width
      rows = place, place
      axes.plot(ends, rows, _line_of(found), color=color, linewidth=2)
    axes.scatter(
      found.value, place, s=46, color=color, edgecolor='white', zorder=3
    )
  room = dict(width=_NAME, placeholder='…')
  room['max_lines'] = 1 if len(estimates) > len(figures.COLORS) else 3
  names = [textwrap.fill(_plain(label), **room) for label in estimates]
  axes.set_yticks(range(len(names)), names, fontsize=7.5)
  axes.set_ylim(len(names) - 0.4, -0.6)
  axes.margins(x=0.08)
  return figure


def _line_of(estimate):
  return '-' if estimate.over == 'seeds' else ':'


def _group(axes: Axes, x, rows, place, count, label, is_sparse):
  color = color_of(place)
  is_grey = place >= len(figures.COLORS)
  means, half_widths, seeds = statistics.band(rows)
  here = np.isfinite(means)
  if not is_grey and len(rows) > 1:
    for row in rows:
      keep = np.isfinite(row)
      axes.plot(x[keep], row[keep], color=color, linewidth=0.7, alpha=0.4)
    keep = np.isfinite(half_widths)
    low, high = means - half_widths, means + half_widths
    axes.fill_between(
      x[keep], low[keep], high[keep], color=color, alpha=0.14, linewidth=0
    )
  style = dict(color=color, linewidth=1 if is_grey else 2)
  style |= dict(alpha=0.6, zorder=1.5) if is_grey else dict(zorder=3)
  style |= dict(marker='o', markersize=3.5) if is_sparse or len(x) < 10 else {}
  if not is_sparse:
    whole = seeds == seeds.max()
    axes.plot(x[here], means[here], **style | dict(marker=None), linestyle=':')
    means = np.where(whole, means, np.nan)
  else:
    x, means = x[here], means[here]
  axes.plot(x, means, label=_name(label, place, count), **style)


def _log_axis(axes, values):
  if values.max() > 10 * values.min():
    axes.set_yscale('log', nonpositive='clip')
    axes.set_ylim(values.min() / 1.5, values.max() * 1.5)
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def _smooth(values, window):
  """Running mean over the steps that have a value."""
  keep = np.isfinite(values)
  # The largest odd width that so few values have.
  window = min(window, (keep.sum() - 1) | 1)
  smooth = np.full(len(values), np.nan)
  if keep.any():
    smooth[keep] = figures.running_mean(values[keep], window)
  return smooth


def _name(label, place, count):
  """Label in the legend: no mathematics; one for all grey groups."""
  shown = len(figures.COLORS)
  if place > shown:
    return None
  if place == shown:
    return f'{count - shown} more'
  return _plain(label)


def _plain(label):
  return label.replace('$', r'\$').lstrip('_')


def _legend(figure, axes, count):
  """Only where it leaves room: the page has one for all figures."""
  _, labels = axes.get_legend_handles_labels()
  if count > 1 and sum(len(label) + 5 for label in labels) <= _LEGEND:
    figures.legend(figure, axes)


# What a stage logs -> its charts: title, key, y axis, options.
_RL = (
  ('Reward', 'rl/reward', 'mean raw reward', dict(limits=(0, 1))),
  (
    'Held-out accuracy while training',
    'evaluation/accuracy',
    'accuracy',
    dict(limits=(0, 1), is_sparse=True),
  ),
  (
    'Held-out pictures while training',
    'evaluation/accuracy_pictures',
    'accuracy',
    dict(limits=(0, 1), is_sparse=True),
  ),
  (
    'Held-out texts while training',
    'evaluation/accuracy_texts',
    'accuracy',
    dict(limits=(0, 1), is_sparse=True),
  ),
  (
    'Agreement of a text and its picture',
    'evaluation/agreement',
    'fraction of pairs',
    dict(limits=(0, 1), is_sparse=True),
  ),
  ('Response length', 'rl/length_mean', 'mean, tokens', {}),
  (
    'Response length, 95th percentile',
    'rl/length_p95',
    '95th percentile, tokens',
    {},
  ),
  (
    'Held-out tokens while training',
    'evaluation/mean_tokens',
    'mean, tokens',
    dict(is_sparse=True),
  ),
  ('Entropy', 'rl/entropy', 'nats per token', dict(limits=(0, None))),
  (
    'Groups without signal',
    'rl/zero_variance_groups',
    'fraction of groups',
    dict(limits=(0, 1)),
  ),
  (
    'Distance from the reference',
    'rl/log_ratio_rms',
    'rms of the log-ratio, nats',
    dict(limits=(0, None)),
  ),
  ('Gradient norm', 'rl/grad_norm', 'norm', dict(is_log=True)),
  ('Seconds per iteration', 'seconds', 'seconds', dict(limits=(0, None))),
)
_SFT = (
  ('Loss', 'sft/loss', 'nats per token', dict(xlabel='step')),
  (
    'Token accuracy',
    'sft/token_accuracy',
    'fraction of tokens',
    dict(xlabel='step'),
  ),
)
_DPO = (
  ('Loss', 'dpo/loss', 'nats per pair', dict(xlabel='step')),
  (
    'Preferred over rejected',
    'dpo/accuracy',
    'fraction of pairs',
    dict(xlabel='step', limits=(0, 1)),
  ),
  ('Margin', 'dpo/margin', 'nats', dict(xlabel='step')),
)
_TEXT = (
  ('Loss', 'text/loss', 'nats per token', dict(xlabel='step')),
  (
    'Held-out loss',
    'text/held_out_loss',
    'nats per token',
    dict(xlabel='step', is_sparse=True),
  ),
)
CHARTS = {'rl': _RL, 'dpo': _DPO, 'sft': _SFT, 'text': _TEXT}
_HIDDEN = 'time/judging_seconds'  # goes on beside the rollout
_ASIDE = 'time/evaluation_seconds'  # not part of training


def stage_charts(groups: Sequence[Group], stage: str) -> list[charts.Chart]:
  """Charts of all that two runs or more have logged in a stage.

  Args:
    groups: in the order of their colours.
    stage: one that logs something.
  """
  tables = [
    [_table(run.records, stage) for run in found.runs] for found in groups
  ]
  made = []
  wanted = CHARTS[stages.STAGES[stage].curves]
  for title, key, ylabel, options in wanted:
    lines = {
      found.label: [(x, table[key]) for x, table in own if key in table]
      for found, own in zip(groups, tables, strict=True)
    }
    if sum(map(len, lines.values())) > 1:
      picture = curves(lines, ylabel, **options)
      made.append((title, picture, _missing(lines)))
  return made


def _table(records, stage):
  """Steps and columns of a stage, with the seconds of all its phases."""
  x, table = charts.columns(records, stage)
  phases = [
    np.nan_to_num(values)
    for key, values in table.items()
    if key.startswith('time/') and key.endswith('_seconds')
    and key not in (_HIDDEN, _ASIDE)
  ]  # fmt: skip
  return x, table | ({'seconds': np.sum(phases, axis=0)} if phases else {})


def _missing(lines):
  """Which groups a chart has not got."""
  absent = [label for label, own in lines.items() if not own]
  if not absent:
    return ''
  if len(absent) > 3:
    return f'{len(absent)} of {len(lines)} groups have not logged this.'
  return f'Not logged: {"; ".join(absent)}.'
