"""The rows are the keys of `experiments/base.py`, and say enough of each."""

import pytest

from experiments import base
from k15.config import keys
from k15.config import stages

LEAVES = keys.leaves(base.get_config())


def test_a_row_for_every_key_and_a_key_for_every_row():
  assert set(keys.KEYS) == set(LEAVES)


@pytest.mark.parametrize('key', LEAVES)
def test_what_a_row_says_fits_the_type(key):
  rule, default = keys.KEYS[key].rule, LEAVES[key]
  is_number = type(default) in (int, float)
  has_numbers = isinstance(rule, str) and rule.startswith(('>', '<'))
  assert is_number == has_numbers, 'a number has bounds, and nothing else has'
  if isinstance(rule, tuple) or rule == keys.TEXT:
    assert isinstance(default, str)
  keys.judge({**LEAVES, key: default}.get)


# Empty by default, as paths are, and yet they name no file.
NO_PATHS = {
  'long_cot_examples.server', 'long_cot_examples.server_model',
  'cooldown_questions.server', 'cooldown_questions.server_model',
  'mesh.coordinator', 'reward.routes', 'reward.services', 'reward.truth',
  'reward_model.classic_services', 'reward_model.cot_services',
  'reward_model.cot_server', 'reward_model.cot_server_model', 'cot_rm.weights',
  'policy.product_dtype', 'rollout.cache_dtype',
  'rollout.domain_max_lengths', 'rollout.dtype', 'rollout.mesh',
  'rollout.mesh_rules', 'rollout.workers',
  'evaluation.rewards', 'evaluation.templates', 'task.system_prompt',
  'vision.deepstack', 'vision.full_layers', 'pretrain_text.weights',
  'pretrain_tower.weights', 'pretrain_joint.weights',
  'tokenizer.words', 'sft.weights', 'sft_long.weights', 'long_cot.weights',
  'shortest.weights', 'pretrain.weights', 'cooldown.weights',
  'logging.name', 'long_context.weights', 'long_context.measured_lengths',
  'task.template',
  'problem_sampler.late_domains',
  'rl_all.late_domains', 'rejection_sft.weights', 'rejection_sft.script',
}  # fmt: skip


def test_every_path_of_a_config_is_known():
  """A key that names a file, and is not marked, would not be looked for."""
  empty = {key for key, value in LEAVES.items() if value in ('', ())}
  paths = {key for key, row in keys.KEYS.items() if row.path}
  assert paths | NO_PATHS == empty
  assert not paths & NO_PATHS


def test_readers_are_stages():
  for key, row in keys.KEYS.items():
    assert set(row.readers) <= set(stages.STAGES), key
    assert not row.readers or row.path == keys.INPUT, key


def test_a_new_key_is_a_line_of_base_and_a_row(monkeypatch):
  row = keys.Key('>= 0 and <= 1', free=True)
  monkeypatch.setitem(keys.KEYS, 'loss.new', row)
  with pytest.raises(keys.ConfigError, match='^loss.new is missing$'):
    keys.judge(keys.get_from(base.get_config()))
  values = {**LEAVES, 'loss.new': 2.0}
  with pytest.raises(keys.ConfigError, match='new is 2.0, and has to'):
    keys.judge(values.get)


def test_a_star_stands_for_files_of_a_folder(tmp_path):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a/x-1.jsonl').write_text('{}')
  keys.refuse_missing('sft.files', [str(tmp_path / 'a/x-*.jsonl')])
  # No reader looks for stars in folders, and two stars are no pattern.
  for name in ('*/x-1.jsonl', 'a/y-*.jsonl', 'a/x**.jsonl'):
    with pytest.raises(keys.ConfigError, match='no file'):
      keys.refuse_missing('sft.files', [str(tmp_path / name)])
