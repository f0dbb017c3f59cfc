"""What RL keeps from one iteration to the next, in memory and on disk.

`Stage` has all of it.  One that is resumed from a checkpoint, of `device_state`
and `host_state`, goes on bit for bit.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from k15.data_types import TrainState
from k15.devices import handover as handover_lib
from k15.devices import host_memory
from k15.devices import hosts
from k15.equations import problem_sampler
from k15.model import precision
from k15.rollout import timeline as timeline_lib
from k15.rollout.requests import Rollout
from k15.runtime import rollouts
from k15.runtime import weights
from k15.runtime.context import Context
from k15.stages import rl_updates
from k15.training import logs
from k15.training import optimizer as optimizer_lib
from k15.training import replay


@dataclasses.dataclass(eq=False)
class Stage:
  """What one iteration hands to the next, and the functions it calls.

  `kl_params` is GRPO's slow reference, None elsewhere; `problem_index` finds a
  training problem by its id; `timeline` has what the slots did lately;
  `handover` has the weights where they are decoded with, and `shelf` the
  optimizer's state while they are.  `name` is the stage's.
  """

  context: Context
  rollout: Rollout
  handover: handover_lib.HandOver
  shelf: host_memory.Shelf
  sampler: problem_sampler.ProblemSampler
  buffer: replay.ReplayBuffer
  state: TrainState
  kl_params: Any
  step: Any
  logprobs: Any
  optimizer: Any
  timer: logs.Timer
  problem_index: dict[str, int]
  timeline: timeline_lib.Timeline
  name: str

  def hand_over(self, version: int, label: int) -> None:
    """The newest weights for the rollout, which calls them `label`.

    Those of one version are merged with adapters, cast and moved once.
    """
    if version != self.handover.version:
      params = weights.whole(self.context.shape, self.state)
      dtype = self.context.config.rollout.dtype
      if dtype:  # Before it moves, and without a second copy of what moved.
        params = precision.cast(params, dtype)
      self.handover.update(params, version)
    self.rollout.set_params(self.handover.params, version=label)

  def rest_optimizer(self) -> None:
    """Frees the devices of the optimizer's state while they decode.

    One that is made anew before the next update is dropped, not kept.
    """
    o = self.context.config.optimizer
    if not o.offload:
      return
    if o.reset_every_iteration:
      host_memory.drop(self.state.opt_state)
    else:
      self.shelf.put(self.state.opt_state)
    self.state = self.state.replace(opt_state=None)

  def wake_optimizer(self) -> None:
    """Brings it back, or makes the fresh one that would follow anyway."""
    o = self.context.config.optimizer
    if o.offload and o.reset_every_iteration:
      self.reset_optimizer()
    elif o.offload:
      self.state = self.state.replace(opt_state=self.shelf.take())

  def reset_optimizer(self) -> None:
    """Forgets the moments: every iteration is a new problem (2.3.2)."""
    self.state = optimizer_lib.reset(self.optimizer, self.state)

  def joined(self, params: Any) -> Any:
    """What is trained, as it is or was, with what is frozen."""
    return weights.joined(self.state, params)

  def steps(self) -> int:
    """Optimizer steps since the start of the stage."""
    return int(jax.device_get(self.state.step))

  def device_state(self) -> dict[str, Any]:
    """What a checkpoint holds of the devices; see `device_layout`."""
    train = self.state.replace(frozen=None)
    return dict(train=train, kl_params=self.kl_params)


def begin(context: Context, params: Any, name: str = 'rl') -> Stage:
  """The named stage before its first iteration; it takes over the parameters.

  A copy of what is trained is GRPO's slow reference, where the loss pulls
  towards it.
  """
  optimizer = _make_optimizer(context)
  state = weights.init_state(
    context.layout, optimizer, params, context.config.seed, name
  )
  kl_params = None
  if rl_updates.uses_slow_reference(context.config):
    kl_params = jax.tree.map(lambda x: x.copy(), state.params)
  return _make(context, name, state, kl_params)


def resume(
  context: Context,
  device: Any,
  host: Any,
  make_params: Callable[[], Any],
  name: str = 'rl',
) -> Stage:
  """The named stage as it was.

  Args:
    context: of the run.
    device, host: of a checkpoint: arrays, and the rest of it.
    make_params: the weights it began with.
    name: of the stage.
  """
  frozen = weights.frozen_of(context.layout, make_params)
  state = device['train'].replace(frozen=frozen)
  stage = _make(context, name, state, device['kl_params'])
  stage.sampler.set_state(host['sampler'])
  stage.buffer.set_state(host['buffer'])
  return stage


def device_layout(context: Context) -> dict[str, Any]:
  """`Stage.device_state` as `jax.ShapeDtypeStruct`s with shardings."""
  optimizer = _make_optimizer(context)
  layout = weights.state_layout(context.layout, optimizer).replace(frozen=None)
  has_slow = rl_updates.uses_slow_reference(context.config)
  return dict(train=layout, kl_params=layout.params if has_slow else None)


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
  step, logprobs = rl_updates.make_updates(
    config, context.layout, optimizer, places
  )
  slots = timeline_lib.Timeline(context.workdir / 'timeline.jsonl')
  record = slots.record if hosts.is_first() else None
  return Stage(
    context=context,
    rollout=rollouts.make_rollout(context, name, record),
    handover=rollouts.make_handover(context),
    shelf=host_memory.Shelf(),
    sampler=problem_sampler.ProblemSampler(
      len(train),
      **config.problem_sampler,
      difficulty=[problem.difficulty for problem in train],
      seed=config.seed,
      stage=name,
    ),
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
    timeline=slots,
    name=name,
  )


def _make_optimizer(context):
  config = context.config
  name = config.optimizer.name
  return weights.make_optimizer(config, context.shape, name)
