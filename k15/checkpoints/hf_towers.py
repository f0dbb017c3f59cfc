"""How each family's files call the tensors of a policy that sees.

A table a family, parameter -> (tensor, transposed) as in `hf`.  `kind` is the
tower's: its MLP, or SIGLIP; '' stands for a policy without one.
"""

from collections.abc import Iterable

from k15.model import tower

# Of text and tower.
NEW, OLD = ('model.language_model.', 'model.visual.'), ('model.', 'visual.')
IDEFICS = ('model.text_model.', 'model.')
SIGLIP = 'siglip'
_WRITTEN = {
  'gelu_tanh': NEW, 'swiglu': OLD, 'quick_gelu': OLD, SIGLIP: IDEFICS, '': OLD
}  # fmt: skip
# Last entry of a parameter's path -> matrices along an axis of their own.
PARTS = {'qkv': 3, 'qkv_bias': 3}


def kind_of(vision: tower.VisionConfig | None) -> str:
  """By which tensors are named."""
  if vision is None:
    return ''
  return vision.mlp if vision.merger_mlp else SIGLIP


def prefixes_of(names: Iterable[str], kind: str) -> tuple[str, str]:
  """Prefixes of text and tower in files with these tensors."""
  if not kind or kind == SIGLIP:
    return _WRITTEN[kind]
  return NEW if any(name.startswith(NEW[1]) for name in names) else OLD


def written(kind: str) -> tuple[str, str]:
  """Prefixes of text and tower in files that are made here."""
  return _WRITTEN[kind]


_OUTER = {
  ('patch',): ('patch_embed.proj.weight', False),
  ('patch_bias',): ('patch_embed.proj.bias', False),
  ('places',): ('pos_embed.weight', False),
}
_BLOCK = {
  ('qkv',): ('attn.qkv.weight', True),
  ('qkv_bias',): ('attn.qkv.bias', False),
  ('proj',): ('attn.proj.weight', True),
  ('proj_bias',): ('attn.proj.bias', False),
  **{
    (norm, part): (f'{norm}.{theirs}', False)
    for norm in ('norm1', 'norm2')
    for part, theirs in (('scale', 'weight'), ('bias', 'bias'))
  },
}
# Of an MLP's matrices in a block, of a merger's norm and of its matrices.
_FC = dict(up_proj='linear_fc1', down_proj='linear_fc2')
_GATED = {f'{x}_proj': f'{x}_proj' for x in ('gate', 'up', 'down')}
_SEQUENCE = 'ln_q', dict(up_proj='mlp.0', down_proj='mlp.2')
_LINEAR = {
  'gelu_tanh': (_FC, 'norm', _FC),
  'swiglu': (_GATED, *_SEQUENCE),
  'quick_gelu': (dict(up_proj='fc1', down_proj='fc2'), *_SEQUENCE),
}
# SigLIP's, with the matrix that follows it.
_CONNECTOR = 'connector.modality_projection.proj.weight'
_WHOLE = {
  ('patch',): 'embeddings.patch_embedding.weight',
  ('patch_bias',): 'embeddings.patch_embedding.bias',
  ('places',): 'embeddings.position_embedding.weight',
  ('norm', 'scale'): 'post_layernorm.weight',
  ('norm', 'bias'): 'post_layernorm.bias',
}
_LAYER = dict(
  norm1='layer_norm1', norm2='layer_norm2', proj='self_attn.out_proj',
  up_proj='mlp.fc1', down_proj='mlp.fc2',
)  # fmt: skip


def tensors_of(
  keys: tuple[str, ...], kind: str
) -> tuple[tuple[str, ...], bool]:
  """The tensors of a parameter, behind the tower's prefix, and if turned.

  Args:
    keys: path of the parameter in the tower's.
    kind: of `kind_of`.

  Returns:
    One name, or one of each of its `PARTS` where they are tensors of their own;
    with '{}' for the number of a block.
  """
  if kind == SIGLIP:
    return _siglip(keys)
  name, is_transposed = _qwen(keys, kind)
  return (name,), is_transposed


def shape_of(
  keys: tuple[str, ...], kind: str, shape: tuple[int, ...]
) -> tuple[int, ...]:
  """The same for its shape: SigLIP's patches have no axis of frames."""
  if kind == SIGLIP and keys == ('patch',):
    return (*shape[:2], *shape[3:])
  return shape


def _siglip(keys):
  if keys == ('merger', 'down_proj'):
    return (_CONNECTOR,), True
  if keys in _WHOLE:
    return (f'vision_model.{_WHOLE[keys]}',), False
  where, key = 'vision_model.encoder.layers.{}.', keys[1]
  if key in ('norm1', 'norm2'):
    end = 'weight' if keys[2] == 'scale' else 'bias'
    return (f'{where}{_LAYER[key]}.{end}',), False
  end = 'bias' if key.endswith('_bias') else 'weight'
  key = key.removesuffix('_bias')
  names = (
    [f'self_attn.{x}_proj' for x in key] if key == 'qkv' else [_LAYER[key]]
  )
  return tuple(f'{where}{name}.{end}' for name in names), end == 'weight'


def _qwen(keys, kind):
  block, norm, merger = _LINEAR[kind]
  if keys in _OUTER:
    return _OUTER[keys]
  first, rest = keys[0], keys[1:]
  if first == 'merger' or first.startswith('deep_'):
    where = 'merger'
    if first != 'merger':
      where = f'deepstack_merger_list.{first.removeprefix("deep_")}'
    if rest[0] == 'norm':
      end = 'weight' if rest[1] == 'scale' else 'bias'
      return f'{where}.{norm}.{end}', False
    return _linear(f'{where}.', merger, rest[0])
  if rest in _BLOCK:
    end, is_transposed = _BLOCK[rest]
    return 'blocks.{}.' + end, is_transposed
  return _linear('blocks.{}.mlp.', block, rest[0])


def _linear(prefix, names, key):
  if key.endswith('_bias'):
    return f'{prefix}{names[key.removesuffix("_bias")]}.bias', False
  return f'{prefix}{names[key]}.weight', True
