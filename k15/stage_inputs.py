"""What each stage of a run began with, so that a change is noticed and named.

`workdir/stages/<stage>.json` holds the config a stage began under and a
fingerprint of the model it began with.
"""

import json
import pathlib
from typing import Any

from k15 import hosts
from k15 import metrics
from k15 import models


class Changed(Exception):
  """The model that a stage began with is another one now."""


def begun(workdir: pathlib.Path) -> list[str]:
  """Stages that have begun, in the order in which they did."""
  records = [
    (json.loads(path.read_text())['place'], path.stem)
    for path in (workdir / 'stages').glob('*.json')
  ]
  return [stage for _, stage in sorted(records)]


def check(
  workdir: pathlib.Path,
  stage: str,
  source: pathlib.Path | None,
  config: dict[str, Any],
) -> None:
  """Records what a stage begins with, or compares with what it began with.

  Args:
    workdir: of the run.
    stage: its name.
    source: the model before it; None: random weights.
    config: of `config.to_json`.

  Raises:
    Changed: the stage began with another model.
  """
  path = workdir / 'stages' / f'{stage}.json'
  now = dict(
    source=str(source) if source else '',
    fingerprint=models.fingerprint(source) if source else '',
  )
  if not path.exists():
    if not hosts.is_first():
      return
    path.parent.mkdir(parents=True, exist_ok=True)
    record = dict(place=len(begun(workdir)), **now, config=config)
    text = json.dumps(record, indent=2) + '\n'
    metrics.replace_file(path, text.encode())
    return
  before = json.loads(path.read_text())
  if before['fingerprint'] != now['fingerprint']:
    raise Changed(
      f'stage {stage!r} began with the model {before["source"] or "(random)"},'
      f' and {now["source"] or "(random)"} differs from it: take this back, or'
      f' remove models/{stage}, checkpoints/{stage} and {path.name} in'
      f' {workdir / "stages"} to do the stage again'
    )
