"""What a run will cost on a TPU slice, before there is one.

    python -m launch.plan --config=experiments/pod.py:qwen25_7b_32k \\
        --topology=v5p:4x4x4

Compiles, on this machine's CPU, the programs that the run will use, and prints
memory, collectives and estimates of time; `--config.KEY=VALUE` as for k15.main.
With `--cache` the run then finds them compiled.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
from absl import app
from absl import flags
from absl import logging
from ml_collections import config_flags

from k15.config import checks
from k15.config import command_line
from k15.data import arithmetic
from k15.runtime import context
from k15.stages.rl import methods
from k15.stages.rl import minibatches
from launch.plan import cache as cache_lib
from launch.plan import chips
from launch.plan import programs
from launch.plan import table
from launch.plan import times as times_lib
from launch.plan import topologies


@dataclasses.dataclass(frozen=True)
class Use:
  """A program and what else lies in a chip's memory while it runs."""

  program: programs.Compiled
  held: int
  limit: int

  @property
  def over(self) -> int:
    """Bytes beyond the limit; what is left, if negative."""
    return self.program.peak + self.held - self.limit


@dataclasses.dataclass(frozen=True)
class Largest:
  """The largest value of a key with which a program fits.

  Attributes:
    key: of the config.
    value: 0 if none fits.
    compiles: how many programs were compiled to find it.
    is_confirmed: whether the program of this value was among them.
  """

  key: str
  value: int
  compiles: int
  is_confirmed: bool


def define_flags() -> None:
  """Not at import: other commands have flags of the same names."""
  config_flags.DEFINE_config_file('config', None, 'Experiment file.')
  flags.DEFINE_string('topology', None, 'Such as v5p:4x4x4.')
  flags.DEFINE_integer(
    'mean_length', 0, 'Mean tokens of a response; 0: half of the longest.'
  )
  flags.DEFINE_bool(
    'search', True, 'Look for the largest micro-batch and number of slots.'
  )
  flags.DEFINE_bool(
    'quick', False, 'Compile with the least effort: three times as fast, with'
    ' memory and collectives a little unlike those of the run.',
  )  # fmt: skip
  flags.DEFINE_string('json', '', 'File for the same as JSON.')
  flags.DEFINE_string(
    'cache', '', 'Folder for the compiled programs, which a run reads.'
  )


def main(argv: list[str]) -> None:
  del argv
  plan(flags.FLAGS)


def plan(options: Any) -> None:
  """Prints the plan and exits: 1 if something does not fit.

  Args:
    options: values of the flags, as attributes.
  """
  logging.set_verbosity(logging.ERROR)
  try:
    config, topology = _checked(options)
    cache = _make_cache(options)
    devices = topologies.devices(topology)
    if options.quick:
      jax.config.update('jax_exec_time_optimization_effort', -1.0)
    run = programs.make_run(config, devices)
  except (ValueError, OSError) as error:
    command_line.exit_with(str(error))
  print(table.header(run, topology), flush=True)
  uses = []
  for use in _uses(run, topology.chip):
    uses.append(use)
    print(table.program(use), flush=True)
  print(table.verdict(uses), flush=True)
  if cache:
    for _ in programs.compile_shorter(run):
      pass
    cache.close()  # What a search compiles is of other runs.
    print(cache, flush=True)
  largest = list(_searches(run, devices, uses)) if options.search else []
  for found in largest:
    print(table.largest(found), flush=True)
  times = times_lib.of_iteration(run, topology, uses, options.mean_length)
  print(table.iteration(times), flush=True)
  if options.json:
    record = table.record(run, topology, uses, largest, times)
    pathlib.Path(options.json).write_text(json.dumps(record, indent=2) + '\n')
  sys.exit(1 if any(use.over > 0 for use in uses) else 0)


def held_bytes(run: programs.Run, name: str, slot_bytes: int) -> int:
  """What lies in a chip's memory beside the arguments of a program.

  Args:
    slot_bytes: of the state of decoding, on a chip.
  """
  config, size = run.config, programs.bytes_per_chip
  trained, moments = size(run.state.params), size(run.state.opt_state)
  params = trained + size(run.state.frozen)
  copy = 0 if run.shares_weights else size(run.rollout_params)
  copy += run.joined_bytes
  kept = trained if methods.uses_slow_reference(config) else 0
  if name == programs.UPDATE:
    others = config.rl.updates_per_iteration - 1
    return kept + copy + others * size(programs.batch(run))
  if name == programs.LOGPROBS:
    batches = config.rl.updates_per_iteration * size(programs.batch(run))
    return kept + copy + moments + batches
  kept += 0 if config.optimizer.offload else moments
  # Features are kept while responses are sampled, wherever they lie.
  kept += run.shown.sight.cache_bytes if run.shown else 0
  kept += params + copy
  if name == programs.INSERT:  # It takes no weights.
    return kept
  # The tower works alone: no other program of the rollout takes its weights.
  text, tower = run.rollout_parts
  kept -= size(tower if name == programs.ENCODE else text)
  return kept + (0 if name == programs.GENERATE else slot_bytes)


