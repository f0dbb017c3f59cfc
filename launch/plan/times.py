"""Estimated time of each phase of an iteration, from compiled programs."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from k15.model import parts
from k15.model import ragged_attention
from k15.stages.rl import minibatches
from launch.plan import chips
from launch.plan import costs


@dataclasses.dataclass(frozen=True)
class Phase:
  """One phase: its estimated time, what bounds it, and how it comes about."""

  name: str
  seconds: float
  bound: str
  how: str


@dataclasses.dataclass(frozen=True)
class Iteration:
  """All phases of P * k responses of mean length L, and what was assumed.

  Attributes:
    unknowns: what an iteration takes, in seconds, with half of one of the
      shares that were assumed, or twice the latency; by name, largest first.
  """

  work: costs.Iteration
  phases: tuple[Phase, ...]
  assumptions: costs.Assumptions
  unknowns: dict[str, float]

  @property
  def seconds(self) -> float:
    return sum(phase.seconds for phase in self.phases)


def of_iteration(
  run: Any, topology: chips.Topology, uses: Sequence[Any], length: int
) -> Iteration:
  """Phases in their order.

  Args:
    run: of `launch.plan.programs`.
    uses: of `launch.plan`, one a program.
    length: mean tokens of a response, 0 for half of the longest.
  """
  c = run.config
  work = costs.Iteration(
    responses=c.rl.problems_per_iteration * c.rl.group_size,
    length=length or c.rollout.max_length / 2,
    prompt=c.rollout.max_prompt_length,
    budget=c.rollout.token_budget,
    row_length=minibatches.batch_shape(c, run.layout)[1],
    updates=c.rl.updates_per_iteration,
    patches=run.shown.sight.patch_buckets[-1] if run.shown else 0,
    row_patches=run.shown.row_patches if run.shown else 0,
  )
  a = costs.Assumptions()
  phases = _phases(run, topology, uses, work, a)
  unknowns = {}
  for name, value in dataclasses.asdict(a).items():
    worse = 2 * value if name == 'latency' else value / 2
    other = dataclasses.replace(a, **{name: worse})
    others = _phases(run, topology, uses, work, other)
    unknowns[name] = sum(phase.seconds for phase in others)
  unknowns = dict(sorted(unknowns.items(), key=lambda x: -x[1]))
  return Iteration(work, phases, a, unknowns)


def _phases(run, topology, uses, work, a):
  programs = {use.program.name: use.program for use in uses}
  return (
    _hand_over(run, topology, programs, a),
    *([_encode(run, topology, work, a)] if run.shown else []),
    _prefill(run, topology, programs, work, a),
    _decode(run, topology, programs, work, a),
    *([_features(run, topology, work, a)] if run.looks_once else []),
    _logprobs(run, topology, programs, work, a),
    _update(run, topology, programs, work, a),
  )


def _hand_over(run, topology, programs, a):
  if run.shares_weights:
    return Phase('hand-over', 0.0, '', 'the rollout reads the same weights')
  size = run.weight_bytes
  seconds = costs.network_seconds(topology.chip, size, 0, a)
  how = f'{size / 1e9:.2f} GB arrive on every chip'
  return Phase('hand-over', seconds, 'ICI', how)


def _encode(run, topology, work, a):
  """The tower looks at one prompt's pictures after the other.

  New weights look anew, at those of responses that go on.  The replicas of a
  rollout all compute the same.
  """
  count = work.responses / run.config.rl.group_size * (1 + work.resumes)
  seconds = costs.tower_seconds(
    topology.chip, run.slots.config, count, work.patches,
    run.rollout_layout.mesh.shape['tensor'], 1, a.forward_mfu,
  )  # fmt: skip
  how = f'{count:.0f} prompts of {work.patches} patches'
  return Phase('encode', seconds, 'compute', how)


def _prefill(run, topology, programs, work, a):
  p, chip = run.slots.config, topology.chip
  # Responses of a group share the prefill of their prompt.
  rows = work.responses / run.config.rl.group_size
  work_flops = costs.prefill_flops(p, rows, work.prompt)
  again = work.responses * work.resumes
  work_flops += costs.prefill_flops(p, again, work.resumed_length)
  seconds = work_flops / (topology.num_chips * chip.peak_flops * a.forward_mfu)
  how = f'{rows:.0f} prompts, and {again:.0f} responses that go on'
  return Phase('prefill', seconds, 'compute', how)


def _decode(run, topology, programs, work, a):
  slots = run.slots.num_slots
  steps = work.responses * work.length / slots
  step = decode_step(run, topology, programs['generate'], work, a)
  how = f'{steps:.0f} steps of {slots} slots, {step.seconds * 1e3:.1f} ms each'
  return Phase('decode', steps * step.seconds, step.bound, how)


def decode_step(run, topology, program, work, a) -> costs.Time:
  """One token in every slot: weights once, and of the cache what slots have.

  `ragged_attention` reads whole pieces, of the last half in vain in the mean,
  and a scanned layer's part where it lies.
  """
  context = work.prompt + work.length / 2
  piece = ragged_attention.width_of(run.slots.columns)
  columns = ragged_attention.whole_columns(run.slots.columns)
  share = min(1, (context + piece / 2) / columns)
  step = costs.decode_step(
    topology.chip,
    run.slots.config,
    run.slots.num_slots,
    context,
    topology.num_chips,
    run.weights_read + share * program.aliased,
    a,
  )
  sent, count = _collectives(program, 1, run.slots.tokens_per_call)
  network = costs.network_seconds(topology.chip, sent, count, a)
  return dataclasses.replace(step, network=network)


def _features(run, topology, work, a):
  """A frozen tower looks once at each problem's row."""
  count = work.responses / run.config.rl.group_size
  seconds = costs.tower_seconds(
    topology.chip, run.layout.shape, count, work.row_patches,
    topology.num_chips / run.layout.mesh.shape['context'], 1, a.forward_mfu,
  )  # fmt: skip
  how = f'{count:.0f} rows of {work.row_patches} patches'
  return Phase('features', seconds, 'compute', how)


