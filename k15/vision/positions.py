"""Where pictures are among tokens: placeholders, and positions to rotate by.

A prompt holds one placeholder a picture; `expand` makes it as many as the
picture has tokens, once, and from then on rollout and training see these very
tokens.  A token is rotated by three positions, time, row and column (M-RoPE,
Qwen2-VL, arXiv 2409.12191, section 2.1): a text's are equal, and a picture's
rows and columns are counted from where it begins.

Axis: T tokens.
"""

from collections.abc import Sequence

import numpy as np

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
