"""Supervised fine-tuning: Kimi k1.5, sections 2.5.2 and 2.2 (long CoT).

Packed examples, loss on what the assistant writes, one cosine of the learning
rate.  A stage has a group of keys in the config, whose name it goes by.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from k15 import checkpoint
from k15 import context as context_lib
from k15 import losses
from k15 import metrics
from k15 import optimizer as optimizer_lib
from k15 import sft_data
from k15 import update
from k15.context import Context
from k15.data import TokenPair
from k15.data_types import Batch, TrainState


def train(
  context: Context,
  make_params: Callable[[], Any],
  stage: str = 'sft',
  make_pairs: Callable[[], tuple[list[TokenPair], int]] | None = None,
) -> TrainState:
  """Runs a stage, or what is left of it; returns its last state.

  Args:
    context: of the run.
    make_params: the weights to start from, consumed; called by a first run.
    stage: its name, a group of the config.
    make_pairs: returns prompts and responses to learn from, and how many were
      left out; None: those of the stage's files, or of the task.

  Raises:
    DataError: something is wrong with the files of the stage.
  """
  config = context.config[stage]
  optimizer = context_lib.make_optimizer(context, config.optimizer)
  checkpoints = checkpoint.Checkpoints(
    context.workdir / 'checkpoints' / stage, context.config.saving.keep
  )
  start = checkpoints.latest_step() or 0
  stream = None
  if config.epochs or start < config.steps:
    context.logger.truncate(stage, start)
    stream = sft_data.make_stream(context, stage, make_pairs, is_new=not start)
  if start:
    layout = context_lib.state_layout(context, optimizer)
    state, host = checkpoints.restore(start, layout)
    if stream is not None and start < stream.steps:
      stream.batches.set_state(host['data']['state'])
  else:
    if stream is not None:
      context.logger.scalars(stage, 0, stream.counts)
    state = context_lib.init_state(context, optimizer, make_params())
  if stream is not None and start < stream.steps:
    with context.use_mesh():
      state = _steps(
        context, stage, optimizer, state, stream, start, checkpoints
      )
  checkpoints.close()
  return state


def _steps(context, stage, optimizer, state, stream, start, checkpoints):
  config, every = context.config[stage], context.config.saving.every_sft_steps
  layout = jax.tree.map(lambda x: x.sharding, state)
  step = _make_step(context, stage, stream.steps, optimizer, layout)
  batches, timer = stream.batches, metrics.Timer()
  with metrics.Progress(stream.steps, start, stage) as progress:
    for i in range(start, stream.steps):
      with timer('data'):
        batch = context.place_rows(_batch(next(batches)))
      with timer('update'):
        state, values = step(state, batch, False)
        values = {k: float(v) for k, v in jax.device_get(values).items()}
      update.refuse_non_finite(context.workdir, stage, 'step', i, values, batch)
      logged = _metrics(values)
      progress.update(loss=logged['sft/loss'])
      done, stopping = i + 1 == stream.steps, context.is_stopping()
      if i % config.log_every == 0 or done:
        context.logger.scalars(stage, i, logged | timer.pop())
      if done or (i + 1) % every == 0 or stopping:
        checkpoints.save(
          i + 1, state, dict(data=dict(state=batches.get_state()))
        )
      if stopping and not done:
        raise context_lib.Interrupted(f'{stage}: saved after step {i + 1}')
  return state


def _make_step(context, stage, steps, optimizer, layout):
  config = context.config
  schedule = optimizer_lib.cosine_schedule(
    config[stage].learning_rate,
    config[stage].end_learning_rate,
    config[stage].warmup_steps,
    steps,
  )

  def loss(logprobs, rows):
    # All targets weigh the same, so a row counts as one sequence.
    one_sequence = jnp.minimum(rows.segment_ids, 1)
    return losses.next_token(
      logprobs, one_sequence, rows.loss_mask, rows.pg_weight
    )

  return update.make_step(
    context.policy,
    loss,
    optimizer,
    schedule,
    config.optimizer.micro_batch_rows,
    layout=layout,
  )


def _batch(arrays: dict[str, np.ndarray]) -> Batch:
  """Packed examples as a Batch; every target token weighs the same."""
  shape = (len(arrays['tokens']), 1)
  weight = 1.0 / max(1.0, float(arrays['loss_mask'].sum()))
  zeros = np.zeros_like(arrays['loss_mask'])
  used = arrays['segment_ids'].any(axis=1)  # the last batch may have less
  return Batch(
    tokens=arrays['tokens'],
    positions=arrays['positions'],
    segment_ids=arrays['segment_ids'],
    loss_mask=arrays['loss_mask'],
    ref_logprobs=zeros,
    kl_logprobs=zeros,
    behavior_logprobs=zeros,
    current_mask=zeros,
    advantage=np.zeros(shape, np.float32),
    pg_weight=np.full(shape, weight, np.float32),
    reg_weight=np.zeros(shape, np.float32),
    num_rows=np.array(used.sum(), np.int32),
  )


def _metrics(values):
  tokens = max(values['tokens'], 1.0)
  return {
    'sft/loss': values['loss'],
    'sft/token_accuracy': values['token_accuracy_sum'] / tokens,
    'sft/entropy': values['entropy_sum'] / tokens,
    'sft/grad_norm': values['grad_norm'],
    'sft/learning_rate': values['learning_rate'],
    'sft/tokens': values['tokens'],
  }
