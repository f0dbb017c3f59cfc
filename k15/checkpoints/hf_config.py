"""config.json and generation_config.json of the Hugging Face layout.

Qwen2 and 2.5, Qwen3 and Llama 3.x, and with `hf_vision` Qwen2-VL, 2.5-VL, 3-VL
and SmolVLM, are read into a `PolicyConfig` and written from one.  Whatever
`policy` would compute differently is refused by name.
"""

import dataclasses
import json
import pathlib
from typing import Any

from k15.checkpoints import hf_idefics
from k15.checkpoints import hf_rope
from k15.checkpoints import hf_vision
from k15.checkpoints.hf_fields import Fields
from k15.model import policy
from k15.vision.images import Processor

# Architecture -> (model_type, has QKV bias, has QK-norm).
ARCHITECTURES = {
  'Qwen2ForCausalLM': ('qwen2', True, False),
  'Qwen3ForCausalLM': ('qwen3', False, True),
  'LlamaForCausalLM': ('llama', False, False),
}
_KINDS = ARCHITECTURES | hf_vision.KINDS
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
  'attention_bias': (False,),
  'mlp_bias': (False,),
  'partial_rotary_factor': (1.0,),
  'quantization_config': (),
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
  except OSError as error:
    raise ValueError(f'{path} cannot be read: {error.strerror}') from None
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{path} is not JSON: {error}') from None
  if not isinstance(value, dict):
    raise ValueError(f'{path} holds no JSON object')
  return value


def read_fields(path: pathlib.Path) -> Fields:
  """The same, to be read field by field."""
  return Fields(str(path), read_json(path))


def read_config(directory: str | pathlib.Path) -> policy.PolicyConfig:
  """Shape of a checkpoint; dtypes and the like have their defaults.

  Raises:
    ValueError: an architecture or a setting that `policy` does not compute, or
      a field that is missing or of a wrong type.
  """
  shape = shape_of(read_fields(pathlib.Path(directory) / 'config.json'))
  if shape.vision is None:
    return shape
  _, vision = hf_vision.processor_of(_processor(directory), shape.vision)
  if not vision.merger_mlp:
    vision = hf_idefics.with_marks(vision, directory)
  return dataclasses.replace(shape, vision=vision)


def read_processor(directory: str | pathlib.Path) -> Processor:
  """How the pictures of a model that sees become patches.

  Raises:
    ValueError: it sees none, or a setting that `k15.vision.images` does not do.
  """
  shape = read_config(directory)
  if shape.vision is None:
    raise ValueError(f'{directory} is of a model that sees no pictures')
  return hf_vision.processor_of(_processor(directory), shape.vision)[0]


def _processor(directory):
  """What is said of pictures; {} where nothing is."""
  path = pathlib.Path(directory) / hf_vision.PROCESSOR
  if path.exists():
    return read_fields(path)
  path = path.with_name('processor_config.json')  # transformers 5's
  if path.exists():
    return read_fields(path).group('image_processor')
  return Fields(str(path), {})


def shape_of(config: Fields) -> policy.PolicyConfig:
  """The same of what config.json holds, wherever it comes from."""
  name, whole = _architecture(config), config
  if name in hf_vision.KINDS:
    text = hf_vision.text_of(config, name)
    config = hf_vision.plain_rope(text)
  _, qkv_bias, qk_norm = _KINDS[name]
  for key, allowed in REFUSED_UNLESS.items():
    value = config.values.get(key)
    if value is not None and value not in allowed:
      raise ValueError(f'{config.where}: {key} {value!r} is not supported')
  sizes = {field: config.size(key) for key, field in SIZES.items()}
  _refuse_windows(config, sizes['num_layers'])
  # What a file leaves out has the default of transformers: heads of 128 in
  # Qwen3, and d_model over the number of heads in the others.
  sizes |= _heads(config, sizes, 128 if qk_norm else None)
  sees = {}
  if name in hf_vision.KINDS:
    sees = hf_vision.read(whole, text, name, sizes)
  return policy.PolicyConfig(
    **sizes,
    **sees,
    rms_norm_eps=config.positive('rms_norm_eps', 1e-6),
    qkv_bias=qkv_bias,
    qk_norm=qk_norm,
    tie_embeddings=config.flag('tie_word_embeddings', False),
    **hf_rope.read(config),
  )


def _architecture(config):
  """That of `architectures`, or where there is none that of `model_type`."""
  names = config.texts('architectures')
  if not names:
    kind = config.text('model_type')
    names = [name for name in _KINDS if _KINDS[name][0] == kind]
    names = names or [kind]
  if len(names) != 1 or names[0] not in _KINDS:
    raise ValueError(
      f'{config.where}: the architecture is {names}, not one of {list(_KINDS)}'
    )
  # Others go by it, and what they compute may differ: Mistral has windows.
  expected = _KINDS[names[0]][0]
  if config.text('model_type') not in (None, expected):
    raise config.refuse('model_type', f'{expected!r}, as {names[0]} has it')
  return names[0]


