"""Checkpoints in the Hugging Face layout, streamed onto a mesh.

`export` writes directories that transformers and serving engines open,
`hf_config` reads their shape.  Everything that can be wrong with a directory is
found in its headers, before any device is touched.
"""

import dataclasses
import functools
import gc
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from k15.checkpoints import hf_config
from k15.checkpoints import hf_towers
from k15.checkpoints import hf_vision
from k15.checkpoints import tensor_files
from k15.model import policy
from k15.vision import images

# Parameter -> (tensor, transposed): kernels are [in, out] here, there the other
# way round.
OUTER = {
  ('embedding',): ('model.embed_tokens.weight', False),
  ('norm', 'scale'): ('model.norm.weight', False),
  ('lm_head',): ('lm_head.weight', True),
}
INNER = {
  ('attention_norm', 'scale'): ('input_layernorm.weight', False),
  ('mlp_norm', 'scale'): ('post_attention_layernorm.weight', False),
  ('attention', 'q'): ('self_attn.q_proj.weight', True),
  ('attention', 'k'): ('self_attn.k_proj.weight', True),
  ('attention', 'v'): ('self_attn.v_proj.weight', True),
  ('attention', 'o'): ('self_attn.o_proj.weight', True),
  ('attention', 'q_bias'): ('self_attn.q_proj.bias', False),
  ('attention', 'k_bias'): ('self_attn.k_proj.bias', False),
  ('attention', 'v_bias'): ('self_attn.v_proj.bias', False),
  ('attention', 'q_norm', 'scale'): ('self_attn.q_norm.weight', False),
  ('attention', 'k_norm', 'scale'): ('self_attn.k_norm.weight', False),
  ('gate',): ('mlp.gate_proj.weight', True),
  ('up',): ('mlp.up_proj.weight', True),
  ('down',): ('mlp.down_proj.weight', True),
}
IGNORED = ('.rotary_emb.inv_freq',)  # Old Llama files; computed here.


@dataclasses.dataclass(frozen=True)
class Leaf:
  """Where a parameter is in the files.

  Attributes:
    names: of its tensors: one, or one per layer where layers are stacked; where
      parts of a layer have tensors of their own, all of those.
    shape: of each of them, in the files.
    is_transposed: whether the files hold it the other way round.
    leading: axes of the parameter in front of those of one part: of layers if
      they are stacked, and of parts.
    parts: that lie above each other in a tensor; 1: there is one.
  """

  names: tuple[str, ...]
  shape: tuple[int, ...]
  is_transposed: bool
  leading: int
  parts: int = 1


def leaf_of(
  path: Any,
  x: Any,
  prefixes: tuple[str, str] = hf_towers.OLD,
  kind: str = '',
) -> Leaf:
  """The tensors of one parameter.

  Args:
    path: of `jax.tree_util`, from the root of the parameters.
    x: anything with its shape.
    prefixes: of the tensors of text and tower.
    kind: of the tower, see `hf_towers`.
  """
  keys, parts = tuple(entry.key for entry in path), 1
  in_tower = keys[0] == policy.VISION
  if in_tower:
    keys = keys[1:]
    parts = hf_towers.PARTS.get(keys[-1], 1)
    names, is_transposed = hf_towers.tensors_of(keys, kind)
    names = tuple(prefixes[1] + name for name in names)
  else:
    if keys in OUTER:
      name, is_transposed = OUTER[keys]
    else:
      name, is_transposed = INNER[keys[1:]]
      name = 'model.layers.{}.' + name
    if name.startswith('model.'):
      name = prefixes[0] + name.removeprefix('model.')
    names = (name,)
  is_stacked = keys[0] == 'layers'
  leading = is_stacked + (parts > 1)
  parts //= len(names)
  if '{}' in names[0]:
    layers = range(x.shape[0]) if is_stacked else [keys[0].split('_')[1]]
    names = tuple(name.format(layer) for layer in layers for name in names)
  shape = tuple(x.shape[leading:])
  if in_tower:
    shape = hf_towers.shape_of(keys, kind, shape)
  shape = shape[::-1] if is_transposed else shape
  shape = (parts * shape[0], *shape[1:])
  return Leaf(names, shape, is_transposed, leading, parts)


