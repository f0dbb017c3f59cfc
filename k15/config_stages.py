"""The stages of a run, and checks of the groups of their keys."""

import math
import os
import re
from collections.abc import Callable
from typing import Any

from k15 import choices
from k15 import config_rules
from k15.rewards import routes as routes_lib

STAGES = (
  'curate', 'sft', 'sft_long', 'long_cot', 'rl', 'merge', 'shortest', 'dpo',
  'short_rl', 'evaluate',
)  # fmt: skip
# Groups of the same keys.
SUPERVISED = ('sft', 'sft_long', 'long_cot', 'shortest')


def check(get: Callable[[str], Any]) -> None:
  """Refuses what a stage would fail of later.

  Args:
    get: the value of a key, 'rl.iterations'.

  Raises:
    ConfigError: names the key, its value and what it has to be.
  """
  _check_evaluation(get)
  _check_curation(get)
  for group in SUPERVISED:
    _check_supervised(get, group)
  _check_long_cot(get)
  _check_long2short(get)


def _check_curation(get):
  for path in get('curation.evaluation_paths'):
    config_rules.refuse(
      not os.path.isfile(str(path)), f'curation.evaluation_paths: no {path!r}'
    )
  for kind in get('curation.excluded_types'):
    config_rules.refuse(
      kind not in choices.QUESTION_TYPES,
      f'curation.excluded_types: {kind!r} is not one of'
      f' {", ".join(choices.QUESTION_TYPES)}',
    )
  stages = get('stages')
  if 'curate' not in stages:
    return
  prompt, response = get('rollout.max_prompt_length'), get('rollout.max_length')
  guess = get('curation.guess_max_length')
  config_rules.refuse(
    get('curation.guesses') and guess > response,
    f'curation.guess_max_length is {guess}, above rollout.max_length,'
    f' {response}, of prompts of at most {prompt} tokens',
  )
  samples = {
    key: get(key)
    for key in ('curation.samples', 'curation.guesses', 'curation.tagger')
  }
  asks = get('curation.samples') or get('curation.guesses')
  asks = asks or get('curation.tagger') == 'model'
  before = stages[: stages.index('curate')]
  config_rules.refuse(
    asks and 'sft' not in before and not get('checkpoint'),
    f'{samples} want a model, and stages {stages} have none before curate: name'
    " a checkpoint, let sft go before, or choose 0, 0 and the tagger 'rules'",
  )


def _check_evaluation(get):
  samples, temperature = (
    get('evaluation.samples'),
    get('evaluation.temperature'),
  )
  config_rules.refuse(
    temperature == 0 and samples > 1,
    f'evaluation.samples is {samples}, and at evaluation.temperature 0 all'
    ' samples of a problem are the same',
  )
  config_rules.refuse(
    'evaluate' in get('stages')
    and not set(get('stages')) - {'curate', 'evaluate'}
    and not get('checkpoint'),
    "checkpoint is '', and there is no model to evaluate",
  )
  for k in get('evaluation.pass_at'):
    config_rules.check_number('evaluation.pass_at', k, '>= 1')
  named = {}
  for key in ('sets', 'rewards', 'templates'):
    try:
      named[key] = routes_lib.named(get(f'evaluation.{key}'))
    except ValueError as error:
      raise config_rules.ConfigError(f'evaluation.{key}: {error}') from None
    unknown = [name for name in named[key] if name not in named['sets']]
    config_rules.refuse(
      unknown,
      f'evaluation.{key} names {unknown}, and evaluation.sets has'
      f' {list(named["sets"])}',
    )
  for path in named['sets'].values():
    config_rules.refuse(
      not os.path.isfile(path), f'evaluation.sets: no file {path!r}'
    )
  for reward in named['rewards'].values():
    config_rules.check_members(
      'evaluation.rewards', (reward,), routes_lib.REWARDS
    )
  for text in named['templates'].values():
    config_rules.refuse(
      '{prompt}' not in text,
      f"evaluation.templates holds {text!r}, which has no '{{prompt}}'",
    )


