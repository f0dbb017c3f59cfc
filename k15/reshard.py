"""Arrays from one layout to another over the same devices, in few bytes.

Left to itself, the compiler gathers every array whole on every device and cuts
it again.  Here both meshes are cut into common axes, and an array goes in
steps that collectives do well: what every device has already is cut without a
byte sent, axes that change their dimension are exchanged, and only those that
are gone in the end are gathered.
"""

import functools
import math
from collections.abc import Sequence

import jax
from jax.sharding import AxisType
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec


def bytes_to_move(array: jax.Array, target: NamedSharding) -> int:
  """Bytes that devices need and do not hold: no reshard can send fewer.

  Args:
    array: with the sharding it has now.
    target: the one it is to have.
  """
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
