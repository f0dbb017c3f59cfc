"""The loop of supervised stages: a step, its numbers, a checkpoint, and so on.

SFT, DPO and the reward model differ in what a batch is and in the loss.  The
rest is here, once: a stage goes on from its last checkpoint bit for bit, ends
where loss or gradient are not finite, and saves before it obeys a wish to stop.
A further stage of this kind is a page that makes a `Loop`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax

from k15 import checkpoint
from k15 import context as context_lib
from k15 import logs
from k15 import optimizer as optimizer_lib
from k15 import update
from k15.context import Context
from k15.data_types import TrainState

# (state, which is donated; batch) -> the next state, and scalars on devices
Step = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]

# What the line of progress shows of what is logged.
_SHOWN = 'loss', 'margin'


@dataclasses.dataclass(frozen=True, eq=False)
class Loop:
  """What a stage puts into the loop.

  Attributes:
    steps: of the whole stage, a batch each.
    log_every: steps between two records; the last step always makes one.
    batch: number of a step -> its batch, on devices.
    make_step: shardings of the state -> the jitted step.
    name_metrics: metrics of a step -> what is logged of them, by `phase/name`.
    source: what batches come from, if their step's number alone does not make
      them: has `get_state`, of what JSON can hold, and `set_state`.
  """

  steps: int
  log_every: int
  batch: Callable[[int], Any]
  make_step: Callable[[Any], Step]
  name_metrics: Callable[[dict[str, float]], dict[str, float]]
  source: Any = None


def run(
  context: Context,
  stage: str,
  steps: int | None,
  prepare: Callable[[int], Loop],
  layout: Callable[[], TrainState],
  init: Callable[[], TrainState],
) -> TrainState:
  """Runs a stage, or what is left of it; returns its last state.

  Args:
    context: of the run.
    stage: its name, in logs and of its folder of checkpoints.
    steps: how many it has in all; None: what is prepared says so.
    prepare: first step to be taken -> the loop.  Not called where no step is
      left: a finished stage reads none of its files again.
    layout: makes what a saved state is restored to, see `checkpoint.restore`.
    init: makes the state of a stage that begins.

  Raises:
    FloatingPointError: loss or gradient are not finite.
    Interrupted: the run was asked to stop; its state is saved.
  """
  checkpoints = checkpoint.Checkpoints(
    context.workdir / 'checkpoints' / stage, context.config.saving.keep
  )
  start, loop = checkpoints.latest_step() or 0, None
  if steps is None or start < steps:
    context.logger.truncate(stage, start)
    loop = prepare(start)
  if start:
    state, host = checkpoints.restore(start, layout())
  else:
    state, host = init(), None
  if loop is not None and start < loop.steps:
    if host and loop.source is not None:
      loop.source.set_state(host['data']['state'])
    with context.use_mesh():
      state = _steps(context, stage, loop, state, start, checkpoints)
  checkpoints.close()
  return state


def cosine(config: Any, steps: int) -> optimizer_lib.Schedule:
  """The learning rate of a stage of so many steps, from its group of keys."""
  return optimizer_lib.cosine_schedule(
    config.learning_rate, config.end_learning_rate, config.warmup_steps, steps
  )


def make_policy_step(
  context: Context,
  loss: update.Loss,
  optimizer: optax.GradientTransformation,
  schedule: optimizer_lib.Schedule,
  layout: TrainState,
) -> Step:
  """The step of a stage that trains the policy on a packed `Batch`."""
  step = update.make_step(
    context.policy,
    loss,
    optimizer,
    schedule,
    context.config.optimizer.micro_batch_rows,
    layout=layout,
  )
  # The reference, where a loss has one, is computed before the first step.
  return lambda state, batch: step(state, batch, False)


def _steps(context, stage, loop, state, start, checkpoints):
  every, timer = context.config.saving.every_sft_steps, logs.Timer()
  step = loop.make_step(jax.tree.map(lambda x: x.sharding, state))
  with logs.Progress(loop.steps, start, stage) as progress:
    for i in range(start, loop.steps):
      with timer('data'):
        batch = loop.batch(i)
      with timer('update'):
        state, values = step(state, batch)
        values = {k: float(v) for k, v in jax.device_get(values).items()}
      update.refuse_non_finite(context.workdir, stage, 'step', i, values, batch)
      logged = loop.name_metrics(values)
      progress.update(**_short_names(logged))
      done, stopping = i + 1 == loop.steps, context.is_stopping()
      if i % loop.log_every == 0 or done:
        context.logger.scalars(stage, i, logged | timer.pop())
      if done or (i + 1) % every == 0 or stopping:
        checkpoints.save(i + 1, state, _host(loop))
      if stopping and not done:
        raise context_lib.Interrupted(f'{stage}: saved after step {i + 1}')
  return state


def _host(loop):
  if loop.source is None:
    return {}
  return dict(data=dict(state=loop.source.get_state()))


def _short_names(logged):
  names = {key.rpartition('/')[2]: value for key, value in logged.items()}
  return {name: names[name] for name in _SHOWN if name in names}