def _logprobs(run, topology, programs, work, a):
  share = 1 - 1 / work.updates  # The first batch needs none.
  rows = work.rows(a.row_filling) * share
  time, how = _rows(
    run, topology, programs['ref_logprobs'], work, rows,
    (1, 0 if run.looks_once else 1), a.forward_mfu, a,
  )  # fmt: skip
  return Phase('ref_logprobs', time.seconds, time.bound, how)


def _update(run, topology, programs, work, a):
  rows = work.rows(a.row_filling) * run.config.rl.epochs
  passes = _passes(run)
  time, how = _rows(
    run, topology, programs['update'], work, rows, passes, a.training_mfu, a
  )
  return Phase('update', time.seconds, time.bound, how)


def _passes(run):
  """In forward passes, an update of the text and one of the tower.

  Kernels that are frozen have no gradient, but one goes through the text to
  its adapters and to the tower; a tower that is frozen has looked before.
  """
  is_tower = run.config.rl.trains == parts.TOWER
  goes_through = run.layout.shape.lora_rank or is_tower
  return (2 if goes_through else 3), (0 if run.looks_once else 3)


def _rows(run, topology, program, work, rows, passes, mfu, a):
  """Time of whole rows, and in words how many.

  `passes` are those of the text and of the tower, for which a row is padded to
  one picture; the devices that share a row all look at it.
  """
  length = work.row_length
  micro = run.config.optimizer.micro_batch_rows
  turns = math.ceil(rows / micro)
  ways = run.layout.mesh.shape['context']
  compute = costs.whole_rows(
    topology.chip, run.layout.shape, rows, length, ways, topology.num_chips,
    passes[0], mfu,
  )  # fmt: skip
  if run.shown:
    compute += costs.tower_seconds(
      topology.chip, run.layout.shape, rows, work.row_patches,
      topology.num_chips / ways, passes[1], mfu,
    )  # fmt: skip
  sent, count = _collectives(program, turns, 1)
  network = costs.network_seconds(topology.chip, sent, count, a)
  how = f'{turns} micro-batches of {micro} rows'
  return costs.Time(compute, network=network), how


def _collectives(program, turns, calls_share):
  """Bytes and number of all, those of the open loop `turns` times."""
  parts = [
    (turns if c.is_open else 1 / calls_share, c) for c in program.collectives
  ]
  return (
    sum(times * c.sent_bytes for times, c in parts),
    sum(times * c.count for times, c in parts),
  )
