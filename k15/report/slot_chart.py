"""The picture of the slots over time: a lane per slot, a panel per phase."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from k15.report import figures

Span = Mapping[str, Any]

_LANES = 48  # more are not told apart; slots are then taken evenly
_PHASES = 2  # the last ones of what is recorded
_INK, _PREFILL, _IDLE = '#39424e', '#232b36', '#eceff3'
_ENDS = {'budget spent': '#c8443c', 'interrupted': '#8a2be2'}
# A response under an old version next to one under the new: far apart.
_VERSIONS = '#8db4f2', '#f2bd78', '#8fd0b4', '#bfaee6', '#f0a9c4'
_HALF = 0.40  # of a lane's height
_CAPTION = (
  'Each lane is a slot. Colour: policy version that decodes; a new box: '
  'another response, named by group · sample where there is room. Black: '
  'prefill, of a new prompt or of a response that is resumed. A marked end: '
  'cut by the token budget, or interrupted, to be continued later. Grey: idle.'
)


def slot_charts(spans: Sequence[Span]) -> list[tuple[str, Figure, str]]:
  """The last rollout phases, as charts; none without spans.

  Args:
    spans: records of `timeline.jsonl`, as `k15.rollout.timeline` writes them.
  """
  spans = sorted(spans, key=lambda span: (span['slot'], span['start']))
  if not spans:
    return []
  return [('Slots over time', draw(spans), _CAPTION)]


def draw(spans: Sequence[Span]) -> Figure:
  """Panels of the last phases, side by side, in proportion to their length."""
  slots = sorted({span['slot'] for span in spans})
  chosen = [slots[i] for i in _evenly(len(slots), _LANES)]
  lanes = {slot: lane for lane, slot in enumerate(chosen)}
  phases = split_phases(spans)[-_PHASES:]
  lengths = [end - start for start, end in phases]
  # A short phase gets a quarter of the longest's width, or its lanes could not
  # be seen.
  shares = [max(length, 0.25 * max(lengths)) for length in lengths]
  height = 1.35 + 0.165 * max(len(lanes), 4)
  figure = Figure(figsize=(11.4, height), layout='constrained')
  panels = figure.subplots(
    1, len(phases), sharey=True, squeeze=False, width_ratios=shares
  )[0]
  ends = ends_of(spans)
  versions = sorted({span['version'] for span in spans})
  colors = {v: _VERSIONS[v % len(_VERSIONS)] for v in versions}
  seen = set()
  for panel, (start, end) in zip(panels, phases, strict=True):
    inside = [
      (span, end_of)
      for span, end_of in zip(spans, ends, strict=True)
      if start <= span['start'] < end and span['slot'] in lanes
    ]
    seen |= {span['version'] for span, _ in inside}
    _panel(panel, inside, lanes, colors, start, end, share_of=len(phases))
    busy = sum(s['end'] - s['start'] for s, _ in inside if _decodes(s))
    share = busy / (len(lanes) * (end - start))
    panel.set_title(
      f'slots decode {100 * share:.0f} % of the time', fontsize=9, color=_INK
    )
  panels[0].set_ylabel('slot', color=_INK, fontsize=9)
  step = -(-len(chosen) // 16)
  panels[0].set_yticks(range(0, len(chosen), step), chosen[::step])
  _legend(figure, {v: colors[v] for v in sorted(seen)})
  return figure


def split_phases(spans: Sequence[Span]) -> list[tuple[float, float]]:
  """(start, end) of the stretches between which every slot was idle for long.

  Long is a tenth of all the time that any slot was busy.
  """
  stretches = []
  for start, end in sorted((span['start'], span['end']) for span in spans):
    if stretches and start <= stretches[-1][1]:
      stretches[-1][1] = max(stretches[-1][1], end)
    else:
      stretches.append([start, end])
  long = 0.1 * sum(end - start for start, end in stretches)
  phases = stretches[:1]
  for start, end in stretches[1:]:
    if start - phases[-1][1] < long:
      phases[-1][1] = end
    else:
      phases.append([start, end])
  # One of no length would have an axis without ends, and a division by 0.
  return [(start, max(end, start + 1e-6)) for start, end in phases]


def ends_of(spans: Sequence[Span]) -> list[str]:
  """How each span ended early: 'budget spent', 'interrupted', or ''.

  Args:
    spans: in order of slot and start.
  """
  ends = []
  for span, after in zip(spans, [*spans[1:], None], strict=True):
    # A call that nothing told of its end, and then another prefill.
    is_left = span['stop'] == 'running' and (
      after is not None
      and after['slot'] == span['slot']
      and not _decodes(after)
    )
    if not _decodes(span):
      ends.append('')
    elif span['stop'] == 'exhausted':
      ends.append('budget spent')
    elif is_left or span['stop'] in ('interrupted', 'cancelled', 'failed'):
      ends.append('interrupted')
    else:
      ends.append('')
  return ends


def _decodes(span):
  return span['kind'] == 'decode'


def _panel(axes: Axes, inside, lanes, colors, start, end, share_of):
  axes.spines[:].set_visible(False)
  axes.tick_params(labelsize=8, colors=_INK, length=0)
  axes.set_xlim(0, end - start)
  axes.set_ylim(len(lanes) - 0.5, -0.5)
  axes.set_xlabel('seconds since the phase began', color=_INK, fontsize=9)
  _boxes(axes, [(0, end - start, lane, _IDLE) for lane in lanes.values()], 0)
  boxes, cuts = [], []
  narrow = 0.0035 * share_of * (end - start)  # Of a mark that can be seen.
  for span, end_of in inside:
    lane = lanes[span['slot']]
    left, right = span['start'] - start, min(span['end'], end) - start
    color = colors[span['version']] if _decodes(span) else _PREFILL
    boxes.append((left, right, lane, color))
    if end_of:
      width = min(narrow, 0.5 * (right - left))
      cuts.append((right - width, right, lane, _ENDS[end_of]))
    room = (right - left) / (end - start) / share_of
    name = f'{span["group_id"]}·{span["sample_index"]}'
    if _decodes(span) and room > 0.0068 * len(name) and len(name) < 9:
      middle = 0.5 * (left + right)
      axes.text(
        middle, lane + 0.05, name, fontsize=5.5, color=_INK, ha='center',
        va='center', clip_on=True,
      )  # fmt: skip
  _boxes(axes, boxes, 0.5)
  _boxes(axes, cuts, 0)


def _boxes(axes, boxes, edge):
  """Draws (left, right, lane, color) boxes in one go."""
  corners = [
    [(a, y - _HALF), (b, y - _HALF), (b, y + _HALF), (a, y + _HALF)]
    for a, b, y, _ in boxes
  ]
  colors = [color for _, _, _, color in boxes]
  # A white edge parts neighbours; a prefill too short for one keeps its ink.
  edges = ['white' if color != _PREFILL else _PREFILL for color in colors]
  axes.add_collection(
    PolyCollection(
      corners, facecolors=colors, edgecolors=edges, linewidths=edge
    )
  )


def _legend(figure, versions):
  shown = list(versions.items())[-6:]
  handles = [Patch(color=c, label=f'policy {v}') for v, c in shown]
  handles += [
    Patch(color=_PREFILL, label='prefill'),
    Patch(color=_IDLE, label='idle'),
    *(
      Line2D([], [], color=color, linewidth=3, label=label)
      for label, color in _ENDS.items()
    ),
  ]
  figure.legend(handles=handles, ncols=len(handles), **figures.LEGEND)


def _evenly(count, most):
  """Indices of at most `most` of `count` items, at even distances."""
  return np.linspace(0, count - 1, min(count, most)).round().astype(int)
