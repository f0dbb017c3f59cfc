"""A plan in words, and as JSON."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from k15.stages.rl import minibatches
from launch.plan import costs

_WHAT_TO_CHANGE = {
  'update': (
    "a smaller optimizer.micro_batch_rows, policy.remat 'full', more mesh.fsdp"
    ' or mesh.tensor, mesh.context for long rows, a smaller'
    ' policy.logprob_chunk'
  ),
  'ref_logprobs': 'as for update, and a smaller policy.logprob_chunk',
  'encode': (
    'a smaller last one of vision.patch_buckets, more tensor in rollout.mesh,'
    ' fewer rollout.num_slots, optimizer.offload'
  ),
  'prefill': (
    'a smaller rollout.prefill_batch, fewer rollout.num_slots, more tensor in'
    ' rollout.mesh, optimizer.offload'
  ),
  'insert': (
    'a smaller rollout.prefill_batch or rollout.token_budget, fewer'
    ' rollout.num_slots, optimizer.offload'
  ),
  'generate': (
    'fewer rollout.num_slots, more tensor in rollout.mesh, bfloat16 weights,'
    ' optimizer.offload'
  ),
}
# Of `costs.Assumptions`.
_ASSUMED = {
  'training_mfu': 'FLOP/s in updates',
  'forward_mfu': 'FLOP/s in forward passes',
  'hbm_share': 'HBM bandwidth',
  'ici_share': 'bandwidth of the links',
  'latency': 'time of a small collective',
  'row_filling': 'filling of rows',
}


def header(run: Any, topology: Any) -> str:
  """What is planned, and the columns of the programs."""
  p, chip, c = run.layout.shape, topology.chip, run.config
  seen = f' and {run.shown.row_patches} patches' if run.shown else ''
  sizes, rollout = (
    {name: size for name, size in layout.mesh.shape.items() if size > 1}
    for layout in (run.layout, run.rollout_layout)
  )
  return '\n'.join(
    [
      f'{costs.num_params(p) / 1e9:.2f}e9 parameters on {topology.name},'
      f' {topology.num_chips} chips of {gib(chip.hbm_bytes)} GiB usable',
      f'mesh {sizes or "of one chip"}, rollout {rollout or "of one chip"};'
      f' {c.optimizer.micro_batch_rows} rows of'
      f' {minibatches.batch_shape(c, run.layout)[1]} tokens{seen} a'
      f' micro-batch, {c.rollout.num_slots} slots',
      '',
      'GiB of a chip    arguments  outputs  temporaries    code    peak'
      '  beside it  of limit  compiled in',
    ]
  )


def gib(size: float) -> str:
  return f'{size / (1 << 30):.2f}'


def program(use: Any) -> str:
  """Memory and collectives of a program."""
  p = use.program
  if p.needed is not None:
    memory = f'{p.name:<16} refused by the compiler: needs {gib(p.needed)} GiB'
  else:
    # What is aliased lies where an argument lay, and is in that column.
    own = p.outputs - p.aliased
    share = (p.peak + use.held) / use.limit
    memory = (
      f'{p.name:<16} {gib(p.arguments):>9}  {gib(own):>7}'
      f'  {gib(p.temporaries):>11}  {gib(p.code):>6}  {gib(p.peak):>6}'
      f'  {gib(use.held):>9}  {share:>7.0%}  {p.seconds:>8.0f} s'
    )
  return '\n'.join([memory, *map(_collective, p.collectives)])


def _collective(c):
  turn = ' in each turn of its loop' if c.is_open else ''
  return f'    {c.count:>5} {c.kind}, {c.sent_bytes / 1e6:,.1f} MB sent{turn}'


def verdict(uses: Sequence[Any]) -> str:
  """Whether all fit, or by how many bytes not, and what to change."""
  sees = any(use.program.name == 'encode' for use in uses)
  lines = [
    f'{use.program.name} does not fit: {use.over:,} bytes ({gib(use.over)} GiB)'
    f' over. Change: {_WHAT_TO_CHANGE[use.program.name]}'
    f'{", a smaller vision.row_patches" * _is_of_rows(use, sees)}.'
    for use in uses
    if use.over > 0
  ]
  return '\n'.join(['', *(lines or ['All programs fit.'])])


def _is_of_rows(use, sees):
  return sees and use.program.name in ('update', 'ref_logprobs')


def largest(found: Any) -> str:
  how = (
    f'{found.compiles} compilations: memory as a line through two, and the'
    ' value itself' if found.is_confirmed else
    f'{found.compiles} compilations, none of which fits'
  )  # fmt: skip
  return f'Largest {found.key} that fits: {found.value} ({how}).'


def iteration(times: Any) -> str:
  """The phases, as estimates with what was assumed."""
  work = times.work
  lines = [
    '',
    f'Estimated iteration of {work.responses} responses of'
    f' {work.length:.0f} tokens in the mean (not measured):',
    *(
      f'  {phase.name:<13} {phase.seconds:>9.1f} s  {phase.bound:<8}'
      f' {phase.how}'
      for phase in times.phases
    ),
    f'  {"all":<13} {times.seconds:>9.1f} s',
    f'Assumed: {times.assumptions.sentence()}.',
    f'Largest unknowns: {_unknowns(times)}.',
  ]
  return '\n'.join(lines)


def _unknowns(times):
  """The three that an iteration depends on most, in words."""
  return ', '.join(
    f'at {"twice" if name == "latency" else "half"} the {_ASSUMED[name]}'
    f' {seconds / times.seconds:.2f} times as long'
    for name, seconds in [*times.unknowns.items()][:3]
  )


def record(
  run: Any, topology: Any, uses: Sequence[Any], found: Sequence[Any], times: Any
) -> dict[str, Any]:
  """All of it, for `json`."""
  return dict(
    topology=topology.name,
    chip=dataclasses.asdict(topology.chip),
    num_params=costs.num_params(run.layout.shape),
    mesh=dict(run.layout.mesh.shape),
    rollout_mesh=dict(run.rollout_layout.mesh.shape),
    programs=[
      dataclasses.asdict(use.program)
      | dict(
        peak=use.program.peak, held=use.held, limit=use.limit, over=use.over
      )
      for use in uses
    ],
    largest=[dataclasses.asdict(one) for one in found],
    phases=[dataclasses.asdict(phase) for phase in times.phases],
    iteration_seconds=times.seconds,
    assumptions=dataclasses.asdict(times.assumptions),
    unknowns=times.unknowns,
  )
