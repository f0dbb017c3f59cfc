"""Small random checkpoints that see, in the Hugging Face layout, one a family.

Made of numpy and safetensors alone, as `hf_checkpoints`, with names and shapes
written out here once more.
"""

import json

import hf_checkpoints
import numpy as np

VOCAB, D, NEW = 96, 32, 24
TEXT = 5  # tokens of the text behind the last picture
IMAGE, VIDEO, START, END = 90, 91, 92, 93
# Around a picture of SmolVLM; of the second, a tokenizer may make five.
FAKE, GLOBAL, PARTS = 92, 93, (3, 4, 5, 6, 7)
# Rows and columns of patches of two pictures, in units of a block.
BLOCKS = (3, 5), (2, 1)
WIDTH, MLP = 32, 40  # of the tower


def _text(layers, **others):
  return dict(
    vocab_size=VOCAB, hidden_size=D, num_hidden_layers=layers,
    num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
    hidden_act='silu', rms_norm_eps=1e-6, max_position_embeddings=256,
    rope_theta=1e4, eos_token_id=1, **others,
  )  # fmt: skip


def _whole(architecture, model_type, **others):
  return dict(
    architectures=[architecture], model_type=model_type,
    image_token_id=IMAGE, video_token_id=VIDEO, vision_start_token_id=START,
    vision_end_token_id=END, torch_dtype='float32', **others,
  )  # fmt: skip


def _qwen3(head_dim, section, tie, vision, **text):
  rope = dict(
    rope_type='default', mrope_interleaved=True, mrope_section=section
  )
  return _whole(
    'Qwen3VLForConditionalGeneration', 'qwen3_vl',
    text_config=_text(
      4, model_type='qwen3_vl_text', head_dim=head_dim, attention_bias=False,
      **{'rope_scaling': rope} | text,
    ),
    vision_config=dict(
      model_type='qwen3_vl', depth=4, hidden_size=WIDTH, intermediate_size=MLP,
      num_heads=2, in_channels=3, out_hidden_size=D,
      hidden_act='gelu_pytorch_tanh', **vision,
    ),
    tie_word_embeddings=tie,
  )  # fmt: skip


_OLD_ROPE = dict(type='mrope', mrope_section=[1, 1, 2])
_OLD_TOWER = dict(
  depth=3, num_heads=2, in_chans=3, patch_size=4, spatial_patch_size=4,
  spatial_merge_size=2, temporal_patch_size=2,
)  # fmt: skip
_WINDOWS = dict(
  hidden_size=WIDTH, intermediate_size=MLP, out_hidden_size=D,
  window_size=16, fullatt_block_indexes=[1], hidden_act='silu',
  tokens_per_second=2, **_OLD_TOWER,
)  # fmt: skip


def _square(model_type, architecture, tie, scale, **vision):
  return dict(
    architectures=[architecture], model_type=model_type, scale_factor=scale,
    image_token_id=IMAGE, torch_dtype='float32', tie_word_embeddings=tie,
    text_config=_text(2, model_type='llama', pad_token_id=0),
    vision_config=dict(
      model_type=f'{model_type}_vision', hidden_size=WIDTH,
      intermediate_size=MLP, num_hidden_layers=3, num_attention_heads=2,
      **vision,
    ),
  )  # fmt: skip


CASES = {
  'qwen3_vl': _qwen3(
    16, [4, 2, 2], True,
    dict(
      patch_size=4, spatial_merge_size=2, temporal_patch_size=2,
      num_position_embeddings=25, deepstack_visual_indexes=[0, 1, 3],
    ),
  ),
  # What k15 makes itself: a token a patch, no deepstack.
  'qwen3_vl_tiny': _qwen3(
    32, [6, 5, 5], False,
    dict(
      patch_size=8, spatial_merge_size=1, temporal_patch_size=1,
      num_position_embeddings=64, deepstack_visual_indexes=[],
    ),
    rope_scaling=None,
    rope_parameters=dict(
      rope_type='default', rope_theta=1e4, mrope_interleaved=True,
      mrope_section=[6, 5, 5],
    ),
  ),
  'qwen2_5_vl': _whole(
    'Qwen2_5_VLForConditionalGeneration', 'qwen2_5_vl',
    vision_config=dict(model_type='qwen2_5_vl', **_WINDOWS),
    rope_scaling=_OLD_ROPE, tie_word_embeddings=False, **_text(2),
  ),
  'qwen2_5_vl_nested': _whole(
    'Qwen2_5_VLForConditionalGeneration', 'qwen2_5_vl',
    text_config=_text(
      2, model_type='qwen2_5_vl_text',
      rope_scaling=_OLD_ROPE | dict(type='default', rope_type='default'),
      tie_word_embeddings=True,
    ),
    vision_config=dict(model_type='qwen2_5_vl_vision', **_WINDOWS),
  ),
  'qwen2_vl': _whole(
    'Qwen2VLForConditionalGeneration', 'qwen2_vl',
    vision_config=dict(
      model_type='qwen2_vl', embed_dim=WIDTH, hidden_size=D, mlp_ratio=2,
      hidden_act='quick_gelu', **_OLD_TOWER,
    ),
    rope_scaling=_OLD_ROPE, tie_word_embeddings=True, **_text(2),
  ),
  'idefics3': _square(
    'idefics3', 'Idefics3ForConditionalGeneration', False, 2,
    patch_size=4, image_size=24,
  ),
  # A pixel is left over at the sides of the square.
  'smolvlm': _square(
    'smolvlm', 'SmolVLMForConditionalGeneration', True, 3,
    patch_size=2, image_size=13, layer_norm_eps=1e-5,
  ),
}  # fmt: skip
SQUARES = ('idefics3', 'smolvlm')


