"""What runs the stages that make a model: a row for each kind.

A model is made in `models/<stage>` of the workdir, or is there already.
"""

import pathlib

from k15.config import stages
from k15.runtime import made_models
from k15.runtime.context import Context
from k15.stages import dpo
from k15.stages import judging
from k15.stages import long_cot
from k15.stages import merge
from k15.stages import rejection_sft
from k15.stages import sft
from k15.stages import shortest
from k15.stages.pretraining import pretrain
from k15.stages.rl import phases

params_maker = made_models.params_maker


# Kind of a stage -> (context, its name, directory of the model before or None)
# -> its last state.
TRAIN = {
  'text': lambda c, stage, model: pretrain.train(c, model, stage),
  'sft': lambda c, stage, model: sft.train(c, params_maker(c, model), stage),
  'classic_rm': judging.train,
  'cot_rm': judging.train,
  'long_cot': lambda c, _, model: long_cot.train(c, model),
  'rl': lambda c, stage, model: phases.train(c, model, stage),
  'rejection_sft': lambda c, _, model: rejection_sft.train(
    phases.without_late_domains(c), model
  ),
  'shortest': lambda c, _, model: shortest.train(c, model),
  'dpo': lambda c, _, model: dpo.train(c, model),
  'short_rl': lambda c, stage, model: phases.train(c, model, stage),
}


def check(context: Context) -> None:
  """Refuses what a later stage could not learn from, before the first.

  Raises:
    ValueError: of reward models, see `judging.pairs_of`.
  """
  config = context.config
  if any(
    stages.STAGES[stage].makes_judge
    and not made_models.is_made(
      context.workdir / 'models' / stage, stages.total(config, stage)
    )
    for stage in config.stages
  ):
    judging.pairs_of(config)


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
  if made_models.is_made(directory, total):
    return directory
  if kind == 'merge':
    merge.merge(context, source, directory)
    return directory
  state = TRAIN[kind](context, stage, source)
  base = _base(config, kind, source)
  made_models.save(
    context, directory, state, total, _longest(config, stage), base
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
    if stages.STAGES[s].makes_model
  ]
  return max(r.max_prompt_length + r.max_length, *rows, 0)
