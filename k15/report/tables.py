"""Tables of text: the results of an evaluation, and of a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any


def of_results(results: Mapping[str, Any], level: float) -> str:
  """A row per set; intervals in brackets.

  Args:
    results: measures by set, as `evaluation.measure` returns them.
  """
  names = []
  for r in results.values():
    names += [k for k in r if '@' in k and k not in names]
  names.sort(
    key=lambda k: (k.partition('@')[0] != 'pass', int(k.split('@')[1]))
  )
  head = ['set', 'problems', 'samples', *names]
  head += ['tokens', 'p95', 'right', 'wrong', 'truncated', 'errors']
  rows = [_row(name, r, names) for name, r in results.items()]
  notes = [f'in brackets: bootstrap intervals over problems, {100 * level:g} %']
  for name, r in results.items():
    notes += [
      f'{name}: {k}: votes tied, and broken by lot: {percent(v["ties"])}'
      for k, v in r.items()
      if '@' in k and 'ties' in v
    ]
    notes += [
      f'{name}: Elo by {k}: {_rating(v)}; an estimate from ratings of problems'
      for k, v in r.get('rating', {}).items()
    ]
    if r.get('absent'):
      notes.append(f'{name}: no interpreter here of {", ".join(r["absent"])}')
    if r['errors_by_reason']:
      reasons = r['errors_by_reason'].items()
      shares = ', '.join(f'{reason} {percent(s)}' for reason, s in reasons)
      notes.append(f'{name}: errors: {shares}')
  return '\n'.join([columns([head, *rows]), *notes])


def _rating(value):
  end = ', a bound' if value['is_bound'] else ''
  return f'{value["value"]:.0f} [{value["low"]:.0f}, {value["high"]:.0f}]{end}'


def _row(name, r, names):
  tokens = r['tokens']
  return [
    name,
    str(r['problems']),
    str(r['samples']),
    *(estimate(r[k]) if k in r else '' for k in names),
    number(tokens['all']['mean']),
    number(tokens['all']['p95']),
    number(tokens['correct']['mean']),
    number(tokens['wrong']['mean']),
    percent(r['truncated']),
    percent(r['errors']),
  ]


def columns(rows: Sequence[Sequence[str]]) -> str:
  """Rows of cells, the first a heading; numbers to the right."""
  widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
  lines = []
  for row in rows:
    cells = [row[0].ljust(widths[0])]
    cells += [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
    lines.append('  '.join(cells).rstrip())
  lines.insert(1, '-' * max(map(len, lines)))
  return '\n'.join(lines)


def estimate(value: Mapping[str, float]) -> str:
  """A value and its interval."""
  return f'{value["value"]:.3f} [{value["low"]:.3f}, {value["high"]:.3f}]'


def number(value: float | None) -> str:
  return '-' if value is None else f'{value:.1f}'


def percent(share: float) -> str:
  return f'{100 * share:.1f} %'
