"""Checks of what a policy sees, and of which part of it a stage trains."""

from collections.abc import Callable
from typing import Any

from k15.config import keys
from k15.config import stages as stages_lib


def check(get: Callable[[str], Any]) -> None:
  """Refuses pictures that no policy could be shown, and parts it has not.

  Raises:
    ConfigError: names the key, its value and what it has to be.
  """
  _check_problems(get)
  _check_room(get)
  if get('vision.enabled'):
    _check_packing(get)
  # A checkpoint has a tower of its own, and none is drawn.
  if get('vision.enabled') and not get('checkpoint'):
    keys.refuse(
      get('stages')[0] == 'rl' and get('task.name') == 'file',
      "checkpoint is '', and stage 'rl' would ask a policy about pictures whose"
      ' tower is of random weights: name one, or let other stages go before',
    )
    _check_tower(get)
    _check_family(get)
  _check_parts(get)
  _check_shares(get)


def _check_problems(get):
  keys.check_members(
    'vision.domains', get('vision.domains'), keys.PICTURE_DOMAINS
  )
  keys.check_members('vision.levels', get('vision.levels'), (0, 1, 2))
  if get('vision.max_pixels'):
    keys.refuse_above(get, 'vision.min_pixels', 'vision.max_pixels')


def _check_room(get):
  buckets, room = get('vision.patch_buckets'), get('vision.row_patches')
  keys.refuse(
    not buckets or buckets[0] < 1 or sorted(set(buckets)) != list(buckets),
    f'vision.patch_buckets is {buckets}, and has to be numbers of patches that'
    ' rise',
  )
  keys.refuse(
    room < buckets[-1],
    f'vision.row_patches is {room}, and a prompt may have {buckets[-1]}, the'
    ' last of vision.patch_buckets',
  )


def _check_tower(get):
  width, heads = get('vision.width'), get('vision.num_heads')
  keys.refuse(
    width % (4 * heads),
    f'vision.width is {width}, and each of {heads} heads has to divide by 4,'
    ' for rows and columns',
  )
  section, half = get('vision.mrope_section'), get('policy.head_dim') // 2
  takes_turns = get('vision.family') == 'qwen3_vl'
  keys.refuse(
    len(section) != 3 or min(section) < 0 or sum(section) != half
    or takes_turns and 3 * max(section[1:]) > half + 2,
    f'vision.mrope_section is {section}, and has to be three numbers that'
    f'{" can take turns and" * takes_turns} make policy.head_dim / 2 = {half}',
  )  # fmt: skip
  for key in ('vision.min_pixels', 'vision.max_pixels'):
    keys.refuse(
      not get(key), f"{key} is 0, and checkpoint is '', which could say it"
    )


def _check_family(get):
  """What models are saved in: no family has another text or tower."""
  family, layers = get('vision.family'), get('vision.num_layers')
  text = get('policy.qkv_bias'), get('policy.qk_norm')
  expected = (False, True) if family == 'qwen3_vl' else (True, False)
  keys.refuse(
    text != expected,
    f'policy.qkv_bias and policy.qk_norm are {text}, and beside a tower of'
    f' vision.family {family!r} have to be {expected}',
  )
  heads = get('policy.num_heads') * get('policy.head_dim')
  keys.refuse(
    family != 'qwen3_vl' and heads != get('policy.d_model'),
    f'policy.d_model is {get("policy.d_model")}, and beside a tower of'
    f' vision.family {family!r} has to be that of all heads, {heads}',
  )
  keys.refuse(
    family == 'qwen2_vl' and get('vision.d_ff') % get('vision.width'),
    f'vision.d_ff is {get("vision.d_ff")}, and of vision.family {family!r} has'
    f' to be a multiple of vision.width, {get("vision.width")}',
  )
  deep = list(get('vision.deepstack'))
  keys.refuse(
    deep != sorted(set(deep)) or len(deep) > get('policy.num_layers'),
    f'vision.deepstack is {deep}, and has to rise, for no more than the'
    f' {get("policy.num_layers")} of policy.num_layers',
  )
  for key in ('vision.deepstack', 'vision.full_layers'):
    keys.refuse(
      any(not 0 <= i < layers for i in get(key)),
      f'{key} is {get(key)}, and blocks are numbered from 0 to {layers - 1}',
    )


def _check_packing(get):
  for stage in stages_lib.with_curves('sft'):
    keys.refuse(
      stage in get('stages') and get(f'{stage}.packing') != 'first_fit',
      f"{stage}.packing is 'best_fit', and rows with pictures need 'first_fit'",
    )


def refuse_parts(config: Any) -> None:
  """Refuses to train a part, or pictures, of a checkpoint that sees nothing.

  What it sees is known only when it is read.
  """
  get = keys.get_from(config)
  for key, value in (*_parts(get), *_shares(get)):
    keys.refuse(
      True, f'{key} is {value!r}, and {get("checkpoint")} sees nothing'
    )


def _parts(get):
  """Keys of the stages that train a part, and which; all of RL have one key."""
  rl, stages = stages_lib.with_curves('rl'), get('stages')
  groups = ['rl' if stage in rl else stage for stage in stages]
  having = ('rl', *stages_lib.with_curves('sft'))
  found = {f'{g}.trains': get(f'{g}.trains') for g in groups if g in having}
  return [(key, part) for key, part in found.items() if part != 'all']


def _shares(get):
  """Keys of the stages that learn from documents with pictures, and values."""
  stages = [s for s in ('cooldown', 'long_context') if s in get('stages')]
  found = {key: get(key) for key in (f'{s}.image_share' for s in stages)}
  return [(key, share) for key, share in found.items() if share]


def _check_shares(get):
  for key, share in _shares(get):
    stage = key.partition('.')[0]
    keys.refuse(
      not (get('vision.enabled') or get('checkpoint')),
      f'{key} is {share}, and the policy sees nothing: set vision.enabled, or'
      ' begin with a checkpoint that sees',
    )
    keys.refuse(
      not get(f'{stage}.files') and get('task.name') != 'pictures',
      f'{key} is {share}, {stage}.files is empty, and task.name'
      f" {get('task.name')!r} draws no pictures, as 'pictures' does",
    )


def _check_parts(get):
  sees, rank = get('vision.enabled') or get('checkpoint'), 'policy.lora_rank'
  for key, part in _parts(get):
    keys.refuse(
      not sees,
      f'{key} is {part!r}, and the policy sees nothing: set vision.enabled, or'
      ' begin with a checkpoint that sees',
    )
    keys.refuse(
      get(rank),
      f'{key} is {part!r}, and {rank} is {get(rank)}: adapters are trained'
      ' alone',
    )
  keys.refuse(
    'pretrain_joint' in get('stages') and get('pretrain_joint.epochs'),
    f'pretrain_joint.epochs is {get("pretrain_joint.epochs")}, and its'
    ' image_share mixes examples for so many steps: choose 0, and steps',
  )
  for stage in (s for s in stages_lib.READING if s in get('stages')):
    keys.refuse(
      not get(f'{stage}.files') and get('task.name') != 'pictures',
      f'{stage}.files is empty, and task.name {get("task.name")!r} has nothing'
      " to read, as 'pictures' has",
    )
