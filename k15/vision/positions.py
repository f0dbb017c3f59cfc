"""Where pictures are among tokens: placeholders, positions, rows of patches.

A prompt holds one placeholder a picture; `expand` makes it as many as the
picture has tokens, once, and from then on rollout and training see these very
tokens.  A token is rotated by three positions, time, row and column (M-RoPE,
Qwen2-VL, arXiv 2409.12191, section 2.1): a text's are equal, and a picture's
rows and columns are counted from where it begins.

Axes: T tokens, N patches a row of tokens has room for, n patches of a picture.
"""

from collections.abc import Sequence

import numpy as np

from k15.data_types import Images
from k15.vision import images as images_lib

Grid = tuple[int, int]  # rows and columns of a picture


def expand(
  tokens: np.ndarray, image_id: int, counts: Sequence[int]
) -> np.ndarray:
  """Each placeholder so many times as its picture has tokens.

  Args:
    tokens: int32 [T], with one placeholder a picture.
    image_id: the placeholder.
    counts: tokens of each picture, in order.

  Returns:
    int32 [T'].

  Raises:
    images.BadImage: there are not as many placeholders as pictures.
  """
  found = int(np.sum(tokens == image_id))
  if found != len(counts):
    raise images_lib.BadImage(
      f'{found} placeholders of pictures, and {len(counts)} pictures'
    )
  repeats = np.ones(len(tokens), np.int64)
  repeats[tokens == image_id] = counts
  return np.repeat(tokens, repeats)


def check(tokens: np.ndarray, image_id: int, counts: Sequence[int]) -> None:
  """Whether expanded tokens fit their pictures: one count a picture, in order.

  Two pictures without a token between them are one run of placeholders.

  Raises:
    images.BadImage: another number of placeholders than of tokens, or a run
      that ends within a picture; names the numbers.
  """
  is_image = np.concatenate([[False], tokens == image_id, [False]])
  starts, ends = np.flatnonzero(is_image[1:] != is_image[:-1]).reshape(-1, 2).T
  borders = np.cumsum(counts, dtype=np.int64)
  runs = np.cumsum(ends - starts)
  total = int(borders[-1]) if len(borders) else 0
  if int(runs[-1] if len(runs) else 0) != total:
    raise images_lib.BadImage(
      f'{int(np.sum(tokens == image_id))} placeholders of pictures, and the'
      f' {len(counts)} pictures have {total} tokens: {list(counts)}'
    )
  if not set(runs.tolist()) <= set(borders.tolist()):
    raise images_lib.BadImage(
      f'runs of {(ends - starts).tolist()} placeholders cut pictures of'
      f' {list(counts)} tokens'
    )


def feature_index(tokens: np.ndarray, image_id: int) -> np.ndarray:
  """int32 [T]: which feature of the row stands for a token; -1: none."""
  is_image = tokens == image_id
  return np.where(is_image, np.cumsum(is_image) - 1, -1).astype(np.int32)


def rotary(
  tokens: np.ndarray, image_id: int, grids: Sequence[Grid]
) -> tuple[np.ndarray, int]:
  """Positions of M-RoPE, and how far they are from columns behind the prompt.

  A text goes on by 1 a token.  A picture that begins at c has time c, rows from
  c and columns from c; what follows begins at c + max(rows, columns).  So a
  token of the response at column t has three times the position t + delta:
  decoding needs no more than that.

  Args:
    tokens: int32 [T], expanded.
    image_id: the placeholder.
    grids: merged rows and columns of each picture, in order: a token each.

  Returns:
    int32 [T, 3], and delta, at most 0.

  Raises:
    images.BadImage: see `check`.
  """
  check(tokens, image_id, [rows * columns for rows, columns in grids])
  out = np.zeros((len(tokens), 3), np.int32)
  at = current = 0
  remaining = list(grids)
  is_image = tokens == image_id
  while at < len(tokens):
    if not is_image[at]:
      later = np.flatnonzero(is_image[at:])
      count = int(later[0]) if len(later) else len(tokens) - at
      out[at : at + count] = current + np.arange(count)[:, None]
      current += count
    else:
      rows, columns = remaining.pop(0)
      count = rows * columns
      place = np.indices((rows, columns)).reshape(2, -1).T
      out[at : at + count, 0] = current
      out[at : at + count, 1:] = current + place
      current += max(rows, columns)
    at += count
  return out, current - len(tokens)


def places(grid: Grid, merge_size: int) -> np.ndarray:
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
  cut = [images_lib.patches(processor, pixels) for pixels in pictures]
  used = sum(len(patches) for patches, _ in cut)
  if used > num_patches or num_patches % m**2:
    raise images_lib.BadImage(
      f'{used} patches of {len(cut)} pictures, and a row has room for'
      f' {num_patches}, in blocks of {m**2}'
    )
  positions, _ = rotary(
    tokens, image_id, [(rows // m, columns // m) for _, (rows, columns) in cut]
  )
  row = Images(
    patches=np.zeros((num_patches, 3 * processor.patch_size**2), np.uint8),
    places=np.zeros((num_patches, 2), np.int32),
    # 1: what is divided by it.
    sizes=np.ones((num_patches, 2), np.int32),
    numbers=np.zeros(num_patches, np.int32),
    index=feature_index(tokens, image_id),
    positions=positions,
  )
  start = 0
  for number, (patches, grid) in enumerate(cut, 1):
    here = slice(start, start + len(patches))
    row.patches[here] = patches
    row.places[here] = places(grid, m)
    row.sizes[here] = grid
    row.numbers[here] = number
    start += len(patches)
  return row
