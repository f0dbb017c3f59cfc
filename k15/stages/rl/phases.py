"""The phases of RL: one loop, three stages with keys of their own.

`rl` is Kimi k1.5's 2.3.  `rl_all` is DeepSeek-R1's 2.3.4, RL for all scenarios:
problems that rules judge go on at a lower temperature, and those of other
domains, judged by preferences through a route of `reward`, come in its last
iterations only, for more of them are hacked.  `short_rl` has its page.
"""

import copy
import dataclasses
import pathlib

from k15.config import routes
from k15.data_types import TrainState
from k15.runtime import made_models
from k15.runtime.context import Context
from k15.stages import short_rl
from k15.stages.rl import loop


def train(
  context: Context, model: pathlib.Path | None, stage: str
) -> TrainState:
  """Runs a phase, or what is left of it; returns its last state.

  Args:
    model: directory of the model before; None: random weights.
    stage: its name.
  """
  if stage == 'short_rl':
    return short_rl.train(context, model)
  own = for_all if stage == 'rl_all' else without_late_domains
  make_params = made_models.params_maker(context, model)
  return loop.train(own(context), make_params, stage)


def for_all(context: Context) -> Context:
  """The context of `rl_all`, with the keys of `rl` that it has of its own."""
  # Stages share the config of the run: what is changed must stay this one's.
  config = copy.deepcopy(context.config)
  own = config.rl_all
  config.rl.iterations = own.iterations
  config.rollout.update(temperature=own.temperature, decay_iterations=0)
  config.problem_sampler.late_domains = own.late_domains
  return dataclasses.replace(context, config=config)


def without_late_domains(context: Context) -> Context:
  """The context of a stage before it: without what only `rl_all` learns."""
  if 'rl_all' not in context.config.stages:
    return context
  late = routes.starts_of(context.config.rl_all.late_domains)
  train = [p for p in context.task.train if p.domain not in late]
  task = dataclasses.replace(context.task, train=train)
  return dataclasses.replace(context, task=task)
