"""Supervised fine-tuning: Kimi k1.5, sections 2.5.2 and 2.2 (long CoT).

Packed examples, loss on what the assistant writes, one cosine of the learning
rate.  A stage has a group of keys in the config, whose name it goes by.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from k15 import losses
from k15 import run_weights
from k15 import sft_data
from k15 import steps as steps_lib
from k15.context import Context
from k15.data_types import Batch, TrainState
from k15.packing import TokenPair


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
  optimizer = run_weights.make_optimizer(
    context.config, context.shape, config.optimizer
  )
  return steps_lib.run(
    context,
    stage,
    config,
    optimizer,
    lambda start: _loop(context, stage, make_pairs, start),
    lambda: run_weights.state_layout(context.layout, optimizer),
    lambda: run_weights.init_state(context.layout, optimizer, make_params()),
    config.epochs,
  )


def _loop(context, stage, make_pairs, start):
  stream = sft_data.make_stream(context, stage, make_pairs, is_new=not start)
  if not start:
    context.logger.scalars(stage, 0, stream.counts)
  return steps_lib.Loop(
    steps=stream.steps,
    log_every=context.config[stage].log_every,
    batch=lambda _: context.layout.place_rows(_batch(next(stream.batches))),
    make_step=functools.partial(steps_lib.make_policy_step, context, _loss),
    name_metrics=_metrics,
    source=stream.batches,
  )


def _loss(logprobs, rows):
  # All targets weigh the same, so a row counts as one sequence.
  one_sequence = jnp.minimum(rows.segment_ids, 1)
  return losses.next_token(
    logprobs, one_sequence, rows.loss_mask, rows.pg_weight
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
