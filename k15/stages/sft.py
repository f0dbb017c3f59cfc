"""Supervised fine-tuning: Kimi k1.5, sections 2.5.2 and 2.2 (long CoT).

Packed examples, loss on what the assistant writes, one cosine of the learning
rate.  A stage has a group of keys in the config, whose name it goes by.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from k15.checkpoints import stage_inputs
from k15.data import conversations
from k15.data import packing
from k15.data import token_store
from k15.data.packing import TokenPair
from k15.data_types import ImageRef, TrainState
from k15.devices import hosts
from k15.runtime import steps as steps_lib
from k15.runtime import task as task_lib
from k15.runtime import weights
from k15.runtime.context import Context
from k15.stages.pretraining import reading
from k15.training import batching


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
  """Batches of a stage.

  Attributes:
    batches: iterator over dicts of arrays, with get_state and set_state.
    steps: of the whole stage, a batch each.
    counts: what is logged of the examples.
  """

  batches: Any
  steps: int
  counts: dict[str, float]


def row_tokens(config: Any, stage: str) -> int:
  """Tokens of a packed row of a stage."""
  rollout = config.rollout
  whole = rollout.max_prompt_length + rollout.max_length
  return config[stage].row_tokens or whole


def make_stream(
  context: Context,
  stage: str,
  make_pairs: Callable[[], tuple[list[packing.TokenPair], int]] | None,
  is_new: bool,
) -> Stream:
  """Reads the examples of a stage and packs them.

  Args:
    stage: its name, a group of the config.
    make_pairs: returns prompts and responses to learn from, and how many were
      left out; None: those of the stage's files, or its lessons, or the
      examples of the task.
    is_new: whether no step has been taken yet, and files may have changed.

  Raises:
    DataError: something is wrong with the files, or there are too few.
  """
  config = context.config[stage]
  if make_pairs is None and config.files:
    store = _open_store(context, stage, is_new)
    counts = {'sft/examples': len(store)}
    counts |= {'sft/examples_dropped': sum(store.dropped.values())}
    counts |= {f'sft/{why}_dropped': n for why, n in store.dropped.items()}
    return _planned(context, stage, store, store.sizes, counts)
  if make_pairs is None:
    task, lessons = context.task, context.task.lessons.get(stage)
    if lessons:
      task = dataclasses.replace(task, examples=lessons.learnt)
    pairs, dropped = task_lib.sft_pairs(
      task,
      context.config.rollout.max_length,
      row_tokens(context.config, stage),
    )
  else:
    pairs, dropped = make_pairs()
  counts = {'sft/examples': len(pairs), 'sft/examples_dropped': dropped}
  if context.shown and config.packing != 'first_fit':
    raise conversations.DataError(
      f"{stage}.packing is {config.packing!r}, and the policy sees: rows with"
      " pictures need 'first_fit'"
    )
  if config.packing == 'first_fit':
    return _planned(context, stage, Pairs(pairs), [len(pairs)], counts)
  try:
    batches = packing.best_fit_iterator(
      pairs,
      row_tokens(context.config, stage),
      _rows(context.config, stage),
      context.config.seed,
      stage,
    )
  except ValueError as error:
    raise conversations.DataError(f'{stage}: {error}') from None
  return Stream(batches, config.steps, counts)


class Pairs:
  """Prompts and responses as a source of `packing`."""

  def __init__(self, pairs: Sequence[Sequence[Any]]):
    self._pairs = [packing.TokenPair(*pair) for pair in pairs]
    lengths = [len(p.prompt) + len(p.response) for p in self._pairs]
    self.lengths = np.array(lengths, np.int64)

  def __len__(self) -> int:
    return len(self._pairs)

  def __getitem__(self, i: int) -> conversations.Encoded:
    prompt, response, _ = self._pairs[i]
    mask = np.arange(self.lengths[i]) >= len(prompt)
    return np.concatenate([prompt, response]), mask

  def images(self, i: int) -> tuple[ImageRef, ...]:
    """The pictures of an example."""
    return self._pairs[i].images


def _planned(context, stage, source, sizes, counts):
  config, shown = context.config, context.shown
  group, row = config[stage], row_tokens(config, stage)
  rows = _rows(config, stage)
  seen = [source.images(i) for i in range(len(source))] if shown else []
  if not any(seen):
    shown = None  # Texts alone run the program of texts.
  try:
    patches, limit = None, 0
    if shown:
      patches = [sum(shown.patches_of(images).values()) for images in seen]
      patches, limit = np.array(patches, np.int64), shown.row_patches
    if shown and 'image_share' in group:
      plan, share = packing.make_mixed_plan(
        source.lengths, patches > 0, row, group.steps * rows,
        group.image_share, group.image_ramp, config.seed, stage, patches, limit,
      )  # fmt: skip
      counts |= {'sft/image_share': share}
    else:
      plan = packing.make_plan(
        source.lengths,
        sizes,
        group.weights,
        row,
        config.seed,
        group.epochs,
        0 if group.epochs else group.steps * rows,
        stage,
        patches,
        limit,
      )
  except ValueError as error:
    raise conversations.DataError(f'{stage}: {error}') from None
  steps = -(-plan.num_rows // rows) if group.epochs else group.steps
  # Known only now, for epochs are counted once the rows are planned.
  if group.warmup_steps >= steps:
    raise conversations.DataError(
      f'{stage}.warmup_steps is {group.warmup_steps}, and {group.epochs} epochs'
      f' are {steps} steps'
    )
  filled = source.lengths[plan.order].sum() / (row * plan.num_rows)
  counts |= {
    'sft/rows': plan.num_rows,
    'sft/steps': steps,
    'sft/filled': float(filled),
  }
  batches = packing.iterator(source, plan, row, rows, shown)
  return Stream(batches, steps, counts)


def _rows(config, stage):
  rows = max(1, config[stage].batch_tokens // row_tokens(config, stage))
  micro = config.optimizer.micro_batch_rows
  # Up to whole micro-batches, which a step computes; rows that stay empty cost
  # nothing.
  return -(-rows // micro) * micro


def _open_store(context, stage, is_new):
  """The stage's conversations as tokens, made by the first process."""
  config, task = context.config[stage], context.task
  directory = context.workdir / f'{stage}_tokens'
  sight, shown = context.layout.sight, context.shown
  kept_out = [
    '\n'.join((problem.prompt, *problem.digests))
    for problem in task.kept_out.problems
  ]
  settings = dict(
    loss_turns=config.loss_turns,
    row_tokens=row_tokens(context.config, stage),
    drop_too_long=config.drop_too_long,
    held_out=sorted(kept_out),
    drop_unusable=context.config.task.drop_unusable,
    # A stage that has saved nothing may begin anew with another checkpoint.
    tokenizer=stage_inputs.tokenizer_of(context.config),
    is_chat=task.is_chat,
    prompt_suffix=task.prompt_suffix,
  )
  if shown:
    settings['shown'] = repr(sight), shown.row_patches
  if hosts.is_first():
    key = token_store.fingerprint(config.files, settings)
    if token_store.has_to_be_made(directory, key, stage, is_new):
      encode = conversations.make_encode(
        task.tokenizer,
        task.is_chat,
        task.prompt_suffix,
        config.loss_turns,
        sight,
      )
      token_store.make(
        directory,
        key,
        config.files,
        encode,
        settings['row_tokens'],
        config.drop_too_long,
        functools.partial(_is_evaluated, task),
        settings['drop_unusable'],
        shown,
      )
  hosts.wait(f'{stage} tokens')
  store = token_store.TokenStore(directory)
  try:
    if context.pictures is not None:
      context.pictures.check_sizes(store.references())
  except ValueError as error:
    raise conversations.DataError(f'{stage}.files: {error}') from None
  return store


