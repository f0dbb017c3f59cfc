"""One row a key of `experiments/base.py`: what it may hold, and who cares.

A new key is a line there, with its default and its meaning, and a row here; a
test compares the two, both ways.  What a value may be beside others is said by
`checks`, which stages read a group by `stages`.
"""

import dataclasses
import functools
import math
import operator
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from k15.config import hub_names

# Its type is all there is to say, or a sentence of `checks` says more.
ANY = ''
TEXT = 'not empty'
# What new weights may do to responses in slots: see `Scheduler.set_params`.
LIVE_REQUESTS = ('interrupt', 'drain', 'in_flight')
# Questions that can be left out of a prompt set: see `curation/labels.py`.
QUESTION_TYPES = ('multiple choice', 'true/false', 'proof')
# Kinds of pairs that reward models learn from: see `data/answer_pairs.py`.
PAIR_KINDS = ('fraction', 'decimal', 'expression', 'unit', 'ordering')
# Problems with pictures: see `data/picture_problems.py`.
PICTURE_DOMAINS = (
  'count', 'relation', 'chart', 'pattern', 'interaction', 'text', 'code',
  'table', 'digits', 'photographs', 'coins', 'stocks',
)  # fmt: skip
# What a stage trains of a policy: see `model/parts.py`.
PARTS = ('all', 'vision', 'text')
# Where a run is looked at: see `training/viewers.py`.
VIEWERS = ('tensorboard', 'wandb', 'trackio', 'mlflow')
# Kinds of paths.  Of what a run learns from, a fingerprint is kept, and other
# content refused; what is kept out of training may change as long as the same
# problems remain; tokens, certificates and outputs are nobody's input.
INPUT, KEPT_OUT, OTHER = 'input', 'kept out', 'other'
_OPTIMIZERS = ('adam', 'muon', 'sgd')
_NORMS = ('seq_sum', 'const_max_len', 'seq_mean', 'token_mean')
_SHARE = '>= 0 and <= 1'
_COMPARE = {
  '>': operator.gt,
  '>=': operator.ge,
  '<': operator.lt,
  '<=': operator.le,
}


class ConfigError(ValueError):
  """A configuration that cannot run; the message is one sentence."""


@dataclasses.dataclass(frozen=True)
class Key:
  """A row.

  Attributes:
    rule: of a number, '>= 0 and < 1', which is always finite; all choices of a
      text; `TEXT` or `ANY`.
    free: a resumed run may change it: how long, how often, on how many devices,
      in what pieces or where files lie; never what is computed.
    path: INPUT, KEPT_OUT or OTHER if it names files or folders.
    readers: of an INPUT, the stages that read it; none: all do, be it to know
      what not to train on.
    model: of a path, it is a model's, not a file of data.
    program: it changes the programs that are compiled, or their memory.
    ours: whoever launches a run on several hosts sets it.
  """

  rule: str | tuple[str, ...] = ANY
  free: bool = False
  path: str = ''
  readers: tuple[str, ...] = ()
  model: bool = False
  program: bool = False
  ours: bool = False


def _group(name, rows, **columns):
  """Rows by whole key; `columns` hold for all of them."""
  found = {}
  for key, row in rows.items():
    row = row if isinstance(row, Key) else Key(row)
    found[f'{name}.{key}'] = dataclasses.replace(row, **columns)
  return found


def schedule(**more: Any) -> dict[str, Any]:
  """Rows of a stage with a number of steps and a cosine of learning rates."""
  return more | dict(
    steps='>= 0',
    optimizer=_OPTIMIZERS,
    learning_rate='> 0',
    end_learning_rate='>= 0',
    warmup_steps='>= 0',
    log_every=Key('>= 1', free=True),
  )


