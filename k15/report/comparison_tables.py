"""Markup of a comparison: its legend, final scores, what the configs differ in.

Every group has the colour that it has in the figures.
"""

import math
import os
from collections.abc import Sequence
from typing import Any

from k15.report import comparison_figures
from k15.report import groups as groups_lib
from k15.report import markup
from k15.report import runs
from k15.report import scores as scores_lib
from k15.report.groups import Group
from k15.report.scores import Scores

COLUMNS = 8  # side by side; the rest is folded or left out
_ROWS = 14  # of a table that is shown open
_CHARS = 90  # of a value
STYLE = """
main { max-width: 1480px; }
.chip { display: inline-flex; align-items: baseline; gap: 7px; }
.chip i { flex: none; width: 11px; height: 11px; border-radius: 50%; }
.chip small, .plain small { color: var(--soft); font-size: 12.5px; }
.key { position: sticky; top: 0; z-index: 9; display: flex; flex-wrap: wrap;
  gap: 4px 22px; margin: 18px 0 0; padding: 9px 18px; font-size: 14px;
  background: #fffffff2; border: 1px solid var(--line); border-radius: 10px; }
.scroll { overflow-x: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 10px; margin: 14px 0; padding: 4px 4px 6px; }
.scroll table, .folded table { margin: 0; }
.scroll table { width: 100%; }
.plain th { vertical-align: bottom; font-size: 13px; padding-top: 8px; }
.scroll td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll td:first-child { white-space: normal; min-width: 210px; }
.scroll td small { display: block; white-space: nowrap; }
.plain td:first-child { color: var(--ink); }
.plain tr.config td { text-align: left; font-size: 13px;
  white-space: normal; }
.plain tr.config td:first-child { white-space: nowrap; }
.plain th.left { text-align: left; }
td.other { background: #fdf6e3; }
.side { border-top: 3px solid; padding-top: 9px; min-width: 0; }
.sample .row { grid-template-columns: none; grid-auto-flow: column;
  grid-auto-columns: minmax(240px, 1fr); overflow-x: auto; }
"""
_METRICS = {  # heading, factor, digits
  'accuracy': ('held-out accuracy,\u00a0%', 100, 1),
  'texts': ('texts,\u00a0%', 100, 1),
  'pictures': ('pictures,\u00a0%', 100, 1),
  'agreement': ('text and picture agree,\u00a0%', 100, 1),
  'agreement_given_text': ('the same, text right,\u00a0%', 100, 1),
  'tokens': ('held-out tokens', 1, 1),
  'reward': ('reward, last\u00a05', 1, 3),
  'length': ('length, last\u00a05', 1, 1),
  'minutes': ('minutes', 1, 1),
}


# Of runs that see.
SEEN = 'texts', 'pictures', 'agreement', 'agreement_given_text'


def heading(metric: str) -> str:
  """Of its column, with the unit."""
  return _METRICS[metric][0]


def chip(label: str, color: str, note: str = '') -> str:
  """A group's colour and name."""
  note = note and f'<small>{markup.text(note)}</small>'
  return (
    f'<span class="chip"><i style="background:{color}"></i>'
    f'<span>{markup.text(label)} {note}</span></span>'
  )


def absent(label: str) -> str:
  """The place of a response that is not there."""
  return (
    f'<article><header><b>{markup.text(label)}</b>'
    '<span>was not asked this</span></header></article>'
  )


def scrolling(table: str) -> str:
  """A table on white, as wide as it likes."""
  return f'<div class="scroll">{table}</div>'


def key(groups: Sequence[Group]) -> str:
  """The legend of all figures; it stays in sight."""
  chips = [
    chip(found.label, comparison_figures.color_of(i), seeds_of(found))
    for i, found in enumerate(groups[:COLUMNS])
  ]
  if groups[COLUMNS:]:
    chips.append(
      chip(f'{len(groups) - COLUMNS} more groups', comparison_figures.GREY)
    )
  return f'<div class="key">{"".join(chips)}</div>'


def seeds_of(found: Group) -> str:
  """'3 seeds', or the seed if it is one."""
  seeds = [seed for seed in found.seeds if seed is not None]
  if not seeds:
    return ''
  return f'seed {seeds[0]}' if len(seeds) == 1 else f'{len(seeds)} seeds'


def differences(groups: Sequence[Group], is_colored: bool = True) -> list[str]:
  """Keys that differ, a column a group, a table for each eight of them.

  Values unlike those of the first group are marked.  Keys that only some of the
  configs have, as those of another version of the code, are folded.  Groups
  without a config have no column.

  Args:
    groups: in the order of their colours.
    is_colored: False for runs of one group, which share its colour.
  """
  known = [i for i, found in enumerate(groups) if found.settings]
  colors = [comparison_figures.color_of(i * is_colored) for i in known]
  heads = [
    chip(groups[i].label, color) for i, color in zip(known, colors, strict=True)
  ]
  known = [groups[i] for i in known]
  rows = {
    key: _texts(values)
    for key, values in groups_lib.differences(
      [found.settings for found in known]
    ).items()
  }
  everywhere = {
    key: texts
    for key, texts in rows.items()
    if all(key in found.settings for found in known)
  }
  parts = _blocks(heads, everywhere, '')
  some = {key: texts for key, texts in rows.items() if key not in everywhere}
  if some:
    parts += _blocks(heads, some, ' that only some of the configs have')
  return parts


