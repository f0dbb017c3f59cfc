"""The table of final scores, as markup: a row a group, with intervals."""

import math
from collections.abc import Sequence

from k15 import comparison_figures
from k15 import comparison_tables
from k15 import final_scores
from k15 import page
from k15 import run_files
from k15.comparison import Group
from k15.final_scores import Scores

_METRICS = {  # heading, factor, digits
  'accuracy': ('held-out accuracy,\u00a0%', 100, 1),
  'tokens': ('held-out tokens', 1, 1),
  'reward': ('reward, last\u00a05', 1, 3),
  'length': ('length, last\u00a05', 1, 1),
  'minutes': ('minutes', 1, 1),
}


def final(groups: Sequence[Group], scores: Sequence[Scores]) -> str:
  """A row a group: each number, and below it what it is more than the first's.

  Args:
    groups: in the order of their colours.
    scores: of each group.
  """
  shown = [m for m in _METRICS if any(m in s.by_seed for s in scores)]
  head = ['group', *(_METRICS[metric][0] for metric in shown)]
  head += ['iterations', '95 % intervals over']
  rows = []
  for i, (found, own) in enumerate(zip(groups, scores, strict=True)):
    name = comparison_tables.chip(
      found.label, comparison_figures.color_of(i), _state(found, own)
    )
    estimates = {m: final_scores.estimate(own, m) for m in shown}
    gains = {}
    if i:
      gains = {m: final_scores.difference(scores[0], own, m) for m in shown}
    usual = _usual(estimates.values())
    usual_gain = _usual(gains.values(), is_gain=True)
    cells = [name]
    for metric in shown:
      top = _number(metric, estimates[metric], usual)
      gain = _number(metric, gains.get(metric), usual_gain, is_gain=True)
      cells.append(_two_lines(top or '–', gain))
    cells.append(page.text(_iterations(found)))
    cells.append(_two_lines(page.text(usual or '–'), page.text(usual_gain)))
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
    not run_files.is_finished(run.config, run.summary) for run in found.runs
  )
  facts = [
    comparison_tables.seeds_of(found),
    scores.stage and f'after {scores.stage}',
  ]
  if going:
    facts.append(f'{going} of {len(found.runs)} not finished')
  return ' · '.join(filter(None, facts))


def _iterations(found):
  done = [run_files.progress(run) for run in found.runs]
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
  cells = ''.join(f'<th>{page.text(name)}</th>' for name in head)
  lines = ''.join(
    f'<tr>{"".join(f"<td>{cell}</td>" for cell in row)}</tr>' for row in rows
  )
  return comparison_tables.scrolling(
    f'<table class="plain"><tr>{cells}</tr>{lines}</table>'
  )
