"""What every stage of a run shares: config, shapes, mesh, task, logs."""

import dataclasses
import pathlib
import threading
from typing import Any

import flax.linen as nn
import jax
import optax

from k15 import metrics
from k15 import optimizer as optimizer_lib
from k15 import policy
from k15 import sharding
from k15 import task as task_lib
from k15.data_types import Problem, TrainState
from k15.rewards import exact_answer
from k15.rollout import client
from k15.rollout import slots


class Interrupted(Exception):
  """The run was asked to stop; its state is saved."""


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
  """Attributes:
  config: the whole config.
  workdir: where everything of the run is written.
  policy: shape of the policy.
  mesh: of devices.
  task: problems and examples.
  logger: of metrics and trajectories.
  stop: set when the run was asked to stop.
  """

  config: Any
  workdir: pathlib.Path
  policy: policy.PolicyConfig
  mesh: jax.sharding.Mesh
  task: task_lib.Task
  logger: metrics.Logger
  stop: threading.Event


def make(config: Any, workdir: pathlib.Path, stop: threading.Event) -> Context:
  """Builds task and mesh; opens the logs of the workdir."""
  task = task_lib.build(config)
  shape = policy.PolicyConfig(
    vocab_size=task.tokenizer.vocab_size, **config.policy
  )
  return Context(
    config=config,
    workdir=workdir,
    policy=shape,
    mesh=sharding.make_mesh(**config.mesh),
    task=task,
    logger=metrics.Logger(workdir, enabled=jax.process_index() == 0),
    stop=stop,
  )


def init_state(
  context: Context, optimizer: optax.GradientTransformation, seed: int
) -> TrainState:
  """A fresh state, laid out over the mesh."""

  def init(key):
    params = policy.init(context.policy, key)
    return optimizer_lib.init_state(optimizer, params)

  key = jax.random.key(seed)
  layout = sharding.param_shardings(context.mesh, jax.eval_shape(init, key))
  make_state = jax.jit(lambda key: nn.unbox(init(key)), out_shardings=layout)
  return make_state(key)


def make_optimizer(config: Any, name: str) -> optax.GradientTransformation:
  """The named optimizer with the settings all stages share."""
  o = config.optimizer
  return optimizer_lib.make(
    name, o.beta1, o.beta2, o.eps, o.weight_decay, o.clip_norm
  )


def make_rollout(context: Context) -> client.LocalRollout:
  """The rollout of the config, without weights yet."""
  r = context.config.rollout
  return client.LocalRollout(
    slots.SlotDecoder(
      config=context.policy,
      num_slots=r.num_slots,
      columns=r.max_prompt_length + r.max_length,
      tokens_per_call=r.tokens_per_call,
      prefill_batch=r.prefill_batch,
      eos_id=context.task.tokenizer.eos_id,
      repetition_count=r.repetition_count,
      repetition_max_period=r.repetition_max_period,
      repetition_min_tokens=r.repetition_min_tokens,
      fuse_projections=context.mesh.shape['tensor'] == 1,
    ),
    key=jax.random.fold_in(jax.random.key(context.config.seed), 1),
  )


def score(context: Context, problem: Problem, response: str) -> float:
  """The raw reward: 1 if the final answer is the problem's, else 0."""
  return exact_answer.score(
    response, problem.answer, context.config.task.answer_marker
  )
