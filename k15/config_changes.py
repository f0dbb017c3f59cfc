"""What a resumed run may change: keys by the stages that read them."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from k15 import config_rules
from k15 import config_stages

# What a resumed run may change: how long, how often, on how many devices and
# in what pieces; never what is computed.
FREE_ON_RESUME = (
  'rl.iterations', 'rl.log_trajectories', '*.log_every', 'evaluation.*',
  # Where files lie; `stage_inputs` refuses other content.
  'task.train_path', 'task.held_out_path', 'sft.files', 'sft_long.files',
  'long2short.short_model', 'short_rl.candidates', 'checkpoint',
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
  'reward_model.*': (),
  'short_rl.*': ('short_rl',),
}


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
  begun: Sequence[str] = config_stages.STAGES,
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
  config_rules.refuse(
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
