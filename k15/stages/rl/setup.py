"""RL before its first iteration, or as a checkpoint has it.

A stage that is resumed, from `Stage.device_state` and `host_state`, goes on bit
for bit.
"""

from collections.abc import Callable
from typing import Any

import jax

from k15.devices import host_memory
from k15.runtime import rollouts
from k15.runtime import weights
from k15.runtime.context import Context
from k15.stages.rl import methods
from k15.stages.rl import problems
from k15.stages.rl import records as records_lib
from k15.stages.rl import stage as stage_lib
from k15.stages.rl import updates
from k15.stages.rl.stage import Stage
from k15.training import logs
from k15.training import replay


def begin(context: Context, params: Any, name: str = 'rl') -> Stage:
  """The named stage before its first iteration; it takes over the parameters.

  A copy of what is trained is GRPO's slow reference, where the loss pulls
  towards it.
  """
  optimizer = _make_optimizer(context)
  state = weights.init_state(
    context.layout, optimizer, params, context.config.seed, name,
    context.config.rl.trains,
  )  # fmt: skip
  kl_params = None
  if methods.uses_slow_reference(context.config):
    kl_params = jax.tree.map(lambda x: x.copy(), state.params)
  return _make(context, name, state, kl_params)


def resume(
  context: Context,
  iteration: int,
  device: Any,
  host: Any,
  make_params: Callable[[], Any],
  name: str = 'rl',
) -> Stage:
  """The named stage as it was.

  Args:
    context: of the run.
    iteration: the next one.
    device, host: of a checkpoint: arrays, and the rest of it.
    make_params: the weights it began with.
    name: of the stage.
  """
  trains = context.config.rl.trains
  frozen = weights.frozen_of(context.layout, make_params, trains)
  state = device['train'].replace(frozen=frozen)
  stage = _make(context, name, state, device['kl_params'])
  if stage.is_overlapping:
    stage.handover.update(device['sampling'], stage.version_under(iteration))
    stage.sampling = stage.handover.params
  stage.sampler.set_state(host['sampler'])
  stage.buffer.set_state(host['buffer'])
  return stage


def device_layout(context: Context) -> dict[str, Any]:
  """`Stage.device_state` as `jax.ShapeDtypeStruct`s with shardings."""
  optimizer = _make_optimizer(context)
  trains = context.config.rl.trains
  layout = weights.state_layout(context.layout, optimizer, trains)
  layout = layout.replace(frozen=None)
  has_slow = methods.uses_slow_reference(context.config)
  kept = dict(train=layout, kl_params=layout.params if has_slow else None)
  if stage_lib.overlaps(context.config):
    dtype = context.config.rollout.dtype
    kept['sampling'] = weights.param_layout_in(context.layout, dtype)
  return kept


def host_state(buffer: replay.ReplayBuffer, sampler: Any) -> dict[str, Any]:
  """What a checkpoint holds beside arrays of devices.

  `sampler` is the state of the problem sampler.
  """
  return dict(buffer=buffer.get_state(), sampler=sampler)


def _make(context, name, state, kl_params):
  """The stage from a state, with nothing in its buffer."""
  config, train = context.config, context.task.train
  optimizer = _make_optimizer(context)
  places = jax.tree.map(lambda x: x.sharding, state)
  step, logprobs = updates.make_updates(
    config, context.layout, optimizer, places
  )
  records = records_lib.make_records(context, name)
  return Stage(
    context=context,
    rollout=rollouts.make_rollout(context, name, records.of_slot),
    handover=rollouts.make_handover(context),
    shelf=host_memory.Shelf(),
    sampler=problems.make_sampler(context, name),
    buffer=replay.ReplayBuffer(),
    state=state,
    kl_params=kl_params,
    step=step,
    logprobs=logprobs,
    # Fresh moments lie where the old ones did.
    optimizer=optimizer._replace(
      init=jax.jit(optimizer.init, out_shardings=places.opt_state)
    ),
    timer=logs.Timer(),
    problem_index={problem.id: i for i, problem in enumerate(train)},
    records=records,
    name=name,
  )


def _make_optimizer(context):
  config = context.config
  name, trains = config.optimizer.name, config.rl.trains
  return weights.make_optimizer(config, context.shape, name, trains=trains)
