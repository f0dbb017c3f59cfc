"""Supervised fine-tuning on long chains of thought: Kimi k1.5, section 2.2.

Packed examples, loss on the responses only, one cosine of the learning rate.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from k15 import checkpoint
from k15 import context as context_lib
from k15 import data
from k15 import losses
from k15 import metrics
from k15 import optimizer as optimizer_lib
from k15 import task as task_lib
from k15 import update
from k15.context import Context
from k15.data_types import Batch, TrainState


def train(context: Context, make_params: Callable[[], Any]) -> TrainState:
  """Runs the stage, or what is left of it; returns its last state.

  Args:
    context: of the run.
    make_params: the weights to start from, consumed; called by a first run.
  """
  config = context.config.sft
  optimizer = context_lib.make_optimizer(context.config, config.optimizer)
  checkpoints = checkpoint.Checkpoints(
    context.workdir / 'checkpoints' / 'sft', context.config.saving.keep
  )
  batches, start = None, checkpoints.latest_step() or 0
  if start < config.steps:
    context.logger.truncate('sft', start)
    batches = _batches(context, start)
  if start:
    layout = context_lib.state_layout(context, optimizer)
    state, host = checkpoints.restore(start, layout)
    if batches is not None:
      batches.set_state(host['data']['state'])
  else:
    state = context_lib.init_state(context, optimizer, make_params())
  if batches is not None:
    with context.use_mesh():
      state = _steps(context, optimizer, state, batches, start, checkpoints)
  checkpoints.close()
  return state


def _steps(context, optimizer, state, batches, start, checkpoints):
  config, every = context.config.sft, context.config.saving.every_sft_steps
  layout = jax.tree.map(lambda x: x.sharding, state)
  step = _make_step(context, optimizer, layout)
  timer = metrics.Timer()
  with metrics.Progress(config.steps, start, 'sft') as progress:
    for i in range(start, config.steps):
      with timer('data'):
        batch = context.place_rows(_batch(next(batches)))
      with timer('update'):
        state, values = step(state, batch, False)
        values = {k: float(v) for k, v in jax.device_get(values).items()}
      _refuse_non_finite(context, i, values, batch)
      logged = _metrics(values)
      progress.update(loss=logged['sft/loss'])
      if i % config.log_every == 0 or i + 1 == config.steps:
        context.logger.scalars('sft', i, logged | timer.pop())
      done, stopping = i + 1 == config.steps, context.is_stopping()
      if done or (i + 1) % every == 0 or stopping:
        checkpoints.save(
          i + 1, state, dict(data=dict(state=batches.get_state()))
        )
      if stopping and not done:
        raise context_lib.Interrupted(f'sft: saved after step {i + 1}')
  return state


def _make_step(context, optimizer, layout):
  config = context.config
  schedule = optimizer_lib.cosine_schedule(
    config.sft.learning_rate,
    config.sft.end_learning_rate,
    config.sft.warmup_steps,
    config.sft.steps,
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


def _batches(context, start):
  rollout = context.config.rollout
  row_length = rollout.max_prompt_length + rollout.max_length
  pairs, dropped = task_lib.sft_pairs(context.task, rollout.max_length)
  if start == 0:
    counts = {'sft/examples': len(pairs), 'sft/examples_dropped': dropped}
    context.logger.scalars('sft', 0, counts)
  rows = max(1, context.config.sft.batch_tokens // row_length)
  micro = context.config.optimizer.micro_batch_rows
  rows = -(-rows // micro) * micro
  return data.sft_iterator(pairs, row_length, rows, context.config.seed)


def _batch(arrays: dict[str, np.ndarray]) -> Batch:
  """Packed examples as a Batch; every target token weighs the same."""
  shape = (len(arrays['tokens']), 1)
  weight = 1.0 / max(1.0, float(arrays['loss_mask'].sum()))
  zeros = np.zeros_like(arrays['loss_mask'])
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
    num_rows=np.array(shape[0], np.int32),
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


def _refuse_non_finite(context, step, values, batch):
  if np.isfinite(values['loss']) and np.isfinite(values['grad_norm']):
    return
  path = update.save_batch(context.workdir, f'sft-{step}', batch)
  raise FloatingPointError(
    f'sft step {step}: loss {values["loss"]}, gradient norm'
    f' {values["grad_norm"]}; the batch is in {path}'
  )
