"""A GGUF file: what it says of itself, and its tensors one by one.

The package gguf reads it.  It takes every length in a file at its word, and
would fill the memory for one that is wrong: they are looked at first.
"""

import math
import os
import pathlib
import struct
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from k15.checkpoints import tensor_files
from k15.checkpoints.hf_fields import Fields
from k15.config import extras

try:
  import gguf
except ModuleNotFoundError:  # An extra, for files of one kind.
  gguf = None

# Types of tensors that are kept; all others become float32.
_KEPT = {'F16': np.dtype(np.float16), 'BF16': np.dtype(ml_dtypes.bfloat16)}
# Of the format: type of a field -> bytes, of those that have a fixed number.
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UINT32, _TEXT, _ARRAY = 4, 8, 9
_MOST_AXES = 4


class GgufFile:
  """A file whose header is whole.

  Attributes:
    path: of the file.
    fields: all of its metadata, numbers as the fewest digits that say them.
  """

  def __init__(self, path: str | pathlib.Path):
    """Reads the header only.

    Raises:
      BadWeights: it is no GGUF file, or is cut off, broken, one of several
        parts, or has tensors of a type that the package does not know.
      ValueError: the package is not installed.
    """
    self.path = pathlib.Path(path)
    if gguf is None:
      raise ValueError(extras.sentence(f'{path}: a GGUF file', 'gguf'))
    try:
      with self.path.open('rb') as file:
        _check_header(file)
      reader = gguf.GGUFReader(self.path)
      values = {name: _value(field) for name, field in reader.fields.items()}
    except OSError as error:
      raise _bad(path, f'cannot be read: {error.strerror}') from None
    except tensor_files.BadWeights as error:
      raise _bad(path, str(error)) from None
    except Exception as error:  # Whatever numpy raises on such bytes.
      raise _bad(path, f'is broken: {error}') from None
    self.fields = Fields(str(path), values)
    self._tensors = {tensor.name: tensor for tensor in reader.tensors}
    if values.get('split.count', 1) != 1:
      raise _bad(
        path,
        f'is one of {values["split.count"]} parts: llama-gguf-split --merge'
        ' makes one file of them',
      )

  def shapes(self) -> dict[str, tuple[int, ...]]:
    """Name of every tensor -> its shape, rows first."""
    return {
      name: tuple(tensor.shape[::-1].tolist())
      for name, tensor in self._tensors.items()
    }

  def dtype(self, name: str) -> np.dtype:
    """Of what `read` returns: float16, bfloat16 or float32."""
    kind = self._tensors[name].tensor_type.name
    return _KEPT.get(kind, np.dtype(np.float32))

  def read(self, name: str) -> np.ndarray:
    """A tensor; what is quantized is computed, in float32.

    Raises:
      BadWeights: the package does not compute its type.
    """
    tensor = self._tensors[name]
    kind = tensor.tensor_type.name
    if kind == 'BF16':
      return tensor.data.view(ml_dtypes.bfloat16)
    if kind in ('F32', 'F16'):
      return tensor.data
    try:
      return gguf.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError:
      raise _bad(
        self.path, f'tensor {name} is {kind}, which is not supported'
      ) from None


def _bad(path, text):
  return tensor_files.BadWeights(f'{path}: {text}')


def _value(field) -> Any:
  value = field.contents()
  if isinstance(value, float) and field.types[0].name == 'FLOAT32':
    return float(str(np.float32(value)))  # 1e-05, not 9.999999747378752e-06
  return value


class _Walk:
  """A place in a file, which goes over what is there and never further."""

  def __init__(self, file: BinaryIO):
    self._file = file
    self.size = os.fstat(file.fileno()).st_size
    self.over = 'its header'

  def number(self, form: str) -> int:
    """The next, as struct writes its form."""
    return struct.unpack(form, self._read(struct.calcsize(form)))[0]

  def text(self) -> str:
    return self._read(self.number('<Q')).decode()

  def _read(self, count):
    self._stay(count)
    return self._file.read(count)

  def skip(self, count: int) -> None:
    self._stay(count)
    self._file.seek(count, os.SEEK_CUR)

  def place(self) -> int:
    return self._file.tell()

  def _stay(self, count):
    if count > self.size - self.place():
      raise tensor_files.BadWeights(
        f'is cut off or broken: {self.over} begins before byte {self.place()}'
        f' and ends behind the last, {self.size}'
      )


def _check_header(file):
  walk = _Walk(file)
  if walk.size < 4 or file.read(4) != b'GGUF':
    raise tensor_files.BadWeights('is no GGUF file: those begin with GGUF')
  version = walk.number('<I')
  # Version 1 counts in 32 bits.  The number of a big-endian file, read the
  # other way round, is none of these.
  if version not in (2, 3):
    raise tensor_files.BadWeights(
      f'is of version {version} of GGUF, not 2 or 3, or big-endian'
    )
  num_tensors, num_fields = walk.number('<Q'), walk.number('<Q')
  # The format's own, where the file names none.
  alignment = 32
  for _ in range(num_fields):
    name = walk.text()
    walk.over = f'field {name}'
    kind = walk.number('<I')
    if name == 'general.alignment' and kind == _UINT32:
      alignment = walk.number('<I')
    else:
      _skip_value(walk, kind)
  ends = [_end_of_tensor(walk) for _ in range(num_tensors)]
  # Tensors begin at the next multiple behind the header, and their offsets
  # count from there.
  start = -(-walk.place() // max(1, alignment)) * alignment
  for name, end in ends:
    if start + end > walk.size:
      raise tensor_files.BadWeights(
        f'is cut off or broken: tensor {name} ends at byte {start + end}, and'
        f' the file has {walk.size}'
      )


def _skip_value(walk, kind):
  if kind == _TEXT:
    walk.skip(walk.number('<Q'))
  elif kind == _ARRAY:
    inner, count = walk.number('<I'), walk.number('<Q')
    if inner == _TEXT:
      for _ in range(count):
        walk.skip(walk.number('<Q'))
    else:
      walk.skip(_width(walk, inner) * count)
  else:
    walk.skip(_width(walk, kind))


def _width(walk, kind):
  if kind not in _WIDTHS:
    raise tensor_files.BadWeights(
      f'is broken: {walk.over} is of type {kind}, which is not read'
    )
  return _WIDTHS[kind]


def _end_of_tensor(walk):
  """Its name, and the byte behind it, counted from the first tensor's."""
  name = walk.text()
  walk.over = f'tensor {name}'
  axes = walk.number('<I')
  if not 1 <= axes <= _MOST_AXES:
    raise tensor_files.BadWeights(f'is broken: tensor {name} has {axes} axes')
  count = math.prod(walk.number('<Q') for _ in range(axes))
  kind, start = walk.number('<I'), walk.number('<Q')
  if kind not in gguf.GGML_QUANT_SIZES:  # Its keys are ints.
    raise tensor_files.BadWeights(
      f'tensor {name} is of type {kind}, which gguf does not know'
    )
  block, width = gguf.GGML_QUANT_SIZES[kind]
  return name, start + count * width // block