def _is_evaluated(task, text, digests):
  """Whether a turn asks, with the suffix or without, what is evaluated."""
  alone = text.strip().removesuffix(task.prompt_suffix.strip())
  return task.kept_out.find(alone, digests)


def train(
  context: Context,
  make_params: Callable[[], Any],
  stage: str = 'sft',
  make_pairs: Callable[[], tuple[list[TokenPair], int]] | None = None,
) -> TrainState:
  """Runs a stage, or what is left of it; returns its last state.

  Args:
    make_params: the weights to start from, consumed; called by a first run.
    stage: its name, a group of the config.
    make_pairs: returns prompts and responses to learn from, and how many were
      left out; None: those of the stage's files, or its lessons, or the
      examples of the task.

  Raises:
    DataError: something is wrong with the files of the stage.
  """
  config = context.config[stage]
  trains = config.trains
  optimizer = weights.make_optimizer(
    context.config, context.shape, config.optimizer, trains=trains
  )
  return steps_lib.run(
    context,
    stage,
    config,
    optimizer,
    lambda start: _loop(context, stage, make_pairs, start),
    lambda: weights.state_layout(context.layout, optimizer, trains),
    lambda: weights.init_state(
      context.layout, optimizer, make_params(), context.config.seed, stage,
      trains,
    ),
    lambda: weights.frozen_of(context.layout, make_params, trains),
    config.epochs,
  )


def _loop(context, stage, make_pairs, start):
  stream = make_stream(context, stage, make_pairs, is_new=not start)
  if not start:
    context.logger.scalars(stage, 0, stream.counts)
  return steps_lib.Loop(
    steps=stream.steps,
    log_every=context.config[stage].log_every,
    batch=lambda _: context.layout.place_rows(
      batching.supervised(next(stream.batches))
    ),
    make_step=functools.partial(
      steps_lib.make_policy_step, context, steps_lib.mean_loss
    ),
    name_metrics=_metrics,
    source=stream.batches,
    measure=reading.make_measure(
      context, stage, row_tokens(context.config, stage)
    ),
    measure_every=reading.EVERY,
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
