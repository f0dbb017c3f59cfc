"""Estimates of time from counts and published numbers; nothing is measured.

Every time is the longest of three: products at a share of the peak, bytes at a
share of the memory's bandwidth, and collectives at a share of the links', as
if each hid behind the others.
"""

import dataclasses
import math
from typing import Any

from launch import flops


@dataclasses.dataclass(frozen=True)
class Assumptions:
  """What no data sheet says.

  Attributes:
    training_mfu: share of the peak in an update, of the operations that do
      not count recomputation.
    forward_mfu: the same of forward passes.
    hbm_share, ici_share: of the bandwidths that are reached.
  """

  training_mfu: float = 0.4
  forward_mfu: float = 0.5
  hbm_share: float = 0.7
  ici_share: float = 0.7

  def sentence(self) -> str:
    """All of them in words."""
    return (
      f'{self.training_mfu:.0%} of peak bf16 FLOP/s in updates,'
      f' {self.forward_mfu:.0%} in forward passes, {self.hbm_share:.0%} of HBM'
      f' bandwidth, {self.ici_share:.0%} of the links of one dimension of the'
      ' torus, each hidden behind the longest'
    )


@dataclasses.dataclass(frozen=True)
class Time:
  """Seconds of the three, and which is the longest."""

  compute: float
  memory: float = 0.0
  network: float = 0.0

  @property
  def seconds(self) -> float:
    return max(self.compute, self.memory, self.network)

  @property
  def bound(self) -> str:
    times = dict(compute=self.compute, HBM=self.memory, ICI=self.network)
    return max(times, key=times.get)

  def times(self, n: float) -> 'Time':
    return Time(self.compute * n, self.memory * n, self.network * n)


@dataclasses.dataclass(frozen=True)
class Iteration:
  """What one iteration has to do, in the mean.

  Attributes:
    responses: P * k.
    length: mean tokens of a response, L.
    prompt: tokens of a prompt.
    budget: tokens a response may grow in an iteration.
    row_length: tokens of a training row.
    updates: optimizer steps.
  """

  responses: int
  length: float
  prompt: float
  budget: int
  row_length: int
  updates: int

  @property
  def rows(self) -> int:
    """Training rows, nine tenths full."""
    tokens = self.responses * (self.length + self.prompt)
    return math.ceil(tokens / (0.9 * self.row_length))

  @property
  def resumes(self) -> int:
    """How often a response is cut and prefilled again."""
    return max(0, math.ceil(self.length / self.budget) - 1)

  @property
  def resumed_length(self) -> float:
    """Tokens of one such prefill, in the mean."""
    return self.prompt + self.budget * (self.resumes + 1) / 2


def network_seconds(
  chip: Any, closed: float, opened: float, turns: float, a: Assumptions
) -> float:
  """Time of collectives.

  Args:
    chip: of `launch.topologies`.
    closed, opened: bytes a chip sends outside of open loops, and in one turn.
    turns: of the open loop.
    a: assumptions.
  """
  # One direction of the two links of one dimension of the torus, half of the
  # published number of both directions.
  one_dimension = chip.ici_bandwidth / 2 / chip.dimensions
  return (closed + opened * turns) / (one_dimension * a.ici_share)


def context_imbalance(ways: int) -> float:
  """Work of the last part of causal rows over the mean, 2 - 1 / ways.

  Part i of n sees the columns up to its end: (2 i - 1) / n^2 of all pairs, so
  the last has (2 n - 1) / n times the mean, and the others wait for it.
  """
  return 2 - 1 / ways


def training(
  chip: Any, chips: int, p: Any, rows: float, length: int, ways: int,
  mfu: float, passes: int,
) -> Time:  # fmt: skip
  """Products of whole rows, `passes` times the forward pass.

  Args:
    chip, chips: of a slice.
    p: shape of the policy.
    rows, length: of what is computed.
    ways: parts of a row, the mesh axis 'context'.
    mfu: share of the peak.
    passes: 1 forward, 3 with backward.
  """
  weights = flops.weight_flops(p, rows * length)
  attention = flops.attention_flops(p, rows * flops.causal_pairs(length))
  work = passes * (weights + attention * context_imbalance(ways))
  return Time(work / (chips * chip.peak_flops * mfu))


def decode_step(
  chip: Any,
  p: Any,
  slots_per_chip: float,
  context: float,
  weight_bytes: float,
  cache_bytes: float,
  model_ways: int,
  a: Assumptions,
) -> Time:
  """One token in every slot.

  Args:
    chip: of a slice.
    p: shape of the policy.
    slots_per_chip: on each part of the mesh that shares weights.
    context: columns a slot sees, in the mean.
    weight_bytes, cache_bytes: a chip reads.
    model_ways: chips that share a slot, the mesh axis 'tensor'.
    a: assumptions.
  """
  work = flops.decode_flops(p, slots_per_chip, context) / model_ways
  return Time(
    compute=work / (chip.peak_flops * a.forward_mfu),
    memory=(weight_bytes + cache_bytes) / (chip.hbm_bandwidth * a.hbm_share),
  )
