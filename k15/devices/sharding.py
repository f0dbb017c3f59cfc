"""Where arrays live: the mesh, the rules from logical to mesh axes, shardings.

Arrays name what each of their axes means ('embed', 'heads', 'batch'); rules
alone say over which mesh axes that is split: those of the config, or `RULES`,
which are its defaults.  Parameters carry their names in the boxes of
`nn.with_logical_partitioning`; activations are constrained by `constrain` or
`nn.with_logical_constraint` under `use_mesh`.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from k15.config import layout

AXES, RULES = layout.AXES, layout.RULES
# Where the devices do not divide them, all devices hold all of them.
MAY_STAY_WHOLE = ('kv_heads', 'vision_heads', 'sequence', 'slots')

LogicalAxes = Sequence[str | None]
Rules = layout.Rules


def make_mesh(
  data: int,
  fsdp: int,
  tensor: int,
  context: int = 1,
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """A mesh with the axes 'data', 'fsdp', 'tensor' and 'context'.

  Args:
    data, fsdp, tensor, context: sizes; at most one is -1: all devices left
      over.
    devices: those to use, all by default.  A smaller mesh takes the first.

  Raises:
    ValueError: the sizes do not fit the devices.
  """
  devices = list(jax.devices() if devices is None else devices)
  sizes = layout.filled((data, fsdp, tensor, context), len(devices))
  shape = tuple(sizes.values())
  # Auto leaves the choice of intermediate shardings to the compiler; the
  # default of jax 0.10 is Explicit, which puts shardings into types.
  types, devices = (AxisType.Auto,) * len(AXES), devices[: math.prod(shape)]
  try:
    return jax.make_mesh(shape, AXES, types, devices=devices)
  except NotImplementedError:
    # An axis of 8 over a torus of 4 x 4 x 4 takes half of one dimension.
    split = mesh_utils.create_device_mesh(
      shape, devices, allow_split_physical_axes=True
    )
    return Mesh(split, AXES, axis_types=types)


@contextlib.contextmanager
def use_mesh(mesh: Mesh, rules: Rules = RULES) -> Iterator[None]:
  """Within it, jitted functions obey their logical constraints by the rules.

  It belongs to the calling thread: every thread that calls a jitted function
  of its own enters it.
  """
  with jax.set_mesh(mesh), nn.logical_axis_rules(rules):
    yield


def constrain(x: jax.Array, logical_axes: LogicalAxes) -> jax.Array:
  """Asks the compiler for this layout; outside jit and `use_mesh`, returns x.

  Args:
    logical_axes: a name of the rules or None for each axis of x.  One of
      `MAY_STAY_WHOLE` is left whole where it does not divide, as the one
      column of decoding.

  Raises:
    ValueError: more or fewer names than axes.
  """
  if len(logical_axes) != x.ndim:
    raise ValueError(_miscounted(logical_axes, x.shape))
  # Outside of jit a constraint would move the array at once.
  if not isinstance(x, jax.core.Tracer):
    return x
  names = (
    None if name in MAY_STAY_WHOLE and not axes_of(name, size) else name
    for name, size in zip(logical_axes, x.shape, strict=True)
  )
  return nn.with_logical_constraint(x, tuple(names))


def axes_of(logical_axis: str, size: int) -> tuple[str, ...] | None:
  """Axes of the mesh in force that split this axis; None: it is whole."""
  mesh = jax.sharding.get_abstract_mesh()
  (axes,) = nn.logical_to_mesh_axes((logical_axis,))
  if mesh.empty or axes is None:
    return None
  axes = (axes,) if isinstance(axes, str) else tuple(axes)
  axes = tuple(name for name in axes if name in mesh.shape)
  ways = _size(mesh, axes)
  return axes if ways > 1 and size % ways == 0 else None


def sharding_of(
  mesh: Mesh,
  logical_axes: LogicalAxes,
  shape: Sequence[int],
  rules: Rules = RULES,
) -> NamedSharding:
  """Layout of one array.

  Args:
    logical_axes: a name of the rules or None for each axis.
    rules: over which mesh axes what is split.

  Raises:
    ValueError: an unknown name, a wrong number of names, a mesh axis that
      would split two axes of the array, or an axis that its mesh axes do not
      divide, unless it is one of `MAY_STAY_WHOLE`.
  """
  if len(logical_axes) != len(shape):
    raise ValueError(_miscounted(logical_axes, shape))
  rules, spec = dict(rules), []
  for name, size in zip(logical_axes, shape, strict=True):
    if name is not None and name not in rules:
      raise ValueError(f'unknown logical axis {name!r}; known: {list(rules)}')
    mesh_axes = rules.get(name)
    ways = _size(mesh, mesh_axes)
    if size % ways and name not in MAY_STAY_WHOLE:
      raise ValueError(
        f'axis {name!r} of {size} does not divide over {ways} devices '
        f'({mesh_axes})'
      )
    spec.append(None if size % ways else mesh_axes)
  # A device has one place on each axis of the mesh, so it cannot say which part
  # of two axes of an array lies there.
  used = [axis for axes in spec for axis in _names(axes)]
  twice = sorted({axis for axis in used if used.count(axis) > 1})
  if twice:
    raise ValueError(f'{twice[0]!r} splits two axes of {tuple(logical_axes)}')
  return NamedSharding(mesh, PartitionSpec(*spec))


def param_shardings(mesh: Mesh, boxed_params: Any, rules: Rules = RULES) -> Any:
  """Layouts of parameters that carry their axes, in the unboxed structure.

  Works as well on a whole state: optax keeps the boxes in its moments.

  Args:
    boxed_params: abstract or real parameters, in boxes of
      `nn.with_logical_partitioning`; leaves without a box are replicated.
    rules: over which mesh axes what is split.
  """

  def one(leaf):
    if isinstance(leaf, nn.Partitioned):
      if not hasattr(leaf.value, 'shape'):
        return leaf.value  # optax puts a hole where another rule applies
      return sharding_of(mesh, leaf.names, leaf.value.shape, rules)
    return NamedSharding(mesh, PartitionSpec())

  return jax.tree.map(
    one, boxed_params, is_leaf=lambda x: isinstance(x, nn.Partitioned)
  )


def ways_of(mesh: Mesh, rules: Rules, logical_axis: str) -> int:
  """Parts into which the rules split this axis."""
  return _size(mesh, dict(rules)[logical_axis])


def _size(mesh, mesh_axes):
  return math.prod(mesh.shape[name] for name in _names(mesh_axes))


def _names(mesh_axes):
  if mesh_axes is None:
    return ()
  return (mesh_axes,) if isinstance(mesh_axes, str) else tuple(mesh_axes)


def _miscounted(logical_axes, shape):
  return (
    f'{len(logical_axes)} logical axes {tuple(logical_axes)} for the '
    f'{len(shape)} axes of shape {tuple(shape)}'
  )
