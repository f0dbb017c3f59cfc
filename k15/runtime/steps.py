"""The loop of supervised stages: a step, its numbers, a checkpoint, and so on.

Pretraining, SFT, DPO and the reward model differ in what a batch is and in the
loss.  The rest is here, once: a stage goes on from its last checkpoint bit for
bit, ends where loss or gradient are not finite, and saves before it obeys a
wish to stop.
A further stage of this kind is a page that makes a `Loop`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from k15.checkpoints import state as state_lib
from k15.data_types import Batch, TrainState
from k15.equations import losses
from k15.runtime import context as context_lib
from k15.runtime.context import Context
from k15.training import logs
from k15.training import optimizer as optimizer_lib
from k15.training import update

# (state, which is donated; batch) -> the next state, and scalars on devices
Step = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Loop:
  """What a stage puts into the loop.

  Attributes:
    steps: of the whole stage, a batch each.
    log_every: steps between two records; the last step always makes one.
    batch: number of a step -> its batch, on devices.
    make_step: (optimizer, schedule, shardings of the state) -> the jitted step.
    name_metrics: metrics of a step -> what is logged of them, by `phase/name`.
    source: what batches come from, if their step's number alone does not make
      them: has `get_state`, of what JSON can hold, and `set_state`.
    measure: state -> what else is logged of it, before the first step, every
      `measure_every` steps and after the last; None: nothing.
    measure_every: see there.
  """

  steps: int
  log_every: int
  batch: Callable[[int], Any]
  make_step: Callable[..., Step]
  name_metrics: Callable[[dict[str, float]], dict[str, float]]
  source: Any = None
  measure: Callable[[TrainState], dict[str, float]] | None = None
  measure_every: int = 1


def run(
  context: Context,
  stage: str,
  config: Any,
  optimizer: optax.GradientTransformation,
  prepare: Callable[[int], Loop],
  layout: Callable[[], TrainState],
  init: Callable[[], TrainState],
  frozen: Callable[[], Any],
  epochs: int = 0,
) -> TrainState:
  """Runs a stage, or what is left of it; returns its last state.

  Args:
    stage: its name, in logs and of its folder of checkpoints.
    config: its group of keys: steps and learning rates.
    optimizer: see `k15.training.optimizer`.
    prepare: first step to be taken -> the loop.  Not called where no step is
      left: a finished stage reads none of its files again.
    layout: makes what a saved state is restored to, see `checkpoint.restore`.
    init: makes the state of a stage that begins.
    frozen: makes what of the state is in no checkpoint, for one that goes on.
    epochs: above 0 the number of steps is known once they are prepared.

  Raises:
    FloatingPointError: loss or gradient are not finite.
    Interrupted: the run was asked to stop; its state is saved.
  """
  checkpoints = state_lib.Checkpoints(
    context.workdir / 'checkpoints' / stage, context.config.saving.keep
  )
  start, loop = checkpoints.latest_step() or 0, None
  if epochs or start < config.steps:
    context.logger.truncate(stage, start)
    # Before the state is made: DPO computes its reference here, with a copy of
    # the weights that is gone when the moments come.
    loop = prepare(start)
  if start:
    like = layout().replace(frozen=None)
    state, host = checkpoints.restore(start, like)
    state = state.replace(frozen=frozen())
  else:
    state, host = init(), None
  if loop is not None and start < loop.steps:
    if host and loop.source is not None:
      loop.source.set_state(host['data']['state'])
    with context.layout.use_mesh():
      schedule = optimizer_lib.cosine_schedule(
        config.learning_rate,
        config.end_learning_rate,
        config.warmup_steps,
        loop.steps,
      )
      places = jax.tree.map(lambda x: x.sharding, state)
      step = loop.make_step(optimizer, schedule, places)
      state = _steps(context, stage, loop, step, state, start, checkpoints)
  checkpoints.close()
  return state


def mean_loss(
  logprobs: jax.Array, rows: Batch
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """The mean negative log-likelihood of the targets of a packed `Batch`."""
  # All targets weigh the same, so a row counts as one sequence.
  one_sequence = jnp.minimum(rows.segment_ids, 1)
  return losses.next_token(
    logprobs, one_sequence, rows.loss_mask, rows.pg_weight
  )


def make_policy_step(
  context: Context,
  loss: update.Loss,
  optimizer: optax.GradientTransformation,
  schedule: optimizer_lib.Schedule,
  layout: TrainState,
  micro_batch_rows: int = 0,
) -> Step:
  """The step of a stage that trains the policy on a packed `Batch`.

  `micro_batch_rows` are those of the config, unless they are given.
  """
  step = update.make_step(
    context.shape,
    loss,
    optimizer,
    schedule,
    micro_batch_rows or context.config.optimizer.micro_batch_rows,
    layout=layout,
  )
  # The reference, where a loss has one, is computed before the first step.
  return lambda state, batch: step(state, batch, False)


def _steps(context, stage, loop, step, state, start, checkpoints):
  every, timer = context.config.saving.every_sft_steps, logs.Timer()
  if loop.measure is not None and not start:
    context.logger.scalars(stage, 0, loop.measure(state))
  with logs.Progress(loop.steps, start, stage) as progress:
    for i in range(start, loop.steps):
      with timer('data'):
        batch = loop.batch(i)
      with timer('update'):
        state, values = step(state, batch)
        values = {k: float(v) for k, v in jax.device_get(values).items()}
      # Before anything is saved: a state that is not finite must not be what
      # the stage goes on from.
      update.refuse_non_finite(context.workdir, stage, 'step', i, values, batch)
      progress.update(loss=values['loss'])
      done, stopping = i + 1 == loop.steps, context.is_stopping()
      logged = {}
      if i % loop.log_every == 0 or done:
        logged = loop.name_metrics(values) | timer.pop()
      if loop.measure and ((i + 1) % loop.measure_every == 0 or done):
        logged |= loop.measure(state)
      if logged:
        # The log may run ahead of the checkpoint: what a kill leaves of it
        # beyond the last one is taken back by `truncate`.
        context.logger.scalars(stage, i, logged)
      if done or (i + 1) % every == 0 or stopping:
        host = {}
        if loop.source is not None:
          host = dict(data=dict(state=loop.source.get_state()))
        # Numbered by the steps taken, which is the number of the next one.
        checkpoints.save(i + 1, state.replace(frozen=None), host)
      if stopping and not done:
        raise context_lib.Interrupted(f'{stage}: saved after step {i + 1}')
  return state
