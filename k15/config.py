"""Checks of a configuration, in sentences, before any device is touched.

`validate` refuses what would crash later; `refuse_changes` guards a resumed
run.
"""

import fnmatch
import functools
import math
import operator
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from k15 import config_mesh
from k15.rewards import routes as routes_lib

STAGES = (
  'curate', 'sft', 'sft_long', 'long_cot', 'rl', 'merge', 'shortest', 'dpo',
  'short_rl', 'evaluate',
)  # fmt: skip
# Groups of the same keys.
SUPERVISED = ('sft', 'sft_long', 'long_cot', 'shortest')
CHOICES = {
  'task.name': ('arithmetic', 'file'),
  'policy.dtype': ('float32', 'bfloat16'),
  'policy.param_dtype': ('float32', 'bfloat16'),
  'policy.remat': ('none', 'full', 'dots'),
  'policy.attention': ('auto', 'plain', 'chunked', 'splash', 'cudnn'),
  'policy.rope_scaling': ('none', 'llama3', 'yarn'),
  'rl.loss_segments': ('all', 'last'),
  'curation.tagger': ('rules', 'model'),
  'reward.default': routes_lib.REWARDS,
  'reward.sandbox_lowest': ('namespaces', 'bwrap', 'seccomp', 'rlimits'),
  'rollout.dtype': ('', 'float32', 'bfloat16'),
  'rollout.cache_dtype': ('', 'float32', 'bfloat16', 'int8'),
  'rollout.live_requests': ('interrupt', 'drain', 'in_flight'),
  'loss.method': ('mirror_descent', 'reinforce', 'rest', 'grpo'),
  'loss.baseline': ('mean', 'tau_log_z', 'leave_one_out', 'none'),
  'loss.pg_norm': ('seq_sum', 'const_max_len', 'seq_mean', 'token_mean'),
  'loss.reg_norm': ('seq_sum', 'const_max_len', 'seq_mean', 'token_mean'),
  'loss.negative_gradients': ('keep', 'drop', 'discard'),
  'loss.grpo_ratio': ('token', 'sequence'),
  'loss.rollout_correction': ('none', 'truncate', 'mask'),
  'loss.rollout_correction_level': ('token', 'sequence'),
  'problem_sampler.strategy': ('uniform', 'curriculum', 'prioritized'),
  'optimizer.name': ('adam', 'muon', 'sgd'),
  **{f'{g}.optimizer': ('adam', 'muon', 'sgd') for g in SUPERVISED},
  **{f'{g}.packing': ('best_fit', 'first_fit') for g in SUPERVISED},
  **{f'{g}.loss_turns': ('all', 'last') for g in SUPERVISED},
  'long_cot_examples.prompt': ('engineered', 'plain'),
  'dpo.optimizer': ('adam', 'muon', 'sgd'),
}
QUESTION_TYPES = ('multiple choice', 'true/false', 'proof')
NOT_EMPTY = (
  'task.prompt_field',
  'task.answer_field',
  'task.response_field',
  'task.answer_marker',
  'task.domain_field',
  'task.discipline_field',
  'task.difficulty_field',
)
# Keys by the numbers they take.  A number is always finite.
RANGES = {
  '>= 0': (
    *(
      f'{group}.{key}'
      for group in SUPERVISED
      for key in (
        'steps', 'epochs', 'end_learning_rate', 'warmup_steps', 'row_tokens',
      )
    ),
    'policy.vocab_size',
    'rl.iterations', 'rl.repetition_penalty', 'rl.log_trajectories',
    'rollout.repetition_count', 'loss.tau', 'loss.grpo_beta',
    'length_reward.start_iteration', 'problem_sampler.curriculum_iteration',
    'optimizer.warmup_updates', 'optimizer.weight_decay',
    'optimizer.clip_norm', 'evaluation.every', 'policy.rope_attention_factor',
    'dpo.steps', 'dpo.end_learning_rate', 'dpo.warmup_steps',
    'short_rl.iterations',
    'evaluation.temperature', 'evaluation.problems',
    'curation.samples', 'curation.guesses', 'curation.max_per_tag',
    'curation.examples',
  ),
  '>= 1': (
    'task.train_problems', 'task.held_out_problems', 'policy.num_layers',
    'policy.d_model', 'policy.num_heads', 'policy.num_kv_heads',
    'policy.head_dim', 'policy.d_ff', 'policy.logprob_chunk',
    'policy.cache_block',
    'sft.num_examples', *(f'{group}.batch_tokens' for group in SUPERVISED),
    *(f'{group}.log_every' for group in SUPERVISED),
    'long_cot_examples.samples', 'long_cot_examples.most_per_problem',
    'long_cot_examples.problems',
    'long_cot_examples.call_size', 'long_cot_examples.server_threads',
    'rl.problems_per_iteration', 'rl.group_size', 'rl.updates_per_iteration',
    'rl.epochs', 'rl.max_group_age', 'rollout.num_slots',
    'rollout.tokens_per_call', 'rollout.max_prompt_length',
    'rollout.max_length', 'rollout.token_budget', 'rollout.prefill_batch',
    'rollout.repetition_max_period', 'rollout.repetition_min_tokens',
    'rollout.max_requests', 'rollout.max_tokens', 'reward.threads',
    'reward.sandbox_workers', 'loss.grpo_reference_interval',
    'optimizer.micro_batch_rows', 'loss.rollout_correction_cap',
    'evaluation.samples', 'evaluation.resamples', 'saving.every_iterations',
    'saving.every_sft_steps', 'saving.keep',
    'policy.rope_original_length', 'policy.rope_factor',
    'long2short.problems', 'long2short.samples', 'dpo.batch_pairs',
    'dpo.log_every',
    'short_rl.max_length',
    'curation.guess_max_length',
  ),
  '> 0': (
    'task.hardest', 'policy.rope_theta', 'policy.rms_norm_eps',
    *(f'{group}.learning_rate' for group in SUPERVISED),
    'long_cot_examples.temperature', 'long_cot_examples.server_seconds',
    'rollout.temperature', 'rollout.silence_seconds',
    'rollout.patience_seconds', 'reward.program_seconds', 'loss.grpo_clip',
    'optimizer.learning_rate',
    'optimizer.eps', 'policy.rope_beta_slow',
    'policy.rope_low_freq_factor', 'policy.rope_beta_fast',
    'policy.rope_high_freq_factor',
    'dpo.learning_rate', 'dpo.beta', 'short_rl.token_price',
    'curation.temperature',
  ),
  '> 1': ('long2short.longer',),
  '>= 0 and <= 1': (
    'task.min_difficulty', 'task.max_difficulty', 'task.give_up_rate',
    'task.guess_rate', 'task.slip_rate', 'loss.negative_discard_rate',
    'problem_sampler.success_decay', 'problem_sampler.unseen_success_rate',
    'problem_sampler.hard_below_success_rate', 'curation.variant_similarity',
    'curation.max_pass_rate', 'long2short.short_share',
  ),
  '> 0 and <= 1': (
    'problem_sampler.min_weight', 'curation.duplicate_similarity',
    'curation.max_tag_share', 'evaluation.top_p',
  ),
  '>= 0 and <= 4': ('long_cot_examples.least_processes',),
  '> 0 and < 1': ('evaluation.interval',),
  '>= 0 and < 1': ('optimizer.beta1', 'optimizer.beta2'),
  '>= 0 and < 2': ('length_reward.weight', 'short_rl.length_weight'),
  '>= 0 and < 4294967296': ('seed',),
  '>= 2097152 and <= 1073741824': ('rollout.max_message_bytes',),
  '>= -1': (
    'mesh.data', 'mesh.fsdp', 'mesh.tensor', 'mesh.context',
    'mesh.num_processes', 'mesh.process_id',
  ),
}  # fmt: skip
# What a resumed run may change: how long, how often, on how many devices and
# in what pieces; never what is computed.
FREE_ON_RESUME = (
  'rl.iterations', 'rl.log_trajectories', '*.log_every', 'evaluation.*',
  'long_cot_examples.server_*', 'short_rl.iterations', 'long2short.responses',
  'curation.*',  # The stage refuses once RL has drawn from its prompts.
  'saving.*', 'mesh.*', 'policy.remat', 'policy.logprob_chunk',
  'policy.attention', 'policy.cache_block',
  'optimizer.micro_batch_rows', 'optimizer.offload',
  'reward.threads', 'reward.sandbox_workers',
  'reward.sandbox_lowest', 'reward.services', 'reward.token_file',
  'rollout.workers', 'rollout.mesh', 'rollout.mesh_rules',
  'rollout.live_requests',
  'rollout.*_seconds', 'rollout.token_file', 'rollout.tls_*',
  'rollout.max_requests', 'rollout.max_tokens', 'rollout.max_message_bytes',
)  # fmt: skip