def supervised(name: str, **more: Any) -> dict[str, Key]:
  """Rows of a stage of supervised fine-tuning, and more."""
  rows = schedule(
    # `stage_inputs` refuses other content.
    files=Key(free=True, path=INPUT, readers=(name,)),
    weights=ANY,
    loss_turns=('all', 'last'),
    drop_too_long=ANY,
    packing=('best_fit', 'first_fit'),
    row_tokens='>= 0',
    epochs='>= 0',
    batch_tokens='>= 1',
    trains=Key(PARTS, program=True),
    **more,
  )
  return _group(name, rows)


def documents(name: str, **more: Any) -> dict[str, Key]:
  """Rows of a stage that learns from documents, and more."""
  rows = schedule(
    files=Key(free=True, path=INPUT, readers=(name,)),
    weights=ANY,
    whole_documents=ANY,
    batch_tokens='>= 1',
    **more,
  )
  return _group(name, rows)


# Groups of which a resumed run may change every key, those of older versions
# too.  Curation refuses by itself once RL has drawn from its prompts.
FREE_GROUPS = ('curation', 'evaluation', 'mesh', 'saving')
_TASK = dict(
  name=(
    'arithmetic', 'word_problems', 'equal_answers', 'facts', 'pictures', 'file',
  ),
  train_path=Key(free=True, path=INPUT),
  held_out_path=Key(free=True, path=INPUT),
  prompt_field=TEXT, answer_field=TEXT, response_field=TEXT, domain_field=TEXT,
  discipline_field=TEXT, difficulty_field=TEXT, hardest='> 0',
  drop_unusable=ANY, kinds=ANY, min_difficulty=_SHARE, max_difficulty=_SHARE,
  give_up_rate=_SHARE, guess_rate=_SHARE, slip_rate=_SHARE, check_rate=_SHARE,
  prompt_suffix=ANY, use_chat_template=ANY, system_prompt=ANY, template=ANY,
  shuffle=ANY, thinking=('none', 'think', 'answer'), formless_rate=_SHARE,
  mixing_rate=_SHARE,
  train_problems='>= 1', held_out_problems='>= 1', answer_marker=TEXT,
  min_steps='>= 1 and <= 4', max_steps='>= 1 and <= 4',
  max_distractors='>= 0 and <= 2', new_templates_share=_SHARE,
)  # fmt: skip
_FACTS = dict(
  table='>= 0 and < 4294967296', places='>= 3 and <= 12',
  roads='>= 1 and <= 12', min_steps='>= 1 and <= 12',
  max_steps='>= 1 and <= 12', lands='>= 0 and <= 4', luck=_SHARE,
  easy_right=ANY, hard_right=ANY, hard_facts=_SHARE,
  hard_share=_SHARE, held_out_hard_share=_SHARE, hard_steps='>= 1',
  check_rate=_SHARE, notice_rate=_SHARE, again_rate=_SHARE,
)  # fmt: skip
_VISION = dict(
  enabled=ANY, family=('qwen3_vl', 'qwen2_5_vl', 'qwen2_vl'),
  num_layers='>= 1', width='>= 1', num_heads='>= 1', d_ff='>= 1',
  patch_size='>= 1', merge_size='>= 1', temporal_size='>= 1', grid='>= 1',
  deepstack=ANY, window='>= 1', full_layers=ANY, mrope_section=ANY,
  image_share=_SHARE, rl_image_share=_SHARE, domains=ANY, levels=ANY,
  at_once_rate=_SHARE, read_rate=_SHARE, misread_rate=_SHARE,
  min_pixels='>= 0', max_pixels='>= 0', patch_buckets=ANY, cache_bytes='>= 0',
  row_patches='>= 1',
)  # fmt: skip
_CURATION = dict(
  evaluation_paths=Key(path=KEPT_OUT),
  duplicate_similarity='> 0 and <= 1', variant_similarity=_SHARE,
  excluded_types=ANY,
  tagger=('rules', 'model'),
  samples='>= 0', temperature='> 0', max_pass_rate=_SHARE, guesses='>= 0',
  guess_suffix=ANY, guess_prefix=ANY, guess_max_length='>= 1',
  max_per_tag='>= 0', max_tag_share='> 0 and <= 1', examples='>= 0',
)  # fmt: skip
_POLICY = dict(
  vocab_size='>= 0', num_layers='>= 1', d_model='>= 1', num_heads='>= 1',
  num_kv_heads='>= 1', head_dim='>= 1', d_ff='>= 1', rope_theta='> 0',
  rope_scaling=('none', 'llama3', 'yarn'),
  rope_factor='>= 1', rope_original_length='>= 1', rope_low_freq_factor='> 0',
  rope_high_freq_factor='> 0', rope_beta_fast='> 0', rope_beta_slow='> 0',
  rope_truncate=ANY, rope_attention_factor='>= 0', rms_norm_eps='> 0',
  qkv_bias=ANY, qk_norm=ANY, tie_embeddings=ANY,
  lora_rank='>= 0', lora_alpha='> 0', lora_targets=ANY,
  dtype=('float32', 'bfloat16'),
  param_dtype=('float32', 'bfloat16'),
  product_dtype=('', 'bfloat16'),
  scan_layers=ANY,
  remat=Key(('none', 'full', 'dots'), free=True),
  logprob_chunk=Key('>= 1', free=True),
  attention=Key(('auto', 'plain', 'chunked', 'splash', 'cudnn'), free=True),
  cache_block=Key('>= 1', free=True),
)  # fmt: skip
_MESH = dict(
  data='>= -1', fsdp='>= -1', tensor='>= -1', context='>= -1', rules=ANY,
  coordinator=Key(ours=True),
  num_processes=Key('>= -1', ours=True),
  process_id=Key('>= -1', ours=True),
)  # fmt: skip
_ASKED = dict(
  samples='>= 1', most_per_problem='>= 1', temperature='> 0', call_size='>= 1',
  server=ANY,
  server_model=Key(free=True),
  server_threads=Key('>= 1', free=True),
  server_seconds=Key('> 0', free=True),
)  # fmt: skip
_LONG_COT_EXAMPLES = _ASKED | dict(
  prompt=('engineered', 'plain'),
  least_processes='>= 0 and <= 4',
  problems='>= 1',
)
_COOLDOWN_QUESTIONS = _ASKED | dict(
  problems='>= 0',
  model=Key(free=True, path=INPUT, readers=('cooldown',), model=True),
)
_RL = dict(
  iterations=Key('>= 0', free=True),
  problems_per_iteration=Key('>= 1', program=True),
  group_size=Key('>= 1', program=True),
  updates_per_iteration=Key('>= 1', program=True),
  epochs=Key('>= 1', program=True),
  row_responses=Key('>= 0', free=True, program=True),
  trains=Key(PARTS, program=True),
  loss_segments=ANY, refill_rounds='>= 0', max_group_age='>= 1',
  waits_for_group=ANY, overlap=ANY,
  positive_replay='>= 0', positive_replay_start='>= 0',
  repetition_penalty='>= 0', overlong_penalty='>= 0', overlong_tokens='>= 0',
  log_trajectories=Key('>= 0', free=True),
)  # fmt: skip
_LONG2SHORT = dict(
  problems='>= 1', samples='>= 1',
  responses=Key(free=True, path=OTHER),
  longer='> 1',
  short_model=Key(free=True, path=INPUT, readers=('merge',), model=True),
  short_share=_SHARE,
)  # fmt: skip
_REJECTION = dict(
  problems='>= 1', samples='>= 1', general_share='>= 0 and < 1',
  from_checkpoint=ANY, script=('', 'latin', 'cjk'), least_script_share=_SHARE,
  longest_paragraph='>= 0', drop_code_blocks=ANY,
)  # fmt: skip
_RL_ALL = dict(
  iterations=Key('>= 0', free=True), temperature='> 0', late_domains=ANY
)
_SHORT_RL = dict(
  candidates=Key(free=True, path=INPUT, readers=('short_rl',), model=True),
  token_price='> 0',
  iterations=Key('>= 0', free=True),
  max_length='>= 1', length_weight='>= 0 and < 2',
)  # fmt: skip
_ROLLOUT = dict(
  num_slots='>= 1', tokens_per_call='>= 1', max_prompt_length='>= 1',
  max_length='>= 1', token_budget='>= 1', prefill_batch='>= 1',
  temperature='> 0', end_temperature='> 0', decay_iterations='>= 0',
  domain_max_lengths=ANY,
  mesh=Key(free=True),
  mesh_rules=Key(free=True),
  dtype=('', 'float32', 'bfloat16'),
  cache_dtype=('', 'float32', 'bfloat16', 'int8'),
  repetition_count='>= 0', repetition_max_period='>= 1',
  repetition_min_tokens='>= 1',
  workers=Key(free=True, ours=True),
  live_requests=Key(LIVE_REQUESTS, free=True),
  silence_seconds=Key('> 0', free=True),
  patience_seconds=Key('> 0', free=True),
  token_file=Key(free=True, path=OTHER),
  tls_authority=Key(free=True, path=OTHER),
  tls_certificate=Key(free=True, path=OTHER),
  tls_key=Key(free=True, path=OTHER),
  max_requests=Key('>= 1', free=True),
  max_tokens=Key('>= 1', free=True),
  # One shard of weights, 1 MiB, comes with its description.
  max_message_bytes=Key('>= 2097152 and <= 1073741824', free=True),
)  # fmt: skip
_REWARD = dict(
  default=ANY, routes=ANY, cut_is_wrong=ANY, truth=ANY,
  threads=Key('>= 1', free=True),
  services=Key(free=True, ours=True),
  token_file=Key(free=True, path=OTHER),
  sandbox_workers=Key('>= 1', free=True),
  sandbox_lowest=Key(('namespaces', 'bwrap', 'seccomp', 'rlimits'), free=True),
  program_seconds='> 0',
)  # fmt: skip
_REWARD_MODEL = dict(
  files=Key(free=True, path=INPUT, readers=('classic_rm', 'cot_rm')),
  kinds=ANY, pairs='>= 1', held_out='>= 1',
  classic=Key(free=True, path=INPUT, model=True),
  cot=Key(free=True, path=INPUT, model=True),
  classic_services=Key(free=True), cot_services=Key(free=True),
  cot_server=Key(free=True), cot_server_model=ANY,
  server_seconds=Key('> 0', free=True),
  sees=('answer', 'response'),
  max_prompt_length='>= 1', max_length='>= 1', temperature='> 0',
)  # fmt: skip
_LOSS = dict(
  method=Key(
    ('mirror_descent', 'reinforce', 'rest', 'grpo', 'token_clip'), program=True
  ),
  tau='>= 0',
  baseline=('mean', 'tau_log_z', 'leave_one_out', 'none'),
  gamma=Key('> 0 and <= 1', program=True),
  pg_norm=_NORMS, reg_norm=_NORMS, keep_zero_variance_groups=ANY,
  negative_gradients=('keep', 'drop', 'discard'),
  negative_discard_rate=_SHARE, least_format=_SHARE,
  rollout_correction=('none', 'truncate', 'mask'),
  rollout_correction_level=('token', 'sequence'),
  rollout_correction_cap='>= 1',
  ptx_weight=Key('>= 0', program=True), ptx_examples=Key('>= 1', program=True),
  grpo_clip='> 0',
  grpo_beta=Key('>= 0', program=True),
  grpo_clip_high='>= 0', grpo_divides_by_std=ANY,
  grpo_ratio=('token', 'sequence', 'sequence_mean'),
  grpo_reference_interval='>= 1', token_clip_low='< 0', token_clip_high='> 0',
)  # fmt: skip
_LENGTH_REWARD = dict(
  weight='>= 0 and < 2', start_iteration='>= 0',
  toggle_iterations='>= 0', toggle_accuracy=_SHARE,
  toggle_percentile='>= 0 and <= 100',
)  # fmt: skip
_PROBLEM_SAMPLER = dict(
  strategy=('uniform', 'curriculum', 'prioritized'),
  success_decay=_SHARE, unseen_success_rate=_SHARE, min_weight='> 0 and <= 1',
  leave_out_after='>= 0', retry_after='>= 0', retry_at_success_rate=_SHARE,
  late_domains=ANY,
  curriculum_iteration='>= 0',
  hard_below_success_rate=_SHARE,
)  # fmt: skip
_OPTIMIZER = dict(
  name=Key(_OPTIMIZERS, program=True),
  learning_rate='> 0', warmup_updates='>= 0', beta1='>= 0 and < 1',
  beta2='>= 0 and < 1', eps='> 0', weight_decay='>= 0', clip_norm='>= 0',
  muon_adam_share='> 0', muon_embeddings=Key(),
  reset_every_iteration=Key(program=True),
  micro_batch_rows=Key('>= 1', free=True, program=True),
  offload=Key(free=True, program=True),
)  # fmt: skip
_EVALUATION = dict(
  every='>= 0', samples='>= 1', temperature='>= 0', top_p='> 0 and <= 1',
  last_evaluations='>= 1', last_samples='>= 0', last_greedy=ANY,
  sets=Key(path=KEPT_OUT),
  rewards=ANY, templates=ANY, problems='>= 0', before=ANY, pass_at=ANY,
  vote_inputs='>= 0',
  interval='> 0 and < 1', resamples='>= 1',
)  # fmt: skip
KEYS = {
  'seed': Key('>= 0 and < 4294967296'),
  # Of its tokenizer; its weights are those that a stage begins with.
  'checkpoint': Key(free=True, path=INPUT, model=True, program=True),
  'stages': Key(),
  **_group('task', _TASK),
  **_group('facts', _FACTS),
  **_group('vision', _VISION, program=True),
  **_group('tokenizer', dict(words=ANY), program=True),
  **_group('policy', _POLICY, program=True),
  **_group('rl', _RL),
  **_group('loss', _LOSS),
  **_group('length_reward', _LENGTH_REWARD),
  **_group('problem_sampler', _PROBLEM_SAMPLER),
  **_group('optimizer', _OPTIMIZER),
  **_group('rollout', _ROLLOUT, program=True),
  **_group('reward', _REWARD),
  **_group('evaluation', _EVALUATION),
  **_group('curation', _CURATION),
  **_group(
    'documents',
    dict(
      number='>= 1',
      held_out_share='>= 0 and < 1',
      held_out_tokens='>= 1',
      held_out_every='>= 1',
    ),
  ),
  **documents('pretrain', row_tokens='>= 2'),
  **documents('cooldown', row_tokens='>= 2', image_share=_SHARE),
  **_group('cooldown_questions', _COOLDOWN_QUESTIONS),
  **documents(
    'long_context',
    long_files=Key(free=True, path=INPUT, readers=('long_context',)),
    lengths=ANY,
    full_attention_share=_SHARE,
    image_share=_SHARE,
    rope_theta='> 0',
    needles='>= 0',
    measured_lengths=ANY,
  ),
  **supervised('pretrain_text', num_examples='>= 1'),
  **supervised('pretrain_tower', num_examples='>= 1'),
  **supervised(
    'pretrain_joint', num_examples='>= 1', image_share=_SHARE, image_ramp=_SHARE
  ),
  **supervised('sft', num_examples='>= 1'),
  **supervised('sft_long'),
  **supervised('long_cot'),
  **_group('long_cot_examples', _LONG_COT_EXAMPLES),
  **supervised('rejection_sft', **_REJECTION),
  **_group('rl_all', _RL_ALL),
  **_group('long2short', _LONG2SHORT),
  **supervised('shortest'),
  **_group('dpo', schedule(batch_pairs='>= 1', beta='> 0')),
  **_group('short_rl', _SHORT_RL),
  **_group('reward_model', _REWARD_MODEL),
  **_group('classic_rm', schedule(batch_tokens='>= 1', text_weight='>= 0')),
  **supervised('cot_rm'),
  **_group(
    'saving',
    dict(
      every_iterations='>= 1', every_sft_steps='>= 1', keep='>= 1', journal=ANY
    ),
  ),
  **_group('logging', dict(to=ANY, project=TEXT, name=ANY), free=True),
  **_group('mesh', _MESH, program=True),
}


