"""Shortest rejection sampling: Kimi k1.5, section 2.4.

n responses of the long-CoT model to each problem, and supervised fine-tuning
of it on the shortest correct ones.
"""

import functools
import pathlib

from k15.data_types import TrainState
from k15.equations import long2short
from k15.runtime import made_models
from k15.runtime.context import Context
from k15.stages import collection
from k15.stages import sft


def train(context: Context, model: pathlib.Path | None) -> TrainState:
  """Runs the stage, or what is left of it; returns its last state.

  Args:
    model: directory of the long-CoT model; None: random weights.
  """
  return sft.train(
    context,
    made_models.params_maker(context, model),
    'shortest',
    functools.partial(_pairs, context, model),
  )


def _pairs(context, model):
  """Token pairs of the shortest correct responses, and problems without one."""
  config, pairs = context.config.long2short, []
  collected = collection.collect(
    context, model, config.problems, config.samples
  )
  for problem, sampled in collected:
    best = long2short.shortest_correct(
      [r.length for r in sampled], [r.is_correct for r in sampled]
    )
    if best is not None:
      prompt = context.task.encode_prompt(problem.prompt, problem.images)
      response = sampled[best].tokens
      pairs.append(sft.TokenPair(prompt, response, problem.images))
  return pairs, len(collected) - len(pairs)
