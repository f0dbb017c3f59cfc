"""Safetensors files: an index checked first, then tensors one by one.

Nothing is read of a tensor but the slice asked for, and nothing is held of one
that is written.
"""

import contextlib
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import ml_dtypes  # noqa: F401  (numpy learns bfloat16)
import numpy as np
import safetensors

from k15.checkpoints import hf_config

SINGLE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
DTYPES = {'F32': 'float32', 'BF16': 'bfloat16', 'F16': 'float16'}

Kind = tuple[tuple[int, ...], np.dtype]  # Shape and dtype of a tensor.


class BadWeights(ValueError):
  """The files of a checkpoint are not what they should be: a sentence."""


class Files:
  """The open files of a checkpoint, all they hold known by name and shape.

  Attributes:
    directory: of the checkpoint.
  """

  def __init__(self, directory: str | pathlib.Path, names: Sequence[str] = ()):
    """Opens them; reads headers only.

    Args:
      names: of the files; none: those of the weights.

    Raises:
      BadWeights: no weights, a malformed or wrong index, a missing or damaged
        file, a tensor twice.
    """
    self.directory = pathlib.Path(directory)
    self._resources = contextlib.ExitStack()
    self._tensors = {}
    promised = {} if names else _read_index(self.directory)
    with contextlib.ExitStack() as on_error:
      on_error.callback(self.close)
      for name in names or sorted(set(promised.values())) or [SINGLE]:
        self._open(name)
      _check_index(self.directory, promised, self._tensors)
      on_error.pop_all()

  def _open(self, name):
    path = self.directory / name
    if not path.is_file():
      raise BadWeights(f'{self.directory} has no {name}')
    try:
      file = safetensors.safe_open(path, framework='numpy')
    except safetensors.SafetensorError as error:
      raise BadWeights(f'{path} is damaged: {error}') from None
    self._resources.enter_context(file)
    for tensor in file.keys():  # noqa: SIM118  (no mapping)
      if tensor in self._tensors:
        other = self._tensors[tensor][0]
        raise BadWeights(
          f'{self.directory}: tensor {tensor} is in {other} and in {name}'
        )
      self._tensors[tensor] = name, file.get_slice(tensor)

  def shapes(self) -> dict[str, tuple[int, ...]]:
    """Name of every tensor -> its shape."""
    return {
      name: tuple(part.get_shape()) for name, (_, part) in self._tensors.items()
    }

  def dtype(self, name: str) -> str:
    """As safetensors writes it: 'BF16'."""
    return self._tensors[name][1].get_dtype()

  def read(self, name: str, index: Sequence[slice]) -> np.ndarray:
    """A slice of a tensor, in the dtype of the file.

    Raises:
      BadWeights: a value of it is not finite; one is enough for a policy to
        write nothing but noise.
    """
    part = self._tensors[name][1][tuple(index)]
    if _non_finite(part):
      file, whole = self._tensors[name]
      raise BadWeights(
        f'{self.directory / file}: {_non_finite(whole[:])} of the'
        f' {math.prod(whole.get_shape())} values of tensor {name} are not'
        ' finite'
      )
    return part

  def close(self) -> None:
    self._resources.close()


def _non_finite(array, block=1 << 16):
  """How many values are; by blocks, for the mask needs memory too."""
  flat = array.reshape(-1)
  parts = (flat[i : i + block] for i in range(0, flat.size, block))
  return sum(x.size - np.count_nonzero(np.isfinite(x)) for x in parts)


def _read_index(directory):
  """Tensor -> file name; empty without an index."""
  path = directory / INDEX
  if not path.exists():
    if (directory / SINGLE).exists():
      return {}
    raise BadWeights(f'{directory} has neither {SINGLE} nor {INDEX}')
  promised = hf_config.read_json(path).get('weight_map')
  if not isinstance(promised, dict) or not promised:
    raise BadWeights(f'{path} has no weight_map')
  for tensor, name in promised.items():
    # A file from elsewhere says here what is opened: no path may lead out of
    # the directory.
    if not isinstance(name, str) or pathlib.Path(name).name != name:
      raise BadWeights(
        f'{path}: {tensor} is in {name!r}, which is no file name'
      )
  return promised


