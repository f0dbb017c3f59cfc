"""Checks of a configuration, in sentences, before any device is touched.

`validate` refuses what would crash later.
"""

import functools
import operator
import os
import re
from collections.abc import Sequence

from ml_collections import ConfigDict

from k15 import choices
from k15 import config_mesh
from k15 import config_rules
from k15 import config_stages
from k15.rewards import routes as routes_lib

_SUPERVISED = config_stages.SUPERVISED
CHOICES = {
  'task.name': ('arithmetic', 'file'),
  'policy.dtype': ('float32', 'bfloat16'),
  'policy.param_dtype': ('float32', 'bfloat16'),
  'policy.remat': ('none', 'full', 'dots'),
  'policy.attention': ('auto', 'plain', 'chunked', 'splash', 'cudnn'),
  'policy.rope_scaling': ('none', 'llama3', 'yarn'),
  'curation.tagger': ('rules', 'model'),
  'reward.sandbox_lowest': ('namespaces', 'bwrap', 'seccomp', 'rlimits'),
  'rollout.dtype': ('', 'float32', 'bfloat16'),
  'rollout.cache_dtype': ('', 'float32', 'bfloat16', 'int8'),
  'rollout.live_requests': choices.LIVE_REQUESTS,
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
  **{f'{g}.optimizer': ('adam', 'muon', 'sgd') for g in _SUPERVISED},
  **{f'{g}.packing': ('best_fit', 'first_fit') for g in _SUPERVISED},
  **{f'{g}.loss_turns': ('all', 'last') for g in _SUPERVISED},
  'long_cot_examples.prompt': ('engineered', 'plain'),
  'dpo.optimizer': ('adam', 'muon', 'sgd'),
  'reward_model.optimizer': ('adam', 'muon', 'sgd'),
}
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
      for group in _SUPERVISED
      for key in (
        'steps', 'epochs', 'end_learning_rate', 'warmup_steps', 'row_tokens',
      )
    ),
    'policy.vocab_size',
    'rl.iterations', 'rl.repetition_penalty', 'rl.log_trajectories',
    'rollout.repetition_count', 'loss.tau', 'loss.grpo_beta',
    'length_reward.start_iteration', 'problem_sampler.curriculum_iteration',
    'problem_sampler.leave_out_after', 'problem_sampler.retry_after',
    'optimizer.warmup_updates', 'optimizer.weight_decay',
    'optimizer.clip_norm', 'evaluation.every', 'policy.rope_attention_factor',
    'dpo.steps', 'dpo.end_learning_rate', 'dpo.warmup_steps',
    'reward_model.steps', 'reward_model.end_learning_rate',
    'reward_model.warmup_steps',
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
    'sft.num_examples', *(f'{group}.batch_tokens' for group in _SUPERVISED),
    *(f'{group}.log_every' for group in _SUPERVISED),
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
    'dpo.log_every', 'reward_model.batch_tokens', 'reward_model.log_every',
    'short_rl.max_length',
    'curation.guess_max_length',
  ),
  '> 0': (
    'optimizer.muon_adam_share',
    'task.hardest', 'policy.rope_theta', 'policy.rms_norm_eps',
    *(f'{group}.learning_rate' for group in _SUPERVISED),
    'long_cot_examples.temperature', 'long_cot_examples.server_seconds',
    'rollout.temperature', 'rollout.silence_seconds',
    'rollout.patience_seconds', 'reward.program_seconds', 'loss.grpo_clip',
    'optimizer.learning_rate',
    'optimizer.eps', 'policy.rope_beta_slow',
    'policy.rope_low_freq_factor', 'policy.rope_beta_fast',
    'policy.rope_high_freq_factor',
    'dpo.learning_rate', 'reward_model.learning_rate', 'dpo.beta',
    'short_rl.token_price',
    'curation.temperature',
  ),
  '> 1': ('long2short.longer',),
  '>= 0 and <= 1': (
    'task.min_difficulty', 'task.max_difficulty', 'task.give_up_rate',
    'task.guess_rate', 'task.slip_rate', 'task.check_rate',
    'loss.negative_discard_rate',
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
      config_rules.check_number(key, get(key), rule)
  for key, known in CHOICES.items():
    config_rules.check_members(key, (get(key),), known)
  for key in NOT_EMPTY:
    config_rules.refuse(not get(key), f"{key} is '', and has to be a text")
  config_rules.check_members('stages', get('stages'), config_stages.STAGES)
  _check_stages(get)
  config_rules.check_members('task.kinds', get('task.kinds'), kinds)
  _check_task(get)
  _check_policy(get)
  _check_meshes(get, num_devices)
  _check_lengths(get)
  _check_workers(get)
  _check_reward(get)
  _check_rl(get)
  config_stages.check(get)


def _check_stages(get):
  """'curate' may stand on either side of 'sft', and makes what 'rl' takes."""
  stages, all_stages = get('stages'), config_stages.STAGES
  trained = tuple(s for s in stages if s != 'curate')
  before_curate = stages[: stages.index('curate')] if 'curate' in stages else ()
  config_rules.refuse(
    len(set(stages)) < len(stages)
    or trained != tuple(s for s in all_stages if s in trained)
    or set(before_curate) & set(all_stages[all_stages.index('rl') :]),
    f'stages is {stages}, and has to keep the order {all_stages}, each once',
  )
  config_rules.refuse(
    'long_cot' in before_curate,
    f'stages is {stages}, and long_cot would draw from problems that are not'
    " curated yet: it comes after 'curate'",
  )


def _check_task(get):
  words = get('tokenizer.words')
  for word in words:
    config_rules.refuse(
      not isinstance(word, str) or not word or words.count(word) > 1,
      f'tokenizer.words holds {word!r}; words are different texts, none empty',
    )
  config_rules.refuse_above(get, 'task.min_difficulty', 'task.max_difficulty')
  is_asked = get('stages') != ('evaluate',) or not get('evaluation.sets')
  if get('task.name') == 'file' and is_asked:
    path, held_out = get('task.train_path'), get('task.held_out_path')
    config_rules.refuse(
      not path, "task.train_path is '', and task.name 'file' needs one"
    )
    for key in ('task.train_path', 'task.held_out_path')[: 1 + bool(held_out)]:
      config_rules.refuse(
        not os.path.isfile(get(key)), f'{key}: no file {get(key)!r}'
      )


def _check_policy(get):
  heads, kv_heads = get('policy.num_heads'), get('policy.num_kv_heads')
  config_rules.refuse(
    heads % kv_heads,
    f'policy.num_heads is {heads}, not a multiple of policy.num_kv_heads, '
    f'{kv_heads}',
  )
  config_rules.refuse(
    get('policy.qkv_bias') and get('policy.qk_norm'),
    'policy.qkv_bias and policy.qk_norm are both True, and no architecture '
    'that models are saved in has both',
  )
  config_rules.refuse(
    get('policy.head_dim') % 2,
    f'policy.head_dim is {get("policy.head_dim")}; rotary positions need an '
    'even one',
  )
  config_rules.refuse(
    get('policy.rope_scaling') == 'yarn' and get('policy.rope_theta') <= 1,
    f'policy.rope_theta is {get("policy.rope_theta")}, and policy.rope_scaling '
    "'yarn' needs > 1",
  )
  config_rules.refuse_equal_or_above(
    get, 'policy.rope_low_freq_factor', 'policy.rope_high_freq_factor'
  )
  config_rules.refuse_equal_or_above(
    get, 'policy.rope_beta_slow', 'policy.rope_beta_fast'
  )


def validate_processes(config: ConfigDict) -> None:
  """Refuses what keeps processes from meeting; call it before they do."""
  try:
    config_mesh.check_processes(functools.partial(_get, config))
  except ValueError as error:
    raise config_rules.ConfigError(str(error)) from None


def _check_meshes(get, num_devices):
  try:
    config_mesh.check(get, num_devices)
  except ValueError as error:
    raise config_rules.ConfigError(str(error)) from None


def _check_lengths(get):
  config_rules.refuse_above(get, 'rollout.token_budget', 'rollout.max_length')
  config_rules.refuse_above(get, 'rollout.prefill_batch', 'rollout.num_slots')
  config_rules.refuse(
    get('rollout.repetition_count') == 1,
    'rollout.repetition_count is 1, and everything comes once: 0 turns the '
    'detector off, >= 2 on',
  )


def _check_workers(get):
  workers = get('rollout.workers')
  for worker in workers:
    host, _, port = str(worker).rpartition(':')
    is_address = host and port.isdigit() and 0 < int(port) < 1 << 16
    config_rules.refuse(
      worker != 'local' and not is_address,
      f"rollout.workers holds {worker!r}, and has to hold 'host:port', or"
      " 'local' for this process",
    )
    config_rules.refuse(
      workers.count(worker) > 1, f'rollout.workers holds {worker!r} twice'
    )
  tls = ('tls_authority', 'tls_certificate', 'tls_key')
  files = {f'rollout.{key}': get(f'rollout.{key}') for key in tls}
  config_rules.refuse(
    0 < sum(map(bool, files.values())) < 3,
    f'mutual TLS needs three files, and the keys are {files}',
  )
  for key in ('rollout.token_file', *files):
    config_rules.refuse(
      get(key) and not os.path.isfile(get(key)), f'{key}: no file {get(key)!r}'
    )


def _check_reward(get):
  try:
    routes_lib.routes_of(get('reward.default'), get('reward.routes'))
  except ValueError as error:
    raise config_rules.ConfigError(
      f'reward.default and reward.routes: {error}'
    ) from None
  for url in get('reward.services'):
    config_rules.refuse(
      not re.fullmatch(r'http://[^/]+:[0-9]+', str(url)),
      f"reward.services holds {url!r}, and has to hold 'http://host:port'",
    )
  path = get('reward.token_file')
  config_rules.refuse(
    path and not os.path.isfile(path), f'reward.token_file: no file {path!r}'
  )


def _check_rl(get):
  method, baseline = get('loss.method'), get('loss.baseline')
  uses_tau = method == 'mirror_descent' or (
    method == 'reinforce' and baseline == 'tau_log_z'
  )
  config_rules.refuse(
    uses_tau and get('loss.tau') == 0,
    f'loss.tau is {get("loss.tau")}, and loss.method {method!r} with '
    f'loss.baseline {baseline!r} needs > 0',
  )
  needs_group = method == 'grpo' or (method != 'rest' and baseline != 'none')
  config_rules.refuse(
    needs_group and get('rl.group_size') < 2,
    f'rl.group_size is {get("rl.group_size")}, and loss.method {method!r} with '
    f'loss.baseline {baseline!r} compares >= 2 responses',
  )
  config_rules.refuse(
    method == 'grpo'
    and get('loss.grpo_ratio') == 'sequence'
    and get('loss.rollout_correction') == 'truncate'
    and get('loss.rollout_correction_level') == 'token',
    "loss.grpo_ratio is 'sequence', and takes no weights of tokens: "
    "loss.rollout_correction_level has to be 'sequence'",
  )
  config_rules.refuse(
    not re.fullmatch(r'all|last(:[1-9][0-9]*)?', get('rl.loss_segments')),
    f'rl.loss_segments is {get("rl.loss_segments")!r}, and has to be'
    " 'all', 'last', or 'last:m' with a whole m >= 1",
  )
  config_rules.refuse_above(
    get, 'rl.problems_per_iteration', 'task.train_problems'
  )
  retry = get('problem_sampler.retry_after')
  config_rules.refuse(
    retry and not get('problem_sampler.leave_out_after'),
    f'problem_sampler.retry_after is {retry}, and'
    ' problem_sampler.leave_out_after is 0: nothing is left out',
  )
  config_rules.refuse_above(
    get, 'rl.updates_per_iteration', 'rl.problems_per_iteration'
  )


def _get(config, key):
  try:
    return functools.reduce(operator.getitem, key.split('.'), config)
  except (KeyError, TypeError):
    raise config_rules.ConfigError(f'{key} is missing') from None
