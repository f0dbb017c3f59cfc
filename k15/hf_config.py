"""config.json and generation_config.json of the Hugging Face layout.

Qwen2 and 2.5, Qwen3 and Llama 3.x are read into a `PolicyConfig` and written
from one.  Whatever `policy` would compute differently is refused by name.
"""

import dataclasses
import json
import pathlib
from typing import Any

from k15 import policy
from k15 import rope

# Architecture -> (model_type, has QKV bias, has QK-norm).
ARCHITECTURES = {
  'Qwen2ForCausalLM': ('qwen2', True, False),
  'Qwen3ForCausalLM': ('qwen3', False, True),
  'LlamaForCausalLM': ('llama', False, False),
}
# Key of config.json -> field of PolicyConfig.
SIZES = {
  'vocab_size': 'vocab_size',
  'num_hidden_layers': 'num_layers',
  'hidden_size': 'd_model',
  'num_attention_heads': 'num_heads',
  'intermediate_size': 'd_ff',
}
# Keys that change what is computed -> the values under which it is ours.
REFUSED_UNLESS = {
  'hidden_act': ('silu',),
  'use_sliding_window': (False,),
  'attention_bias': (False,),
  'mlp_bias': (False,),
  'partial_rotary_factor': (1.0,),
  'quantization_config': (),
}
# Key of the rope settings -> field of PolicyConfig, by kind of scaling.
ROPE_KEYS = {
  'default': {},
  'llama3': {
    'factor': 'rope_factor',
    'low_freq_factor': 'rope_low_freq_factor',
    'high_freq_factor': 'rope_high_freq_factor',
    'original_max_position_embeddings': 'rope_original_length',
  },
  'yarn': {
    'factor': 'rope_factor',
    'beta_fast': 'rope_beta_fast',
    'beta_slow': 'rope_beta_slow',
    'truncate': 'rope_truncate',
    'attention_factor': 'rope_attention_factor',
    'original_max_position_embeddings': 'rope_original_length',
  },
}


@dataclasses.dataclass(frozen=True)
class Generation:
  """What a checkpoint says of its use.

  Attributes:
    max_length: tokens of prompt and response it was made for.
    eos_ids: any of them ends a response.
    bos_id: begins a text, or None.
    pad_id: fills what is not text, or None.
  """

  max_length: int
  eos_ids: tuple[int, ...] = ()
  bos_id: int | None = None
  pad_id: int | None = None


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """A JSON object.

  Raises:
    ValueError: there is no such file, or no object in it.
  """
  try:
    value = json.loads(path.read_text(encoding='utf-8'))
  except FileNotFoundError:
    raise ValueError(f'{path.parent} has no {path.name}') from None
  except ValueError as error:
    raise ValueError(f'{path} is not JSON: {error}') from None
  if not isinstance(value, dict):
    raise ValueError(f'{path} holds no JSON object')
  return value


def read_config(directory: str | pathlib.Path) -> policy.PolicyConfig:
  """Shape of a checkpoint; dtypes and the like have their defaults.

  Raises:
    ValueError: an architecture or a setting that `policy` does not compute, or
      a missing key.
  """
  path = pathlib.Path(directory) / 'config.json'
  raw = read_json(path)
  names = raw.get('architectures') or [raw.get('model_type')]
  if len(names) != 1 or names[0] not in ARCHITECTURES:
    raise ValueError(
      f'{path}: the architecture is {names}, not one of {list(ARCHITECTURES)}'
    )
  for key, allowed in REFUSED_UNLESS.items():
    if raw.get(key) is not None and raw[key] not in allowed:
      raise ValueError(f'{path}: {key} {raw[key]!r} is not supported')
  layers = set(raw.get('layer_types') or ()) - {'full_attention'}
  if layers:
    raise ValueError(f'{path}: layer_types {sorted(layers)} are not supported')
  sizes = {field: _size(path, raw, key) for key, field in SIZES.items()}
  heads, default = sizes['num_heads'], sizes['d_model'] // sizes['num_heads']
  _, qkv_bias, qk_norm = ARCHITECTURES[names[0]]
  return policy.PolicyConfig(
    **sizes,
    num_kv_heads=_size(path, raw, 'num_key_value_heads', heads),
    head_dim=_size(path, raw, 'head_dim', 128 if qk_norm else default),
    rms_norm_eps=float(raw.get('rms_norm_eps', 1e-6)),
    qkv_bias=qkv_bias,
    qk_norm=qk_norm,
    tie_embeddings=bool(raw.get('tie_word_embeddings', False)),
    **_read_rope(path, raw),
  )


