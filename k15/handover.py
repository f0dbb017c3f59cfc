"""Weights from the trainer's layout to the rollout's: Kimi k1.5, section 2.6.2.

All of a version arrives, or the version before stays in force.  What moves is
summed before and after, on every device that holds a copy; what need not move
is the trainer's own memory.  Workers of other processes get theirs through
`k15.rollout.weights`.
"""

import collections
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from k15 import fingerprints
from k15 import reshard

Move = Callable[[jax.Array, NamedSharding], jax.Array]


class Torn(RuntimeError):
  """What arrived is not what was sent; the weights before are in force."""


class HandOver:
  """Holds the newest weights in the layout of the rollout.

  Attributes:
    params: what the rollout samples from; None before the first `update`.
    version: of these parameters; -1 before the first.
  """

  def __init__(self, layout: Any, move: Move = reshard.move):
    """Takes a tree of `NamedSharding`s, and what moves an array to one."""
    self.params, self.version = None, -1
    self._layout, self._move = layout, move
    self._source = None
    self._metrics = collections.Counter()

  def update(self, params: Any, version: int) -> None:
    """Puts these parameters in force, once all of them are there and right.

    Arrays that the rollout can use where they are are not copied, so they last
    only as long as the trainer keeps them.

    Args:
      params: in any layout over the same devices; they are left alone.
      version: not below the one in force; the same parameters under the same
        version are not moved again.

    Raises:
      ValueError: an older version, or another structure.
      Torn: an array is not what it was, or processes differ in the version.
    """
    if version < self.version:
      raise ValueError(f'version {version} comes after version {self.version}')
    if params is self._source and version == self.version:
      return
    start = time.perf_counter()
    paths, tree = jax.tree_util.tree_flatten_with_path(params)
    arrays = [array for _, array in paths]
    targets = tree.flatten_up_to(self._layout)
    moves = [
      not array.sharding.is_equivalent_to(target, array.ndim)
      for array, target in zip(arrays, targets, strict=True)
    ]
    names = [jax.tree_util.keystr(path) for path, _ in paths]
    sent = _chosen(arrays, moves)
    announced = fingerprints.of_copies(sent, version)
    # One after the other: what is on its way at once needs memory at once.
    arrived = [
      jax.block_until_ready(self._move(array, target))
      for array, target in zip(arrays, targets, strict=True)
    ]
    received = fingerprints.of_copies(_chosen(arrived, moves), version)
    _compare(announced, received, _chosen(names, moves), version)
    moved_bytes = sum(
      reshard.bytes_to_move(array, target)
      for array, target in zip(sent, _chosen(targets, moves), strict=True)
    )
    # One assignment: whoever looks sees the old weights or the new.
    self.params, self.version, self._source = (
      jax.tree.unflatten(tree, arrived),
      version,
      params,
    )
    if sent:
      self._metrics['handover/seconds'] += time.perf_counter() - start
      self._metrics['handover/bytes'] += moved_bytes

  def pop_metrics(self) -> dict[str, float]:
    """Seconds, and bytes that had to move, since the last call.

    Empty where nothing had to move: both layouts are one.
    """
    metrics, self._metrics = dict(self._metrics), collections.Counter()
    return metrics


def _chosen(values, chosen):
  return [value for value, keep in zip(values, chosen, strict=True) if keep]


def _compare(announced, received, names, version):
  """Raises Torn unless every copy of every array is as announced."""
  if not names:
    return
  if (announced[-1] != version).any() or (received[-1] != version).any():
    raise Torn(f'processes differ: version {version} here, {received[-1]}')
  wrong = (received != announced[:, :1]).any(axis=1)
  if wrong.any():
    i = int(np.argmax(wrong))
    raise Torn(
      f'version {version} arrived torn: {names[i]} sums to'
      f' {received[i].tolist()} (least and largest copy), not'
      f' {int(announced[i, 0])}; {int(wrong.sum())} of {len(names)} are wrong'
    )
