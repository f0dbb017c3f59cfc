"""Checks of a configuration, in sentences, before any device is touched.

`validate` refuses what would crash later: first every value by the rule of its
key, then keys against each other.
"""

import re
from collections.abc import Sequence

from ml_collections import ConfigDict

from k15.config import keys
from k15.config import layout
from k15.config import routes
from k15.config import stage_checks
from k15.config import vision_checks


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
  get = keys.get_from(config)
  keys.judge(get)
  stage_checks.check_order(get('stages'))
  keys.check_members('task.kinds', get('task.kinds'), kinds)
  _check_task(get)
  _check_facts(get)
  _check_policy(get)
  _check_adapters(get)
  layout.check(get, num_devices)
  _check_lengths(get)
  _check_workers(get)
  _check_reward(get)
  _check_loss(get)
  _check_rl(get)
  _check_logging(get)
  stage_checks.check(get)
  vision_checks.check(get)


def validate_processes(config: ConfigDict) -> None:
  """Refuses what keeps processes from meeting; call it before they do."""
  layout.check_processes(keys.get_from(config))


def _check_task(get):
  words = get('tokenizer.words')
  for word in words:
    keys.refuse(
      not isinstance(word, str) or not word or words.count(word) > 1,
      f'tokenizer.words holds {word!r}; words are different texts, none empty',
    )
  keys.refuse_above(get, 'task.min_difficulty', 'task.max_difficulty')
  keys.refuse_above(get, 'task.min_steps', 'task.max_steps')
  template = get('task.template')
  keys.refuse(
    template and template.count('{prompt}') != 1,
    f"task.template is {template!r}, and has to hold '{{prompt}}' once",
  )
  is_asked = get('stages') != ('evaluate',) or not get('evaluation.sets')
  if get('task.name') == 'file' and is_asked:
    path, held_out = get('task.train_path'), get('task.held_out_path')
    keys.refuse(
      not path, "task.train_path is '', and task.name 'file' needs one"
    )
    keys.refuse_missing('task.train_path', [path])
    keys.refuse_missing('task.held_out_path', [held_out] * bool(held_out))


def _check_facts(get):
  keys.refuse_above(get, 'facts.min_steps', 'facts.max_steps')
  keys.refuse_above(get, 'facts.hard_steps', 'facts.min_steps')
  keys.refuse_above(get, 'facts.lands', 'facts.places')
  lands, luck = get('facts.lands'), get('facts.luck')
  keys.refuse(
    lands == 1, 'facts.lands is 1, and every answer would be the same'
  )
  keys.refuse(
    not lands and luck,
    f'facts.luck is {luck}, and facts.lands 0 asks for the place: no wrong step'
    ' leads there',
  )
  for key in ('facts.easy_right', 'facts.hard_right'):
    ends = get(key)
    keys.refuse(
      len(ends) != 2 or ends[0] > ends[1],
      f'{key} is {ends}, and has to be the least chance and the greatest',
    )
    for end in ends:
      keys.check_number(key, end, '>= 0 and <= 1')
  facts = get('facts.hard_facts')
  for key in ('facts.hard_share', 'facts.held_out_hard_share'):
    share = get(key)
    keys.refuse(
      (share > 0 and facts == 0) or (share < 1 and facts == 1),
      f'{key} is {share}, and facts.hard_facts {facts}: problems of one kind'
      ' have no facts',
    )


def _check_policy(get):
  products = get('policy.product_dtype')
  for key in ('policy.dtype', 'policy.param_dtype'):
    keys.refuse(
      products and get(key) != 'float32',
      f'policy.product_dtype is {products!r}, and rounds what {key},'
      f" {get(key)!r}, has to keep in 'float32'",
    )
  keys.refuse(
    products and get('vision.enabled'),
    f'policy.product_dtype is {products!r}, and the tower of a policy that sees'
    ' knows none',
  )
  heads, kv_heads = get('policy.num_heads'), get('policy.num_kv_heads')
  keys.refuse(
    heads % kv_heads,
    f'policy.num_heads is {heads}, not a multiple of policy.num_kv_heads, '
    f'{kv_heads}',
  )
  keys.refuse(
    get('policy.qkv_bias') and get('policy.qk_norm'),
    'policy.qkv_bias and policy.qk_norm are both True, and no architecture '
    'that models are saved in has both',
  )
  keys.refuse(
    get('policy.head_dim') % 2,
    f'policy.head_dim is {get("policy.head_dim")}; rotary positions need an '
    'even one',
  )
  keys.refuse(
    get('policy.rope_scaling') == 'yarn' and get('policy.rope_theta') <= 1,
    f'policy.rope_theta is {get("policy.rope_theta")}, and policy.rope_scaling '
    "'yarn' needs > 1",
  )
  for low, high in (
    ('policy.rope_low_freq_factor', 'policy.rope_high_freq_factor'),
    ('policy.rope_beta_slow', 'policy.rope_beta_fast'),
  ):
    keys.refuse(
      get(low) >= get(high),
      f'{low} is {get(low)}, not below {high}, {get(high)}',
    )


