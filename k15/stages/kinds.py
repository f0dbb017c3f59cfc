"""What runs the stages that make a model: a row for each kind.

A model is made in `models/<stage>` of the workdir, or is there already.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

from k15.checkpoints import models
from k15.config import stages
from k15.runtime import weights
from k15.runtime.context import Context
from k15.stages import dpo
from k15.stages import long_cot
from k15.stages import merge
from k15.stages import rejection_sft
from k15.stages import sft
from k15.stages import shortest
from k15.stages.pretraining import pretrain
from k15.stages.rl import phases


def params_maker(
  context: Context, model: pathlib.Path | None
) -> Callable[[], Any]:
  """What makes the weights to start from, when they are needed."""
  return functools.partial(weights.load_params, context, model)


# Kind of a stage -> (context, its name, directory of the model before or None)
# -> its last state.
TRAIN = {
  'text': lambda c, stage, model: pretrain.train(
    c, params_maker(c, model), stage
  ),
  'sft': lambda c, stage, model: sft.train(c, params_maker(c, model), stage),
  'long_cot': lambda c, _, model: long_cot.train(c, model),
  'rl': lambda c, stage, model: phases.train(c, model, stage),
  'rejection_sft': lambda c, _, model: rejection_sft.train(
    phases.without_late_domains(c), model
  ),
  'shortest': lambda c, _, model: shortest.train(c, model),
  'dpo': lambda c, _, model: dpo.train(c, model),
  'short_rl': lambda c, stage, model: phases.train(c, model, stage),
}


def begun(context: Context, stage: str) -> Context:
  """The context of a stage and of those after it; see `pretrain.activated`."""
  return pretrain.activated(context, stage)


def train(
  context: Context, stage: str, source: pathlib.Path | None
) -> pathlib.Path:
  """Runs a stage from the model at `source`, if any; returns its own."""
  config, kind = context.config, stages.STAGES[stage].kind
  directory = context.workdir / 'models' / stage
  total = stages.total(config, stage)
  origin = models.read_origin(directory)
  # One that was made with fewer iterations goes on from its checkpoint.
  if origin is not None and origin.done == total:
    return directory
  if kind == 'merge':
    merge.merge(context, source, directory)
    return directory
  state = TRAIN[kind](context, stage, source)
  checkpoint = config.checkpoint
  models.save(
    directory,
    context.shape,
    weights.whole(context.shape, state),
    context.task.tokenizer,
    _longest(config, stage),
    # By what the config asks for, not by updates: an iteration without a
    # complete group makes none, and is done.
    models.Origin(stage, total, int(state.step)),
    models.directory_of(checkpoint) if checkpoint else None,
    state.params if context.shape.lora_rank else None,
    _base(config, kind, source),
  )
  return directory


def _base(config, kind, source):
  """The model that a stage's adapters belong to, if it is known here."""
  if kind == 'rejection_sft':
    return rejection_sft.base_of(config, source)
  chooses = kind == 'short_rl' and config.short_rl.candidates
  # Which candidate was taken is known to the stage alone, and peft would put
  # the adapters on a model that they do not belong to.
  return None if chooses else source


def _longest(config, stage):
  """Tokens of the longest texts the model was trained on so far."""
  r = config.rollout
  trained = config.stages[: config.stages.index(stage) + 1]
  rows = [
    rows_of(config, s)
    for curves, rows_of in (('sft', sft.row_tokens), ('text', pretrain.longest))
    for s in set(trained) & set(stages.with_curves(curves))
  ]
  return max(r.max_prompt_length + r.max_length, *rows, 0)
