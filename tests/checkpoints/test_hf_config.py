"""config.json: read, written, and refused by name."""

import json
import math

import hf_checkpoints
import pytest

from k15.checkpoints import hf_config
from k15.model import policy
from k15.model import rope

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
  (
    dict(use_sliding_window=True, max_window_layers=0),
    'use_sliding_window True',
  ),
  (dict(layer_types=['sliding_attention']), 'sliding_attention'),
  (dict(attention_bias=True), 'attention_bias True'),
  (dict(quantization_config=dict(bits=4)), "quantization_config {'bits': 4}"),
  (dict(vocab_size=None), 'vocab_size is None, and has to be an int >= 1'),
  (dict(head_dim=0), 'head_dim is 0'),
  (dict(head_dim=7), 'heads of 7 dimensions cannot be rotated in pairs'),
  (dict(head_dim=[8]), r'head_dim is \[8\], and has to be an int >= 1'),
  (
    dict(num_key_value_heads=3),
    'heads is 3, and has to be a divisor of 4 heads',
  ),
  (dict(vocab_size=True), 'vocab_size is True, and has to be an int >= 1'),
  (dict(rms_norm_eps=None), 'rms_norm_eps is None, and has to be a number'),
  (dict(rms_norm_eps=math.nan), 'rms_norm_eps is nan, and has to be a number'),
  (dict(tie_word_embeddings='no'), "tie_word_embeddings is 'no', and has to"),
  (dict(architectures='Qwen3ForCausalLM'), 'architectures is .* a list of'),
  (dict(architectures=[{}]), 'architectures is .* a list of texts'),
  (dict(architectures=None, model_type=3), 'model_type is 3, and has to be'),
  (dict(architectures=None, model_type=None), r'the architecture is \[None\]'),
  (dict(architectures=['a'] * 99), "'a', 'a'"),
  (
    dict(model_type='mistral'),
    "model_type is 'mistral', and has to be 'qwen3'",
  ),
  (dict(layer_types=[[]]), 'layer_types is .* a list of texts'),
  (dict(layer_types={'full_attention': 2}), 'layer_types is .* a list of'),
  (dict(use_sliding_window='yes'), "use_sliding_window is 'yes', and has"),
]


@pytest.mark.parametrize('changes, message', REFUSED)
def test_what_the_policy_does_not_compute_is_refused(
  changes, message, tmp_path
):
  with pytest.raises(ValueError, match=message):
    hf_config.read_config(write(tmp_path, CASES['qwen3'] | changes))


def test_windows_that_no_layer_has(tmp_path):
  # Without layer_types, layers have windows from max_window_layers on.
  raw = CASES['qwen2'] | dict(use_sliding_window=True)
  expected = hf_config.read_config(write(tmp_path, CASES['qwen2']))
  for others in (
    dict(max_window_layers=2),  # Of two layers.
    dict(max_window_layers=1, sliding_window=None),
    dict(max_window_layers=1, layer_types=['full_attention'] * 2),
  ):
    assert hf_config.read_config(write(tmp_path, raw | others)) == expected
  with pytest.raises(ValueError, match='use_sliding_window True is not'):
    hf_config.read_config(write(tmp_path, raw | dict(max_window_layers=1)))


def test_without_architectures_model_type_says_it(tmp_path):
  raw = CASES['qwen3'] | dict(architectures=None)
  expected = hf_config.read_config(write(tmp_path, CASES['qwen3']))
  assert hf_config.read_config(write(tmp_path, raw)) == expected


def test_both_files_name_special_ids(tmp_path):
  write(tmp_path, CASES['qwen2'] | dict(eos_token_id=[5, 1], pad_token_id=-1))
  assert hf_config.read_generation(tmp_path) == hf_config.Generation(
    256, eos_ids=(5, 1)
  )
  path = tmp_path / 'generation_config.json'
  path.write_text(json.dumps(dict(eos_token_id=7, pad_token_id=3)))
  assert hf_config.read_generation(tmp_path) == hf_config.Generation(
    256, eos_ids=(7, 5, 1), pad_id=3
  )


@pytest.mark.parametrize(
  'key, value',
  [
    ('eos_token_id', [[1]]),
    ('eos_token_id', '1'),
    ('eos_token_id', True),
    ('eos_token_id', dict(a=1)),
    ('pad_token_id', [1]),
    ('pad_token_id', 0.5),
    ('bos_token_id', 'a' * 200),
  ],
)
@pytest.mark.parametrize('name', ['config.json', 'generation_config.json'])
def test_special_ids_that_are_none(name, key, value, tmp_path):
  write(tmp_path, CASES['qwen2'])
  whole = CASES['qwen2'] if name == 'config.json' else {}
  (tmp_path / name).write_text(json.dumps(whole | {key: value}))
  with pytest.raises(ValueError, match=f'/{name}: {key} is .* has to be an'):
    hf_config.read_generation(tmp_path)


ODD = (
  None, True, -1, 0, 3, 0.5, 1e999, '', 'x', [], [[]], [1], {}, {'a': 1},
  10**400,
)  # fmt: skip


@pytest.mark.parametrize('case', ['qwen2', 'qwen3_yarn', 'llama3'])
def test_no_field_makes_a_traceback(case, tmp_path):
  """Whatever it holds, it is read, or refused by one sentence on the file."""
  whole = CASES[case] | dict(
    layer_types=None, max_window_layers=1, use_sliding_window=False,
    sliding_window=None, rope_parameters=None, pad_token_id=None,
    bos_token_id=None, mlp_bias=None, attention_bias=None,
  )  # fmt: skip
  settings = whole.get('rope_scaling') or {}
  changed = [whole | {key: odd} for key in whole for odd in ODD]
  changed += [
    whole | dict(rope_scaling=settings | {key: odd})
    for key in (*settings, 'mscale', 'attn_factor', 'truncate', 'rope_theta')
    for odd in ODD
  ]
  refused = 0
  for raw in changed:
    write(tmp_path, raw)
    try:
      rope.turns_of(hf_config.read_config(tmp_path))
      hf_config.read_generation(tmp_path)
    except ValueError as error:
      assert str(error).startswith(f'{tmp_path / "config.json"}: ')
      assert len(str(error).splitlines()) == 1
      refused += 1
  assert refused > len(changed) / 2


def test_files_that_are_no_config(tmp_path):
  with pytest.raises(ValueError, match='has no config.json'):
    hf_config.read_config(tmp_path)
  for text, message in (('{', 'is not JSON'), ('[]', 'holds no JSON object')):
    (tmp_path / 'config.json').write_text(text)
    with pytest.raises(ValueError, match=message):
      hf_config.read_config(tmp_path)
  (tmp_path / 'config.json').write_bytes(b'\xff')
  with pytest.raises(ValueError, match='config.json is not JSON'):
    hf_config.read_config(tmp_path)
  (tmp_path / 'config.json').unlink()
  (tmp_path / 'config.json').mkdir()
  with pytest.raises(ValueError, match='config.json cannot be read'):
    hf_config.read_config(tmp_path)


def test_no_architecture_has_both_bias_and_qk_norm():
  config = policy.PolicyConfig(8, 1, 8, 1, 1, 8, 8, qkv_bias=True, qk_norm=True)
  with pytest.raises(ValueError, match='both QKV bias and QK-norm'):
    hf_config.to_json(config, GENERATION, 'float32')
