"""A GGUF file into a directory of the hub's layout, tensor by tensor.

  python -m k15.checkpoints.gguf.from_gguf MODEL.gguf DIRECTORY

Where a model is asked for and a file is named, the directory is made beside it,
once: `MODEL.gguf.hub`.  All that comes after reads the directory.
"""

import argparse
import contextlib
import fcntl
import json
import pathlib
import shutil
import sys
import uuid
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from k15.checkpoints import hf
from k15.checkpoints import hf_config
from k15.checkpoints import tensor_files
from k15.checkpoints.gguf import gguf_config
from k15.checkpoints.gguf import gguf_file
from k15.checkpoints.gguf import gguf_tokenizer
from k15.model import policy

SUFFIX = '.gguf'
_STAMP = 'gguf.stamp'  # Says of which state of the file a directory is made.
_VERSION = 1  # Of what is made of the same file.


def directory_of(path: pathlib.Path) -> pathlib.Path:
  """The directory made of a file: it is beside it, or made now.

  A file that changed is converted anew.  Processes of one host wait for the
  one that converts.

  Raises:
    ValueError: the file is refused, or the directory cannot be written.
  """
  directory = path.with_name(f'{path.name}.hub')
  with path.open('rb') as file:
    # Where a filesystem has no locks, each process converts for itself.
    with contextlib.suppress(OSError):
      fcntl.flock(file, fcntl.LOCK_EX)
    stamp = _stamp(path)
    if not _has(directory, stamp):
      _replace(path, directory, stamp)
  return directory


def _stamp(path):
  state = path.stat()
  # Not a hash: to read 10 GB at every start would take longer than most starts.
  return f'{_VERSION} {state.st_size} {state.st_mtime_ns}\n'


def _has(directory, stamp):
  path = directory / _STAMP
  return path.is_file() and path.read_text() == stamp


def _replace(path, directory, stamp):
  # A name of its own: without locks several processes convert at once, and none
  # may write into another's.
  new = directory.with_name(f'{directory.name}.{uuid.uuid4().hex}')
  print(f'{path}: being converted into {directory}', flush=True)
  try:
    convert(path, new)
    (new / _STAMP).write_text(stamp)
    if not _has(directory, stamp):  # On another host, meanwhile.
      shutil.rmtree(directory, ignore_errors=True)
      new.rename(directory)
  except OSError as error:
    raise ValueError(
      f'{directory} cannot be written ({error.strerror}): python -m'
      f' k15.checkpoints.gguf.from_gguf {path} DIRECTORY makes one elsewhere'
    ) from None
  finally:
    shutil.rmtree(new, ignore_errors=True)


def convert(
  path: str | pathlib.Path, directory: str | pathlib.Path
) -> policy.PolicyConfig:
  """Writes config, tokenizer and weights of a file, all or none of them.

  The host holds one tensor at a time.  Tensors of 16 bits are kept as they are,
  and what is quantized becomes float32, to the bit as it would be computed.

  Args:
    path: of the file.
    directory: to make; may exist if it is empty.

  Returns:
    The shape of the policy.

  Raises:
    ValueError: a file that `gguf_file`, `gguf_config`, `gguf_tokenizer` or
      `hf_config` refuses, missing, unknown or misshapen tensors, or a directory
      that is not empty; before anything is written.
  """
  directory = pathlib.Path(directory)
  if directory.exists() and any(directory.iterdir()):
    raise ValueError(f'{directory} is not empty')
  file = gguf_file.GgufFile(path)
  config, generation = gguf_config.read(file)
  shape = hf_config.shape_of(gguf_config.as_fields(file, config))
  names = _names(file, shape)
  tokenizer, settings = gguf_tokenizer.read(file.fields)
  partial = directory.with_name(f'{directory.name}.partial')
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    _write_json(partial / 'config.json', config)
    _write_json(partial / 'generation_config.json', generation)
    _write_json(partial / 'tokenizer_config.json', settings)
    tokenizer.save(str(partial / 'tokenizer.json'))
    _write_weights(file, shape, names, partial)
    partial.replace(directory)
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  return shape


def _names(file, shape):
  """The hub's name of each tensor -> the file's; of those that have to be."""
  kind = gguf_config.architecture(file)
  package = gguf_file.gguf
  number = {name: x for x, name in package.MODEL_ARCH_NAMES.items()}[kind]
  theirs = package.get_tensor_name_map(number, shape.num_layers)
  names, expected = {}, {}
  for name, size in _expected(shape).items():
    stem, _, end = name.rpartition('.')
    names[name] = f'{theirs.get_name(stem)}.{end}'
    expected[names[name]] = size
  tensor_files.check_shapes(
    str(file.path), file.shapes(), expected, [gguf_config.ROPE_FACTORS]
  )
  return names


def _expected(shape) -> dict[str, tuple[int, ...]]:
  """The hub's name of each tensor of a policy -> its shape there."""
  leaves = jax.tree_util.tree_leaves_with_path(
    policy.boxed(shape), is_leaf=lambda x: isinstance(x, nn.Partitioned)
  )
  found = {}
  for path, box in leaves:
    leaf = hf.leaf_of(path, box.value)
    found |= dict.fromkeys(leaf.names, leaf.shape)
  return found


def _write_weights(file, shape, names, directory):
  shapes = file.shapes()
  # llama.cpp turns neighbours of a head of these: it permutes their rows.
  heads = {}
  if gguf_config.architecture(file) == 'llama':
    heads = {'q_proj': shape.num_heads, 'k_proj': shape.num_kv_heads}

  def tensor(name) -> np.ndarray:
    part = name.split('.')[-2]
    x = file.read(names[name])
    return _unpermuted(x, heads[part]) if part in heads else x

  kinds = {
    name: (shapes[theirs], file.dtype(theirs)) for name, theirs in names.items()
  }
  hf.write_weights(directory, kinds, tensor)


def _unpermuted(x, num_heads):
  """Rows of each head: pairs that are neighbours, back into two halves."""
  pairs = x.reshape(num_heads, -1, 2, x.shape[1])
  return pairs.swapaxes(1, 2).reshape(x.shape)


def _write_json(path, value: Any):
  path.write_text(json.dumps(value, indent=2) + '\n', encoding='utf-8')


def main(argv: Sequence[str] | None = None) -> None:
  """The command; a file that is refused ends it with a sentence."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('file', metavar='MODEL.gguf')
  parser.add_argument('directory', metavar='DIRECTORY')
  args = parser.parse_args(argv)
  try:
    shape = convert(args.file, args.directory)
  except (ValueError, OSError) as error:
    sys.exit(f'k15: {error}')
  print(
    f'{args.directory}: {shape.num_layers} layers of width {shape.d_model},'
    f' {shape.vocab_size} tokens'
  )


if __name__ == '__main__':
  main()