# Keys that only some stages read: free until one of these has begun.
READERS = {
  'sft.*': ('sft', 'sft_long'),  # sft.num_examples, too
  'sft_long.*': ('sft_long',),
  'long_cot.*': ('long_cot',),
  'long_cot_examples.*': ('long_cot',),
  'rl.*': ('rl', 'short_rl'),
  'loss.*': ('rl', 'short_rl'),
  'length_reward.*': ('rl',),
  'problem_sampler.*': ('rl', 'short_rl'),
  'long2short.*': ('merge', 'shortest', 'dpo', 'short_rl'),
  'shortest.*': ('shortest',),
  'dpo.*': ('dpo',),
  'short_rl.*': ('short_rl',),
}

_COMPARE = {
  '>': operator.gt,
  '>=': operator.ge,
  '<': operator.lt,
  '<=': operator.le,
}


class ConfigError(ValueError):
  """A configuration that cannot run; the message is one sentence."""


def validate(
  config: ConfigDict, num_devices: int, kinds: Sequence[str]
) -> None:
  """Refuses a configuration that would fail later.

  Args:
    config: all keys of `experiments/base.py`.
    num_devices: those the mesh may use.
    kinds: the kinds of arithmetic problems there are.

  Raises:
    ConfigError: names the key, its value and what it has to be.
  """
  get = functools.partial(_get, config)
  for rule, keys in RANGES.items():
    for key in keys:
      _check_number(key, get(key), rule)
  for key, choices in CHOICES.items():
    _check_members(key, (get(key),), choices)
  for key in NOT_EMPTY:
    _refuse(not get(key), f"{key} is '', and has to be a text")
  _check_members('stages', get('stages'), STAGES)
  _check_stages(get)
  _check_members('task.kinds', get('task.kinds'), kinds)
  _check_task(get)
  _check_policy(get)
  _check_meshes(get, num_devices)
  _check_lengths(get)
  _check_workers(get)
  _check_reward(get)
  _check_evaluation(get)
  _check_curation(get)
  _check_rl(get)
  for group in SUPERVISED:
    _check_supervised(get, group)
  _check_long_cot(get)
  _check_long2short(get)