def read_generation(directory: str | pathlib.Path) -> Generation:
  """Special ids and length; generation_config.json goes before config.json.

  Raises:
    ValueError: a file that is not JSON, or a missing key.
  """
  path = pathlib.Path(directory) / 'config.json'
  raw = read_json(path)
  own = path.with_name('generation_config.json')
  if own.exists():
    given = read_json(own)
    raw |= {key: given[key] for key in given if given[key] is not None}
  eos = raw.get('eos_token_id')
  return Generation(
    max_length=_size(path, raw, 'max_position_embeddings'),
    eos_ids=tuple(eos)
    if isinstance(eos, list)
    else ()
    if eos is None
    else (eos,),
    bos_id=raw.get('bos_token_id'),
    pad_id=raw.get('pad_token_id'),
  )


def to_json(
  config: policy.PolicyConfig, generation: Generation, dtype: str
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Contents of config.json and generation_config.json.

  Args:
    config: shape of the policy.
    generation: its special ids and length.
    dtype: of the tensors, such as 'bfloat16'.

  Raises:
    ValueError: no architecture has both QKV bias and QK-norm.
  """
  kinds = {kind[1:]: (name, kind[0]) for name, kind in ARCHITECTURES.items()}
  if (config.qkv_bias, config.qk_norm) not in kinds:
    raise ValueError('no architecture has both QKV bias and QK-norm')
  name, model_type = kinds[config.qkv_bias, config.qk_norm]
  ids = dict(bos_token_id=generation.bos_id, pad_token_id=generation.pad_id)
  eos = list(generation.eos_ids)
  ids['eos_token_id'] = eos[0] if len(eos) == 1 else eos or None
  raw = dict(
    architectures=[name],
    model_type=model_type,
    **{key: getattr(config, field) for key, field in SIZES.items()},
    num_key_value_heads=config.num_kv_heads,
    head_dim=config.head_dim,
    hidden_act='silu',
    rms_norm_eps=config.rms_norm_eps,
    max_position_embeddings=generation.max_length,
    tie_word_embeddings=config.tie_embeddings,
    rope_theta=config.rope_theta,
    rope_scaling=_write_rope(config),
    torch_dtype=dtype,
    use_cache=True,
    **ids,
  )
  if not config.qkv_bias:  # Qwen2 has it without saying so.
    raw['attention_bias'] = False
  return raw, {key: value for key, value in ids.items() if value is not None}


def _size(path, raw, key, default=None):
  value = raw.get(key)
  value = default if value is None else value
  if type(value) is not int or value < 1:
    raise ValueError(f'{path}: {key} is {value}, and has to be an int >= 1')
  return value


def _read_rope(path, raw):
  """Fields of PolicyConfig from `rope_scaling`, or the newer form of it."""
  settings = raw.get('rope_parameters') or raw.get('rope_scaling') or {}
  kind = settings.get('rope_type', settings.get('type', 'default'))
  if kind not in ROPE_KEYS:
    raise ValueError(
      f'{path}: rope scaling {kind!r} is not one of {list(ROPE_KEYS)}'
    )
  if settings.get('partial_rotary_factor', 1.0) != 1.0:
    raise ValueError(f'{path}: partial_rotary_factor is not supported')
  theta = settings.get('rope_theta', raw.get('rope_theta', 10000.0))
  fields = dict(rope_theta=float(theta))
  if kind == 'default':
    return fields
  length = 'original_max_position_embeddings'
  settings = {length: raw.get('max_position_embeddings')} | settings
  settings[length] = raw.get(length, settings[length])
  types = {
    field.name: field.type for field in dataclasses.fields(policy.PolicyConfig)
  }
  for key, field in ROPE_KEYS[kind].items():
    if settings.get(key) is not None:
      fields[field] = types[field](settings[key])
    elif key == 'factor' or kind == 'llama3' or key == length:
      raise ValueError(f'{path}: rope scaling {kind!r} has no {key}')
  if settings.get('mscale') or settings.get('mscale_all_dim'):
    raise ValueError(f"{path}: rope scaling's mscale is not supported")
  return fields | dict(rope_scaling=kind)


def _write_rope(config):
  if config.rope_scaling == 'none':
    return None
  keys = ROPE_KEYS[config.rope_scaling]
  settings = {key: getattr(config, field) for key, field in keys.items()}
  if config.rope_scaling == 'yarn':
    _, settings['attention_factor'] = rope.turns_of(config)
  return dict(rope_type=config.rope_scaling, **settings)