def _check_index(directory, promised, tensors):
  for tensor, name in promised.items():
    if tensor not in tensors or tensors[tensor][0] != name:
      raise BadWeights(f'{directory / INDEX}: {tensor} is not in {name}')
  for tensor, (name, _) in tensors.items():
    if promised and tensor not in promised:
      raise BadWeights(f'{directory / INDEX} does not name {tensor}, in {name}')


def check(
  files: Files, expected: Mapping[str, tuple[int, ...]], ignored: Sequence[str]
) -> None:
  """Refuses files that do not hold exactly the expected tensors.

  Args:
    files: of the checkpoint.
    expected: name -> shape.
    ignored: ends of names that may be there besides.

  Raises:
    BadWeights: names missing, extra or misshapen tensors, or a dtype.
  """
  check_shapes(str(files.directory), files.shapes(), expected, ignored)
  for name in expected:
    if files.dtype(name) not in DTYPES:
      raise BadWeights(
        f'{files.directory}: tensor {name} is {files.dtype(name)}, not one of'
        f' {list(DTYPES)}'
      )


def check_shapes(
  where: str,
  shapes: Mapping[str, tuple[int, ...]],
  expected: Mapping[str, tuple[int, ...]],
  ignored: Sequence[str],
) -> None:
  """The same of names and shapes alone, in whatever `where` names."""
  missing = [name for name in expected if name not in shapes]
  extra = [
    name
    for name in shapes
    if name not in expected and not name.endswith(tuple(ignored))
  ]
  if missing or extra:
    parts = [('missing', missing), ('not of this architecture', extra)]
    texts = [f'{_few(names)} {what}' for what, names in parts if names]
    raise BadWeights(
      f'{where}: tensors do not match the config: {"; ".join(texts)}'
    )
  for name, shape in expected.items():
    if shapes[name] != shape:
      raise BadWeights(
        f'{where}: tensor {name} has the shape {shapes[name]}, and the config'
        f' asks for {shape}'
      )


def _few(names, count=5):
  more = len(names) - count
  text = ', '.join(names[:count])
  return f'{text} and {more} more' if more > 0 else text


def split(sizes: Mapping[str, int], max_bytes: int) -> list[list[str]]:
  """Names by file, in order; none above max_bytes but a single tensor.

  Args:
    sizes: name -> bytes.
    max_bytes: of one file.
  """
  groups, size = [[]], 0
  for name, own in sizes.items():
    if groups[-1] and size + own > max_bytes:
      groups, size = [*groups, []], 0
    groups[-1].append(name)
    size += own
  return groups


def bytes_of(kind: Kind) -> int:
  """Of a tensor."""
  shape, dtype = kind
  return math.prod(shape) * dtype.itemsize


def write(
  path: pathlib.Path,
  kinds: Mapping[str, Kind],
  arrays: Iterator[np.ndarray],
) -> None:
  """One file, tensor by tensor: 8 bytes of length, a JSON header, the data.

  Args:
    path: of the file.
    kinds: name -> shape and dtype, in the order of the arrays.
    arrays: one for each name.
  """
  names = {value: key for key, value in DTYPES.items()}
  # Older versions of transformers refuse files that do not say which library
  # they are for.
  header, start = {'__metadata__': {'format': 'pt'}}, 0
  for name, kind in kinds.items():
    shape, dtype = kind
    end = start + bytes_of(kind)
    header[name] = dict(
      dtype=names[dtype.name], shape=shape, data_offsets=(start, end)
    )
    start = end
  text = json.dumps(header).encode()
  # Data that begin at a multiple of 8 can be mapped as numbers of any width.
  text += b' ' * (-len(text) % 8)
  with path.open('wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for array in arrays:
      # As bytes, for Python's buffers know no bfloat16.
      file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
