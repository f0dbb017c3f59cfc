"""Files by hand; what is wrong with them is tested with `hf`."""

import contextlib

import hf_checkpoints
import ml_dtypes
import numpy as np
import pytest

from k15.checkpoints import tensor_files


def test_split_by_bytes():
  sizes = dict(a=12, b=8, c=200, d=2, e=18)  # c alone is above 20.
  assert tensor_files.split(sizes, 20) == [['a', 'b'], ['c'], ['d', 'e']]
  assert tensor_files.split(sizes, 240) == [list('abcde')]


@pytest.mark.parametrize('dtype', [np.float32, np.float16, ml_dtypes.bfloat16])
def test_what_is_written_is_read_in_slices(dtype, tmp_path):
  dtype = np.dtype(dtype)
  a = np.arange(12).reshape(3, 4).astype(dtype)
  b = np.arange(5).astype(dtype)
  shapes = {'a': (4, 3), 'b': (5,)}
  kinds = {name: (shape, dtype) for name, shape in shapes.items()}
  tensor_files.write(
    tmp_path / tensor_files.SINGLE, kinds, iter([a.T, b])
  )  # a.T is not contiguous.
  content = (tmp_path / tensor_files.SINGLE).read_bytes()
  header = int.from_bytes(content[:8], 'little')
  assert header % 8 == 0  # The data are aligned.
  assert len(content) == 8 + header + 17 * dtype.itemsize
  files = tensor_files.Files(tmp_path)
  assert files.shapes() == shapes
  part = files.read('a', (slice(1, 3), slice(0, 2)))
  assert part.dtype == dtype
  np.testing.assert_array_equal(part, a.T[1:3, 0:2])
  np.testing.assert_array_equal(files.read('b', (slice(None),)), b)
  files.close()


def test_many_names_are_cut_short(tmp_path):
  array = np.zeros(1, np.float32)
  path = tmp_path / tensor_files.SINGLE
  tensor_files.write(path, {'a': ((1,), array.dtype)}, iter([array]))
  files = tensor_files.Files(tmp_path)
  expected = {f'x{i}': (1,) for i in range(7)}
  message = 'x0, x1, x2, x3, x4 and 2 more missing; a not of this architecture'
  with pytest.raises(ValueError, match=message):
    tensor_files.check(files, expected, ())
  files.close()


def test_a_tensor_in_two_files_is_named(tmp_path):
  hf_checkpoints.write(tmp_path, hf_checkpoints.CASES['qwen2'], files=2)
  first, second = (f'model-0000{i}-of-00002.safetensors' for i in (1, 2))
  (tmp_path / second).write_bytes((tmp_path / first).read_bytes())
  with pytest.raises(ValueError, match=f'is in {first} and in {second}'):
    tensor_files.Files(tmp_path)


@pytest.mark.parametrize('dtype', [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(dtype, bad, tmp_path):
  dtype = np.dtype(dtype)
  array = np.ones((4, 3), dtype)
  array[2, 1] = array[0, 2] = bad
  path = tmp_path / tensor_files.SINGLE
  tensor_files.write(path, {'w': ((4, 3), dtype)}, iter([array]))
  with contextlib.closing(tensor_files.Files(tmp_path)) as files:
    # A slice without any is as good as others; one with one names them all.
    files.read('w', (slice(1, 2), slice(None)))
    message = f'{path}: 2 of the 12 values of tensor w are not finite'
    with pytest.raises(ValueError, match=message):
      files.read('w', (slice(2, 4), slice(None)))
