"""Checks of the groups of keys that belong to stages; see `checks`."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from k15.config import keys
from k15.config import routes
from k15.config import stages as stages_lib


def check_order(stages: Sequence[str]) -> None:
  """'curate' may stand on either side of 'sft', and makes what 'rl' takes.

  Raises:
    ConfigError: an unknown stage, one that comes twice, or another order.
  """
  known = tuple(stages_lib.STAGES)
  keys.check_members('stages', stages, known)
  trained = tuple(stage for stage in stages if stage != 'curate')
  before_curate = stages[: stages.index('curate')] if 'curate' in stages else ()
  keys.refuse(
    len(set(stages)) < len(stages)
    or trained != tuple(stage for stage in known if stage in trained)
    or set(before_curate) & set(known[known.index('rl') :]),
    f'stages is {stages}, and has to keep the order {known}, each once',
  )
  keys.refuse(
    'long_cot' in before_curate,
    f'stages is {stages}, and long_cot would draw from problems that are not'
    " curated yet: it comes after 'curate'",
  )


def check(get: Callable[[str], Any]) -> None:
  """Refuses what a stage would fail of later.

  Raises:
    ConfigError: names the key, its value and what it has to be.
  """
  _check_evaluation(get)
  _check_evaluated_sets(get)
  _check_curation(get)
  for stage in stages_lib.with_curves('text'):
    _check_documents(get, stage)
  _check_long_context(get)
  for stage in stages_lib.with_curves('sft'):
    _check_supervised(get, stage)
  for group in ('long_cot_examples', 'cooldown_questions'):
    _check_asked(get, group)
  _check_questions(get)
  _check_long_cot(get)
  _check_r1(get)
  _check_long2short(get)
  _check_reward_models(get)


def _check_evaluation(get):
  stages = get('stages')
  for key in ('evaluation.samples', 'evaluation.last_samples'):
    keys.refuse(
      get('evaluation.temperature') == 0 and get(key) > 1,
      f'{key} is {get(key)}, and at evaluation.temperature 0 all samples of a'
      ' problem are the same',
    )
  has_model = any(stages_lib.STAGES[stage].makes_model for stage in stages)
  keys.refuse(
    'evaluate' in stages and not has_model and not get('checkpoint'),
    "checkpoint is '', and there is no model to evaluate",
  )
  keys.refuse(
    get('evaluation.before') and 'evaluate' in stages and not get('checkpoint'),
    "checkpoint is '', and evaluation.before has no model to evaluate",
  )
  for k in get('evaluation.pass_at'):
    keys.check_number('evaluation.pass_at', k, '>= 1')


def _check_evaluated_sets(get):
  named = {}
  for key in ('sets', 'rewards', 'templates'):
    try:
      named[key] = routes.named(get(f'evaluation.{key}'))
    except ValueError as error:
      raise keys.ConfigError(f'evaluation.{key}: {error}') from None
    unknown = [name for name in named[key] if name not in named['sets']]
    keys.refuse(
      unknown,
      f'evaluation.{key} names {unknown}, and evaluation.sets has'
      f' {list(named["sets"])}',
    )
  keys.refuse_missing('evaluation.sets', named['sets'].values())
  for reward in named['rewards'].values():
    known = (*routes.REWARDS, *routes.FOR_EVALUATION)
    keys.check_members('evaluation.rewards', (reward,), known)
  for text in named['templates'].values():
    keys.refuse(
      '{prompt}' not in text,
      f"evaluation.templates holds {text!r}, which has no '{{prompt}}'",
    )


def _check_curation(get):
  keys.refuse_missing(
    'curation.evaluation_paths', get('curation.evaluation_paths')
  )
  for kind in get('curation.excluded_types'):
    keys.check_members('curation.excluded_types', (kind,), keys.QUESTION_TYPES)
  stages = get('stages')
  if 'curate' not in stages:
    return
  prompt, response = get('rollout.max_prompt_length'), get('rollout.max_length')
  guess = get('curation.guess_max_length')
  keys.refuse(
    get('curation.guesses') and guess > response,
    f'curation.guess_max_length is {guess}, above rollout.max_length,'
    f' {response}, of prompts of at most {prompt} tokens',
  )
  asks = {
    key: get(key)
    for key in ('curation.samples', 'curation.guesses', 'curation.tagger')
  }
  needs_model = not set(asks.values()) <= {0, 'rules'}
  before = stages[: stages.index('curate')]
  keys.refuse(
    needs_model and 'sft' not in before and not get('checkpoint'),
    f'{asks} want a model, and stages {stages} have none before curate: name'
    " a checkpoint, let sft go before, or choose 0, 0 and the tagger 'rules'",
  )


def _check_documents(get, stage):
  files = get(f'{stage}.files')
  _check_schedule(get, stage)
  keys.refuse_missing(f'{stage}.files', files)
  try:
    routes.weights_of(get(f'{stage}.weights'))
  except ValueError as error:
    raise keys.ConfigError(f'{stage}.weights: {error}') from None
  if stage not in get('stages'):
    return
  keys.refuse(
    not files and get('task.name') not in ('arithmetic', 'pictures'),
    f'{stage}.files is empty, and task.name {get("task.name")!r} generates no'
    " documents, as 'arithmetic' does",
  )
  if stage != 'long_context':
    keys.refuse_above(get, f'{stage}.row_tokens', f'{stage}.batch_tokens')


def _check_long_context(get):
  lengths, steps = get('long_context.lengths'), get('long_context.steps')
  for length in lengths:
    keys.check_number('long_context.lengths', length, '>= 2')
  for length in get('long_context.measured_lengths'):
    keys.check_number('long_context.measured_lengths', length, '>= 2')
  keys.refuse(
    not lengths or list(lengths) != sorted({int(n) for n in lengths}),
    f'long_context.lengths is {lengths}, and has to hold whole numbers that'
    ' rise',
  )
  keys.refuse_missing('long_context.long_files', get('long_context.long_files'))
  if 'long_context' not in get('stages'):
    return
  batch = get('long_context.batch_tokens')
  keys.refuse(
    batch < lengths[-1],
    f'long_context.batch_tokens is {batch}, less than one row of {lengths[-1]}',
  )
  keys.refuse(
    steps < len(lengths),
    f'long_context.steps is {steps}, and there are {len(lengths)} lengths',
  )
  keys.refuse(
    get('long_context.files')
    and get('long_context.full_attention_share')
    and not get('long_context.long_files'),
    'long_context.full_attention_share is'
    f' {get("long_context.full_attention_share")}, and long_context.long_files'
    ' is empty',
  )
  keys.refuse(
    get('rollout.workers'),
    f'rollout.workers is {get("rollout.workers")}, which decode with'
    ' policy.rope_theta, and stage long_context changes it: let the stages'
    ' after it be a run of their own, from its model',
  )


def _check_supervised(get, stage):
  epochs, files = get(f'{stage}.epochs'), get(f'{stage}.files')
  _check_schedule(get, stage, has_epochs=epochs > 0)
  keys.refuse(
    (epochs or files) and get(f'{stage}.packing') != 'first_fit',
    f"{stage}.packing is 'best_fit', and {stage}.files and {stage}.epochs need"
    " 'first_fit'",
  )
  keys.refuse_missing(f'{stage}.files', files)
  keys.refuse(
    stage in get('stages') and files and get('task.template'),
    f'{stage}.files are conversations, which task.template does not put: let'
    ' them have its words',
  )
  _check_weights(stage, get(f'{stage}.weights'), files)
  row = get(f'{stage}.row_tokens')
  name = f'{stage}.row_tokens {row}'
  if not row:
    lengths = ('rollout.max_prompt_length', 'rollout.max_length')
    row = sum(map(get, lengths))
    name = ' + '.join(f'{key} {get(key)}' for key in lengths)
  batch = get(f'{stage}.batch_tokens')
  keys.refuse(
    stage in get('stages') and batch < row,
    f'{stage}.batch_tokens is {batch}, less than one row of {name}',
  )


def _check_weights(stage, weights, files):
  keys.refuse(
    weights and len(weights) != len(files),
    f'{stage}.weights has {len(weights)} entries for {len(files)} files',
  )
  for weight in weights:
    is_number = isinstance(weight, int | float) and math.isfinite(weight)
    keys.refuse(
      not is_number or weight <= 0,
      f'{stage}.weights holds {weight!r}, and has to hold numbers > 0',
    )


def _check_schedule(get, stage, has_epochs=False):
  keys.refuse_above(get, f'{stage}.end_learning_rate', f'{stage}.learning_rate')
  warmup, steps = get(f'{stage}.warmup_steps'), get(f'{stage}.steps')
  keys.refuse(
    not has_epochs and 0 < steps <= warmup,
    f'{stage}.warmup_steps is {warmup}, and has to be < {stage}.steps, {steps}',
  )


def _check_asked(get, group):
  server = get(f'{group}.server')
  keys.refuse(
    server and not re.fullmatch(r'https?://[^/]+(/[^?#]*)?', server),
    f"{group}.server is {server!r}, and has to be 'http://host:port/v1'",
  )
  keys.refuse(
    bool(server) != bool(get(f'{group}.server_model')),
    f"{group}.server and server_model belong together, and one is ''",
  )
  processes = get('mesh.num_processes')
  keys.refuse(
    server and processes != 1,
    f'{group}.server is {server!r}, which one process asks, and'
    f' mesh.num_processes is {processes}: make the examples first',
  )


def _check_questions(get):
  name, stages = 'cooldown_questions', get('stages')
  problems, model = get(f'{name}.problems'), get(f'{name}.model')
  keys.refuse(
    model and get(f'{name}.server'),
    f'{name}.model and server are both set, and one of them writes',
  )
  if 'cooldown' not in stages or not problems:
    return
  keys.refuse(
    not (model or get(f'{name}.server') or get('checkpoint'))
    and 'pretrain' not in stages,
    f'{name}.problems is {problems}, and there is no model to ask: name a'
    f' checkpoint, {name}.model or {name}.server',
  )
  if model:
    keys.refuse_no_directory(f'{name}.model', model)
  keys.refuse(
    model and get('rollout.workers'),
    f'{name}.model is {model!r}, and rollout.workers decode only models of the'
    ' shape of the run',
  )
  later = [reward for reward in _models_asked(get) if reward in stages]
  keys.refuse(
    later,
    f'{name}.problems is {problems}, and reward {later} is made by a stage'
    ' after cooldown',
  )


def _check_long_cot(get):
  keys.refuse(
    'long_cot' in get('stages') and get('long_cot.files'),
    'long_cot.files is set, and stage long_cot makes its own examples',
  )


def _check_reward_models(get):
  _check_schedule(get, 'classic_rm')
  stages, kinds = get('stages'), get('reward_model.kinds')
  keys.check_members('reward_model.kinds', kinds, keys.PAIR_KINDS)
  keys.refuse_missing('reward_model.files', get('reward_model.files'))
  keys.refuse(
    'cot_rm' in stages and get('cot_rm.files'),
    'cot_rm.files is set, and stage cot_rm learns from reward_model.files',
  )
  lengths = ('reward_model.max_prompt_length', 'reward_model.max_length')
  longest, row = sum(map(get, lengths)), get('cot_rm.row_tokens')
  keys.refuse(
    'cot_rm' in stages and 0 < row < longest,
    f'cot_rm.row_tokens is {row}, and the longest judgement has {longest}'
    f' tokens, {" + ".join(lengths)}',
  )
  keys.refuse(
    bool(get('reward_model.cot_server'))
    != bool(get('reward_model.cot_server_model')),
    'reward_model.cot_server and cot_server_model belong together, and one is'
    " ''",
  )
  server = get('reward_model.cot_server')
  keys.refuse(
    server and not re.fullmatch(r'https?://[^/]+(/[^?#]*)?', server),
    f'reward_model.cot_server is {server!r}, and has to be'
    " 'http://host:port/v1'",
  )
  for name in _models_asked(get):
    kind = name.removesuffix('_rm')
    places = [f'reward_model.{kind}', f'reward_model.{kind}_services']
    places += ['reward_model.cot_server'] * (kind == 'cot')
    if any(map(get, places)):
      continue
    keys.refuse(
      name not in stages,
      f'reward {name!r} has no model: none of {places} names one, and stages'
      f' {stages} train none',
    )
    before = stages[: stages.index(name)]
    keys.refuse(
      not get('reward.truth')
      and any(stages_lib.STAGES[s].makes_model for s in before),
      f"reward.truth is '', and what comes before stage {name!r} would be"
      ' evaluated by a model that is not there yet',
    )


def _models_asked(get):
  """Reward models that the routes name."""
  found = routes.routes_of(get('reward.default'), get('reward.routes'))
  terms = [term for r in found.values() for term in routes.terms_of(r)]
  return sorted({t.reward for t in terms if t.reward in routes.MODELS})


def _check_r1(get):
  stages = get('stages')
  keys.refuse(
    'rejection_sft' in stages
    and get('rejection_sft.from_checkpoint')
    and not get('checkpoint'),
    "checkpoint is '', and rejection_sft.from_checkpoint begins with it",
  )
  keys.refuse(
    'rejection_sft' in stages and get('task.template'),
    "stage 'rejection_sft' learns conversations, which task.template does not"
    ' put: a model of R1-Zero is sampled as it is',
  )
  for group in ('problem_sampler', 'rl_all'):
    try:
      routes.starts_of(get(f'{group}.late_domains'))
    except ValueError as error:
      raise keys.ConfigError(f'{group}.late_domains: {error}') from None


def _check_long2short(get):
  stages, samples = get('stages'), get('long2short.samples')
  if 'dpo' in stages:
    _check_schedule(get, 'dpo')
    keys.refuse(
      samples < 2,
      f'long2short.samples is {samples}, and stage dpo compares >= 2 responses',
    )
  if 'short_rl' in stages:
    keys.refuse_above(get, 'short_rl.max_length', 'rollout.max_length')
  for path in get('short_rl.candidates'):
    keys.refuse_no_directory('short_rl.candidates', path)
  keys.refuse(
    'shortest' in stages and get('shortest.files'),
    'shortest.files is set, and stage shortest samples its own examples',
  )
  if 'merge' not in stages:
    return
  short_model = get('long2short.short_model')
  keys.refuse_no_directory('long2short.short_model', short_model)
  keys.refuse(
    not (get('checkpoint') or 'sft' in stages or 'rl' in stages),
    "checkpoint is '', and stage 'merge' needs a long-CoT model",
  )
