"""The pictures of a row of tokens, as a device has them.

What is made here on the host has no axis of rows; stacked rows are what
`k15.model.policy.forward` takes.

Axes: B rows, T tokens, N patches a row has room for, n patches of a picture.
"""

from collections.abc import Sequence

import flax.struct
import jax
import numpy as np

from k15.vision import images as images_lib
from k15.vision import positions


@flax.struct.dataclass
class Images:
  """The pictures of rows of tokens, laid out as the rows are.

  A row has room for N patches of p x p pixels, picture after picture, each
  block by block as `k15.vision.images.patches` cuts it; the merge x merge
  patches of a block make one feature: M = N / merge^2 of them.

  Attributes:
    patches: uint8 [B, N, 3 p p].
    places: int32 [B, N, 2], row and column of a patch in its picture.
    sizes: int32 [B, N, 2], rows and columns of its picture.
    numbers: int32 [B, N], which picture of the row it is of, from 1; 0 is
      padding.
    index: int32 [B, T], the feature in [0, M) that stands for a token, or -1.
    positions: int32 [B, T, 3], what a token is rotated by: time, row, column.
  """

  patches: jax.Array
  places: jax.Array
  sizes: jax.Array
  numbers: jax.Array
  index: jax.Array
  positions: jax.Array

  def without_patches(self) -> 'Images':
    """What is read of pictures that a tower has looked at before."""
    return self.replace(patches=None, places=None, sizes=None, numbers=None)


def places(grid: positions.Grid, merge_size: int) -> np.ndarray:
  """int32 [n, 2]: row and column of each patch, block by block."""
  rows, columns = grid
  m = merge_size
  each = np.indices((rows, columns), np.int32)
  each = each.reshape(2, rows // m, m, columns // m, m)
  return each.transpose(1, 3, 2, 4, 0).reshape(-1, 2)


def row_of(
  processor: images_lib.Processor,
  tokens: np.ndarray,
  image_id: int,
  pictures: Sequence[np.ndarray],
  num_patches: int,
) -> Images:
  """A row of one sequence as `Images`, without the axis of rows.

  Args:
    processor: how pixels become patches.
    tokens: int32 [T], expanded.
    image_id: the placeholder.
    pictures: pixels uint8 [h, w, 3] of each, in order.
    num_patches: N, a multiple of merge_size^2.

  Raises:
    images.BadImage: the pictures have more patches than N, or another number
      of tokens than the row has placeholders.
  """
  m = processor.merge_size
  grids = [images_lib.grid(processor, *p.shape[:2]) for p in pictures]
  counts = [rows * columns for rows, columns in grids]
  if sum(counts) > num_patches or num_patches % m**2:
    raise images_lib.BadImage(
      f'{sum(counts)} patches of {len(counts)} pictures, and a row has room for'
      f' {num_patches}, in blocks of {m**2}'
    )
  batch = empty(processor, 1, len(tokens), num_patches)
  starts = np.cumsum([0, *counts[:-1]])
  for number, (pixels, start) in enumerate(
    zip(pictures, starts, strict=False), 1
  ):
    put(batch, processor, pixels, 0, int(start), number)
  merged = [(rows // m, columns // m) for rows, columns in grids]
  batch.index[0] = positions.feature_index(tokens, image_id)
  batch.positions[0] = positions.rotary(tokens, image_id, merged)[0]
  return jax.tree.map(lambda x: x[0], batch)


def empty(
  processor: images_lib.Processor,
  num_rows: int,
  num_tokens: int,
  num_patches: int,
) -> Images:
  """Rows [B, T] without pictures, numpy arrays to be filled in."""
  shape = num_rows, num_patches
  return Images(
    patches=np.zeros((*shape, 3 * processor.patch_size**2), np.uint8),
    places=np.zeros((*shape, 2), np.int32),
    # 1: what is divided by it.
    sizes=np.ones((*shape, 2), np.int32),
    numbers=np.zeros(shape, np.int32),
    index=np.full((num_rows, num_tokens), -1, np.int32),
    positions=np.zeros((num_rows, num_tokens, 3), np.int32),
  )


def put(
  rows: Images,
  processor: images_lib.Processor,
  pixels: np.ndarray,
  row: int,
  start: int,
  number: int,
) -> None:
  """Writes a picture into a row, from a patch on, as the row's number."""
  patches, grid = images_lib.patches(processor, pixels)
  here = row, slice(start, start + len(patches))
  rows.patches[here] = patches
  rows.places[here] = places(grid, processor.merge_size)
  rows.sizes[here] = grid
  rows.numbers[here] = number