def is_square(config):
  """Whether every picture becomes one square: SmolVLM and Idefics3."""
  return 'scale_factor' in config


def shapes(config):
  """Tensor name -> shape."""
  kind = config['model_type']
  is_new = kind == 'qwen3_vl'
  text = config.get('text_config', config)
  ties = config.get('tie_word_embeddings', text.get('tie_word_embeddings'))
  plain = dict(
    head_dim=D // text['num_attention_heads'],
    **{k: x for k, x in text.items() if k != 'head_dim'},
  ) | dict(tie_word_embeddings=ties)
  plain['model_type'] = dict.fromkeys(SQUARES, 'llama').get(kind, kind[:5])
  plain |= {k: text[k] for k in ('head_dim',) if k in text}
  named = hf_checkpoints.shapes(plain)
  if is_square(config):
    return _siglip(config) | {
      name.replace('model.', 'model.text_model.', 1): shape
      for name, shape in named.items()
    }
  if is_new or 'text_config' in config:
    named = {
      name.replace('model.', 'model.language_model.', 1): shape
      for name, shape in named.items()
    }
  prefix = 'model.visual.' if is_new or 'text_config' in config else 'visual.'
  tower = _tower(kind, config['vision_config'])
  return named | {prefix + name: shape for name, shape in tower.items()}


