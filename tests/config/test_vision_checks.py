"""What a policy cannot be shown, and parts it has not, are refused by name."""

import pathlib
import threading

import pytest
import small_checkpoint
import small_run
import small_sight

from experiments import base
from experiments import vision
from k15.config import checks
from k15.config import keys
from k15.runtime import context as context_lib

KINDS = base.get_config().task.kinds
READS = dict(stages=('pretrain_tower', 'rl'), task__name='pictures')


def refusal(**changes):
  """The sentence; 'group__key' stands for the dot."""
  config = base.get_config()
  changes = dict(
    vision__enabled=True, vision__min_pixels=256, vision__max_pixels=4096,
    sft__packing='first_fit',
  ) | changes  # fmt: skip
  for key, value in changes.items():
    group, _, name = key.partition('__')
    target = config[group] if name else config
    target[name or group] = value
  with pytest.raises(keys.ConfigError) as error:
    checks.validate(config, 1, KINDS)
  assert '\n' not in str(error.value)
  return str(error.value)


@pytest.mark.parametrize('variant', ['', 'smoke', 'whole'])
def test_the_experiment_is_valid(variant):
  checks.validate(vision.get_config(variant), 1, KINDS)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (
      dict(vision__domains=('poems',)),
      "vision.domains: 'poems' is not one of count",
    ),
    (dict(vision__levels=(0, 3)), 'vision.levels: 3 is not one of 0, 1, 2'),
    (
      dict(vision__min_pixels=9000),
      'vision.min_pixels is 9000, above vision.max_pixels',
    ),
    (dict(vision__domains=()), 'vision.domains is empty'),
    (dict(vision__image_share=1.5), 'vision.image_share is 1.5, and has to be'),
    (dict(vision__read_rate=-0.1), 'vision.read_rate is -0.1'),
    (dict(vision__merge_size=0), 'vision.merge_size is 0, and has to be >= 1'),
    *[
      (
        dict(vision__patch_buckets=buckets),
        f'vision.patch_buckets is {buckets}, and has to be numbers of patches'
        ' that rise',
      )
      for buckets in ((), (0, 16), (32, 16), (16, 16))
    ],
    (
      dict(vision__row_patches=127),
      'vision.row_patches is 127, and a prompt may have 128, the last of'
      ' vision.patch_buckets',
    ),
    (
      dict(vision__width=60, vision__num_heads=4),
      'vision.width is 60, and each of 4 heads has to divide by 4, for rows and'
      ' columns',
    ),
    *[
      (
        dict(vision__mrope_section=section),
        f'vision.mrope_section is {section}, and has to be three numbers that'
        ' can take turns and make policy.head_dim / 2 = 16',
      )
      for section in ((16,), (6, 5, 6), (18, -1, -1), (2, 7, 7))
    ],
    (
      dict(sft__packing='best_fit'),
      "sft.packing is 'best_fit', and rows with pictures need 'first_fit'",
    ),
    (
      dict(sft__trains='tower'),
      "sft.trains: 'tower' is not one of all, vision, text",
    ),
    *[
      (
        {'vision__enabled': False, 'stages': stages, f'{group}__trains': part},
        f'{group}.trains is {part!r}, and the policy sees nothing: set'
        ' vision.enabled, or begin with a checkpoint that sees',
      )
      for stages, group, part in (
        (('sft', 'rl'), 'sft', 'text'),
        (('sft', 'rl'), 'rl', 'vision'),
        (('sft', 'rl', 'short_rl'), 'rl', 'vision'),
      )
    ],
    (
      dict(policy__lora_rank=2, rl__trains='text'),
      "rl.trains is 'text', and policy.lora_rank is 2: adapters are trained"
      ' alone',
    ),
    (
      dict(stages=('pretrain_joint', 'rl'), task__name='pictures',
           pretrain_joint__epochs=2),
      'pretrain_joint.epochs is 2, and its image_share mixes examples for so'
      ' many steps: choose 0, and steps',
    ),
    (
      READS | dict(task__name='arithmetic'),
      "pretrain_tower.files is empty, and task.name 'arithmetic' has nothing to"
      " read, as 'pictures' has",
    ),
    (
      dict(stages=('cooldown',), cooldown__image_share=0.25),
      'cooldown.image_share is 0.25, cooldown.files is empty, and task.name'
      " 'arithmetic' draws no pictures, as 'pictures' does",
    ),
    (
      dict(stages=('long_context',), long_context__image_share=0.5,
           vision__enabled=False),
      'long_context.image_share is 0.5, and the policy sees nothing',
    ),
  ],
)  # fmt: skip
def test_refused(changes, sentence):
  assert sentence in refusal(**changes)


def test_what_is_not_trained_or_seen_is_not_asked_about():
  config = base.get_config()
  config.update(stages=('sft',))
  config.rl.trains = config.pretrain_joint.trains = 'vision'
  config.vision.update(width=60, num_heads=4, mrope_section=())
  checks.validate(config, 1, KINDS)


@pytest.fixture(scope='module')
def blind(tmp_path_factory) -> pathlib.Path:
  folder = tmp_path_factory.mktemp('blind')
  return small_checkpoint.write(folder / 'Qwen2.5-tiny')


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (dict(vision__enabled=True), 'vision.enabled is True, and .*-tiny sees no'),
    (dict(rl__trains='vision'), "rl.trains is 'vision', and .*-tiny sees no"),
    (
      dict(pretrain_tower__files=('a.jsonl',), stages=('pretrain_tower',)),
      "pretrain_tower.trains is 'vision', and .*-tiny sees nothing",
    ),
    (
      dict(cooldown__image_share=0.5, stages=('cooldown',)),
      'cooldown.image_share is 0.5, and .*-tiny sees nothing',
    ),
  ],
)
def test_a_text_checkpoint_has_no_tower(blind, tmp_path, changes, sentence):
  config = small_run.make_config(tmp_path, checkpoint=str(blind), **changes)
  config.rollout.update(max_prompt_length=80)
  context_lib.adopt_checkpoint(config)
  with pytest.raises(ValueError, match=sentence):
    context_lib.make(config, tmp_path / 'run', threading.Event())
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (
      dict(vision__merge_size=2, vision__patch_buckets=(16, 30)),
      'vision.patch_buckets is .16, 30., and 4 patches make a token',
    ),
    (
      dict(vision__merge_size=2, vision__row_patches=66),
      'vision.row_patches is 66, and 4 patches make a token',
    ),
  ],
)
def test_room_is_of_whole_tokens(tmp_path, changes, sentence):
  with pytest.raises(ValueError, match=sentence):
    _ = small_sight.make_context(tmp_path, **changes).shown
