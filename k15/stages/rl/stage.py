"""What one iteration of RL hands to the next: `Stage`."""

import dataclasses
from typing import Any

import jax

from k15.data_types import TrainState
from k15.devices import handover as handover_lib
from k15.devices import host_memory
from k15.equations import problem_sampler
from k15.rollout.requests import Rollout
from k15.runtime import rollouts
from k15.runtime import weights
from k15.runtime.context import Context
from k15.stages.rl.records import Records
from k15.training import logs
from k15.training import optimizer as optimizer_lib
from k15.training import replay


@dataclasses.dataclass(eq=False)
class Stage:
  """What is handed on, and the functions that an iteration calls.

  `kl_params` is GRPO's slow reference, None elsewhere; `problem_index` finds a
  training problem by its id; `records` are of what the rollout did;
  `handover` has the weights where they are decoded with, and `shelf` the
  optimizer's state while they are.  `name` is the stage's.

  `ahead` is the phase that has begun, a `Growing`, `before` the host's state
  before it and `sampling` the weights it samples under: what begins it again.
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
  records: Records
  name: str
  ahead: Any = None
  before: tuple[replay.ReplayBuffer, Any] | None = None
  sampling: Any = None

  @property
  def is_overlapping(self) -> bool:
    """See `overlaps`."""
    return overlaps(self.context.config)

  def version_under(self, iteration: int) -> int:
    """Of the weights that an iteration's rollout samples under."""
    return max(0, iteration - self.is_overlapping)

  def hand_over(self, version: int, label: int) -> None:
    """The newest weights for the rollout, which calls them `label`.

    Those of one version are merged with adapters, cast and moved once.
    """
    if version != self.handover.version:
      dtype = self.context.config.rollout.dtype
      params = weights.whole(self.context.shape, self.state, dtype)
      if self.is_overlapping:
        # The next update is donated its own, which a cast has copied already.
        own = {id(x) for x in jax.tree.leaves(self.state.params)}
        params = jax.tree.map(
          lambda x: x.copy() if id(x) in own else x, params
        )
      self.handover.update(params, version)
    self.rollout.set_params(self.handover.params, version=label)

  def warm_up(self) -> None:
    """Compiles what decodes, so that the first iteration does not."""
    with self.context.rollout_layout.use_mesh():
      columns = rollouts.longest_context(self.context.config.rollout)
      self.rollout.warm_up(columns)

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
    """What a checkpoint holds of the devices; see `setup.device_layout`."""
    train = self.state.replace(frozen=None)
    kept = dict(train=train, kl_params=self.kl_params)
    if self.is_overlapping:
      kept['sampling'] = self.sampling
    return kept


def overlaps(config: Any) -> bool:
  """Whether workers sample an iteration while the one before is trained on.

  Where this process decodes, it has no time for both.
  """
  return config.rl.overlap and bool(config.rollout.workers)