def load(
  directory: str | pathlib.Path, shape: policy.PolicyConfig, layout: Any
) -> Any:
  """Reads the parameters of a directory onto the devices of a layout.

  Host memory holds at most one tensor besides the result.  Every process reads
  the slices its own devices need.

  Args:
    directory: of the checkpoint.
    shape: of `hf_config.read_config`, perhaps with other dtypes, and layers
      scanned or not.
    layout: parameters as `jax.ShapeDtypeStruct`s with their shardings.

  Returns:
    The parameters, in the structure, dtypes and shardings of the layout.

  Raises:
    BadWeights: missing, extra or misshapen tensors, a wrong index, a damaged
      file, tied embeddings that differ; before any device work.  And values
      that are not finite, once they are met.
  """
  files = tensor_files.Files(directory)
  try:
    kind = hf_towers.kind_of(shape.vision)
    prefixes = hf_towers.prefixes_of(files.shapes(), kind)
    leaves = jax.tree_util.tree_map_with_path(
      functools.partial(leaf_of, prefixes=prefixes, kind=kind), layout
    )
    flat = jax.tree.leaves(leaves, is_leaf=lambda x: isinstance(x, Leaf))
    expected = {name: leaf.shape for leaf in flat for name in leaf.names}
    head = OUTER['lm_head',][0]
    is_spare = shape.tie_embeddings and head in files.shapes()
    if is_spare:  # Some writers store tied embeddings twice.
      expected[head] = shape.vocab_size, shape.d_model
    tensor_files.check(files, expected, IGNORED)
    if is_spare:
      _check_tied(files, f'{prefixes[0]}embed_tokens.weight', shape.vocab_size)
    return jax.tree.map(functools.partial(_load_leaf, files), layout, leaves)
  finally:
    files.close()


def _check_tied(files, embedding, vocab_size, rows=4096):
  head = OUTER['lm_head',][0]
  for start in range(0, vocab_size, rows):
    index = slice(start, min(start + rows, vocab_size)), slice(None)
    if not np.array_equal(
      files.read(embedding, index), files.read(head, index)
    ):
      raise tensor_files.BadWeights(
        f'{files.directory}: config.json ties the embeddings, and {head}'
        f' differs from {embedding}'
      )


def _load_leaf(files, like, leaf):
  shape = like.shape[leaf.leading :]
  kind = leaf.is_transposed, shape, like.dtype
  if not leaf.leading:
    x = _read(files, leaf.names[0], leaf, like.sharding)
    x = _finish(*kind, like.sharding)(x)
    return x.block_until_ready()  # The host lets go of the tensor.
  own = NamedSharding(
    like.sharding.mesh,
    PartitionSpec(*_spec(like.sharding, len(like.shape))[leaf.leading :]),
  )
  finish = _finish(*kind, own)
  # Layer by layer into one donated array: joined in the end, all layers would
  # lie on the devices twice.
  stacked = _zeros(like.shape, like.dtype, like.sharding)()
  put = _put_matrix(like.sharding)
  places = np.ndindex(*like.shape[: leaf.leading])
  for name in leaf.names:
    for part in range(leaf.parts):
      matrix = finish(_read(files, name, leaf, own, part))
      stacked = put(stacked, matrix, np.array(next(places), np.int32))
      stacked.block_until_ready()
  return stacked


