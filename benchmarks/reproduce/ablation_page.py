"""What is published of a claim: its picture, its curves as JSON, and its row.

In the picture seeds are thin, their mean is thick, its interval shaded.  The
JSON has a line for each run.  The row is one of the table in `PAGE`.
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import findings
from experiments.ablations import claims
from k15.equations import statistics
from k15.report import figures

_LABELS = {
  'iteration': 'iteration',
  'seconds_total': 'seconds of RL, compilation included',
  'seconds': 'seconds of an iteration',
  'decode_steps': 'decode steps of an iteration',
  'evaluation/accuracy': 'accuracy, held-out problems',
  'evaluation/mean_tokens': 'mean response, held-out problems, tokens',
  'summary/accuracy': 'accuracy, held-out problems',
  'summary/mean_tokens': 'mean response, held-out problems, tokens',
  'rl/reward': 'reward, training problems',
  'rl/length_mean': 'mean response, training problems, tokens',
  'rl/log_ratio_rms': 'log-ratio of a response, rms, nats',
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
_OVER_TIME = 'iteration', 'seconds_total'
_LEFT = 0.012  # of the width: where texts begin
_TITLE_INCHES = 0.3  # from the top to the legend
# Which page of the repository has the table, between these marks.
PAGE = 'docs/reproduction.md'
START, END = '<!-- reproduce -->', '<!-- /reproduce -->'
_COLUMNS = (
  'figure', 'config', 'command', 'what the paper saw', 'what was measured here',
  'verdict',
)  # fmt: skip
HEADER = f'| {" | ".join(_COLUMNS)} |\n{"|---" * len(_COLUMNS)}|'
# Kept beside the metrics of the panels, where they are known.
_ALWAYS = (
  'rl/reward', 'rl/length_mean', 'evaluation/accuracy',
  'evaluation/mean_tokens', 'seconds',
)  # fmt: skip


def draw(claim: claims.Claim, arms: data.Arms) -> Figure:
  """All panels of a claim, with the question above and arms in a legend.

  Args:
    arms: runs by label and seed; an arm without any is left out.

  Raises:
    DataError: a run does not have a metric.
  """
  count = len(claim.panels)
  figure = Figure(
    figsize=(max(6.4, 0.6 + 4.2 * count), 4.2), layout='constrained'
  )
  colors = {
    label: figures.COLORS[i % len(figures.COLORS)]
    for i, label in enumerate(arms)
  }
  arms = {label: runs for label, runs in arms.items() if runs}
  for axes, panel in zip(
    figure.subplots(1, count, squeeze=False)[0], claim.panels, strict=True
  ):
    figures.style(axes, _label(panel.x), _label(panel.y))
    for label, runs in arms.items():
      _draw_arm(axes, panel, list(runs.values()), colors[label], label)
    _mark(axes, panel, arms)
  _head(figure, claim, arms)
  return figure


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
  elif panel.x in _OVER_TIME:
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


def _head(figure, claim, arms):
  """The question, the arms, and what thin and thick mean."""
  seeds = sorted({seed for runs in arms.values() for seed in runs})
  ends = claim.panels[0].y.startswith('summary/')
  note = f'{claim.figure}: {len(seeds)} seeds '
  note += 'small, their mean large' if ends else 'thin, their mean thick'
  if len(seeds) > 1:
    note += ', with its 95 % interval' if ends else ', its 95 % interval shaded'
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


@dataclasses.dataclass(frozen=True)
class Result:
  """What was measured of a claim.

  Attributes:
    estimates: what was compared -> number over seeds, in order.
    deciding: those of them that gave the verdict.
    verdict: 'holds', 'does not hold here' or 'cannot be tested at this scale'.
    sentence: why.
    seeds: of every arm.
    iterations: of RL, of the longest run.
    commits: of the code that ran.
  """

  estimates: dict[str, findings.Estimate]
  deciding: tuple[str, ...]
  verdict: str
  sentence: str
  seeds: tuple[int, ...]
  iterations: int
  commits: tuple[str, ...]


def row(name: str, figure: str, paper: str, result: Result) -> str:
  """One line of the table."""
  shown = [
    f'{what} **{findings.text(found)}**'
    if what in result.deciding
    else f'{what} {findings.text(found)}'
    for what, found in result.estimates.items()
  ]
  shown.append(
    f'{len(result.seeds)} seeds'
    + (f', {result.iterations} iterations' if result.iterations else '')
    + f', commit {" ".join(result.commits) or "unknown"}'
  )
  cells = (
    f'{figure}: [{name}]({_link(picture(name))})',
    f'[{name}.py]({_link(f"experiments/ablations/{name}.py")})',
    f'`make reproduce FIGURE={name}`',
    paper,
    '; '.join(shown),
    f'**{result.verdict}**: {result.sentence}',
  )
  return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'


def picture(name: str) -> str:
  """Its path in the repository."""
  return f'docs/reproduce/{name}.png'


def _link(path):
  """From the page of the table to a path of the repository."""
  return os.path.relpath(path, os.path.dirname(PAGE) or '.')


def update(text: str, name: str, new: str, order: Sequence[str]) -> str:
  """The page with the row of a name replaced, or put into its place.

  Args:
    order: of the names; rows of none of them are dropped.

  Raises:
    ValueError: the page lacks one of the marks.
  """
  for mark in (START, END):
    if text.count(mark) != 1:
      raise ValueError(f'{PAGE}: {mark} is there {text.count(mark)} times')
  before, rest = text.split(START)
  inside, after = rest.split(END)
  rows = {
    other: line
    for line in inside.splitlines()
    for other in order
    if f'/{other}.png)' in line
  } | {name: new}
  lines = [rows[other] for other in order if other in rows]
  return '\n'.join([before + START, HEADER, *lines, END + after])


def dumps(
  name: str,
  claim: claims.Claim,
  config: str,
  arms: data.Arms,
  result: Result,
  date: str,
) -> str:
  """The text of docs/reproduce/NAME.json: a line a measure, and a line a run.

  Args:
    claim, arms, result: what was asked, run and measured.
    config: 'FILE:cpu'.
    date: of the measurement.
  """
  content = dict(
    name=name,
    figure=claim.figure,
    question=claim.question,
    paper=claim.paper,
    command=f'make reproduce FIGURE={name}',
    config=config,
    date=date,
    commits=result.commits,
    seeds=result.seeds,
    iterations=result.iterations,
    verdict=result.verdict,
    sentence=result.sentence,
    settings=_shared(arms),
    measures={
      what: dict(
        values=_rounded(found.values),
        mean=_rounded(found.mean),
        half_width=_rounded(found.half),
        decides=what in result.deciding,
      )
      for what, found in result.estimates.items()
    },
    arms={
      label: {str(run.seed): _run(run, claim) for run in runs.values()}
      for label, runs in arms.items()
    },
  )
  return by_line(content, dict(measures=1, arms=2))


def _run(run, claim) -> dict[str, Any]:
  wanted = [*_ALWAYS, *(m for p in claim.panels for m in (p.y, p.x))]
  wanted += [m.metric for m in claim.measures]
  curves = {}
  for name in dict.fromkeys(m for m in wanted if m != 'iteration'):
    try:
      x, y = data.series(run, name)
    except data.DataError:
      continue
    curves[name] = dict(iteration=x.astype(int).tolist(), value=_rounded(y))
  return dict(
    unit=run.unit,
    overrides=run.record['overrides'],
    commits=run.record.get('commits', []),
    seconds=_rounded(run.record['seconds']),
    curves=curves,
  )


def _shared(arms):
  """Values of the config, by dotted key, that all runs have."""
  configs = [run.config for runs in arms.values() for run in runs.values()]
  return {
    key: value
    for key, value in configs[0].items()
    if all(config.get(key) == value for config in configs)
  }


def _rounded(values):
  """Five digits, as four change the table's last ones; null if not finite."""
  if hasattr(values, '__len__'):
    return [_rounded(value) for value in values]
  value = float(values)
  return float(f'{value:.5g}') if math.isfinite(value) else None


def by_line(tree: Mapping[str, Any], depths: Mapping[str, int]) -> str:
  """JSON with a line for each key, and deeper where it is asked for.

  Args:
    tree: of what JSON can say.
    depths: of some of its keys, how many levels inside have lines, too.
  """
  lines = [
    f' {json.dumps(key)}: {_nested(value, depths.get(key, 0), 1)}'
    for key, value in tree.items()
  ]
  return '{\n' + ',\n'.join(lines) + '\n}\n'


def _nested(value, depth, indent):
  if not depth:
    return json.dumps(value)
  pad = ' ' * indent
  lines = [
    f'{pad} {json.dumps(key)}: {_nested(part, depth - 1, indent + 1)}'
    for key, part in value.items()
  ]
  return '{\n' + ',\n'.join(lines) + f'\n{pad}}}'
