"""The value head of a classic reward model: a file beside its trunk's.

It is written as transformers has the head of a sequence classifier with one
label, `score.weight`, with a bias beside it.
"""

import pathlib
from typing import Any

import numpy as np

from k15.checkpoints import tensor_files

FILE = 'value_head.safetensors'
_WEIGHT, _BIAS = 'score.weight', 'score.bias'


def write(directory: pathlib.Path, head: Any) -> None:
  """Writes a head of `heads.init_value`, in float32."""
  kernel = np.asarray(head['kernel'], np.float32)
  arrays = {_WEIGHT: kernel.T, _BIAS: np.asarray(head['bias'], np.float32)}
  kinds = {name: (array.shape, array.dtype) for name, array in arrays.items()}
  tensor_files.write(directory / FILE, kinds, iter(arrays.values()))


def read(directory: pathlib.Path, width: int) -> dict[str, np.ndarray] | None:
  """The head of a directory, float32; None: it has none.

  Args:
    width: of the trunk.

  Raises:
    BadWeights: it is not what it should be.
  """
  if not (directory / FILE).exists():
    return None
  files = tensor_files.Files(directory, [FILE])
  try:
    tensor_files.check(files, {_WEIGHT: (1, width), _BIAS: (1,)}, ())
    weight = files.read(_WEIGHT, (slice(None), slice(None)))
    bias = files.read(_BIAS, (slice(None),))
  finally:
    files.close()
  return dict(kernel=weight.T.astype(np.float32), bias=bias.astype(np.float32))