def _read(files, name, leaf, sharding, part=0):
  """A part of a tensor as the files hold it, split as the parameter will be."""
  rows = leaf.shape[0] // leaf.parts
  shape = (rows, *leaf.shape[1:])
  spec = _spec(sharding, len(shape))
  spec = spec[::-1] if leaf.is_transposed else spec
  sharding = NamedSharding(sharding.mesh, PartitionSpec(*spec))
  devices = {}  # By slice: those that hold the same one share a reading.
  for device, index in sharding.addressable_devices_indices_map(shape).items():
    devices.setdefault(str(index), (index, []))[1].append(device)
  shards = []
  for index, holders in devices.values():
    gc.collect(0)  # jax lets go of what it was given before.
    start, stop, _ = index[0].indices(rows)
    own = slice(part * rows + start, part * rows + stop)
    read = files.read(name, (own, *index[1:]))
    # Copies, for an alias would keep the slice on the host.
    shards += [jax.device_put(read, d, may_alias=False) for d in holders]
    jax.block_until_ready(shards)
    del read
  return jax.make_array_from_single_device_arrays(shape, sharding, shards)


def _spec(sharding, ndim):
  spec = tuple(sharding.spec)
  # The axes that a file may lack are behind its own and never split.
  return (spec + (None,) * (ndim - len(spec)))[:ndim]


@functools.cache
def _finish(is_transposed, shape, dtype, sharding):
  """Turns and casts on the devices: the host needs no copy for it."""

  def finish(x):
    return (x.T if is_transposed else x).reshape(shape).astype(dtype)

  return jax.jit(finish, out_shardings=sharding)


@functools.cache
def _zeros(shape, dtype, sharding):
  return jax.jit(lambda: jnp.zeros(shape, dtype), out_shardings=sharding)


@functools.cache
def _put_matrix(sharding):
  def put(stacked, matrix, place):
    starts = [*place, *(0 for _ in matrix.shape)]
    one = matrix.reshape((1,) * len(place) + matrix.shape)
    return jax.lax.dynamic_update_slice(stacked, one, starts)

  return jax.jit(put, out_shardings=sharding, donate_argnums=0)


TOKENIZER_FILES = (
  'tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json',
  'added_tokens.json', 'vocab.json', 'merges.txt', 'chat_template.jinja',
)  # fmt: skip
# As transformers 4 cuts its files by default.
MAX_FILE_BYTES = 5_000_000_000


def export(
  directory: str | pathlib.Path,
  shape: policy.PolicyConfig,
  params: Any,
  generation: hf_config.Generation,
  dtype: str = 'bfloat16',
  tokenizer_from: str | pathlib.Path | None = None,
  max_file_bytes: int = MAX_FILE_BYTES,
  processor: images.Processor | None = None,
) -> None:
  """Writes a directory in the Hugging Face layout, whole or not at all.

  Every process calls it, to gather split tensors; the first writes.

  Args:
    directory: to make; may exist if it is empty.
    shape: of the policy.
    params: parameters, unboxed.
    generation: special ids and length.
    dtype: of the tensors: 'float32', 'bfloat16' or 'float16'.
    tokenizer_from: directory whose tokenizer files are copied, and those of
      its processor of pictures.
    max_file_bytes: of one file, unless a single tensor is larger.
    processor: of pictures, of a policy that sees and comes from no directory.

  Raises:
    ValueError: a directory that is not empty, an unknown dtype, or no
      architecture fits.
  """
  directory = pathlib.Path(directory)
  _check(directory, dtype)
  texts = hf_config.to_json(shape, generation, dtype)
  partial = directory.with_name(directory.name + '.partial')
  if jax.process_index() == 0:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
  places = dict(_places(shape, params))
  write_weights(
    partial,
    {
      name: (leaf.shape, jnp.dtype(dtype))
      for name, (_, leaf, _) in places.items()
    },
    lambda name: gather(*places[name], jnp.dtype(dtype)),
    max_file_bytes,
  )
  if jax.process_index() == 0:
    _write_json(partial / 'config.json', texts[0])
    _write_json(partial / 'generation_config.json', texts[1])
    if processor is not None:
      text = hf_vision.processor_json(shape.vision, processor)
      _write_json(partial / hf_vision.PROCESSOR, text)
    if tokenizer_from:
      _copy_tokenizer(pathlib.Path(tokenizer_from), partial)
    # A rename takes the place of an empty directory, and of no other; until
    # here a kill leaves `.partial`, which the next attempt removes.
    os.replace(partial, directory)


