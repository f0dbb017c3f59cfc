"""Weights on disk: safetensors files and Orbax checkpoints, for workers.

A worker that shares a file system with its trainer, or that serves a finished
run, reads its weights itself.  Neither format runs code when it is read.
"""

import contextlib
import json
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from k15 import low_precision
from k15 import quiet_imports as quiet
from k15.rollout import weights

_SUFFIX = '.safetensors'
_CODES = {
  'F64': np.float64, 'F32': np.float32, 'F16': np.float16,
  'BF16': ml_dtypes.bfloat16, 'I64': np.int64, 'I32': np.int32,
  'I8': np.int8, 'U8': np.uint8,
}  # fmt: skip
# Where parameters are in a checkpoint: alone, in a TrainState, in that of RL.
_PLACES = ((), ('params',), ('train', 'params'))


def read(path: str | os.PathLike, layout: Any) -> tuple[Any, int]:
  """Reads parameters; floating numbers are cast to those of the layout.

  Args:
    path: a safetensors file, a folder of such, an Orbax checkpoint, or the
      work folder of a run, whose newest RL checkpoint is taken, or else the
      newest SFT one.
    layout: pytree of `jax.ShapeDtypeStruct` with shardings.

  Returns:
    The parameters, and the step of the checkpoint, 0 where there is none.

  Raises:
    ValueError: there is nothing to read, or it is of another policy.
    OSError: it cannot be read.
  """
  path = pathlib.Path(path).absolute()
  files = [path] if path.suffix == _SUFFIX else sorted(path.glob(f'*{_SUFFIX}'))
  if files:
    arrays = {}
    for file in files:
      arrays |= _read_safetensors(file)
    dtypes = {name: array.dtype for name, array in arrays.items()}
    stored = _as_stored(layout, dtypes)
    params, step = weights.place(weights.unnamed(arrays, stored), stored), 0
  else:
    params, step = _read_orbax(path, layout)
  dtypes = jax.tree.map(lambda kind: kind.dtype, layout)
  return low_precision.cast_like(params, dtypes), step


def write_safetensors(path: str | os.PathLike, params: Any) -> None:
  """Writes parameters by their paths; the file is there whole or not at all."""
  codes = {np.dtype(kind): code for code, kind in _CODES.items()}
  arrays = weights.named(jax.device_get(params))
  header, start = {}, 0
  for name, array in arrays.items():
    header[name] = dict(
      dtype=codes[array.dtype],
      shape=list(array.shape),
      data_offsets=[start, start + array.nbytes],
    )
    start += array.nbytes
  text = json.dumps(header).encode()
  text += b' ' * (-len(text) % 8)
  partial = pathlib.Path(f'{path}.partial')
  with partial.open('wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for array in arrays.values():
      file.write(np.ascontiguousarray(array).tobytes())
    file.flush()
    os.fsync(file.fileno())
  partial.replace(path)


def _read_safetensors(path):
  """Name -> array, views of the file until they are put on a device."""
  raw = np.memmap(path, np.uint8, mode='r')
  try:
    length = int.from_bytes(raw[:8].tobytes(), 'little')
    header = json.loads(raw[8 : 8 + length].tobytes())
    data = raw[8 + length :]
    arrays = {}
    for name, entry in header.items():
      if name == '__metadata__':
        continue
      start, end = entry['data_offsets']
      kind, shape = np.dtype(_CODES[entry['dtype']]), entry['shape']
      arrays[name] = data[start:end].view(kind).reshape(shape)
    return arrays
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(f'{path} is no safetensors file: {error}') from None


def _read_orbax(path, layout):
  folder, step = _item_folder(path)
  checkpointer = quiet.ocp.PyTreeCheckpointer()
  with _quiet():
    stored = weights.named(checkpointer.metadata(folder).item_metadata.tree)
  names = weights.named(layout)
  absent = {}
  for place in _PLACES:
    prefix = ''.join(f'{key}/' for key in place)
    absent[place] = [n for n in names if prefix + n not in stored]
  place = min(_PLACES, key=lambda place: len(absent[place]))
  if absent[place]:
    raise ValueError(
      f'{folder} holds no parameters of this policy: {absent[place][0]!r} is'
      ' missing'
    )
  prefix = ''.join(f'{key}/' for key in place)
  layout = _as_stored(layout, {n: stored[prefix + n].dtype for n in names})
  for name, kind in weights.named(layout).items():
    found = stored[prefix + name]
    if (found.shape, found.dtype) != (kind.shape, kind.dtype):
      raise ValueError(
        f'{folder}: {name!r} is {found.dtype}{list(found.shape)}, and this'
        f' policy has {kind.dtype}{list(kind.shape)}'
      )
  item = layout
  for key in reversed(place):
    item = {key: item}
  with _quiet():
    restored = checkpointer.restore(
      folder,
      args=quiet.ocp.args.PyTreeRestore(
        item=item,
        restore_args=quiet.ocp.checkpoint_utils.construct_restore_args(item),
        partial_restore=True,
      ),
    )
  for key in place:
    restored = restored[key]
  return restored, step


def _as_stored(layout, dtypes):
  """The layout with floating numbers as precise as they were stored."""

  def one(path, kind):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    dtype = dtypes.get(name, kind.dtype)
    if not all(jnp.issubdtype(x, jnp.floating) for x in (dtype, kind.dtype)):
      return kind
    return jax.ShapeDtypeStruct(kind.shape, dtype, sharding=kind.sharding)

  return jax.tree_util.tree_map_with_path(one, layout)


def _item_folder(path):
  """Goes down to the folder that Orbax wrote: (folder, step)."""
  folder, step = path, int(path.name) if path.name.isdigit() else 0
  while not (folder / '_METADATA').is_file():
    inside = (
      {child.name for child in folder.iterdir()} if folder.is_dir() else {}
    )
    steps = [int(name) for name in inside if name.isdigit()]
    known = ('state', 'checkpoints', 'rl', 'sft', 'default', 'params')
    names = [str(max(steps))] if steps else [n for n in known if n in inside]
    if not names:
      raise ValueError(f'{path} holds neither safetensors nor a checkpoint')
    folder = folder / names[0]
    step = int(folder.name) if folder.name.isdigit() else step
  return folder, step


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Orbax warns of metadata that only its manager writes."""
  logger = logging.getLogger('absl')
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    logger.setLevel(level)