def find_largest(
  key: str,
  compile_with: Callable[[int], Use],
  first: Use,
  start: int,
  unit: int,
  most: int,
) -> Largest:
  """Two compilations give memory as a line, a third confirms where it ends.

  Args:
    compile_with: value -> the program's use of memory.
    first: that of `start`.
    start: a value, a multiple of the unit.
    unit: values are multiples of it.
    most: largest value that makes sense.
  """
  known = {start: first}

  def over(value):
    if value not in known:
      known[value] = compile_with(value)
    return known[value].over

  other = (
    2 * start if 2 * start <= most else max(unit, start // 2 // unit * unit)
  )
  if other == start:
    value = start if over(start) <= 0 else 0
    return Largest(key, value, len(known), True)
  slope = (over(other) - over(start)) / (other - start)
  # Where memory does not grow, as the compiler chose another way, the line has
  # no end: then the largest value is tried.
  left = max(slope, 1.0)
  guess = start - over(start) / left
  guess = int(min(most, max(guess, 0)) // unit * unit)
  # Memory is not quite a line: one unit less mostly fits where the guess does
  # not.
  for value in (guess, guess - unit):
    if value >= unit and over(value) <= 0:
      return Largest(key, value, len(known), True)
  fitting = [value for value, use in known.items() if use.over <= 0]
  return Largest(key, max(fitting, default=0), len(known), bool(fitting))


def _checked(options):
  """Config and topology, before anything is compiled."""
  config, name = options.config, options.topology
  if config is None or name is None:
    raise ValueError('--config and --topology are needed')
  topology = chips.parse(name)
  context.adopt_checkpoint(config)
  if config.task.name == 'file':
    config.task.name = 'arithmetic'  # A plan needs no problems.
  checks.validate(config, topology.num_chips, arithmetic.KINDS)
  return config, topology


def _make_cache(options):
  """The folder of programs that is in use from now on, or None."""
  if not options.cache:
    return None
  if options.quick:
    raise ValueError(
      '--quick compiles other programs than a run asks for, and --cache'
      f' {options.cache} is for those of the run'
    )
  return cache_lib.Cache(options.cache)


def _uses(run, chip) -> Iterator[Use]:
  slot_bytes = programs.slot_bytes(run)
  for compiled in (
    programs.compile_rollout,
    programs.compile_update,
    programs.compile_logprobs,
  ):
    for program in compiled(run):
      held = held_bytes(run, program.name, slot_bytes)
      yield Use(program, held, chip.hbm_bytes)


def _searches(run, devices, uses) -> Iterator[Largest]:
  config, by_name = run.config, {use.program.name: use for use in uses}

  def compile_with(key, compiled):
    def with_value(value):
      changed = config.copy_and_resolve_references()
      changed.update_from_flattened_dict({key: value})
      other = programs.make_run(changed, devices)
      (program,) = compiled(other)
      held = held_bytes(other, program.name, program.aliased)
      return Use(program, held, uses[0].limit)

    return with_value

  key, update = 'optimizer.micro_batch_rows', by_name[programs.UPDATE]
  yield find_largest(
    key, compile_with(key, programs.compile_update), update,
    config.optimizer.micro_batch_rows, ways(run.layout.mesh),
    minibatches.batch_shape(config, run.layout)[0],
  )  # fmt: skip
  key, generate = 'rollout.num_slots', by_name[programs.GENERATE]
  yield find_largest(
    key, compile_with(key, programs.compile_generate), generate,
    # No slice holds so many: memory decides.
    config.rollout.num_slots, ways(run.rollout_layout.mesh), 1 << 20,
  )  # fmt: skip


def ways(mesh: Any) -> int:
  """Parts into which rows and slots are divided."""
  return mesh.shape['data'] * mesh.shape['fsdp']


if __name__ == '__main__':
  define_flags()
  app.run(main, flags_parser=command_line.parse_flags)