def _check(directory, dtype):
  dtypes = list(tensor_files.DTYPES.values())
  if dtype not in dtypes:
    raise ValueError(f'dtype {dtype!r} is not one of {dtypes}')
  if directory.exists() and any(directory.iterdir()):
    raise ValueError(f'{directory} is not empty')


def write_weights(
  directory: pathlib.Path,
  kinds: Mapping[str, tensor_files.Kind],
  array_of: Callable[[str], np.ndarray],
  max_file_bytes: int = MAX_FILE_BYTES,
) -> None:
  """Writes tensors one by one, and an index of the files if there are several.

  Args:
    directory: exists.
    kinds: name of each tensor -> its shape and dtype.
    array_of: called once for each name, in every process.
    max_file_bytes: of one file, unless a single tensor is larger.
  """
  # The wider first: each begins at a multiple of its own width.
  names = sorted(kinds, key=lambda name: -kinds[name][1].itemsize)
  sizes = {name: tensor_files.bytes_of(kinds[name]) for name in names}
  groups = tensor_files.split(sizes, max_file_bytes)
  weight_map = {}
  for i, names in enumerate(groups):
    file = tensor_files.SINGLE
    if len(groups) > 1:
      file = f'model-{i + 1:05}-of-{len(groups):05}.safetensors'
    weight_map |= dict.fromkeys(names, file)
    arrays = (array_of(name) for name in names)
    if jax.process_index() == 0:
      own = {name: kinds[name] for name in names}
      tensor_files.write(directory / file, own, arrays)
    else:
      for _ in arrays:  # The others only help to gather.
        pass
  if len(groups) > 1 and jax.process_index() == 0:
    metadata = dict(total_size=sum(sizes.values()))
    index = dict(metadata=metadata, weight_map=weight_map)
    _write_json(directory / tensor_files.INDEX, index)


def _places(shape, params) -> Iterator:
  """(tensor name, (parameter, its Leaf, place)) of all tensors."""
  kind = hf_towers.kind_of(shape.vision)
  prefixes = hf_towers.written(kind)
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    leaf = leaf_of(path, x, prefixes, kind)
    for i, name in enumerate(leaf.names):
      yield name, (x, leaf, i)


def gather(x: jax.Array, leaf: Leaf, place: int, dtype: Any) -> np.ndarray:
  """The tensor of a place in `leaf.names` as numpy; in every process."""
  # By a jitted function and not by `np.asarray`, which a process can do only of
  # what its own devices hold.
  whole = None
  if isinstance(x.sharding, NamedSharding):
    whole = NamedSharding(x.sharding.mesh, PartitionSpec())
  kind = len(leaf.names), leaf.is_transposed, leaf.leading, leaf.shape
  take = _take(*kind, dtype, whole)
  return np.asarray(take(x, np.int32(place)))


@functools.cache
def _take(count, is_transposed, leading, shape, dtype, sharding):
  def take(x, place):
    x = x.reshape(count, -1, *x.shape[leading:])
    x = jax.lax.dynamic_index_in_dim(x, place, 0, keepdims=False)
    x = x.swapaxes(-1, -2) if is_transposed else x
    return x.reshape(shape).astype(dtype)

  return jax.jit(take, out_shardings=sharding)


def _copy_tokenizer(source, directory):
  for name in (*TOKENIZER_FILES, *hf_vision.PROCESSOR_FILES):
    if (source / name).is_file():
      shutil.copyfile(source / name, directory / name)


def _write_json(path, value):
  path.write_text(json.dumps(value, indent=2) + '\n', encoding='utf-8')
