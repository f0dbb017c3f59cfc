"""What a tower has made of pictures, kept for all contexts that show them.

A picture is encoded once under the same weights, however many samples, resumed
responses and problems show it, by itself: its features depend on no other.  A
prefill takes its rows of them.  Shapes are buckets (`Sight.patch_buckets`), so
that which program runs depends on the context alone, and one without pictures
runs that of a text.

Axes: P rows of a prefill, T tokens, M features of a context's bucket.
"""

import collections
import functools
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from k15.data_types import ImageRef
from k15.model import policy
from k15.model import tower
from k15.rollout.requests import Context
from k15.vision import images as images_lib
from k15.vision import positions
from k15.vision import rows as rows_lib
from k15.vision.rows import Images
from k15.vision.sight import Sight

# Of what sees nothing.
NO_COUNTS = dict(images_encoded=0, image_tokens=0)


class Pictures(Protocol):
  """Where pixels are, by digest: `ImageStore`, or what a worker was sent."""

  def __getitem__(self, digest: str) -> np.ndarray:
    """Pixels uint8 [h, w, 3]."""

  def check(self, digests: Iterable[str]) -> None:
    """Raises `images.BadImage`, a ValueError, that names one it lacks."""


class FeatureCache:
  """Features by digest, those used last, under the present weights.

  Attributes:
    counts: `images_encoded`, and `image_tokens` that were prefilled.
  """

  def __init__(
    self, config: policy.PolicyConfig, sight: Sight, pictures: Pictures
  ):
    """Nothing is encoded yet; `sight` bounds what is kept."""
    self._config, self._sight, self._pictures = config, sight, pictures
    self._kept = collections.OrderedDict()  # digest -> features [1, m, E]
    self._bytes = 0
    self.counts = collections.Counter(NO_COUNTS)

  def check(self, images: Sequence[ImageRef]) -> None:
    """Raises ValueError for a picture whose pixels are not there."""
    self._pictures.check(image.digest for image in images)

  def forget(self) -> None:
    """There are other weights: no feature of the earlier ones is met again."""
    self._kept.clear()
    self._bytes = 0

  def rows_of(
    self, params: Any, contexts: Sequence[Context], num_rows: int, columns: int
  ) -> tuple[Images, tower.Features]:
    """What a prefill of contexts with pictures, all of one bucket, needs.

    Args:
      params: of the policy, or what `SlotDecoder.prepare` made of them.
      contexts: at most P.
      num_rows: P.
      columns: T.

    Returns:
      `Images` without patches, for these have been looked at, and features
      [P, M, E].
    """
    sight = self._sight
    images = blank_rows(num_rows, columns)
    features, bucket = None, sight.bucket_of(contexts[0].images)
    for row, (tokens, refs) in enumerate(contexts):
      here, grids = slice(len(tokens)), list(map(sight.grid, refs))
      images.index[row, here] = positions.feature_index(tokens, sight.image_id)
      images.positions[row, here], _ = positions.rotary(
        tokens, sight.image_id, grids
      )
      start = 0
      for image, (grid_rows, grid_columns) in zip(refs, grids, strict=True):
        own, count = self._features_of(params, image), grid_rows * grid_columns
        if features is None:
          features = empty(own, num_rows, self._merged(bucket))
        features = put(features, own, row, start, count)
        start += count
      self.counts['image_tokens'] += start
    return images, features

  def blank(
    self, params: Any, num_rows: int, columns: int, bucket: int
  ) -> tuple[Images, tower.Features]:
    """The same of a blank bucket; compiles whatever pictures in it need."""
    features = None
    for size in self._sight.patch_buckets:
      if size > bucket:
        break
      own = encode(self._config, params, blank_picture(self._sight, size))
      if features is None:
        features = empty(own, num_rows, self._merged(bucket))
      features = put(features, own, 0, 0, 0)
    return blank_rows(num_rows, columns), features

  def _merged(self, bucket):
    return bucket // self._sight.processor.merge_size**2

  def _features_of(self, params, image):
    """Kept, or encoded now."""
    found = self._kept.pop(image.digest, None)
    if found is None:
      found = self._encode(params, image)
      self._bytes += _nbytes(found)
    self._kept[image.digest] = found  # It was used last.
    while self._bytes > self._sight.cache_bytes:
      _, oldest = self._kept.popitem(last=False)
      self._bytes -= _nbytes(oldest)
    return found

  def _encode(self, params, image):
    sight, pixels = self._sight, self._pictures[image.digest]
    if pixels.shape[:2] != (image.height, image.width):
      raise images_lib.BadImage(
        f'picture {image.digest} has {pixels.shape[:2]} pixels, and is asked'
        f' about as of {(image.height, image.width)}'
      )
    tokens = np.full(sight.num_tokens(image), sight.image_id, np.int32)
    row = rows_lib.row_of(
      sight.processor, tokens, sight.image_id, [pixels],
      sight.bucket_of([image]),
    )  # fmt: skip
    self.counts['images_encoded'] += 1
    seen = row.replace(index=None, positions=None)
    seen = jax.tree.map(lambda x: x[None], seen)
    return encode(self._config, params, seen)


def blank_picture(sight: Sight, bucket: int) -> Images:
  """Host arrays of one picture of a bucket that is padding alone."""
  seen = rows_lib.empty(sight.processor, 1, 0, bucket)
  return seen.replace(index=None, positions=None)


def blank_rows(num_rows: int, columns: int) -> Images:
  """Host arrays of rows in which no token is of a picture."""
  return Images(
    patches=None,
    places=None,
    sizes=None,
    numbers=None,
    index=np.full((num_rows, columns), -1, np.int32),
    positions=np.zeros((num_rows, columns, 3), np.int32),
  )


def _nbytes(features):
  return sum(x.nbytes for x in jax.tree.leaves(features))


# What runs on devices: a picture becomes features, and these rows' features.
encode = jax.jit(policy.encode, static_argnums=0)


@functools.partial(jax.jit, static_argnums=(1, 2))
def empty(
  like: tower.Features, num_rows: int, num_features: int
) -> tower.Features:
  """Features [P, M, E] that are all 0."""
  return jax.tree.map(
    lambda x: jnp.zeros((num_rows, num_features, x.shape[-1]), x.dtype), like
  )


@functools.partial(jax.jit, donate_argnums=0)
def put(
  features: tower.Features,
  own: tower.Features,
  row: jax.Array,
  start: jax.Array,
  count: jax.Array,
) -> tower.Features:
  """The first `count` of `own` [1, m, E] into a row, from `start` on."""

  def put_one(old, new):
    here = jnp.arange(new.shape[1])
    # What is beyond is the padding of the picture's own bucket.
    places = jnp.where(here < count, start + here, old.shape[1])
    return old.at[row, places].set(new[0], mode='drop')

  return jax.tree.map(put_one, features, own)