def _siglip(config):
  v, d = config['vision_config'], WIDTH
  p, whole = v['patch_size'], config['scale_factor'] ** 2 * d
  named = {
    'embeddings.patch_embedding.weight': (d, 3, p, p),
    'embeddings.patch_embedding.bias': (d,),
    'embeddings.position_embedding.weight': ((v['image_size'] // p) ** 2, d),
    'post_layernorm.weight': (d,),
    'post_layernorm.bias': (d,),
  }
  for i in range(v['num_hidden_layers']):
    block = {
      **{f'self_attn.{x}_proj': (d, d) for x in ('q', 'k', 'v', 'out')},
      **{'mlp.fc1': (MLP, d), 'mlp.fc2': (d, MLP)},
      **{'layer_norm1': (d,), 'layer_norm2': (d,)},
    }
    for name, shape in block.items():
      named[f'encoder.layers.{i}.{name}.weight'] = shape
      named[f'encoder.layers.{i}.{name}.bias'] = shape[:1]
  return {f'model.vision_model.{name}': x for name, x in named.items()} | {
    'model.connector.modality_projection.proj.weight': (D, whole)
  }


def _tower(kind, v):
  p, m, t = (
    v[k] for k in ('patch_size', 'spatial_merge_size', 'temporal_patch_size')
  )
  d = WIDTH
  ff = d * v['mlp_ratio'] if kind == 'qwen2_vl' else MLP
  named = {'patch_embed.proj.weight': (d, 3, t, p, p)}
  if kind == 'qwen3_vl':
    named |= {
      'patch_embed.proj.bias': (d,),
      'pos_embed.weight': (v['num_position_embeddings'], d),
    }

  def linear(name, wide, narrow):
    return {f'{name}.weight': (wide, narrow), f'{name}.bias': (wide,)}

  def norm(name, width):
    parts = ['weight'] if kind == 'qwen2_5_vl' else ['weight', 'bias']
    return {f'{name}.{part}': (width,) for part in parts}

  for i in range(v['depth']):
    block = norm('norm1', d) | norm('norm2', d)
    block |= linear('attn.qkv', 3 * d, d) | linear('attn.proj', d, d)
    if kind == 'qwen2_5_vl':
      block |= linear('mlp.gate_proj', ff, d) | linear('mlp.up_proj', ff, d)
      block |= linear('mlp.down_proj', d, ff)
    else:
      first, second = (
        ('linear_fc1', 'linear_fc2') if kind == 'qwen3_vl' else ('fc1', 'fc2')
      )
      block |= linear(f'mlp.{first}', ff, d) | linear(f'mlp.{second}', d, ff)
    named |= {f'blocks.{i}.{name}': shape for name, shape in block.items()}

  whole = m * m * d
  if kind != 'qwen3_vl':
    named |= norm('merger.ln_q', d)
    return named | (
      linear('merger.mlp.0', whole, whole) | linear('merger.mlp.2', D, whole)
    )
  places = {'merger': d}
  for k in range(len(v['deepstack_visual_indexes'])):
    places[f'deepstack_merger_list.{k}'] = whole
  for place, width in places.items():
    named |= norm(f'{place}.norm', width)
    named |= linear(f'{place}.linear_fc1', whole, whole)
    named |= linear(f'{place}.linear_fc2', D, whole)
  return named


def tensors(config, seed=0):
  """Every tensor random, scales around 1."""
  rng = np.random.default_rng(seed)
  drawn = {}
  for name, shape in shapes(config).items():
    x = rng.normal(0, 0.2, shape).astype(np.float32)
    is_norm = 'norm' in name or 'ln_q' in name
    drawn[name] = x + np.float32(is_norm and name.endswith('weight'))
  return drawn


def write(directory, config, files=1):
  """Writes the directory, and what says how pictures become patches."""
  hf_checkpoints.write(directory, config, tensors(config), files)
  v = config['vision_config']
  stats = dict(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4])
  if is_square(config):
    own = dict(
      do_image_splitting=False, size=dict(longest_edge=31),
      max_image_size=dict(longest_edge=v['image_size']),
    )  # fmt: skip
    text = json.dumps(_tokenizer(config['model_type'] == 'idefics3'))
    (directory / 'tokenizer.json').write_text(text)
  else:
    own = dict(
      patch_size=v['patch_size'], merge_size=v['spatial_merge_size'],
      temporal_patch_size=v['temporal_patch_size'],
      size=dict(shortest_edge=64, longest_edge=1 << 16),
    )  # fmt: skip
  text = json.dumps(own | stats)
  (directory / 'preprocessor_config.json').write_text(text)
  return directory


def _tokenizer(has_global):
  words = dict(zip(['<', 'global', '-', 'img', '>'], PARTS, strict=True))
  special = {'<image>': IMAGE, '<fake_token_around_image>': FAKE}
  special |= {'<global-img>': GLOBAL} if has_global else {}
  flags = dict.fromkeys(
    ('single_word', 'lstrip', 'rstrip', 'normalized'), False
  )
  return dict(
    version='1.0',
    added_tokens=[
      dict(id=i, content=x, special=True, **flags) for x, i in special.items()
    ],
    pre_tokenizer=dict(type='Whitespace'),
    model=dict(
      type='WordLevel', vocab=words | special | {'': 0}, unk_token=''
    ),
  )  # fmt: skip


def pictures(config):
  """Pixels uint8 [h, w, 3] of each picture."""
  v = config['vision_config']
  merge = config.get('scale_factor') or v['spatial_merge_size']
  side = v['patch_size'] * merge
  rng = np.random.default_rng(3)
  return [
    rng.integers(0, 256, (rows * side, columns * side, 3), np.uint8)
    for rows, columns in BLOCKS
  ]


def marks(config):
  """Tokens in front of a picture and behind it."""
  if not is_square(config):
    return (START,), (END,)
  has_global = config['model_type'] == 'idefics3'
  return (FAKE, *([GLOBAL] if has_global else PARTS)), (FAKE,)


def prompt(config):
  """int32 [T], placeholders expanded; a text is last."""
  rng = np.random.default_rng(7)
  text = [rng.integers(2, 90, n).astype(np.int32) for n in (4, 3, 5)]
  counts = [rows * columns for rows, columns in BLOCKS]
  if is_square(config):
    v = config['vision_config']
    side = v['image_size'] // v['patch_size'] // config['scale_factor']
    counts = [side**2] * len(counts)
  start, end = marks(config)
  first, second = (
    np.array([*start, *[IMAGE] * count, *end], np.int32) for count in counts
  )
  return np.concatenate([text[0], first, text[1], second, text[2]])
