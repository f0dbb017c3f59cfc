"""config.json and generation_config.json of a GGUF file.

Its fields have other names and say the same, but for what is said by tensors
alone: whether embeddings are tied, and how Llama 3 scales its positions.  What
`hf_config` then refuses of a directory, it refuses of a file.
"""

from typing import Any

import numpy as np

from k15.checkpoints import hf_config
from k15.checkpoints import hf_rope
from k15.checkpoints.gguf import gguf_file
from k15.checkpoints.hf_fields import Fields
from k15.model import rope

# Fields behind the name of the architecture -> keys of config.json.
_SIZES = {
  'block_count': 'num_hidden_layers',
  'context_length': 'max_position_embeddings',
  'embedding_length': 'hidden_size',
  'feed_forward_length': 'intermediate_size',
  'attention.head_count': 'num_attention_heads',
}
_HEAD_DIMS = (
  'attention.key_length', 'attention.value_length', 'rope.dimension_count',
)  # fmt: skip
_OTHERS = (
  'vocab_size', 'attention.head_count_kv', 'rope.freq_base',
  'attention.layer_norm_rms_epsilon',
)  # fmt: skip
# Without effect under these values, others under 0 and false.
_ALLOWED = {
  'attention.causal': True,
  'rope.scale_linear': 1.0,
  'tensor_data_layout': 'Meta AI original pth',
}
_SCALING = 'rope.scaling.'
# What follows it -> keys of rope_scaling, where they differ.
_SCALINGS = {
  'original_context_length': hf_rope.LENGTH,
  'yarn_beta_fast': 'beta_fast',
  'yarn_beta_slow': 'beta_slow',
  'yarn_attn_factor': 'attn_factor',
}
ROPE_FACTORS = 'rope_freqs.weight'
# All Llamas from 3.1 on have these, and an original length of 8,192.
_LLAMA3 = dict(low_freq_factor=1.0, high_freq_factor=4.0)
_LENGTHS = (8192, *(1 << bits for bits in range(5, 21)))
# All of them end a response: of a text, a turn, a message to a tool.
_ENDS = ('eos_token_id', 'eot_token_id', 'eom_token_id')


def read(
  file: gguf_file.GgufFile,
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Contents of config.json and of generation_config.json.

  Raises:
    ValueError: another architecture than `hf_config` reads, a field that is
      missing, of a wrong type, or would be computed differently.
  """
  fields, kind = file.fields, architecture(file)
  _refuse_unknown(fields, kind)
  own = {key: fields.size(f'{kind}.{ours}') for ours, key in _SIZES.items()}
  heads = own['num_attention_heads']
  tokens = fields.texts('tokenizer.ggml.tokens')
  ids = _ids(fields)
  names = {row[0]: name for name, row in hf_config.ARCHITECTURES.items()}
  config = dict(
    architectures=[names[kind]],
    model_type=kind,
    **own,
    vocab_size=fields.size(f'{kind}.vocab_size', len(tokens) or None),
    num_key_value_heads=fields.size(f'{kind}.attention.head_count_kv', heads),
    head_dim=_head_dim(fields, kind, own['hidden_size'] // heads or None),
    hidden_act='silu',
    rms_norm_eps=fields.positive(f'{kind}.attention.layer_norm_rms_epsilon'),
    # llama.cpp writes no head where it is the embedding.
    tie_word_embeddings='output.weight' not in file.shapes(),
    rope_theta=fields.positive(f'{kind}.rope.freq_base', 10000.0),
    torch_dtype=_dtype(file),
    use_cache=True,
    **ids,
  )
  config['rope_scaling'] = _scaling(file, kind, config)
  return config, {key: value for key, value in ids.items() if value is not None}


def architecture(file: gguf_file.GgufFile) -> str:
  """The name that its fields begin with: 'llama', 'qwen2' or 'qwen3'."""
  known = [row[0] for row in hf_config.ARCHITECTURES.values()]
  kind = file.fields.text('general.architecture')
  if kind not in known:
    raise file.fields.refuse('general.architecture', f'one of {known}')
  if file.fields.text('general.type') not in (None, 'model'):
    raise file.fields.refuse('general.type', "'model'")
  return kind


def _refuse_unknown(fields, kind):
  known = (*_SIZES, *_HEAD_DIMS, *_OTHERS)
  for key, value in fields.values.items():
    prefix, _, own = key.partition('.')
    if prefix != kind or own in known or own.startswith(_SCALING):
      continue
    if value != _ALLOWED[own] if own in _ALLOWED else value:
      raise ValueError(f'{fields.where}: {key} {value!r} is not supported')


def _head_dim(fields, kind, default):
  size = fields.size(f'{kind}.{_HEAD_DIMS[0]}', default)
  for other in _HEAD_DIMS[1:]:
    if fields.size(f'{kind}.{other}', size) != size:
      raise fields.refuse(f'{kind}.{other}', f'{size}, the width of a head')
  return size


def _ids(fields):
  """Special ids, under the names of config.json."""
  of = {
    key: fields.id(f'tokenizer.ggml.{key}')
    for key in (*_ENDS, 'bos_token_id', 'padding_token_id')
  }
  ends = [of[key] for key in _ENDS if of[key] is not None]
  ends = list(dict.fromkeys(ends))
  return dict(
    bos_token_id=of['bos_token_id'],
    pad_token_id=of['padding_token_id'],
    eos_token_id=ends[0] if len(ends) == 1 else ends or None,
  )


def _dtype(file):
  """The widest of the matrices."""
  kinds = [file.dtype(name) for name, s in file.shapes().items() if len(s) > 1]
  return max(kinds, key=lambda kind: kind.itemsize).name if kinds else 'float32'


def _scaling(file, kind, config):
  """The object `rope_scaling`, or None."""
  start = f'{kind}.{_SCALING}'
  given = {
    _SCALINGS.get(key[len(start) :], key[len(start) :]): value
    for key, value in file.fields.values.items()
    if key.startswith(start)
  }
  scaling = given.pop('type', 'none')
  if ROPE_FACTORS in file.shapes():
    if scaling != 'none':
      raise file.fields.refuse(f'{start}type', f'none beside {ROPE_FACTORS}')
    return _llama3(file, config)
  return None if scaling == 'none' else dict(rope_type=scaling, **given)


def _llama3(file, config):
  """Settings under which `rope` divides by what the file divides by.

  A file has the divisors alone; which settings made them is found by trying.
  """
  divisors = file.read(ROPE_FACTORS).astype(np.float64)
  if np.all(divisors == 1):
    return None
  # Low frequencies are divided by the whole factor, and none by more.
  factor = float(str(np.float32(divisors.max())))
  base = rope.base_frequencies(config['head_dim'], config['rope_theta'])
  for length in _LENGTHS:
    scaled = rope.llama3_frequencies(base, factor, length, **_LLAMA3)
    if divisors.shape == base.shape and np.allclose(
      base / scaled, divisors, rtol=1e-4
    ):
      return dict(
        rope_type='llama3',
        factor=factor,
        original_max_position_embeddings=length,
        **_LLAMA3,
      )
  raise ValueError(
    f'{file.path}: {ROPE_FACTORS} holds divisors of frequencies that are not'
    f" those of 'llama3' with {_LLAMA3}, whatever the original length"
  )


def as_fields(file: gguf_file.GgufFile, config: dict[str, Any]) -> Fields:
  """The config as `hf_config` reads it, under the name of the file."""
  return Fields(str(file.path), config)