def _check_adapters(get):
  rank, targets = get('policy.lora_rank'), get('policy.lora_targets')
  width, mlp = get('policy.d_model'), get('policy.d_ff')
  query, key = (
    get('policy.head_dim') * get(f'policy.{heads}')
    for heads in ('num_heads', 'num_kv_heads')
  )
  sides = dict(
    q=(width, query), k=(width, key), v=(width, key), o=(query, width),
    gate=(width, mlp), up=(width, mlp), down=(mlp, width),
  )  # fmt: skip
  keys.check_members('policy.lora_targets', targets, tuple(sides))
  keys.refuse(
    len(set(targets)) < len(targets),
    f'policy.lora_targets is {targets}, and has to name each once',
  )
  for target in targets:
    keys.refuse(
      rank > min(sides[target]),
      f'policy.lora_rank is {rank}, and {target!r} is of {sides[target]}, whose'
      f' rank is at most {min(sides[target])}',
    )


def _check_lengths(get):
  keys.refuse_above(get, 'rollout.token_budget', 'rollout.max_length')
  try:
    routes.lengths_of(get('rollout.domain_max_lengths'))
  except ValueError as error:
    raise keys.ConfigError(f'rollout.domain_max_lengths: {error}') from None
  keys.refuse_above(get, 'rollout.prefill_batch', 'rollout.num_slots')
  keys.refuse(
    get('rollout.repetition_count') == 1,
    'rollout.repetition_count is 1, and everything comes once: 0 turns the '
    'detector off, >= 2 on',
  )


def _check_workers(get):
  workers = get('rollout.workers')
  for worker in workers:
    keys.refuse(
      worker != 'local' and not keys.is_address(worker),
      f"rollout.workers holds {worker!r}, and has to hold 'host:port', or"
      " 'local' for this process",
    )
    keys.refuse(
      workers.count(worker) > 1, f'rollout.workers holds {worker!r} twice'
    )
  tls = ('tls_authority', 'tls_certificate', 'tls_key')
  files = {f'rollout.{key}': get(f'rollout.{key}') for key in tls}
  keys.refuse(
    0 < sum(map(bool, files.values())) < 3,
    f'mutual TLS needs three files, and the keys are {files}',
  )
  for key in ('rollout.token_file', *files):
    keys.refuse_missing(key, filter(None, [get(key)]))


def _check_reward(get):
  try:
    routes.routes_of(get('reward.default'), get('reward.routes'))
  except ValueError as error:
    raise keys.ConfigError(
      f'reward.default and reward.routes: {error}'
    ) from None
  truth = get('reward.truth')
  rules = [name for name in routes.REWARDS if name not in routes.MODELS]
  keys.check_members('reward.truth', (truth,), ('', *rules))
  for key in (
    'reward.services',
    'reward_model.classic_services',
    'reward_model.cot_services',
  ):
    for url in get(key):
      keys.refuse(
        not re.fullmatch(r'http://[^/]+:[0-9]+', str(url)),
        f"{key} holds {url!r}, and has to hold 'http://host:port'",
      )
  path = get('reward.token_file')
  keys.refuse_missing('reward.token_file', filter(None, [path]))


