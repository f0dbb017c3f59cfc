"""Vision-language models of the Hugging Face layout: config and processor.

The tower's fields of config.json and the settings of its processor: those of
Qwen3-VL, Qwen2.5-VL and Qwen2-VL are here, those of SmolVLM and Idefics3 in
`hf_idefics`, names of tensors in `hf_towers`.  config.json is flat on the hub
for Qwen2 and 2.5, the text's fields at the top; newer files have them in
`text_config`.  Both are read.  Whatever `k15.model.tower` would compute
otherwise is refused by name.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from k15.checkpoints import hf_idefics
from k15.checkpoints.hf_fields import Fields
from k15.model import tower
from k15.vision.images import Processor


@dataclasses.dataclass(frozen=True)
class Family:
  """What an architecture says without saying it.

  Attributes:
    model_type: of config.json; behind `_text` and `_vision`, of its parts.
    qkv_bias, qk_norm: of the text.
    norm, mlp: of the tower, as `VisionConfig` has them.
    act: the same as config.json names it.
    interleaved: how M-RoPE mixes time, rows and columns.
    is_nested: whether config.json is written with a `text_config`.
    defaults: of the tower's fields that files of the hub leave out.
    mean, std: of pixels, where no processor says.
  """

  model_type: str
  qkv_bias: bool
  qk_norm: bool
  norm: str
  mlp: str
  act: str
  interleaved: bool
  is_nested: bool
  defaults: Mapping[str, Any]
  mean: tuple[float, ...]
  std: tuple[float, ...]


_HALF = (0.5, 0.5, 0.5)
_CLIP = (
  (0.48145466, 0.4578275, 0.40821073),
  (0.26862954, 0.26130258, 0.27577711),
)
_OLD_SIZES = dict(
  depth=32, num_heads=16, patch_size=14, spatial_merge_size=2,
  temporal_patch_size=2,
)  # fmt: skip
FAMILIES = {
  'Qwen3VLForConditionalGeneration': Family(
    'qwen3_vl', False, True, 'layer', 'gelu_tanh', 'gelu_pytorch_tanh',
    True, True, {}, _HALF, _HALF,
  ),
  'Qwen2_5_VLForConditionalGeneration': Family(
    'qwen2_5_vl', True, False, 'rms', 'swiglu', 'silu', False, False,
    # But no width: that of the class is another than any model's.
    _OLD_SIZES
    | dict(
      intermediate_size=3420, window_size=112,
      fullatt_block_indexes=[7, 15, 23, 31],
    ),
    *_CLIP,
  ),
  'Qwen2VLForConditionalGeneration': Family(
    'qwen2_vl', True, False, 'layer', 'quick_gelu', 'quick_gelu', False, False,
    _OLD_SIZES | dict(mlp_ratio=4), *_CLIP,
  ),
}  # fmt: skip
BY_MLP = {family.mlp: name for name, family in FAMILIES.items()}
BY_TYPE = {family.model_type: family for family in FAMILIES.values()}
# Architecture -> (model_type, has QKV bias, has QK-norm), as in `hf_config`.
KINDS = {
  name: (family.model_type, family.qkv_bias, family.qk_norm)
  for name, family in FAMILIES.items()
} | {name: (kind, False, False) for name, kind in hf_idefics.TYPES.items()}
# Field of config.json -> field of VisionConfig; -1: there is no such token.
_TOKENS = {'image_token_id': 'image_id', 'video_token_id': 'video_id'}
_AROUND = {
  'vision_start_token_id': 'start_ids',
  'vision_end_token_id': 'end_ids',
}
_TIES = 'tie_word_embeddings'
_MROPE = ('mrope_section', 'mrope_interleaved')
PROCESSOR = 'preprocessor_config.json'
_STEPS = ('do_resize', 'do_rescale', 'do_normalize')
# Copied beside the tokenizer; the second one is transformers 5's.
PROCESSOR_FILES = (
  PROCESSOR, 'processor_config.json', 'video_preprocessor_config.json',
  'chat_template.json',
)  # fmt: skip


def text_of(config: Fields, name: str = '') -> Fields:
  """The fields of the text, wherever config.json has them.

  Args:
    config: all of config.json.
    name: of the architecture, if it matters whether embeddings are tied.
  """
  values = {
    key: value
    for key, value in config.values.items()
    if key not in ('text_config', 'vision_config')
  }
  own = config.group('text_config').values
  ties = [x.get(_TIES) for x in (values, own)]
  values |= {key: value for key, value in own.items() if value is not None}
  if name in hf_idefics.TYPES:  # Whose class asks the first.
    values[_TIES] = ties[0]
  elif any(ties):  # Older files say so in one of the two.
    values[_TIES] = True
  return Fields(config.where, values)


def plain_rope(text: Fields) -> Fields:
  """The same fields as a text without pictures would have them."""
  values = dict(text.values)
  for key in ('rope_scaling', 'rope_parameters'):
    if not isinstance(values.get(key), dict):
      continue
    settings = {k: x for k, x in values[key].items() if k not in _MROPE}
    for kind in ('type', 'rope_type'):
      if settings.get(kind) == 'mrope':
        settings[kind] = 'default'
    values[key] = settings
  return Fields(text.where, values)


def read(
  config: Fields, text: Fields, name: str, sizes: Mapping[str, int]
) -> dict[str, Any]:
  """Fields of PolicyConfig that make it see.

  Args:
    config: all of config.json.
    text: of `text_of`.
    name: of the architecture.
    sizes: fields of PolicyConfig that are known: vocab_size, num_layers,
      d_model, num_heads and head_dim.

  Raises:
    ValueError: a setting that `tower` or `rope` does not compute, or a field
      that is missing or of a wrong type.
  """
  if 'vision_config' not in config.values:
    raise config.refuse('vision_config', f'a JSON object, as {name} has it')
  if name in hf_idefics.TYPES:
    return hf_idefics.read(config, text, sizes)
  family, own = FAMILIES[name], config.group('vision_config')
  wide = sizes['num_heads'] * sizes['head_dim']
  if family.qkv_bias and wide != sizes['d_model']:
    raise text.refuse(
      'head_dim', f'hidden_size / num_attention_heads, as {name} has it'
    )
  ids = {
    field: -1 if config.id(key) is None else config.id(key)
    for key, field in _TOKENS.items()
  }
  if not 0 <= ids['image_id'] < sizes['vocab_size']:
    raise config.refuse(
      'image_token_id', f'a token below vocab_size = {sizes["vocab_size"]}'
    )
  shape = dict(norm=family.norm, mlp=family.mlp, **ids)
  for key, field in _AROUND.items():
    found = config.id(key)
    shape[field] = () if found is None else (found,)
  shape |= _tower(own, family, sizes)
  return dict(
    vision=tower.VisionConfig(mean=family.mean, std=family.std, **shape),
    mrope_section=_section(text, family, sizes['head_dim']),
    mrope_interleaved=family.interleaved,
    # Neither stands for anything in a response.
    banned_ids=tuple(i for i in (ids['image_id'], ids['video_id']) if i >= 0),
  )


def _tower(own, family, sizes):
  """Fields of VisionConfig that `vision_config` gives."""

  def size(key):
    return own.size(key, family.defaults.get(key))

  for key in ('in_channels', 'in_chans'):
    if own.values.get(key) not in (None, 3):
      raise own.refuse(key, '3')
  if own.values.get('hidden_act') not in (None, family.act):
    raise own.refuse('hidden_act', repr(family.act))
  if family.mlp == 'quick_gelu':
    # Here `hidden_size` is the text's width, and the tower's has another name.
    width, out = own.size('embed_dim'), own.size('hidden_size')
    d_ff, out_key = width * size('mlp_ratio'), 'hidden_size'
  else:
    width, out = own.size('hidden_size'), own.size('out_hidden_size')
    d_ff, out_key = size('intermediate_size'), 'out_hidden_size'
  if out != sizes['d_model']:
    raise own.refuse(out_key, f"the text's hidden_size, {sizes['d_model']}")
  patch, merge = size('patch_size'), size('spatial_merge_size')
  found = dict(
    num_layers=size('depth'),
    width=width,
    num_heads=size('num_heads'),
    d_ff=d_ff,
    patch_size=patch,
    merge_size=merge,
    temporal_size=size('temporal_patch_size'),
  )
  if width % (4 * found['num_heads']):
    raise own.refuse(
      'num_heads', f'a number whose heads of {width} in all divide by 4'
    )
  if family.mlp == 'swiglu':
    pixels = size('window_size')
    if pixels % (patch * merge):
      raise own.refuse('window_size', f'a multiple of {patch * merge} pixels')
    found['window'] = pixels // (patch * merge)
    key = 'fullatt_block_indexes'
    found['full_layers'] = _layers(
      own, key, found['num_layers'], family.defaults[key]
    )
  if family.mlp == 'gelu_tanh':
    places = size('num_position_embeddings')
    found['grid'] = math.isqrt(places)
    if found['grid'] ** 2 != places:
      raise own.refuse('num_position_embeddings', 'a square')
    key = 'deepstack_visual_indexes'
    deep = _layers(own, key, found['num_layers'])
    if len(deep) > sizes['num_layers'] or sorted(set(deep)) != list(deep):
      raise own.refuse(
        key, f'ascending, and no more than {sizes["num_layers"]} layers'
      )
    found['deepstack'] = deep
  return found


def _layers(own, key, num_layers, default=None):
  value = own.values.get(key, default)
  if not isinstance(value, list) or not all(
    type(i) is int and 0 <= i < num_layers for i in value
  ):
    raise own.refuse(key, f'a list of ints from 0 to {num_layers - 1}')
  return tuple(value)


def _section(text, family, head_dim):
  settings = text.group('rope_scaling')
  if not settings.values:
    settings = text.group('rope_parameters')
  section = settings.values.get('mrope_section')
  if (
    not isinstance(section, list)
    or len(section) != 3
    or not all(type(i) is int and i >= 0 for i in section)
    or sum(section) != head_dim // 2
  ):
    raise settings.refuse(
      'mrope_section', f'three ints whose sum is head_dim / 2 = {head_dim // 2}'
    )
  if family.interleaved and 3 * max(section[1:]) > head_dim // 2 + 2:
    raise settings.refuse('mrope_section', 'one that can be interleaved')
  # Qwen3-VL's class mixes them whatever the file says.
  if settings.flag('mrope_interleaved', family.interleaved) != (
    family.interleaved
  ):
    raise settings.refuse('mrope_interleaved', str(family.interleaved).lower())
  return tuple(section)


def drawn(v: Any, image_id: int) -> dict[str, Any]:
  """Fields of a `PolicyConfig` whose tower a config describes.

  Args:
    v: `config.vision`.
    image_id: the placeholder.
  """
  family = BY_TYPE[v.family]
  own = dict(
    qwen3_vl=dict(grid=v.grid, deepstack=tuple(v.deepstack)),
    qwen2_5_vl=dict(window=v.window, full_layers=tuple(v.full_layers)),
    qwen2_vl={},
  )
  vision = tower.VisionConfig(
    v.num_layers, v.width, v.num_heads, v.d_ff, v.patch_size, v.merge_size,
    v.temporal_size, family.norm, family.mlp, image_id, mean=family.mean,
    std=family.std, **own[v.family],
  )  # fmt: skip
  return dict(
    vision=vision,
    mrope_section=tuple(v.mrope_section),
    mrope_interleaved=family.interleaved,
    banned_ids=(image_id,),
  )


def to_json(shape: Any, text: dict[str, Any]) -> dict[str, Any]:
  """Contents of config.json.

  Args:
    shape: a `PolicyConfig` with vision.
    text: what it would be without.
  """
  if not shape.vision.merger_mlp:
    return hf_idefics.to_json(shape, text)
  v, name = shape.vision, BY_MLP[shape.vision.mlp]
  family = FAMILIES[name]
  settings = dict(text['rope_scaling'] or dict(rope_type='default'))
  settings['mrope_section'] = list(shape.mrope_section)
  if family.interleaved:
    settings['mrope_interleaved'] = True
  elif settings['rope_type'] == 'default':
    settings['type'] = 'mrope'  # Where transformers 4 looks.
  text = text | dict(rope_scaling=settings)
  kind = f'{family.model_type}{"_vision" * family.is_nested}'
  own = dict(
    model_type=kind, depth=v.num_layers, num_heads=v.num_heads,
    hidden_act=family.act, in_channels=3, in_chans=3,
    patch_size=v.patch_size, spatial_patch_size=v.patch_size,
    spatial_merge_size=v.merge_size, temporal_patch_size=v.temporal_size,
  )  # fmt: skip
  if v.mlp == 'quick_gelu':
    own |= dict(
      embed_dim=v.width, hidden_size=shape.d_model, mlp_ratio=v.d_ff // v.width
    )
  else:
    own |= dict(hidden_size=v.width, intermediate_size=v.d_ff)
    own |= dict(out_hidden_size=shape.d_model)
  if v.mlp == 'swiglu':
    own |= dict(
      window_size=v.window * v.patch_size * v.merge_size,
      fullatt_block_indexes=list(v.full_layers),
    )
  if v.mlp == 'gelu_tanh':
    own |= dict(
      num_position_embeddings=v.grid**2,
      deepstack_visual_indexes=list(v.deepstack),
    )
  tokens = {key: getattr(v, field) for key, field in _TOKENS.items()}
  for key, field in _AROUND.items():
    tokens[key] = next(iter(getattr(v, field)), -1)
  whole = dict(architectures=[name], model_type=family.model_type)
  if not family.is_nested:
    return text | whole | dict(vision_config=own) | tokens
  dtype, _ = text.pop('torch_dtype'), text.pop('architectures')
  text |= dict(model_type=f'{family.model_type}_text')
  whole |= dict(text_config=text, vision_config=own, torch_dtype=dtype)
  return whole | tokens | dict(tie_word_embeddings=shape.tie_embeddings)


def processor_of(
  fields: Fields, vision: tower.VisionConfig
) -> tuple[Processor, tower.VisionConfig]:
  """How a model's pictures become patches, and its tower with their mean.

  Args:
    fields: of preprocessor_config.json; `{}` where there is none.
    vision: the model's tower.

  Raises:
    ValueError: a setting that `k15.vision.images` does not do.
  """
  _refuse_others(fields, dict.fromkeys(_STEPS, True))
  factor = fields.positive('rescale_factor', 1 / 255)
  if not math.isclose(factor, 1 / 255):
    raise fields.refuse('rescale_factor', '1 / 255')
  stats = {
    key: _three(fields, f'image_{key}', getattr(vision, key))
    for key in ('mean', 'std')
  }
  make = _blocks if vision.merger_mlp else hf_idefics.processor_of
  return make(fields, vision), dataclasses.replace(vision, **stats)


def _blocks(fields, vision):
  """The Qwens' processor."""
  _refuse_others(
    fields,
    {
      'patch_size': vision.patch_size,
      'merge_size': vision.merge_size,
      'temporal_patch_size': vision.temporal_size,
      'resample': 3,  # Pillow's BICUBIC
    },
  )
  # Counts of pixels, whatever they are called.
  size = fields.group('size')
  least = fields.size('min_pixels', size.size('shortest_edge', 3136))
  most = fields.size('max_pixels', size.size('longest_edge', 12845056))
  if most < least:
    raise fields.refuse('max_pixels', f'no less than min_pixels = {least}')
  return Processor(vision.patch_size, vision.merge_size, least, most)


