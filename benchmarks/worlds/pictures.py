"""What was measured of a diagram: numbers with intervals, a picture, a file."""

import itertools
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from benchmarks.worlds.diagrams import Diagram
from benchmarks.worlds.diagrams import Panel
from benchmarks.worlds.diagrams import Place
from benchmarks.worlds.learning import Curves
from k15.equations import statistics
from k15.report import figures

# Of a place and an arm, the curves of all seeds, in the order of seeds.
Found = Mapping[tuple[Place, str], Sequence[Curves]]
_INK = '#39424e'
_LEGEND = dict(fontsize=8, frameon=False, labelcolor=_INK)


def numbers(diagram: Diagram, found: Found) -> list[dict[str, Any]]:
  """A row for each panel, line and place: mean, half width and values.

  Differences are paired by seed; intervals are of 95 %, Student's t.
  """
  rows = []
  for place_of_panel, panel in enumerate(diagram.panels):
    for line in panel.lines:
      for place in diagram.places:
        if place.series != line.series:
          continue
        values = [panel.measure(c) for c in found[place, line.arm]]
        if line.minus:
          others = found[place, line.minus]
          values = [
            a - panel.measure(b) for a, b in zip(values, others, strict=True)
          ]
        mean, half = statistics.mean_interval(values)
        rows.append(
          dict(
            panel=place_of_panel, title=panel.title, measure=panel.ylabel,
            line=line.label, x=place.x, mean=_short(mean), half=_short(half),
            values=[_short(value) for value in values],
          )
        )  # fmt: skip
  return rows


def draw(
  diagram: Diagram, rows: Sequence[Mapping[str, Any]], note: str
) -> Figure:
  """Panels side by side, with a line at zero where differences are drawn.

  Args:
    rows: of `numbers`.
    note: how many seeds, and whether all of it was drawn.
  """
  count = len(diagram.panels)
  columns = {4: 2, 6: 3}.get(count, count)
  height = -(-count // columns)
  figure = Figure(
    figsize=(3.9 * columns, 1.3 + 2.9 * height), layout='constrained'
  )
  grid = figure.subplots(height, columns, squeeze=False).ravel()
  # A label has one colour in all panels.
  names = dict.fromkeys(x.label for p in diagram.panels for x in p.lines)
  colors = dict(zip(names, itertools.cycle(figures.COLORS), strict=False))
  for i, (axes, panel) in enumerate(zip(grid, diagram.panels, strict=True)):
    _panel(axes, panel, [row for row in rows if row['panel'] == i], colors)
  labels = {tuple(line.label for line in p.lines) for p in diagram.panels}
  if len(labels) == 1 and len(*labels) > 1:  # The same in all panels.
    lines, names = grid[0].get_legend_handles_labels()
    # In the empty line below the title.
    top = 1 - 0.33 / figure.get_figheight()
    figure.legend(
      lines, names, **_LEGEND, loc='upper left', bbox_to_anchor=(0.015, top),
      ncols=9, borderpad=0,
    )  # fmt: skip
  else:
    for axes in grid:
      if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.margins(y=0.2)
        axes.legend(**_LEGEND, loc='best')
  for axes in grid[count - columns :]:
    axes.set_xlabel(diagram.xlabel, color=_INK, fontsize=9)
  figure.suptitle(
    diagram.question + '\n', x=0.02, ha='left', fontsize=11.5,
    fontweight='bold', color=_INK, linespacing=1.5,
  )  # fmt: skip
  width = 55 * columns
  finding = textwrap.fill(diagram.finding, width) if diagram.finding else ''
  figure.supxlabel(
    '\n'.join(filter(None, [finding, textwrap.fill(note, width)])),
    x=0.02, ha='left', fontsize=8.5, color=_INK,
  )  # fmt: skip
  return figure


def _panel(axes, panel: Panel, rows, colors):
  figures.style(axes, '', panel.ylabel)
  axes.set_title(panel.title, color=_INK, fontsize=9.5)
  # In equal steps: the places of an axis are chosen, and not measured.
  xs = sorted({row['x'] for row in rows})
  labels = list(dict.fromkeys(row['line'] for row in rows))
  for i, label in enumerate(labels):
    some = [row for row in rows if row['line'] == label]
    shift = 0.08 * (i - (len(labels) - 1) / 2)  # Intervals side by side.
    axes.errorbar(
      [xs.index(row['x']) + shift for row in some],
      [row['mean'] for row in some],
      [row['half'] or 0.0 for row in some],
      label=label, color=colors[label], marker='o',
      markersize=4, linewidth=1.6, elinewidth=1, capsize=2,
    )  # fmt: skip
  if any(line.minus for line in panel.lines):
    axes.axhline(0, color=_INK, linewidth=0.9)
  axes.set_xticks(range(len(xs)), [f'{x:g}' for x in xs])
  axes.margins(x=0.08)


def to_json(content: Mapping[str, Any]) -> str:
  """A line for each key, and for each entry of a list."""
  lines = []
  for key, value in content.items():
    text = json.dumps(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
      inside = ',\n  '.join(json.dumps(row) for row in value)
      text = f'[\n  {inside}\n ]'
    lines.append(f' {json.dumps(key)}: {text}')
  return '{\n' + ',\n'.join(lines) + '\n}\n'


def _short(value):
  return float(f'{value:.4g}') if math.isfinite(value) else None