def _check_loss(get):
  method, baseline = get('loss.method'), get('loss.baseline')
  # REINFORCE has tau = 0 in eq. 3, but for a baseline that is made of it.
  uses_tau = method == 'mirror_descent' or (
    method == 'reinforce' and baseline == 'tau_log_z'
  )
  keys.refuse(
    uses_tau and get('loss.tau') == 0,
    f'loss.tau is {get("loss.tau")}, and loss.method {method!r} with '
    f'loss.baseline {baseline!r} needs > 0',
  )
  needs_group = method == 'grpo' or (method != 'rest' and baseline != 'none')
  keys.refuse(
    needs_group and get('rl.group_size') < 2,
    f'rl.group_size is {get("rl.group_size")}, and loss.method {method!r} with '
    f'loss.baseline {baseline!r} compares >= 2 responses',
  )
  sums = [get('reward.default'), *get('reward.routes')]
  keys.refuse(
    get('loss.least_format') and not any('r1_format' in s for s in sums),
    f'loss.least_format is {get("loss.least_format")}, and no reward adds a'
    ' format',
  )
  ratio, correction = get('loss.grpo_ratio'), get('loss.rollout_correction')
  keys.refuse(
    method == 'grpo'
    and ratio != 'token'
    and correction == 'truncate'
    and get('loss.rollout_correction_level') == 'token',
    f'loss.grpo_ratio is {ratio!r}, and takes no weights of tokens: '
    "loss.rollout_correction_level has to be 'sequence'",
  )
  has_ratio = method in ('grpo', 'token_clip') or correction != 'none'
  keys.refuse(
    get('loss.ptx_weight') and has_ratio,
    f'loss.ptx_weight is {get("loss.ptx_weight")}, and loss.method {method!r}'
    f' with loss.rollout_correction {correction!r} has ratios to what sampled,'
    ' which worked solutions do not have',
  )
  decays, weighs_none = get('loss.gamma') < 1, method == 'token_clip'
  weighs_none |= method == 'grpo' and ratio != 'token'
  keys.refuse(
    decays and (weighs_none or get('loss.ptx_weight')),
    f'loss.gamma is {get("loss.gamma")}, which weighs tokens by how many follow'
    f' them, and loss.method {method!r}, loss.grpo_ratio {ratio!r} and'
    f' loss.ptx_weight {get("loss.ptx_weight")} take only 1',
  )
  keys.refuse(
    method == 'token_clip' and correction != 'none',
    f'loss.rollout_correction is {correction!r}, and loss.method {method!r} has'
    ' the ratio to what sampled in it',
  )


def _check_overlap(get):
  method, correction = get('loss.method'), get('loss.rollout_correction')
  keys.refuse(
    correction == 'none' and method != 'token_clip',
    'rl.overlap samples under weights one iteration old, and'
    f' loss.rollout_correction is {correction!r}',
  )
  keys.refuse(
    'local' in get('rollout.workers'),
    'rl.overlap trains while workers sample, and rollout.workers,'
    f' {get("rollout.workers")}, have this process among them',
  )
  keys.refuse(
    get('optimizer.offload'),
    'optimizer.offload is for devices that decode, and with rl.overlap those'
    ' of training never do',
  )


def _check_rl(get):
  segments = get('rl.loss_segments')
  keys.refuse(
    not re.fullmatch(r'all|last(:[1-9][0-9]*)?', segments),
    f'rl.loss_segments is {segments!r}, and has to be'
    " 'all', 'last', or 'last:m' with a whole m >= 1",
  )
  keys.refuse_above(get, 'rl.problems_per_iteration', 'task.train_problems')
  if not get('rl.waits_for_group'):
    _check_arrivals(get)
  if get('rl.overlap'):
    _check_overlap(get)
  overlong = get('rl.overlong_tokens')
  keys.refuse(
    overlong and not get('rl.overlong_penalty'),
    f'rl.overlong_tokens is {overlong}, and rl.overlong_penalty is 0: nothing'
    ' grows over them',
  )
  keys.refuse_above(get, 'rl.overlong_tokens', 'rollout.max_length')
  for key in ('retry_after', 'retry_at_success_rate'):
    retry = get(f'problem_sampler.{key}')
    keys.refuse(
      retry and not get('problem_sampler.leave_out_after'),
      f'problem_sampler.{key} is {retry}, and'
      ' problem_sampler.leave_out_after is 0: nothing is left out',
    )
  keys.refuse_above(
    get, 'rl.updates_per_iteration', 'rl.problems_per_iteration'
  )


def _check_arrivals(get):
  """What needs whole groups, and cannot be where responses arrive alone."""
  baseline = get('loss.baseline')
  needs_group = {
    'rl.refill_rounds': get('rl.refill_rounds'),
    'rl.positive_replay': get('rl.positive_replay'),
    'rl.row_responses': get('rl.row_responses') > 1,
    'loss.baseline': baseline == 'leave_one_out'
    and get('loss.method') not in ('rest', 'grpo'),
  }
  for key, needs in needs_group.items():
    keys.refuse(
      needs,
      f'rl.waits_for_group is False, and {key}, {get(key)!r}, needs whole'
      ' groups',
    )


def _check_logging(get):
  names = get('logging.to')
  if names:
    keys.check_members('logging.to', names, keys.VIEWERS)
  keys.refuse(
    len(set(names)) < len(names),
    f'logging.to is {names}, and has to name each once',
  )