def judge(get: Callable[[str], Any]) -> None:
  """Refuses the first value that breaks the rule of its key.

  Raises:
    ConfigError: names the key, its value and what it has to be.
  """
  for key, row in KEYS.items():
    value = get(key)
    if isinstance(row.rule, tuple):
      check_members(key, (value,), row.rule)
    elif row.rule == TEXT:
      refuse(not value, f"{key} is '', and has to be a text")
    elif row.rule:
      check_number(key, value, row.rule)


def check_number(key: str, value: Any, rule: str) -> None:
  """Refuses what is no finite number, or breaks a rule: '>= 0 and < 1'."""
  is_number = isinstance(value, int | float) and math.isfinite(value)
  for part in rule.split(' and '):
    sign, bound = part.split()
    holds = is_number and _COMPARE[sign](value, float(bound))
    refuse(not holds, f'{key} is {value}, and has to be {rule}')


def check_members(key: str, values: Sequence, choices: Sequence) -> None:
  """Refuses no values at all, and one that is not among the choices."""
  known = ', '.join(str(choice) or "''" for choice in choices)
  refuse(not values, f'{key} is empty; it holds some of {known}')
  for value in values:
    hint = " (a tuple is written \"('a', 'b')\")" if ',' in str(value) else ''
    refuse(
      value not in choices, f'{key}: {value!r} is not one of {known}{hint}'
    )


