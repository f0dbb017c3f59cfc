"""What became of work units, from their folders."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from launch import unit as unit_lib


def last_line(workdir: pathlib.Path) -> str:
  """The last line of a unit's log that says anything."""
  path = workdir / 'log.txt'
  text = path.read_bytes()[-4096:] if path.exists() else b''
  lines = text.decode(errors='replace').split('\n')
  lines = [line.strip() for line in lines if line.strip()]
  return lines[-1] if lines else ''


def results(workdir: pathlib.Path) -> dict[str, float]:
  """`accuracy` and `tokens` after the last stage of the run, if any."""
  path = workdir / 'summary.json'
  summary = json.loads(path.read_text()) if path.exists() else {}
  found = last_scores(summary)
  labels = dict(accuracy='accuracy', mean_tokens='tokens')
  return {labels[name]: found[name] for name in labels if name in found}


def last_scores(summary: Mapping[str, Any]) -> dict[str, Any]:
  """Accuracy, mean_tokens and so on of a summary's last evaluation."""
  found = {}
  for key, value in summary.items():
    name, after, _ = key.partition('_after_')
    if after:
      found[name] = value
  return found


def table(rows: Iterable[tuple[str, pathlib.Path]]) -> str:
  """What became of units: a line for each.

  Args:
    rows: name and workdir.
  """
  lines = [('unit', 'state', 'exit', 'minutes', 'accuracy', 'tokens')]
  for name, workdir in rows:
    record, found = unit_lib.read(workdir), results(workdir)
    code, seconds = record.get('exit_code'), record.get('seconds')
    lines.append(
      (
        name,
        record.get('state', 'not begun'),
        '' if code is None else str(code),
        '' if seconds is None else f'{seconds / 60:.1f}',
        f'{found["accuracy"]:.3f}' if 'accuracy' in found else '',
        f'{found["tokens"]:.1f}' if 'tokens' in found else '',
      )
    )
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return '\n'.join(
    '  '.join(
      cell.ljust(width) if i < 2 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    ).rstrip()
    for line in lines
  )
