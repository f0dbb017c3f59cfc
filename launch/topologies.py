"""TPU chips and slices: what is published of a chip, devices without a slice.

`devices` asks libtpu for the description of a slice, such as 'v5p:4x4x4'; no
TPU is needed, and programs compile for it on any Linux machine.
"""

import dataclasses
import math
import os
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies

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
# The topology's own number of devices has to be that of its chips: v4 has two
# cores, which work as one only if asked to.
_MEGACORE = {'v4': 'megacore'}
# Or libtpu asks a metadata server for minutes, complains of what is not there,
# and lets no second process of the machine load it.
_ENVIRONMENT = dict(
  TPU_SKIP_MDS_QUERY='1',
  TPU_ACCELERATOR_TYPE='v5p-8',
  TPU_WORKER_HOSTNAMES='localhost',
  ALLOW_MULTIPLE_LIBTPU_LOAD='1',
)


class TopologyError(ValueError):
  """No such slice, or no libtpu to describe it."""


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
  host = _host_shape(chip, shape)
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


def devices(topology: Topology) -> Sequence[Any]:
  """Devices of the slice, one a chip, to compile for and not to run on.

  Raises:
    TopologyError: libtpu is not installed, or knows no such slice.
  """
  for name, value in _ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  jax.config.update('jax_platforms', 'cpu')
  chip = topology.chip
  options = dict(chips_per_host_bounds=_host_shape(chip, topology.shape))
  if chip.name in _MEGACORE:
    options |= dict(chip_config_name=_MEGACORE[chip.name])
  try:
    found = topologies.get_topology_desc(
      topology.name, 'tpu', num_slices=1, **options
    ).devices
  except (RuntimeError, ValueError, ImportError) as error:
    first = str(error).strip().splitlines()[0]
    raise TopologyError(
      f'libtpu describes no {topology.name} ({first}); it is installed by '
      "pip install 'k15[test]' on Linux"
    ) from None
  if len(found) != topology.num_chips:
    raise TopologyError(
      f'libtpu gives {topology.name} {len(found)} devices, not '
      f'{topology.num_chips}'
    )
  return found


def _host_shape(chip, shape):
  """A single chip is a host of its own."""
  return (1, 1, 1) if math.prod(shape) == 1 else chip.host_shape
