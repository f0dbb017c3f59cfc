"""SmolVLM and Idefics3 of the Hugging Face layout: what is theirs alone.

A SigLIP tower over one square of patches, a matrix that makes a feature of
scale_factor x scale_factor of them, and a Llama to which a picture's tokens are
tokens like any: no M-RoPE.  Pictures are shown whole.  What the processors of
the hub do otherwise, a picture cut into tiles, is refused by name, and so is
what `k15.model.tower` would compute otherwise.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import tokenizers

from k15.checkpoints.hf_fields import Fields
from k15.model import tower
from k15.vision.images import Processor

# Architecture -> model_type; what they compute is the same.
TYPES = {
  'Idefics3ForConditionalGeneration': 'idefics3',
  'SmolVLMForConditionalGeneration': 'smolvlm',
}
# Of the tower's fields: files have what differs from the class's defaults.
_DEFAULTS = dict(
  hidden_size=1152, intermediate_size=3072, num_hidden_layers=12,
  num_attention_heads=16, image_size=224, patch_size=32, scale_factor=2,
)  # fmt: skip
_ACT, _EPS = 'gelu_pytorch_tanh', 1e-6
# Sides in patches at which the class, by rounding, takes a place for another;
# above 32, no model of the hub's is, they are many.
_MOST_SIDE, _ROUNDED = 32, (19, 25, 29, 31)
# Edges in pixels where no processor says.
_LONGEST, _SQUARE, _MOST_LONGEST = 4 * 364, 364, 4096
# Around a picture; a tokenizer may have several tokens for the second.
_AROUND, _WHOLE, _IMAGE = '<fake_token_around_image>', '<global-img>', '<image>'


def read(
  config: Fields, text: Fields, sizes: Mapping[str, int]
) -> dict[str, Any]:
  """Fields of PolicyConfig that make it see; see `hf_vision.read`."""
  llama, own = config.group('text_config'), config.group('vision_config')
  for fields, key, expected in (
    (llama, 'model_type', 'llama'),
    (text, 'use_resampler', False),
    (text, 'qk_layer_norms', False),
    (text, 'rope_interleaved', False),
    (own, 'hidden_act', _ACT),
    (own, 'num_channels', 3),
  ):
    if fields.values.get(key) not in (None, expected):
      raise fields.refuse(key, repr(expected))

  def size(key, fields=own):
    return fields.size(key, _DEFAULTS[key])

  width, heads = size('hidden_size'), size('num_attention_heads')
  if width % heads:
    raise own.refuse('num_attention_heads', f'a divisor of {width}')
  patch, merge = size('patch_size'), size('scale_factor', config)
  side = size('image_size') // patch
  if not 0 < side <= _MOST_SIDE or side in _ROUNDED:
    raise own.refuse(
      'image_size',
      f'1 to {_MOST_SIDE} patches of {patch} pixels, and none of'
      f' {list(_ROUNDED)}: at others transformers takes a place for another',
    )
  if side % merge:
    raise config.refuse('scale_factor', f'a divisor of {side} patches a side')
  image_id = config.id('image_token_id')
  if image_id is None or image_id >= sizes['vocab_size']:
    raise config.refuse(
      'image_token_id', f'a token below vocab_size = {sizes["vocab_size"]}'
    )
  vision = tower.VisionConfig(
    num_layers=size('num_hidden_layers'),
    width=width,
    num_heads=heads,
    d_ff=size('intermediate_size'),
    patch_size=patch,
    merge_size=merge,
    temporal_size=1,
    norm='layer',
    mlp='gelu_tanh',
    image_id=image_id,
    grid=side,
    rotates=False,
    final_norm=True,
    merger_mlp=False,
    eps=own.positive('layer_norm_eps', _EPS),
  )
  return dict(vision=vision, banned_ids=(image_id,))


def to_json(shape: Any, text: dict[str, Any]) -> dict[str, Any]:
  """Contents of config.json, see `hf_vision.to_json`; of an Idefics3."""
  v, (name, kind) = shape.vision, next(iter(TYPES.items()))
  own = dict(
    model_type=f'{kind}_vision', hidden_size=v.width, intermediate_size=v.d_ff,
    num_hidden_layers=v.num_layers, num_attention_heads=v.num_heads,
    image_size=v.grid * v.patch_size, patch_size=v.patch_size, num_channels=3,
    hidden_act=_ACT, layer_norm_eps=v.eps,
  )  # fmt: skip
  dtype = text['torch_dtype']
  text = {
    k: x for k, x in text.items() if k not in ('torch_dtype', 'architectures')
  }
  return dict(
    architectures=[name], model_type=kind, text_config=text, vision_config=own,
    scale_factor=v.merge_size, image_token_id=v.image_id, torch_dtype=dtype,
    tie_word_embeddings=shape.tie_embeddings,
  )  # fmt: skip


def processor_of(fields: Fields, vision: tower.VisionConfig) -> Processor:
  """How pictures become patches; see `hf_vision.processor_of`."""
  if fields.values.get('do_image_splitting') is not False:
    raise fields.refuse(
      'do_image_splitting',
      'false: a picture is shown whole here, and not in tiles; where the file'
      ' says false, transformers shows it whole too',
    )
  if fields.values.get('resample') not in (None, 1):
    raise fields.refuse('resample', "1, Pillow's Lanczos")
  longest = _edge(fields.group('size'), _LONGEST)
  if longest > _MOST_LONGEST:
    raise fields.refuse('size', f'of an edge up to {_MOST_LONGEST}')
  square = _edge(fields.group('max_image_size'), _SQUARE)
  patch = vision.patch_size
  if square // patch != vision.grid:
    raise fields.refuse(
      'max_image_size', f'of {vision.grid} patches of {patch} pixels'
    )
  pixels = square**2
  return Processor(patch, vision.merge_size, pixels, pixels, square, longest)


def _edge(group, default):
  return group.size('longest_edge', None if group.values else default)


def processor_json(processor: Processor) -> dict[str, Any]:
  """Contents of preprocessor_config.json that are the family's own."""
  return dict(
    image_processor_type='Idefics3ImageProcessor', do_image_splitting=False,
    size=dict(longest_edge=processor.longest), resample=1, do_pad=True,
    max_image_size=dict(longest_edge=processor.square),
  )  # fmt: skip


def with_marks(
  vision: tower.VisionConfig, directory: str | pathlib.Path
) -> tower.VisionConfig:
  """A tower with the tokens around a picture, which only the tokenizer has.

  Args:
    vision: of a checkpoint.
    directory: the checkpoint's; without a tokenizer.json there are no such
      tokens.

  Raises:
    ValueError: the tokenizer lacks tokens that the family's processor writes.
  """
  path = pathlib.Path(directory) / 'tokenizer.json'
  if not path.is_file():
    return vision
  try:
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
  except Exception as error:  # The library raises nothing narrower.
    raise ValueError(f'{path} is malformed: {error}') from None
  tokenizer.no_padding()
  text = _AROUND + _WHOLE + _IMAGE
  *start, image = tokenizer.encode(text, add_special_tokens=False).ids or [-1]
  around = tokenizer.token_to_id(_AROUND)
  if image != vision.image_id or start[:1] != [around]:
    raise ValueError(
      f'{path}: {_AROUND} and {_IMAGE} have to be tokens, and the latter the'
      f' image_token_id {vision.image_id} of config.json'
    )
  return dataclasses.replace(vision, start_ids=tuple(start), end_ids=(around,))
