"""Two models on disk into a third, tensor by tensor: Kimi k1.5, section 2.4.

The host holds one tensor of each at a time, whatever their size.
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil

import jax.numpy as jnp

from k15 import files
from k15.checkpoints import hf
from k15.checkpoints import hf_config
from k15.checkpoints import models
from k15.checkpoints import tensor_files
from k15.equations import long2short

_OTHERS = 'config.json', 'generation_config.json', models.BYTE_TOKENIZER
_TOKENIZER_FILES = ('tokenizer.json', models.BYTE_TOKENIZER)


def merge(
  directory: pathlib.Path,
  long: pathlib.Path,
  short: pathlib.Path,
  short_share: float,
  origin: models.Origin,
  max_file_bytes: int = hf.MAX_FILE_BYTES,
) -> None:
  """Writes (1 - a) long + a short in place of an earlier model, or nothing.

  All but the weights is taken from the first.

  Args:
    directory: to write.
    long: directory of the long-CoT model.
    short: of the short-CoT model.
    short_share: a in [0, 1].
    origin: what is remembered of the stage.
    max_file_bytes: of one file of weights, unless a single tensor is larger.

  Raises:
    ValueError: the two are not of one family; says in what they differ.
  """
  refuse_strangers(long, short)
  new = directory.with_name(directory.name + '.new')
  shutil.rmtree(new, ignore_errors=True)
  new.mkdir(parents=True)
  with _both(long, short) as opened:
    names = _names(long, opened[0])
    _write_weights(new, opened, names, short_share, max_file_bytes)
  for name in (*_OTHERS, *hf.TOKENIZER_FILES):
    if (long / name).is_file():
      shutil.copyfile(long / name, new / name)
  text = json.dumps(dataclasses.asdict(origin))
  (new / models.ORIGIN).write_text(text + '\n')
  files.sync(new)
  shutil.rmtree(directory, ignore_errors=True)
  new.rename(directory)


def refuse_strangers(long: pathlib.Path, short: pathlib.Path) -> None:
  """Compares shapes, tokenizers and tensors, by what the files say of them.

  Raises:
    ValueError: names what differs.
  """
  left, right = (
    dataclasses.asdict(hf_config.read_config(path)) for path in (long, short)
  )
  found = [
    f'{key} is {left[key]} and {right[key]}'
    for key in left
    if key not in models.HOW and left[key] != right[key]
  ]
  for name in _TOKENIZER_FILES:
    if _content(long / name) != _content(short / name):
      found.append(f'{name} differs')
  if not found:
    found = _differences_of_tensors(long, short)
  if found:
    raise ValueError(
      f'{long} and {short} are not of one family: {"; ".join(found)}'
    )


def _content(path):
  """What a JSON file says; None: it is not there."""
  return hf_config.read_json(path) if path.is_file() else None


def _differences_of_tensors(long, short):
  with _both(long, short) as opened:
    left, right = (
      {name: (f.dtype(name), f.shapes()[name]) for name in _names(path, f)}
      for path, f in zip((long, short), opened, strict=True)
    )
  return [
    f'{name} is {left.get(name)} and {right.get(name)}'
    for name in sorted(left | right)
    if left.get(name) != right.get(name)
  ]


@contextlib.contextmanager
def _both(long, short):
  """Their files, open."""
  with (
    contextlib.closing(tensor_files.Files(long)) as left,
    contextlib.closing(tensor_files.Files(short)) as right,
  ):
    yield left, right


def _names(directory, opened):
  """Tensors that are weights, tied embeddings once, in the order of a file."""
  head, _ = hf.OUTER['lm_head',]
  ties = hf_config.read_config(directory).tie_embeddings
  return [
    name
    for name in opened.shapes()
    if not name.endswith(hf.IGNORED) and not (ties and name == head)
  ]


def _write_weights(new, opened, names, short_share, max_file_bytes):
  left, right = opened
  kinds = {
    name: (
      left.shapes()[name],
      jnp.dtype(tensor_files.DTYPES[left.dtype(name)]),
    )
    for name in names
  }

  def tensor(name):
    whole = tuple(slice(0, size) for size in kinds[name][0])
    parts = left.read(name, whole), right.read(name, whole)
    return long2short.merged(*parts, short_share)

  hf.write_weights(new, kinds, tensor, max_file_bytes)
