"""What a frozen tower makes of an iteration's pictures, computed once.

A tower that no update changes makes the same of a picture in every one of them,
in the reference's log-probabilities too, and of the rows of all samples of a
problem.  So each row of pictures that differs from the others is encoded once,
and updates take features in the place of patches.
"""

import hashlib
import operator
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from k15.data_types import Batch
from k15.devices import hosts
from k15.model import parts
from k15.model import policy
from k15.rollout import features as features_lib
from k15.stages.rl.stage import Stage
from k15.vision.rows import Images


def put(stage: Stage, batches: Sequence[Batch]) -> list[Batch]:
  """The batches, on the host, with features in the place of patches.

  Where the tower is trained, or nothing is seen, they stay what they are.
  """
  if not (batches and parts.has_tower(stage.state.frozen)):
    return list(batches)
  keys, rows = [], {}
  for batch in batches:
    own = list(_rows(batch.images))
    keys.append([_key(row) for row in own])
    rows |= zip(keys[-1], own, strict=True)
  found = dict(zip(rows, _encoded(stage, [*rows.values()]), strict=False))
  return [
    batch.replace(
      images=batch.images.without_patches(),
      features=_stacked([found[key] for key in own]),
    )
    for batch, own in zip(batches, keys, strict=True)
  ]


def _rows(images: Images) -> Iterator[Images]:
  """What the tower sees of each row."""
  seen = images.replace(index=None, positions=None)
  for i in range(len(images.patches)):
    yield jax.tree.map(operator.itemgetter(i), seen)


def _key(row):
  whole = hashlib.sha256()
  for x in jax.tree.leaves(row):
    whole.update(x.tobytes())
  return whole.digest()


def _encoded(stage, rows):
  """Features [M, E] of each row, a micro-batch at a time."""
  context, frozen = stage.context, stage.state.frozen
  micro = context.config.optimizer.micro_batch_rows
  # Whole micro-batches, all of one program.
  rows = rows + [rows[-1]] * (-len(rows) % micro)
  tower = {policy.VISION: frozen[policy.VISION]}
  for start in range(0, len(rows), micro):
    part = context.layout.place_rows(_stacked(rows[start : start + micro]))
    seen = hosts.to_host(features_lib.encode(context.shape, tower, part))
    for i in range(micro):
      yield jax.tree.map(operator.itemgetter(i), seen)


def _stacked(rows):
  return jax.tree.map(lambda *each: np.stack(each), *rows)
