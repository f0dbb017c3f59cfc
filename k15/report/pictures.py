"""The pictures of a run in its pages, beside what was asked about them.

A record names them by digest, and they are looked up in the run's store,
`images` in its workdir; nothing that a record says is opened as a path.
"""

import io
import itertools
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from k15.equations import correctness
from k15.report import charts
from k15.report import markup
from k15.report import runs
from k15.report import stage_charts
from k15.vision.store import ImageStore

_HEIGHT, _WIDTH = 160, 640  # pixels on the page, at most
_SHOWN = 12  # problems
_RULE = (
  'Held-out problems with pictures: the first of each domain by its id, then '
  'the second, whatever was answered; of each its first sample, before RL and '
  'after.'
)

Records = Sequence[runs.Record]


def opened(workdirs: Iterable[str | os.PathLike]) -> list[ImageStore]:
  """The stores of these runs, of those that have one that can be read."""
  stores = []
  for workdir in dict.fromkeys(map(pathlib.Path, workdirs)):
    try:
      stores.append(ImageStore(workdir / 'images'))
    except (OSError, ValueError):  # A run that sees nothing, or has lost them.
      continue
  return stores


def sample(
  stores: Sequence[ImageStore],
  problem: Mapping[str, Any],
  responses: Iterable[str],
) -> str:
  """`markup.sample` with the pictures that a record names in `images`."""
  named = problem.get('images') or ()
  shown = ''.join(_picture(stores, str(digest)) for digest in named)
  return markup.sample(problem, responses, shown)


def _picture(stores, digest):
  store = next((store for store in stores if digest in store.refs), None)
  if store is None:
    return markup.no_picture(f'no picture {digest[:12]} in the run')
  ref = store.refs[digest]
  image = scaled(store[digest])
  name = f'{ref.height} x {ref.width} pixels, {ref.source}'
  buffer = io.BytesIO()
  image.save(buffer, 'PNG')
  return markup.picture(buffer.getvalue(), image.size, name)


def scaled(pixels: np.ndarray) -> Image.Image:
  """A small picture some whole times as large, a large one as small as fits.

  Args:
    pixels: uint8 [h, w, 3].
  """
  image = Image.fromarray(pixels)
  width, height = image.size
  room = min(_HEIGHT / height, _WIDTH / width)
  if room >= 1:
    size = int(room) * width, int(room) * height
    return image.resize(size, Image.Resampling.NEAREST)
  size = max(1, round(room * width)), max(1, round(room * height))
  return image.resize(size, Image.Resampling.BOX)


def sections(
  stores: Sequence[ImageStore],
  stages: Sequence[str],
  scores: Mapping[str, Records],
  summary: runs.Record,
  records: Records,
) -> list[str]:
  """Markup of what a run saw and said, before RL and after; [] of texts alone.

  Args:
    stores: of the run.
    stages: of its config, in order.
    scores: stage -> records of its evaluation.
    summary: of summary.json.
    records: of metrics.jsonl.
  """
  sides = _sides(stages, scores)
  found = charts.of_pictures(*_history(sides, summary, records))
  parts = [stage_charts.cards(found), *_before_and_after(stores, sides)]
  return list(filter(None, [markup.section('Pictures', parts, _RULE)]))


def _sides(stages, scores):
  """Records of the last stage before RL and of RL, as far as they are there."""
  done = [stage for stage in stages if scores.get(stage)]
  end = done.index('rl') + 1 if 'rl' in done else len(done)
  start = max(0, end - 2) if 'rl' in done else max(0, end - 1)
  return {stage: scores[stage] for stage in done[start:end]}


def _history(sides, summary, records):
  """Iterations done, and what was measured then of pictures, by name."""
  prefix, rows = 'evaluation/', {}
  for record in records:
    if record.get('stage') == 'rl' and f'{prefix}accuracy_pictures' in record:
      # It is of the policy that the iteration has left.
      rows[record['step'] + 1] = {
        key.removeprefix(prefix): value
        for key, value in record.items()
        if key.startswith(prefix)
      }
  for stage, own in sides.items():
    found = correctness.of_pictures(own)
    if found:
      done = runs.iterations(records) if stage == 'rl' else 0
      rows[done] = found | runs.agreement(summary, stage)
  steps = sorted(rows)
  keys = sorted({key for row in rows.values() for key in row})
  table = {
    key: np.array([rows[step].get(key) for step in steps], float)
    for key in keys
  }
  return np.array(steps, float), table


def _before_and_after(stores, sides):
  """The chosen problems, a response of each side."""
  first = {
    stage: {str(r.get('problem_id')): r for r in reversed(own)}
    for stage, own in sides.items()
  }
  parts = []
  for name in _chosen(list(first.values())):
    responses = [
      markup.response(
        charts.STAGES.get(stage, f'after {stage}'),
        own[name],
        correctness.is_right(own[name]),
      )
      for stage, own in first.items()
    ]
    problem = next(iter(first.values()))[name]
    parts.append(sample(stores, problem, responses))
  return parts


def _chosen(sides: Sequence[Mapping[str, runs.Record]]) -> list[str]:
  """Ids of problems with pictures that all sides answered, domains in turns."""
  if not sides:
    return []
  domains: dict[str, list[str]] = {}
  for name in sorted(set.intersection(*map(set, sides))):
    if sides[0][name].get('images'):
      domain = charts.domain(sides[0][name])
      domains.setdefault(domain, []).append(name)
  turns = itertools.zip_longest(*(domains[key] for key in sorted(domains)))
  chosen = [name for turn in turns for name in turn if name is not None]
  return chosen[:_SHOWN]
