"""The model that a stage begins with, and the one that it leaves."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

from k15.checkpoints import models
from k15.data_types import TrainState
from k15.model import heads
from k15.runtime import weights
from k15.runtime.context import Context


def params_maker(
  context: Context, model: pathlib.Path | None
) -> Callable[[], Any]:
  """What makes the weights to start from, when they are needed."""
  return functools.partial(weights.load_params, context, model)


def is_made(directory: pathlib.Path, total: int) -> bool:
  """Whether the model is there, of so many epochs, steps or iterations."""
  origin = models.read_origin(directory)
  # One that was made with fewer goes on from its checkpoint.
  return origin is not None and origin.done == total


def save(
  context: Context,
  directory: pathlib.Path,
  state: TrainState,
  total: int,
  longest: int,
  base: pathlib.Path | None,
) -> None:
  """Leaves the model of a stage in `workdir/models/<stage>`.

  Args:
    directory: that one.
    state: the last of the stage; of a classic reward model with its head.
    total: epochs, steps or iterations that made it.
    longest: tokens of the longest texts it was trained on so far.
    base: the model that its adapters belong to, if it is known.
  """
  state, head = heads.split(state)
  checkpoint = context.config.checkpoint
  models.save(
    directory,
    context.shape,
    weights.whole(context.shape, state),
    context.task.tokenizer,
    longest,
    # By what the config asks for, not by updates: an iteration without a
    # complete group makes none, and is done.
    models.Origin(directory.name, total, int(state.step)),
    models.directory_of(checkpoint) if checkpoint else None,
    state.params if context.shape.lora_rank else None,
    base,
    head,
    context.layout.sight and context.layout.sight.processor,
  )
