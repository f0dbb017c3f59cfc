"""Devices of a slice without the slice.

`devices` asks libtpu for the description of a slice, such as 'v5p:4x4x4'; no
TPU is needed, and programs compile for it on any Linux machine.
"""

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies

from k15.config import extras
from launch.plan import chips

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


def devices(topology: chips.Topology) -> Sequence[Any]:
  """Devices of the slice, one a chip, to compile for and not to run on.

  Raises:
    chips.TopologyError: libtpu is not installed, or knows no such slice.
  """
  for name, value in _ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  jax.config.update('jax_platforms', 'cpu')
  chip = topology.chip
  options = dict(chips_per_host_bounds=chips.host_shape(chip, topology.shape))
  if chip.name in _MEGACORE:
    options |= dict(chip_config_name=_MEGACORE[chip.name])
  try:
    found = topologies.get_topology_desc(
      topology.name, 'tpu', num_slices=1, **options
    ).devices
  except (RuntimeError, ValueError, ImportError) as error:
    first = str(error).strip().splitlines()[0]
    raise chips.TopologyError(
      f'libtpu describes no {topology.name} ({first}){_hint()}'
    ) from None
  if len(found) != topology.num_chips:
    raise chips.TopologyError(
      f'libtpu gives {topology.name} {len(found)} devices, not '
      f'{topology.num_chips}'
    )
  return found


def _hint():
  if importlib.util.find_spec('libtpu'):
    return ''
  return f'; {extras.sentence("a plan", "libtpu")}'
