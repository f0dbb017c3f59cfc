"""Parameters out to a directory that transformers and serving engines open."""

import functools
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

from k15 import hf
from k15 import hf_config
from k15 import hf_files
from k15 import policy

TOKENIZER_FILES = (
  'tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json',
  'added_tokens.json', 'vocab.json', 'merges.txt', 'chat_template.jinja',
)  # fmt: skip
MAX_FILE_BYTES = 5_000_000_000


def export(
  directory: str | pathlib.Path,
  shape: policy.PolicyConfig,
  params: Any,
  generation: hf_config.Generation,
  dtype: str = 'bfloat16',
  tokenizer_from: str | pathlib.Path | None = None,
  max_file_bytes: int = MAX_FILE_BYTES,
) -> None:
  """Writes a directory in the Hugging Face layout, whole or not at all.

  Every process calls it, to gather split tensors; the first writes.

  Args:
    directory: to make; may exist if it is empty.
    shape: of the policy.
    params: parameters, unboxed.
    generation: special ids and length.
    dtype: of the tensors: 'float32', 'bfloat16' or 'float16'.
    tokenizer_from: directory whose tokenizer files are copied.
    max_file_bytes: of one file, unless a single tensor is larger.

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
  places = dict(_places(params))
  write_weights(
    partial,
    {
      name: (leaf.shape, jnp.dtype(dtype))
      for name, (_, leaf, _) in places.items()
    },
    lambda name: _gather(*places[name], jnp.dtype(dtype)),
    max_file_bytes,
  )
  if jax.process_index() == 0:
    _write_json(partial / 'config.json', texts[0])
    _write_json(partial / 'generation_config.json', texts[1])
    if tokenizer_from:
      _copy_tokenizer(pathlib.Path(tokenizer_from), partial)
    os.replace(partial, directory)


def _check(directory, dtype):
  dtypes = list(hf_files.DTYPES.values())
  if dtype not in dtypes:
    raise ValueError(f'dtype {dtype!r} is not one of {dtypes}')
  if directory.exists() and any(directory.iterdir()):
    raise ValueError(f'{directory} is not empty')


def write_weights(
  directory: pathlib.Path,
  kinds: Mapping[str, hf_files.Kind],
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
  sizes = {name: hf_files.bytes_of(kinds[name]) for name in names}
  groups = hf_files.split(sizes, max_file_bytes)
  weight_map = {}
  for i, names in enumerate(groups):
    file = hf_files.SINGLE
    if len(groups) > 1:
      file = f'model-{i + 1:05}-of-{len(groups):05}.safetensors'
    weight_map |= dict.fromkeys(names, file)
    arrays = (array_of(name) for name in names)
    if jax.process_index() == 0:
      own = {name: kinds[name] for name in names}
      hf_files.write(directory / file, own, arrays)
    else:
      for _ in arrays:  # The others only help to gather.
        pass
  if len(groups) > 1 and jax.process_index() == 0:
    metadata = dict(total_size=sum(sizes.values()))
    index = dict(metadata=metadata, weight_map=weight_map)
    _write_json(directory / hf_files.INDEX, index)


def _places(params) -> Iterator:
  """(tensor name, (parameter, its Leaf, layer)) of all tensors."""
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    leaf = hf.leaf_of(path, x)
    for i, name in enumerate(leaf.names):
      yield name, (x, leaf, i)


def _gather(x, leaf, layer, dtype):
  """One tensor as numpy, turned as the files have it."""
  whole = None
  if isinstance(x.sharding, NamedSharding):
    whole = NamedSharding(x.sharding.mesh, PartitionSpec())
  take = _take(leaf.is_stacked, leaf.is_transposed, dtype, whole)
  return np.asarray(take(x, np.int32(layer)))


@functools.cache
def _take(is_stacked, is_transposed, dtype, sharding):
  def take(x, layer):
    if is_stacked:
      x = jax.lax.dynamic_index_in_dim(x, layer, 0, keepdims=False)
    return (x.T if is_transposed else x).astype(dtype)

  return jax.jit(take, out_shardings=sharding)


def _copy_tokenizer(source, directory):
  for name in TOKENIZER_FILES:
    if (source / name).is_file():
      shutil.copyfile(source / name, directory / name)


def _write_json(path, value):
  path.write_text(json.dumps(value, indent=2) + '\n', encoding='utf-8')