def _blocks(heads, rows, title):
  """Tables of at most eight columns, the first open if it is short."""
  parts = []
  for start in range(0, len(heads), COLUMNS) if rows else ():
    chosen = slice(start, start + COLUMNS)
    cells = ['key', *heads[chosen]]
    cells = ''.join(f'<th class="left">{head}</th>' for head in cells)
    lines = [f'<tr class="config">{cells}</tr>']
    for key, texts in rows.items():
      cells = [f'<td>{markup.text(key)}</td>']
      cells += [_value(text, texts[0]) for text in texts[chosen]]
      lines.append(f'<tr class="config">{"".join(cells)}</tr>')
    table = f'<table class="plain">{"".join(lines)}</table>'
    if not start and not title and len(rows) <= _ROWS:
      parts.append(scrolling(table))
    else:
      name = f'{len(rows)} key{"s" * (len(rows) != 1)}{title}'
      if len(heads) > COLUMNS:
        end = min(start + COLUMNS, len(heads))
        name += f', groups {start + 1} to {end}'
      parts.append(markup.folded(name, table))
  return parts


def _texts(values: Sequence[Any]) -> list[str | None]:
  """Values as text; of long ones, the part in which they begin to differ."""
  texts = [None if v is None else markup.flat(v) for v in values]
  known = [text for text in texts if text is not None]
  if max(map(len, known)) <= _CHARS:
    return texts
  # 20 characters of what they share, to see where the difference is.
  start = max(0, len(os.path.commonprefix(known)) - 20) if known[1:] else 0
  return [None if text is None else _part(text, start) for text in texts]


def _part(text, start):
  end = start + _CHARS
  before = '…' if start else ''
  return f'{before}{text[start:end]}{"…" if len(text) > end else ""}'


def _value(text, first):
  mark = ' class="other"' if text != first else ''
  shown = '–' if text is None else text or "''"
  return f'<td{mark}>{markup.text(shown)}</td>'


def final(groups: Sequence[Group], scores: Sequence[Scores]) -> str:
  """A row a group: each number, and below it what it is more than the first's.

  Args:
    groups: in the order of their colours.
  """
  shown = [m for m in _METRICS if any(m in s.by_seed for s in scores)]
  head = ['group', *(_METRICS[metric][0] for metric in shown)]
  head += ['iterations', '95 % intervals over']
  rows = []
  for i, (found, own) in enumerate(zip(groups, scores, strict=True)):
    name = chip(found.label, comparison_figures.color_of(i), _state(found, own))
    estimates = {m: scores_lib.estimate(own, m) for m in shown}
    gains = {}
    if i:
      gains = {m: scores_lib.difference(scores[0], own, m) for m in shown}
    usual = _usual(estimates.values())
    usual_gain = _usual(gains.values(), is_gain=True)
    cells = [name]
    for metric in shown:
      top = _number(metric, estimates[metric], usual)
      gain = _number(metric, gains.get(metric), usual_gain, is_gain=True)
      cells.append(_two_lines(top or '–', gain))
    cells.append(markup.text(_iterations(found)))
    cells.append(_two_lines(markup.text(usual or '–'), markup.text(usual_gain)))
    rows.append(cells)
  return _table(head, rows)


def _basis(estimate, is_gain=False):
  """What an interval is over, '3 seeds'; of a difference 'paired, 3 seeds'."""
  if estimate is None or not estimate.over:
    return ''
  counted = f'{estimate.count} {estimate.over}'
  if not is_gain:
    return counted
  return f'{"paired" if estimate.is_paired else "unpaired"}, {counted}'


def _usual(estimates, is_gain=False):
  """What most of the intervals of a row are over."""
  found = [_basis(e, is_gain) for e in estimates if _basis(e)]
  return max(found, key=found.count, default='')


def _number(metric, estimate, usual, is_gain=False):
  """Markup of 'mean ± half width', with its basis if the row's is another."""
  if estimate is None:
    return ''
  _, factor, digits = _METRICS[metric]
  sign = '+' if is_gain else ''
  value = round(factor * estimate.value, digits) + 0.0  # -0.0 is 0.0
  shown = f'{value:{sign}.{digits}f}'
  if not math.isnan(estimate.half_width):
    shown += f' ± {factor * estimate.half_width:.{digits}f}'
  if is_gain and abs(estimate.value) > estimate.half_width:
    shown = f'<b>{shown}</b>'
  own = _basis(estimate, is_gain)
  return f'{shown} ({own})' if own and own != usual else shown


def _two_lines(top, bottom):
  return f'{top}<small>{bottom}</small>' if bottom else top


def _state(found, scores):
  """Seeds, the last stage, and how many runs have not come to their end."""
  going = sum(
    not runs.is_finished(run.config, run.summary) for run in found.runs
  )
  facts = [seeds_of(found), scores.stage and f'after {scores.stage}']
  if going:
    facts.append(f'{going} of {len(found.runs)} not finished')
  return ' · '.join(filter(None, facts))


def _iterations(found):
  done = [runs.progress(run) for run in found.runs]
  counts = sorted({count for count, _ in done if count})
  planned = sorted({total for count, total in done if count and total})
  if not counts:
    return '–'
  text = '–'.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
  if len(planned) == 1 and planned != counts:
    text += f' of {planned[0]}'
  return text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Cells of markup under headings of text."""
  cells = ''.join(f'<th>{markup.text(name)}</th>' for name in head)
  lines = ''.join(
    f'<tr>{"".join(f"<td>{cell}</td>" for cell in row)}</tr>' for row in rows
  )
  return scrolling(f'<table class="plain"><tr>{cells}</tr>{lines}</table>')
