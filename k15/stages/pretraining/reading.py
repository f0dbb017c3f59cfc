"""Pretraining with pictures: Kimi k1.5, appendix B.4.

Three stages, each supervised on its files or on what `k15.runtime.lessons`
makes: texts alone; the vision tower in isolation, the language model frozen;
and both, while the share of pictures rises to 30 % of the tokens.  They differ
in their groups of the config alone.
"""

import dataclasses
import functools
import pathlib

from k15.data_types import TrainState
from k15.runtime import made_models
from k15.runtime import task as task_lib
from k15.runtime.context import Context
from k15.stages import sft


def train(
  context: Context, model: pathlib.Path | None, stage: str
) -> TrainState:
  """Runs a stage, or what is left of it; returns its last state.

  Args:
    model: directory of the model to start from; None: random weights.
    stage: its name, a group of the config.
  """
  make_pairs, config = None, context.config
  if stage in context.task.lessons:
    make_pairs = functools.partial(
      task_lib.sft_pairs,
      dataclasses.replace(
        context.task, examples=context.task.lessons[stage]
      ),
      config.rollout.max_length,
      sft.row_tokens(config, stage),
    )
  make_params = made_models.params_maker(context, model)
  return sft.train(context, make_params, stage, make_pairs)
