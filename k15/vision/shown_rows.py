"""The pictures of packed rows in training: how many fit, and what they become.

A row has room for so many tokens and for so many patches.  A picture stands in
a row once, however many sequences of it show it; rotary positions begin anew in
each sequence, and behind a shared prompt go on from its pictures.

Axes: B rows, T tokens, N patches a row has room for.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import numpy as np

from k15.data_types import ImageRef
from k15.vision import images as images_lib
from k15.vision import positions
from k15.vision import rows as rows_lib
from k15.vision.sight import Sight
from k15.vision.store import ImageStore


@dataclasses.dataclass(frozen=True)
class Span:
  """Tokens of a row that show pictures.

  Attributes:
    row: of the batch.
    start, end: columns of a sequence, or of a prompt that others share.
    behind: where what goes on from it ends: `end`, or that of the responses to
      a shared prompt.
    images: its pictures, in order.
  """

  row: int
  start: int
  end: int
  behind: int
  images: tuple[ImageRef, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
  """What lays out the pictures of training.

  Attributes:
    sight: how the policy is shown pictures.
    pictures: pixels by digest.
    row_patches: N, a multiple of the patches of a token.
  """

  sight: Sight
  pictures: ImageStore
  row_patches: int

  def patches_of(self, images: Iterable[ImageRef]) -> dict[str, int]:
    """Digest -> patches, of pictures that differ.

    Raises:
      images.BadImage: they have more patches than a row has room for.
    """
    block = self.sight.processor.merge_size**2
    found = {i.digest: block * self.sight.num_tokens(i) for i in images}
    if sum(found.values()) > self.row_patches:
      raise images_lib.BadImage(
        f'{len(found)} pictures have {sum(found.values())} patches, more than'
        f' the {self.row_patches} of vision.row_patches'
      )
    return found

  def row(
    self, tokens: np.ndarray, columns: np.ndarray, spans: Sequence[Span]
  ) -> rows_lib.Images:
    """`rows` of one row, int32 [T] each, without the axis of rows."""
    images = self.rows(tokens[None], columns[None], spans)
    return jax.tree.map(lambda x: x[0], images)

  def rows(
    self, tokens: np.ndarray, columns: np.ndarray, spans: Sequence[Span]
  ) -> rows_lib.Images:
    """What a device gets beside the tokens.

    Args:
      tokens: int32 [B, T], expanded.
      columns: int32 [B, T], what a text is rotated by.
      spans: all that show pictures.

    Raises:
      images.BadImage: tokens that do not fit their pictures, or more patches
        than there is room for.
    """
    processor, block = self.sight.processor, self.sight.processor.merge_size**2
    rows = rows_lib.empty(processor, *tokens.shape, self.row_patches)
    rows.positions[:] = columns[:, :, None]
    starts = [{} for _ in tokens]  # digest -> first patch, of each row
    used = [0] * len(tokens)
    for span in spans:
      here, index = slice(span.start, span.end), []
      own, known = tokens[span.row, here], starts[span.row]
      for image in span.images:
        count = block * self.sight.num_tokens(image)
        if image.digest not in known:
          start = used[span.row]
          if start + count > self.row_patches:
            raise images_lib.BadImage(
              f'{start + count} patches of {len(known) + 1} pictures, and a row'
              f' has room for {self.row_patches}'
            )
          rows_lib.put(
            rows, processor, self.pictures[image.digest], span.row, start,
            len(known) + 1,
          )  # fmt: skip
          known[image.digest], used[span.row] = start, start + count
        first = known[image.digest] // block
        index.extend(range(first, first + count // block))
      grids = [self.sight.grid(image) for image in span.images]
      image_id = self.sight.image_id
      rotary, delta = positions.rotary(own, image_id, grids)
      rows.positions[span.row, here] = rotary
      rows.positions[span.row, span.end : span.behind] += delta
      rows.index[span.row, here][own == image_id] = index
    return rows