def _check_supervised(get, group):
  epochs, files = get(f'{group}.epochs'), get(f'{group}.files')
  _check_schedule(get, group, has_epochs=epochs > 0)
  config_rules.refuse(
    (epochs or files) and get(f'{group}.packing') != 'first_fit',
    f"{group}.packing is 'best_fit', and {group}.files and {group}.epochs need"
    " 'first_fit'",
  )
  for path in files:
    config_rules.refuse(
      not os.path.isfile(path), f'{group}.files: no file {path!r}'
    )
  _check_weights(group, get(f'{group}.weights'), files)
  row = get(f'{group}.row_tokens')
  name = f'{group}.row_tokens {row}'
  if not row:
    prompt, response = (
      get('rollout.max_prompt_length'),
      get('rollout.max_length'),
    )
    row = prompt + response
    name = f'rollout.max_prompt_length {prompt} + rollout.max_length {response}'
  config_rules.refuse(
    group in get('stages') and get(f'{group}.batch_tokens') < row,
    f'{group}.batch_tokens is {get(f"{group}.batch_tokens")}, less than one row'
    f' of {name}',
  )


def _check_weights(group, weights, files):
  config_rules.refuse(
    weights and len(weights) != len(files),
    f'{group}.weights has {len(weights)} entries for {len(files)} files',
  )
  for weight in weights:
    is_number = isinstance(weight, int | float) and math.isfinite(weight)
    config_rules.refuse(
      not is_number or weight <= 0,
      f'{group}.weights holds {weight!r}, and has to hold numbers > 0',
    )


def _check_long_cot(get):
  server = get('long_cot_examples.server')
  config_rules.refuse(
    server and not re.fullmatch(r'https?://[^/]+(/[^?#]*)?', server),
    f'long_cot_examples.server is {server!r}, and has to be'
    " 'http://host:port/v1'",
  )
  config_rules.refuse(
    bool(server) != bool(get('long_cot_examples.server_model')),
    "long_cot_examples.server and server_model belong together, and one is ''",
  )
  config_rules.refuse(
    server and get('mesh.num_processes') != 1,
    f'long_cot_examples.server is {server!r}, which one process asks, and'
    f' mesh.num_processes is {get("mesh.num_processes")}: make the examples'
    ' first',
  )
  config_rules.refuse(
    'long_cot' in get('stages') and get('long_cot.files'),
    'long_cot.files is set, and stage long_cot makes its own examples',
  )


def _check_schedule(get, group, has_epochs=False):
  config_rules.refuse_above(
    get, f'{group}.end_learning_rate', f'{group}.learning_rate'
  )
  warmup, steps = get(f'{group}.warmup_steps'), get(f'{group}.steps')
  config_rules.refuse(
    not has_epochs and 0 < steps <= warmup,
    f'{group}.warmup_steps is {warmup}, and has to be < {group}.steps, {steps}',
  )


def _check_long2short(get):
  stages = get('stages')
  if 'dpo' in stages:
    _check_schedule(get, 'dpo')
    samples = get('long2short.samples')
    config_rules.refuse(
      samples < 2,
      f'long2short.samples is {samples}, and stage dpo compares >= 2 responses',
    )
  _check_schedule(get, 'reward_model')
  if 'short_rl' in stages:
    config_rules.refuse_above(get, 'short_rl.max_length', 'rollout.max_length')
  for path in get('short_rl.candidates'):
    config_rules.refuse(
      not isinstance(path, str) or not os.path.isdir(path),
      f'short_rl.candidates: no directory {path!r}',
    )
  short_model = get('long2short.short_model')
  config_rules.refuse(
    'merge' in stages and not os.path.isdir(short_model),
    f'long2short.short_model: no directory {short_model!r}',
  )
  config_rules.refuse(
    'shortest' in stages and get('shortest.files'),
    'shortest.files is set, and stage shortest samples its own examples',
  )
  has_model = get('checkpoint') or 'sft' in stages or 'rl' in stages
  config_rules.refuse(
    'merge' in stages and not has_model,
    "checkpoint is '', and stage 'merge' needs a long-CoT model",
  )
