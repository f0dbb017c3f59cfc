"""TPU chips and slices: what is published of them.  Nothing here needs jax."""

import dataclasses
import math
import re

_GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Chip:
  """Numbers per chip.

  Attributes:
    name: as in a topology.
    peak_flops: bfloat16, per second.
    hbm_bytes: what a program may use; libtpu keeps the rest of the capacity.
    hbm_bandwidth: bytes per second.
    ici_bandwidth: bytes per second, all links of a chip, both directions.
    dimensions: of its network, 2 or 3.
    host_shape: chips of one host.
    max_chips: of one slice.
  """

  name: str
  peak_flops: float
  hbm_bytes: int
  hbm_bandwidth: float
  ici_bandwidth: float
  dimensions: int
  host_shape: tuple[int, int, int]
  max_chips: int


# From docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, "System architecture"
# (November 2026); v4's links from its paper, arXiv 2304.01433: six of 50 GB/s
# a direction.  The usable HBM is what libtpu 0.0.42 names when it refuses a
# program.
CHIPS = {
  'v4': Chip(
    'v4', 275e12, int(30.75 * _GIB), 1200e9, 600e9, 3, (2, 2, 1), 4096
  ),
  'v5e': Chip(
    'v5e', 197e12, int(15.75 * _GIB), 819e9, 400e9, 2, (2, 2, 1), 256
  ),
  'v5p': Chip(
    'v5p', 459e12, int(95.74 * _GIB), 2765e9, 1200e9, 3, (2, 2, 1), 6144
  ),
  'v6e': Chip(
    'v6e', 918e12, int(31.25 * _GIB), 1638e9, 800e9, 2, (2, 2, 1), 256
  ),
}


class TopologyError(ValueError):
  """No such slice, or nobody to describe it."""


@dataclasses.dataclass(frozen=True)
class Topology:
  """A slice: its chip and its shape in chips."""

  chip: Chip
  shape: tuple[int, ...]

  @property
  def name(self) -> str:
    return f'{self.chip.name}:{"x".join(map(str, self.shape))}'

  @property
  def num_chips(self) -> int:
    return math.prod(self.shape)

  @property
  def chips_per_host(self) -> int:
    return math.prod(host_shape(self.chip, self.shape))

  @property
  def num_hosts(self) -> int:
    return self.num_chips // self.chips_per_host


def parse(name: str) -> Topology:
  """'v5p:4x4x4' -> Topology.

  Raises:
    TopologyError: no such chip, or a shape that its slices do not have.
  """
  match = re.fullmatch(r'(\w+):(\d+(?:x\d+)+)', name)
  if not match or match[1] not in CHIPS:
    raise TopologyError(
      f'topology {name!r}: write CHIP:AxB or CHIP:AxBxC, such as v5e:16x16 or'
      f' v5p:4x4x4; chips are {", ".join(CHIPS)}'
    )
  chip, shape = CHIPS[match[1]], tuple(map(int, match[2].split('x')))
  if len(shape) != chip.dimensions:
    raise TopologyError(
      f'topology {name!r} has {len(shape)} dimensions, and {chip.name} has '
      f'{chip.dimensions}'
    )
  host = host_shape(chip, shape)
  for size, own in zip(shape, host, strict=False):
    if size < 1 or size % own:
      raise TopologyError(
        f'topology {name!r}: {size} is not a multiple of {own}; a host of '
        f'{chip.name} has {"x".join(map(str, host))} chips'
      )
  if math.prod(shape) > chip.max_chips:
    raise TopologyError(
      f'topology {name!r} has {math.prod(shape)} chips; the largest slice of '
      f'{chip.name} has {chip.max_chips}'
    )
  return Topology(chip, shape)


def host_shape(chip: Chip, shape: tuple[int, ...]) -> tuple[int, int, int]:
  """Chips of a host in each dimension; a single chip is a host of its own."""
  return (1, 1, 1) if math.prod(shape) == 1 else chip.host_shape
