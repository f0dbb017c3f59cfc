"""What the published figures cost: `python -m benchmarks.reproduce --cost`.

A unit of a figure has a core to itself where --parallel is the number of cores,
so its seconds are those of a core.  A run that two figures share, and a warm-up
that several runs begin with, count once: where they are met first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_LINE = '{:20} {:>5} {:>7} {:>13} {:>9}'


def to_lines(contents: Sequence[Mapping[str, Any]]) -> list[str]:
  """A line a figure, and their sum.

  Args:
    contents: of docs/reproduce/NAME.json, in the order of their lines; those
      written before warm-ups were kept have none.
  """
  lines = [_LINE.format('figure', 'runs', 'shared', 'core-minutes', 'warm-ups')]
  runs_seen, starts_seen, total = set(), set(), [0, 0, 0.0, 0.0]
  for content in contents:
    runs = [run for arm in content['arms'].values() for run in arm.values()]
    new = [run for run in runs if _identity(run) not in runs_seen]
    starts = {
      folder: seconds
      for run in runs
      for folder, seconds in run.get('begins_with', {}).items()
      if folder not in starts_seen
    }
    runs_seen |= set(map(_identity, runs))
    starts_seen |= set(starts)
    row = [len(runs), len(runs) - len(new), sum(r['seconds'] for r in new),
           sum(starts.values())]  # fmt: skip
    lines.append(_row(content['name'], *row))
    total = [sum(pair) for pair in zip(total, row, strict=True)]
  hours = sum(total[2:]) / 7200
  return [*lines, _row('all', *total), f'{hours:.1f} hours on two cores']


def _row(name, runs, shared, seconds, before):
  minutes, warm_ups = f'{seconds / 60:.1f}', f'{before / 60:.1f}'
  return _LINE.format(name, runs, shared, minutes, warm_ups if before else '')


def _identity(run):
  """What a run and its copies in other figures have in common, and no others.

  Their configs cannot tell: of them only what all arms share is kept.
  """
  curve = run['curves'].get('evaluation/accuracy', dict(value=()))['value']
  return run['overrides'].get('seed'), run['seconds'], tuple(curve)
