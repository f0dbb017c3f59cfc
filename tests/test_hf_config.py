"""config.json: read, written, and refused by name."""

import json

import hf_checkpoints
import pytest

from k15 import hf_config
from k15 import policy
from k15 import rope

CASES = hf_checkpoints.CASES
GENERATION = hf_config.Generation(max_length=256, eos_ids=(1,))


def write(directory, config):
  (directory / 'config.json').write_text(json.dumps(config))
  return directory


def test_the_published_shape_of_qwen2_5_7b(tmp_path):
  # The values of Qwen2.5-7B's config.json; heads of 3584 / 28 = 128.
  raw = dict(
    architectures=['Qwen2ForCausalLM'], model_type='qwen2', hidden_act='silu',
    hidden_size=3584, intermediate_size=18944, max_position_embeddings=131072,
    max_window_layers=28, num_attention_heads=28, num_hidden_layers=28,
    num_key_value_heads=4, rms_norm_eps=1e-06, rope_theta=1000000.0,
    sliding_window=131072, tie_word_embeddings=False, torch_dtype='bfloat16',
    use_mrope=False, use_sliding_window=False, vocab_size=152064,
    bos_token_id=151643, eos_token_id=151643,
  )  # fmt: skip
  assert hf_config.read_config(write(tmp_path, raw)) == policy.PolicyConfig(
    vocab_size=152064, num_layers=28, d_model=3584, num_heads=28,
    num_kv_heads=4, head_dim=128, d_ff=18944, rope_theta=1e6,
    rms_norm_eps=1e-6, qkv_bias=True, qk_norm=False, tie_embeddings=False,
  )  # fmt: skip
  given = dict(eos_token_id=[151645, 151643], pad_token_id=151643)
  (tmp_path / 'generation_config.json').write_text(json.dumps(given))
  assert hf_config.read_generation(tmp_path) == hf_config.Generation(
    131072, (151645, 151643), bos_id=151643, pad_id=151643
  )


def test_older_and_newer_forms_of_rope_are_the_same(tmp_path):
  old = CASES['llama3']
  new = {key: old[key] for key in old if not key.startswith('rope')}
  new['rope_parameters'] = old['rope_scaling'] | dict(rope_theta=5e5)
  config = hf_config.read_config(write(tmp_path, old))
  assert hf_config.read_config(write(tmp_path, new)) == config
  assert config.rope_scaling == 'llama3'
  assert config.rope_theta == 5e5
  assert config.rope_factor == 8
  assert config.rope_original_length == 64


@pytest.mark.parametrize('name', CASES)
def test_written_and_read_again_is_the_same(name, tmp_path):
  config = hf_config.read_config(write(tmp_path, CASES[name]))
  raw, generation = hf_config.to_json(config, GENERATION, 'float32')
  again = hf_config.read_config(write(tmp_path, raw))
  # The magnitude of yarn is written out: 0.1 ln 4 + 1 = 1.1386294.
  if config.rope_scaling == 'yarn':
    assert again.rope_attention_factor == pytest.approx(1.1386294)
    assert rope.turns_of(again)[1] == rope.turns_of(config)[1]
  else:
    assert again == config
  assert hf_config.read_generation(tmp_path) == GENERATION
  assert generation == dict(eos_token_id=1)
  assert raw['architectures'] == CASES[name]['architectures']


REFUSED = [
  (dict(architectures=['MixtralForCausalLM']), "the architecture is .'Mixtral"),
  (dict(hidden_act='gelu'), "hidden_act 'gelu' is not supported"),
  (dict(use_sliding_window=True), 'use_sliding_window True'),
  (dict(layer_types=['sliding_attention']), 'sliding_attention'),
  (dict(attention_bias=True), 'attention_bias True'),
  (dict(quantization_config=dict(bits=4)), "quantization_config {'bits': 4}"),
  (dict(vocab_size=None), 'vocab_size is None, and has to be an int >= 1'),
  (dict(head_dim=0), 'head_dim is 0'),
  (dict(rope_scaling=dict(type='linear', factor=2)), "rope scaling 'linear'"),
  (dict(rope_scaling=dict(type='yarn')), "rope scaling 'yarn' has no factor"),
  (
    dict(rope_scaling=dict(type='llama3', factor=2)),
    "rope scaling 'llama3' has no low_freq_factor",
  ),
  (
    dict(rope_scaling=dict(type='yarn', factor=2, mscale=1.0)),
    'mscale is not supported',
  ),
]


@pytest.mark.parametrize('changes, message', REFUSED)
def test_what_the_policy_does_not_compute_is_refused(
  changes, message, tmp_path
):
  with pytest.raises(ValueError, match=message):
    hf_config.read_config(write(tmp_path, CASES['qwen3'] | changes))


def test_files_that_are_no_config(tmp_path):
  with pytest.raises(ValueError, match='has no config.json'):
    hf_config.read_config(tmp_path)
  for text, message in (('{', 'is not JSON'), ('[]', 'holds no JSON object')):
    (tmp_path / 'config.json').write_text(text)
    with pytest.raises(ValueError, match=message):
      hf_config.read_config(tmp_path)


def test_no_architecture_has_both_bias_and_qk_norm():
  config = policy.PolicyConfig(8, 1, 8, 1, 1, 8, 8, qkv_bias=True, qk_norm=True)
  with pytest.raises(ValueError, match='both QKV bias and QK-norm'):
    hf_config.to_json(config, GENERATION, 'float32')
