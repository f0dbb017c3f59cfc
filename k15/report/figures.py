"""Pictures of a run: every function takes arrays and returns a Figure.

Nothing here touches pyplot, so drawing leaves no state behind and needs no
display.  Points that are not finite are left out.
"""

import io
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import image
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLORS = (
  '#2f6fde',  # blue
  '#e08a1e',  # orange
  '#2a9d6f',  # green
  '#c8443c',  # red
  '#7a5cc9',  # purple
  '#3aa6b9',  # teal
  '#b0529b',  # pink
  '#8a6d3b',  # brown
)
BEFORE, AFTER = '#a9b4c4', '#2f6fde'
_INK, _FAINT = '#39424e', '#e6e9ee'
_SIZE = 5.6, 3.1  # inches
# Above the axes, where no curve can run through it.
LEGEND = dict(
  loc='outside upper center', frameon=False, fontsize=8.5, labelcolor=_INK,
  handlelength=1.3, columnspacing=1.4,
)  # fmt: skip


def to_png(figure: Figure, dpi: int = 180) -> bytes:
  """The figure as a PNG file."""
  figure.set_dpi(dpi)
  figure.set_facecolor('white')
  paper = FigureCanvasAgg(figure)
  # Drawn once: print_figure would lay out in a drawing of its own.
  paper.draw()
  buffer = io.BytesIO()
  image.imsave(
    buffer, paper.buffer_rgba(), format='png', dpi=dpi,
    # Three times as fast as the best, and hardly larger.
    pil_kwargs=dict(compress_level=3),
  )  # fmt: skip
  return buffer.getvalue()


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
  """Mean of the `window` values around each, of fewer at the ends.

  Args:
    values: float [N].
    window: how many, odd, at most N.

  Returns:
    float [N].
  """
  if window == 1:
    return values
  ones = np.ones(window)
  counts = np.convolve(np.ones(len(values)), ones, 'same')
  return np.convolve(values, ones, 'same') / counts


def curves(
  x: np.ndarray,
  lines: Mapping[str, np.ndarray],
  ylabel: str,
  xlabel: str = 'iteration',
  limits: tuple[float | None, float | None] = (None, None),
  colors: Sequence[str] = COLORS,
  points: Sequence[str] = (),
  smooth: bool = True,
) -> Figure:
  """Lines over a common axis: thin as measured, thick their running mean.

  Args:
    x: float [N], iteration or step.
    lines: float [N] by label.
    ylabel: name of the values, with unit.
    limits: of the y axis; None leaves an end to the data.
    colors: one per line, reused when there are more lines.
    points: labels measured now and then, drawn as connected points.
    smooth: False leaves the running mean away.
  """
  figure, axes = canvas(xlabel, ylabel)
  for i, (label, y) in enumerate(lines.items()):
    color = colors[i % len(colors)]
    if label in points:
      _points(axes, x, y, label, color)
    else:
      _line(axes, x, y, label, color, smooth, faint=len(lines) > 3)
  if limits[0] is not None and len(x):
    axes.update_datalim([(x[0], limits[0])])  # Room above a flat line.
  axes.margins(x=0.02)
  axes.set_ylim(*limits)
  if len(lines) > 1:
    legend(figure, axes)
  return figure


def log_ratio(
  x: np.ndarray, mean: np.ndarray, rms: np.ndarray, largest: np.ndarray
) -> Figure:
  """Mean of the log-ratio above, its size on a log scale below.

  Args:
    x: float [N], iteration.
    mean: float [N], nats per sequence.
    rms: float [N], root mean square, nats per sequence.
    largest: float [N], largest absolute value, nats per sequence.
  """
  figure = Figure(figsize=_SIZE, layout='constrained')
  top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
  style(top, '', 'mean, nats')
  style(bottom, 'iteration', 'size, nats')
  top.axhline(0, color=_INK, linewidth=0.6, linestyle=':')
  _line(top, x, mean, 'mean', COLORS[0])
  # A log axis has no place for 0, which is what no update comes to.
  _line(bottom, x, np.where(rms > 0, rms, np.nan), 'rms', COLORS[2])
  _line(bottom, x, np.where(largest > 0, largest, np.nan), 'max', COLORS[3])
  if bottom.lines:
    bottom.set_yscale('log')
    bottom.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    bottom.yaxis.set_major_formatter('{x:g}')
    bottom.yaxis.set_minor_formatter(ticker.NullFormatter())
  legend(figure, bottom)
  return figure