def _check_number(key, value, rule):
  is_number = isinstance(value, int | float) and math.isfinite(value)
  for part in rule.split(' and '):
    sign, bound = part.split()
    holds = is_number and _COMPARE[sign](value, float(bound))
    _refuse(not holds, f'{key} is {value}, and has to be {rule}')


def _check_members(key, values, choices):
  known = ', '.join(str(choice) or "''" for choice in choices)
  _refuse(not values, f'{key} is empty; it holds some of {known}')
  for value in values:
    hint = " (a tuple is written \"('a', 'b')\")" if ',' in str(value) else ''
    _refuse(
      value not in choices, f'{key}: {value!r} is not one of {known}{hint}'
    )


def _check_stages(get):
  """'curate' may stand on either side of 'sft'."""
  stages = get('stages')
  trained = tuple(s for s in stages if s != 'curate')
  _refuse(
    len(set(stages)) < len(stages)
    or trained != tuple(s for s in STAGES if s in trained)
    or (stages[-1] == 'curate' and 'rl' in stages),
    f'stages is {stages}, and has to keep the order {STAGES}, each once',
  )


def _check_curation(get):
  for path in get('curation.evaluation_paths'):
    _refuse(
      not os.path.isfile(str(path)), f'curation.evaluation_paths: no {path!r}'
    )
  for kind in get('curation.excluded_types'):
    _refuse(
      kind not in QUESTION_TYPES,
      f'curation.excluded_types: {kind!r} is not one of'
      f' {", ".join(QUESTION_TYPES)}',
    )
  stages = get('stages')
  if 'curate' not in stages:
    return
  prompt, response = get('rollout.max_prompt_length'), get('rollout.max_length')
  guess = get('curation.guess_max_length')
  _refuse(
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
  _refuse(
    asks and 'sft' not in before and not get('checkpoint'),
    f'{samples} want a model, and stages {stages} have none before curate: name'
    " a checkpoint, let sft go before, or choose 0, 0 and the tagger 'rules'",
  )


def _check_task(get):
  words = get('tokenizer.words')
  for word in words:
    _refuse(
      not isinstance(word, str) or not word or words.count(word) > 1,
      f'tokenizer.words holds {word!r}; words are different texts, none empty',
    )
  _refuse_above(get, 'task.min_difficulty', 'task.max_difficulty')
  is_asked = get('stages') != ('evaluate',) or not get('evaluation.sets')
  if get('task.name') == 'file' and is_asked:
    path, held_out = get('task.train_path'), get('task.held_out_path')
    _refuse(not path, "task.train_path is '', and task.name 'file' needs one")
    for key in ('task.train_path', 'task.held_out_path')[: 1 + bool(held_out)]:
      _refuse(not os.path.isfile(get(key)), f'{key}: no file {get(key)!r}')


def _check_policy(get):
  heads, kv_heads = get('policy.num_heads'), get('policy.num_kv_heads')
  _refuse(
    heads % kv_heads,
    f'policy.num_heads is {heads}, not a multiple of policy.num_kv_heads, '
    f'{kv_heads}',
  )
  _refuse(
    get('policy.qkv_bias') and get('policy.qk_norm'),
    'policy.qkv_bias and policy.qk_norm are both True, and no architecture '
    'that models are saved in has both',
  )
  _refuse(
    get('policy.head_dim') % 2,
    f'policy.head_dim is {get("policy.head_dim")}; rotary positions need an '
    'even one',
  )
  _refuse(
    get('policy.rope_scaling') == 'yarn' and get('policy.rope_theta') <= 1,
    f'policy.rope_theta is {get("policy.rope_theta")}, and policy.rope_scaling '
    "'yarn' needs > 1",
  )
  _refuse_equal_or_above(
    get, 'policy.rope_low_freq_factor', 'policy.rope_high_freq_factor'
  )
  _refuse_equal_or_above(get, 'policy.rope_beta_slow', 'policy.rope_beta_fast')


def validate_processes(config: ConfigDict) -> None:
  """Refuses what keeps processes from meeting; call it before they do."""
  try:
    config_mesh.check_processes(functools.partial(_get, config))
  except ValueError as error:
    raise ConfigError(str(error)) from None


def _check_meshes(get, num_devices):
  try:
    config_mesh.check(get, num_devices)
  except ValueError as error:
    raise ConfigError(str(error)) from None


def _check_lengths(get):
  _refuse_above(get, 'rollout.token_budget', 'rollout.max_length')
  _refuse_above(get, 'rollout.prefill_batch', 'rollout.num_slots')
  _refuse(
    get('rollout.repetition_count') == 1,
    'rollout.repetition_count is 1, and everything comes once: 0 turns the '
    'detector off, >= 2 on',
  )


def _check_workers(get):
  workers = get('rollout.workers')
  for worker in workers:
    host, _, port = str(worker).rpartition(':')
    is_address = host and port.isdigit() and 0 < int(port) < 1 << 16
    _refuse(
      worker != 'local' and not is_address,
      f"rollout.workers holds {worker!r}, and has to hold 'host:port', or"
      " 'local' for this process",
    )
    _refuse(
      workers.count(worker) > 1, f'rollout.workers holds {worker!r} twice'
    )
  tls = ('tls_authority', 'tls_certificate', 'tls_key')
  files = {f'rollout.{key}': get(f'rollout.{key}') for key in tls}
  _refuse(
    0 < sum(map(bool, files.values())) < 3,
    f'mutual TLS needs three files, and the keys are {files}',
  )
  for key in ('rollout.token_file', *files):
    _refuse(
      get(key) and not os.path.isfile(get(key)), f'{key}: no file {get(key)!r}'
    )


def _check_reward(get):
  try:
    routes_lib.routes_of(get('reward.default'), get('reward.routes'))
  except ValueError as error:
    raise ConfigError(f'reward.routes: {error}') from None
  for url in get('reward.services'):
    _refuse(
      not re.fullmatch(r'http://[^/]+:[0-9]+', str(url)),
      f"reward.services holds {url!r}, and has to hold 'http://host:port'",
    )
  path = get('reward.token_file')
  _refuse(
    path and not os.path.isfile(path), f'reward.token_file: no file {path!r}'
  )


def _check_evaluation(get):
  samples, temperature = (
    get('evaluation.samples'),
    get('evaluation.temperature'),
  )
  _refuse(
    temperature == 0 and samples > 1,
    f'evaluation.samples is {samples}, and at evaluation.temperature 0 all'
    ' samples of a problem are the same',
  )
  _refuse(
    get('stages') == ('evaluate',) and not get('checkpoint'),
    "checkpoint is '', and there is no model to evaluate",
  )
  for k in get('evaluation.pass_at'):
    _check_number('evaluation.pass_at', k, '>= 1')
  named = {}
  for key in ('sets', 'rewards', 'templates'):
    try:
      named[key] = routes_lib.named(get(f'evaluation.{key}'))
    except ValueError as error:
      raise ConfigError(f'evaluation.{key}: {error}') from None
    unknown = [name for name in named[key] if name not in named['sets']]
    _refuse(
      unknown,
      f'evaluation.{key} names {unknown}, and evaluation.sets has'
      f' {list(named["sets"])}',
    )
  for path in named['sets'].values():
    _refuse(not os.path.isfile(path), f'evaluation.sets: no file {path!r}')
  for reward in named['rewards'].values():
    _check_members('evaluation.rewards', (reward,), routes_lib.REWARDS)
  for text in named['templates'].values():
    _refuse(
      '{prompt}' not in text,
      f"evaluation.templates holds {text!r}, which has no '{{prompt}}'",
    )


def _check_rl(get):
  method, baseline = get('loss.method'), get('loss.baseline')
  uses_tau = method == 'mirror_descent' or (
    method == 'reinforce' and baseline == 'tau_log_z'
  )
  _refuse(
    uses_tau and get('loss.tau') == 0,
    f'loss.tau is {get("loss.tau")}, and loss.method {method!r} with '
    f'loss.baseline {baseline!r} needs > 0',
  )
  needs_group = method == 'grpo' or (method != 'rest' and baseline != 'none')
  _refuse(
    needs_group and get('rl.group_size') < 2,
    f'rl.group_size is {get("rl.group_size")}, and loss.method {method!r} with '
    f'loss.baseline {baseline!r} compares >= 2 responses',
  )
  _refuse(
    method == 'grpo'
    and get('loss.grpo_ratio') == 'sequence'
    and get('loss.rollout_correction') == 'truncate'
    and get('loss.rollout_correction_level') == 'token',
    "loss.grpo_ratio is 'sequence', and takes no weights of tokens: "
    "loss.rollout_correction_level has to be 'sequence'",
  )
  _refuse_above(get, 'rl.problems_per_iteration', 'task.train_problems')
  _refuse_above(get, 'rl.updates_per_iteration', 'rl.problems_per_iteration')


def _check_supervised(get, group):
  epochs, files = get(f'{group}.epochs'), get(f'{group}.files')
  _check_schedule(get, group, has_epochs=epochs > 0)
  _refuse(
    (epochs or files) and get(f'{group}.packing') != 'first_fit',
    f"{group}.packing is 'best_fit', and {group}.files and {group}.epochs need"
    " 'first_fit'",
  )
  for path in files:
    _refuse(not os.path.isfile(path), f'{group}.files: no file {path!r}')
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
  _refuse(
    group in get('stages') and get(f'{group}.batch_tokens') < row,
    f'{group}.batch_tokens is {get(f"{group}.batch_tokens")}, less than one row'
    f' of {name}',
  )


def _check_weights(group, weights, files):
  _refuse(
    weights and len(weights) != len(files),
    f'{group}.weights has {len(weights)} entries for {len(files)} files',
  )
  for weight in weights:
    is_number = isinstance(weight, int | float) and math.isfinite(weight)
    _refuse(
      not is_number or weight <= 0,
      f'{group}.weights holds {weight!r}, and has to hold numbers > 0',
    )


def _check_long_cot(get):
  server = get('long_cot_examples.server')
  _refuse(
    server and not re.fullmatch(r'https?://[^/]+(/[^?#]*)?', server),
    f'long_cot_examples.server is {server!r}, and has to be'
    " 'http://host:port/v1'",
  )
  _refuse(
    bool(server) != bool(get('long_cot_examples.server_model')),
    "long_cot_examples.server and server_model belong together, and one is ''",
  )
  _refuse(
    server and get('mesh.num_processes') != 1,
    f'long_cot_examples.server is {server!r}, which one process asks, and'
    f' mesh.num_processes is {get("mesh.num_processes")}: make the examples'
    ' first',
  )
  _refuse(
    'long_cot' in get('stages') and get('long_cot.files'),
    'long_cot.files is set, and stage long_cot makes its own examples',
  )


def _check_schedule(get, group, has_epochs=False):
  _refuse_above(get, f'{group}.end_learning_rate', f'{group}.learning_rate')
  warmup, steps = get(f'{group}.warmup_steps'), get(f'{group}.steps')
  _refuse(
    not has_epochs and 0 < steps <= warmup,
    f'{group}.warmup_steps is {warmup}, and has to be < {group}.steps, {steps}',
  )


def _check_long2short(get):
  stages = get('stages')
  if 'dpo' in stages:
    _check_schedule(get, 'dpo')
  if 'short_rl' in stages:
    _refuse_above(get, 'short_rl.max_length', 'rollout.max_length')
  for path in get('short_rl.candidates'):
    _refuse(
      not isinstance(path, str) or not os.path.isdir(path),
      f'short_rl.candidates: no directory {path!r}',
    )
  short_model = get('long2short.short_model')
  _refuse(
    'merge' in stages and not os.path.isdir(short_model),
    f'long2short.short_model: no directory {short_model!r}',
  )
  _refuse(
    'shortest' in stages and get('shortest.files'),
    'shortest.files is set, and stage shortest samples its own examples',
  )
  has_model = get('checkpoint') or 'sft' in stages or 'rl' in stages
  _refuse(
    'merge' in stages and not has_model,
    "checkpoint is '', and stage 'merge' needs a long-CoT model",
  )


def to_json(config: ConfigDict) -> dict[str, Any]:
  """The config as nested dicts JSON can hold, in the order of the keys."""

  def plain(value):
    if is_group(value):
      return {key: plain(value[key]) for key in sorted(value)}
    return list(value) if isinstance(value, tuple) else value

  return plain(config)


def differences(
  old_json: Mapping[str, Any], config: ConfigDict
) -> dict[str, str]:
  """What changed since `to_json` made old_json: key -> 'key: old -> new'."""
  old, new = leaves(old_json), leaves(to_json(config))
  return {
    key: f'{key}: {old.get(key, "(none)")} -> {new.get(key, "(none)")}'
    for key in sorted(old | new)
    if key not in old or key not in new or old[key] != new[key]
  }


def refuse_changes(
  old_json: Mapping[str, Any],
  config: ConfigDict,
  begun: Sequence[str] = STAGES,
) -> list[str]:
  """The differences of a resumed run, 'key: old -> new', all allowed.

  Args:
    old_json: `to_json` of the run's config.
    config: the one it is to go on with.
    begun: the stages that have begun, in their order.

  Raises:
    ConfigError: a key changed that is not one of `FREE_ON_RESUME`, and that a
      stage which has begun reads; or such a stage would lose its place.
  """
  changes = differences(old_json, config)
  free = [*FREE_ON_RESUME]
  free += [k for k, readers in READERS.items() if not set(readers) & set(begun)]
  # 'evaluate' begins anew with every model.
  kept = [stage for stage in config.stages if stage != 'evaluate']
  if kept[: len(begun)] == [*begun]:
    free.append('stages')
  fixed = [
    change
    for key, change in changes.items()
    if not any(fnmatch.fnmatch(key, pattern) for pattern in free)
  ]
  _refuse(
    fixed,
    f'a resumed run cannot change {"; ".join(fixed)}: take this back or choose '
    'another workdir',
  )
  return list(changes.values())


def leaves(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Values by their whole keys, such as 'loss.tau'."""
  flat = {}
  for key, value in tree.items():
    if is_group(value):
      flat.update(leaves(value, f'{prefix}{key}.'))
    else:
      flat[prefix + key] = value
  return flat


def is_group(value: Any) -> bool:
  """Whether it holds keys of its own."""
  return isinstance(value, ConfigDict | Mapping)


def _get(config, key):
  try:
    return functools.reduce(operator.getitem, key.split('.'), config)
  except (KeyError, TypeError):
    raise ConfigError(f'{key} is missing') from None


def _refuse(condition, sentence):
  if condition:
    raise ConfigError(sentence)


def _refuse_above(get, low, high):
  _refuse(
    get(low) > get(high), f'{low} is {get(low)}, above {high}, {get(high)}'
  )


def _refuse_equal_or_above(get, low, high):
  _refuse(
    get(low) >= get(high),
    f'{low} is {get(low)}, not below {high}, {get(high)}',
  )