def refuse(condition: Any, sentence: str) -> None:
  """Raises the sentence as a `ConfigError` where the condition holds."""
  if condition:
    raise ConfigError(sentence)


def refuse_above(get: Callable[[str], Any], low: str, high: str) -> None:
  """Refuses a key whose value is above another's."""
  refuse(
    get(low) > get(high), f'{low} is {get(low)}, above {high}, {get(high)}'
  )


def refuse_missing(key: str, paths: Iterable[str]) -> None:
  """Refuses a key that names a file which is not there.

  A star in the name of a file stands for several; names of the hub are asked
  for elsewhere.
  """
  for path in paths:
    here = pathlib.Path(str(path))
    found = here.exists() or _stands_for_some(here)
    refuse(not found and not hub_names.parse(path), f'{key}: no file {path!r}')


def _stands_for_some(path):
  """Whether files have the name, as `files.matching` reads its stars."""
  try:
    return '*' in path.name and any(path.parent.glob(path.name))
  except ValueError:  # No pattern: two stars within a name.
    return False


def refuse_no_directory(key: str, path: Any) -> None:
  """Refuses a key whose value is no directory here, and no model of the hub."""
  is_text = isinstance(path, str)
  found = is_text and (os.path.isdir(path) or hub_names.parse(path, True))
  refuse(not found, f'{key}: no directory {path!r}')


def is_address(text: Any) -> bool:
  """Whether it is 'host:port'."""
  host, _, port = str(text).rpartition(':')
  return bool(host) and port.isdigit() and 0 < int(port) < 1 << 16


def get_from(config: Mapping[str, Any]) -> Callable[[str], Any]:
  """What gives the value of a key, 'loss.tau', or says that it is missing."""

  def get(key):
    try:
      return functools.reduce(operator.getitem, key.split('.'), config)
    except (KeyError, TypeError):
      raise ConfigError(f'{key} is missing') from None

  return get


def leaves(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Values of a config or of its JSON by their whole keys, 'loss.tau'."""
  flat = {}
  for key, value in tree.items():
    if is_group(value):
      flat |= leaves(value, f'{prefix}{key}.')
    else:
      flat[prefix + key] = value
  return flat


def is_group(value: Any) -> bool:
  """Whether it holds keys of its own: a ConfigDict is no Mapping."""
  return hasattr(value, 'items')