def _refuse_windows(config, num_layers):
  """Of attention; without layer_types they begin at max_window_layers."""
  kinds = config.texts('layer_types')
  if set(kinds) - {'full_attention'}:
    raise ValueError(
      f'{config.where}: layer_types {sorted(set(kinds))} are not supported'
    )
  has_windows = config.flag('use_sliding_window', False)
  if kinds or not has_windows or config.values.get('sliding_window', 0) is None:
    return
  # 28 is Qwen2's default; windows that begin behind the last layer are none.
  first = config.values.get('max_window_layers', 28)
  if type(first) is not int or first < num_layers:
    raise ValueError(
      f'{config.where}: use_sliding_window True is not supported, but where'
      ' max_window_layers leaves no layer one'
    )


def _heads(config, sizes, default_dim):
  """Key-value heads and the width of all, as `rope` and attention need them."""
  heads, d_model = sizes['num_heads'], sizes['d_model']
  kv_heads = config.size('num_key_value_heads', heads)
  if heads % kv_heads:
    raise config.refuse('num_key_value_heads', f'a divisor of {heads} heads')
  head_dim = config.size('head_dim', default_dim or d_model // heads or None)
  if head_dim % 2:
    raise ValueError(
      f'{config.where}: heads of {head_dim} dimensions cannot be rotated in'
      ' pairs'
    )
  return dict(num_kv_heads=kv_heads, head_dim=head_dim)


def read_generation(directory: str | pathlib.Path) -> Generation:
  """Special ids and length; generation_config.json goes before config.json.

  What either of them says ends a response does: the files of a base model and
  of one tuned from it often disagree.

  Raises:
    ValueError: a file that is not JSON, or a field that is missing or of a
      wrong type.
  """
  path = pathlib.Path(directory) / 'config.json'
  config = hf_vision.text_of(read_fields(path))
  own = path.with_name('generation_config.json')
  files = [read_fields(own), config] if own.exists() else [config]
  eos_ids = [i for file in files for i in file.ids('eos_token_id')]
  bos, pad = (
    next((i for file in files if (i := file.id(key)) is not None), None)
    for key in ('bos_token_id', 'pad_token_id')
  )
  return Generation(
    max_length=config.size('max_position_embeddings'),
    # In order, for the first ends a text where no eos_token is named.
    eos_ids=tuple(dict.fromkeys(eos_ids)),
    bos_id=bos,
    pad_id=pad,
  )


def to_json(
  shape: policy.PolicyConfig, generation: Generation, dtype: str
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Contents of config.json and generation_config.json.

  Args:
    shape: of the policy.
    generation: its special ids and length.
    dtype: of the tensors, such as 'bfloat16'.

  Raises:
    ValueError: no architecture has both QKV bias and QK-norm.
  """
  kinds = {kind[1:]: (name, kind[0]) for name, kind in ARCHITECTURES.items()}
  if (shape.qkv_bias, shape.qk_norm) not in kinds:
    raise ValueError('no architecture has both QKV bias and QK-norm')
  name, model_type = kinds[shape.qkv_bias, shape.qk_norm]
  ids = dict(bos_token_id=generation.bos_id, pad_token_id=generation.pad_id)
  eos = list(generation.eos_ids)
  ids['eos_token_id'] = eos[0] if len(eos) == 1 else eos or None
  raw = dict(
    architectures=[name],
    model_type=model_type,
    **{key: getattr(shape, field) for key, field in SIZES.items()},
    num_key_value_heads=shape.num_kv_heads,
    head_dim=shape.head_dim,
    hidden_act='silu',
    rms_norm_eps=shape.rms_norm_eps,
    max_position_embeddings=generation.max_length,
    tie_word_embeddings=shape.tie_embeddings,
    rope_theta=shape.rope_theta,
    rope_scaling=hf_rope.write(shape),
    torch_dtype=dtype,
    use_cache=True,
    **ids,
  )
  if not shape.qkv_bias:  # Qwen2 has it without saying so.
    raw['attention_bias'] = False
  if shape.vision is not None:
    raw = hf_vision.to_json(shape, raw)
    _check_sight(shape_of(Fields('config.json', raw)), shape)
  return raw, {key: value for key, value in ids.items() if value is not None}


def _check_sight(again, shape):
  """Whether what is written is read as what it was."""
  elsewhere = ['mean', 'std']
  if not shape.vision.merger_mlp:
    elsewhere += ['start_ids', 'end_ids']
  others = {field: getattr(shape.vision, field) for field in elsewhere}
  again = dataclasses.replace(
    again, vision=dataclasses.replace(again.vision, **others)
  )
  for field in ('vision', 'mrope_section', 'mrope_interleaved', 'banned_ids',
                'qkv_bias', 'qk_norm'):  # fmt: skip
    if getattr(again, field) != getattr(shape, field):
      raise ValueError(
        f'no architecture has the {field} of this policy:'
        f' {getattr(shape, field)}'
      )