def _refuse_others(fields, same):
  for key, expected in same.items():
    if fields.values.get(key) not in (None, expected):
      raise fields.refuse(key, str(expected))


def _three(fields, key, default):
  value = fields.values.get(key)
  value = list(default) if value is None else value
  if (
    not isinstance(value, list)
    or len(value) != 3
    or not all(type(x) in (int, float) and math.isfinite(x) for x in value)
    or key == 'image_std'
    and min(value) <= 0
  ):
    raise fields.refuse(key, 'three numbers, and of image_std above 0')
  return tuple(float(x) for x in value)


def processor_json(
  vision: tower.VisionConfig, processor: Processor
) -> dict[str, Any]:
  """Contents of preprocessor_config.json."""
  if vision.merger_mlp:
    own = dict(
      image_processor_type='Qwen2VLImageProcessor', resample=3,
      patch_size=processor.patch_size, merge_size=processor.merge_size,
      temporal_patch_size=vision.temporal_size,
      size=dict(
        shortest_edge=processor.min_pixels, longest_edge=processor.max_pixels
      ),
    )  # fmt: skip
  else:
    own = hf_idefics.processor_json(processor)
  return own | dict.fromkeys(_STEPS, True) | dict(
    image_mean=list(vision.mean), image_std=list(vision.std),
    rescale_factor=1 / 255,
  )  # fmt: skip
