"""Slices of TPUs as Google Cloud offers them: names, machines, shapes."""

import math

from launch.plan import chips

# docs.cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus (November
# 2026): the node label cloud.google.com/gke-tpu-accelerator.
_ACCELERATORS = {
  'v4': 'tpu-v4-podslice', 'v5e': 'tpu-v5-lite-podslice',
  'v5p': 'tpu-v5p-slice', 'v6e': 'tpu-v6e-slice',
}  # fmt: skip
# docs.cloud.google.com/vertex-ai/docs/training/configure-compute, "TPU VMs"
# (November 2026): machines of one and of four chips; no v4 and no v5p.
_VERTEX_MACHINES = {
  'v5e': {1: 'ct5lp-hightpu-1t', 4: 'ct5lp-hightpu-4t'},
  'v6e': {1: 'ct6e-standard-1t', 4: 'ct6e-standard-4t'},
}
# Both pages.  Larger slices of v4 and v5p have multiples of 4 in order of size.
_FLAT = ('1x1', '2x2', '2x4', '4x4', '4x8', '8x8', '8x16', '16x16')
_CUBES = ('2x2x1', '2x2x2', '2x2x4', '2x4x4')


def check(topology: chips.Topology, executor: str) -> None:
  """Refuses a slice that nobody can have there.

  Args:
    executor: 'gke' or 'vertex'.

  Raises:
    TopologyError: no such chips there, or no slice of this shape.
  """
  name, shape = topology.chip.name, topology.shape
  known = _VERTEX_MACHINES if executor == 'vertex' else _ACCELERATORS
  if name not in known:
    raise chips.TopologyError(
      f'{executor} has no {name}; its chips are {", ".join(known)}'
    )
  if len(shape) == 2:
    offered, rule = shape_text(topology) in _FLAT, ', '.join(_FLAT)
  else:
    large = all(size % 4 == 0 for size in shape) and list(shape) == sorted(
      shape
    )
    offered = large or shape_text(topology) in _CUBES
    rule = f'{", ".join(_CUBES)} and AxBxC of multiples of 4, A <= B <= C'
  if not offered:
    raise chips.TopologyError(
      f'{executor} has no {name} slice of {math.prod(shape)} chips as'
      f' {shape_text(topology)}; there are {rule}'
    )


def shape_text(topology: chips.Topology) -> str:
  """'4x4x4'."""
  return 'x'.join(map(str, topology.shape))


def node_labels(topology: chips.Topology) -> dict[str, str]:
  """Labels of the nodes of such a slice on GKE."""
  return {
    'cloud.google.com/gke-tpu-accelerator': _ACCELERATORS[topology.chip.name],
    'cloud.google.com/gke-tpu-topology': shape_text(topology),
  }


def vertex_machine(topology: chips.Topology) -> str:
  """Machine type of each host of such a slice on Vertex."""
  return _VERTEX_MACHINES[topology.chip.name][topology.chips_per_host]
