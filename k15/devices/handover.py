"""Weights from the trainer's layout to the rollout's: Kimi k1.5, section 2.6.2.

All of a version arrives, or the version before stays in force.  What moves is
summed before and after, on every device that holds a copy; what need not move
is the trainer's own memory.  Workers of other processes get theirs through
`k15.serving.weights`.

How one array moves: left to itself, the compiler gathers it whole on every
device and cuts it again.  Here both meshes are cut into common axes, and it
goes in steps that collectives do well: what every device has already is cut
without a byte sent, axes that change their dimension are exchanged, and only
those that are gone in the end are gathered.
"""

import collections
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from k15.devices import fingerprints

Move = Callable[[jax.Array, NamedSharding], jax.Array]


def bytes_to_move(array: jax.Array, target: NamedSharding) -> int:
  """Bytes that devices need and do not hold: no reshard can send fewer."""
  here = array.sharding.devices_indices_map(array.shape)
  there = target.devices_indices_map(array.shape)
  elements = 0
  for device, wanted in there.items():
    held = here.get(device)
    needed, kept = 1, 1 if held is not None else 0
    for axis, size in enumerate(array.shape):
      start, stop, _ = wanted[axis].indices(size)
      needed *= stop - start
      if held is not None:
        first, last, _ = held[axis].indices(size)
        kept *= max(0, min(stop, last) - max(start, first))
    elements += needed - kept
  return elements * array.dtype.itemsize


def move(array: jax.Array, target: NamedSharding) -> jax.Array:
  """The array in another layout; its values, and the original, stay.

  Where the devices hold what they need already, nothing is copied: both
  arrays then are the same memory.
  """
  here = array.sharding
  if here == target:
    return array
  if here.is_equivalent_to(target, array.ndim):
    shards = [shard.data for shard in array.addressable_shards]
    return jax.make_array_from_single_device_arrays(
      array.shape, target, shards, dtype=array.dtype
    )
  same_order = (
    isinstance(here, NamedSharding)
    and here.mesh.devices.size == target.mesh.devices.size
    and (here.mesh.devices.flat == target.mesh.devices.flat).all()
  )
  if not same_order:
    return jax.device_put(array, target)
  return _mover(here, target, array.ndim)(array)


def steps(
  here: NamedSharding, target: NamedSharding, ndim: int
) -> list[NamedSharding]:
  """Layouts on the way, the target's last; both meshes in one device order.

  Empty where the meshes have no common cut, as (2, 3) and (3, 2).
  """
  cuts = sorted({*_cuts(here.mesh), *_cuts(target.mesh)})
  # Without a common cut no axis of both meshes is a group of devices in a row;
  # the compiler then moves the array in its own way.
  if any(high % low for low, high in zip(cuts, cuts[1:], strict=False)):
    return []
  before = _dimensions(here, ndim, cuts)
  after = _dimensions(target, ndim, cuts)
  old = {axis for axes in before for axis in axes}
  new = {axis for axes in after for axis in axes}
  both = list(zip(before, after, strict=True))
  cut = [b + [axis for axis in a if axis not in old] for b, a in both]
  exchanged = [a + [axis for axis in b if axis not in new] for b, a in both]
  sizes = [high // low for low, high in zip(cuts, cuts[1:], strict=False)]
  mesh = Mesh(
    target.mesh.devices.reshape(sizes),
    [_name(cut) for cut in cuts[:-1]],
    # As those of `make_mesh` are: constraints in a jitted function need them.
    axis_types=(AxisType.Auto,) * len(sizes),
  )
  way = []
  for stop in (cut, exchanged, after):
    if stop != (way[-1] if way else before):
      way.append(stop)
  return [NamedSharding(mesh, _spec(stop)) for stop in way]


@functools.cache
def _mover(here, target, ndim):
  way = steps(here, target, ndim)

  def move_one(x):
    for stop in way:
      x = jax.lax.with_sharding_constraint(x, stop)
    return x

  # The last stop is the target's layout on other names of axes; what comes out
  # has to be equal to the target, or each use would compile anew.
  return jax.jit(move_one, out_shardings=target)


def _cuts(mesh) -> list[int]:
  """Products of the leading sizes: 1, ..., the number of devices."""
  shape = mesh.devices.shape
  return [math.prod(shape[:i]) for i in range(len(shape) + 1)]


def _dimensions(sharding, ndim, cuts) -> list[list[str]]:
  """The common axes that split each dimension, major ones first."""
  pieces = {}
  for name, low, high in zip(
    sharding.mesh.axis_names,
    _cuts(sharding.mesh),
    _cuts(sharding.mesh)[1:],
    strict=False,
  ):
    pieces[name] = [_name(cut) for cut in cuts if low <= cut < high]
  spec = [*sharding.spec, *[None] * (ndim - len(sharding.spec))]
  return [
    [piece for name in _names(axes) for piece in pieces[name]] for axes in spec
  ]


def _names(axes) -> Sequence[str]:
  return () if axes is None else (axes,) if isinstance(axes, str) else axes


def _name(cut: int) -> str:
  return f'from_{cut}'


def _spec(dimensions):
  return PartitionSpec(*(tuple(axes) or None for axes in dimensions))


class Torn(RuntimeError):
  """What arrived is not what was sent; the weights before are in force."""


class HandOver:
  """Holds the newest weights in the layout of the rollout.

  Attributes:
    params: what the rollout samples from; None before the first `update`.
    version: of these parameters; -1 before the first.
  """

  def __init__(self, layout: Any, move: Move = move):
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
      bytes_to_move(array, target)
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
