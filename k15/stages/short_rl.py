"""Long2short reinforcement learning: Kimi k1.5, section 2.4.

A second phase of `rl` with the length penalty from the start and a much shorter
maximum length, begun from the model with the best balance of accuracy and
tokens.  A response that is cut earns nothing, as in `rl`.
"""

import copy
import dataclasses
import functools
import pathlib
from collections.abc import Sequence

from k15.checkpoints import models
from k15.data_types import TrainState
from k15.equations import long2short
from k15.runtime import weights
from k15.runtime.context import Context
from k15.stages import collection
from k15.stages.rl import loop


def train(context: Context, model: pathlib.Path | None) -> TrainState:
  """Runs the stage, or what is left of it; returns its last state.

  Args:
    model: directory of the model before; `short_rl.candidates`, if there are
      any, stand for it.
  """
  make_params = functools.partial(_load, context, model)
  return loop.train(shortened(context), make_params, 'short_rl')


def shortened(context: Context) -> Context:
  """The context with the keys of `rl` that the phase has of its own."""
  # The config of the run is compared when it goes on, and stages share it: what
  # this phase changes must stay its own.
  config = copy.deepcopy(context.config)
  own = config.short_rl
  config.rl.iterations = own.iterations
  config.length_reward.weight = own.length_weight
  # `rl` puts the penalty off, for it may slow the early phase down (2.3.3);
  # this phase begins where that is over.
  config.length_reward.start_iteration = 0
  config.length_reward.toggle_iterations = 0
  config.rollout.max_length = own.max_length
  config.rollout.token_budget = min(config.rollout.token_budget, own.max_length)
  return dataclasses.replace(context, config=config)


def choose(context: Context, candidates: Sequence[str]) -> pathlib.Path:
  """The candidate with the best balance, by responses to training problems.

  One response to each of `long2short.problems`: for as many responses, more
  problems say more than more samples.  Those held out must not choose what they
  measure in the end; a candidate that RL trained on these looks a little better
  than it is.

  Args:
    candidates: directories of models, or workdirs.
  """
  config = context.config.long2short
  directories = [models.directory_of(candidate) for candidate in candidates]
  measured = [
    collection.accuracy_and_tokens(
      collection.collect(context, directory, config.problems, 1)
    )
    for directory in directories
  ]
  price = context.config.short_rl.token_price
  best = long2short.best_balance(*zip(*measured, strict=True), price)
  for i, (accuracy, tokens) in enumerate(measured):
    chosen = ', chosen' if i == best else ''
    print(
      f'{directories[i]}: accuracy {accuracy:.3f}, {tokens:.1f} tokens{chosen}',
      flush=True,
    )
  return directories[best]


def _load(context, model):
  candidates = context.config.short_rl.candidates
  if candidates:
    model = choose(context, candidates)
  return weights.load_params(context, model)