def shares(
  x: np.ndarray, panels: Mapping[str, Mapping[str, np.ndarray]]
) -> Figure:
  """Shares measured now and then: panels one below the other, points joined.

  Args:
    x: float [N], iteration.
    panels: float [N] in [0, 1] by label, by the name of the y axis.
  """
  size = _SIZE[0], 1.2 + 1.6 * len(panels)
  figure = Figure(figsize=size, layout='constrained')
  rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
  colors = itertools.cycle(COLORS)
  for axes, (ylabel, lines) in zip(rows, panels.items(), strict=True):
    style(axes, '', ylabel)
    axes.set_ylim(-0.03, 1.03)  # A point at an end is whole.
    for label, y in lines.items():
      _points(axes, x, y, label, next(colors))
  rows[-1].set_xlabel('iteration')
  legend(figure, *rows)
  return figure


def small_shares(x: np.ndarray, lines: Mapping[str, np.ndarray]) -> Figure:
  """As `shares`, a small panel for each line: more than there are colours.

  Args:
    x: float [N], iteration.
    lines: float [N] in [0, 1] by label.
  """
  width = 4  # panels
  height = -(-len(lines) // width)
  size = _SIZE[0], 0.4 + 1.1 * height
  figure = Figure(figsize=size, layout='constrained')
  grid = figure.subplots(height, width, sharex=True, sharey=True, squeeze=False)
  panels = grid.ravel()
  for axes, (label, y) in zip(panels, lines.items(), strict=False):
    style(axes, '', '')
    axes.set_ylim(-0.05, 1.05)
    axes.set_title(label, color=_INK, fontsize=8.5)
    keep = np.isfinite(y)
    axes.plot(x[keep], y[keep], 'o-', color=AFTER, markersize=2.5, linewidth=1)
  for axes in panels[len(lines) :]:
    axes.set_axis_off()
  for axes in panels[: len(lines)][-width:]:  # The lowest of each column.
    axes.tick_params(labelbottom=True)
  figure.supxlabel('iteration', color=_INK, fontsize=9)
  return figure


def stacked(
  x: np.ndarray,
  parts: Mapping[str, np.ndarray],
  ylabel: str,
  top: float | None = None,
) -> Figure:
  """Parts of a whole over the iterations, one step wide each.

  Args:
    x: float [N], iteration, rising.
    parts: float [N] >= 0 by label, from the bottom up.
    ylabel: name of the values, with unit.
    top: upper end of the y axis; None leaves it to the data.
  """
  figure, axes = canvas('iteration', ylabel)
  edges = np.stack([x - 0.5, x + 0.5], 1).ravel()
  heights = [np.repeat(np.nan_to_num(y), 2) for y in parts.values()]
  colors = [COLORS[i % len(COLORS)] for i in range(len(parts))]
  axes.stackplot(
    edges, heights, labels=list(parts), colors=colors, alpha=0.85, linewidth=0
  )
  axes.set_ylim(0, top)
  axes.margins(x=0)
  legend(figure, axes)
  return figure


def scatter(length: np.ndarray, reward: np.ndarray, x: np.ndarray) -> Figure:
  """Accuracy against mean length, a point per iteration.

  Args:
    length: float [N], mean response length in tokens.
    reward: float [N], mean raw reward in [0, 1].
    x: float [N], iteration, the colour.
  """
  figure, axes = canvas('mean response length, tokens', 'accuracy')
  keep = np.isfinite(length) & np.isfinite(reward)
  length, reward, x = length[keep], reward[keep], x[keep]
  window = window_of(len(x))
  if window > 1:
    means = running_mean(length, window), running_mean(reward, window)
    axes.plot(*means, color=_INK, linewidth=1, alpha=0.45, zorder=2)
  dots = axes.scatter(length, reward, c=x, s=26, cmap='viridis', zorder=3)
  dots.set(edgecolor='white', linewidth=0.5)
  bar = figure.colorbar(dots, ax=axes, pad=0.02)
  bar.set_label('iteration', color=_INK, fontsize=9)
  bar.ax.tick_params(labelsize=8, colors=_INK)
  bar.outline.set_visible(False)
  return figure


def bars(
  groups: Sequence[str],
  series: Mapping[str, tuple[np.ndarray, np.ndarray]],
  ylabel: str,
  top: float | None = None,
) -> Figure:
  """Bars side by side for each group, with error bars.

  Args:
    groups: G labels, a second line for the count if wanted.
    series: (values float [G], standard errors float [G]) by label, of one
      measurement before and one after, or either.
    ylabel: name of the values, with unit.
    top: upper end of the y axis; None leaves it to the data.
  """
  figure, axes = canvas('', ylabel)
  axes.grid(axis='x', visible=False)
  positions = np.arange(len(groups))
  width = 0.78 / max(len(series), 1)
  for i, (label, (values, errors)) in enumerate(series.items()):
    color = BEFORE if label.endswith('SFT') else AFTER
    at = positions + (i - (len(series) - 1) / 2) * width
    drawn = axes.bar(at, values, width * 0.92, label=label, color=color)
    axes.errorbar(at, values, errors, fmt='none', ecolor=_INK, elinewidth=0.8)
    axes.bar_label(
      drawn, fmt='%.0f', label_type='center', fontsize=8, color=_contrast(color)
    )
  axes.set_xticks(positions, groups)
  axes.margins(x=0.03)
  axes.set_ylim(0, top)
  legend(figure, axes)
  return figure


def learning_curve(
  x: np.ndarray, reward: np.ndarray, length: np.ndarray
) -> Figure:
  """The key picture: reward and response length side by side.

  Args:
    x: float [N], iteration.
    reward: float [N], mean raw reward in [0, 1].
    length: float [N], mean response length in tokens.
  """
  figure = Figure(figsize=(9.2, 3.2), layout='constrained')
  left, right = figure.subplots(1, 2)
  style(left, 'iteration', 'reward (training problems)')
  style(right, 'iteration', 'mean response length, tokens')
  _line(left, x, reward, 'reward', COLORS[0])
  _line(right, x, length, 'length', COLORS[1])
  return figure


def canvas(
  xlabel: str, ylabel: str, size: tuple[float, float] = _SIZE
) -> tuple[Figure, Axes]:
  """An empty picture, in inches."""
  figure = Figure(figsize=size, layout='constrained')
  axes = figure.subplots()
  style(axes, xlabel, ylabel)
  return figure, axes


def style(axes: Axes, xlabel: str, ylabel: str) -> None:
  """Spines, grid and labels as all pictures have them."""
  axes.spines[['top', 'right']].set_visible(False)
  axes.spines[['left', 'bottom']].set_color('#b9c1cc')
  axes.grid(color=_FAINT, linewidth=0.8)
  axes.set_axisbelow(True)
  axes.tick_params(labelsize=8.5, colors=_INK, length=3)
  axes.set_xlabel(xlabel, color=_INK, fontsize=9)
  axes.set_ylabel(ylabel, color=_INK, fontsize=9)


def _line(axes, x, y, label, color, smooth=True, faint=False):
  keep = np.isfinite(y)
  x, y = x[keep], y[keep]
  window = window_of(len(x)) if smooth else 1
  if window > 1:
    axes.plot(x, y, color=color, linewidth=0.8, alpha=0.2 if faint else 0.4)
  if len(x):
    marker = 'o' if len(x) < 10 else None
    mean = running_mean(y, window)
    style = dict(color=color, marker=marker, markersize=3.5, linewidth=2)
    axes.plot(x, mean, label=label, **style)


def _points(axes, x, y, label, color):
  keep = np.isfinite(y)
  style = dict(color=color, markersize=5, linewidth=1)
  axes.plot(x[keep], y[keep], 'o-', label=label, **style)


def window_of(count: int) -> int:
  """Odd width of the running mean: a tenth of the points, 1 for a few."""
  # Odd, so that a mean stands in the middle of what it is of.
  return count // 10 | 1 if count >= 20 else 3 if count >= 10 else 1


def legend(figure: Figure, *parts: Axes) -> None:
  """Above all axes; nothing where nothing has a label."""
  found = [axes.get_legend_handles_labels() for axes in parts]
  handles, labels = (sum(lists, []) for lists in zip(*found, strict=True))
  if handles:
    rows = -(-len(labels) // 5)
    figure.legend(handles, labels, ncols=-(-len(labels) // rows), **LEGEND)


def _contrast(color):
  return 'white' if color == AFTER else _INK
